"""Runs the benchmarks: each workload with the module, the limits and the peers in turn, several rounds.

Writes docs/benchmarks.md and docs/benchmarks.svg. Every run checks that no message was lost
or reordered; a failed run has no figures. The exit status is 1 if a run of the module failed.

    run.py [--rounds N] [--quick] [--only WORKLOAD,...] [--clients NAME,...] [--keep]
"""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

import report
from workloads import BUILD, LIMITS, MODULE, PEERS, WORKLOADS

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT = 60
CONNECTIONS = 10_000
# Debian installs some pure Lua packages only for 5.2 and 5.3; they run on 5.4.
SHARE = "".join(f";/usr/share/lua/{version}/?.lua;/usr/share/lua/{version}/?/init.lua" for version in ("5.3", "5.2"))
ENVIRONMENT = {
    **os.environ,
    "LUA_PATH": "bench/?.lua;;" + SHARE,
    "LUA_CPATH": f"{BUILD}/?.so;build/?.so;;",
    "NODE_PATH": "/usr/share/nodejs",
}


class Failure(Exception):
    """A run that failed and has no figures."""


def pinned(cpus, role):
    """The command prefix that pins a process to a processor."""
    if cpus == "any":
        return []
    cpu = "0" if cpus == "one" or role == "client" else "1"
    return ["taskset", "-c", cpu]


class Servers:
    """One load server for each way of pinning it, started on first use."""

    def __init__(self, stack):
        self.stack = stack
        self.running = {}

    def url(self, workload, path):
        if workload.cpus not in self.running:
            command = [*pinned(workload.cpus, "server"), f"{BUILD}/server"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self.stack.callback(process.wait)
            self.stack.callback(process.kill)
            self.running[workload.cpus] = process.stdout.readline().split()
        plain, secure = self.running[workload.cpus]
        return f"wss://127.0.0.1:{secure}/{path}" if workload.tls else f"ws://127.0.0.1:{plain}/{path}"


def payloads(kind, size):
    """The path of the file with the messages to send."""
    path = pathlib.Path(BUILD, f"payloads-{kind}-{size}")
    if not path.exists():
        path.write_bytes(subprocess.run([f"{BUILD}/server", "payloads", kind, str(size)], stdout=-1, check=True).stdout)
    return str(path)


def run(servers, workload, client, count):
    """Runs a client once; returns the JSON line that it prints."""
    paths = {"receive": "flood", "send": "sink", "tick": "tick"}
    mode, kind, size = workload.mode, workload.kind, workload.size
    path = f"{paths[mode]}/{kind}/{count}/{size}" if mode in paths else "echo"
    command = [
        *pinned(workload.cpus, "client"), *client.command,
        "roundtrip" if mode == "first" else mode,
        kind, servers.url(workload, path), str(count), str(size), payloads(kind, size),
    ]  # fmt: skip
    start = time.perf_counter()
    try:
        process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Failure("it did not end: messages were lost") from None
    if process.returncode:
        raise Failure((process.stderr.strip().splitlines() or ["it crashed"])[0])
    line = json.loads(process.stdout)
    if not line["ok"]:
        raise Failure("messages were lost, reordered or changed")
    if mode == "first":
        line["seconds"] = time.perf_counter() - start
    return line


def count_for(servers, workload, client, seconds):
    """The number of messages that takes a client about `seconds`; also a warm-up."""
    fixed = {"idle": CONNECTIONS, "tick": max(2, round(8 * seconds)), "first": 1, "require": 1}
    if workload.mode in fixed:
        return fixed[workload.mode]
    # The server prepares compressed floods in memory: at most 128 MiB.
    most = (128 << 20) // workload.size if workload.kind == "json" else 1 << 30
    count = max(2, min(1 << 20, 4 << 20) // workload.size)
    while True:
        measured = run(servers, workload, client, count)["seconds"]
        wanted = max(2, min(most, int(count * seconds / measured)))
        if measured >= seconds / 8 or wanted <= count:
            return wanted
        count = min(wanted, count * 32)


def value_of(workload, line):
    """The result of a run in the workload's unit."""
    if workload.name == "idle-memory":
        return (line["rss"] - line["empty"]) / line["messages"]
    if workload.mode == "tick":
        return 100 * line["cpu"] / line["seconds"]
    if workload.mode == "roundtrip":
        return line["p50"] * 1e6
    if workload.unit == "ms":
        return line["seconds"] * 1e3
    if workload.unit == "MB/s":
        return line["bytes"] / line["seconds"] / 1e6
    return line["messages"] / line["seconds"]


def measure(servers, workload, clients, rounds, seconds, known):
    """All rounds of a workload: {name: result or the reason of the failure}."""
    key = (workload.mode, workload.kind, workload.size, workload.cpus, workload.tls)
    counts, lines, failed = known.setdefault(key, ({}, {}, {}))
    # Runs are shared with an earlier workload that has the same runs and another unit.
    clients = [client for client in clients if client.name not in lines and client.name not in failed]
    if workload.mode in ("idle", "tick"):
        rounds = min(rounds, 3)
    for turn in range(-1, rounds):
        # Rotate the order, so that no client is always first or always after the same one.
        shift = turn % max(1, len(clients))
        for client in clients[shift:] + clients[:shift]:
            name = client.name
            if name in failed:
                continue
            try:
                if turn < 0:
                    counts[name] = count_for(servers, workload, client, seconds)
                else:
                    lines.setdefault(name, []).append(run(servers, workload, client, counts[name]))
            except Failure as failure:
                failed[name] = str(failure)
                print(f"{workload.name}: {name} failed: {failure}", file=sys.stderr)
    results = {name: {"failed": why} for name, why in failed.items()}
    for name, runs in lines.items():
        if name not in failed and name in (MODULE.name, *workload.clients):
            values = [value_of(workload, line) for line in runs]
            results[name] = {"value": statistics.median(values), "values": values}
    own = results[MODULE.name].get("values", [])
    for name, found in results.items():
        # Ratios are taken within a round, because the machine's speed changes from minute to minute.
        if name != MODULE.name and "values" in found and own:
            found["ratio"] = statistics.median(a / b for a, b in zip(own, found["values"], strict=False))
    return results


def judge(workload, results):
    """Each rule with the reached ratio, the worst one if there are several others."""
    verdicts = []
    own = results[MODULE.name].get("value")
    for rule in workload.rules:
        compared = [(results[name]["ratio"], name) for name in rule.others if "ratio" in results.get(name, {})]
        if own is None or (rule.others and not compared):
            continue
        if not rule.others:
            ratio, beside = own, None
        else:
            ratio, beside = max(compared) if workload.lower else min(compared)
        met = ratio <= rule.factor if workload.lower else ratio >= rule.factor
        if rule.enough is not None and own >= rule.enough:
            met = True
        verdicts.append({"beside": beside, "ratio": ratio, "wanted": rule.factor, "enough": rule.enough, "met": met})
    return verdicts


def available(client):
    return all(glob.glob(path) for path in client.needs)


def versions(peers):
    """Versions of the peers' packages from Debian or PyPI."""
    found = {}
    for client in peers:
        if not available(client) or client.name == "Beast to Lua":
            continue
        query = ["dpkg-query", "-W", "-f", "${Version}", client.package]
        if client.package in ("picows", "websockets"):
            code = f"import importlib.metadata as m; print(m.version('{client.package}'), end='')"
            query = [client.command[0], "-c", code]
        with contextlib.suppress(OSError):
            answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            found[client.name] = answer.split("+")[0]
    return found


def processor():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


class Busy:
    """Processor time used by other processes during the run: figures of a busy machine are less reliable."""

    def __init__(self):
        self.before = self.read()

    @staticmethod
    def read():
        """Seconds so far: of all processors; not idle; of this process and its children."""
        with open("/proc/stat") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        hertz = os.sysconf("SC_CLK_TCK")
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        idle = ticks[3] + ticks[4]
        return sum(ticks) / hertz, (sum(ticks) - idle) / hertz, sum(u.ru_utime + u.ru_stime for u in own)

    def others(self):
        """In percent. Only children that have ended are counted as ours."""
        whole, busy, own = (after - before for after, before in zip(self.read(), self.before, strict=True))
        return max(0, round(100 * (busy - own) / whole)) if whole else 0


def parser(documentation, rounds, peers):
    """The options of a benchmark; `peers` is the name of the one that chooses peers."""
    result = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, help=f"of each workload ({rounds})")
    result.add_argument("--quick", action="store_true", help="one short round, as a check that everything works")
    result.add_argument("--only", type=lambda text: text.split(","), help="these workloads")
    result.add_argument(peers, type=lambda text: text.split(","), help="these peers")
    result.add_argument("--keep", action="store_true", help="do not write the results, only print them")
    return result


def begin():
    """Goes to the project's folder; returns how many descriptors this process may have now."""
    os.chdir(ROOT)
    sys.stdout.reconfigure(line_buffering=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def find_left_out(peers):
    """{name: package} of the peers that are not installed; prints them."""
    left_out = {peer.name: peer.package for peer in peers if not available(peer)}
    for name, package in left_out.items():
        print(f"left out: {name} ({package})")
    return left_out


def machine():
    """For the page: where this runs."""
    return {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release().split("-")[0],
    }


def exit_status(results):
    """1 if a run of the module failed; prints which."""
    lost = [r["workload"].name for r in results if "failed" in r["clients"][MODULE.name]]
    if lost:
        print("the module failed:", ", ".join(lost), file=sys.stderr)
    return 1 if lost else 0


def main():
    options = parser(__doc__, 7, "--clients").parse_args()
    most = begin()
    global CONNECTIONS
    CONNECTIONS = min(CONNECTIONS, most - 200)
    rounds = options.rounds or (1 if options.quick else 7)
    seconds = 0.1 if options.quick else 0.4
    left_out = find_left_out(PEERS)
    left_out["lua-websockets"] = "not in Debian or PyPI"
    usable = {c.name: c for c in (MODULE, *LIMITS, *PEERS) if c.name not in left_out}
    if options.clients:
        wanted = {MODULE.name, *(limit.name for limit in LIMITS), *options.clients}
        usable = {name: client for name, client in usable.items() if name in wanted}

    workloads = [w for w in WORKLOADS if not options.only or w.name in options.only]
    results, known = [], {}
    started, busy = time.time(), Busy()
    with contextlib.ExitStack() as stack:
        servers = Servers(stack)
        for workload in workloads:
            clients = [usable[name] for name in (MODULE.name, *workload.clients) if name in usable]
            figures = measure(servers, workload, clients, rounds, seconds, known)
            verdicts = judge(workload, figures)
            results.append({"workload": workload, "clients": figures, "verdicts": verdicts})
            print(report.line(results[-1]))
    facts = {
        **machine(),
        "rounds": rounds,
        "minutes": round((time.time() - started) / 60, 1),
        "others": busy.others(),
        "versions": versions(PEERS),
        "left out": left_out,
    }
    if not options.keep:
        report.write(ROOT, facts, results)
    return exit_status(results)


if __name__ == "__main__":
    sys.exit(main())
