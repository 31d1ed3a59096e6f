#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh checkout to a checked expert-parallel run, without NIC, GPU or root (but for apt).
# RINGER_CI_SKIP_DEPS=1: install nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${RINGER_CI_SKIP_DEPS:-0}" != 1 ]; then
  echo "== installing what it is built with"
  ci/install_deps.sh --minimal
fi

launcher=()
if command -v ccache > /dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
mkdir -p build/demo
echo "== building the ringer command: minutes on two cores (log: build/demo/log.txt)"
if ! { cmake -G Ninja -S . -B build/demo -DCMAKE_BUILD_TYPE=Release -DRINGER_TESTS=OFF \
         -DRINGER_BENCH=OFF -DRINGER_CUDA=OFF -DRINGER_MPI=OFF "${launcher[@]}" &&
       cmake --build build/demo --target ringer ringer_first_put -j "$(nproc)"; } \
     > build/demo/log.txt 2>&1; then
  tail -n 40 build/demo/log.txt
  echo "DEMO FAILED: the build; all of it is in build/demo/log.txt"
  exit 1
fi

shape=(--ranks 4 --tokens 128 --hidden 7168 --topk 8 --experts-per-rank 8 --check)
run() {
  echo
  echo "\$ $*"
  if ! "build/demo/$@"; then
    echo "DEMO FAILED: $*"
    exit 1
  fi
}
run tools/ringer info
run examples/ringer_first_put
run tools/ringer ep "${shape[@]}" --ranks-per-node 2
run tools/ringer ep "${shape[@]}" --path fifo --iters 5

echo
echo "DEMO OK: every byte matches the reference; what went from node to node went through WQEs,"
echo "doorbells and CQEs of the software mlx5 NIC. Next: build/demo/tools/ringer ep --help, and ci/test.sh."
