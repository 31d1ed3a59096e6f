#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh <build directory>: installs that build to a temporary prefix and builds and
# runs the consumer against it, then against the source tree as a subdirectory.
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

failed=0
variant() {
  local name=$1
  shift
  if { cmake -G Ninja -S "$source_dir/tests/install" -B "$work/$name" \
         -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_COMPILE_WARNING_AS_ERROR=ON "$@" &&
       cmake --build "$work/$name" &&
       "$work/$name/consumer"; } > "$work/$name.log" 2>&1; then
    echo "install: $name works"
  else
    cat "$work/$name.log"
    echo "install: $name FAILED"
    failed=1
  fi
}
variant find_package -DCMAKE_PREFIX_PATH="$work/prefix"
variant add_subdirectory -DRINGER_SOURCE="$source_dir"
exit "$failed"
