# shellcheck shell=bash
# The project's npm packages, without running install scripts of theirs but ssh2's. Needs say.sh, node.sh.

# deps_install all|prod : makes node_modules what package-lock.json says (prod: without the tools of development), and
# builds ssh2's native crypto where there is a compiler. Sets DEPS_STATE, and DEPS_LOST to what is lost without one.
deps_install() {
  local kind=$1 omit=() log=${LOG:-/dev/stderr}
  DEPS_STATE=ok DEPS_LOST=''
  if ! (cd "$ROOT" && node scripts/lib/deps-current.ts "$kind"); then
    [ "$kind" = prod ] && omit=(--omit=dev)
    doing 'installing npm packages'
    (cd "$ROOT" && npm ci --ignore-scripts --no-audit --no-fund ${omit[@]+"${omit[@]}"} </dev/null >>"$log" 2>&1) ||
      fail 'npm could not install the packages of package-lock.json' "cd $ROOT && npm ci --ignore-scripts" "$0"
  fi
  deps_has_native_crypto || deps_build_crypto "$log"
}

# Whether ssh2's addon registers with this very Node: a build for another one loads nothing and ssh2 says nothing.
deps_has_native_crypto() {
  (cd "$ROOT" && node -e 'process.exit(require("ssh2/lib/protocol/crypto.js").bindingAvailable ? 0 : 1)' 2>/dev/null)
}

deps_build_crypto() {
  local tool missing=() log=$1
  for tool in g++ make python3; do have $tool || missing+=("$tool"); done
  if [ ${#missing[@]} = 0 ]; then
    doing "building ssh2's native crypto"
    (cd "$ROOT" && npm_config_nodedir="$NODE_DIR" npm rebuild ssh2 </dev/null >>"$log" 2>&1) || true
    deps_has_native_crypto && return 0
    DEPS_LOST="ssh2's native crypto did not build (see $log): pushes work, large ones run at about two thirds of the speed"
  else
    DEPS_LOST="no native crypto for SSH (${missing[*]} missing): pushes work, large ones run at about two thirds of the speed; apt-get install g++ make python3 and run $0 again"
  fi
}
