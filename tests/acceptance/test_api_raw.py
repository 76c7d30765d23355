"""Requests that no library would send, over a bare socket: each gets a clear answer soon, and none is our mistake."""

from __future__ import annotations

import asyncio
import json
import socket as socket_module
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_socket

from acceptance.api_support import TOKEN, Served, has_begun, problem, serve
from segue.api import http1

pytestmark = pytest.mark.anyio
LIMIT = 100_000


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve(body_bytes_max=LIMIT) as found:
        yield found


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):  # it was answered and closed already; the answer is there to be read
            await self.writer.drain()
        await asyncio.sleep(0)  # the server's turn, which lives in the same loop

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def is_closed(self) -> bool:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    async def __aenter__(self) -> Raw:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with suppress(ConnectionError):  # the server has closed it first
            await self.writer.wait_closed()


async def connect(served: Served) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", served.port))


def head(served: Served, *lines: str, method: str = "POST", path: str = "/api/v1/runs") -> bytes:
    all_lines = (
        f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {TOKEN}",
        "Content-Type: application/json", *lines,
    )  # fmt: skip
    return "\r\n".join(all_lines).encode("latin-1") + b"\r\n\r\n"


def told(answer: tuple[int, dict[str, str], bytes], status: int, slug: str) -> dict[str, Any]:
    code, headers, body = answer
    assert code == status, body
    assert headers["content-type"] == "application/problem+json"
    found = json.loads(body)
    assert found["type"] == f"urn:segue:problem:{slug}"
    assert found["request_id"] == headers["x-request-id"]
    return found


async def is_well(served: Served) -> None:
    """Whatever was sent, the next request is answered."""
    assert (await served.client.get("/health/live")).status_code == 200
    assert (await served.get("/api/v1/runs"))["runs"] == []


@pytest.mark.req("ACC-7.bodies", "API-1.errors")
async def test_what_is_no_http_is_told_as_a_problem(served: Served) -> None:
    for start in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        async with await connect(served) as raw:
            await raw.send(start)
            told(await raw.answer(), 400, "bad-request")
            assert await raw.is_closed(), start
    await is_well(served)


@pytest.mark.req("ACC-7.limits")
async def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_comes(served: Served) -> None:
    async with await connect(served) as raw:
        await raw.send(head(served, f"Content-Length: {LIMIT + 1}"))
        told(await raw.answer(), 413, "too-large")
    async with await connect(served) as raw:
        await raw.send(head(served, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        told(await raw.answer(), 413, "too-large")
    await is_well(served)


@pytest.mark.req("ACC-7.limits")
async def test_chunks_without_end_are_refused_at_the_limit(served: Served) -> None:
    async with await connect(served) as raw:
        await raw.send(head(served, "Transfer-Encoding: chunked"))
        sent = 0
        while sent < 50 * LIMIT and not raw.reader._buffer:  # pyright: ignore[reportAttributeAccessIssue]
            await raw.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            sent += 10_000
        told(await raw.answer(), 413, "too-large")
    assert sent < 40 * LIMIT
    await is_well(served)


@pytest.mark.req("ACC-7.bodies")
async def test_broken_chunks_and_cut_off_bodies_change_nothing(served: Served) -> None:
    async with await connect(served) as raw:
        await raw.send(head(served, "Transfer-Encoding: chunked") + b"zz\r\nhello\r\n")
        told(await raw.answer(), 400, "bad-request")
    for given in (b"", b'{"flow": "steps: [{log: hi}]"'):
        async with await connect(served) as raw:
            await raw.send(head(served, "Content-Length: 60") + given)
    await is_well(served)


@pytest.mark.req("ACC-7.limits")
async def test_a_head_that_does_not_end_or_does_not_come_is_ended(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect(served) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for number in range(200):
            await raw.send(b"X-%d: " % number + b"y" * 1_000 + b"\r\n")
        told(await raw.answer(), 431, "head-too-large")
    async with await connect(served) as raw:
        await raw.send(b"GET /" + b"a" * 70_000)
        await raw.send(b"a" * 70_000)
        code, _, body = await raw.answer()
        assert code in (400, 431), body
    monkeypatch.setattr(http1, "HEAD_SECONDS_MAX", 0.2)
    for given in (b"", b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        async with await connect(served) as raw:
            await raw.send(given)
            told(await raw.answer(), 408, "too-slow")
            assert await raw.is_closed()
    async with await connect(served) as raw:
        live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        await raw.send(live)
        assert (await raw.answer())[0] == 200
        await raw.send(b"\r\n")  # counts as the beginning of a request, which never comes
        told(await raw.answer(), 408, "too-slow")
    await is_well(served)


@pytest.mark.req("ACC-7.limits")
async def test_one_connection_too_many_is_told_so_and_the_others_go_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await is_well(served)
    open_now = len(served.server.server_state.connections)
    monkeypatch.setattr(http1, "CONNECTIONS_MAX", open_now + 2)
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    first, second = await connect(served), await connect(served)
    for one in (first, second):
        await one.send(live)
        assert (await one.answer())[0] == 200
    async with await connect(served) as third:
        answer = await third.answer()
        told(answer, 503, "busy")
        assert answer[1]["retry-after"] == "1"
    await first.send(live)
    assert (await first.answer())[0] == 200
    for one in (first, second):
        await one.__aexit__()
    await is_well(served)


@pytest.mark.req("ACC-7.bodies")
async def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    async with await connect(served) as raw:
        body = b'{"flow": 7}'
        one = head(served, f"Content-Length: {len(body)}") + body
        await raw.send(one + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        told(await raw.answer(), 422, "invalid-request")
        assert (await raw.answer())[0] == 200


BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad-body"),
    "blank": (b"   ", "bad-body"),
    "cut off": (b'{"flow": ', "bad-body"),
    "two values": (b"{} {}", "bad-body"),
    "a comment": (b"{} // x", "bad-body"),
    "single quotes": (b"{'flow': 'x'}", "bad-body"),
    "NaN": (b'{"inputs": {"n": NaN}}', "bad-body"),
    "infinity as a number": (b'{"inputs": {"n": 1e999}}', "bad-body"),
    "a byte order mark": (b'\xef\xbb\xbf{"flow": "x"}', "bad-body"),
    "UTF-16": ('{"flow": "x"}'.encode("utf-16"), "bad-body"),
    "broken UTF-8": (b'{"flow": "\xc3\x28"}', "bad-body"),
    "overlong UTF-8": (b'{"flow": "\xc0\xaf"}', "bad-body"),
    "a surrogate in UTF-8": (b'{"flow": "\xed\xa0\x80"}', "bad-body"),
    "a raw NUL": (b'{"flow": "a\x00b"}', "bad-body"),
    "a raw line break": (b'{"flow": "a\nb"}', "bad-body"),
    "65 bits": (b'{"inputs": {"n": 18446744073709551616}}', "bad-body"),
    "thousands of digits": (b'{"inputs": {"n": ' + b"9" * 5_000 + b"}}", "bad-body"),
    "101 levels": (b'{"inputs": ' + b'{"a":' * 101 + b"1" + b"}" * 101 + b"}", "too-large"),
    "a wrong type": (b'{"flow": 7}', "invalid-request"),
    "text": (b'"x"', "invalid-request"),
}


@pytest.mark.req("ACC-7.bodies", "API-1.errors")
async def test_bodies_of_every_broken_kind_are_told(served: Served) -> None:
    for name, (body, slug) in BODIES.items():
        status = {"bad-body": 400, "too-large": 413, "invalid-request": 422}[slug]
        answer = await served.client.post("/api/v1/runs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status, f"{name}: {answer.text}"
        problem(answer, status, slug)
    await is_well(served)


@pytest.mark.req("ACC-7.bodies")
async def test_of_a_key_that_comes_twice_the_last_one_counts_for_everything(served: Served) -> None:
    """RFC 8259, section 4, leaves it open; every part of this server reads what was read once."""
    answer = await served.client.post(
        "/api/v1/runs", content=b'{"flow": "steps: []", "flow": 7}', headers={"content-type": "application/json"}
    )
    assert "flow" in problem(answer, 422, "invalid-request")["detail"]
    await is_well(served)


@pytest.mark.req("ACC-7.limits")
async def test_the_rest_of_a_refused_body_is_let_in_for_a_while_only(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "REST_BYTES_MAX", 10 * LIMIT)
    async with await connect(served) as raw:
        body = b"x" * (LIMIT // 2)
        await raw.send(head(served, f"Content-Length: {LIMIT * 4}") + body)
        told(await raw.answer(), 413, "too-large")
        for _ in range(7):
            await raw.send(body)
        await raw.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer())[0] == 200
    async with await connect(served) as raw:
        await raw.send(head(served, "Content-Length: 999999999"))
        told(await raw.answer(), 413, "too-large")
        async with asyncio.timeout(10):
            while not raw.writer.transport.is_closing():
                await raw.send(b"x" * LIMIT)
    await is_well(served)


@pytest.mark.req("API-6.websocket", "ACC-7.limits")
async def test_a_socket_is_not_ended_by_the_time_for_a_requests_head(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_SECONDS_MAX", 0.1)
    async with connect_socket(
        f"ws://127.0.0.1:{served.port}/api/v1/live", proxy=None, additional_headers={"authorization": f"Bearer {TOKEN}"}
    ) as socket:
        assert json.loads(await socket.recv())["event"] == "runs"
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.call_later(0.3, over.set)
        await over.wait()
        await served.start("steps: [{log: hi}]")
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["event"] == "run"


@pytest.mark.req("API-6.slow", "API-6.many")
async def test_five_hundred_watch_a_run_while_one_reads_nothing(served: Served) -> None:
    """Who does not read is let go or waits; nobody else does, and what is kept for him is bounded."""
    lines = "".join(f"  - l{number}: {{log: '{{{{ inputs.pad }}}}'}}\n" for number in range(40))
    flow = f"flow: long\ninputs: {{pad: string}}\nsteps:\n  - w: {{wait: {{callback: {{expires: 1h}}}}}}\n{lines}"
    run_id = await served.start(flow, {"pad": "x" * 8_000})
    url = await served.callback_url(run_id)
    ask = head(served, "Accept: text/event-stream", method="GET", path=f"/api/v1/runs/{run_id}/events")
    stuck = await connect(served)
    stuck.writer.transport.get_extra_info("socket").setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, 4_096)
    await stuck.send(ask)
    stuck.reader._transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
    watchers = [await connect(served) for _ in range(499)]

    async def watch(raw: Raw) -> bytes:
        await raw.send(ask)
        found = b""
        async with asyncio.timeout(60):
            while b"event: end" not in found:
                more = await raw.reader.read(1 << 20)
                assert more, found[-300:]
                found = found[-50:] + more
        return found

    watching = [asyncio.create_task(watch(one)) for one in watchers]
    await has_begun(lambda: served.app.state.streams.following == 1)
    assert (await served.client.post(url, json={})).status_code == 200
    await asyncio.gather(*watching)
    assert served.app.state.streams.following <= 1
    for one in (stuck, *watchers):
        one.writer.transport.abort()
    await is_well_enough(served)


async def is_well_enough(served: Served) -> None:
    assert (await served.client.get("/health/live")).status_code == 200
