#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# processes.sh <ringer> [mpirun]: dispatch and combine over two rxe devices must give the software NIC's bits,
# in one process and in four.
set -uo pipefail
ringer=$(realpath "$1")
mpirun=${2:-}
source "$(dirname "$0")/common.sh"

shape=(--ranks 4 --tokens 16 --hidden 512 --topk 4 --experts-per-rank 2 --iters 2)
for options in "--path fifo" "--path ibgda" "--path fifo --flags atomic" \
  "--path ibgda --dtype fp8 --cq owner --ring-wqebbs 16 --doorbell every:4"; do
  read -ra words <<< "$options"
  expected=$("$ringer" ep "${shape[@]}" "${words[@]}")
  if [ "$options" = "--path fifo" ]; then
    for posting in wr list; do
      exact "$expected" "one process, $options, posting by $posting" \
        "$(RINGER_IB_POSTING=$posting "$ringer" ep --backend verbs "${shape[@]}" "${words[@]}" 2>&1)"
    done
  fi
  [ -n "$mpirun" ] || continue
  exact "$expected" "four processes, $options" \
    "$("$mpirun" -n 4 "$ringer" ep --backend verbs "${shape[@]}" "${words[@]}" 2>&1)"
  [ "${#words[@]}" = 2 ] || continue  # once a path
  exact "$expected" "four processes, $options, connected by librdmacm, completions by events" \
    "$(RINGER_IB_CONNECT=cm RINGER_IB_COMPLETIONS=event "$mpirun" -n 4 "$ringer" ep --backend verbs "${shape[@]}" \
      "${words[@]}" 2>&1)"
done
[ -n "$mpirun" ] || echo "SKIPPED: four processes: there is no mpirun"
conclude "rxe"
