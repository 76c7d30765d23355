"""Live by WebSocket: the same events as by SSE, one run or many, refused to whom it is not for, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from acceptance.api_support import TOKEN, Served, events, has_begun, serve
from segue.api import run_feed, stop_streams
from segue.errors import StoreUnavailableError

pytestmark = pytest.mark.anyio
BEARER = {"authorization": f"Bearer {TOKEN}"}
WAIT = """\
flow: waits
steps:
  - first: {log: hello}
  - answer: {wait: {callback: {expires: 1h}}}
  - last: {log: done}
"""


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


@asynccontextmanager
async def socket(served: Served, path: str, **more: Any) -> AsyncGenerator[ClientConnection]:
    more.setdefault("additional_headers", BEARER)
    async with connect(f"ws://127.0.0.1:{served.port}{path}", proxy=None, **more) as connection:
        yield connection


async def read(connection: ClientConnection) -> list[Any]:
    """All messages until the server closes."""
    found = []
    async with asyncio.timeout(20):
        try:
            async for text in connection:
                found.append(msgspec.json.decode(text))
        except ConnectionClosed:
            pass
    return found


async def message(connection: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        return msgspec.json.decode(await connection.recv())


@pytest.mark.req("API-6.websocket", "API-6.resume")
async def test_a_socket_tells_what_the_event_stream_tells_and_resumes_anywhere(served: Served) -> None:
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    async with socket(served, f"/api/v1/runs/{run_id}/socket") as live:
        seen = []
        while not seen or seen[-1]["event"] != "run" or seen[-1]["data"]["status"] != "waiting":
            seen.append(await message(live))
        assert (await served.client.post(url, json=1)).status_code == 200
        seen += await read(live)
        assert live.close_code == 1000
    assert seen[-1]["event"] == "end"
    assert seen[-1]["data"] == {"status": "succeeded"}
    lines = [one for one in seen if one["event"] == "log"]
    by_sse = [one async for one in events(served.client, run_id)]
    assert [(one["id"], one["data"]) for one in lines] == [(one.id, one.data) for one in by_sse if one.kind == "log"]
    for number, line in enumerate(lines):
        async with socket(served, f"/api/v1/runs/{run_id}/socket?after={line['id']}") as again:
            told = await read(again)
        assert [one["data"] for one in told if one["event"] == "log"] == [one["data"] for one in lines[number + 1 :]]
    async with socket(served, f"/api/v1/runs/{run_id}/socket?after={seen[-1]['id']}") as over:
        assert await read(over) == []


@pytest.mark.req("ACC-1.live", "ACC-7.origin")
async def test_who_may_not_listen_is_refused_before_the_handshake(served: Served) -> None:
    run_id = await served.start(WAIT)
    path = f"/api/v1/runs/{run_id}/socket"

    async def status(path: str, **more: Any) -> int:
        with pytest.raises(InvalidStatus) as refused:
            async with socket(served, path, **more):
                pass
        assert refused.value.response.headers["content-type"] == "application/problem+json"
        return refused.value.response.status_code

    assert await status(path, additional_headers={}) == 401
    assert await status(path, additional_headers={"authorization": "Bearer wrong"}) == 401
    assert await status(path, origin="https://elsewhere.example") == 403
    assert await status("/api/v1/runs/run_none/socket") == 404
    assert await status(f"{path}?after=nonsense") == 422
    assert await status("/api/v1/live?status=fine") == 422
    link = (await served.client.post("/api/v1/links")).json()["url_path"]
    async with served.anyone() as browser:
        opened = await browser.get(link)
        cookie = {"cookie": opened.headers["set-cookie"].partition(";")[0]}
    assert await status(path, additional_headers=cookie) == 403
    async with socket(served, path, additional_headers=cookie, origin=served.url) as live:
        assert (await message(live))["event"] in ("log", "run")
    protocols = ["segue.v1", f"bearer.{TOKEN}"]
    async with socket(served, path, additional_headers={}, subprotocols=protocols) as live:
        assert live.subprotocol == "segue.v1"
        assert (await message(live))["event"] in ("log", "run")


@pytest.mark.req("ACC-7.socket-size")
async def test_a_watcher_that_sends_much_is_cut_off(served: Served) -> None:
    async with socket(served, "/api/v1/live") as live:
        await message(live)
        await live.send("x" * 1_000_000)
        await read(live)
        assert live.close_code == 1009


@pytest.mark.req("API-6.many", "UI-5.live")
async def test_one_socket_tells_of_all_runs_that_a_filter_finds(served: Served) -> None:
    first = await served.start(WAIT)
    await served.until(first, "waiting")
    async with socket(served, "/api/v1/live?flow=waits&status=waiting") as live:
        begun = await message(live)
        assert (begun["event"], [one["id"] for one in begun["data"]]) == ("runs", [first])
        await served.start("flow: other\nsteps: [{log: hi}]")
        second = await served.start(WAIT)
        told = await message(live)
        assert (told["event"], told["data"]["id"], told["data"]["status"]) == ("run", second, "waiting")
        await served.client.post(f"/api/v1/runs/{first}/cancel")
        while told["data"]["id"] != first:
            told = await message(live)
        assert told["data"]["status"] == "cancelled"


@pytest.mark.req("API-6.slow")
async def test_a_reader_that_falls_behind_is_told_to_resume_and_misses_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_feed, "RING", 0)
    monkeypatch.setattr(run_feed, "BATCH", 2)
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)
    seen: list[Any] = []
    async with asyncio.timeout(20):
        after, ended, told_to_resume = "", False, 0
        while not ended:
            async with socket(served, f"/api/v1/runs/{run_id}/socket?after={after}") as live:
                if not seen:
                    while not seen or seen[-1]["event"] != "run":
                        seen.append(await message(live))
                    await served.client.post(url, json=1)
                seen += await read(live)
            after = seen[-1]["id"]
            ended = seen[-1]["event"] == "end"
            told_to_resume += seen[-1]["event"] == "resume"
    assert told_to_resume > 0
    logged = (await served.get(f"/api/v1/runs/{run_id}/logs?limit=10000"))["lines"]
    assert [one["data"] for one in seen if one["event"] == "log"] == logged


@pytest.mark.req("OPS-7.graceful")
async def test_a_server_that_stops_sends_its_watchers_away() -> None:
    async with serve() as served:
        run_id = await served.start(WAIT)
        await served.until(run_id, "waiting")
        async with socket(served, f"/api/v1/runs/{run_id}/socket") as live, socket(served, "/api/v1/live") as many:
            await message(live)
            await message(many)
            stop_streams(served.app)
            await read(live)
            await read(many)
            assert (live.close_code, many.close_code) == (1012, 1012)


@pytest.mark.req("API-6.watchers")
async def test_fifty_watchers_of_one_run_share_one_feed(served: Served) -> None:
    run_id = await served.start(WAIT)
    url = await served.callback_url(run_id)

    async def watch(number: int) -> list[Any]:
        if number % 2:
            return [one.data async for one in events(served.client, run_id) if one.kind == "log"]
        async with socket(served, f"/api/v1/runs/{run_id}/socket") as live:
            return [one["data"] for one in await read(live) if one["event"] == "log"]

    watching = [asyncio.create_task(watch(number)) for number in range(50)]
    await has_begun(lambda: len(served.app.state.streams._open) == 50)
    assert served.app.state.streams.following == 1
    await served.client.post(url, json=1)
    told = await asyncio.gather(*watching)
    logged = (await served.get(f"/api/v1/runs/{run_id}/logs?limit=10000"))["lines"]
    assert all(one == logged for one in told)
    await has_begun(lambda: served.app.state.streams.following == 0)


@pytest.mark.req("API-6.broken")
async def test_a_run_that_cannot_be_read_for_a_moment_sends_its_watchers_away_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve() as served:
        run_id = await served.start(WAIT)
        await served.until(run_id, "waiting")
        store = served.host.store

        async def unavailable(*_args: Any, **_named: Any) -> Any:
            raise StoreUnavailableError("the disk does not answer")

        with monkeypatch.context() as broken:
            broken.setattr(store, "load_logs", unavailable)
            async with socket(served, f"/api/v1/runs/{run_id}/socket") as live:
                told = await read(live)
                assert told[-1]["event"] == "resume"
                assert live.close_code == 1013
        async with socket(served, f"/api/v1/runs/{run_id}/socket?after={told[-1]['id']}") as live:
            while told[-1]["event"] != "run":
                told.append(await message(live))
        logged = (await served.get(f"/api/v1/runs/{run_id}/logs?limit=10000"))["lines"]
        assert sorted(str(one["data"]) for one in told if one["event"] == "log") == sorted(map(str, logged))
