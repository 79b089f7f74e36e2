#!/usr/bin/env bash
# Runs the tests of the Python package, of sparknet.Net on the JVM and those on Spark: tests/spark/run.sh [what unittest
# runs, say Local]...
# Installs what is missing first, into a virtual environment; see scripts/setup_spark.sh.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$("$root/scripts/setup_spark.sh" | tail -n 1)/bin/python
# Executors that are processes of their own are started by what lies there.
SPARK_HOME=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
export SPARK_HOME PYSPARK_PYTHON=$python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"  # where nothing is called sparknet
if [[ $# -eq 0 ]]; then
  "$python" -m unittest discover -s "$root/tests/python" -p '*_test.py'
  "$root/scripts/build.sh" dev sparknet_jni
  "$root/tests/java/run.sh" "$root/build/dev/src/libsparknet_jni.so" "$SPARK_HOME/jars"
fi
"$python" -W ignore "$root/tests/spark/spark_test.py" "$@"
