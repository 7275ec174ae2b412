"""A WebSocket server in front of a TCP server: splitter.py PORT SERVER-PORT. Prints its port.

The bytes of the TCP server leave in messages of 3 bytes at most. The first connection is cut after 7 bytes.
"""

import asyncio
import sys

import websockets.asyncio.server

connections = 0


async def forward(websocket):
    global connections
    connections += 1
    limit = 7 if connections == 1 else sys.maxsize
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))

    async def send():
        sent = 0
        while data := await reader.read(min(3, limit - sent)):
            await websocket.send(data)
            sent += len(data)
        websocket.transport.abort()

    sender = asyncio.create_task(send())
    async for message in websocket:
        writer.write(message)
    sender.cancel()
    writer.close()


async def main():
    async with websockets.asyncio.server.serve(
        forward, "127.0.0.1", int(sys.argv[1]), select_subprotocol=lambda _, offered: (offered or [None])[0]
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
