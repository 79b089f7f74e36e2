#!/usr/bin/env bash
# What the program sparknet says and does where it needs no data set: program_test.sh SPARKNET WORK
set -euo pipefail
sparknet=$1 work=$2
source "$(dirname "${BASH_SOURCE[0]}")/helpers.sh"
rm -rf "$work"
mkdir -p "$work"
cd "$work"

# Mistakes of the command line.
is 2 "which of the commands is it? train test"
is 2 "there is no command trian; did you mean \"train\"?" trian
is 2 "there is no option --solvr; did you mean \"--solver\"?" train --solvr x
is 2 "--solver is required" train
is 2 "excludes" train --solver x --weights y --snapshot z
is 2 "--weights is required" test --model x
is 2 "sparknet: solver.prototxt is one argument too many; did you mean --solver solver.prototxt?" train solver.prototxt
is 2 "sparknet: d is one argument too many" convert mnist a b c d
is 2 "--iterations: 99999999999999999999 is too large" test --model x --weights y --iterations 99999999999999999999
is 2 "--weights: names no file" test --model x --weights ""
is 2 "--weights: names no file" summary --model x --weights ,
is 2 "--weights: names no file" train --solver x --weights ""
is 2 "--snapshot: names no file" train --solver x --snapshot ""
is 2 "--iterations: 0 is no whole number from 1 on" test --model x --weights y --iterations 0
is 2 "--phase: BOTH not in {TEST,TRAIN}" test --model x --weights y --phase BOTH
is 2 "there is no command minst; did you mean \"mnist\"?" convert minst a b c
is 2 "OUT is required" convert mnist images labels
is 2 "needs a batch at least" convert cifar10 out
is 2 "--backend: mdb not in {leveldb,lmdb}" convert mnist a b c --backend mdb
is 2 "features.txt is to end in .npy or .h5" extract --model x --weights y --blobs a features.txt
is 2 "a .npy file holds one blob, and --blobs names 2" extract --model x --weights y --blobs a,b features.npy
is 0 "--sigint_effect" train --help
is 0 "sparknet " --version

# The GPUs, or what is missing for them.
SPARKNET_CUDA_MODULE=/nowhere.so is 1 "/nowhere.so: cannot open shared object file" device_query
if "$sparknet" device_query >out.txt 2>err.txt; then
  grep -q '^cuda:0: .*, sm_' out.txt || fail "device_query: $(cat out.txt)"
else
  grep -qE '^sparknet: (there is no NVIDIA driver|there is an NVIDIA driver and no GPU|no GPU can be used|the module for GPUs)' err.txt ||
    fail "device_query: $(cat err.txt)"
fi

# A net and its solver.
cat >net.prototxt <<'END'
name: "small"
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 4 dim: 3 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 }
  }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" include { stage: "rectified" } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
END
cat >solver.prototxt <<'END'
net: "net.prototxt"
base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" random_seed: 3
max_iter: 20 display: 10 snapshot: 10 snapshot_prefix: "small"
test_iter: 2 test_iter: 3 test_interval: 10
test_state { stage: "plain" } test_state { stage: "rectified" }
END
# What is for GPUs comes to the net from every command, which refuses it on the CPU.
for command in "train --solver solver.prototxt" "summary --model net.prototxt" "time --model net.prototxt"; do
  # shellcheck disable=SC2086
  is 1 'net "small": bf16 is for nets of f32 on a GPU' $command --bf16
  # shellcheck disable=SC2086
  is 1 'net "small": nhwc is for nets on a GPU' $command --nhwc
done
is 0 "small (test" summary --model net.prototxt --nchw

is 0 "snapshot small_iter_20.solverstate" train --solver solver.prototxt
grep -qE '^iteration 0: test 0 \(plain\)  accuracy = ' out.txt || fail "no test before the first step: $(cat out.txt)"
grep -qE '^iteration 20: test 1 \(rectified\)  accuracy = 1  loss = 0\.' out.txt || fail "no test at the end: $(cat out.txt)"
grep -qE '^iteration 10/20  loss [0-9.]+  rate 0\.100000' out.txt || fail "no line of progress: $(cat out.txt)"
if grep -q $'[\r\033]' out.txt; then fail "control characters outside of a terminal"; fi
[[ -s small_iter_10.caffemodel && -s small_iter_10.solverstate ]] || fail "no snapshot on the way"

# Going on ends where the whole run ended.
mv small_iter_20.caffemodel whole.caffemodel
is 0 "small_iter_10.solverstate goes on at iteration 10" train --solver solver.prototxt --snapshot small_iter_10.solverstate
cmp whole.caffemodel small_iter_20.caffemodel || fail "the run that went on ended elsewhere"

# Variants of a solver.
sed 's/snapshot_prefix: "small"/snapshot_format: HDF5/' solver.prototxt >named.prototxt
is 0 "snapshot named_iter_20.solverstate.h5" train --solver named.prototxt
is 0 "goes on at iteration 10" train --solver named.prototxt --snapshot named_iter_10.solverstate.h5
is 0 "accuracy = 1" test --model net.prototxt --weights named_iter_20.caffemodel.h5 --iterations 5
sed 's/snapshot: 10/snapshot_after_train: false/' solver.prototxt >none.prototxt
is 0 "iteration 20/20" train --solver none.prototxt --weights whole.caffemodel
if grep -q snapshot out.txt; then fail "snapshot_after_train: false makes one"; fi
losses() { sed -n 's/^\(iteration .*\)  rate .*/\1/p' out.txt; }
means=$(losses)
sed 's/display: 10/display: 10 average_loss: 10/' none.prototxt >averaged.prototxt
is 0 "iteration 20/20" train --solver averaged.prototxt --weights whole.caffemodel
[[ -n $means && $(losses) == "$means" ]] || fail "average_loss changes the means since the last line: $(losses), not $means"
sed 's/display: 10/average_loss: 0/' none.prototxt >averaged.prototxt
is 1 "average_loss is 0" train --solver averaged.prototxt
sed 's/momentum: 0.9/type: "AdamW" momentum: 0.9/; s/"small"/"decoupled"/' solver.prototxt >adamw.prototxt
is 0 "snapshot decoupled_iter_20.snap" train --solver adamw.prototxt
is 0 "goes on at iteration 10" train --solver adamw.prototxt --snapshot decoupled_iter_10.snap

# Signals.
sed 's/max_iter: 20/max_iter: 20000000/; s/snapshot: 10//; s/display: 10/display: 1000/; s/test_interval: 10/test_interval: 1000000/' solver.prototxt >long.prototxt
stop INT "iteration 1000/" train --solver long.prototxt
[[ $status == 130 ]] || fail "exit status $status after SIGINT: $(cat err.txt)"
file=$(sed -n 's/^snapshot //p' out.txt)
[[ -s $file && $file == small_iter_* ]] || fail "no snapshot after SIGINT: $(tail out.txt)"
tail -n 1 out.txt | grep -qx 'stopped after iteration [0-9]*' || fail "the last line is $(tail -n 1 out.txt)"
stop TERM "iteration 1000/" train --solver long.prototxt --sigint_effect none --snapshot small_iter_10.solverstate
[[ $status == 143 ]] || fail "exit status $status after SIGTERM: $(cat err.txt)"
rm out.txt && touch out.txt
"$sparknet" train --solver long.prototxt >out.txt 2>err.txt </dev/null &
run=$!
for text in 'iteration 1000/' 'snapshot small_iter_'; do
  for _ in $(seq 100); do
    if grep -q "^$text" out.txt; then break; fi
    sleep 0.1
  done
  case $text in iteration*) kill -HUP $run ;; snapshot*) kill -TERM $run ;; esac
done
wait $run || true
[[ $(grep -c '^snapshot ' out.txt) == 2 ]] || fail "SIGHUP and SIGTERM made other than two snapshots: $(grep -v / out.txt)"
rm out.txt && touch out.txt
"$sparknet" train --solver long.prototxt --sighup_effect none >out.txt 2>err.txt </dev/null &
run=$!
for _ in $(seq 100); do
  if grep -q '^iteration 1000/' out.txt; then break; fi
  sleep 0.1
done
kill -HUP $run
sleep 0.3
kill -TERM $run || fail "--sighup_effect none: SIGHUP ended the run"
status=0
wait $run || status=$?
[[ $status == 143 ]] || fail "--sighup_effect none: exit status $status"

# Who reads is slow, or gone. The pipe is full when the signal comes, and the line that waits is printed all the same.
sed 's/display: 1000/display: 1/' long.prototxt >chatty.prototxt
mkfifo pipe
# piped: starts training whose lines go to descriptor 3, and waits until nobody having read them holds it up.
piped() {
  "$sparknet" train --solver chatty.prototxt >pipe 2>err.txt </dev/null &
  run=$!
  exec 3<pipe
  sleep 1
}
piped
kill -TERM $run
sleep 0.3
cat <&3 >out.txt
exec 3<&-
status=0
wait $run || status=$?
[[ $status == 143 ]] || fail "a full pipe and SIGTERM: exit status $status: $(cat err.txt)"
[[ $(grep -c '^iteration [0-9]*/' out.txt) == $(sed -n 's/^stopped after iteration //p' out.txt) ]] || fail "a line is lost: $(tail out.txt)"
for signal in TERM PIPE; do
  rm -f small_iter_*
  piped
  [[ $signal == PIPE ]] || kill -$signal $run
  exec 3<&-  # as tee ends at Ctrl-C
  status=0
  wait $run || status=$?
  [[ $status == $((128 + $(kill -l $signal))) ]] || fail "the reader gone and SIG$signal: exit status $status: $(cat err.txt)"
  compgen -G 'small_iter_*.solverstate' >/dev/null || fail "the reader gone and SIG$signal: no snapshot"
done

# Scores, pictures, times, blobs.
is 0 "loss = " test --model net.prototxt --weights whole.caffemodel --iterations 3
[[ $(wc -l <out.txt) == 2 && $(head -n 1 out.txt) == "accuracy = 1" ]] || fail "test says $(cat out.txt)"
is 0 "InnerProductLayer" summary --model net.prototxt --stage rectified
grep -q ReLULayer out.txt || fail "--stage takes no layer in"
cat >absolute.prototxt <<'END'
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "sum" type: "InnerProduct" bottom: "x" top: "sum" inner_product_param { num_output: 3 } }
layer { name: "absolute" type: "AbsVal" bottom: "sum" top: "absolute" }
layer { name: "scores" type: "InnerProduct" bottom: "absolute" top: "scores" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "scores" bottom: "x" top: "loss" }
END
is 0 "<- sum        recomputed" summary --model absolute.prototxt --phase train --recompute
is 0 " (test, frozen, f32, " summary --model net.prototxt --freeze
is 1 "a net that learns cannot be frozen" time --model net.prototxt --freeze
is 0 'digraph "small"' draw --model net.prototxt
is 0 "" draw --model net.prototxt net.dot
[[ ! -s out.txt ]] || fail "draw prints what it writes"
grep -q '^digraph "small"' net.dot || fail "no graph"
is 0 "backward ms" time --model net.prototxt --iterations 3
is 0 "examples/s" time --model net.prototxt --iterations 3 --phase test --freeze
if grep -q backward out.txt; then fail "a backward pass in the test phase"; fi
is 0 "" extract --model net.prototxt --weights whole.caffemodel --blobs ip --iterations 3 ip.npy
head -c 128 ip.npy | grep -aq "'shape': (12, 2, )" || fail "ip.npy begins with $(head -c 128 ip.npy)"
[[ $(wc -c <ip.npy) == $((128 + 12 * 2 * 4)) ]] || fail "ip.npy has $(wc -c <ip.npy) bytes"

# What is wrong with data and nets.
is 1 "sparknet: none.prototxt2: there is no such file" summary --model none.prototxt2
is 1 "did you mean \"ip\"?" extract --model net.prototxt --weights whole.caffemodel --blobs ipp --iterations 1 x.npy
is 2 "--iterations says how many" extract --model net.prototxt --weights whole.caffemodel --blobs ip x.npy
sed 's/"small"/"nowhere\/small"/' solver.prototxt >nowhere.prototxt
is 1 "nowhere/small: no snapshot can be written there" train --solver nowhere.prototxt
sed 's/"net.prototxt"/"nets\/none"/' solver.prototxt >netless.prototxt
is 1 "netless.prototxt:1:1: net \"nets/none\" is not there" train --solver netless.prototxt
sed '/^max_iter/s/max_iter: 20//' solver.prototxt >endless.prototxt
is 1 "endless.prototxt: max_iter is not given" train --solver endless.prototxt
sed 's/test_iter: 3/test_iter: 0/' solver.prototxt >untested.prototxt
is 1 "test_iter is 0; a test has a batch at least" train --solver untested.prototxt
is 1 "net.dot" test --model net.prototxt --weights net.dot
sed 's/num_output: 2/num_output: 5/' net.prototxt >wide.prototxt
is 1 "to train this layer from scratch, give it another name" test --model wide.prototxt --weights whole.caffemodel
sed 's/name: "ip"/name: "other"/' net.prototxt >other.prototxt
is 1 "has no layer of net" test --model other.prototxt --weights whole.caffemodel
is 1 "images: there is no such file" convert mnist images images out
cd / && rm -rf "$work"
echo "ok"
