#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rdma_core_suite.sh <ringer>: rdma-core's own Python tests, as the distribution ships them, judge the
# emulated device. None may fail; those that pass are counted, for a skip is no pass. 77: they are
# not installed.
set -uo pipefail

ringer=$(realpath "$1")
source_folder=/usr/share/doc/rdma-core/tests
python=/usr/bin/python3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -d "$source_folder" ] || ! "$python" -c 'import pyverbs' 2> /dev/null; then
  echo "SKIPPED: rdma-core's Python tests: python3-pyverbs is not installed, or without its documents"
  exit 77
fi
# What passed when this was written, by version of rdma-core.
version=$(dpkg-query -W -f '${Version}' python3-pyverbs)
case "$version" in
  44.*) expected=142 ;;
  *) expected=0 ;;
esac

# judge <link> <expected>
judge() {
  local status skipped ran passed
  timeout -k 5 240 "$ringer" run --link "$1" -- "$python" tests/run_tests.py --dev mlx5_0 -v \
    > out 2>&1
  status=$?
  skipped=$(grep -c '\.\.\. skipped' out)
  ran=$(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' out)
  passed=$((${ran:-0} - skipped))
  if [ "$status" != 0 ] || [ "$passed" -lt "$2" ]; then
    grep -E '\.\.\. (FAIL|ERROR)' out
    tail -n 40 out
    echo "FAILED: rdma-core $version on $1: exit code $status, $passed of ${ran:-0} passed, $2 wanted"
    exit 1
  fi
  echo "why others skip:"
  grep -oE "skipped ['\"].*" out | sort | uniq -c | sort -rn
  echo "rdma-core $version on $1: $passed of $ran passed, $skipped skipped, none failed"
}

cp -r "$source_folder" "$work/tests"
gunzip -f "$work"/tests/*.gz 2> /dev/null
cd "$work" || exit 1
judge infiniband "$expected"
# On Ethernet this one takes its peer's MAC address from the device's network interface, and there is
# none: nobody has the address that it gives to the firmware.
sed -i 's/^\( *\)def test_devx_rc_qp_send_imm_traffic/\1@unittest.skip("The device has no network interface")\n&/;
  0,/^from/s//import unittest\nfrom/' tests/test_mlx5_devx.py
judge ethernet "$expected"
