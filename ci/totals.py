#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""totals.py <stages file> <junit file>...: prints 'N passed, N failed, N skipped'.

A test that is a Catch2 executable counts with its test cases, any other as one. The stages file has
lines 'passed NAME', 'failed NAME' or 'skipped NAME: REASON', each counting as one.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

ALL_PASSED = re.compile(r"^All tests passed \(.* in (\d+) test cases?\)", re.M)
SOME = re.compile(r"^test cases: *(\d+)(.*)$", re.M)
PART = re.compile(r"(\d+) (passed|failed as expected|failed|skipped)")


def catch_counts(text):
    """(passed, failed, skipped) from Catch2's last line, or None."""
    found = ALL_PASSED.search(text)
    if found:
        return int(found.group(1)), 0, 0
    found = SOME.search(text)
    if not found:
        return None
    parts = {"passed": 0, "failed as expected": 0, "failed": 0, "skipped": 0}
    for number, what in PART.findall(found.group(2)):
        parts[what] += int(number)
    return parts["passed"] + parts["failed as expected"], parts["failed"], parts["skipped"]


def test_counts(case):
    bad = case.find("failure") is not None or case.find("error") is not None
    absent = case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")
    counts = catch_counts(case.findtext("system-out") or "")
    if absent and not bad:
        # A test may say that it skips; one that could not be started has failed.
        skipped = case.find("skipped")
        said_so = skipped is not None and skipped.get("message", "").startswith("SKIP_")
        return (0, 0, 1) if said_so else (0, 1, 0)
    if counts is None:
        return (0, 1, 0) if bad else (1, 0, 0)
    # Died after or between its test cases (a sanitizer, a time limit): that must show.
    if bad and counts[1] == 0:
        return counts[0], 1, counts[2]
    return counts


def stage_counts(line):
    word = line.split(" ", 1)[0]
    return tuple(int(word == w) for w in ("passed", "failed", "skipped"))


def main(stages, junit_files):
    counts = [stage_counts(line) for line in open(stages, encoding="utf-8") if line.strip()]
    for name in junit_files:
        try:
            root = ElementTree.parse(name).getroot()
        except (OSError, ElementTree.ParseError) as error:
            print(f"totals: {name}: {error}", file=sys.stderr)
            counts.append((0, 1, 0))
            continue
        counts += [test_counts(case) for case in root.iter("testcase")]
    passed, failed, skipped = (sum(column) for column in zip(*counts)) if counts else (0, 1, 0)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
