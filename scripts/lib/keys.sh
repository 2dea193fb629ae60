# shellcheck shell=bash
# The user's SSH key: finds it, enrols it, pins the server's host key, and offers what makes plain `git push` work.
# Needs say.sh, background.sh, a running server, and $CONFIG, $DATA, $SSH_PORT, $SSH_USER.

OWN_KEY=''
ENROLLED_PRIVATE=''

# enrol_key : the first key of the user's that the server takes, else one made for dinp.
enrol_key() {
  local public
  LOG=$STATE/logs/keys.log
  : >"$LOG"
  pin_host_key
  while IFS= read -r public <&3; do
    if enrol "$public"; then
      write_ssh_config_of_ours
      return
    fi
  done 3< <(public_keys_of_user)
  OWN_KEY=$STATE/ssh/id_ed25519
  if [ ! -s "$OWN_KEY" ]; then
    ssh-keygen -q -t ed25519 -N '' -C "dinp@$(hostname 2>/dev/null || echo localhost)" -f "$OWN_KEY" >>"$LOG" 2>&1 ||
      fail 'ssh-keygen could not make a key' "$0"
  fi
  enrol "$OWN_KEY.pub" || fail 'the server did not take the new SSH key' "cat $OWN_KEY.pub" "$0"
  write_ssh_config_of_ours
}

# Files with public keys, in the order in which ssh would offer them: those of ~/.ssh/config or ssh's own defaults, then
# the agent's. ssh looks in the home of the user database, whatever HOME says.
public_keys_of_user() {
  local file
  while IFS= read -r file; do
    case $file in \~/*) file=$(home_of_user)/${file#\~/} ;; esac
    if [ -r "$file" ] && [ -r "$file.pub" ]; then printf '%s\n' "$file.pub"; fi
  done < <(ssh -G -p "$SSH_PORT" "$SSH_USER@127.0.0.1" 2>/dev/null | sed -n 's/^identityfile //p')
  if have ssh-add && ssh-add -L >"$STATE/ssh/agent-keys" 2>/dev/null; then
    local n=0 line
    while IFS= read -r line; do
      n=$((n + 1))
      printf '%s\n' "$line" >"$STATE/ssh/agent-$n.pub"
      printf '%s\n' "$STATE/ssh/agent-$n.pub"
    done <"$STATE/ssh/agent-keys"
  fi
}

home_of_user() {
  local home
  home=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6) || home=''
  printf '%s\n' "${home:-$HOME}"
}

# enrol PUBLIC_KEY_FILE : as an admin, unless it is known already. Fails where the server refuses it.
enrol() {
  local fingerprint name
  fingerprint=$(ssh-keygen -l -f "$1" 2>/dev/null | cut -d' ' -f2) && [ -n "$fingerprint" ] || return 1
  ENROLLED_PRIVATE=${1%.pub}
  if dinp keys list --json 2>>"$LOG" | grep -qF "$fingerprint"; then
    step key using "$fingerprint ($1)"
    return 0
  fi
  name=$(id -un | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9\n' '-' | sed 's/--*/-/g; s/^-//; s/-$//')
  dinp keys add "${name:-admin}" --role admin <"$1" >>"$LOG" 2>&1 || return 1
  step key ok "enrolled $fingerprint ($1)"
}

# The server's host key, read over loopback from the server that we started, so that nothing is trusted on first use.
pin_host_key() {
  ssh-keyscan -T 10 -t ed25519 -p "$SSH_PORT" 127.0.0.1 2>>"$LOG" | grep -v '^#' >"$STATE/ssh/known_hosts" ||
    fail "the server on port $SSH_PORT shows no host key" "ssh-keyscan -p $SSH_PORT 127.0.0.1"
  HOST_FINGERPRINT=$(ssh-keygen -l -f "$STATE/ssh/known_hosts" | cut -d' ' -f2)
}

# The settings both for our own pushes (ssh -F) and, in OWN_KEY's case, for the user's.
ssh_settings() {
  printf '    IdentityFile "%s"\n' "$ENROLLED_PRIVATE"
  [ -z "$OWN_KEY" ] || printf '    IdentitiesOnly yes\n'
  printf '    UserKnownHostsFile "%s"\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n' "$STATE/ssh/known_hosts"
}

write_ssh_config_of_ours() {
  {
    printf 'Match all\n'
    ssh_settings
    [ -t 0 ] || printf '    BatchMode yes\n'
  } >"$STATE/ssh/config"
}

# ssh_block : what makes plain git and ssh use dinp's own key for dinp's server, and for no other.
ssh_block() {
  printf '# dinp quickstart: begin\nMatch originalhost 127.0.0.1 user %s\n' "$SSH_USER"
  ssh_settings
  printf '# dinp quickstart: end\n'
}

key_advice() {
  if [ -z "$OWN_KEY" ]; then
    printf 'Your key                  %s\n' "$ENROLLED_PRIVATE"
    printf 'Host key, asked for once  %s\n' "$HOST_FINGERPRINT"
  fi
}

# You had no key, so one was made; ssh only uses it when it is told. Asked at a terminal, done at once with
# --write-ssh-config, else printed.
offer_ssh_config() {
  local file answer
  [ -n "$OWN_KEY" ] || return 0
  file=$(home_of_user)/.ssh/config
  if [ -r "$file" ] && ssh_block | diff -q - <(sed -n '/^# dinp quickstart: begin$/,/^# dinp quickstart: end$/p' "$file") >/dev/null; then
    printf 'SSH key                   %s (%s names it)\n' "$OWN_KEY" "$file"
    return 0
  fi
  printf 'You had no SSH key, so dinp made one. Plain git push uses it with these lines in %s:\n\n' "$file"
  ssh_block | sed 's/^/    /'
  printf '\n'
  answer=${WRITE_SSH_CONFIG:-no}
  if [ "$answer" = no ] && [ -t 0 ] && [ -t 1 ]; then read -r -p "Add them now? [y/N] " answer; fi
  case $answer in
    y | Y | yes | Yes)
      write_user_ssh_config "$file"
      printf 'Added. git push dinp master now works from any repository of yours.\n'
      ;;
    *)
      printf 'Nothing was added. To have it done: %s --write-ssh-config\n' "$0"
      printf "Or for one repository of yours:     git config core.sshCommand 'ssh -F \"%s\"'\n" "$STATE/ssh/config"
      ;;
  esac
}

# write_user_ssh_config FILE : replaces an earlier block of ours, leaves every other line, keeps links and the mode.
write_user_ssh_config() {
  local file=$1 rest=''
  [ -d "${file%/*}" ] || mkdir -m 700 "${file%/*}"
  if [ -e "$file" ]; then
    rest=$(sed '/^# dinp quickstart: begin$/,/^# dinp quickstart: end$/d' "$file")
    rest=${rest:+$rest$'\n\n'}
  fi
  (umask 077 && printf '%s%s\n' "$rest" "$(ssh_block)" >"$file")
}
