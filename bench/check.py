"""Counts the module's instructions per message on its hot paths, and compares them with bench/budget.json.

A path runs twice under callgrind with different numbers of messages; the difference excludes the start-up.
The budget is for websocket.so alone: the libraries' instructions depend on the machine. The UTF-8 paths
are measured only on processors with AVX2.

    check.py [--update]
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from run import ENVIRONMENT, MODULE, ROOT, Servers, payloads
from workloads import Workload

BUDGET = "bench/budget.json"
TOLERANCE = 0.05
TRIES = 3
TIMEOUT = 100
# Mode, kind, size and two numbers of messages.
PATHS = {
    "receive 32 B text": ("receive", "text", 32, 20_000, 120_000),
    "receive 1 KiB UTF-8": ("receive", "utf8", 1024, 4_000, 14_000),
    "send 32 B text": ("hold", "text", 32, 50_000, 150_000),
    "send 1 KiB UTF-8": ("hold", "utf8", 1024, 4_000, 14_000),
    "send 64 KiB binary": ("hold", "binary", 65536, 100, 400),
    "round trip 32 B": ("roundtrip", "text", 32, 500, 2_500),
}


def instructions(profile):
    """Instructions per object file. A cost line belongs to the last object named, except the line after calls=."""
    names, counts = {}, {}
    current = None
    skips = False
    for line in profile:
        if line.startswith("ob="):
            number, name = re.match(r"ob=\((\d+)\)(?: (.*))?", line).groups()
            current = names.setdefault(number, name)
        elif line.startswith("cob="):
            number, name = re.match(r"cob=\((\d+)\)(?: (.*))?", line).groups()
            names.setdefault(number, name)
        elif line.startswith("calls="):
            skips = True
        elif line[0] in "0123456789+-*":
            if not skips:
                counts[current] = counts.get(current, 0) + int(line.split()[1])
            skips = False
    return counts


def run(servers, path, count):
    """Instructions of websocket.so and of the whole process."""
    mode, kind, size = path[:3]
    workload = Workload("", "", mode, kind, size, "", (), ())
    where = {"receive": f"flood/{kind}/{count}/{size}", "hold": f"hold/{kind}/{count}/{size}"}.get(mode, "echo")
    with tempfile.NamedTemporaryFile("r") as profile:
        command = [
            "valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={profile.name}",
            *MODULE.command, mode, kind, servers.url(workload, where), str(count), str(size), payloads(kind, size),
        ]  # fmt: skip
        process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if process.returncode or not json.loads(process.stdout)["ok"]:
            sys.exit(f"a run failed: {process.stderr}")
        counts = instructions(profile)
    return sum(n for name, n in counts.items() if name.endswith("/websocket.so")), sum(counts.values())


def measure(path):
    few, many = path[3:]
    with contextlib.ExitStack() as stack:
        servers = Servers(stack)
        first, second = run(servers, path, few), run(servers, path, many)
    module, everything = ((b - a) / (many - few) for a, b in zip(first, second))
    return round(module, 1), round(everything, 1)


def is_within(count, budget):
    return abs(count / budget - 1) <= TOLERANCE


def measure_beside(path, budget):
    """Measures a path, up to TRIES times while it is not within the budget: random extra work does not repeat."""
    module, everything = measure(path)
    for _ in range(TRIES - 1):
        if budget and is_within(module, budget):
            break
        module, everything = min((module, everything), measure(path))
    return module, everything


def has_avx2():
    return "avx2" in pathlib.Path("/proc/cpuinfo").read_text().split()


def main():
    os.chdir(ROOT)
    updates = "--update" in sys.argv[1:]
    budget = {} if updates else json.loads(pathlib.Path(BUDGET).read_text())
    paths = [name for name, path in PATHS.items() if path[1] != "utf8" or has_avx2()]
    for name in PATHS.keys() - set(paths):
        print(f"{name}: left out, this processor has no AVX2")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = dict(zip(paths, pool.map(lambda name: measure_beside(PATHS[name], budget.get(name)), paths)))
    if updates:
        modules = {name: module for name, (module, _) in found.items()}
        pathlib.Path(BUDGET).write_text(json.dumps(modules, indent=2) + "\n")
    missed = 0
    for name, (module, everything) in found.items():
        text = f"{name}: {module:.0f} instructions a message, {everything:.0f} with Lua and the libraries"
        if not updates:
            text += f" ({module / budget[name] - 1:+.1%})"
            if not is_within(module, budget[name]):
                missed += 1
                text += ": not within 5 % of the budget"
        print(text)
    if missed:
        print("If the change is intended: scripts/bench --check --update", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
