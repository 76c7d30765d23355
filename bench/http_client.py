"""CPU time of one HTTP call: the bare aiohttp session beside Segue's client, against a server in another process.

Run: python bench/http_client.py [CALLS]. Prints microseconds of this process's CPU per call (the server's is not
counted), for one call at a time and for 64 at once. The difference is what egress rules, limits, checks and body
parsing cost.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from aiohttp import ClientSession, DummyCookieJar, web

from segue.net.client import HttpClient
from segue.net.egress import EgressPolicy
from segue.net.messages import HttpRequest

ANSWER = b'{"id": 17, "name": "example", "tags": ["a", "b", "c"], "active": true, "total": 12.5}'
IN_FLIGHT = 64


def run_server(ready: Connection) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


async def cpu_us_per_call(call: Callable[[], Awaitable[object]], calls: int, in_flight: int) -> float:
    async def worker(share: int) -> None:
        for _ in range(share):
            await call()

    await worker(50)
    start = time.process_time()
    await asyncio.gather(*(worker(calls // in_flight) for _ in range(in_flight)))
    return (time.process_time() - start) / (calls // in_flight * in_flight) * 1e6


async def measure(port: int, calls: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    body = {"customer": 17, "amount": 12.5, "note": "an ordinary request body"}
    request = HttpRequest(method="POST", url=url, json=body, headers={"X-Trace": "1"}, idempotency_key="run_1.charge.1")
    async with (
        ClientSession(cookie_jar=DummyCookieJar()) as session,
        HttpClient(policy=EgressPolicy.local()) as client,
    ):

        async def bare() -> object:
            async with session.post(url, json=body, headers={"X-Trace": "1"}) as response:
                return await response.json()

        async def ours() -> object:
            return (await client.request(request)).body

        assert await bare() == await ours()
        for in_flight in (1, IN_FLIGHT):
            for name, call in (("aiohttp session", bare), ("segue client", ours)):
                spent = await cpu_us_per_call(call, calls, in_flight)
                print(f"{name:16} {in_flight:3} at once: {spent:6.0f} us CPU a call")


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=run_server, args=(theirs,), daemon=True)
    server.start()
    try:
        asyncio.run(measure(ours.recv(), calls))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
