"""A WebSocket server that sends back every message: what Autobahn's cases are run against, straight and through the gateway.

It prints its port. It ends with its standard input.
"""

import asyncio
import logging
import os
import sys

# Its own bound on fragments would fail cases that are about large messages.
os.environ["WEBSOCKETS_MAX_FRAGMENTS"] = "1000000"

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    # What the cases break on purpose is no news.
    logging.disable()
    async with serve(echo, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
