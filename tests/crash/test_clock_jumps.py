"""A wall clock that jumps while runs wait, retry, poll and expire: no timer is lost, none fires twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue.bootstrap import Host, build_host
from segue.engine import clock as clocks
from segue.engine.clock import SystemClock
from segue.engine.port import Action, AttemptContext
from segue.engine.views import RunView, view_of
from segue.flow import load_flow
from segue.kernel import events as ev
from segue.kernel.status import RunStatus
from segue.net.egress import EgressPolicy
from segue.store.sqlite import SqliteStore

pytestmark = [pytest.mark.crash, pytest.mark.anyio]

HOUR_MS = 3_600_000
MONTH_MS = 30 * 24 * HOUR_MS
FLOW = """
flow: jumps
steps:
  - parallel:
      - paused: {wait: 2h}
      - retried: {call: app.fail_once, retry: {attempts: 3, initial_delay: 2h, max_delay: 2h, jitter: none}}
      - polled: {poll: {use: app.second, success_condition: "$.n == 2", interval: 2h, max_attempts: 5}}
      - expired: {wait: {callback: {expires: 2h}}, on_error: [{noted: {set: {late: true}}}]}
      - held: {call: app.hold, timeout: 2h, on_error: [{ended: {set: {late: true}}}]}
outputs: {retried: $retried, polled: $polled.n}
"""


class ShiftedClock(SystemClock):
    """The machine's clock, as somebody sets it anew."""

    shift_ms = 0

    def now(self) -> int:
        return super().now() + self.shift_ms


class World:
    """A host on a real database, and what it called."""

    def __init__(self, path: Path) -> None:
        self.clock = ShiftedClock()
        self.calls: Counter[str] = Counter()
        actions = [
            Action(name=f"app.{name}", run=run)
            for name, run in {"fail_once": self.fail_once, "second": self.second, "hold": self.hold}.items()
        ]
        self.host: Host = build_host(
            "", egress=EgressPolicy.local(), store=SqliteStore(path), clock=self.clock, actions=actions,
            server_key=b"k" * 32,
        )  # fmt: skip

    async def fail_once(self, _params: dict[str, Any], context: AttemptContext) -> str:
        self.calls["fail_once"] += 1
        if context.attempt == 1:
            raise ConnectionError("not yet")
        return "at last"

    async def second(self, _params: dict[str, Any], _context: AttemptContext) -> dict[str, int]:
        self.calls["second"] += 1
        return {"n": self.calls["second"]}

    async def hold(self, _params: dict[str, Any], _context: AttemptContext) -> None:
        self.calls["hold"] += 1
        await asyncio.Event().wait()

    async def start(self) -> str:
        flow = load_flow(FLOW, self.host.catalogue)
        started = await self.host.engine.start(flow, {})
        await self.until(
            started.run_id,
            lambda events: {"AttemptFailed", "PollAnswered"} <= {*events} and self.calls["hold"] == 1,
        )
        return started.run_id

    async def events(self, run_id: str) -> list[str]:
        """What happened, in order."""
        record = await self.host.engine.record(run_id)
        return [ev.BY_KIND[row.kind].__name__ for row in await self.host.store.load_journal(record.key)]

    async def until(self, run_id: str, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds(await self.events(run_id)):  # noqa: ASYNC110 - a call is no event of the engine
                await asyncio.sleep(0.01)

    async def check_end(self, run_id: str) -> None:
        """Everything that was waited for came, once."""
        async with asyncio.timeout(30):
            state = await self.host.engine.wait(run_id)
        assert state.status is RunStatus.SUCCEEDED, state.error
        assert state.outputs == {"retried": "at last", "polled": 2}
        assert self.calls == {"fail_once": 2, "second": 2, "hold": 1}
        view: RunView = view_of(state, await self.host.engine.record(run_id), self.clock.now())
        durations = [view.duration_ms, *(one.duration_ms for one in view.steps)]
        assert all(one is None or one >= 0 for one in durations), durations
        statuses = Counter((one.address, one.status.value) for one in state.nodes)
        assert set(statuses.values()) == {1}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(clocks, "LONGEST_SLEEP_SECONDS", 0.02)  # how soon a jump is noticed
    made = World(tmp_path / "segue.db")
    await made.host.open()
    yield made
    await made.host.close(grace_seconds=0)


@pytest.mark.req("TIME-4.jumps", "TIME-1.restart")
async def test_a_clock_set_forward_by_a_month_lets_everything_due_happen_once(world: World) -> None:
    run_id = await world.start()
    world.clock.shift_ms += MONTH_MS
    await world.check_end(run_id)


@pytest.mark.req("TIME-4.jumps")
async def test_a_clock_set_back_by_an_hour_loses_no_timer_and_fires_none_early(world: World) -> None:
    run_id = await world.start()
    world.clock.shift_ms -= HOUR_MS
    before = await world.events(run_id)
    await asyncio.sleep(0.3)
    assert await world.events(run_id) == before
    for _ in range(2):
        world.clock.shift_ms += HOUR_MS
        await asyncio.sleep(0.1)
    assert await world.events(run_id) == before, "an hour of the two is still to come"
    world.clock.shift_ms += HOUR_MS + 1_000
    await world.check_end(run_id)


@pytest.mark.req("TIME-4.jumps")
async def test_a_run_that_begins_before_a_clock_is_set_back_never_lasts_less_than_nothing(world: World) -> None:
    flow = load_flow("flow: back\nsteps:\n  - held: {wait: {callback: {expires: 1d}}}\n", world.host.catalogue)
    engine = world.host.engine
    run_id = (await engine.start(flow, {})).run_id
    await world.until(run_id, lambda events: "CallbackOpened" in events or len(events) > 3)
    world.clock.shift_ms -= HOUR_MS
    state = await engine.state(await engine.record(run_id))
    waiting = next(one for one in state.nodes if one.callback)
    await engine.callback(engine.callback_token(run_id, waiting), {"late": False})
    state = await engine.wait(run_id)
    view = view_of(state, await engine.record(run_id), world.clock.now())
    assert view.duration_ms == 0
    assert [one.duration_ms for one in view.steps] == [0]


@pytest.mark.req("TIME-4.jumps", "TIME-1.restart")
@pytest.mark.parametrize("jump", [MONTH_MS, -HOUR_MS])
async def test_a_clock_that_jumps_while_no_host_runs_costs_nothing(tmp_path: Path, world: World, jump: int) -> None:
    run_id = await world.start()
    await world.host.close(grace_seconds=0)
    second = World(tmp_path / "segue.db")
    second.calls, second.clock.shift_ms = world.calls, jump
    second.calls["hold"] = 0  # it was in flight, so it is made again
    await second.host.open()
    if jump < 0:
        await asyncio.sleep(0.2)
        assert second.calls["fail_once"] == 1
        second.clock.shift_ms += MONTH_MS
    else:
        # A repeated attempt gets its whole time again.
        await second.until(run_id, lambda _: second.calls["hold"] == 1)
        second.clock.shift_ms += 3 * HOUR_MS
    await second.check_end(run_id)
    await second.host.close(grace_seconds=0)
