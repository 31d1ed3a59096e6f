#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py <PTX file> <expectations>: counts instructions by kernel and compares."""

import re
import sys


def kernels_of(text):
    """The instructions of each kernel, by name."""
    kernels = {}
    for part in re.split(r"\.entry ", text)[1:]:
        name = re.match(r"\w+", part).group(0)
        # What follows are functions that it calls: slow ways, out of line.
        body = part[part.index("{"):].split(".func")[0] if "{" in part else ""
        kernels[name] = [line.strip() for line in body.split("\n")]
    return kernels


def wrong(kernels, line):
    """What is wrong with the kernel that `line` speaks of, or None."""
    name, count, pattern = line.split(None, 2)
    if name not in kernels:
        return f"no kernel {name}"
    found = [i for i in kernels[name] if re.search(pattern, i)]
    least = int(count.rstrip("+"))
    if len(found) == least or (count.endswith("+") and len(found) > least):
        return None
    return "\n    ".join([f"{name}: {len(found)} x '{pattern}', expected {count}"] + found[:8])


def main(ptx, expectations):
    kernels = kernels_of(open(ptx, encoding="utf-8").read())
    lines = [line.strip() for line in open(expectations, encoding="utf-8")]
    lines = [line for line in lines if line and not line.startswith("#")]
    problems = [problem for problem in (wrong(kernels, line) for line in lines) if problem]
    for problem in problems:
        print(problem)
    print(f"{len(lines)} expectations, {len(problems)} not met")
    return 1 if problems or not lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
