#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# softroce_test.sh [build folder] [ctest arguments]: the tests labelled softroce of a build, in the VM. Without
# a folder the tests are built first, in build/softroce. With "-L softroce" the long ones run, too.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-}
if [ -n "$build" ] && [ ! -f "$build/CTestTestfile.cmake" ]; then
  echo "usage: ci/softroce test [build folder, from the top of the tree] [ctest arguments]; $build is none" >&2
  exit 2
fi
[ $# -eq 0 ] || shift
if [ -z "$build" ]; then
  build=build/softroce
  # Compiling takes as long as the tests do, and under emulation -O2 buys them little.
  cmake --preset ci -B "$build" -DRINGER_CUDA=OFF -DRINGER_BENCH=OFF -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1
  cmake --build "$build" -j "$(nproc)" --target ringer ringer_nic_tests ringer_ep_tests
fi
[ "$*" != "-L softroce" ] || ci/softroce_run_test.sh --long
[ $# -gt 0 ] || set -- -L '^softroce$'
export SOFTROCE_TIMEOUT=${SOFTROCE_TIMEOUT:-1200}
ci/softroce run -- ctest --test-dir "$build" --no-tests=error --output-on-failure "$@"
