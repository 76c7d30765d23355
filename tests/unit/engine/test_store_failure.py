"""The store fails: nothing is lost, nothing is done twice, and nothing is done before it is kept."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import ConflictError, NotFoundError, StepError, StoreUnavailableError
from segue.kernel import events as ev
from segue.store.port import RunFilter
from unit.engine.kit import (
    World,
    events_of,
    flow,
    parallel,
    retry,
    run,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    timeout,
    token_of,
    wait_callback,
    wait_for,
)  # fmt: skip

pytestmark = pytest.mark.anyio


@pytest.mark.req("TRIG-4.kept")
async def test_a_start_that_cannot_be_kept_is_refused_and_there_is_no_run(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.start(flow(step("a")), {}, run_id="run_1", idempotency_key="k")
        await asyncio.sleep(60)
        assert (await world.store.list_runs(RunFilter())).runs == ()
        assert engine.statistics()["runs_in_memory"] == 0
        with pytest.raises(NotFoundError):
            await engine.wait("run_1")
        assert world.calls == []
        again = await engine.start(flow(step("a")), {}, run_id="run_1", idempotency_key="k")
        assert (await engine.wait(again.run_id)).status == "succeeded"
    assert world.called == ["a"]


@pytest.mark.req("DUR-1.store-failure")
@pytest.mark.parametrize("lost", [1, 2, 5])
async def test_a_result_whose_commit_failed_is_decided_again_and_not_computed_again(world: World, lost: int) -> None:
    async def work(_params: dict, context: object) -> str:
        if world.called == ["a"]:
            world.store.fail_next(lost)
        return f"result {len(world.calls)}"

    world.action(work)
    async with world.open() as engine:
        state = await run(engine, flow(step("a"), step("b", params={"a": "$a"})))
        assert state.status == "succeeded"
        assert world.called == ["a", "b"]
        assert world.params[1] == {"a": "result 1"}
        kinds = [type(event) for event in await events_of(world, engine, state.run_id)]
        assert kinds.count(ev.StepStarted) == 2
        assert kinds.count(ev.StepSucceeded) == 2


@pytest.mark.req("DUR-1.store-failure")
async def test_everything_decided_on_a_lost_commit_is_decided_again(world: World) -> None:
    """Three branches end while the disk is stuck; then the first of the queued commits fails and with it the rest."""

    async def work(_params: dict, context: object) -> str:
        await asyncio.sleep(1)
        return "done"

    world.action(work)
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", step("a"), step("b"), step("c")), step("d")))
        await settle()
        world.store.hold()
        await asyncio.sleep(5)
        world.store.fail_next(1)
        world.store.release()
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        assert world.called == ["a", "b", "c", "d"]
        assert state.nodes[0].output == {"a": "done", "b": "done", "c": "done"}


@pytest.mark.req("DUR-1.persist-first")
async def test_no_attempt_is_made_before_its_start_is_kept(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        await engine.versions.keep(flow(step("a"), step("b")), "", 0)
        world.store.hold()
        starting = asyncio.create_task(engine.start(flow(step("a"), step("b")), {}))
        await asyncio.sleep(3600)
        assert world.called == []
        assert not starting.done()
        world.store.release()
        run_id = (await starting).run_id
        assert (await engine.wait(run_id)).status == "succeeded"


@pytest.mark.req("DUR-1.persist-first")
async def test_a_queued_attempt_is_not_made_as_its_successor_before_that_is_kept(world: World) -> None:
    """While an attempt queues for a place its time runs out; the next one is decided, but not kept yet, when the place
    gets free.
    """
    release = asyncio.Event()
    kept_at_call: list[int] = []

    async def work(_params: dict, context: object) -> str:
        kept_at_call.append((await state_of(engine, context.run_id)).nodes[0].attempt)  # type: ignore[attr-defined]
        return "done"

    world.action(work)
    world.action(scripted(lambda _p, _c: release.wait()), "block")
    async with world.open(max_attempts_in_flight=1) as engine:
        await start(engine, flow(step("b", use="block"), id="blocker"))
        run_id = await start(engine, flow(step("a", retry=retry(3, 0.0), timeout=timeout(2.0))))
        await settle()
        world.store.hold()
        await asyncio.sleep(3)
        release.set()
        await settle()
        assert world.called == ["b"]
        world.store.release()
        assert (await engine.wait(run_id)).status == "succeeded"
        assert world.called == ["b", "a"]
        assert world.calls[1][1].attempt == 2
        assert kept_at_call == [2]


@pytest.mark.req("TIME-2.attempt")
async def test_attempts_that_are_cancelled_before_they_begin_give_their_places_back(world: World) -> None:
    """The start and the cancellation are kept by one flush, so the attempt's task ends before its first step."""
    world.action(scripted("done"))
    async with world.open(max_attempts_in_flight=2) as engine:
        what = flow(wait_for("w", "10s"), step("a"))
        for _ in range(5):
            run_id = await start(engine, what)
            await settle()
            world.store.hold()
            await asyncio.sleep(10)
            cancelling = asyncio.create_task(engine.cancel(run_id))
            await settle()
            world.store.release()
            await cancelling
            assert (await engine.wait(run_id)).status == "cancelled"
            assert engine.statistics()["attempts_in_flight"] == 0
        assert world.called == []


@pytest.mark.req("CALL-2.resume")
async def test_a_signal_that_cannot_be_kept_is_refused_and_can_be_sent_again(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        token = await token_of(engine, run_id, "c")
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.callback(token, 1)
        with pytest.raises(StoreUnavailableError, match="cannot be written now"):
            await engine.callback(token, 2)
        await asyncio.sleep(10)
        await engine.callback(token, 3)
        state = await engine.wait(run_id)
        assert state.nodes[0].output == 3
    assert world.called == ["a"]


@pytest.mark.req("DUR-4.cancel")
async def test_a_cancellation_that_cannot_be_kept_does_not_happen(world: World) -> None:
    async def work(_params: dict, context: object) -> str:
        await asyncio.sleep(100)
        return "done"

    world.action(work)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await settle()
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.cancel(run_id)
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
    assert world.called == ["a"]


@pytest.mark.req("DUR-4.pause", "CALL-2.resume")
async def test_an_answer_that_builds_on_what_is_not_kept_waits_for_it(world: World) -> None:
    """Found by the simulator: a second pause was confirmed though the first one, by which it judged, was lost."""
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c")))
        await settle()
        token = await token_of(engine, run_id, "c")
        for ask, lost in ((lambda: engine.pause(run_id), True), (lambda: engine.callback(token, 1), True)):
            world.store.hold()
            if lost:
                world.store.fail_next(1)
            asking = [asyncio.create_task(ask()) for _ in range(3)]
            await asyncio.sleep(1)
            assert not any(one.done() for one in asking)
            world.store.release()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(one) for one in answers] == [StoreUnavailableError] * 3
            await asyncio.sleep(10)
        assert not (await state_of(engine, run_id)).paused
        answers = await asyncio.gather(*(engine.callback(token, n) for n in range(3)), return_exceptions=True)
        assert [type(one) for one in answers] == [str, ConflictError, ConflictError]
        assert (await engine.wait(run_id)).nodes[0].output == 0


@pytest.mark.req("TIME-1.attempts")
async def test_a_failed_attempt_whose_commit_failed_is_tried_again_on_time(world: World) -> None:
    def fails(_params: dict, _context: object) -> None:
        world.store.fail_next(1)
        raise StepError("busy", category="connection")

    world.action(scripted(fails, "done"))
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(2, 5.0))))
        assert statuses(state) == {"a": "succeeded"}
    assert [context.attempt for _, context in world.calls] == [1, 2]


@pytest.mark.req("DUR-1.store-failure")
async def test_timers_that_could_not_be_kept_fire_again(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "10s"), step("a")))
        await settle()
        world.store.fail_next(2)
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
    assert world.called == ["a"]


@pytest.mark.req("DUR-5.at-most-once")
async def test_a_takeover_whose_commit_failed_still_does_not_repeat_blindly(world: World) -> None:
    async def hangs(_params: dict, context: object) -> None:
        await asyncio.sleep(1_000_000)

    world.action(hangs)
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", step("once", at_most_once=True), step("again"), fail="wait")))
        await settle()
        await world.kill(engine)
    world.action(scripted("done"))
    world.calls.clear()
    engine = world.engine()
    world.store.fail_next(1)
    await engine.open()
    state = await engine.wait(run_id)
    assert statuses(state) == {"p": "unknown_outcome", "once": "unknown_outcome", "again": "succeeded"}
    assert world.called == ["again"]
    assert world.calls[0][1].attempt == 2
    await engine.close()


@pytest.mark.req("DUR-5.at-most-once", "DUR-4.pause")
async def test_a_lost_commit_of_a_paused_run_begins_nothing_of_its_dead_host(world: World) -> None:
    """Found by the simulator (seed 68): the reload after it took the dead host's attempt for its own."""

    async def hangs(_params: dict, context: object) -> None:
        await asyncio.sleep(1_000_000)

    world.action(hangs, effect="unsafe")
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await settle()
        await engine.pause(run_id)
        await world.kill(engine)
    async with world.open() as engine:
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.cancel(run_id)
        await asyncio.sleep(10)
        assert len(world.calls) == 1
        await engine.resume(run_id)
        state = await engine.wait(run_id)
        assert statuses(state) == {"a": "unknown_outcome"}
        assert len(world.calls) == 1


@pytest.mark.req("DUR-1.store-failure", "DUR-5.unknown-outcome")
async def test_a_result_that_a_lost_cancellation_made_pointless_counts_after_all(world: World) -> None:
    """Found by the simulator (seed 1268): the result was dropped with the cancellation, and the attempt made again."""

    async def work(_params: dict, context: object) -> str:
        await asyncio.sleep(10)
        return "done"

    world.action(work, effect="unsafe")
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await settle()
        world.store.hold()
        cancelling = asyncio.create_task(engine.cancel(run_id))
        await asyncio.sleep(20)
        world.store.fail_next(1)
        world.store.release()
        with pytest.raises(StoreUnavailableError):
            await cancelling
        state = await engine.wait(run_id)
        assert (state.status, state.outputs) == ("succeeded", "done")
        assert len(world.calls) == 1
