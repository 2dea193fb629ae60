# shellcheck shell=bash
# The project's npm packages, without running install scripts of theirs but ssh2's. Needs say.sh, apt.sh, node.sh.

# deps_install all|prod : makes node_modules what package-lock.json says (prod: without the tools of development), and
# builds ssh2's native crypto where there is a compiler. In $DEPS_FOLDER, else the checkout; a folder without a lock file
# (what npm pack makes) gets the newest packages that package.json takes. Sets DEPS_STATE, and DEPS_LOST to what is lost
# without a compiler.
deps_install() {
  local kind=$1 options=(--ignore-scripts --no-audit --no-fund) verb=ci log=${LOG:-/dev/stderr} folder=${DEPS_FOLDER:-$ROOT}
  DEPS_STATE=ok DEPS_LOST=''
  if ! (cd "$folder" && node "$ROOT/scripts/lib/deps-current.ts" "$kind"); then
    [ "$kind" = prod ] && options+=(--omit=dev)
    [ -e "$folder/package-lock.json" ] || verb=install
    doing 'installing npm packages'
    (cd "$folder" && npm $verb "${options[@]}" </dev/null >>"$log" 2>&1) ||
      fail 'npm could not install the packages' "cd $folder && npm $verb --ignore-scripts" "$0"
  fi
  deps_has_native_crypto "$folder" || deps_build_crypto "$folder" "$log"
}

# Whether ssh2's addon registers with this very Node: a build for another one loads nothing and ssh2 says nothing.
deps_has_native_crypto() {
  # A wrong one may even crash, which the outer shell would report.
  (cd "$1" && node -e 'process.exit(require("ssh2/lib/protocol/crypto.js").bindingAvailable ? 0 : 1)'; exit $?) 2>/dev/null
}

deps_build_crypto() {
  local tool missing=() folder=$1 log=$2
  if may_install && ! { have g++ && have make && have python3; }; then
    doing "installing a compiler, for ssh2's native crypto"
    apt_install g++ make python3 || true # then without
  fi
  for tool in g++ make python3; do have $tool || missing+=("$tool"); done
  if [ ${#missing[@]} = 0 ]; then
    doing "building ssh2's native crypto"
    (cd "$folder" && npm_config_nodedir="$NODE_DIR" npm rebuild ssh2 </dev/null >>"$log" 2>&1) || true
    deps_has_native_crypto "$folder" && return 0
    deps_drop_crypto "$folder"
    DEPS_LOST="ssh2's native crypto did not build (see $log): pushes work, large ones run at about two thirds of the speed"
  else
    deps_drop_crypto "$folder"
    DEPS_LOST="no native crypto for SSH (${missing[*]} missing): pushes work, large ones run at about two thirds of the speed; apt-get install g++ make python3 and run $0 again"
  fi
}

# One that does not load here (built with another Node's headers, or on another machine) must not crash the server.
deps_drop_crypto() { rm -rf "$1/node_modules/ssh2/lib/protocol/crypto/build"; }
