"""A server whose behaviour, right or wrong, is chosen by the request's path. With CERTIFICATES in the environment: TLS.
raw.py PORT [ADDRESS or path of a Unix socket]. Standard library only. Prints its port, or 0 for a Unix socket."""

import asyncio
import base64
import hashlib
import json
import signal
import socket
import struct
import sys
import zlib
from urllib.parse import parse_qsl, urlsplit

import secure

attempts = {}
pings = {}
captured = {}
ended = asyncio.Condition()
releases = {}


def frame(payload, opcode=1, fin=True):
    payload = payload.encode() if isinstance(payload, str) else payload
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(payload) < 126:
        head += bytes([len(payload)])
    elif len(payload) < 1 << 16:
        head += struct.pack(">BH", 126, len(payload))
    else:
        head += struct.pack(">BQ", 127, len(payload))
    return head + payload


def close_frame(code, reason=""):
    return frame(struct.pack(">H", code) + reason.encode(), 8)


class Peer:
    def __init__(self, reader, writer, path, fields):
        self.reader, self.writer, self.fields = reader, writer, fields
        url = urlsplit(path)
        self.target, self.path, self.query = path, url.path, dict(parse_qsl(url.query))
        self.key = self.query.get("key", "")
        self.has_closed = False

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def switch(self, accept=None, rest=b"", fields=""):
        """Sends the response 101, with the bytes `rest` behind it in the same write."""
        key = self.fields.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = accept or base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        await self.send((
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n").encode() + rest)

    async def receive(self):
        """Reads one frame of at most 125 bytes: opcode and payload."""
        head = await self.reader.readexactly(2)
        body = await self.reader.readexactly(4 + (head[1] & 127))
        return head[0] & 15, bytes(c ^ body[i % 4] for i, c in enumerate(body[4:]))

    async def tell(self, text):
        """101 and one text message, then reads to the end."""
        await self.switch()
        await self.send(frame(text))
        await self.rest()

    async def rest(self, answers=True):
        """Reads frames up to a Close, which it answers, or to the connection's end. Keeps the bytes for /captured."""
        data, opcode = b"", None
        try:
            while opcode != 8:
                head = await self.reader.readexactly(2)
                opcode, length = head[0] & 15, head[1] & 127
                extended = await self.reader.readexactly({126: 2, 127: 8}.get(length, 0))
                body = await self.reader.readexactly(4 + (int.from_bytes(extended, "big") if extended else length))
                data += head + extended + body
                if opcode == 8 and not answers:
                    opcode = None
            if not self.has_closed:
                await self.send(frame(bytes(c ^ body[i % 4] for i, c in enumerate(body[4:])), 8))
        except asyncio.IncompleteReadError as error:
            data += error.partial
        async with ended:
            captured[self.key] = data
            ended.notify_all()

    def reset(self):
        """Ends the connection with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def end(self):
        """Ends as `end` says: hold (reads until the client ends), mute (hold, but never answers Close), close, reset,
        deaf (reads nothing), held (reads nothing until /release), closed (a Close frame was already sent); over TLS
        also cut (no close_notify), garbage (no TLS record), forged (a record that was not encrypted)."""
        how = self.query.get("end", "hold")
        self.has_closed = how == "closed"
        if how in ("hold", "mute", "closed"):
            await self.rest(answers=how != "mute")
        elif how == "reset":
            self.reset()
        elif how == "deaf":
            self.writer.transport.pause_reading()
            await asyncio.sleep(300)
        elif how == "held":
            self.writer.transport.pause_reading()
            await releases.setdefault(self.key, asyncio.Event()).wait()
            self.writer.transport.resume_reading()
            await self.rest()
        elif how == "cut":
            self.writer.cut()
        elif how in ("garbage", "forged"):
            self.writer.transport.write(b"garbage" if how == "garbage" else bytes.fromhex("1703030020") + bytes(32))
            await self.rest()


async def status(peer):
    """An HTTP response with the status `code`, one header field and a body."""
    body = peer.query.get("body", "")
    more = peer.query.get("header", "X-Reason: because")
    await peer.send(
        f"HTTP/1.1 {peer.query['code']} Because\r\n{more}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


async def garbage(peer):
    await peer.send(bytes(range(256)) * 8 + b"\r\n\r\n")


async def silence(peer):
    await peer.reader.read()


async def wrong_accept(peer):
    await peer.switch(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    await peer.reader.read()


async def refuse(peer):
    """Closes without a response."""


async def frames(peer):
    """101, with the line `header` if given; then a binary message of `size` zeros if given; then the bytes of `hex`;
    then `end`."""
    await peer.switch(fields=f"{peer.query['header']}\r\n" if "header" in peer.query else "")
    large = frame(bytes(int(peer.query["size"])), 2) if "size" in peer.query else b""
    await peer.send(large + bytes.fromhex(peer.query.get("hex", "")))
    await peer.end()


async def together(peer):
    """101, two messages and a Close in one write."""
    await peer.switch(rest=frame("first") + frame("second") + close_frame(4001, "done"))
    peer.has_closed = True
    await peer.rest()


async def crossing(peer):
    """Answers the client's Close with a Close of its own, as when both begin. Keeps for /captured the bytes that come
    after it, or whether the client ended the connection first."""
    await peer.switch()
    await peer.reader.readexactly(2 + 4 + 2)
    await peer.send(close_frame(4002, "me too"))
    try:
        after = await asyncio.wait_for(peer.reader.read(100), 0.2)
        after = after.hex() or "the client ended first"
    except asyncio.TimeoutError:
        after = "nothing"
    async with ended:
        captured[peer.key] = after.encode()
        ended.notify_all()


async def drip(peer):
    """Frames byte by byte."""
    await peer.switch()
    peer.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame("drop by drop ✓") + frame(b"\x00" * 130, 2) + close_frame(1000):
        await peer.send(bytes([byte]))
        await asyncio.sleep(0)
    peer.has_closed = True
    await peer.rest()


async def last_words(peer):
    """Stops reading in the middle of an upload, sends a message and a Close, and resets."""
    await peer.switch()
    await peer.reader.readexactly(1 << 16)
    await peer.send(frame("too much") + close_frame(4009, "enough"))
    peer.reset()


async def burst(peer):
    """Answers "burst N" with N texts in one write, "row N" with N texts in N writes, and anything else with an echo."""
    await peer.switch()
    opcode = None
    while opcode != 8:
        opcode, payload = await peer.receive()
        if payload.startswith(b"burst "):
            await peer.send(b"".join(frame(str(i + 1)) for i in range(int(payload[6:]))))
        elif payload.startswith(b"row "):
            for i in range(int(payload[4:])):
                await peer.send(frame(str(i + 1)))
        else:
            await peer.send(frame(payload, 10 if opcode == 9 else opcode))


async def redirect(peer):
    """Redirects to `to`, by default to its own path; counts the attempts and keeps the last request."""
    attempts[peer.key] = attempts.get(peer.key, 0) + 1
    captured[peer.key] = peer.head.encode("latin-1")
    to = peer.query.get("to", peer.target)
    await peer.send(f"HTTP/1.1 {peer.query['code']} Over There\r\nLocation: {to}\r\n\r\n".encode())


async def beats(peer):
    """Counts the pings. Answers the first `answers` of them, after `delay` seconds, with the payload `pong` if given,
    else with their own. Sends `first`, then `beat` each `every` seconds (both hex)."""
    async def beat():
        await peer.send(bytes.fromhex(peer.query.get("first", "")))
        while "every" in peer.query:
            await peer.send(bytes.fromhex(peer.query["beat"]))
            await asyncio.sleep(float(peer.query["every"]))

    await peer.switch()
    beating = asyncio.create_task(beat())
    try:
        opcode = None
        while opcode != 8:
            opcode, payload = await peer.receive()
            if opcode == 9:
                pings[peer.key] = pings.get(peer.key, 0) + 1
                if pings[peer.key] <= float(peer.query.get("answers", "inf")):
                    await asyncio.sleep(float(peer.query.get("delay", 0)))
                    await peer.send(frame(peer.query.get("pong", payload), 10))
        await peer.send(frame(payload, 8))
    finally:
        beating.cancel()


async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def dialogue(peer):
    """Listens at another port and sends its number. Sends each piece that it receives there (in hex), and answers it
    with the next of `steps` (hex; with `drip`, byte by byte). Then `end`: hold, close, flood (repeats `flood` forever),
    or tunnel (passes bytes to and from this server)."""
    async def talk(reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for step in peer.query.get("steps", "").split(","):
            await peer.send(frame((await reader.read(1 << 16)).hex()))
            step = bytes.fromhex(step)
            for part in [bytes([byte]) for byte in step] if "drip" in peer.query else [step]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        end = peer.query["end"]
        if end == "tunnel":
            here, there = await asyncio.open_connection(*peer.writer.get_extra_info("sockname")[:2])
            await asyncio.gather(pump(reader, there), pump(here, writer))
        while end == "flood":
            writer.write(bytes.fromhex(peer.query.get("flood", "61")) * 4096)
            await writer.drain()
        if end == "hold":
            await reader.read()

    async def talked(reader, writer):
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    await peer.switch()
    async with await asyncio.start_server(talked, peer.query.get("host", "127.0.0.1")) as server:
        await peer.send(frame(str(server.sockets[0].getsockname()[1])))
        await peer.rest()


async def accepts(peer):
    """101, then `end`; counts the attempts."""
    attempts[peer.key] = attempts.get(peer.key, 0) + 1
    await peer.switch()
    await peer.end()


async def refuses(peer):
    """Closes without a response; counts the attempts."""
    attempts[peer.key] = attempts.get(peer.key, 0) + 1


async def bombs(peer):
    """`count` binary messages of `size` zeros (1 MiB by default), compressed about 1000-fold, in one write."""
    deflater = zlib.compressobj(9, wbits=-15)
    data = deflater.compress(bytes(int(peer.query.get("size", 1 << 20)))) + deflater.flush(zlib.Z_SYNC_FLUSH)
    await peer.switch(fields="Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n")
    await peer.send(b"".join(frame(data[:-4], 0x42) for _ in range(int(peer.query["count"]))))
    await peer.rest()


async def tell_attempts(peer):
    await peer.tell(str(attempts.get(peer.key, 0)))


async def release(peer):
    releases.setdefault(peer.key, asyncio.Event()).set()
    await peer.switch()
    await peer.rest()


async def tell_pings(peer):
    await peer.tell(str(pings.get(peer.key, 0)))


async def tell_captured(peer):
    async with ended:
        await ended.wait_for(lambda: peer.key in captured)
    await peer.tell(captured[peer.key].hex())


async def tell_request(peer):
    await peer.tell(peer.head)


async def tell_tls(peer):
    await peer.tell(json.dumps(secure.describe(peer.writer)))


async def tell_ending(peer):
    await peer.tell(await secure.ending(peer.query["of"]))


behaviours = {
    "/status": status, "/garbage": garbage, "/silence": silence, "/wrong-accept": wrong_accept, "/refuse": refuse,
    "/frames": frames, "/together": together, "/drip": drip, "/last-words": last_words, "/accepts": accepts,
    "/redirect": redirect, "/beats": beats, "/pings": tell_pings, "/dialogue": dialogue,
    "/refuses": refuses, "/bombs": bombs, "/attempts": tell_attempts, "/burst": burst, "/crossing": crossing,
    "/captured": tell_captured, "/request": tell_request, "/release": release, "/tls": tell_tls, "/ending": tell_ending,
}


async def handle(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        peer = Peer(reader, writer, lines[0].split(" ")[1], fields)
        peer.head = head
        if secure.folder:
            writer.key = peer.key or writer.key
        await behaviours[peer.path](peer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    handler = secure.over_tls(handle) if secure.folder else handle
    server = await asyncio.start_server(handler, sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1]))
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def listen_at(path):
    async with await asyncio.start_unix_server(handle, path) as server:
        print(0, flush=True)
        await server.serve_forever()


# Ends the server after 300 s, in case the test has died without ending it.
signal.alarm(300)
asyncio.run(listen_at(sys.argv[2]) if sys.argv[2:3] and sys.argv[2].startswith("/") else main())
