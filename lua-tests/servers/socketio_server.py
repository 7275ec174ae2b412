"""A Socket.IO server for protocols_spec.lua, by python-socketio: socketio_server.py PORT. Prints its port.

A client that does not answer pings is disconnected within a second.
"""

import asyncio
import socket
import sys

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", ping_interval=0.2, ping_timeout=0.8)
sessions = set()
is_closed = False


@server.event
async def connect(sid, environ, auth):
    if is_closed:
        raise socketio.exceptions.ConnectionRefusedError("closed for today")
    sessions.add(sid)


@server.event
async def disconnect(sid, reason):
    sessions.discard(sid)


@server.event
async def greet(sid, name):
    return f"Hello, {name}!", len(name)


@server.event
async def stay(sid):
    """Answers later than a client without a heartbeat would be disconnected."""
    await asyncio.sleep(1.5)
    return sid


@server.event
async def ask(sid):
    """Asks each other client, and returns their answers."""
    return [await server.call("question", {"number": 42}, to=other) for other in sessions if other != sid]


@server.event
async def close(sid):
    """Ends the other clients' sessions, and begins no new ones."""
    global is_closed
    is_closed = True
    for other in list(sessions):
        if other != sid:
            await server.disconnect(other)


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(socketio.ASGIApp(server), ws="wsproto", log_level="warning", lifespan="off")
uvicorn.Server(config).run(sockets=[listener])
