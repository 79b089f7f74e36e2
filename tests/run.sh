#!/usr/bin/env bash
# Builds and runs every test: tests/run.sh [options of ctest], say `tests/run.sh -R pooling` or `tests/run.sh -LE slow`.
# Installs what is missing first. Tests on real data need SPARKNET_DATA_DIR; without it ctest lists them as skipped.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/scripts/setup.sh" test
"$root/scripts/build.sh" dev
cd "$root"
exec ctest --preset dev --parallel "$(nproc)" "$@"
