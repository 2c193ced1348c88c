"""Talks to a server by the package `aiohttp`, with compression and without. It cannot send fragments. Argument: the
server's URL."""
import asyncio
import json
import sys

import aiohttp


async def talk(session, name, compress, is_compressed):
    """Says texts, pings, closes. `compress` is the window that is offered."""
    url = f"{sys.argv[1]}?clientId={name}"
    async with session.ws_connect(url, compress=compress, protocols=["starling.v1"]) as socket:
        assert socket.protocol == "starling.v1", socket.protocol
        assert bool(socket.compress) == is_compressed, f"{name}: {socket.compress}"
        assert (await socket.receive_json(timeout=10))["type"] == "welcome", name
        for text in ("short", "grüße 👋 " * 50, "the quick brown fox " * 400):
            await socket.send_str(json.dumps({"Message": text}))
            await socket.ping(b"payload")
            assert (await socket.receive_json(timeout=10))["Message"] == text, name
        assert await socket.close(code=1000), name
        assert socket.close_code == 1000, f"{name}: {socket.close_code}"


async def main():
    async with aiohttp.ClientSession() as session:
        await talk(session, "compressed", 15, True)
        # The server declines a window for itself.
        await talk(session, "window", 9, False)
        await talk(session, "plain", 0, False)


asyncio.run(main())
print("ok")
