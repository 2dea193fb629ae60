# shellcheck shell=bash
# Programs that go on after the script has ended, and that are ended later without ever hitting somebody else's process.
# Needs say.sh and $STATE, the folder for run/ and logs/.

# What tells one process from a later one of the same pid: when it started, and in which boot.
process_birth() {
  local stat
  if [ -r "/proc/$1/stat" ]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) } # the program's name may hold blanks and brackets
    # shellcheck disable=SC2086
    set -- $stat
    [ "$1" != Z ] || return 1
    printf '%s %s\n' "${20}" "$(cat /proc/sys/kernel/random/boot_id)"
  else
    ps -o lstart= -p "$1"
  fi
}

# background NAME PROGRAM ARG… : starts it in a session of its own, output to logs/NAME.log, and remembers it.
background() {
  local name=$1 pid
  shift
  mkdir -p "$STATE/run" "$STATE/logs"
  pid=$(node -e '
    const { openSync } = require("node:fs");
    const log = openSync(process.argv[1], "a");
    const child = require("node:child_process").spawn(process.argv[2], process.argv.slice(3),
      { detached: true, stdio: ["ignore", log, log] });
    child.on("error", (error) => { console.error(error.message); process.exit(1); });
    child.on("spawn", () => { console.log(child.pid); process.exit(0); });
  ' "$STATE/logs/$name.log" "$@") || return 1
  printf '%s %s\n' "$pid" "$(process_birth "$pid")" >"$STATE/run/$name.pid"
}

# is_ours NAME : whether what we started under this name still runs; prints its pid.
is_ours() {
  local pid birth
  [ -s "$STATE/run/$1.pid" ] || return 1
  read -r pid birth <"$STATE/run/$1.pid"
  # Nothing was noted of a program that was dead before we looked.
  [ -n "$birth" ] && [ "$(process_birth "$pid" 2>/dev/null)" = "$birth" ] || return 1
  printf '%s\n' "$pid"
}

# end NAME SECONDS : SIGTERM, and SIGKILL after SECONDS, to what we started under this name. Fails where it does not run.
end() {
  local name=$1 tries=$(($2 * 10)) pid
  if ! pid=$(is_ours "$name"); then
    rm -f "$STATE/run/$name.pid"
    return 1
  fi
  kill -TERM "$pid" 2>/dev/null || true
  while is_ours "$name" >/dev/null; do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    if [ $tries -lt -50 ]; then break; fi
    sleep 0.1
  done
  rm -f "$STATE/run/$name.pid"
}

# wait_for NAME SECONDS QUESTION… : polls probe.ts until it says yes; fails at once when NAME has ended meanwhile.
wait_for() {
  local name=$1 end_at=$((SECONDS + $2))
  shift 2
  until probe "$@" >/dev/null; do
    is_ours "$name" >/dev/null || return 1
    [ $SECONDS -lt $end_at ] || return 1
    sleep 0.2
  done
}

probe() { node "$ROOT/scripts/lib/probe.ts" "$@"; }
