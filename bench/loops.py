"""Measures a round trip of 32 bytes in each event loop beside websocket.run, with the same interpreter, in turn: with the
server on the client's processor, and on another. The exit status is 1 if a loop takes more than LIMIT times as long as
websocket.run, on one processor or on two.

    loops.py [--rounds N] [--seconds S] [--only LOOP,...]
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = "build/bench"
LIMIT = 1.5
CLIENTS = ["taskset", "-c", "0"]
# By the number of processors.
SERVERS = {1: ["taskset", "-c", "0"], 2: ["taskset", "-c", "1"]}
CLIENT = "bench/loops.lua"
# The interpreter, the folder of its module, the loop with its style, and the command.
BOTH = ("callbacks", "coroutines")
LOOPS = [
    *(("lua5.4", "build", loop, style, ["lua5.4", CLIENT]) for loop in ("run", "cqueues", "luv") for style in BOTH),
    ("lua5.4", "build", "luasocket", "callbacks", ["lua5.4", CLIENT]),
    *(("lua5.1", "build/lua-5.1", loop, style, ["lua5.1", CLIENT]) for loop in ("run", "copas") for style in BOTH),
    *(("luajit", "build/lua-jit", "run", style, ["luajit", CLIENT]) for style in BOTH),
    *(("luajit", "build/lua-jit", "neovim", s, ["nvim", "--headless", "-u", "NONE", "-S", CLIENT]) for s in BOTH),
    ("luajit", "build/lua-jit", "love", "callbacks", ["love", "lua-tests/game"]),
]


def run(loop, url, seconds):
    """Returns the microseconds of a round trip."""
    _, module, name, style, command = loop
    environment = {
        **os.environ,
        "LUA_CPATH": f"{module}/?.so;;",
        "SCRIPT": CLIENT,
        "SDL_VIDEODRIVER": "dummy",
        "LOOP": name,
        "STYLE": style,
        "URL": url,
        "SECONDS": str(seconds),
    }
    process = subprocess.run(
        [*CLIENTS, *command], env=environment, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    try:
        return float(process.stdout.split()[0])
    except (IndexError, ValueError):
        sys.exit(f"{name} failed: {process.stdout}{process.stderr}")


def start_server(stack, pinned):
    """Returns its URL. The server ends with the stack."""
    server = stack.enter_context(subprocess.Popen([*pinned, f"{BUILD}/server"], stdout=subprocess.PIPE, text=True))
    stack.callback(server.kill)
    return f"ws://127.0.0.1:{server.stdout.readline().split()[0]}/echo"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run (0.5)")
    parser.add_argument("--only", type=lambda text: text.split(","), help="these loops")
    options = parser.parse_args()
    os.chdir(ROOT)
    wanted = [loop for loop in LOOPS if not options.only or loop[2] in ("run", *options.only)]
    with contextlib.ExitStack() as stack:
        urls = {processors: start_server(stack, pinned) for processors, pinned in SERVERS.items()}
        rounds = [
            {(*loop[:4], number): run(loop, url, options.seconds) for loop in wanted for number, url in urls.items()}
            for _ in range(options.rounds)
        ]
    is_met = True
    print("                                     one processor      two processors")
    print("interpreter  loop       style         us   times run     us   times run")
    for interpreter, module, name, style, _ in wanted:
        columns = ""
        for number in SERVERS:
            median = statistics.median(times[interpreter, module, name, style, number] for times in rounds)
            # Within a round, because the machine's speed changes from minute to minute.
            ratio = statistics.median(
                times[interpreter, module, name, style, number] / times[interpreter, module, "run", style, number]
                for times in rounds
            )
            columns += f" {median:5.1f}   {ratio:9.2f}"
            is_met = is_met and ratio <= LIMIT
        print(f"{interpreter:12} {name:10} {style:10}{columns}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
