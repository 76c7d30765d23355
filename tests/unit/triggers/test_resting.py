"""A workspace that is archived or switched off: nothing begins by itself in it, and later each goes on as it says."""

from __future__ import annotations

import pytest

from segue.access.resting import SERVER
from segue.access.workspaces import Workspaces
from segue.store.tables import Sql
from segue.testing.memory_store import MemoryStore
from segue.triggers.errors import RestingError
from segue.triggers.scheduler import RESTING_MS
from unit.triggers.kit import START, SetClock, World, until, world

pytestmark = pytest.mark.anyio
MINUTE = 60_000
TICK = """
flow: tick
trigger: {{cron: "*/10 * * * *", catch_up: {0}, overlap: {1}}}
steps: [{{say: {{set: {{kind: $trigger.kind}}}}}}]
"""
HELD = TICK.replace("steps: [", "steps: [{{pause: {{wait: {{callback: {{}}}}}}}}, ")
FIRST = "flow: first\nsteps: [{say: {emit: {event: said, data: 1}}}]"
AFTER = "flow: after\ntrigger: {flow: first}\nsteps: [{log: after}]"
HEARD = "flow: heard\ntrigger: {event: said}\nsteps: [{log: heard}]"


def workspaces(it: World) -> Workspaces:
    return Workspaces(it.host.tables, it.clock.now, it.host.triggers.workspaces_changed)


async def switch(it: World, where: str, *, is_on: bool) -> None:
    await workspaces(it).set_flag(where, "orchestrator", is_on)


async def has_looked(it: World) -> bool:
    """The scheduler has seen that what is due rests."""
    return any(due == it.clock.at + RESTING_MS for due, _ in it.clock.calls)


@pytest.mark.req("ACC-9.schedules", "TIME-5.missed")
@pytest.mark.parametrize("where", ["default", SERVER])
@pytest.mark.parametrize(
    ("catch_up", "wanted"),
    [
        ("none", [(10, "missed"), (40, "started")]),
        ("last", [(10, "missed"), (30, "started"), (40, "started")]),
        ("all", [(10, "started"), (20, "started"), (30, "started"), (40, "started")]),
    ],
)
async def test_a_schedule_rests_and_makes_up_for_it_as_it_says(
    where: str, catch_up: str, wanted: list[tuple[int, str]]
) -> None:
    async with world() as it:
        await it.follow(TICK.format(catch_up, "allow"))
        await switch(it, where, is_on=False)
        it.clock.move_to(START + 35 * MINUTE)
        await until(lambda: has_looked(it))
        assert await it.fires("tick") == []
        await switch(it, where, is_on=True)
        await it.until_fires("tick", *wanted[:-1])
        it.clock.move_to(START + 40 * MINUTE)
        await it.until_fires("tick", *wanted)


@pytest.mark.req("ACC-9.schedules")
async def test_a_schedule_rests_over_a_restart_and_is_found_open_without_a_word() -> None:
    store, clock = MemoryStore(), SetClock()
    async with world(store=store, clock=clock) as it:
        await it.follow(TICK.format("all", "allow"))
        await switch(it, "default", is_on=False)
    clock.at = START + 15 * MINUTE
    async with world(store=store, clock=clock, begin=False) as it:
        await it.follow(TICK.format("all", "allow"))
        await it.host.triggers.begin()
        await until(lambda: has_looked(it))
        assert await it.fires("tick") == []

        def open_again(sql: Sql) -> None:
            sql.run("DELETE FROM flag")

        await it.host.tables.change(open_again)
        clock.move_to(clock.at + RESTING_MS)
        await it.until_fires("tick", (10, "started"))


@pytest.mark.req("ACC-9.catch-up")
async def test_due_times_that_wait_for_an_earlier_run_wait_on_while_the_workspace_rests() -> None:
    async with world() as it:
        await it.follow(HELD.format("all", "queue"))
        it.clock.move_to(START + 10 * MINUTE)
        await it.until_fires("tick", (10, "started"))
        it.clock.move_to(START + 20 * MINUTE)
        await it.until_fires("tick", (10, "started"), (20, "queued"))
        await switch(it, "default", is_on=False)
        (record,) = await it.runs()
        engine = it.host.engine
        step = next(step for step in (await engine.state(record)).nodes if step.address == "pause")
        await engine.callback(engine.callback_token(record.run_id, step), {})
        await it.until_ended(1)
        it.clock.move_to(START + 30 * MINUTE)
        await until(lambda: has_looked(it))
        assert await it.fires("tick") == [(10, "started"), (20, "queued")]
        await switch(it, "default", is_on=True)

        async def begun() -> bool:
            return (await it.fires("tick"))[1] == (20, "started")

        await until(begun)


@pytest.mark.req("ACC-9.chains", "ACC-9.events")
async def test_events_and_ends_of_runs_start_nothing_and_the_trigger_says_why() -> None:
    async with world() as it:
        for text in (FIRST, AFTER, HEARD):
            await it.follow(text)
        engine = it.host.engine
        version = await it.host.triggers.starter.version("default", "first")
        await switch(it, "default", is_on=False)
        await engine.wait((await engine.start(version, {})).run_id)

        async def noted(flow_id: str) -> bool:
            row = await it.host.triggers.registry.refresh(it.trigger(flow_id).id)
            return row is not None and "archived" in (row.last_error or "")

        await until(lambda: noted("after"))
        await until(lambda: noted("heard"))
        assert len(await it.runs()) == 1
        await switch(it, "default", is_on=True)
        await engine.wait((await engine.start(version, {})).run_id)
        await it.until_ended(1, "after")
        await it.until_ended(1, "heard")


@pytest.mark.req("ACC-9.race")
async def test_what_was_judged_before_the_workspace_was_closed_starts_nothing_after() -> None:
    async with world() as it:
        await it.follow(AFTER)
        row, starter = it.trigger("after"), it.host.triggers.starter
        ready = await starter.ready(row, {"kind": "flow"})
        await switch(it, "default", is_on=False)
        with pytest.raises(RestingError):
            await starter.start(row, ready, {"kind": "flow"}, also=lambda sql: None)
        assert await it.runs() == []
