"""xconn's router. ``xconn_router.py PORT REALM``; ends when stdin does."""

from __future__ import annotations

import asyncio
import sys

from xconn import Router, Server


async def main(port: int, realm: str) -> None:
    router = Router()
    router.add_realm(realm)
    await Server(router).start("127.0.0.1", port)
    print("ready", flush=True)
    stdin = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
