"""Writes the results of the benchmarks: docs/benchmarks.md and docs/benchmarks.svg, and those of bench/servers.py:
docs/server-benchmarks.md."""

from workloads import LIMITS, MODULE, PEERS

COLOURS = {"module": "#2563eb", "limit": "#94a3b8", "peer": "#cbd5e1"}
LIMIT_NAMES = [client.name for client in LIMITS]


def figure(value, unit):
    """Formats a value with three digits."""
    if unit.endswith("/s") and not unit.startswith("MB"):
        for size, letter in ((1e6, " M"), (1e3, " k")):
            if value >= size:
                return f"{value / size:.3g}{letter}"
        return f"{value:.0f}"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def verdict_text(verdict, workload):
    sign = "≤" if workload.lower else "≥"
    mark = "yes" if verdict["met"] else "**no**"
    if verdict["beside"] is None:
        return f"{sign} {verdict['wanted']:g} {workload.unit}: {mark}"
    enough = "" if verdict["enough"] is None else f", or {figure(verdict['enough'], workload.unit)} {workload.unit}"
    return f"{verdict['ratio']:.2f} × {verdict['beside']} (wanted {sign} {verdict['wanted']:g}{enough}): {mark}"


def line(result):
    """One line for the terminal."""
    workload = result["workload"]
    parts = []
    for name, found in result["clients"].items():
        parts.append(f"{name} {figure(found['value'], workload.unit) if 'value' in found else 'failed'}")
    verdicts = "; ".join(verdict_text(v, workload) for v in result["verdicts"])
    return f"{workload.name} [{workload.unit}]: {', '.join(parts)} | {verdicts}"


def table(facts, results):
    names = [client.name for client in PEERS if any(client.name in r["clients"] for r in results)]
    lines = [
        "# Benchmarks",
        "",
        (
            "Written by `scripts/bench`. Server and clients run on one machine; each workload runs with every client in turn, "
            f"{facts['rounds']} rounds. Figures are medians; a ratio is the median of the rounds' ratios. Each run counts every message and "
            "checks the order. The messages: `bench/payloads.h`; the clients: "
            "`bench/module.lua` and `bench/peers`. Compare ratios, not figures, between "
            "machines or days."
        ),
        "",
        "![Chart of the table below](benchmarks.svg)",
        "",
        "## Targets of the module",
        "",
        (
            "The limit is the same work without a WebSocket implementation: a C loop that passes the same messages to the "
            "same Lua callback, raw TCP with the same bytes, only zlib, or only OpenSSL."
        ),
        "",
        "| workload | unit | module | limit | of the limit | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        workload, clients = result["workload"], result["clients"]
        own = clients[MODULE.name].get("value")
        limit = next((name for name in LIMIT_NAMES if "value" in clients.get(name, {})), None)
        cells = [workload.title, workload.unit, "failed" if own is None else figure(own, workload.unit)]
        if limit and own is not None:
            cells += [f"{figure(clients[limit]['value'], workload.unit)} ({limit})", f"{clients[limit]['ratio']:.2f}"]
        else:
            cells += ["", ""]
        cells.append("; ".join(verdict_text(v, workload) for v in result["verdicts"]))
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## All clients", "", *all_figures(results, names), "", machine(facts), *failures(results)]
    return "\n".join(lines) + "\n"


def all_figures(results, names):
    """A table of the module and the others with these names."""
    lines = ["| workload | unit | module | " + " | ".join(names) + " |", "|---|---|---|" + "---|" * len(names)]
    for result in results:
        workload, clients = result["workload"], result["clients"]
        cells = [workload.title, workload.unit]
        for name in (MODULE.name, *names):
            found = clients.get(name, {})
            cells.append(figure(found["value"], workload.unit) if "value" in found else "failed" if found else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def machine(facts):
    peers = ", ".join(f"{name} {version}".strip() for name, version in facts["versions"].items())
    left_out = ", ".join(f"{name} ({why})" for name, why in facts["left out"].items())
    priority = ", over which the benchmark had priority" if facts.get("priority") else ""
    return (
        f"{facts['processor']}, {facts['processors']} processors, Linux {facts['kernel']}; meanwhile other "
        f"processes used {facts['others']} % of the processors{priority}. Peers: {peers}. "
        f"Left out: {left_out or 'none'}."
    )


def failures(results):
    """A list of the failed runs, or nothing."""
    lines = [
        f"- {result['workload'].title}: {name}: {found['failed']}"
        for result in results
        for name, found in result["clients"].items()
        if "failed" in found
    ]
    return ["", "Failed:", "", *lines] if lines else []


def server_table(facts, results):
    names = [name for name in facts["versions"] if any(name in r["clients"] for r in results)]
    lines = [
        "# Benchmarks of the server",
        "",
        (
            "Written by `scripts/bench --server`. Each server runs alone on one processor, and the load client "
            "(`bench/load.c`), which checks each message, on another; each workload runs with every server "
            f"in turn, {facts['rounds']} rounds, at most 3 of those that only connect. Figures are medians; a ratio is the median "
            "of the rounds' ratios. The module's server calls a Lua callback for each message (`bench/server.lua`); the others: "
            "`bench/peers`. Compare ratios, not figures, between machines or days."
        ),
        "",
        "## Targets of the module",
        "",
        (
            "The last column compares the messages, or the connections, for each second of processor time that the server "
            "used: the ratio to the best peer. It changes less than the others when other processes use the machine."
        ),
        "",
        "| workload | unit | module | wanted | for the same processor time |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        workload, clients = result["workload"], result["clients"]
        own = clients[MODULE.name].get("value")
        ratios = [(clients[name]["efficiency ratio"], name) for name in names if "ratio" in clients.get(name, {})]
        cells = [workload.title, workload.unit, "failed" if own is None else figure(own, workload.unit)]
        cells.append("; ".join(verdict_text(v, workload) for v in result["verdicts"]))
        cells.append("{:.2f} × {}".format(*min(ratios)) if ratios and not workload.lower else "")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## All servers", "", *all_figures(results, names), "", machine(facts), *failures(results)]
    return "\n".join(lines) + "\n"


def chart(path, results):
    """Bar charts, one panel per workload, the best value on top."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "websocket", "font.size": 9})
    import matplotlib.pyplot as plt

    drawn = [r for r in results if len([c for c in r["clients"].values() if "value" in c]) > 1]
    if not drawn:
        return
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    picture, panels = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.1 * rows), squeeze=False)
    for panel in panels.flat[len(drawn) :]:
        panel.remove()
    for panel, result in zip(panels.flat, drawn):
        workload = result["workload"]
        bars = [(name, c["value"]) for name, c in result["clients"].items() if "value" in c]
        bars.sort(key=lambda bar: bar[1], reverse=workload.lower)
        kinds = ["module" if n == MODULE.name else "limit" if n in LIMIT_NAMES else "peer" for n, _ in bars]
        drawing = panel.barh(
            [name for name, _ in bars], [value for _, value in bars], color=[COLOURS[k] for k in kinds]
        )
        panel.bar_label(drawing, [figure(value, workload.unit) for _, value in bars], padding=3, fontsize=8)
        better = "less is better" if workload.lower else "more is better"
        panel.set_title(f"{workload.title}\n{workload.unit}, {better}", fontsize=9, loc="left")
        panel.margins(x=0.18)
        panel.xaxis.set_visible(False)
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    names = ["this module", "limit: the same bytes without WebSocket", "other clients"]
    picture.tight_layout(rect=(0, 0, 1, 1 - 0.35 / (2.1 * rows)))
    picture.legend(patches, names, loc="upper left", ncols=3, frameon=False)
    picture.savefig(path, metadata={"Date": None, "Creator": None})


def write(root, facts, results):
    (root / "docs/benchmarks.md").write_text(table(facts, results))
    chart(root / "docs/benchmarks.svg", results)


def write_servers(root, facts, results):
    (root / "docs/server-benchmarks.md").write_text(server_table(facts, results))
