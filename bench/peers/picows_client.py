"""picows' client, on uvloop: a callback gets the messages; text becomes str, binary becomes bytes."""

import asyncio
import time

import picows
import python_client as client
import uvloop

TEXT, BINARY, CLOSE = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CLOSE
job = client.Job()
kind = BINARY if job.binary else TEXT


class Listener(picows.WSListener):
    """Signals when the transport takes more."""

    def __init__(self):
        self.may_write = asyncio.Event()
        self.may_write.set()

    def pause_writing(self):
        self.may_write.clear()

    def resume_writing(self):
        self.may_write.set()


async def connect(make):
    transport, listener = await picows.ws_connect(make, job.url, ssl_context=job.tls(), read_buffer_init_size=256 << 10)
    return transport, listener


class Receiver(picows.WSListener):
    def __init__(self, finished):
        self.tally = client.Tally(job)
        self.finished = finished

    def on_ws_frame(self, transport, frame):
        data = frame.get_payload_as_bytes() if job.binary else frame.get_payload_as_utf8_text()
        if self.tally.take(data):
            self.finished()


async def receive():
    over = asyncio.Event()
    transport, receiver = await connect(lambda: Receiver(over.set))
    receiver.tally.stopwatch = client.Stopwatch()
    transport.send(TEXT, b"go")
    await over.wait()
    receiver.tally.report()


class Sender(Listener):
    def __init__(self):
        super().__init__()
        self.answer = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport, frame):
        self.answer.set_result(frame.get_payload_as_utf8_text())


async def send():
    transport, sender = await connect(Sender)
    payloads = job.payloads(decode=False)
    stopwatch = client.Stopwatch()
    write, may_write, cycle = transport.send, sender.may_write, len(payloads)
    for i in range(job.count):
        write(kind, payloads[i % cycle])
        if not may_write.is_set():
            await may_write.wait()
    answer = await sender.answer
    measured = stopwatch.read()
    client.report(messages=job.count, bytes=job.count * job.size, ok=answer == f"done {job.count}", **measured)


class RoundTrips(picows.WSListener):
    def __init__(self):
        self.payloads = job.payloads(decode=False)
        self.times = []
        self.ok = True
        self.over = asyncio.Event()

    def begin(self, transport):
        self.sent = self.payloads[len(self.times) % len(self.payloads)]
        self.start = time.perf_counter()
        transport.send(kind, self.sent)

    def on_ws_frame(self, transport, frame):
        data = frame.get_payload_as_bytes()
        self.times.append(time.perf_counter() - self.start)
        if data != self.sent:
            self.ok = False
        if len(self.times) == job.count:
            self.over.set()
        else:
            self.begin(transport)


async def roundtrip():
    transport, trips = await connect(RoundTrips)
    stopwatch = client.Stopwatch()
    trips.begin(transport)
    await trips.over.wait()
    client.report_roundtrips(trips.times, stopwatch.read(), trips.ok)


async def open_many(count, make):
    """Opens `count` connections, a few at a time."""
    gate = asyncio.Semaphore(client.OPENING_AT_ONCE)

    async def one():
        async with gate:
            # Each connection has its own buffer: the default size suits many connections.
            return await picows.ws_connect(make, job.url, ssl_context=job.tls())

    return await asyncio.gather(*(one() for _ in range(count)))


async def idle():
    empty = client.resident_bytes()
    stopwatch = client.Stopwatch()
    connections = await open_many(job.count, picows.WSListener)
    client.report(messages=len(connections), empty=empty, ok=True, **stopwatch.read())


async def tick():
    left = asyncio.Semaphore(0)
    connections = await open_many(client.TICKING, lambda: Receiver(left.release))
    stopwatch = client.Stopwatch()
    for transport, _ in connections:
        transport.send(TEXT, b"go")
    for _ in connections:
        await left.acquire()
    measured = stopwatch.read()
    tallies = [listener.tally for _, listener in connections]
    messages = sum(tally.count for tally in tallies)
    client.report(messages=messages, bytes=messages * job.size, ok=all(tally.ok() for tally in tallies), **measured)


modes = {"receive": receive, "send": send, "roundtrip": roundtrip, "idle": idle, "tick": tick}
uvloop.run(modes[job.mode]())
