"""Events between runs and from outside, and answers to the caller of a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.engine import bus
from segue.errors import RequestError, StoreUnavailableError
from segue.flow.model import Step
from unit.engine.kit import (
    World,
    flow,
    run,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    timeout,
    view,
    wait_for,
)

pytestmark = pytest.mark.anyio


def wait_event(id: str = "w", name: str = "paid", **settings: Any) -> Step:
    params = {"event": name, **{key: settings.pop(key) for key in ("where", "buffer") if key in settings}}
    return step(id, "wait", params=params, **settings)


def emits(id: str = "e", name: str = "paid", **params: Any) -> Step:
    return step(id, "emit", params={"event": name, **params})


@pytest.mark.req("EXEC-9.emit")
async def test_an_event_of_one_run_goes_to_every_step_that_waits_for_it(world: World) -> None:
    async with world.open() as engine:
        wants = flow(wait_event(where="$.id == inputs.id"), outputs="$w.sum")
        waiting = [await start(engine, wants, {"id": id}) for id in (1, 1, 2)]
        await settle()
        assert engine.statistics()["runs_in_memory"] == 0, "a run that waits for an event is a row"
        await run(engine, flow(emits(data={"id": 1, "sum": 7})))
        assert [(await engine.wait(one)).outputs for one in waiting[:2]] == [7, 7]
        await settle()
        assert (await engine.record(waiting[2])).status == "waiting"
        assert engine.statistics()["runs_in_memory"] == 0, "what it was offered in vain, it does not stay for"
        assert await world.store.events_open() == []
        assert [wait.run_key for wait in await world.store.event_waits("default", "paid")] == [3]


@pytest.mark.req("EXEC-9.publish")
async def test_an_event_from_outside_counts_once_however_often_it_is_sent(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_event("a"), wait_event("b", buffer="5m")))
        await settle()
        for data in (1, 2):
            assert await engine.publish("paid", data, id="shop-1") == "shop-1"
        await settle()
        state = await state_of(engine, run_id)
        assert (state.nodes[0].output, state.nodes[1].output) == (1, 1), "another step may take the same event"
        assert len(await world.store.events_since("default", "paid", 0)) == 1


@pytest.mark.req("EXEC-9.wait-event")
async def test_of_two_events_the_first_goes_to_the_step_that_waits(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_event("a"), wait_event("b")))
        await settle()
        await asyncio.gather(*(engine.publish("paid", number) for number in range(5)))
        await settle()
        assert (await state_of(engine, run_id)).nodes[0].output == 0


@pytest.mark.req("EXEC-9.wait-event-buffer")
async def test_with_a_buffer_an_event_that_came_before_counts_without_one_it_does_not(world: World) -> None:
    async with world.open() as engine:
        await engine.publish("paid", 1)
        await settle()
        world.clock.jump(60_000)
        assert (await run(engine, flow(wait_event(buffer="5m")))).outputs == 1
        late = flow(wait_event(timeout=timeout(5.0, on_timeout="continue")), outputs="$w")
        run_id = await start(engine, late)
        world.clock.jump(5_000)
        assert (await engine.wait(run_id)).outputs is None
        assert await world.store.event_waits("default", "paid") == []


async def test_what_a_run_sends_before_it_waits_it_does_not_take_itself(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(emits(), wait_event()))
        await settle()
        assert statuses(await state_of(engine, run_id)) == {"e": "succeeded", "w": "waiting"}
        assert (
            await run(engine, flow(emits(name="own", data=False), wait_event(name="own", buffer="1m")))
        ).outputs is False


@pytest.mark.req("DUR-1.events")
async def test_an_event_that_is_kept_is_delivered_by_the_next_host(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_event()))
        await settle()
    engine = world.engine()
    await engine.open(adopt=False)
    await engine.publish("paid", 7)
    await engine.close()
    async with world.open() as engine:
        assert (await engine.wait(run_id)).outputs == 7
        await settle()
        assert await world.store.events_open() == []


@pytest.mark.req("DUR-1.events")
async def test_a_buffered_wait_looks_back_again_after_a_crash(world: World) -> None:
    async with world.open() as engine:
        await engine.publish("paid", 7)
        await settle()
    engine = world.engine()
    await engine.open(adopt=False)
    world.clock.jump(1_000)
    engine.committing.starts = True  # decides, but looks at nothing: as a host that dies right after the commit
    run_id = await start(engine, flow(wait_event(buffer="5m")))
    assert (await engine.record(run_id)).status == "waiting"
    await engine.close()
    async with world.open() as engine:
        assert (await engine.wait(run_id)).outputs == 7


@pytest.mark.req("DUR-1.events")
async def test_an_event_whose_delivery_fails_is_offered_again(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_event()))
        await settle()
        world.store.hold()
        sent = asyncio.ensure_future(engine.publish("paid", 7))
        await settle()
        world.store.release()
        await sent
        world.store.fail_next(3)
        assert (await engine.wait(run_id)).outputs == 7
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.publish("paid", 8)


async def test_an_event_that_is_none_is_refused(world: World) -> None:
    async with world.open() as engine:
        for name, data, id in ((" ", 1, None), ("x" * 201, 1, None), ("x", 1, ""), ("x", "y" * 300_000, None)):
            with pytest.raises(RequestError):
                await engine.publish(name, data, id=id)
        ended = await run(engine, flow(step("s", "set", params={"x": "y" * 300_000}), emits(data="$s")))
        assert ended.error is not None
        assert ended.error.code == "event_too_large"


@pytest.mark.req("EXEC-9.events-bounded")
async def test_events_that_are_done_and_old_are_deleted(world: World) -> None:
    async with world.open() as engine:
        await engine.publish("paid", 1)
        await settle()
        world.clock.jump(bus.KEPT_MS + 1)
        await engine.publish("other", 2)
        await settle()
        assert await world.store.events_since("default", "paid", 0) == []
        assert len(await world.store.events_since("default", "other", 0)) == 1


async def test_an_event_of_an_odd_shape_leaves_a_line_in_the_log_of_the_run_that_did_not_take_it(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_event(where="$.amount > 3")))
        await settle()
        await engine.publish("paid", {"amount": "much"})
        await settle()
        record = await engine.record(run_id)
    lines = [row.message for _, row in await _logs(world, record.key)]
    assert record.status == "waiting"
    assert "was not taken: where" in lines[0]


async def _logs(world: World, key: int) -> Any:
    await world.store.open()
    return await world.store.load_logs(key)


# ---------------------------------------------------------------- answers to the caller


@pytest.mark.req("EXEC-9.respond")
async def test_the_caller_gets_its_answer_while_the_run_goes_on(world: World) -> None:
    world.action(scripted("x"))
    async with world.open() as engine:
        answers = flow(step("a"), step("r", "respond", params={"status": 201, "body": "$a"}), wait_for("w", "1h"))
        run_id = await start(engine, answers)
        assert (await engine.wait_for_response(run_id)).response == {"status": 201, "body": "x"}
        assert (await engine.record(run_id)).status == "waiting"
    async with world.open() as engine:
        assert (await engine.wait_for_response(run_id)).response == {"status": 201, "body": "x"}, "it can be read later"
        assert (await view(engine, run_id)).response == {"status": 201, "body": "x"}


@pytest.mark.req("EXEC-9.respond")
async def test_a_run_that_ends_without_an_answer_tells_its_end(world: World) -> None:
    world.action(scripted("x"))
    async with world.open() as engine:
        state = await engine.wait_for_response(await start(engine, flow(step("a"))))
        assert (state.response, state.outputs) == (None, "x")
