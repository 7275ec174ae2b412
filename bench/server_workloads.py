"""The workloads of the server benchmarks, the servers, and the module's targets. Data only."""

from dataclasses import dataclass

from workloads import BUILD, MODULE, PYTHON, SITE, Client, Rule

# `command` takes a mode: echo or broadcast. It prints the server's port.
SERVERS = [
    Client(MODULE.name, ["lua5.4", "bench/server.lua"], "Lua"),
    Client("Beast", [f"{BUILD}/beast_server"], "C++", [f"{BUILD}/beast_server"], "libboost-dev"),
    Client("libwebsockets", [f"{BUILD}/lws_server"], "C", [f"{BUILD}/lws_server"], "libwebsockets-dev"),
    Client(
        "ws", ["node", "bench/peers/node_server.js"], "JavaScript", ["/usr/share/nodejs/ws/package.json"], "node-ws"
    ),
    Client(
        "picows",
        [PYTHON, "bench/peers/picows_server.py"],
        "Python",
        [f"{SITE}/picows/__init__.py", f"{SITE}/uvloop/__init__.py"],
        "picows",
    ),
    Client(
        "websockets",
        [PYTHON, "bench/peers/websockets_server.py"],
        "Python",
        [f"{SITE}/websockets/__init__.py", f"{SITE}/uvloop/__init__.py"],
        "websockets",
    ),
]
ALL = tuple(server.name for server in SERVERS[1:])
NOT_BEAST = tuple(name for name in ALL if name != "Beast")


@dataclass(frozen=True)
class ServerWorkload:
    name: str
    title: str
    # The mode of bench/load.c, its connections, and messages that may be unanswered on each.
    mode: str
    connections: int
    window: int
    unit: str
    rules: tuple
    lower: bool = False


WORKLOADS = [
    ServerWorkload(
        "echo-wait", "echo 32 B, 100 connections that each wait for the answer", "echo", 100, 1, "messages/s",
        (Rule(ALL, 1),),
    ),
    ServerWorkload(
        "echo-pipelined", "echo 32 B, 16 connections, up to 256 messages under way on each", "echo", 16, 256,
        "messages/s", (Rule(ALL, 3),),
    ),
    ServerWorkload(
        "broadcast", "broadcast 32 B to 1 000 connections, up to 16 messages under way", "broadcast", 1000, 16,
        "messages/s", (Rule(ALL, 3),),
    ),
    ServerWorkload(
        "broadcast-wait", "broadcast 32 B to 1 000 connections, one message at a time", "broadcast", 1000, 1,
        "messages/s", (Rule(ALL, 1),),
    ),
    ServerWorkload(
        "accept", "connections accepted, with the handshake", "open", 10_000, 0, "connections/s", (Rule(NOT_BEAST, 1),)
    ),
    ServerWorkload(
        "idle-memory", "10 000 idle connections: memory of each", "open", 10_000, 0, "B", (Rule((), 4096),), lower=True
    ),
]  # fmt: skip
