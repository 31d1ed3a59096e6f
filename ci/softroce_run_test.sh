#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# softroce_run_test.sh [--long]: what ci/softroce promises of a command's bytes, its status, and its end.
set -uo pipefail
here=$(dirname "$0")
source "$here/../tests/support/judge.sh"

[ "$("$here/softroce" run -- sh -c 'printf "a\nb"; exit 7'; echo " $?")" = $'a\nb 7' ]
judge "the bytes and the status of a command" $? ""
if [ "${1:-}" = --long ]; then
  "$here/softroce" run --vms 2 -- sh -c 'exit $((41 + SOFTROCE_NODE))' > /dev/null 2>&1
  [ $? = 41 ]
  judge "the status of the first of two that fails" $? ""
  before=$(pgrep -c qemu-system)
  "$here/softroce" run -- sh -c 'echo begun; sleep 200' \
    > >(grep -qm 1 begun && kill "$(pgrep -of "softroce run -- sh -c echo begun")") 2> /dev/null
  [ $? = 143 ] && ! pgrep -f "echo begun; sleep 200" > /dev/null && [ "$(pgrep -c qemu-system)" -le "$before" ]
  judge "nothing is left of a run that is ended" $? "$(pgrep -fa qemu-system)"
fi
echo "softroce_run: $passed passed, $failed failed"
[ "$failed" = 0 ]
