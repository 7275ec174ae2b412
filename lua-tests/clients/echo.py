"""A client with the library `websockets`: echo.py URL [deflate]. Sends texts and binary messages of the sizes of
echo.js and compares each echo; prints how many were right, and the extensions. With CA in the environment, it is the
file of the CA that is trusted."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect

SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20]


async def main(url, compression):
    context = ssl.create_default_context(cafile=os.environ["CA"]) if "CA" in os.environ else None
    right = 0
    async with connect(url, ssl=context, compression=compression, max_size=None, proxy=None) as ws:
        for size in SIZES:
            binary = (bytes(range(251)) * (size // 251 + 1))[:size]
            # Two bytes for a character; one more byte for an odd size.
            for message in ("é" * (size // 2) + "." * (size % 2), binary):
                await ws.send(message)
                echo = await ws.recv()
                assert type(echo) is type(message) and echo == message, f"{size} bytes came back wrong"
                right += 1
        extensions = ws.response.headers.get("Sec-WebSocket-Extensions", "none")
    print(right, extensions.split(";")[0], ws.close_code)


asyncio.run(main(sys.argv[1], "deflate" if "deflate" in sys.argv else None))
