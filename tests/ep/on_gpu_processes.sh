#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# on_gpu_processes.sh <mpirun> <ringer>: ranks in two processes, their windows in GPU memory, must
# find what one process finds on the host; exits with 77 where there are no GPUs.
set -uo pipefail

if ! ls /dev/nvidia[0-9]* > /dev/null 2>&1; then
  echo "SKIPPED: ringer ep in two processes on GPUs: no /dev/nvidia*"
  exit 77
fi
mpirun=$1
ringer=$2
source "$(dirname "$0")/../mpi/environment.sh"
failed=0

digest_of() { grep -o '^# digest [0-9a-f]*' <<< "$1"; }

# compare <processes> <ringer arguments...>
compare() {
  local processes=$1 host gpu
  shift
  host=$("$ringer" ep --ranks-per-node 0 "$@") || failed=1
  gpu=$(timeout -k 5 120 "$mpirun" -n "$processes" "$ringer" ep --device cuda \
    --ranks-per-node 0 "$@") || failed=1
  if [ -z "$(digest_of "$host")" ] || [ "$(digest_of "$host")" != "$(digest_of "$gpu")" ]; then
    printf 'FAILED: %s processes, %s\n%s\n%s\n' "$processes" "$*" "$host" "$gpu"
    failed=1
  else
    echo "ok: $processes processes, $*: $(digest_of "$gpu")"
  fi
}

shape=(--ranks 2 --tokens 64 --hidden 2048 --iters 5)
compare 2 "${shape[@]}"
compare 2 "${shape[@]}" --dtype fp8 --phases split
compare 2 "${shape[@]}" --dtype fp8-ue8m0 --zero-copy
if [ "$(ls -d /dev/nvidia[0-9]* | wc -l)" -ge 4 ]; then
  compare 2 --ranks 4 "${shape[@]:2}"
else
  echo "SKIPPED: two ranks in each of two processes: fewer than 4 GPUs"
fi
timeout -k 5 120 "$mpirun" -n 2 "$ringer" bench ep --device cuda --ranks-per-node 0 --iters 100 \
  --tokens 64 --hidden 2048 || failed=1
exit "$failed"
