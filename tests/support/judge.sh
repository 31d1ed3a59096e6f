# SPDX-License-Identifier: Apache-2.0
# What scripts of tests count with.
passed=0
failed=0

# judge <what> <0 if it is well> [what is wrong, or a file that says so]
judge() {
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok: $1"
  else
    failed=$((failed + 1))
    echo "FAILED: $1: ${3:-}"
    if [ -f "${3:-}" ]; then tail -n 15 "$3"; fi
  fi
}
