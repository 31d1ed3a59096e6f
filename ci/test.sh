#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that must hold before a change is merged. The last line is the verdict in numbers.
# RINGER_CI_SKIP_DEPS=1: install nothing. RINGER_CI_STAGES="a b": only these stages.
# RINGER_CI_JOBS: how many compilers at once.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=build/ci-logs
stages=$logs/stages.txt
jobs=${RINGER_CI_JOBS:-$(nproc)}
mkdir -p "$logs"
rm -f "$logs"/*
: > "$stages"
junit=()
started=$SECONDS

launcher=()
if command -v ccache > /dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
fi

wanted() {
  [ -z "${RINGER_CI_STAGES:-}" ] || [[ " $RINGER_CI_STAGES " == *" $1 "* ]]
}

skip() { # skip <name> <reason>
  wanted "$1" || return 0
  printf 'SKIPPED  %-16s %s\n' "$1" "$2"
  echo "skipped $1: $2" >> "$stages"
}

# stage <name> <command...>: its output goes to a log, which is shown if it fails.
stage() {
  local name=$1 begin=$SECONDS verdict=ok
  shift
  wanted "$name" || return 0
  if "$@" > "$logs/$name.log" 2>&1; then
    echo "passed $name" >> "$stages"
  else
    verdict=FAILED
    echo "failed $name" >> "$stages"
  fi
  printf '%-8s %-16s %4d s\n' "$verdict" "$name" $((SECONDS - begin))
  if [ "$verdict" = FAILED ]; then
    tail -n 60 "$logs/$name.log" | sed 's/^/    /'
    return 1
  fi
}

configure() { # configure <preset> [cmake arguments]
  local preset=$1
  shift
  cmake --preset "$preset" "${launcher[@]}" "$@"
}

build() { # build <preset> <targets> [cmake arguments]
  local preset=$1 targets=$2
  shift 2
  # shellcheck disable=SC2086  # several targets in one word
  configure "$preset" "$@" && cmake --build "build/$preset" -j "$jobs" --target $targets
}

# tests <stage name> <preset> [ctest arguments]: counted by test case, not as a stage.
tests() {
  local name=$1 preset=$2 begin=$SECONDS verdict=ok
  shift 2
  wanted "$name" || return 0
  local report=$PWD/$logs/$name.junit.xml
  junit+=("$report")
  "${runner[@]}" ctest --test-dir "build/$preset" --output-junit "$report" --output-on-failure \
    --no-tests=error --test-output-size-passed 1000000 --test-output-size-failed 1000000 \
    -j "$jobs" --timeout 300 "$@" > "$logs/$name.log" 2>&1 || verdict=FAILED
  printf '%-8s %-16s %4d s\n' "$verdict" "$name" $((SECONDS - begin))
  if [ "$verdict" = FAILED ]; then tail -n 100 "$logs/$name.log" | sed 's/^/    /'; fi
  grep -h 'SKIPPED' "$logs/$name.log" | sort -u | head -n 20
}
runner=()

check_format() {
  local files
  mapfile -t files < <(git ls-files -co --exclude-standard '*.hpp' '*.cpp' '*.cuh' '*.cu')
  clang-format --dry-run --Werror "${files[@]}"
}

# Sanitizers of gcc 12 and clang 14 cannot map their shadow where the kernel randomises addresses
# by more bits than they know; without randomisation they can.
tsan_runner() {
  local probe=$logs/tsan-probe
  echo 'int main() { return 0; }' | g++ -fsanitize=thread -x c++ - -o "$probe" || return 1
  if "$probe" > /dev/null 2>&1; then
    runner=(env)
  elif setarch "$(uname -m)" -R "$probe" > /dev/null 2>&1; then
    runner=(setarch "$(uname -m)" -R)
  else
    return 1
  fi
}

tidy() {
  local files mpi_files=()
  if grep -q backends/mpi build/ci-clang/compile_commands.json; then
    mpi_files=('backends/mpi/src/*.cpp')
  fi
  mapfile -t files < <(git ls-files -co --exclude-standard 'core/src/*.cpp' 'sim/src/*.cpp' \
    'kernels/ep/src/*.cpp' 'backends/soft/src/*.cpp' 'backends/mlx5/src/*.cpp' \
    'backends/verbs/src/*.cpp' 'sim/verbs/src/*.cpp' "${mpi_files[@]}")
  printf '%s\n' "${files[@]}" |
    timeout 300 xargs -P "$jobs" -n 1 clang-tidy --quiet -p build/ci-clang --warnings-as-errors='*'
}

if [ "${RINGER_CI_SKIP_DEPS:-0}" = 1 ]; then
  skip deps "RINGER_CI_SKIP_DEPS=1"
else
  stage deps ci/install_deps.sh
fi

stage rules_can_fail ci/check_includes_test.sh
stage rules ci/check_includes.sh
if [ "$(clang-format --version 2> /dev/null | grep -o 'version [0-9]*' | head -n 1)" = "version 14" ]; then
  stage format check_format
else
  skip format "not clang-format 14: others lay out the same style differently"
fi

if stage build build ci "all all_verify_interface_header_sets"; then
  grep -h 'SKIPPED' "$logs/build.log" 2> /dev/null
  tests test ci -LE softroce
  stage install tests/install/run.sh build/ci
else
  skip test "the build failed"
  skip install "the build failed"
fi

if command -v clang++ > /dev/null; then
  stage build_clang build ci-clang all \
    -DRINGER_TESTS=OFF -DRINGER_BENCH=OFF
  # The same seeds must make the same runs, whatever the compiler.
  stage same_runs ci/compare_runs.sh build/ci/tools/ringer build/ci-clang/tools/ringer
else
  skip build_clang "no clang++"
  skip same_runs "no clang++"
fi

# All but the command line, whose parsers take long to build and little to run.
if stage build_asan build asan "ringer_unit_tests ringer_sim_tests ringer_nic_tests ringer_ep_tests ringer_p2p_tests" \
  -DRINGER_BENCH=OFF; then
  tests test_asan asan -E '^(cli|ptx|mpi|verbs)'
fi

if tsan_runner; then
  # Only what has threads: the tests with that label.
  if stage build_tsan build tsan "ringer_unit_tests ringer_ep_tests" -DRINGER_BENCH=OFF; then
    tests test_tsan tsan -L threads
  fi
  runner=()
else
  skip test_tsan "programs built with -fsanitize=thread do not start here"
fi

if command -v clang-tidy > /dev/null && [ -f build/ci-clang/compile_commands.json ]; then
  stage tidy tidy
else
  skip tidy "no clang-tidy, or no build by clang"
fi

# The GPU parts are built with the rest where nvcc is; their tests on GPUs say themselves that they
# skip.
if ! grep -qs 'RINGER_HAVE_CUDA:INTERNAL=ON' build/ci/CMakeCache.txt; then
  skip cuda "no nvcc here: the GPU parts are not built"
fi
if ! grep -qs 'RINGER_HAVE_MPI:INTERNAL=\(ON\|TRUE\)' build/ci/CMakeCache.txt; then
  skip mpi "no MPI here: groups of several processes are not built"
fi
if ! command -v qemu-system-x86_64 > /dev/null || ! command -v busybox > /dev/null; then
  skip softroce "no qemu-system-x86 or no busybox-static: nothing to boot a kernel with rdma_rxe"
elif [ -z "$(ci/softroce kernel)" ]; then
  skip softroce "no Debian kernel package is known here"
elif [ -x build/ci/tests/nic/ringer_nic_tests ] && stage softroce ci/softroce prepare; then
  stage softroce_run ci/softroce_run_test.sh
  # In the VM the folder for logs is the host's.
  runner=(env "SOFTROCE_OUT=$PWD/$logs" SOFTROCE_TIMEOUT=400 ci/softroce run --)
  tests test_softroce ci -L '^softroce$' -LE softroce_slow
  runner=()
  stage conformance ci/conformance_log.sh build/ci --check
fi
[ -e /sys/class/infiniband ] || skip connectx "no InfiniBand here: the mlx5 backend ran on the emulated device only"

echo
echo "all of it took $((SECONDS - started)) s; logs are in $logs"
python3 ci/totals.py "$stages" "${junit[@]}"
