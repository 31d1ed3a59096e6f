#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""conformance_table.py <log>: the table of docs/conformance.md from lines 'NIC|group|operation|outcome|expected|why'."""

import sys

COLUMNS = ("sim", "rxe", "mlx5", "verbs", "connectx")
HEAD = """# Conformance

What each NIC makes of the same requests, through the same rings: written by `ci/conformance_log.sh BUILD`
from the tests in `tests/nic`, which fail where an outcome is another one than here. On a ConnectX:
`RINGER_TEST_BACKEND=mlx5 RINGER_NIC_LOG=FILE ringer_nic_tests` on a host with one, and
`CONNECTX_LOG=FILE ci/conformance_log.sh BUILD` where the rest is; nobody has done that yet.

| column | NIC | backend |
|--------|-----|---------|
| sim | the software NIC, native queues | sim |
| rxe | rdma_rxe of Debian 12's kernel 6.1, two devices on a veth pair | verbs |
| mlx5 | the software NIC as an emulated verbs device, queues made by libmlx5 and DEVX | mlx5 |
| verbs | the same device, rings served by the host through libibverbs | verbs |
| ConnectX | hardware | mlx5 |

"ok": complete, every byte compared. What else stands here is the status that the poster gets. `=` is the
same as in column sim.
"""


def main(path):
    rows, why = {}, {}
    for line in open(path, encoding="utf-8"):
        nic, group, operation, outcome, expected, reason = line.rstrip("\n").split("|")
        row = rows.setdefault((group, operation), {})
        if row.get(nic, outcome) != outcome:
            sys.exit(f"{nic}: {group}, {operation}: once '{row[nic]}', once '{outcome}'")
        row[nic] = outcome
        if outcome != expected:
            why[(group, operation, nic)] = (outcome, expected, reason)
    print(HEAD)
    group = None
    groups = list(dict.fromkeys(name for name, _ in rows))
    for (name, operation), row in sorted(rows.items(), key=lambda item: groups.index(item[0][0])):
        if name != group:
            print(f"{'' if group is None else chr(10)}## {name}\n\n| operation | sim | rxe | mlx5 | verbs | ConnectX |")
            print("|---|---|---|---|---|---|")
            group = name
        first = row.get("sim", "")
        cells = [first] + ["=" if row.get(c) == first else row.get(c, "") for c in COLUMNS[1:]]
        print("| " + " | ".join([operation] + cells) + " |")
    print("\n## Differences\n\n| NIC | operation | outcome | by the specification | who is right |\n|---|---|---|---|---|")
    for (name, operation, nic), (outcome, expected, reason) in why.items():
        print(f"| {nic} | {operation} | {outcome} | {expected} | {reason} |")


main(sys.argv[1])
