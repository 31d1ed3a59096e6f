#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh <build directory>: installs that build to a temporary prefix and builds and runs the
# consumers against it, then against the source tree as a subdirectory, with and without MPI.
set -euo pipefail

source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build_dir=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build_dir" --prefix "$work/prefix" > "$work/install.log" || {
  cat "$work/install.log"
  exit 1
}

# An installed package must not lean on the tree it came from.
if grep -rlF "$source_dir" "$work/prefix/lib"*/cmake "$work/prefix/include"; then
  echo "install: the files above name the source tree"
  exit 1
fi

run() { # run <directory> <programs>: all of them and no others are there, and work
  local program
  [ "$(cd "$1" && echo consumer*)" = "$2" ] || return 1
  for program in $2; do
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$1/$program" || return 1
  done
}

failed=0
variant() { # variant <name> <programs> [cmake arguments]
  local name=$1 programs=$2
  shift 2
  if { cmake -G Ninja -S "$source_dir/tests/install" -B "$work/$name" \
         -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_COMPILE_WARNING_AS_ERROR=ON "$@" &&
       cmake --build "$work/$name" && run "$work/$name" "$programs"; } \
       > "$work/$name.log" 2>&1; then
    echo "install: $name works"
  else
    cat "$work/$name.log"
    echo "install: $name FAILED"
    failed=1
  fi
}
programs="consumer consumer_mpi"
grep -q 'RINGER_HAVE_MPI:INTERNAL=\(ON\|TRUE\)' "$build_dir/CMakeCache.txt" || programs=consumer
variant find_package "$programs" -DCMAKE_PREFIX_PATH="$work/prefix"
variant without_mpi consumer -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON
have_mpi=$([ "$programs" = consumer ] && echo OFF || echo ON)
variant add_subdirectory "$programs" -DRINGER_SOURCE="$source_dir" -DRINGER_MPI="$have_mpi"
exit "$failed"
