"""A run as it happens: everything once, in order, also over broken connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest

from acceptance.api_support import Event, Served, events, has_begun, problem, serve
from segue.api import stop_streams
from segue.api.live import STREAMS_MAX
from segue.api.run_feed import Position
from segue.engine.port import AttemptContext
from segue.steps.python import python_action

pytestmark = pytest.mark.anyio

LOOP = """\
flow: loop
steps:
  - each:
      foreach:
        items: "range(0, 20)"
        do: [{note: {log: "item {{ item }}"}}]
  - answer: {wait: {callback: {expires: 1h}}}
  - after: {log: done}
"""


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


async def _all(served: Served, run_id: str, after: str | None = None) -> list[Event]:
    return [event async for event in events(served.client, run_id, after=after)]


async def _finished(served: Served) -> str:
    run_id = await served.start(LOOP)
    answer = await served.client.post(await served.callback_url(run_id), json={"ok": True})
    assert answer.status_code == 200
    await served.until(run_id)
    return run_id


@pytest.mark.req("API-6.sse")
async def test_a_finished_run_is_told_whole_and_then_ended(served: Served) -> None:
    run_id = await _finished(served)
    told = await _all(served, run_id)
    logged = (await served.get(f"/api/v1/runs/{run_id}/logs?limit=10000"))["lines"]
    assert [event.data for event in told if event.kind == "log"] == logged
    assert [event.kind for event in told[-2:]] == ["run", "end"]
    assert told[-2].data == await served.show(run_id)
    assert told[-1].data == {"status": "succeeded"}
    assert len({event.id for event in told if event.kind == "log"}) == len(logged)


@pytest.mark.req("API-6.resume")
async def test_a_reconnect_after_any_event_repeats_nothing_and_misses_nothing(served: Served) -> None:
    run_id = await _finished(served)
    lines = [event for event in await _all(served, run_id) if event.kind == "log"]
    for number, event in enumerate(lines):
        again = await _all(served, run_id, after=event.id)
        assert [one.data for one in again if one.kind == "log"] == [one.data for one in lines[number + 1 :]]
        assert [one.kind for one in again[-2:]] == ["run", "end"]


@pytest.mark.req("API-6.resume")
async def test_whoever_has_the_end_is_told_to_stop_asking(served: Served) -> None:
    run_id = await _finished(served)
    end = (await _all(served, run_id))[-1]
    answer = await served.client.get(f"/api/v1/runs/{run_id}/events", headers={"last-event-id": end.id})
    assert answer.status_code == 204


@pytest.mark.req("API-6.sse")
async def test_a_run_is_told_while_it_happens_and_goes_on_over_a_broken_connection(served: Served) -> None:
    run_id = await served.start(LOOP)
    url = await served.callback_url(run_id)
    first: list[Event] = []
    async with aclosing(events(served.client, run_id)) as stream:
        async for event in stream:
            first.append(event)
            if event.kind == "run" and event.data["status"] == "waiting":
                break
    assert (await served.client.post(url, json={"ok": True})).status_code == 200
    rest = await _all(served, run_id, after=first[-1].id)
    logged = (await served.get(f"/api/v1/runs/{run_id}/logs?limit=10000"))["lines"]
    assert [event.data for event in (*first, *rest) if event.kind == "log"] == logged
    assert rest[-1].data == {"status": "succeeded"}


@pytest.mark.req("API-6.sse", "UI-4.live")
async def test_a_listener_sees_the_run_wait_and_then_end(served: Served) -> None:
    run_id = await served.start(LOOP)
    url = await served.callback_url(run_id)
    statuses: list[str] = []
    async with asyncio.timeout(20):
        async for event in events(served.client, run_id):
            if event.kind == "run":
                statuses.append(event.data["status"])
                if statuses == ["waiting"]:
                    assert (await served.client.post(url, json=1)).status_code == 200
    assert statuses[0] == "waiting"
    assert statuses[-1] == "succeeded"


@pytest.mark.req("API-6.sse", "OBS-1.run-logs")
async def test_lines_of_a_step_under_way_come_before_it_ends(served: Served) -> None:
    gate = asyncio.Event()

    async def slow(context: AttemptContext) -> str:
        context.log("info", "half way")
        await gate.wait()
        return "done"

    served.host.actions.add(python_action(slow, threads=lambda: served.host.threads))
    run_id = await served.start("flow: slow\nsteps:\n  - work: {use: slow}\n")
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for event in events(served.client, run_id):
            if event.kind == "log":
                seen.append(event.data["msg"])
                if event.data["msg"] == "half way":
                    assert (await served.show(run_id))["status"] == "running"
                    gate.set()
    assert seen.index("half way") < seen.index("run succeeded")


@pytest.mark.req("API-6.sse")
async def test_lines_below_the_wanted_level_are_left_out(served: Served) -> None:
    run_id = await _finished(served)
    told = [event.data["level"] async for event in events(served.client, run_id, level="info") if event.kind == "log"]
    assert told
    assert "debug" not in told


@pytest.mark.req("API-6.sse")
async def test_views_of_the_run_are_at_least_a_tenth_of_a_second_apart(served: Served) -> None:
    flow = "flow: many\nsteps:\n  - each: {foreach: {items: 'range(0, 300)', do: [{w: {wait: 1ms}}]}}\n"
    run_id = await served.start(flow)
    loop = asyncio.get_running_loop()
    times = [loop.time() async for event in events(served.client, run_id) if event.kind == "run"]
    assert (await served.show(run_id))["status"] == "succeeded"
    # The times are the receiver's, so a little less may have passed between them.
    assert all(later - earlier > 0.08 for earlier, later in pairwise(times))


@pytest.mark.req("API-6.resume")
@pytest.mark.parametrize("given", ["x", "1", "1.2.3", "1.2.end.x", "-.1", "1." + "9" * 100, "٣.١"])
async def test_an_event_id_of_another_stream_is_refused(served: Served, given: str) -> None:
    run_id = await served.start("flow: a\nsteps: [{log: hi}]")
    answer = await served.client.get(f"/api/v1/runs/{run_id}/events", headers=[(b"last-event-id", given.encode())])
    problem(answer, 422, "invalid-request")


def test_a_position_is_read_back_as_it_was_written() -> None:
    for position in (Position(), Position(3, 4), Position(3, 4, is_end=True)):
        assert Position.parse(str(position)) == position


@pytest.mark.req("OPS-7.graceful")
async def test_a_server_that_stops_does_not_wait_for_listeners() -> None:
    async with serve() as served:
        run_id = await served.start(LOOP)
        await served.until(run_id, "waiting")
        reading = asyncio.create_task(_all(served, run_id))
        await has_begun(lambda: served.app.state.streams.is_open)
        stop_streams(served.app)
        async with asyncio.timeout(2):
            told = await reading
        assert "end" not in [event.kind for event in told]
        # Whoever comes after that is sent on its way at once.
        async with asyncio.timeout(2):
            assert await _all(served, run_id) == []


@pytest.mark.req("ACC-7.limits")
async def test_more_streams_than_the_server_keeps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert STREAMS_MAX >= 100
    monkeypatch.setattr("segue.api.live.STREAMS_MAX", 0)
    async with serve() as served:
        run_id = await served.start("flow: a\nsteps: [{log: hi}]")
        problem(await served.client.get(f"/api/v1/runs/{run_id}/events"), 503, "busy")
