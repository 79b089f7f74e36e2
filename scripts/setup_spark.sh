#!/usr/bin/env bash
# Installs what sparknet.spark needs: Java with apt, and PySpark, PyArrow, NumPy, pandas and sparknet itself in a virtual
# environment: scripts/setup_spark.sh [FOLDER], build/spark unless it is said. The last line printed is the folder.
# Run again it does only what is not done yet; sparknet is installed anew when its sources are newer.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/build/spark}
"$root/scripts/setup.sh" caffe gloo spark >&2

mkdir -p "$(dirname "$folder")"
log=$folder.log
run() {
  "$@" >"$log" 2>&1 && return
  tail -n 30 "$log" >&2
  echo "setup_spark: failed: $*" >&2
  exit 1
}
packages=(pyspark==4.3.0 'pyarrow>=18' numpy 'pandas>=2.2,<3')
mark=$folder/installed
if [[ $(cat "$mark" 2>/dev/null) != "${packages[*]}" ]]; then
  echo "setup_spark: PySpark and what it needs, into $folder (400 MB)" >&2
  # Debian's own Python: it has a package for virtual environments.
  run /usr/bin/python3 -m venv --clear "$folder"
  run "$folder/bin/pip" install --disable-pip-version-check wheel
  run "$folder/bin/pip" install --disable-pip-version-check "${packages[@]}"
  echo "${packages[*]}" >"$mark"
fi
sources=$(cd "$root" && cat pyproject.toml CMakeLists.txt $(find cmake include kernels src python -type f ! -name '*.pyc' | LC_ALL=C sort) | cksum)
if [[ $(cat "$folder/sparknet" 2>/dev/null) != "$sources" ]]; then
  echo "setup_spark: sparknet, into $folder (some minutes the first time)" >&2
  run "$folder/bin/pip" install --disable-pip-version-check --no-deps "$root"
  echo "$sources" >"$folder/sparknet"
fi
echo "$folder"
