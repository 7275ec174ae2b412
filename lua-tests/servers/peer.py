"""The Python peer, with the library `websockets`: one behaviour per path. With CERTIFICATES in the environment: TLS.
peer.py PORT [path of a Unix socket]. Prints its port, or 0 for a Unix socket."""

import asyncio
import http
import signal
import sys
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import serve, unix_serve
from websockets.exceptions import ConnectionClosed

import secure

recordings = {}


async def echo(ws, query):
    async for message in ws:
        await ws.send(message)


async def close(ws, query):
    """Sends `count` messages, then closes."""
    for i in range(int(query.get("count", 0))):
        await ws.send(f"message {i + 1}")
    await ws.close(int(query.get("code", 1000)), query.get("reason", ""))


async def close_on_message(ws, query):
    await ws.recv()
    await ws.close(int(query.get("code", 1000)), query.get("reason", ""))


async def fragments(ws, query):
    """One message in three fragments, of the type `type`."""
    parts = ["abc", "dé", "f"]
    if query.get("type") == "binary":
        parts = [part.encode() for part in parts]

    async def each():
        for part in parts:
            yield part

    await ws.send(each())
    await ws.wait_closed()


async def held_fragment(ws, query):
    """One message in two fragments: `size` bytes, and the rest after a message of the client."""
    async def each():
        yield "x" * int(query["size"])
        await ws.recv()
        yield "y"

    await ws.send(each())
    await ws.wait_closed()


async def flood(ws, query):
    size = int(query.get("size", 0))
    for i in range(int(query["count"])):
        await ws.send(str(i + 1).ljust(size, "."))
    await ws.send("end")
    await ws.wait_closed()


async def ping(ws, query):
    payload = query.get("payload", "")
    await (await ws.ping(payload))
    await ws.send("answered " + payload)
    await ws.wait_closed()


async def pong(ws, query):
    await ws.pong(query.get("payload", ""))
    await ws.wait_closed()


async def count(ws, query):
    """Counts numbered messages up to "end", then sends how many came in order."""
    expected = 1
    async for message in ws:
        if message == "end":
            await ws.send(f"{expected - 1} in order")
        elif message == "":
            pass
        elif message.rstrip(".") == str(expected):
            expected += 1
        else:
            await ws.send(f"{message} instead of {expected}")


async def headers(ws, query):
    await ws.send("".join(f"{name}: {value}\n" for name, value in ws.request.headers.raw_items()))
    await ws.wait_closed()


async def path(ws, query):
    await ws.send(ws.request.path)
    await ws.wait_closed()


async def record(ws, query):
    """Keeps the messages and the Close code for /recorded."""
    messages, ended = recordings.setdefault(query["key"], ([], asyncio.get_running_loop().create_future()))
    try:
        while True:
            messages.append(await ws.recv())
    except ConnectionClosed:
        if not ended.done():
            ended.set_result(ws.close_code)


async def recorded(ws, query):
    messages, ended = recordings.setdefault(query["key"], ([], asyncio.get_running_loop().create_future()))
    code = await ended
    await ws.send(f"{code}:" + "|".join(messages))
    await ws.wait_closed()


behaviours = {
    "/echo": echo, "/close": close, "/close-on-message": close_on_message, "/fragments": fragments, "/flood": flood,
    "/ping": ping, "/pong": pong, "/count": count, "/headers": headers, "/record": record, "/recorded": recorded,
    "/held-fragment": held_fragment,
}


async def handle(ws):
    url = urlsplit(ws.request.path)
    behaviour = behaviours.get(url.path, path)
    try:
        await behaviour(ws, dict(parse_qsl(url.query)))
    except ConnectionClosed:
        pass


def refuse(connection, request):
    url = urlsplit(request.path)
    if url.path == "/status":
        query = dict(parse_qsl(url.query))
        response = connection.respond(http.HTTPStatus(int(query["code"])), query.get("body", ""))
        response.headers["X-Reason"] = "because"
        return response
    return None


def choose(connection, offered):
    return next((name for name in ("chat", "superchat") if name in offered), None)


async def listen_at(path):
    async with unix_serve(handle, path, max_size=None):
        print(0, flush=True)
        await asyncio.get_running_loop().create_future()


async def main():
    options = dict(max_size=None, ping_interval=None, select_subprotocol=choose, process_request=refuse)
    if secure.folder:
        options["ssl"] = secure.context("good")
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


# Ends the server after 300 s, in case the test has died without ending it.
signal.alarm(300)
asyncio.run(listen_at(sys.argv[2]) if len(sys.argv) > 2 else main())
