#!/usr/bin/env bash
# Formats every source of the project with clang-format; --check changes nothing, lists what would change and fails.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sources() { find include src kernels tests benchmarks examples \( -name "*.h" -o -name "*.cc" -o -name "*.cu" -o -name "*.inc" \) -print0; }
if [[ ${1:-} != --check ]]; then
  sources | xargs -0 clang-format -i
  exit
fi
wrong=0
while IFS= read -r -d '' file; do
  if ! clang-format "$file" | cmp -s - "$file"; then
    echo "not formatted: $file"
    wrong=1
  fi
done < <(sources)
[[ $wrong == 0 ]] || { echo "scripts/format.sh formats them" >&2; exit 1; }
