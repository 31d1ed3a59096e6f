#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# capture.sh <ringer> <ringer_nic_tests>: what `ringer run --capture` writes is RoCE v2 to tshark, and to whoever
# computes the checksums again, whichever process has sent it.
set -euo pipefail
here=$(dirname "$0")
source "$here/../mpi/environment.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
RINGER_TEST_BACKEND=mlx5 "$1" run --capture "$work/nic.pcapng" -- "$2" '[nic]~"nic: SEND*"' > /dev/null
"$here/captures.py" "$work/nic.pcapng"
command -v mpirun > /dev/null || exit 0
"$1" run --capture "$work/ep.pcapng" -- mpirun -n 2 "$1" ep --backend mlx5 --path ibgda --tokens 8 --hidden 512 \
  --flags atomic --iters 1 > /dev/null
"$here/captures.py" "$work/ep.pcapng"
