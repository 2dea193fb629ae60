# shellcheck shell=bash
# Debian's packages, installed without starting the services they bring. Needs say.sh.

# may_install : whether this user on this machine can install Debian packages.
may_install() { [ "$(id -u)" = 0 ] && have apt-get && have dpkg-query; }

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE… : installs those that are missing. Debian starts a service as soon as its package is unpacked
# (Caddy takes port 80 that way), so starting is forbidden while we install, and what came new stays disabled: whoever
# wants a service starts it. Writes apt's output to $LOG. Returns apt's status.
apt_install() {
  local package missing=() status=0
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  (
    # A subshell, so that the caller's own trap stays.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' >$policy
      chmod 755 $policy
    fi
    apt_get_install "${missing[@]}" >>"${LOG:-/dev/stderr}" 2>&1
  ) || status=$?
  if [ $status = 0 ] && [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
      case $package in caddy | docker-registry | openssh-server) systemctl disable --quiet "${package/openssh-server/ssh}" 2>/dev/null || true ;; esac
    done
  fi
  return $status
}

# apt_get_install PACKAGE… : with the lists that are there, and once more with fresh ones where those are missing or stale.
apt_get_install() {
  local options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300)
  DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" </dev/null && return 0
  apt-get update -q </dev/null || printf 'apt-get update failed; trying with the lists that are there\n'
  DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" </dev/null
}
