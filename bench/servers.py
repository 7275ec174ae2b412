"""Runs the server benchmarks: each workload with the module's server and its peers in turn, several rounds, each with a
fresh server on one processor and bench/load.c on another.

Writes docs/server-benchmarks.md. The load client checks each answer; a failed run has no figures. The exit status is 1
if a run of the module failed.

    servers.py [--rounds N] [--quick] [--only WORKLOAD,...] [--servers NAME,...] [--keep] [--priority]
"""

import json
import os
import statistics
import subprocess
import sys

import report
from run import ENVIRONMENT, ROOT, Busy, Failure, begin, exit_status, find_left_out, judge, machine, parser, pinned, versions
from server_workloads import SERVERS, WORKLOADS
from workloads import BUILD, MODULE

TIMEOUT = 100


def take_priority():
    """Called in a new process: gives its session priority over the machine's other work (sched(7), autogroup)."""
    os.setsid()
    with open("/proc/self/autogroup", "w") as file:
        file.write("-20")


def run(workload, server, seconds, prepare):
    """One run with a fresh server; returns the JSON line of the load client."""
    mode = "broadcast" if workload.mode == "broadcast" else "echo"
    command = [*pinned("two", "server"), *server.command, mode]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=prepare
    )
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise Failure("the server has not started")
        load = [f"{BUILD}/load", workload.mode, port, str(process.pid), str(workload.connections)]
        if workload.window:
            load += [str(workload.window), str(seconds)]
        load = [*pinned("two", "client"), *load]
        client = subprocess.run(
            load, capture_output=True, text=True, timeout=TIMEOUT, check=False, preexec_fn=prepare
        )
    except subprocess.TimeoutExpired:
        raise Failure("it did not end") from None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if client.returncode:
        raise Failure((client.stderr.strip().splitlines() or ["the load client crashed"])[0])
    return json.loads(client.stdout)


def value_of(workload, line):
    """The result of a run in the workload's unit."""
    if workload.name == "idle-memory":
        return (line["rss"] - line["empty"]) / line["messages"]
    return line["messages"] / line["seconds"]


def measure(workload, servers, rounds, seconds, prepare, known):
    """All rounds of a workload: {name: result or the reason of the failure}."""
    key = (workload.mode, workload.connections, workload.window)
    if key not in known:
        lines, failed = known[key] = ({}, {})
        for turn in range(min(rounds, 3) if workload.mode == "open" else rounds):
            # Rotate the order, so that no server is always first or always after the same one.
            shift = turn % len(servers)
            for server in servers[shift:] + servers[:shift]:
                if server.name in failed:
                    continue
                try:
                    lines.setdefault(server.name, []).append(run(workload, server, seconds, prepare))
                except Failure as failure:
                    failed[server.name] = str(failure)
                    print(f"{workload.name}: {server.name} failed: {failure}", file=sys.stderr)
    lines, failed = known[key]
    results = {name: {"failed": why} for name, why in failed.items()}
    for name, runs in lines.items():
        if name not in failed:
            values = [value_of(workload, line) for line in runs]
            # Of each second in which a processor worked for the server: other processes change it less.
            efficiencies = [line["messages"] / line["cpu"] for line in runs]
            results[name] = {"value": statistics.median(values), "values": values, "efficiencies": efficiencies}
    own = results[MODULE.name]
    for name, found in results.items():
        # Ratios are taken within a round, because the machine's speed changes from minute to minute.
        if name != MODULE.name and "values" in found and "values" in own:
            for field, ratio in (("values", "ratio"), ("efficiencies", "efficiency ratio")):
                pairs = zip(own[field], found[field], strict=True)
                found[ratio] = statistics.median(mine / other for mine, other in pairs)
    return results


def main():
    options = parser(__doc__, 5, "--servers")
    options.add_argument("--priority", action="store_true", help="over the machine's other work; needs root")
    options = options.parse_args()
    begin()
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = 0.1 if options.quick else 0.5
    left_out = find_left_out(SERVERS)
    servers = [server for server in SERVERS if server.name not in left_out]
    if options.servers:
        servers = [server for server in servers if server.name in (MODULE.name, *options.servers)]
    prepare = take_priority if options.priority else None
    results, known, busy = [], {}, Busy()
    for workload in WORKLOADS:
        if options.only and workload.name not in options.only:
            continue
        figures = measure(workload, servers, rounds, seconds, prepare, known)
        results.append({"workload": workload, "clients": figures, "verdicts": judge(workload, figures)})
        print(report.line(results[-1]))
    facts = {
        **machine(),
        "rounds": rounds,
        "priority": options.priority,
        "others": busy.others(),
        "versions": versions(SERVERS[1:]),
        "left out": left_out,
    }
    if not options.keep:
        report.write_servers(ROOT, facts, results)
    return exit_status(results)


if __name__ == "__main__":
    sys.exit(main())
