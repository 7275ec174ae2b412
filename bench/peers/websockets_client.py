"""The client of the package websockets, on asyncio with uvloop; compression only for its workloads."""

import asyncio
import time

import python_client as client
import uvloop
from websockets.asyncio.client import connect as websockets_connect

job = client.Job()


def connect():
    return websockets_connect(
        job.url,
        ssl=job.tls(),
        compression="deflate" if job.deflates else None,
        ping_interval=None,
        close_timeout=0,
        max_size=None,
        max_queue=1024,
        proxy=None,
    )


async def receive():
    ws = await connect()
    tally = client.Tally(job)
    await ws.send("go")
    recv = ws.recv
    while True:
        data = await recv()
        if tally.take(data):
            break
    tally.report()


async def send():
    ws = await connect()
    payloads = job.payloads(decode=not job.binary)
    cycle = len(payloads)
    stopwatch = client.Stopwatch()
    write = ws.send
    for i in range(job.count):
        await write(payloads[i % cycle])
    answer = await ws.recv()
    measured = stopwatch.read()
    client.report(messages=job.count, bytes=job.count * job.size, ok=answer == f"done {job.count}", **measured)


async def roundtrip():
    ws = await connect()
    payloads = job.payloads(decode=not job.binary)
    times, ok, now = [], True, time.perf_counter
    stopwatch = client.Stopwatch()
    for i in range(job.count):
        payload = payloads[i % len(payloads)]
        start = now()
        await ws.send(payload)
        data = await ws.recv()
        times.append(now() - start)
        ok = ok and data == payload
    client.report_roundtrips(times, stopwatch.read(), ok)


async def open_many(count):
    """Opens `count` connections, a few at a time."""
    gate = asyncio.Semaphore(client.OPENING_AT_ONCE)

    async def one():
        async with gate:
            return await connect()

    return await asyncio.gather(*(one() for _ in range(count)))


async def idle():
    empty = client.resident_bytes()
    stopwatch = client.Stopwatch()
    connections = await open_many(job.count)
    client.report(messages=len(connections), empty=empty, ok=True, **stopwatch.read())


async def tick():
    async def one(ws, tally):
        await ws.send("go")
        while True:
            data = await ws.recv()
            if tally.take(data):
                return

    connections = await open_many(client.TICKING)
    tallies = [client.Tally(job) for _ in connections]
    stopwatch = client.Stopwatch()
    await asyncio.gather(*(one(ws, tally) for ws, tally in zip(connections, tallies)))
    measured = stopwatch.read()
    messages = sum(tally.count for tally in tallies)
    client.report(messages=messages, bytes=messages * job.size, ok=all(tally.ok() for tally in tallies), **measured)


modes = {"receive": receive, "send": send, "roundtrip": roundtrip, "idle": idle, "tick": tick}
uvloop.run(modes[job.mode]())
