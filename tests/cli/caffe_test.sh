#!/usr/bin/env bash
# Caffe's own files through the program sparknet: the scores that Caffe gave. caffe_test.sh SPARKNET WORK
set -euo pipefail
sparknet=$1 work=$2 data=${SPARKNET_DATA_DIR:-}
source "$(dirname "${BASH_SOURCE[0]}")/helpers.sh"
for folder in mnist cifar10 caffe_examples; do
  [[ -n $data && -d $data/$folder ]] && continue
  echo "skipped: needs the data set \"$folder\" below \$SPARKNET_DATA_DIR"
  exit 0
done
rm -rf "$work"
mkdir -p "$work"/examples/{mnist,cifar10}
cd "$work"
models=$data/caffe_examples
cp "$models"/lenet*.prototxt "$models"/mnist*.prototxt examples/mnist
cp "$models"/cifar10*.prototxt "$data/cifar10/mean.binaryproto" examples/cifar10

# scores MODEL WEIGHTS ACCURACY LOSS: over all test images, and nothing else is printed.
scores() {
  is 0 "accuracy = $3" test --model "$1" --weights "$models/$2" --iterations 100
  [[ $(cat out.txt) == "accuracy = $3"$'\n'"loss = $4" ]] || fail "$2: $(cat out.txt), not $3 and $4"
}

is 0 "" convert mnist "$data"/mnist/train-{images-idx3,labels-idx1}-ubyte.gz examples/mnist/mnist_train_lmdb
is 0 "" convert mnist "$data"/mnist/t10k-{images-idx3,labels-idx1}-ubyte.gz examples/mnist/mnist_test_lmdb
is 1 "is there already" convert mnist "$data"/mnist/t10k-{images-idx3,labels-idx1}-ubyte.gz examples/mnist/mnist_test_lmdb
lenet=examples/mnist/lenet_train_test.prototxt
scores $lenet lenet_iter_10000.caffemodel 0.9905 0.0291821
gzip -dc "$data"/mnist/t10k-images-idx3-ubyte.gz >plain
is 0 "" convert mnist plain "$data"/mnist/t10k-labels-idx1-ubyte.gz mnist_test_leveldb --backend leveldb
sed 's/examples.mnist.mnist_test_lmdb/mnist_test_leveldb/' $lenet |
  awk '/mnist_test_leveldb/ { test = 1 } test { sub("LMDB", "LEVELDB") } { print }' >leveldb.prototxt
scores leveldb.prototxt lenet_iter_10000.caffemodel 0.9905 0.0291821

is 0 "" convert cifar10 "$data"/cifar10/test_batch.bin.gz examples/cifar10/cifar10_test_leveldb --backend leveldb
is 0 "" convert cifar10 "$data"/cifar10/data_batch_{1,2}.bin.gz examples/cifar10/cifar10_train_leveldb --backend leveldb
quick=examples/cifar10/cifar10_quick_train_test.prototxt
scores $quick cifar10_quick_iter_5000.caffemodel 0.7491 0.74817

# Blobs: the logits of the first images are what others found; in-place layers leave their top, as in Caffe.
is 0 "" extract --model $quick --weights "$models"/cifar10_quick_iter_5000.caffemodel --blobs ip2 --iterations 1 ip2.npy
numbers() { tail -c +129 "$1" | od -An -v -t f4 -w4; }
paste <(numbers ip2.npy) <(numbers "$models"/cifar10_quick_iter_5000.ref_ip2_test_first100.npy) |
  awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) bad++ } END { exit NR != 1000 || bad }' || fail "other logits"
is 0 "" extract --model $lenet --weights "$models"/lenet_iter_10000.caffemodel --blobs ip1 --iterations 1 ip1.npy
numbers ip1.npy | awk '$1 < 0 { bad++ } END { exit NR != 50000 || bad }' || fail "ip1 is not what relu1 made of it"
is 0 "" extract --model $lenet --weights "$models"/lenet_iter_10000.caffemodel --blobs ip2,label features.h5
echo features.h5 >features.txt
cat >score.prototxt <<'END'
name: "score"
layer { name: "in" type: "HDF5Data" top: "ip2" top: "label" hdf5_data_param { source: "features.txt" batch_size: 100 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" }
END
is 0 "accuracy = 0.9905" test --model score.prototxt --weights "$models"/lenet_iter_10000.caffemodel --iterations 100

# Caffe's own solver trains, stops with a snapshot and goes on from it; and goes on from Caffe's snapshot.
solver=examples/mnist/lenet_solver.prototxt
stop INT "iteration 100/10000" train --solver $solver
[[ $status == 130 ]] || fail "exit status $status after SIGINT: $(cat out.txt err.txt)"
grep -qE '^iteration 0: test  accuracy = 0\.[0-9]+  loss = [0-9.]+$' out.txt || fail "no test: $(cat out.txt)"
state=$(sed -n 's/^snapshot //p' out.txt)
[[ $state == examples/mnist/lenet_iter_*.solverstate && -s $state ]] || fail "no snapshot: $(cat out.txt)"
at=${state//[^0-9]/}
stop INT "iteration $((at / 100 * 100 + 100))/10000" train --solver $solver --snapshot "$state"
[[ $status == 130 ]] || fail "exit status $status after SIGINT: $(cat out.txt err.txt)"
grep -qx "$state goes on at iteration $at" out.txt || fail "does not go on at $at: $(cat out.txt)"
stop INT "iteration 5000: test" train --solver $solver --snapshot "$models"/lenet_iter_5000.solverstate
# Caffe's 0.0310249 is within a last digit, as sums are rounded otherwise.
grep -qE "iteration 5000: test  accuracy = 0\.9893  loss = 0\.0310(249|25)$" out.txt || fail "Caffe's weights score otherwise: $(cat out.txt)"
cd / && rm -rf "$work"
echo "ok"
