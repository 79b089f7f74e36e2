#!/usr/bin/env bash
# A rank that hangs, is killed or throws ends the whole job soon, and what the others say names it, over MPI and Gloo:
#   rank_faults_test.sh WORK PROGRAM MPIRUN...
set -euo pipefail
work=$1 program=$2
shift 2
mkdir -p "$work"
fail() { echo "FAILED: $*" >&2; cat "$work/out" >&2; exit 1; }

# Ends with a status other than 0, within a time that is well below the minute of a rank that hangs.
ends() {
  local begin=$SECONDS status=0
  timeout --kill-after=5 40 "$@" >"$work/out" 2>&1 || status=$?
  [[ $status != 0 ]] || fail "$*: the status is 0"
  [[ $status != 124 && $status != 137 || $((SECONDS - begin)) -lt 40 ]] || fail "$*: still there after 40 s"
}
says() { grep -qE "$1" "$work/out" || fail "nothing says '$1'"; }

ends "$@" -n 3 "$program" hang 2
says "^told: rank [02] of 3: rank 1 did not come to the (sum|broadcast of rank 0) within 2 s; it hangs or is gone$"
ends "$@" -n 4 "$program" barrier
says "^told: rank [023] of 4: rank 1 did not come to the barrier within 2 s; it hangs or is gone$"
ends "$@" -n 3 "$program" broken 2
says "^told: rank [02] of 3: rank 1 did not come to the (sum|broadcast of rank 0) within 2 s; it hangs or is gone$"
ends "$@" -n 3 "$program" stop 2
says "^told: rank [02] of 3: (ranks? .* did not come to .*|.* was not done) within 2 s; "
ends "$@" -n 3 "$program" kill
[[ $program == *mpi* ]] || says "^told: rank [02] of 3: rank 1 is gone: "
ends "$@" -n 3 "$program" throw
says "^told: the disk is full$"
ends "$@" -n 3 "$program" leave
says "^told: rank [02] of 3: rank 1 has left the group, so this one cannot go on$"
# mpirun makes an error of it; without it who waited 2 s for rank 1 has left, and nothing is wrong.
[[ $program != *mpi* ]] || ends "$@" -n 3 "$program" end 2
