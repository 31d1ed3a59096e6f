#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# documented.sh <ringer> <page>: what the page shows of a failing schedule is what its replay shows.
set -euo pipefail
ringer=$1
page=$2
[ -n "$(grep '^replay: ringer explore ' "$page")" ]
while read -r _ _ command; do
  read -ra words <<< "$command"
  shown=$("$ringer" "${words[@]}" || [ $? = 1 ])
  # From the schedule on, all lines of the page's example; "..." stands for what it leaves out.
  while read -r line; do
    grep -qxF -- "$line" <<< "$shown" || { echo "not shown: $line"; exit 1; }
  done < <(sed -n '/^\[7\]/,/^FAILED/p' "$page")
done < <(grep '^replay: ringer explore ' "$page")
echo "ok: $page"
