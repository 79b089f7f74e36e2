#!/usr/bin/env bash
# Trains on Spark: examples/spark/run.sh EXAMPLE [--workers N] [options of the example, see --help], where EXAMPLE is
# mnist, cifar, featurizer or tabular. Installs what is missing first and runs on local-cluster: two executors that are
# processes of their own, as on a cluster.
set -euo pipefail
exec </dev/null
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
example=${1:-mnist}
shift || true
if [[ ! -e $here/$example.py || $example == options || $example == datasets ]]; then
  echo "there is no example $example; there are mnist, cifar, featurizer and tabular" >&2
  exit 2
fi
workers=2 options=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --workers) workers=${2:?--workers needs a number}; shift ;;
    --workers=*) workers=${1#*=} ;;
    *) options+=("$1") ;;
  esac
  shift
done

python=$("$root/scripts/setup_spark.sh" | tail -n 1)/bin/python
SPARK_HOME=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
export SPARK_HOME PYSPARK_PYTHON=$python PYTHONWARNINGS=ignore
if [[ $example != tabular && $example != cifar && -z ${SPARKNET_DATA_DIR:-} && ! -e $root/data/mnist ]]; then
  "$root/scripts/setup.sh" download && "$root/scripts/fetch_mnist.sh" || echo "going on without MNIST" >&2
fi
exec "$python" "$here/$example.py" "$workers" --master 'local-cluster[2,1,1024]' ${options[@]+"${options[@]}"}
