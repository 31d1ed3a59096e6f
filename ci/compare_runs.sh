#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compare_runs.sh <ringer> <ringer>: two builds of the command must explore the same executions.
set -uo pipefail

failed=0
compare() {
  local a b
  a=$("$first" explore "$@" | grep -v ' s, ' ; "$first" explore "$@" | grep -o 'hash .*')
  b=$("$second" explore "$@" | grep -v ' s, ' ; "$second" explore "$@" | grep -o 'hash .*')
  if [ -n "$(grep -o 'hash [0-9a-f]*' <<< "$a")" ] && [ "$a" = "$b" ]; then
    echo "ok: $*: $(tail -n 1 <<< "$a")"
  else
    printf 'FAILED: %s\n%s\n%s\n' "$*" "$a" "$b"
    failed=1
  fi
}

first=$1
second=$2
compare --mode random --seed 7 --posters 3 --wqes 3 --ring 4 --budget 500
compare --mode pct --seed 7 --posters 3 --wqes 3 --ring 4 --budget 500
compare --mode random --seed 7 --posters 2 --wqes 4 --rung-by server --budget 500
compare --scenario ring.signals --mode random --seed 3
compare --scenario fifo.failed --mode pct --seed 3
compare --mode random --mutant send_queue.announce.fence2.drop --budget 500
exit "$failed"
