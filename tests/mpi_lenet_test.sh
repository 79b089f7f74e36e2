#!/usr/bin/env bash
# LeNet on processes: the bits of threads, and a rank that is killed or stopped: mpi_lenet_test.sh LENET WORK MPIRUN...
set -euo pipefail
lenet=$1 work=$2
shift 2
mpirun=("$@")
rm -rf "$work"
mkdir -p "$work"
cd "$work"
run=
trap '[[ -z $run ]] || kill -KILL $run 2>/dev/null; cd / && rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; cat out.txt >&2; exit 1; }
weights() { grep '^weights' "$1/lenet.log" | tail -n 1; }
options=(--rendered --batch 8 --threads 1 --tau 5 --test-interval 0 --display 50 --seed 3)

# Threads and processes end with the same bits; one rank speaks.
"$lenet" "${options[@]}" --iterations 40 --workers 3 --output threads >out.txt
"${mpirun[@]}" -n 3 "$lenet" "${options[@]}" --iterations 40 --communicator mpi --output mpi >out.txt 2>&1
[[ $(weights mpi) == "$(weights threads)" ]] || fail "MPI: $(weights mpi), threads: $(weights threads)"
[[ $(grep -c '^test accuracy' out.txt) == 1 ]] || fail "more than one rank speaks"
tail -n 1 out.txt | grep -qxE 'test accuracy 0\.[0-9]{4}' || fail "the last line is $(tail -n 1 out.txt)"

# Starts a long run in the background, and waits for its second snapshot.
long=(--iterations 2000 --snapshot-every 100)
start() {
  "${mpirun[@]}" -n 3 "$lenet" "${options[@]}" "${long[@]}" --communicator mpi --output killed --snapshot killed/run \
    "$@" >out.txt 2>&1 &
  run=$!
  for _ in $(seq 600); do
    if [[ -e killed/run_iter_200.snap ]]; then return; fi
    sleep 0.1
  done
  fail "no snapshot after a minute"
}
# The process that is rank $1 of the job.
rank() {
  local file
  for file in /proc/[0-9]*/environ; do
    if grep -qzx "OMPI_COMM_WORLD_RANK=$1" "$file" 2>/dev/null && grep -qz killed/run "${file%/environ}/cmdline" 2>/dev/null; then
      file=${file%/environ}
      echo "${file##*/}"
      return
    fi
  done
  fail "there is no rank $1"
}
# The job ends by itself, with an error, within half a minute.
ends() {
  for _ in $(seq 300); do
    if ! kill -0 $run 2>/dev/null; then break; fi
    sleep 0.1
  done
  if kill -0 $run 2>/dev/null; then fail "the job hangs"; fi
  local status=0
  wait $run || status=$?
  run=
  [[ $status != 0 ]] || fail "the job ended with status 0"
}

# A rank that is killed in the middle of a round: the job ends, and goes on from its last snapshot as if nothing had been.
"${mpirun[@]}" -n 3 "$lenet" "${options[@]}" "${long[@]}" --communicator mpi --output calm --snapshot calm/run >out.txt 2>&1
mkdir -p killed
start
kill -KILL "$(rank 1)"
ends
[[ ! -e killed/run_iter_2000.snap ]] || fail "the run was done before it was disturbed"
last=$(find killed -name '*.snap' | sort -V | tail -n 1)
"${mpirun[@]}" -n 3 "$lenet" "${options[@]}" "${long[@]}" --communicator mpi --output resumed --resume "$last" >out.txt 2>&1
grep -qF "resumed from $last" out.txt || fail "not resumed"
[[ $(weights resumed) == "$(weights calm)" ]] || fail "resumed: $(weights resumed), undisturbed: $(weights calm)"

# A rank that hangs: the others say so in time.
rm -rf killed
mkdir killed
start --timeout 2
hung=$(rank 1)
kill -STOP "$hung"
sleep 4  # it is there no more, or cannot be ended by mpirun before it goes on
kill -CONT "$hung" 2>/dev/null || true
ends
# Behind what a bar has drawn, perhaps: mpirun gives the ranks a terminal.
grep -qE 'lenet: rank [02] of 3: .* within 2 s' out.txt || fail "nobody says who hangs"

# Mistakes.
if "${mpirun[@]}" -n 2 "$lenet" "${options[@]}" --iterations 1 >out.txt 2>&1; then fail "two that train alone"; fi
grep -qF 'mpirun started 2 processes that would each train alone; add --communicator mpi' out.txt || fail "unclear"
if "${mpirun[@]}" -n 2 "$lenet" --communicator mpi --resume none.snap --rendered >out.txt 2>&1; then fail "resumed from nothing"; fi
grep -qF 'lenet: none.snap: there is no such file' out.txt || fail "unclear"
echo "ok"
