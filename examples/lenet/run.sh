#!/usr/bin/env bash
# Trains LeNet on MNIST: examples/lenet/run.sh [options of lenet, see --help]. Installs and builds what is missing first.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/scripts/setup.sh" build
# What runs on GPUs takes nvcc minutes, so it is built when it is wanted.
targets=(lenet)
[[ " $* " != *" --device"[\ =]cuda* ]] || targets+=(sparknet_gpu)
"$root/scripts/build.sh" release "${targets[@]}"

# lenet looks for MNIST where SPARKNET_DATA_DIR says and in data/mnist of this project, which is filled here.
found() { compgen -G "$1/train-images-idx3-ubyte*" >/dev/null; }
needs_mnist=1
for arg; do
  case $arg in --data | --data=* | --rendered | --help | -h) needs_mnist= ;; esac
done
tried=$root/build/release/mnist_was_not_fetched  # once is enough: it may have waited for a network that is not there
if [[ -n $needs_mnist && ! -e $tried ]] && ! found "${SPARKNET_DATA_DIR:-}/mnist" && ! found "$root/data/mnist"; then
  echo "fetching MNIST into data/mnist"
  if ! { "$root/scripts/setup.sh" download && "$root/scripts/fetch_mnist.sh"; }; then
    echo "going on without; scripts/fetch_mnist.sh tries again" >&2
    touch "$tried"
  fi
fi
exec "$root/build/release/bin/lenet" "$@"
