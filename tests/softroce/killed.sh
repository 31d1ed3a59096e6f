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
readonly deadline_s=4
# Kernels wait for one deadline, processes for each other for two.
export RINGER_EXCHANGE_TIMEOUT_MS=$((2000 * deadline_s))
readonly limit_s=$((5 * deadline_s))
shape=(--ranks 4 --tokens 64 --hidden 1024 --topk 4 --experts-per-rank 2 --iters 100000 --no-check
  --timeout-ms $((1000 * deadline_s)))

# The process that has a rank, by what mpirun has told it.
process_of() {
  local process
  for process in $(pgrep -x ringer); do
    if tr '\0' '\n' < "/proc/$process/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$1"; then echo "$process"; fi
  done
}

# ends_within <seconds>: all processes of the job but mpirun.
ends_within() {
  local end=$((SECONDS + $1))
  while pgrep -x ringer > /dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

start() { # <mpirun option or ""> <path>
  # shellcheck disable=SC2086  # none, if empty
  "$mpirun" $1 -n 4 "$ringer" ep --backend verbs "${shape[@]}" --path "$2" > "$work/out" 2>&1 &
  job=$!
  timeout 60 tail -n +1 -F --pid=$job "$work/out" 2> /dev/null | grep -qm 1 '^# paths'
}

clean_up() {
  pkill -9 -x ringer
  kill -9 "$job"
  wait "$job"
} 2> /dev/null

# mpirun ends the others at once, and says who it was.
kill_one() { # <path> <rank> <seconds after the start of its iterations>
  local what="$1, rank $2 killed after $3 s"
  start "" "$1"
  sleep "$3"
  kill -9 "$(process_of "$2")"
  ends_within "$limit_s"
  judge "$what: the others end" $? "$(tail -n 20 "$work/out")"
  grep -q "process rank $2 .*signal 9" "$work/out"
  judge "$what: $(grep -m 1 "process rank" "$work/out")" $? "$(cat "$work/out")"
  clean_up
}

# Where nobody tells them, the others find out: by what their kernels wait for, by their NICs, or by
# the exchange between processes.
kill_unnoticed() { # <path> <rank> <seconds after the start of its iterations>
  local what="$1, rank $2 killed after $3 s, unnoticed"
  start --enable-recovery "$1"
  sleep "$3"
  kill -9 "$(process_of "$2")"
  ends_within "$limit_s"
  judge "$what: the others end" $? "$(tail -n 20 "$work/out")"
  grep -Eq "^ringer: (rank .*(retry exceeded|deadline passed).*peer|.*nothing from process) $2\b" "$work/out"
  judge "$what: $(grep -m 1 "^ringer: " "$work/out")" $? "$(cat "$work/out")"
  clean_up
}

kill_one fifo 3 0
kill_one ibgda 1 0.7
kill_unnoticed ibgda 2 0.3
conclude "killed processes"
