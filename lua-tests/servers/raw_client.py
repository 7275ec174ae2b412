"""Clients that break the rules, in a process of their own: raw_client.py PORT BEHAVIOUR [ARGUMENT...].

Each behaviour prints lines about what it has seen. The process ends after 60 s at the latest.
"""

import asyncio
import os
import resource
import signal
import socket
import ssl
import struct
import sys
import time
import zlib

port = int(sys.argv[1])
REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def frame(first, payload=b""):
    """A masked frame; the key is zero."""
    size = len(payload)
    if size < 126:
        header = bytes([first, 0x80 | size])
    elif size < 65536:
        header = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, size)
    return header + bytes(4) + payload


def say(*words):
    print(*words, flush=True)


def connect(buffer=None):
    peer = socket.socket()
    if buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.settimeout(30)
    peer.connect(("127.0.0.1", port))
    return peer


def open_websocket(fields=b"", path=b"/", buffer=None):
    peer = connect(buffer)
    peer.sendall(REQUEST % (path, fields))
    response = b""
    while not response.endswith(b"\r\n\r\n"):
        byte = peer.recv(1)
        if not byte:
            raise SystemExit(f"no websocket: {response}")
        response += byte
    return peer


async def answer(parts):
    """Sends the parts, and returns all bytes of the server until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""

    async def send():
        for part in parts:
            writer.write(part)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while data := await asyncio.wait_for(reader.read(65536), 8):
            received += data
    except ConnectionError as error:
        received += b"!" + type(error).__name__.encode()
    except asyncio.TimeoutError:
        received += b"!open"
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    return received


async def ask(name):
    """One connection for each line of a file, which has its bytes in hexadecimal. Prints each answer, in hexadecimal."""
    with open(name, encoding="ascii") as file:
        lines = file.read().splitlines()
    for received in await asyncio.gather(*(answer(map(bytes.fromhex, line.split(","))) for line in lines)):
        say(received.hex())


async def say_nothing(count, beginning=""):
    """Many connections at once, each with the same beginning. Prints how many were open and after how many seconds the
    server had closed the last one, with the first line of an answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pairs = []
    for _ in range(int(count)):
        pairs.append(await asyncio.open_connection("127.0.0.1", port))
        pairs[-1][1].write(bytes.fromhex(beginning))
    say("open", len(pairs))
    started = time.monotonic()
    answers = await asyncio.gather(*(reader.read() for reader, _ in pairs), return_exceptions=True)
    words = {str(a) if isinstance(a, Exception) else a.decode("latin-1").split("\r\n")[0] for a in answers}
    say("closed", f"{time.monotonic() - started:.2f}", *sorted(words))


def reset(count, beginning=""):
    """Connections that are reset at once, or behind the beginning."""
    for number in range(int(count)):
        peer = connect()
        peer.send(bytes.fromhex(beginning))
        if number % 2 == 0:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    say("done")


def drip(kind):
    """A byte each 20 ms, until the server has closed. Prints the seconds, and the first line of the server's answer."""
    if kind == "frame":
        peer = open_websocket()
        data = frame(0x81, bytes(1000))
    elif kind == "tls":
        peer = connect()
        outgoing = ssl.MemoryBIO()
        client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            data = outgoing.read()
    else:
        peer = connect()
        data = REQUEST % (b"/" + b"a" * 1000, b"")
    peer.settimeout(0.02)
    started = time.monotonic()
    received = b""
    say("begun")
    for byte in data:
        try:
            peer.send(bytes([byte]))
            received = peer.recv(4096)
            break
        except socket.timeout:
            pass
        except ConnectionError:
            break
    say(f"{time.monotonic() - started:.2f}", received.decode("latin-1").split("\r\n")[0])


def flood(kind, seconds):
    """Frames without end, and nothing is read. Prints how many bytes the server has taken."""
    peer = open_websocket()
    block = {
        "pings": frame(0x89, b"x" * 125) * 500,
        "fragments": frame(0x00) * 5000,
        "messages": frame(0x82, b"x") * 5000,
    }[kind]
    say("begun")
    sent = 0
    peer.settimeout(0.2)
    if kind == "fragments":
        peer.sendall(frame(0x01))
    ends = time.monotonic() + float(seconds)
    rest = block
    while time.monotonic() < ends:
        try:
            count = peer.send(rest)
        except socket.timeout:
            continue
        except ConnectionError:
            break
        sent += count
        rest = rest[count:] or block
    say(sent)


def read_nothing():
    """An open websocket with a small buffer, until the process is ended."""
    peer = open_websocket(path=b"/deaf", buffer=4096)
    say("open")
    signal.pause()
    peer.close()


def bomb(size):
    """A message that is this many bytes once it is inflated, and about a thousandth before. Prints what comes back."""
    deflater = zlib.compressobj(9, wbits=-15)
    # A full flush makes a block that refers to none before it.
    block = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    data = (block * (int(size) >> 20))[:-4]
    peer = open_websocket(DEFLATE)
    peer.sendall(frame(0xC2, data))
    received = b""
    try:
        while piece := peer.recv(65536):
            received += piece
    except ConnectionError:
        pass
    say(received[:64].hex())


behaviours = {
    "ask": ask, "say_nothing": say_nothing, "reset": reset, "drip": drip, "flood": flood, "read_nothing": read_nothing,
    "bomb": bomb,
}
signal.alarm(60)
result = behaviours[sys.argv[2]](*sys.argv[3:])
if result:
    asyncio.run(result)
os._exit(0)
