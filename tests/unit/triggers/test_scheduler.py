"""Schedules by a clock that the test sets: what is due, missed, paused, too soon, and due in a host that died."""

from __future__ import annotations

import pytest

from segue.testing.memory_store import MemoryStore
from unit.triggers.kit import START, SetClock, until, world

pytestmark = pytest.mark.anyio
MINUTE = 60_000


def flow(**settings: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in settings.items())
    return f"""
flow: tick
trigger: {{cron: "*/10 * * * *"{more}, inputs: {{due: $trigger.due}}}}
inputs: {{due: string}}
steps: [{{say: {{set: {{due: $inputs.due}}}}}}]
outputs: $say.due
"""


def slow(**settings: str) -> str:
    return flow(**settings).replace("steps: [", "steps: [{pause: {wait: {callback: {}}}}, ")


@pytest.mark.req("TIME-5.due")
async def test_each_due_time_starts_one_run_with_its_inputs() -> None:
    async with world() as it:
        await it.follow(flow())
        for minute in (10, 20, 30):
            it.clock.move_to(START + minute * MINUTE + 3)
            await it.until_fires("tick", *[(at, "started") for at in range(10, minute + 1, 10)])
        runs = await it.until_ended(3)
        state = await it.host.engine.state(runs[0])

    assert len(runs) == 3
    assert state.outputs == "2027-01-15T08:10:00Z"
    assert state.trigger["kind"] == "cron"
    assert runs[0].trigger == "cron"


@pytest.mark.req("TIME-5.missed")
@pytest.mark.parametrize(
    ("catch_up", "wanted"),
    [
        ("none", [(10, "missed"), (50, "started")]),
        ("last", [(10, "missed"), (40, "started"), (50, "started")]),
        ("2", [(10, "missed"), (30, "started"), (40, "started"), (50, "started")]),
        ("all", [(10, "started"), (20, "started"), (30, "started"), (40, "started"), (50, "started")]),
    ],
)
async def test_what_was_missed_while_no_host_ran_is_made_up_for_as_the_schedule_says(
    catch_up: str, wanted: list[tuple[int, str]]
) -> None:
    store, clock = MemoryStore(), SetClock()
    async with world(store=store, clock=clock) as it:
        await it.follow(flow(catch_up=catch_up))
    clock.at = START + 45 * MINUTE
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(flow(catch_up=catch_up))
        await it.host.triggers.begin()
        await it.until_fires("tick", *wanted[:-1])
        clock.move_to(START + 50 * MINUTE)
        await it.until_fires("tick", *wanted)
        runs = await it.until_ended(len(wanted) - (wanted[0][1] == "missed"))

    assert len(runs) == sum(outcome == "started" for _, outcome in wanted)


@pytest.mark.req("TIME-5.clock-jumps")
async def test_a_clock_that_jumps_ahead_or_back_starts_each_due_time_once() -> None:
    async with world() as it:
        await it.follow(flow())
        it.clock.move_to(START + 25 * MINUTE)
        await it.until_fires("tick", (10, "missed"), (20, "started"))
        it.clock.at = START + 5 * MINUTE
        it.clock.move_to(START + 12 * MINUTE)
        it.clock.move_to(START + 30 * MINUTE)
        await it.until_fires("tick", (10, "missed"), (20, "started"), (30, "started"))


@pytest.mark.req("TIME-5.overlap")
@pytest.mark.parametrize(
    ("overlap", "outcomes", "statuses"),
    [
        ("allow", ["started", "started", "started"], ["waiting", "waiting", "waiting"]),
        ("skip", ["started", "skipped", "skipped"], ["waiting"]),
        ("cancel", ["started", "started", "started"], ["cancelled", "cancelled", "waiting"]),
        ("queue", ["started", "queued", "queued"], ["waiting"]),
    ],
)
async def test_a_run_that_is_still_under_way_is_dealt_with_as_the_schedule_says(
    overlap: str, outcomes: list[str], statuses: list[str]
) -> None:
    async with world() as it:
        await it.follow(slow(overlap=overlap))
        for place in range(3):
            it.clock.move_to(START + (place + 1) * 10 * MINUTE)
            await it.until_fires("tick", *[((at + 1) * 10, outcomes[at]) for at in range(place + 1)])

        async def as_wanted() -> bool:
            return [run.status for run in await it.runs()] == statuses

        await until(as_wanted)


@pytest.mark.req("TIME-5.overlap")
async def test_due_times_that_wait_are_started_one_after_the_other_also_by_the_next_host() -> None:
    store, clock = MemoryStore(), SetClock()
    async with world(store=store, clock=clock) as it:
        await it.follow(slow(overlap="queue"))
        for minute in (10, 20, 30):
            clock.move_to(START + minute * MINUTE)
            await it.until_fires("tick", (10, "started"), *[(at, "queued") for at in range(20, minute + 1, 10)])
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(slow(overlap="queue"))
        await it.host.triggers.begin()
        for count in (1, 2, 3):

            async def waits(count: int = count) -> bool:
                runs = await it.runs()
                return len(runs) == count and runs[-1].status == "waiting"

            await until(waits)
            record = (await it.runs())[-1]
            state = await it.host.engine.state(record)
            step = next(step for step in state.nodes if step.address == "pause")
            await it.host.engine.callback(it.host.engine.callback_token(record.run_id, step), {})
        runs = await it.until_ended(3)
        await it.until_fires("tick", (10, "started"), (20, "started"), (30, "started"))

    assert [run.status for run in runs] == ["succeeded"] * 3


@pytest.mark.req("TIME-5.pause")
async def test_a_pause_starts_nothing_and_nothing_is_made_up_for() -> None:
    async with world() as it:
        await it.follow(flow(catch_up="all"))
        registry = it.host.triggers.registry
        await registry.change(it.trigger("tick"), enabled=False)

        async def is_off() -> bool:
            return not await it.is_planned("tick")

        await until(is_off)
        it.clock.move_to(START + 35 * MINUTE)
        await registry.change(it.trigger("tick"), enabled=True)
        await until(lambda: it.is_planned("tick"))
        it.clock.move_to(START + 40 * MINUTE)
        await it.until_fires("tick", (40, "started"))


@pytest.mark.req("TIME-5.pause", "TIME-5.restart")
async def test_a_pause_and_another_rule_hold_while_no_host_runs_too() -> None:
    store, clock = MemoryStore(), SetClock()
    async with world(store=store, clock=clock) as it:
        await it.follow(flow(catch_up="all"))
    async with world(store=store, clock=clock, begin=False) as it:
        registry = it.host.triggers.registry
        await registry.change(it.trigger("tick"), enabled=False)
        clock.move_to(START + 35 * MINUTE)
        await registry.change(it.trigger("tick"), enabled=True)
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(flow(catch_up="all"))
        await it.host.triggers.begin()
        await until(lambda: it.is_planned("tick"))
        clock.move_to(START + 40 * MINUTE)
        await it.until_fires("tick", (40, "started"))
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(flow(catch_up="all").replace("*/10", "*/15"))
        clock.move_to(START + 51 * MINUTE)
    async with world(store=store, clock=clock, begin=False) as it:
        await it.host.triggers.begin()
        await until(lambda: it.is_planned("tick"))
        clock.move_to(START + 60 * MINUTE)
        await it.until_fires("tick", (40, "started"), (60, "started"))


@pytest.mark.req("TIME-5.restart")
@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_store_that_fails_and_a_host_that_dies_lose_no_due_time_and_double_none(lost: int) -> None:
    store, clock = MemoryStore(), SetClock()
    async with world(store=store, clock=clock) as it:
        await it.follow(flow())
        store.fail_next(lost)
        clock.move_to(START + 10 * MINUTE)

        async def dealt_with() -> bool:
            # Each failure has it try again a second later.
            clock.move_to(clock.at + 1_000)
            return bool(await it.fires("tick"))

        await until(dealt_with)
        await it.until_ended(1)
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(flow())
        await it.host.triggers.begin()
        clock.move_to(START + 20 * MINUTE)
        await it.until_fires("tick", (10, "started"), (20, "started"))
        assert len(await it.until_ended(2)) == 2


@pytest.mark.req("TIME-5.failed")
async def test_a_due_time_whose_flow_cannot_run_is_noted_and_the_next_one_comes() -> None:
    async with world() as it:
        await it.follow(flow().replace("due: $trigger.due", "due: 7"))
        it.clock.move_to(START + 10 * MINUTE)
        await it.until_fires("tick", (10, "failed"))
        it.clock.move_to(START + 20 * MINUTE)
        await it.until_fires("tick", (10, "failed"), (20, "failed"))
        row = await it.host.triggers.registry.refresh(it.trigger("tick").id)

    assert row is not None
    assert "due" in (row.last_error or "")
