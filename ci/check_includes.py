#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the tree at argv[1]: includes, spins, licence lines, lengths, paths."""

import os
import re
import sys

CODE = (".hpp", ".cpp", ".cuh", ".cu")
SCRIPT = (".sh", ".py")
TEXT = CODE + SCRIPT + (".txt", ".md", ".json", ".cmake", ".in", ".csv")
ROOMS = ("core", "sim", "backends", "kernels", "tools", "tests", "bench", "examples", "ci", "docs", ".ci")
MAX_LINES = 400

# Room -> rooms whose <ringer/...> headers it may include. Rooms not listed may include all.
MAY_INCLUDE = {
    "core": {"core"},
    "sim": {"core", "sim"},
    "sim/verbs": {"core", "sim", "sim/verbs"},
    "kernels/ep": {"core", "kernels/ep"},
    "kernels/p2p": {"core", "kernels/p2p"},
    "backends/soft": {"core", "sim", "backends/soft"},
    "backends/cuda": {"core", "backends/cuda"},
    "backends/mpi": {"core", "backends/mpi"},
    "backends/mlx5": {"core", "backends/verbs", "backends/mlx5"},
    "backends/verbs": {"core", "backends/verbs"},
}
# Room -> other headers it may include besides the standard library's.
OTHERS = {
    "core": r"^(sys/mman|sys/stat|fcntl|unistd)\.h$",
    "sim": r"^(boost/context/|boost/crc\.hpp$|sanitizer/|sys/|unistd\.h|pthread\.h|sched\.h|dlfcn\.h|fcntl\.h)|^infiniband/",
    "sim/verbs": r"^(rdma/|linux/|sys/|(dirent|dlfcn|fcntl|pthread|unistd)\.h$)",
    "kernels": r"^(sys/|unistd\.h)",
    "backends/soft": r"^(sys/|unistd\.h)",
    "backends/mpi": r"^mpi\.h$",
    "backends/mlx5": r"^(infiniband/|sys/|unistd\.h|dlfcn\.h)",
    "backends/verbs": r"^(infiniband/|rdma/|sys/|netinet/in\.h|fcntl\.h|poll\.h|unistd\.h|dlfcn\.h)",
}
VERBS_ALLOWED = re.compile(
    r"^(backends/(mlx5|verbs)/|sim/(src|include/ringer/sim)/verbs_|tests/(unit/(wqe|wire)|verbs/))")
CUDA_HEADER = re.compile(r"^(cuda|cooperative_groups|cub/|thrust/|nvtx|device_launch|curand|nvml)")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
MACHINE_PATH = re.compile(r"(?<![\w.$}/])/(work|home|root|Users|workspace|scratch)/")


def room_of(path):
    parts = path.split("/")
    two = "/".join(parts[:2])
    return two if parts[0] in ("backends", "kernels") or two == "sim/verbs" else parts[0]


def other_headers(room):
    return OTHERS.get(room, OTHERS.get(room.split("/")[0], r""))


class Checker:
    def __init__(self, root):
        self.root = root
        self.files = sorted(self.walk())
        self.problems = []

    def walk(self):
        for room in ROOMS:
            for folder, _, names in os.walk(os.path.join(self.root, room)):
                for name in names:
                    if "__pycache__" not in folder:
                        yield os.path.relpath(os.path.join(folder, name), self.root)
        for name in os.listdir(self.root):
            if name.endswith(TEXT) and os.path.isfile(os.path.join(self.root, name)):
                yield name

    def report(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def owner(self, header):
        """The room that has <ringer/...>, or None."""
        for path in self.files:
            if path.endswith("/include/" + header):
                return room_of(path)
        return None

    def check_include(self, path, line, quoted, header):
        room = room_of(path)
        if header.startswith("infiniband/") and not VERBS_ALLOWED.search(path):
            self.report(path, line, f"<{header}> belongs to backends/mlx5 and backends/verbs")
        if header == "mpi.h" and room != "backends/mpi":
            self.report(path, line, f"<{header}> belongs to backends/mpi")
        if CUDA_HEADER.search(header) and not path.endswith((".cuh", ".cu")):
            self.report(path, line, f"CUDA header <{header}> outside *.cuh and *.cu")
        if header.startswith("ringer/"):
            owner = self.owner(header)
            if quoted:
                self.report(path, line, f'"{header}" must be <{header}>')
            elif owner is None:
                self.report(path, line, f"no room has <{header}>")
            elif room in MAY_INCLUDE and owner not in MAY_INCLUDE[room]:
                self.report(path, line, f"{room} may not know {owner}: <{header}>")
        elif room in MAY_INCLUDE:
            self.check_foreign(path, line, quoted, header)

    def check_foreign(self, path, line, quoted, header):
        room = room_of(path)
        if quoted:
            beside = os.path.normpath(os.path.join(os.path.dirname(path), header))
            if "/" in header or beside not in self.files:
                self.report(path, line, f'"{header}" is not a file beside this one')
        elif path.endswith((".cuh", ".cu")) and CUDA_HEADER.search(header):
            return
        elif not re.fullmatch(r"[a-z_0-9]+", header) and not re.search(other_headers(room), header):
            self.report(path, line, f"{room} may not include <{header}>")

    def check_spins(self, path, text):
        for match in re.finditer(r"\bwhile\s*\(", text):
            depth, end = 1, match.end()
            while end < len(text) and depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            start_of_line = text.rfind("\n", 0, match.start()) + 1
            closes_do = text[start_of_line:match.start()].rstrip().endswith("}")
            # A failed compare-exchange has made progress elsewhere: that loop is no wait.
            no_wait = "compare_exchange" in text[match.start():end]
            if re.match(r"\s*(;|\{\s*\})", text[end:]) and not closes_do and not no_wait:
                self.report(path, text.count("\n", 0, match.start()) + 1,
                            "a wait without bound: use Platform::wait_until")

    def check_file(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()
        lines = text.split("\n")
        if path.endswith(CODE + SCRIPT):
            wanted = 1 if lines[0].startswith("#!") else 0
            if len(lines) <= wanted or "SPDX-License-Identifier: Apache-2.0" not in lines[wanted]:
                self.report(path, wanted + 1, "no SPDX-License-Identifier line")
            if len(lines) - 1 > MAX_LINES:
                self.report(path, len(lines) - 1, f"longer than {MAX_LINES} lines")
        if path.endswith(CODE):
            code = re.sub(r"//[^\n]*", "", text)
            for match in INCLUDE.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                self.check_include(path, line, match.group(1) == '"', match.group(2))
            if path.startswith(("core/", "kernels/")):
                self.check_spins(path, code)
        if path.endswith(TEXT) or path == ".ci/run":
            for number, line in enumerate(lines, 1):
                if MACHINE_PATH.search(line):
                    self.report(path, number, "an absolute path of some machine")

    def run(self):
        for path in self.files:
            self.check_file(path)
        for problem in self.problems:
            print(problem)
        print(f"{len(self.files)} files, {len(self.problems)} problems")
        return 1 if self.problems or not self.files else 0


sys.exit(Checker(os.path.realpath(sys.argv[1])).run())
