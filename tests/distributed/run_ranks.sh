#!/usr/bin/env bash
# What mpirun does, for groups that need no mpirun: run_ranks.sh -n RANKS PROGRAM [ARGUMENT]... starts the program so many
# times on this machine, with RANK, SIZE and MEETING, an empty folder, in the environment. Where one fails the others have
# a moment to say so, and are ended.
set -uo pipefail
[[ $1 == -n ]] && export SIZE=$2 && shift 2
MEETING=$(mktemp -d)
export MEETING
trap 'kill -KILL $(jobs -p) 2>/dev/null; rm -rf "$MEETING"' EXIT
for ((rank = 0; rank < SIZE; ++rank)); do
  RANK=$rank "$@" </dev/null &
done
for ((rank = 0; rank < SIZE; ++rank)); do
  wait -n && continue
  status=$?
  sleep 2
  exit $status
done
