# SPDX-License-Identifier: Apache-2.0
# What the scripts here share: two rxe devices as ci/softroce sets them up, and the count of what holds.
source "$(dirname "${BASH_SOURCE[0]}")/../mpi/environment.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../support/judge.sh"
if [ ! -e /sys/class/infiniband/rxe1 ]; then
  echo "SKIPPED: no rxe0 and rxe1 here (ci/softroce test)"
  exit 77
fi

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
