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
# What the conformance suite varies in one process, in four.
for options in "--path ibgda --phases split" "--path ibgda --zero-copy" \
  "--path ibgda --phases split --zero-copy --cq owner" "--path fifo --flags atomic" \
  "--path ibgda --doorbell adaptive" "--path ibgda --doorbell every:1" \
  "--path ibgda --ring-wqebbs 2 --cq owner" "--path ibgda --dtype fp8-ue8m0" \
  "--ranks-per-node 2" "--path ibgda --routing one-hot"; do
  [ -n "$mpirun" ] || break
  read -ra words <<< "$options"
  expected=$("$ringer" ep "${shape[@]}" "${words[@]}")
  same "$expected" "four processes, $options" "$mpirun" -n 4 "$ringer" ep --backend mlx5 \
    "${shape[@]}" "${words[@]}"
done

link=(--link ethernet)
for queues in verbs devx; do
  export RINGER_IB_QUEUES=$queues
  same "$expected" "one process on Ethernet, queues by $queues" "$ringer" ep --backend mlx5 \
    "${shape[@]}" "${words[@]}"
done
unset RINGER_IB_QUEUES
[ -n "$mpirun" ] || echo "SKIPPED: four processes: there is no mpirun"

# Each rank takes the NIC below its GPU's switch, in a recorded node that has them crosswise.
node=$(mktemp -d)
trap 'rm -rf "$node"' EXIT
device() {  # <path below sys/devices> <vendor> <class> [HCA]
  mkdir -p "$node/sys/devices/$1" "$node/sys/bus/pci/devices"
  echo "$2" > "$node/sys/devices/$1/vendor"
  echo "$3" > "$node/sys/devices/$1/class"
  ln -s "../../../devices/$1" "$node/sys/bus/pci/devices/$(basename "$1")"
  [ $# -lt 4 ] || { mkdir -p "$node/sys/class/infiniband/$4" && ln -s "../../../devices/$1" "$node/sys/class/infiniband/$4/device"; }
}
device pci0000:10/0000:10:01.0/0000:11:00.0 0x10de 0x030200
device pci0000:10/0000:10:01.0/0000:11:01.0 0x15b3 0x020700 mlx5_1
device pci0000:20/0000:20:01.0/0000:21:00.0 0x10de 0x030200
device pci0000:20/0000:20:01.0/0000:21:01.0 0x15b3 0x020700 mlx5_0
found=$("$ringer" run --devices 2 -- "$ringer" ep --backend mlx5 --ranks 2 --path ibgda --iters 1 \
  --tokens 8 --hidden 128 --topology "$node" 2>&1)
for line in "rank 0 on mlx5_1:1 (active, same PCIe switch as GPU 0000:11:00.0)" \
  "rank 1 on mlx5_0:1 (active, same PCIe switch as GPU 0000:21:00.0)" "RESULT OK"; do
  if grep -qF "$line" <<< "$found"; then
    passed=$((passed + 1))
  else
    printf 'FAILED: no "%s" in\n%s\n' "$line" "$found"
    failed=$((failed + 1))
  fi
done

# The environment that it needs is named where it is missing.
if "$ringer" ep --backend mlx5 --ranks 2 > /dev/null 2>&1 && [ ! -e /sys/class/infiniband ]; then
  echo "FAILED: --backend mlx5 runs without a device"
  failed=$((failed + 1))
fi
echo "ep on libmlx5's queues: $passed passed, $failed failed"
[ "$failed" = 0 ]
