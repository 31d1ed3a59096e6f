#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# disturbed.sh <ringer>: the link between the two rxe devices loses, reorders and repeats packets. Runs are
# exact all the same; at 10 % loss they may end with an error that names the peer.
set -uo pipefail
ringer=$(realpath "$1")
source "$(dirname "$0")/common.sh"
export RINGER_IB_TIMEOUT=12 RINGER_IB_RETRY_CNT=7  # 17 ms: the link is a short one

shape=(--ranks 2 --tokens 16 --hidden 512 --topk 4 --experts-per-rank 2 --iters 3)
for disturbance in "loss 1%" "loss 10%" "delay 1ms reorder 50%" "duplicate 10%"; do
  for path in fifo ibgda; do
    # shellcheck disable=SC2086  # several words
    tc qdisc add dev va root netem $disturbance && tc qdisc add dev vb root netem $disturbance
    judge "netem $disturbance can be set" $?
    expected=$("$ringer" ep "${shape[@]}" --path "$path")
    found=$(timeout 100 "$ringer" ep --backend verbs "${shape[@]}" --path "$path" 2>&1)
    sent=$(tc -s qdisc show dev va | grep -o 'Sent [0-9]* bytes [0-9]* pkt' | cut -d ' ' -f 4)
    dropped=$(tc -s qdisc show dev va | grep -o 'dropped [0-9]*' | cut -d ' ' -f 2)
    what="$path with $disturbance ($sent packets, $dropped dropped)"
    # Seven retries may all be lost at 10 %: one in ten million packets.
    if [ "$disturbance" != "loss 10%" ] || grep -q '^RESULT OK' <<< "$found"; then
      exact "$expected" "$what" "$found"
    else
      grep -Eq 'rank [0-9]+: .*(retry exceeded|deadline passed).*peer [0-9]+' <<< "$found"
      judge "$what: $(grep -m 1 '^ringer:' <<< "$found")" $? "$found"
    fi
    [ "$sent" -gt 50 ]
    judge "$what: the packets went by there" $?
    [[ $disturbance != loss* ]] || [ "$dropped" -gt 0 ]
    judge "$what: and were lost, if they should" $?
    tc qdisc del dev va root
    tc qdisc del dev vb root
  done
done
conclude "disturbed links"
