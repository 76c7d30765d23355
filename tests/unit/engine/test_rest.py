"""Runs that wait leave memory and come back: by their time, by a signal, by a person's word."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import EngineError, StepError
from segue.kernel import events as ev
from segue.store.port import Commit, JournalRow
from unit.engine.kit import (
    World,
    events_of,
    flow,
    parallel,
    retry,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    token_of,
    wait_callback,
    wait_for,
)  # fmt: skip

pytestmark = pytest.mark.anyio


@pytest.mark.req("TIME-4.memory")
async def test_a_thousand_waiting_runs_cost_no_tasks_and_no_memory_and_all_go_on(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        before = len(asyncio.all_tasks())
        what = flow(wait_for("w", "1h"), step("a"))
        ids = [await start(engine, what) for _ in range(1000)]
        await settle()
        assert len(asyncio.all_tasks()) == before
        assert engine.statistics()["runs_in_memory"] == 0
        begun = engine.now()
        states = await asyncio.gather(*(engine.wait(one) for one in ids))
        assert {one.status.value for one in states} == {"succeeded"}
        assert {3_500_000 < (one.finished_at or 0) - begun <= 3_600_000 for one in states} == {True}
    assert len(world.calls) == 1000


@pytest.mark.req("TIME-4.memory")
async def test_a_run_that_waits_shortly_stays_in_memory(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "20s"), step("a")))
        await settle()
        assert engine.statistics()["runs_in_memory"] == 1
        assert (await engine.wait(run_id)).status == "succeeded"


@pytest.mark.req("TIME-4.memory", "DUR-1.one-state")
async def test_of_two_that_wait_for_a_run_the_first_does_not_take_it_from_the_second(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h")))
        await settle()
        record = await engine.record(run_id)

        async def let_go() -> None:
            engine.effects.let_go(await engine.loading.loaded(record))

        async def keep() -> bool:
            run = await engine.loading.loaded(record)
            return engine.residents.by_key.get(record.key) is run

        assert await asyncio.gather(let_go(), keep()) == [None, True]


@pytest.mark.req("TIME-1.restart")
async def test_a_long_retry_delay_survives_rest_and_restart(world: World) -> None:
    world.action(scripted(StepError("busy", category="connection"), "done"))
    async with world.open() as engine:
        begun = engine.now()
        run_id = await start(engine, flow(step("a", retry=retry(3, 600.0))))
        await asyncio.sleep(60)
        assert engine.statistics()["runs_in_memory"] == 0
        await world.kill(engine)
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        assert state.finished_at == begun + 600_000
    first, second = (context for _, context in world.calls)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.idempotency_key == second.idempotency_key


async def test_waits_of_different_lengths_wake_in_their_order(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        lengths = [300, 60, 7200, 120, 86_400]
        ids = [await start(engine, flow(wait_for("w", f"{n}s"), step(f"s{n}"))) for n in lengths]
        begun = engine.now()
        states = await asyncio.gather(*(engine.wait(one) for one in ids))
        assert [round(((one.finished_at or 0) - begun) / 1000) for one in states] == lengths
    assert world.called == ["s60", "s120", "s300", "s7200", "s86400"]


async def test_a_run_called_back_while_its_timer_is_open_is_driven_once(world: World) -> None:
    """The copy that left memory must not hear of the timer that it had: it would drive the run a second time."""
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", wait_for("w", "60s"), wait_callback("c", uses=2)), step("a")))
        await settle()
        assert engine.statistics()["runs_in_memory"] == 0
        await asyncio.sleep(40)
        token = await token_of(engine, run_id, "c")
        await engine.callback(token, 1)  # brings the run back; 20 s before its timer it stays
        assert engine.statistics()["runs_in_memory"] == 1
        await asyncio.sleep(30)
        conflicts = (await world.store.statistics())["commits_failed"]
        assert conflicts == 0
        await engine.callback(token, 2)
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
    assert world.called == ["a"]


async def test_a_run_loaded_without_a_change_is_still_driven_once_when_its_time_comes(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "60s"), step("a")))
        await asyncio.sleep(40)
        record = await engine.record(run_id)
        await engine.loading.loaded(record)
        state = await engine.wait(run_id)
        await settle()
        kinds = [type(event) for event in await events_of(world, engine, run_id)]
        assert kinds.count(ev.StepStarted) == 2
        assert state.status == "succeeded"
        assert (await world.store.statistics())["commits_failed"] == 0
    assert world.called == ["a"]


@pytest.mark.req("DUR-6.others-go-on")
async def test_one_damaged_run_does_not_keep_the_others_asleep(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        what = flow(wait_for("w", "1h"), step("a"))
        ids = [await start(engine, what) for _ in range(5)]
        damaged = await engine.record(ids[1])
        world.store._journals[damaged.key].pop(1)
        await asyncio.sleep(3_700)
        good = [await engine.wait(one) for one in ids if one != ids[1]]
        assert {one.status.value for one in good} == {"succeeded"}
        assert (await engine.record(ids[1])).status == "quarantined"
        later = await start(engine, what)
        assert (await engine.wait(later)).status == "succeeded"
        with pytest.raises(EngineError, match="does not fold"):
            await engine.wait(ids[1])


async def test_a_wake_that_meets_an_unreachable_store_is_made_up_for(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h"), step("a")))
        await settle()
        world.store.fail_next(3)
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
    assert world.called == ["a"]


async def test_a_run_that_rests_while_the_next_wake_is_being_read_is_not_forgotten(world: World) -> None:
    """The store's answer may be older than what has come to rest since it was asked."""
    world.action(scripted("done"))
    async with world.open() as engine:
        far = await start(engine, flow(wait_for("w", "1h"), id="far"))
        farther = await start(engine, flow(wait_for("w", "20h"), id="farther"))
        await settle()
        asked = world.store.next_wake_at
        gate = asyncio.Event()

        async def slow() -> int | None:
            answer = await asked()
            await gate.wait()
            return answer

        world.store.next_wake_at = slow
        await engine.wait(far)
        await settle()
        begun = engine.now()
        near = await start(engine, flow(wait_for("w", "2h"), id="near"))
        await settle()
        gate.set()
        assert (await engine.wait(near)).finished_at == begun + 7_200_000
        await engine.wait(farther)


@pytest.mark.req("DUR-4.pause")
async def test_pause_and_resume_reach_a_run_at_rest(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h"), step("a")))
        await settle()
        await engine.pause(run_id)
        await asyncio.sleep(7200)
        assert (await engine.record(run_id)).status == "paused"
        await engine.resume(run_id)
        assert (await engine.wait(run_id)).status == "succeeded"


async def test_the_clock_of_the_machine_may_jump(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h"), step("a")))
        near = await start(engine, flow(wait_for("w", "20s"), step("a")))
        await settle()
        world.clock.jump(-1_000_000)
        await asyncio.sleep(30)
        assert world.called == []
        world.clock.jump(10_000_000)
        await settle()
        assert (await engine.wait(run_id)).status == "succeeded"
        assert (await engine.wait(near)).status == "succeeded"
        assert (await state_of(engine, run_id)).status == "succeeded"


@pytest.mark.req("DUR-6.quarantine")
async def test_an_impossible_event_sets_the_run_aside_with_its_last_good_event(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        token = await token_of(engine, run_id, "c")
        record = await engine.record(run_id)
        forged = JournalRow(len(world.store._journals[record.key]), ev.RunAccepted.KIND, -1, engine.now(), b"")
        await _commit(world, Commit(run_key=record.key, rows=[forged]))
        with pytest.raises(EngineError, match="does not fold at event 4") as caught:
            await engine.callback(token, 1)
        assert getattr(caught.value, "last_valid_seq", None) == 3
        await settle()
        record = await engine.record(run_id)
        assert record.status == "quarantined"
        assert record.error is not None
        assert "RunAccepted" in record.error
        assert record.started_at is not None
        with pytest.raises(EngineError, match="does not fold"):
            await engine.wait(run_id)
    async with world.open() as engine:
        assert engine.statistics()["runs_in_memory"] == 0
    assert world.called == []


async def _commit(world: World, commit: Commit) -> None:
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    world.store.commit(commit, lambda _, error: done.set_result(error))
    assert await done is None


async def test_statuses_of_a_run_at_rest_are_what_they_were(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h")))
        await settle()
        assert statuses(await state_of(engine, run_id)) == {"w": "waiting"}
        assert (await engine.record(run_id)).status == "waiting"
