"""picows' server, on uvloop: a callback gets the messages and sends their bytes back, or to all connections.

    picows_server.py MODE
"""

import asyncio
import sys

import picows
import uvloop

broadcasts = sys.argv[1] == "broadcast"
transports = set()


class Connection(picows.WSListener):
    def on_ws_connected(self, transport):
        transports.add(transport)

    def on_ws_disconnected(self, transport):
        transports.discard(transport)

    def on_ws_frame(self, transport, frame):
        data = frame.get_payload_as_bytes()
        if not broadcasts:
            transport.send(frame.msg_type, data)
            return
        for other in transports:
            other.send(frame.msg_type, data)


async def serve():
    server = await picows.ws_create_server(lambda _: Connection(), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


uvloop.run(serve())
