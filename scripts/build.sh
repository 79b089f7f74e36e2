#!/usr/bin/env bash
# Builds targets of a preset and is silent about it unless it takes time or fails: scripts/build.sh PRESET [TARGET]...
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=$1
shift
targets=("${@:-all}")
tree=build/$preset
mkdir -p "$tree"
log=$tree/build.log

run() {
  "$@" >"$log" 2>&1 && return
  cat "$log" >&2
  echo "failed: $*" >&2
  exit 1
}
# A tree that was configured once configures itself again when it must.
if [[ ! -e $tree/build.ninja ]]; then run cmake --preset "$preset"; fi
if ! ninja -C "$tree" -n "${targets[@]}" 2>/dev/null | grep -q 'no work to do'; then
  echo "building ${targets[*]} in $tree (a minute or more the first time)"
  run cmake --build "$tree" --target "${targets[@]}"
fi
