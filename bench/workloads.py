"""The workloads of the benchmarks, their clients, and the module's targets. Data only."""

from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Client:
    """A program that runs workloads: `command` takes MODE KIND URL COUNT SIZE PAYLOADS."""

    name: str
    command: list
    language: str
    # Without these files it is left out; `package` installs them.
    needs: list = field(default_factory=list)
    package: str = ""


BUILD = "build/bench"
PYTHON = "build/venv/bin/python"
SITE = "build/venv/lib/python*/site-packages"

MODULE = Client("websocket.so", ["lua5.4", "bench/module.lua"], "Lua")

LIMITS = [
    Client("Lua", ["lua5.4", "bench/c_client.lua", "lua_limit"], "C, Lua"),
    Client("TCP", [f"{BUILD}/limits"], "C"),
    Client("zlib", [f"{BUILD}/limits"], "C"),
    Client("OpenSSL", [f"{BUILD}/limits"], "C"),
]

PEERS = [
    Client("Beast", [f"{BUILD}/beast"], "C++", [f"{BUILD}/beast"], "libboost-dev"),
    Client(
        "Beast to Lua",
        ["lua5.4", "bench/c_client.lua", "beast_lua"],
        "C++, Lua",
        [f"{BUILD}/beast_lua.so"],
        "libboost-dev",
    ),
    Client("libwebsockets", [f"{BUILD}/lws"], "C", [f"{BUILD}/lws"], "libwebsockets-dev"),
    Client("ws", ["node", "bench/peers/node.js"], "JavaScript", ["/usr/share/nodejs/ws/package.json"], "node-ws"),
    Client(
        "picows",
        [PYTHON, "bench/peers/picows_client.py"],
        "Python",
        [f"{SITE}/picows/__init__.py", f"{SITE}/uvloop/__init__.py"],
        "picows",
    ),
    Client(
        "websockets",
        [PYTHON, "bench/peers/websockets_client.py"],
        "Python",
        [f"{SITE}/websockets/__init__.py", f"{SITE}/uvloop/__init__.py"],
        "websockets",
    ),
    Client(
        "lua-http", ["lua5.4", "bench/peers/lua_http.lua"], "Lua", ["/usr/share/lua/5.*/http/websocket.lua"], "lua-http"
    ),
]


@dataclass(frozen=True)
class Rule:
    """A target: a factor of each of the others' values, or an absolute value without others."""

    others: tuple
    factor: float
    # A value that meets the target whatever the others reach.
    enough: float | None = None


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    mode: str
    kind: str
    size: int
    unit: str
    clients: tuple
    rules: tuple
    # Processors of server and client: "any", both on "one", or on "two" different ones.
    cpus: str = "any"
    tls: bool = False
    # Whether a lower value is better.
    lower: bool = False


ALL = ("Beast", "libwebsockets", "ws", "picows", "websockets", "lua-http")
NOT_BEAST = ALL[1:]
DEFLATING = ("Beast", "ws", "websockets")
SECURE = ("Beast", "libwebsockets", "ws", "picows", "websockets")

# fmt: off
WORKLOADS = [
    Workload(
        "receive-text", "receive 32 B text", "receive", "text", 32, "messages/s", ("Lua", "Beast to Lua", *ALL),
        (Rule(("Lua",), 0.85), Rule(("Beast to Lua",), 1), Rule(NOT_BEAST, 3)),
    ),
    Workload(
        "send-text", "send 32 B text", "send", "text", 32, "messages/s", ("TCP", *ALL),
        (Rule(ALL, 10),),
    ),
    Workload(
        "receive-binary", "receive 1 MiB binary", "receive", "binary", MIB, "MB/s", ("TCP", *ALL),
        (Rule(("TCP",), 0.65), Rule(NOT_BEAST, 1)),
    ),
    Workload(
        "send-binary", "send 1 MiB binary", "send", "binary", MIB, "MB/s", ("TCP", *ALL),
        (Rule(("TCP",), 0.45), Rule(ALL, 2)),
    ),
    Workload(
        "roundtrip-one", "round trip, one processor", "roundtrip", "text", 32, "µs", ("TCP", *ALL),
        (Rule(("TCP",), 1.35), Rule(NOT_BEAST, 1)), cpus="one", lower=True,
    ),
    Workload(
        "roundtrip-two", "round trip, two processors", "roundtrip", "text", 32, "µs", ("TCP", *ALL),
        (Rule(ALL, 1),), cpus="two", lower=True,
    ),
    Workload(
        "receive-utf8", "receive 1 KiB UTF-8", "receive", "utf8", 1024, "MB/s", ("TCP", *ALL), (Rule(ALL, 1),)
    ),
    Workload("send-utf8", "send 1 KiB UTF-8", "send", "utf8", 1024, "MB/s", ("TCP", *ALL), (Rule(ALL, 1),)),
    Workload(
        "inflate-1k", "receive 1 KiB JSON, compressed", "receive", "json", 1024, "MB/s", ("zlib", *DEFLATING),
        (Rule(("zlib",), 0.85),),
    ),
    Workload(
        "inflate-64k", "receive 64 KiB JSON, compressed", "receive", "json", 65536, "MB/s", ("zlib", *DEFLATING),
        (Rule(("zlib",), 0.85),),
    ),
    Workload(
        "deflate-1k", "send 1 KiB JSON, compressed", "send", "json", 1024, "MB/s", ("zlib", *DEFLATING),
        (Rule(("zlib",), 0.85),),
    ),
    Workload(
        "deflate-64k", "send 64 KiB JSON, compressed", "send", "json", 65536, "MB/s", ("zlib", *DEFLATING),
        (Rule(("zlib",), 0.85),),
    ),
    Workload(
        "receive-wss", "receive 1 MiB binary, TLS", "receive", "binary", MIB, "MB/s", ("OpenSSL", *SECURE),
        (Rule(("OpenSSL",), 0.8),), tls=True,
    ),
    Workload(
        "send-wss", "send 1 MiB binary, TLS", "send", "binary", MIB, "MB/s", ("OpenSSL", *SECURE),
        (Rule(("OpenSSL",), 0.8),), tls=True,
    ),
    Workload(
        "idle-memory", "10 000 idle connections: memory of each", "idle", "text", 32, "B", ALL,
        (Rule((), 4096),), lower=True,
    ),
    Workload(
        "idle-opening", "10 000 idle connections: opening", "idle", "text", 32, "connections/s", ("TCP", *ALL),
        (Rule(("TCP",), 1, enough=5000),),
    ),
    Workload(
        "tick", "1 000 connections, a message a second each", "tick", "text", 32, "% of a processor", ALL,
        (Rule(ALL, 1),), lower=True,
    ),
    Workload("require", "require", "require", "text", 1024, "ms", (), (Rule((), 5),), lower=True),
    Workload(
        "first", "first message of a fresh process", "first", "text", 1024, "ms", ("lua-http",), (), lower=True
    ),
]
# fmt: on
