# SPDX-License-Identifier: Apache-2.0
# What the scripts here share: two rxe devices as ci/softroce sets them up, and the count of what holds.
source "$(dirname "${BASH_SOURCE[0]}")/../mpi/environment.sh"
passed=0
failed=0
if [ ! -e /sys/class/infiniband/rxe1 ]; then
  echo "SKIPPED: no rxe0 and rxe1 here (ci/softroce test)"
  exit 77
fi

# judge <what> <0 if it is well> [what was seen]
judge() {
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok: $1"
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n%s\n' "$1" "${3:-}"
  fi
}

digest_of() { grep -o '^# digest [0-9a-f]*' <<< "$1"; }

# A run is exact if it ends well with the digest of the software NIC.
exact() { # <expected output> <what> <output>
  [ -n "$(digest_of "$1")" ] && [ "$(digest_of "$1")" = "$(digest_of "$3")" ] && grep -q '^RESULT OK' <<< "$3"
  judge "$2: $(digest_of "$3")" $? "$3"
}

conclude() {
  echo "$1: $passed passed, $failed failed"
  [ "$failed" = 0 ]
}
