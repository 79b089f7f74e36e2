#!/usr/bin/env bash
# Kills lenet with SIGKILL at random moments and goes on from the last snapshot, until it is done:
#   kill_resume_test.sh LENET WORK [SEED]
# Every snapshot on the way, and the last one, is bit for bit that of a run nobody disturbed; a damaged one never loads.
set -euo pipefail
lenet=$1 work=$2
RANDOM=${3:-1}
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work/calm" "$work/killed" "$work/damaged"' EXIT
options=(--rendered --iterations 300 --batch 32 --threads 2 --seed 3 --snapshot-every 10 --test-interval 0)
fail() { echo "FAILED: $*" >&2; exit 1; }
newest() { find "$work/killed" -name '*.snap' | sort -V | tail -n 1; }

"$lenet" "${options[@]}" --snapshot "$work/calm/run" --output "$work/calm" >"$work/calm.out"
[[ $(find "$work/calm" -name '*.snap' | wc -l) == 30 ]] || fail "the undisturbed run did not write 30 snapshots"

mkdir -p "$work/killed"
kills=0
while [[ ! -e $work/killed/run_iter_300.snap ]]; do
  resume=()
  last=$(newest)
  if [[ -n $last ]]; then resume=(--resume "$last"); fi
  "$lenet" "${options[@]}" --snapshot "$work/killed/run" --output "$work/killed" "${resume[@]}" >"$work/killed.out" 2>&1 &
  run=$!
  # Later and later, or a slow machine would never get from one snapshot to the next.
  sleep "$(awk -v r=$RANDOM -v k=$kills 'BEGIN { print (0.1 + 0.7 * r / 32767) * (1 + k / 10) }')"
  if kill -KILL $run 2>/dev/null; then kills=$((kills + 1)); fi
  status=0
  wait $run 2>/dev/null || status=$?
  [[ $status == 0 || $status == 137 ]] || fail "exit status $status: $(cat "$work/killed.out")"
  for file in "$work"/killed/*.snap; do
    [[ -e $file ]] || continue
    cmp "$file" "$work/calm/${file##*/}" || fail "after $kills kills, ${file##*/} differs"
  done
  find "$work/killed" -name '*.snap' ! -path "$(newest)" -delete
done
[[ $kills -gt 0 ]] || fail "the run was done before it was killed"

# What a crash of the machine or a bad disk may leave.
mkdir -p "$work/damaged"
whole=$work/calm/run_iter_300.snap
size=$(stat -c %s "$whole")
refused() {
  status=0
  "$lenet" "${options[@]}" --resume "$1" --output "$work/damaged" >"$work/damaged.out" 2>&1 || status=$?
  [[ $status == 1 ]] || fail "$2: exit status $status"
  grep -q "^lenet: .*${1##*/}" "$work/damaged.out" || fail "$2: $(cat "$work/damaged.out")"
}
for part in 0 1 8 100 $((size / 2)) $((size - 4)) $((size - 1)); do
  head -c "$part" "$whole" >"$work/damaged/cut.snap"
  refused "$work/damaged/cut.snap" "cut off after $part bytes"
done
for at in 0 9 60 $((size / 3)) $((size - 1)); do
  cp "$whole" "$work/damaged/flipped.snap"
  byte=$(od -An -tu1 -j "$at" -N 1 "$whole")
  printf "\\x$(printf %02x $((byte ^ 16)))" | dd of="$work/damaged/flipped.snap" bs=1 seek="$at" conv=notrunc status=none
  refused "$work/damaged/flipped.snap" "a bit of byte $at flipped"
done
{ cat "$whole"; echo; } >"$work/damaged/longer.snap"
refused "$work/damaged/longer.snap" "a byte too many"
echo "killed $kills times; all snapshots equal those of the undisturbed run"
