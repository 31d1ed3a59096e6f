#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# killed.sh <ringer> <mpirun>: one of four processes is killed at some moment of a run. The others end by
# themselves within their deadline, and name it.
set -uo pipefail
ringer=$(realpath "$1")
mpirun=$2
source "$(dirname "$0")/common.sh"
[ -n "$mpirun" ] || { echo "SKIPPED: there is no mpirun"; exit 77; }
export RINGER_IB_TIMEOUT=12 RINGER_IB_RETRY_CNT=3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shape=(--ranks 4 --tokens 16 --hidden 512 --topk 4 --experts-per-rank 2 --iters 100000 --timeout-ms 8000)
for path in fifo ibgda; do
  for after in 2 3 4; do
    # Recovery: mpirun lets the others go on, so that what they say can be read.
    "$mpirun" --enable-recovery -n 4 "$ringer" ep --backend verbs "${shape[@]}" --path "$path" \
      > "$work/out" 2>&1 &
    job=$!
    sleep "$after"
    victim=$(pgrep -f "ringer ep --backend verbs" | tail -n 1)
    kill -9 "$victim"
    killed=$SECONDS
    timeout 60 tail --pid="$job" -f /dev/null
    took=$((SECONDS - killed))
    if kill -0 "$job" 2> /dev/null; then
      judge "$path, killed after $after s: the others end" 1 "$(tail -n 20 "$work/out")"
      kill -9 "$job"
      pkill -9 -f "ringer ep --backend verbs"
      continue
    fi
    judge "$path, killed after $after s: the others have ended after $took s" 0
    grep -Eq 'peer [0-9]+|rank [0-9]+' "$work/out"
    judge "$path, killed after $after s: $(grep -m 1 -E '^ringer:' "$work/out")" $? "$(cat "$work/out")"
  done
done
conclude "killed processes"
