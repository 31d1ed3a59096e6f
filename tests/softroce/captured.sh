#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# captured.sh <ringer> <ringer_nic_tests>: the same operations on rxe and on the software NIC are the same packets.
set -uo pipefail
ringer=$(realpath "$1")
tests=$(realpath "$2")
here=$(dirname "$0")
source "$here/common.sh"
for tool in tshark tcpdump; do
  command -v "$tool" > /dev/null || { echo "SKIPPED: $tool is not installed"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RINGER_TEST_BACKEND=verbs

# compare <operations> [option of captures.py]
compare() {
  local size="" sniffer what="captures of rxe and of the software NIC, $1"
  tcpdump --immediate-mode -U -s 4400 -B 65536 -i va -w "$work/rxe.pcap" udp port 4791 2> "$work/log" &
  sniffer=$!
  until grep -q 'listening on' "$work/log"; do sleep 0.1; done
  "$tests" "$1" > "$work/out"
  judge "$what: on rxe" $? "$(cat "$work/out")"
  # Until it has seen the last of them.
  until [ "$(stat -c %s "$work/rxe.pcap")" = "$size" ]; do
    size=$(stat -c %s "$work/rxe.pcap")
    sleep 1
  done
  kill "$sniffer"
  wait "$sniffer"
  "$ringer" run --link ethernet --devices 2 --capture "$work/ringer.pcapng" -- "$tests" "$1" > "$work/out"
  judge "$what: on the software NIC" $? "$(cat "$work/out")"
  "$here/../verbs/captures.py" ${2:+"$2"} "$work/rxe.pcap" "$work/ringer.pcapng"
  judge "$what" $?
}

compare "nic: inline*,nic: atomics*,nic: RDMA READ*"
compare "nic: RDMA WRITE*" --requests
conclude "captures"
