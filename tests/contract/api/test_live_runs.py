"""An open list of runs, by Server-Sent Events and by WebSocket: nothing is missed, also by who comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
import pytest
from websockets.asyncio.client import connect

from acceptance.api_support import TOKEN, Served, has_begun, problem, serve
from segue.api import live_runs

pytestmark = [pytest.mark.anyio, pytest.mark.req("API-6.many")]

QUICK = "flow: quick\ninputs: {n: int}\nsteps:\n  - a: {set: {n: $inputs.n}}\noutputs: $a.n\n"
WAIT = "flow: waits\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\n"


class Got(NamedTuple):
    event: str
    id: str
    data: Any


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


async def by_events(served: Served, query: str = "", after: str = "") -> AsyncGenerator[Got]:
    headers = {"last-event-id": after} if after else {}
    async with served.client.stream("GET", f"/api/v1/live/events?{query}", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                yield Got(fields["event"], fields.get("id", ""), msgspec.json.decode(fields["data"]))
                fields = {}


async def by_socket(served: Served, query: str = "", after: str = "") -> AsyncGenerator[Got]:
    url = f"ws://127.0.0.1:{served.port}/api/v1/live?{query}&after={after}"
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with connect(url, proxy=None, additional_headers=headers) as live:
        async for text in live:
            told = msgspec.json.decode(text)
            yield Got(told["event"], told["id"], told["data"])


DOORS = {"events": by_events, "socket": by_socket}


def number(got: Got) -> int:
    return int(got.id.partition(".")[2])


@pytest.mark.parametrize("door", DOORS)
async def test_many_runs_that_end_at_once_are_all_told_in_order(served: Served, door: str) -> None:
    last: dict[str, str] = {}
    numbers: list[int] = []
    async with asyncio.timeout(60), aclosing(DOORS[door](served)) as live:
        begun = await anext(live)
        assert (begun.event, begun.data) == ("runs", [])
        numbers.append(number(begun))
        starting = [asyncio.create_task(served.start(QUICK, {"n": one})) for one in range(200)]
        async for got in live:
            assert got.event == "run"
            assert last.get(got.data["id"]) != "succeeded", "a run that is over changes no more"
            last[got.data["id"]] = got.data["status"]
            numbers.append(number(got))
            if list(last.values()).count("succeeded") == 200:
                break
        ids = await asyncio.gather(*starting)
    assert sorted(last) == sorted(ids)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("door", DOORS)
async def test_who_comes_back_is_told_what_has_changed_since_and_nothing_else(served: Served, door: str) -> None:
    ids = [await served.start(WAIT) for _ in range(3)]
    for run_id in ids:
        await served.until(run_id, "waiting")
    query = "flow=waits&status=waiting"
    async with asyncio.timeout(20), aclosing(DOORS[door](served, query)) as live:
        known = await anext(live)
        assert {one["id"] for one in known.data} == set(ids)
    await has_begun(lambda: not served.app.state.streams.is_open)
    await served.client.post(f"/api/v1/runs/{ids[1]}/cancel")
    await served.until(ids[1])
    await served.start(QUICK, {"n": 1})
    fourth = await served.start(WAIT)
    await served.until(fourth, "waiting")
    async with asyncio.timeout(20), aclosing(DOORS[door](served, query, known.id)) as live:
        told = [await anext(live), await anext(live)]
        assert [(one.event, one.data["id"], one.data["status"]) for one in told] == [
            ("run", ids[1], "cancelled"),
            ("run", fourth, "waiting"),
        ]
    async with asyncio.timeout(20), aclosing(DOORS[door](served, query, told[-1].id)) as live:
        await served.client.post(f"/api/v1/runs/{ids[0]}/cancel")
        got = await anext(live)
        assert (got.data["id"], number(got) > number(told[-1])) == (ids[0], True)


@pytest.mark.parametrize("door", DOORS)
async def test_the_list_comes_anew_where_a_place_is_not_known_any_more(
    served: Served, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(20), aclosing(DOORS[door](served)) as live:
        known = await anext(live)
    for place in ("0123456789ab.7", f"{known.id.partition('.')[0]}.999999"):
        async with asyncio.timeout(20), aclosing(DOORS[door](served, "", place)) as live:
            assert (await anext(live)).event == "runs"
    monkeypatch.setattr(live_runs, "REMEMBERED", 3)
    for one in range(5):
        await served.until(await served.start(QUICK, {"n": one}))
    async with asyncio.timeout(20), aclosing(DOORS[door](served, "", known.id)) as live:
        got = await anext(live)
        assert (got.event, len(got.data)) == ("runs", 5)


@pytest.mark.req("API-6.resume")
async def test_a_list_takes_the_filters_of_its_socket_and_refuses_what_cannot_be(served: Served) -> None:
    labelled = await served.start(WAIT, labels={"team": "red"})
    await served.until(labelled, "waiting")
    await served.until(await served.start(QUICK, {"n": 1}))
    for query, found in (("flow=quick", ["quick"]), ("status=waiting", ["waits"]), ("trigger=schedule", []),
                         ("parent=run_none", []), ("flow=waits&status=succeeded,waiting", ["waits"])):  # fmt: skip
        async with asyncio.timeout(20), aclosing(by_events(served, query)) as live:
            assert [one["flow"] for one in (await anext(live)).data] == found, query
    async with asyncio.timeout(20), aclosing(by_events(served, "flow=waits")) as live:
        assert (await anext(live)).data[0]["labels"] == {"team": "red"}
    problem(await served.client.get("/api/v1/live/events?status=fine"), 422, "invalid-request")
    bad = {"last-event-id": "7"}
    problem(await served.client.get("/api/v1/live/events", headers=bad), 422, "invalid-request")
    async with served.anyone() as stranger:
        problem(await stranger.get("/api/v1/live/events"), 401, "unauthenticated")
