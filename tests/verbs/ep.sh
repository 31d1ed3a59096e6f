#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ep.sh <ringer> [mpirun]: dispatch and combine over queues that libmlx5 has made on the emulated
# device must find what they find over native queues, in one process and in four.
set -uo pipefail

ringer=$(realpath "$1")
mpirun=${2:-}
source "$(dirname "$0")/../mpi/environment.sh"
failed=0
link=()
passed=0

digest_of() { grep -o '^# digest [0-9a-f]*' <<< "$1"; }

# same <expected output> <what> <command...>
same() {
  local expected=$1 what=$2 found
  shift 2
  found=$(timeout -k 5 120 "$ringer" run "${link[@]}" -- "$@" 2>&1)
  if [ -z "$(digest_of "$expected")" ] || [ "$(digest_of "$expected")" != "$(digest_of "$found")" ]; then
    printf 'FAILED: %s\n%s\n%s\n' "$what" "$expected" "$found"
    failed=$((failed + 1))
  else
    passed=$((passed + 1))
    echo "ok: $what: $(digest_of "$found")"
  fi
}

shape=(--ranks 4 --tokens 32 --hidden 1024 --topk 4 --experts-per-rank 4 --iters 3)
for options in "--path ibgda" "--path fifo" "--path ibgda --dtype fp8 --flags atomic" \
  "--path ibgda --doorbell every:4 --ring-wqebbs 16"; do
  read -ra words <<< "$options"
  expected=$("$ringer" ep "${shape[@]}" "${words[@]}")
  same "$expected" "one process, $options" "$ringer" ep --backend mlx5 "${shape[@]}" "${words[@]}"
  if [ -n "$mpirun" ]; then
    same "$expected" "four processes, $options" "$mpirun" -n 4 "$ringer" ep --backend mlx5 \
      "${shape[@]}" "${words[@]}"
  fi
done
link=(--link ethernet)
for queues in verbs devx; do
  export RINGER_IB_QUEUES=$queues
  same "$expected" "one process on Ethernet, queues by $queues" "$ringer" ep --backend mlx5 \
    "${shape[@]}" "${words[@]}"
done
unset RINGER_IB_QUEUES
[ -n "$mpirun" ] || echo "SKIPPED: four processes: there is no mpirun"

# The environment that it needs is named where it is missing.
if "$ringer" ep --backend mlx5 --ranks 2 > /dev/null 2>&1 && [ ! -e /sys/class/infiniband ]; then
  echo "FAILED: --backend mlx5 runs without a device"
  failed=$((failed + 1))
fi
echo "ep on libmlx5's queues: $passed passed, $failed failed"
[ "$failed" = 0 ]
