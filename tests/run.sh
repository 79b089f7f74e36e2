#!/usr/bin/env bash
# Builds and runs every test: tests/run.sh [--no-spark] [options of ctest], say `tests/run.sh -R pooling` or
# `tests/run.sh -LE slow`. Installs what is missing first. Tests on real data need SPARKNET_DATA_DIR; without it ctest
# lists them as skipped. Those on Spark, which is large, run where all run and --no-spark does not leave them out.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
spark="skipped: only some tests were asked for"
if [[ ${1:-} == --no-spark ]]; then
  spark="skipped: --no-spark"
  shift
elif [[ $# -eq 0 ]]; then
  spark=run
fi
"$root/scripts/setup.sh" test
"$root/scripts/build.sh" dev
cd "$root"
ctest --preset dev --parallel "$(nproc)" "$@"
if [[ $spark == run ]]; then
  "$root/tests/spark/run.sh"
else
  echo "tests on Spark: $spark"
fi
