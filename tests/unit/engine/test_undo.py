"""Undoing what a run did, by a host over a store: on request, by two at once, through a crash and a lost commit."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import ConflictError, NotFoundError, StepError, StoreUnavailableError
from segue.flow.model import Flow, Step
from unit.engine.kit import World, block, flow, never, run, scripted, settle, start, state_of, step, view

pytestmark = pytest.mark.anyio


def done_by(name: str, **settings: object) -> Step:
    return step(name, compensate=block(step(f"no_{name}", params={"id": "$output"}), label="compensate"))


def trip() -> Flow:
    return flow(done_by("flight"), done_by("hotel"), step("car"))


@pytest.mark.req("BAR-10.undo")
async def test_a_run_that_ended_well_is_undone_when_that_is_asked_for(world: World) -> None:
    world.action(scripted("kept"))
    async with world.open() as engine:
        run_id = (await run(engine, trip())).run_id
        preview = await engine.undo_preview(run_id)
        assert [one.address for one in preview.undone_by] == ["hotel", "flight"]
        assert [one.address for one in preview.kept] == ["car"]
        await engine.undo(run_id, "a mistake")
        state = await engine.wait(run_id)
        assert state.status == "cancelled"
        assert world.called == ["flight", "hotel", "car", "hotel.compensate.no_hotel", "flight.compensate.no_flight"]
        shown = await view(engine, run_id)
        assert {one.id: one.undone for one in shown.steps if one.undone} == {"flight": "done", "hotel": "done"}
        assert (await engine.record(run_id)).status == "cancelled"
        assert not engine.statistics()["runs_in_memory"]


@pytest.mark.req("BAR-10.undo")
async def test_what_cannot_be_undone_is_refused_and_leaves_nothing_in_memory(world: World) -> None:
    world.action(scripted("kept"))
    async with world.open() as engine:
        run_id = (await run(engine, flow(step("a")))).run_id
        with pytest.raises(ConflictError, match="nothing to undo"):
            await engine.undo(run_id)
        with pytest.raises(NotFoundError):
            await engine.undo("run_unknown")
        assert (await engine.wait(run_id)).status == "succeeded"
        assert not engine.statistics()["runs_in_memory"]


@pytest.mark.req("BAR-10.undo")
async def test_two_who_ask_at_once_undo_once(world: World) -> None:
    world.action(scripted("kept"))
    async with world.open() as engine:
        run_id = (await run(engine, trip())).run_id
        outcomes = await asyncio.gather(engine.undo(run_id), engine.undo(run_id), return_exceptions=True)
        assert [type(one) for one in outcomes].count(ConflictError) == 1
        await engine.wait(run_id)
        assert world.called.count("hotel.compensate.no_hotel") == 1


@pytest.mark.req("BAR-10.crash")
async def test_a_host_that_dies_while_it_undoes_goes_on_with_the_same_key(world: World) -> None:
    world.action(scripted("kept"))
    world.action(never, "slow")
    undo = step("no_a", use="slow")
    what = flow(step("a", compensate=block(undo, label="compensate")), done_by("b"), step("c"))
    async with world.open() as engine:
        run_id = (await run(engine, what)).run_id
        await engine.undo(run_id)
        await settle()
        assert world.called[-1] == "a.compensate.no_a"
        await world.kill(engine)
    world.action(scripted("done"), "slow")
    async with world.open() as engine:
        state = await engine.wait(run_id)
    assert state.status == "cancelled"
    calls = [context for address, context in world.calls if address == "a.compensate.no_a"]
    assert [one.attempt for one in calls] == [1, 2]
    assert calls[0].idempotency_key == calls[1].idempotency_key
    assert world.called.count("b.compensate.no_b") == 1


@pytest.mark.req("BAR-10.undo")
async def test_an_undoing_that_could_not_be_kept_has_not_begun(world: World) -> None:
    world.action(scripted("kept"))
    async with world.open() as engine:
        run_id = (await run(engine, trip())).run_id
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.undo(run_id)
        await asyncio.sleep(1)
        assert (await state_of(engine, run_id)).status == "succeeded"
        assert "hotel.compensate.no_hotel" not in world.called
        assert not engine.statistics()["runs_in_memory"]
        await engine.undo(run_id)
        assert (await engine.wait(run_id)).status == "cancelled"


@pytest.mark.req("DUR-4.force")
async def test_a_forced_cancellation_cuts_off_what_a_plain_one_lets_finish(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a", finally_=block(step("close"), label="finally"))))
        await settle()
        await engine.cancel(run_id)
        await settle()
        assert world.called == ["a", "a.finally.close"]
        await engine.cancel(run_id, "now", force=True)
        assert (await engine.wait(run_id)).status == "cancelled"


@pytest.mark.req("DUR-4.cancel", "BAR-10.crash")
async def test_what_a_dead_host_was_undoing_goes_on_when_the_paused_run_is_cancelled(world: World) -> None:
    world.action(scripted("done"))
    world.action(scripted(StepError("no", category="validation")), "fails")
    world.action(never, "undoing")
    undo = step("no_a", use="undoing")
    what = flow(step("a", compensate=block(undo, label="compensate")), step("b", use="fails"))
    async with world.open() as engine:
        run_id = await start(engine, what)
        await settle()
        await engine.pause(run_id)
        await world.kill(engine)
    world.action(scripted("undone"), "undoing")
    async with world.open() as engine:
        await settle()
        await engine.cancel(run_id)
        state = await engine.wait(run_id)
        assert world.called.count("a.compensate.no_a") == 2
        assert next(one for one in state.nodes if one.address == "a").undone == "done"
