#!/usr/bin/env bash
# What examples/lenet says and leaves behind: lenet_test.sh LENET WORK
set -euo pipefail
lenet=$1 work=$2
rm -rf "$work"
mkdir -p "$work/empty"
cd "$work"
fail() { echo "FAILED: $*" >&2; exit 1; }
quick=(--rendered --batch 8 --threads 1 --output out)

# is STATUS TEXT ARGUMENTS...: lenet ends with the status and its messages hold the text.
is() {
  local status=0 text=$2 expected=$1
  shift 2
  "$lenet" "$@" >out.txt 2>err.txt </dev/null || status=$?
  [[ $status == "$expected" ]] || fail "lenet $*: exit status $status, not $expected: $(cat out.txt err.txt)"
  grep -qF -- "$text" out.txt err.txt || fail "lenet $*: does not say \"$text\": $(cat out.txt err.txt)"
}

# A run: plain lines, and the accuracy last.
is 0 "data: digits rendered here" "${quick[@]}" --iterations 20 --display 10 --test-interval 10 --seed 5 \
  --snapshot snaps/run --dot net.dot
grep -qE '^iteration 10/20  loss [0-9]+\.[0-9]{4}  rate 0\.0[0-9]+  [0-9]+ examples/s$' out.txt || fail "no line of progress"
grep -qE '^iteration 20: test accuracy 0\.[0-9]{4}, test loss [0-9]+\.[0-9]{4}$' out.txt || fail "no line of a test"
tail -n 1 out.txt | grep -qxE 'test accuracy 0\.[0-9]{4}' || fail "the last line is $(tail -n 1 out.txt)"
if grep -q $'[\r\033]' out.txt; then fail "control characters outside of a terminal"; fi
grep -q '^digraph "LeNet"' net.dot || fail "--dot wrote no graph"
grep -q '</svg>' out/lenet.svg || fail "no curve"
weights=$(grep '^weights' out/lenet.log)

# The same seed gives the same bits, another does not; a resumed run ends where the whole one did.
is 0 "test accuracy" "${quick[@]}" --iterations 20 --test-interval 0 --seed 5
[[ $(grep '^weights' out/lenet.log) == "$weights" ]] || fail "equal runs ended with different weights"
is 0 "test accuracy" "${quick[@]}" --iterations 20 --test-interval 0 --seed 6
[[ $(grep '^weights' out/lenet.log) != "$weights" ]] || fail "the seed changes nothing"
is 0 "snapshot snaps/half_iter_10.snap" "${quick[@]}" --iterations 10 --test-interval 0 --seed 5 --snapshot snaps/half
is 0 "resumed from snaps/half_iter_10.snap at iteration 10" "${quick[@]}" --iterations 20 --test-interval 0 --seed 5 \
  --snapshot snaps/half --resume snaps/half_iter_10.snap
cmp snaps/run_iter_20.snap snaps/half_iter_20.snap || fail "the resumed run ended with different weights"
is 0 "nothing is left to train" "${quick[@]}" --iterations 20 --seed 5 --resume snaps/run_iter_20.snap

# Workers that are averaged: lines, tests and the end as for one, and the same bits again.
is 0 "iteration 20: test accuracy" "${quick[@]}" --iterations 25 --display 10 --test-interval 10 --workers 3 --tau 4
grep -qE '^iteration 12/25 ' out.txt || fail "no line after the round that passed iteration 10"
grep -qE '^iteration 25: test accuracy' out.txt || fail "no test at the end"
weights=$(grep '^weights' out/lenet.log)
is 0 "test accuracy" "${quick[@]}" --iterations 25 --test-interval 0 --workers 3 --tau 4
[[ $(grep '^weights' out/lenet.log) == "$weights" ]] || fail "equal runs of three workers ended with different weights"
is 0 "snapshot snaps/group_iter_12.snap" "${quick[@]}" --iterations 25 --test-interval 0 --workers 3 --tau 4 \
  --snapshot snaps/group --snapshot-every 10
is 0 "resumed from snaps/group_iter_12.snap at iteration 12" "${quick[@]}" --iterations 25 --test-interval 0 --workers 3 \
  --tau 4 --resume snaps/group_iter_12.snap
[[ $(grep '^weights' out/lenet.log | tail -n 1) == "$weights" ]] || fail "the resumed group ended with different weights"
is 0 "resumed from snaps/group_iter_12.snap" "${quick[@]}" --iterations 25 --workers 2 --tau 4 --resume snaps/group_iter_12.snap
is 1 "snaps/group_iter_12.snap, byte 0: is a snapshot of a group of workers" "${quick[@]}" --resume snaps/group_iter_12.snap
for outer in diloco slowmo elastic; do
  is 0 "test accuracy" "${quick[@]}" --iterations 20 --workers 2 --tau 4 --outer $outer
done

# Ctrl-C.
"$lenet" "${quick[@]}" --iterations 1000000 --seed 5 --snapshot snaps/long >out.txt 2>&1 </dev/null &
run=$!
for _ in $(seq 100); do
  if grep -q '^iteration 100/' out.txt; then break; fi
  sleep 0.1
done
kill -TERM $run  # a shell's background jobs ignore SIGINT
status=0
wait $run || status=$?
[[ $status == 143 ]] || fail "exit status $status after SIGTERM: $(cat out.txt)"
file=$(sed -n 's/^stopped after iteration [0-9]*; to go on: --resume //p' out.txt)
[[ -s $file ]] || fail "no snapshot to go on from: $(cat out.txt)"
is 0 "nothing is left to train" "${quick[@]}" --iterations 1 --seed 5 --resume "$file"

# Mistakes.
is 1 "lenet: --data $work/none: there is no such folder" --data "$work/none"
is 1 "lenet: --data empty: MNIST's train-images-idx3-ubyte[.gz] is neither there nor in its folder mnist" --data empty
mkdir broken
echo "not MNIST" >broken/train-images-idx3-ubyte
is 1 "broken" --data broken
is 1 "lenet: none.snap" "${quick[@]}" --resume none.snap
is 1 "lenet: net.dot, byte 0: a snapshot begins with" "${quick[@]}" --resume net.dot
is 1 "seed 5" "${quick[@]}" --resume snaps/run_iter_20.snap
is 2 "lenet: --batch: 0 is no whole number from 1 on" --batch 0
is 2 "lenet: --threads: many is no whole number from 1 on" --threads many
is 2 "lenet: --seed: -1 is no whole number from 0 on" --seed -1
is 2 "lenet: there is no option --iteration; did you mean \"--iterations\"?" --iteration 10
is 2 "lenet: train is one argument too many" train
is 2 "--outer: mean not in {average,diloco,slowmo,elastic}" --outer mean
OMPI_COMM_WORLD_SIZE=4 is 2 "mpirun started 4 processes that would each train alone; add --communicator mpi"
is 2 "--workers is 4, and mpirun started 1 process: mpirun -n 4" --communicator mpi --workers 4
is 0 "--snapshot-every" --help
mkdir -p blocked && touch blocked/file
is 1 "lenet: blocked/file/out: Not a directory" --rendered --iterations 1 --output blocked/file/out
cd / && rm -rf "$work"
echo "ok"
