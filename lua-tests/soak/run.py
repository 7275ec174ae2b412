"""A server and clients in all event loops for MINUTES: run.py MINUTES. Prints a line each 10 s. The exit status is 1 if a
process has failed, or if memory, descriptors or threads of one grow: what the last third of the time has at least
(threads: at most) is compared with the second third. The first third is for caches and pools to fill.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = "lua-tests/soak/"
FOLDER = "build/soak"
CERTIFICATES = "build/certificates"
SCRIPT = HERE + "client.lua"
NVIM = ["nvim", "--headless", "-u", "NONE", "-S", SCRIPT]
# Name, folder of the module, loop, style, command.
CLIENTS = [
    ("callbacks", "build", "run", "callbacks", ["lua5.4", SCRIPT]),
    ("poll", "build", "run", "poll", ["lua5.4", SCRIPT]),
    ("blocking", "build", "run", "blocking", ["lua5.4", SCRIPT]),
    ("cqueues", "build", "cqueues", "coroutines", ["lua5.4", SCRIPT]),
    ("luv", "build", "luv", "callbacks", ["lua5.4", SCRIPT]),
    ("luasocket", "build", "luasocket", "callbacks", ["lua5.4", SCRIPT]),
    ("copas-5.1", "build/lua-5.1", "copas", "coroutines", ["lua5.1", SCRIPT]),
    ("luajit", "build/lua-jit", "run", "callbacks", ["luajit", SCRIPT]),
    ("neovim", "build/lua-jit", "neovim", "coroutines", NVIM),
]
SERVER_LIFE = 20  # seconds until the flaky server is killed
LUA = 64  # KiB of Lua's memory that may come on top without being growth


def resident(seconds):
    """KiB of memory that may come on top: the allocator's pools need some minutes to reach their size."""
    return 1024 + 4096 * 60 // seconds


class Watched:
    """A process, with a sample for each second, also in a file: KiB of memory, descriptors, threads, and what it counts:
    messages, connections, KiB of Lua's memory."""

    def __init__(self, name, process):
        self.name, self.process = name, process
        self.counts = pathlib.Path(f"{FOLDER}/{name}.counts")
        self.log = open(f"{FOLDER}/{name}.samples", "w")
        self.samples = []

    def sample(self):
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        counts = self.counts.read_text().split() if self.counts.exists() else []
        if len(counts) != 3:  # not written yet, or being written
            counts = self.samples[-1][3:] if self.samples else (0, 0, 0)
        descriptors = len(os.listdir(folder / "fd"))
        memory = int(status["VmRSS"].split()[0])
        self.samples.append((memory, descriptors, int(status["Threads"]), *map(int, counts)))
        print(*self.samples[-1], file=self.log, flush=True)

    def growth(self):
        """Descriptions of what grows."""
        third = len(self.samples) // 3
        before, after = self.samples[third : 2 * third], self.samples[2 * third :]
        complaints = []

        def compare(what, column, summary, allowed):
            old, new = summary(row[column] for row in before), summary(row[column] for row in after)
            if new > old + allowed:
                complaints.append(f"{self.name}: {what} {old} -> {new}")

        compare("KiB of memory", 0, min, resident(len(self.samples)))
        compare("descriptors", 1, min, 2)
        compare("threads", 2, max, 1)
        compare("KiB of Lua's memory", 5, min, LUA)
        if self.samples[-1][3] <= self.samples[2 * third][3]:
            complaints.append(f"{self.name}: no message in the last third")
        return complaints


def environment(module, **more):
    names = ("ws_proxy", "wss_proxy", "http_proxy", "https_proxy", "all_proxy")
    kept = {name: value for name, value in os.environ.items() if name.lower() not in names}
    return {**kept, "LUA_CPATH": f"{module}/?.so;;", **{name: str(value) for name, value in more.items()}}


def start(stack, command, **options):
    """Starts a process that ends with the stack."""
    process = subprocess.Popen(command, text=True, **options)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def serve(stack, *arguments):
    command = ["lua5.4", HERE + "server.lua", *map(str, arguments)]
    process = start(stack, command, env=environment("build"), stdout=subprocess.PIPE)
    return process, [int(port) for port in process.stdout.readline().split()]


def line(watched, seconds):
    last = [one.samples[-1] for one in watched]
    messages, opened = sum(s[3] for s in last[1:]), sum(s[4] for s in last[1:])
    return (
        f"{seconds:4} s: {messages} messages, {opened} connections; "
        f"memory {sum(s[0] for s in last) // 1024} MiB, server {last[0][0] // 1024} MiB; "
        f"descriptors {sum(s[1] for s in last)}, server {last[0][1]}; threads {sum(s[2] for s in last)}"
    )


def main(seconds):
    os.chdir(ROOT)
    os.makedirs(FOLDER, exist_ok=True)
    for old in pathlib.Path(FOLDER).glob("*.counts"):
        old.unlink()
    complaints = []
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as flaky_stack:
        # A path that is short enough, and has no colon.
        socket = stack.enter_context(tempfile.TemporaryDirectory()) + "/socket"
        server, (plain, secure) = serve(stack, 0, CERTIFICATES, socket, f"{FOLDER}/server.counts")
        flaky, (flaky_port,) = serve(flaky_stack, 0)
        hosts = (f"ws://127.0.0.1:{plain}/", f"wss://localhost:{secure}/", f"ws+unix:{socket}:/")
        urls = " ".join((*hosts, f"ws://127.0.0.1:{flaky_port}/flaky"))
        watched = [Watched("server", server)]
        for name, module, loop, style, command in CLIENTS:
            log = stack.enter_context(open(f"{FOLDER}/{name}.log", "w"))
            variables = environment(
                module, LOOP=loop, STYLE=style, URLS=urls, SECONDS=seconds + 5, COUNTS=f"{FOLDER}/{name}.counts",
                CA=f"{CERTIFICATES}/ca.pem",
            )
            options = {"env": variables, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            watched.append(Watched(name, start(stack, command, **options)))
        begin = time.monotonic()
        for second in range(1, seconds + 1):
            time.sleep(max(0, begin + second - time.monotonic()))
            ended = [one for one in watched if one.process.poll() is not None]
            if ended:
                complaints = [f"{one.name} has ended with status {one.process.returncode}" for one in ended]
                break
            for one in watched:
                one.sample()
            if second % 10 == 0:
                print(line(watched, second), flush=True)
                with contextlib.ExitStack() as once:
                    command = ["lua5.4", HERE + "leaver.lua", hosts[0]]
                    leaver = start(once, command, env=environment("build"), stdout=subprocess.PIPE)
                    leaver.stdout.readline()
            if second % SERVER_LIFE == 0:
                flaky.kill()
                flaky.wait()
                flaky, _ = serve(flaky_stack, flaky_port)
        else:
            for one in watched:
                complaints += one.growth()
            for one in watched[1:]:
                # Their time is over five seconds later.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.process.wait(40)
                if one.process.returncode != 0:
                    complaints.append(f"{one.name}: status {one.process.returncode} at its end")
    for complaint in complaints:
        print(complaint)
    if complaints:
        print(f"the output of the clients is in {FOLDER}")
        return 1
    print("nothing grows")
    return 0


sys.exit(main(round(float(sys.argv[1]) * 60)))
