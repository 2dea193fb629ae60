# shellcheck shell=bash
# What the set-up scripts print: one line a step, and one way to fail.

# step NAME STATE TEXT… : one finished step; STATE is ok, using, started, wrote, skipped or stopped.
step() {
  local name=$1 state=$2
  shift 2
  printf '  %-9s %-8s %s\n' "$name" "$state" "$*"
}

# doing TEXT… : what is going on now, where a step takes longer than a moment.
doing() { printf '            …        %s\n' "$*"; }

# fail WHAT [NEXT…] : says what failed, the end of $LOG where a step wrote one, and what to type; ends the script.
fail() {
  local what=$1 line
  shift
  {
    printf '\n%s: %s\n' "${0##*/}" "$what"
    if [ -n "${LOG:-}" ] && [ -s "$LOG" ]; then
      printf '\nThe last lines of %s:\n' "$LOG"
      tail -n 15 "$LOG" | sed 's/^/    /'
    fi
    if [ $# -gt 0 ]; then
      printf '\nWhat to do next:\n'
      for line in "$@"; do printf '    %s\n' "$line"; done
    fi
  } >&2
  exit 1
}

# have PROGRAM : whether it is on PATH.
have() { command -v "$1" >/dev/null 2>&1; }
