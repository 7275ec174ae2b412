"""A server with blocking sockets and one thread per connection, for tests of how bytes are read, written and
acknowledged: paced.py PORT [path of a Unix socket]. The request's path chooses the behaviour. Standard library only.
Prints its port, or 0 for a Unix socket."""

import array
import base64
import hashlib
import signal
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qsl, urlsplit

go = threading.Event()
done = threading.Semaphore(0)


def frame(payload, opcode=1):
    return bytes([0x80 | opcode, len(payload)]) + payload


class Peer:
    def __init__(self, connection):
        self.connection = connection
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1) or sys.exit()
        lines = head.decode().split("\r\n")
        url = urlsplit(lines[0].split(" ")[1])
        self.path, self.query = url.path, dict(parse_qsl(url.query))
        key = next(line for line in lines if line.lower().startswith("sec-websocket-key:")).split(": ")[1]
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept + b"\r\n\r\n")

    def read(self, count):
        data = b""
        while len(data) < count:
            data += self.receive(count - len(data)) or sys.exit()
        return data

    def receive(self, count):
        return self.connection.recv(count)

    def frames(self):
        """Yields each frame's opcode and payload. Unmasks only control frames and short messages."""
        while True:
            first, length = self.read(2)
            length &= 127
            if length > 125:
                length = int.from_bytes(self.read(2 if length == 126 else 8), "big")
            mask, payload = self.read(4), self.read(length)
            if first & 15 > 7 or length < 126:
                payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
            yield first & 15, payload


class SlowPeer(Peer):
    """Reads `rate` bytes per second; with `talks` sends a message each 0.1 s; answers each message with its size;
    answers pings and the Close."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rate = int(self.query["rate"])
        self.total, self.start = 0, time.monotonic()
        self.words = 0

    def receive(self, count):
        data = self.connection.recv(min(count, self.rate // 20))
        self.total += len(data)
        time.sleep(max(0, self.start + self.total / self.rate - time.monotonic()))
        if "talks" in self.query and time.monotonic() - self.start > self.words / 10:
            self.words += 1
            self.connection.sendall(frame(b"reading"))
        return data


def slow(peer):
    for opcode, payload in peer.frames():
        if opcode < 3:
            peer.connection.sendall(frame(str(len(payload)).encode()))
        elif opcode == 8:
            peer.connection.sendall(frame(payload, 8))
            return
        elif opcode == 9:
            peer.connection.sendall(frame(payload, 10))


def lingers(peer):
    """Sends a Close when it gets a message, and answers a Close. Then keeps TCP open and sends `more` bytes."""
    has_closed = False
    for opcode, payload in peer.frames():
        if opcode < 3:
            has_closed = True
            peer.connection.sendall(frame(struct.pack(">H", 4001), 8))
        elif opcode == 8:
            if not has_closed:
                peer.connection.sendall(frame(payload, 8))
            peer.connection.sendall(bytes(int(peer.query.get("more", 0))))
            time.sleep(300)


def pieces(peer):
    """Once /go is requested: a message, something at which a read stops, and another message, all at once."""
    go.wait()
    peer.connection.sendall(frame(b"before"))
    if peer.query["stop"] == "urgent":
        peer.connection.send(b"!", socket.MSG_OOB)
    else:
        peer.connection.sendmsg(
            [frame(b"with a descriptor")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
    peer.connection.sendall(frame(b"behind"))
    done.release()
    time.sleep(300)


def tell(peer):
    go.set()
    done.acquire()
    peer.connection.sendall(frame(b"sent"))
    time.sleep(300)


def floods(peer):
    """Sends messages without end. With `reads` it reads everything, and answers nothing."""
    def ignore():
        while peer.connection.recv(1 << 20):
            pass

    if "reads" in peer.query:
        threading.Thread(target=ignore, daemon=True).start()
    messages = frame(b"flood") * 1000
    while True:
        peer.connection.sendall(messages)


behaviours = {"/floods": floods, "/slow": slow, "/lingers": lingers, "/pieces": pieces, "/go": tell}


def serve(connection):
    try:
        peer = (SlowPeer if b"GET /slow" in connection.recv(9, socket.MSG_PEEK) else Peer)(connection)
        behaviours[peer.path](peer)
    except OSError:
        pass
    finally:
        connection.close()


# Ends the server after 300 s, in case the test has died without ending it.
signal.alarm(300)
if sys.argv[2:3] and sys.argv[2].startswith("/"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[2])
    print(0, flush=True)
else:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print(listener.getsockname()[1], flush=True)
listener.listen()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
