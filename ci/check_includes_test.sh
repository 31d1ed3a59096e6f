#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves that check_includes.sh can fail: each rule is broken once in a copy of the tree.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
spdx='// SPDX-License-Identifier: Apache-2.0'
failed=0
cases=0

# A small tree of its own, so that a mistake in the real one does not hide in these results.
tree() {
  rm -rf "$copy/tree"
  mkdir -p "$copy"/tree/{core,sim,kernels/ep,backends/soft,backends/mlx5}/include/ringer \
    "$copy"/tree/{tools,tests/unit,kernels/p2p/src}
  mkdir -p "$copy"/tree/sim/include/ringer/sim "$copy"/tree/kernels/ep/include/ringer/ep \
    "$copy"/tree/backends/soft/include/ringer/soft
  printf '%s\n#include <atomic>\n' "$spdx" > "$copy/tree/core/include/ringer/types.hpp"
  printf '%s\n#include <ringer/types.hpp>\n' "$spdx" > "$copy/tree/sim/include/ringer/sim/nic.hpp"
  printf '%s\n#include <ringer/types.hpp>\n' "$spdx" > "$copy/tree/kernels/ep/include/ringer/ep/a.hpp"
  printf '%s\n#include <ringer/sim/nic.hpp>\n' "$spdx" \
    > "$copy/tree/backends/soft/include/ringer/soft/b.hpp"
}

# expect <0|1> <name> <text to find in the report> [<file> <content>]
expect() {
  local wanted=$1 name=$2 text=$3 status=0 report
  tree
  if [ $# -ge 5 ]; then
    mkdir -p "$(dirname "$copy/tree/$4")"
    printf '%b' "$5" > "$copy/tree/$4"
  fi
  report=$("$here/check_includes.sh" "$copy/tree") || status=$?
  cases=$((cases + 1))
  if [ "$status" != "$wanted" ] || ! grep -qF -- "$text" <<< "$report"; then
    echo "FAILED: $name: status $status, report:"
    echo "$report"
    failed=$((failed + 1))
  fi
}

bad() { expect 1 "$@"; }
good() { expect 0 "$@"; }

good "a clean tree" "0 problems"
bad "core includes sim" "core may not know sim" core/src/a.cpp "$spdx\n#include <ringer/sim/nic.hpp>\n"
bad "core includes a library" "core may not include <fmt/format.h>" core/src/a.cpp "$spdx\n#include <fmt/format.h>\n"
bad "kernels include sim" "kernels/ep may not know sim" kernels/ep/src/a.cpp "$spdx\n#include <ringer/sim/nic.hpp>\n"
bad "a kernel includes another" "kernels/p2p may not know kernels/ep" kernels/p2p/src/a.cpp "$spdx\n#include <ringer/ep/a.hpp>\n"
bad "sim includes a backend" "sim may not know backends/soft" sim/src/a.cpp "$spdx\n#include <ringer/soft/b.hpp>\n"
bad "mlx5 includes sim" "backends/mlx5 may not know sim" backends/mlx5/src/a.cpp "$spdx\n#include <ringer/sim/nic.hpp>\n"
bad "quoted room header" "must be <ringer/types.hpp>" sim/src/a.cpp "$spdx\n#include \"ringer/types.hpp\"\n"
bad "quotes across rooms" "not a file beside" core/src/a.cpp "$spdx\n#include \"../../sim/x.hpp\"\n"
bad "unknown header" "no room has <ringer/none.hpp>" tools/a.cpp "$spdx\n#include <ringer/none.hpp>\n"
bad "verbs in core" "belongs to backends/mlx5" core/src/a.cpp "$spdx\n#include <infiniband/verbs.h>\n"
bad "verbs in a test" "belongs to backends/mlx5" tests/unit/a_test.cpp "$spdx\n#include <infiniband/verbs.h>\n"
good "verbs where they belong" "0 problems" backends/mlx5/src/a.cpp "$spdx\n#include <infiniband/mlx5dv.h>\n"
good "verbs in the wire test" "0 problems" tests/unit/wire_test.cpp "$spdx\n#include <infiniband/mlx5dv.h>\n"
bad "MPI in a tool" "belongs to backends/mpi" tools/a.cpp "$spdx\n#include <mpi.h>\n"
good "MPI where it belongs" "0 problems" backends/mpi/src/a.cpp "$spdx\n#include <mpi.h>\n"
bad "the MPI room includes sim" "backends/mpi may not know sim" backends/mpi/src/a.cpp "$spdx\n#include <ringer/sim/nic.hpp>\n"
bad "CUDA in a .hpp" "CUDA header" core/include/ringer/a.hpp "$spdx\n#include <cuda_runtime.h>\n"
good "CUDA in a .cuh" "0 problems" core/include/ringer/a.cuh "$spdx\n#include <cuda_runtime.h>\n"
bad "a spin with a semicolon" "a wait without bound" core/src/a.cpp "$spdx\nvoid f(bool& b) {\n  while (b);\n}\n"
bad "a spin with a body of nothing" "a wait without bound" kernels/ep/src/a.cpp "$spdx\nvoid f(bool& b) {\n  while (b) {\n  }\n}\n"
good "do-while and compare-exchange" "0 problems" core/src/a.cpp "$spdx\nvoid f() {\n  do {\n  } while (g());\n  while (!w.compare_exchange_weak(a, b)) {\n  }\n}\n"
bad "no licence line" "no SPDX" tools/a.cpp "int x;\n"
bad "a script without licence line" "no SPDX" ci/a.sh "#!/bin/sh\necho\n"
bad "too long" "longer than" tools/a.cpp "$spdx\n$(printf '\\n%.0s' {1..460})"
bad "a machine's path" "absolute path" tools/a.cpp "$spdx\n// /""home/me/x\n"
good "a comment is no include" "0 problems" core/src/a.cpp "$spdx\n// #include <fmt/format.h>\n"

echo "$((cases - failed)) of $cases cases as expected"
exit "$((failed > 0))"
