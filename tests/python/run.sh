#!/usr/bin/env bash
# Runs the tests of the Python package on a library that was just built: tests/python/run.sh LIBRARY.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
for python in python3 /usr/bin/python3; do
  "$python" -c 'import numpy' 2>/dev/null || continue
  export SPARKNET_C_LIBRARY=$1 PYTHONPATH=$root/python PYTHONDONTWRITEBYTECODE=1
  exec "$python" -m unittest discover -s "$root/tests/python" -p '*_test.py'
done
echo "skipped: no Python with NumPy is here (Debian: python3-numpy)"
