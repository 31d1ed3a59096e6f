#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# conformance_log.sh <build folder> [--check]: runs the tests of tests/nic on every NIC there is here, and
# writes docs/conformance.md. --check: only says whether that is what would be written.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x "${1:-}/tests/nic/ringer_nic_tests" ] || { [ $# != 1 ] && [ "${*:2}" != --check ]; }; then
  echo "usage: conformance_log.sh <build folder, from the top of the tree> [--check]" >&2
  exit 2
fi
build=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=$build/tests/nic/ringer_nic_tests
export RINGER_NIC_LOG=$work/log
unset RINGER_TEST_BACKEND

quietly() { "$@" > "$work/said" || { cat "$work/said"; exit 1; }; }

echo "on the software NIC"
quietly "$tests"
for backend in mlx5 verbs; do
  echo "on the emulated verbs device, backend $backend"
  quietly env RINGER_TEST_BACKEND="$backend" "$build/tools/ringer" run -- "$tests"
done
echo "on rdma_rxe"
mkdir "$work/out"
quietly env RINGER_TEST_BACKEND=verbs RINGER_NIC_LOG="$work/out/log" SOFTROCE_OUT="$work/out" ci/softroce run -- "$tests"
cat "$work/out/log" >> "$work/log"
[ -z "${CONNECTX_LOG:-}" ] || sed 's/^mlx5|/connectx|/' "$CONNECTX_LOG" >> "$work/log"

if [ "${2:-}" = --check ]; then
  python3 ci/conformance_table.py "$work/log" | diff -u docs/conformance.md -
  echo "docs/conformance.md is what the NICs do"
else
  python3 ci/conformance_table.py "$work/log" > "$work/table"
  mv "$work/table" docs/conformance.md
  echo "docs/conformance.md is written"
fi
