# shellcheck shell=bash
# The Docker Engine, the registry and Caddy: uses one that answers, else installs and starts one. Needs say.sh, apt.sh,
# background.sh; sets ENGINE_SOCKET, REGISTRY and CADDY. A config that is already there ($CONFIG) says where they belong.

from_config() { [ -s "$CONFIG" ] && probe config "$CONFIG" "$1"; }

# --- Docker Engine ---------------------------------------------------------------------------------------------------

choose_engine() {
  local version
  ENGINE_SOCKET=$(from_config docker.socket) || ENGINE_SOCKET=''
  ENGINE_SOCKET=${ENGINE_SOCKET:-$(engine_socket_of_environment)}
  if version=$(probe engine "$ENGINE_SOCKET"); then
    step engine using "Docker Engine $version ($ENGINE_SOCKET)"
    return
  fi
  if [ -S "$ENGINE_SOCKET" ] && [ ! -w "$ENGINE_SOCKET" ]; then
    fail "you may not use the Docker Engine behind $ENGINE_SOCKET" \
      "sudo usermod -aG docker $(id -un)    (then log out and in again)" "$0"
  fi
  may_install || fail "no Docker Engine answers on $ENGINE_SOCKET" \
    'install and start one, on Debian as root: apt-get install docker.io && systemctl start docker' \
    'elsewhere: https://docs.docker.com/engine/install/' "then run: $0"
  start_engine
  version=$(probe engine "$ENGINE_SOCKET") || fail 'the Docker Engine does not answer' "$0"
  step engine started "Docker Engine $version ($ENGINE_SOCKET)"
}

# DOCKER_HOST where it names a unix socket, as docker itself reads it. Containers publish ports and pull from 127.0.0.1,
# so an engine on another machine cannot be this quick start's.
engine_socket_of_environment() {
  case ${DOCKER_HOST:-} in
    unix://*) printf '%s\n' "${DOCKER_HOST#unix://}" ;;
    '') printf '/var/run/docker.sock\n' ;;
    *)
      printf '            note     DOCKER_HOST=%s is no unix socket of this machine; trying /var/run/docker.sock\n' "$DOCKER_HOST" >&2
      printf '/var/run/docker.sock\n'
      ;;
  esac
}

start_engine() {
  LOG=$STATE/logs/setup.log
  if ! have dockerd; then
    doing 'installing docker.io'
    engine_packages docker.io || fail 'apt-get could not install docker.io' 'apt-get update && apt-get install docker.io' "$0"
  fi
  if [ -d /run/systemd/system ] && [ "$ENGINE_SOCKET" = /var/run/docker.sock ]; then
    LOG=''
    systemctl start docker || fail 'docker.service did not start' 'journalctl -u docker -n 50' "$0"
    : >"$STATE/run/docker.service"
    return
  fi
  start_dockerd dockerd "$ENGINE_SOCKET"
}

# start_dockerd NAME SOCKET : the machine has no systemd, so the engine runs as a background program of ours.
start_dockerd() {
  LOG=$STATE/logs/$1.log
  doing 'starting dockerd'
  background "$1" dockerd -H "unix://$2" || fail 'dockerd did not start' "$0"
  if ! wait_for "$1" 60 engine "$2"; then
    end "$1" 10 || true
    fail 'dockerd did not come up' 'on a machine that may not run containers, use another machine or DOCKER_HOST=unix://…'
  fi
}

# engine_packages PACKAGE… : with AppArmor in the kernel, Docker runs no container without its parser.
engine_packages() {
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then set -- "$@" apparmor; fi
  apt_install "$@"
}

# --- registry --------------------------------------------------------------------------------------------------------

choose_registry() {
  local from
  REGISTRY=$(from_config registry.push) || REGISTRY=''
  from=${REGISTRY##*:}
  REGISTRY=${REGISTRY:-127.0.0.1:5000}
  if probe registry "$REGISTRY"; then
    if is_ours registry >/dev/null; then step registry using "pid $(is_ours registry), $REGISTRY"; else step registry using "$REGISTRY"; fi
    return
  fi
  ensure_program docker-registry docker-registry
  [ -n "$from" ] || REGISTRY=127.0.0.1:$(probe free-port 5000)
  case $REGISTRY in 127.0.0.1:*) ;; *) LOG='' fail "the registry $REGISTRY of $CONFIG does not answer" "start it, or change registry.push in $CONFIG" ;; esac
  write_registry_config
  LOG=$STATE/logs/registry.log
  background registry "$(program_path docker-registry)" serve "$STATE/registry.yml" || fail 'the registry did not start' "$0"
  if ! wait_for registry 20 registry "$REGISTRY"; then
    end registry 5 || true
    fail "the registry did not come up on $REGISTRY" "$0"
  fi
  step registry started "$REGISTRY (pid $(is_ours registry))"
}

write_registry_config() {
  mkdir -p "$STATE/registry"
  cat >"$STATE/registry.yml" <<YAML
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $(yaml_text "$STATE/registry")
  delete:
    enabled: true
http:
  addr: $REGISTRY
YAML
}

# --- Caddy -----------------------------------------------------------------------------------------------------------

choose_router() {
  local from
  CADDY=$(from_config router.caddy) || CADDY=''
  # Of several the first; the others are of other machines.
  CADDY=${CADDY%%,*}
  from=$CADDY
  if [ "$CADDY" = none ]; then
    step router skipped "router.caddy is none in $CONFIG: apps get a port that changes with each release"
    return
  fi
  CADDY=${CADDY:-http://127.0.0.1:2019}
  if probe caddy "$CADDY"; then
    if is_ours caddy >/dev/null; then step router using "Caddy, pid $(is_ours caddy), $CADDY"; else step router using "Caddy at $CADDY"; fi
    return
  fi
  ensure_program caddy caddy
  [ -n "$from" ] || CADDY=http://127.0.0.1:$(probe free-port 2019)
  mkdir -p "$STATE/caddy/config" "$STATE/caddy/data"
  printf '{"admin":{"listen":"%s"}}\n' "${CADDY#http://}" >"$STATE/caddy/first.json"
  LOG=$STATE/logs/caddy.log
  # Caddy saves what it is told over its admin address, and takes it up again: routes survive a restart of this machine.
  XDG_CONFIG_HOME=$STATE/caddy/config XDG_DATA_HOME=$STATE/caddy/data \
    background caddy "$(program_path caddy)" run --resume --config "$STATE/caddy/first.json" || fail 'Caddy did not start' "$0"
  if ! wait_for caddy 20 caddy "$CADDY"; then
    end caddy 5 || true
    fail "Caddy did not come up at $CADDY" "$0"
  fi
  step router started "Caddy at $CADDY (pid $(is_ours caddy))"
}

# --- both ------------------------------------------------------------------------------------------------------------

program_path() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }

# ensure_program PROGRAM PACKAGE : installs it where we may, else says what to type.
ensure_program() {
  if program_path "$1" >/dev/null; then return 0; fi
  LOG=$STATE/logs/setup.log
  if may_install; then
    doing "installing $2"
    apt_install "$2" || fail "apt-get could not install $2" "apt-get update && apt-get install $2" "$0"
    return 0
  fi
  LOG='' fail "$1 is missing" "install it, on Debian as root: apt-get install $2 && systemctl disable --now $2" "then run: $0"
}
