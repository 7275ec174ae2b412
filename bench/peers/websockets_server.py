"""The server of the package websockets, on uvloop, without compression; a broadcast uses its function for it.

    websockets_server.py MODE
"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def broadcast_all(connection):
    async for message in connection:
        broadcast(connection.server.connections, message)


async def main():
    handler = broadcast_all if sys.argv[1] == "broadcast" else echo
    async with serve(handler, "127.0.0.1", 0, backlog=1024, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
