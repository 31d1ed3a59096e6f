#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# on_gpu.sh <test executable> <tests>: runs them on GPUs; exits with 77 where there are none.
set -euo pipefail

if ! ls /dev/nvidia[0-9]* > /dev/null 2>&1; then
  echo "SKIPPED: $(basename "$1") $2 on GPUs: no /dev/nvidia*"
  exit 77
fi
RINGER_TEST_DEVICE=cuda exec "$@"
