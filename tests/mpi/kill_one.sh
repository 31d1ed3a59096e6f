#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill_one.sh <mpirun> <ringer>: kills one of four processes in the middle of a run. The others must
# end, the failure must be named, and nothing may be left behind.
set -uo pipefail

mpirun=$1
ringer=$2
source "$(dirname "$0")/environment.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=60
failed=0

fail() {
  echo "FAILED: $*"
  failed=1
}

# until_true <command...>: polls, but not for ever.
until_true() {
  local end=$((SECONDS + limit))
  while ! "$@" > /dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then return 1; fi
    sleep 0.05
  done
}

gone() { ! kill -0 "$1" 2> /dev/null; }

ls /dev/shm > "$work/before"
# So many iterations that it cannot end by itself; --timeout is for a test that fails.
"$mpirun" --timeout $((3 * limit)) -n 4 "$ringer" ep --ranks-per-node 0 --tokens 16 --hidden 256 \
  --topk 4 --iters 1000000 --no-check > "$work/out" 2> "$work/err" &
job=$!
# Under way: the header is there once all windows are open.
until_true grep -q '^# paths' "$work/out" || fail "the run has not started"
mapfile -t processes < <(pgrep -P "$job" -f "$ringer")
[ "${#processes[@]}" = 4 ] || fail "${#processes[@]} processes instead of 4"
for process in "${processes[@]}"; do
  grep -q memfd:ringer-window "/proc/$process/maps" || fail "process $process has no shared window"
done
kill -9 "${processes[2]}"
until_true gone "$job" || fail "mpirun still runs $limit s after one process was killed"
kill -9 "$job" "${processes[@]}" 2> /dev/null
wait "$job"
status=$?

[ "$status" != 0 ] || fail "exit code 0"
grep -q 'exited on signal 9\|noticed that process\|RESULT FAILED' "$work/err" "$work/out" ||
  fail "nobody names the failure"
if grep -q 'RESULT OK' "$work/out"; then fail "RESULT OK"; fi
for process in "${processes[@]}"; do
  until_true gone "$process" || fail "process $process is still there"
done
ls /dev/shm > "$work/after"
diff "$work/before" "$work/after" || fail "/dev/shm has changed"
if [ "$failed" != 0 ]; then
  tail -n 20 "$work/out" "$work/err"
  exit 1
fi
echo "killed one of four: the others ended with exit code $status, nothing is left"
