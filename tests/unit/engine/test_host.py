"""A run from its start to its end, and what a caller sees of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.errors import ConflictError, EngineError, NotFoundError, RequestError
from segue.store.port import RunFilter
from unit.engine.kit import (
    World,
    flow,
    never,
    parallel,
    run,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    wait_callback,
    wait_for,
)  # fmt: skip

pytestmark = pytest.mark.anyio


@pytest.mark.req("EXEC-9.wait", "TIME-4.months")
async def test_a_wait_of_three_months_costs_no_memory_and_ends_on_time(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        begun = engine.now()
        run_id = await start(engine, flow(step("a"), wait_for("w", "90d"), step("b")))
        waiting = asyncio.create_task(engine.wait(run_id))
        await asyncio.sleep(86_400)
        assert engine.statistics()["runs_in_memory"] == 0
        state = await waiting
        assert state.status == "succeeded"
        assert state.finished_at == begun + 90 * 86_400_000
        assert world.called == ["a", "b"]
    assert statuses(state) == {"a": "succeeded", "w": "succeeded", "b": "succeeded"}


@pytest.mark.req("TRIG-4.kept")
async def test_an_accepted_run_is_in_the_store_when_start_returns(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        started = await engine.start(flow(step("a")), {"x": 1}, trigger={"kind": "webhook"})
        record = await world.store.get_run(started.run_id)
        assert record is not None
        assert (record.status, record.trigger, record.flow_id) == ("running", "webhook", "f")
        rows = await world.store.load_journal(record.key)
        assert [row.kind for row in rows] == [1, 2, 20]


@pytest.mark.req("API-1.idempotency")
async def test_the_same_key_and_request_give_the_same_run(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        first = await engine.start(flow(step("a")), {"x": 1}, idempotency_key="k", request_digest="d")
        again = await engine.start(flow(step("a")), {"x": 1}, idempotency_key="k", request_digest="d")
        assert not first.repeated
        assert again.repeated
        assert again.run_id == first.run_id
        await engine.wait(first.run_id)
    assert world.called == ["a"]


@pytest.mark.req("API-1.idempotency")
@pytest.mark.parametrize("digest", ["given", None])
async def test_the_same_key_with_another_request_is_a_conflict(world: World, digest: str | None) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        await engine.start(flow(step("a")), {"x": 1}, idempotency_key="k", request_digest=digest and "d1")
        with pytest.raises(ConflictError, match="another request"):
            await engine.start(flow(step("a")), {"x": 2}, idempotency_key="k", request_digest=digest and "d2")
        with pytest.raises(ConflictError, match="another request"):
            await engine.start(flow(step("b")), {"x": 1}, idempotency_key="k", request_digest=digest and "d3")
        assert len((await world.store.list_runs(RunFilter())).runs) == 1


@pytest.mark.req("API-1.idempotency")
async def test_concurrent_starts_with_one_key_give_one_run(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        started = await asyncio.gather(
            *(engine.start(flow(step("a")), {}, idempotency_key="k", request_digest="d") for _ in range(20))
        )
        assert len({one.run_id for one in started}) == 1
        assert sum(not one.repeated for one in started) == 1
        await engine.wait(started[0].run_id)
        assert engine.statistics()["runs_in_memory"] == 0
    assert world.called == ["a"]


@pytest.mark.req("API-1.idempotency")
async def test_a_key_is_free_again_after_a_day(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        first = await engine.start(flow(step("a")), {}, idempotency_key="k", request_digest="d")
        await asyncio.sleep(86_399)
        assert (await engine.start(flow(step("a")), {}, idempotency_key="k", request_digest="d")).repeated
        await asyncio.sleep(2)
        later = await engine.start(flow(step("a")), {}, idempotency_key="k", request_digest="d")
        assert not later.repeated
        assert later.run_id != first.run_id


@pytest.mark.req("API-1.idempotency")
async def test_keys_of_two_workspaces_do_not_meet(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        one = await engine.start(flow(step("a")), {}, workspace="w1", idempotency_key="k")
        two = await engine.start(flow(step("a")), {}, workspace="w2", idempotency_key="k")
        assert one.run_id != two.run_id


@pytest.mark.req("FLOW-7.immutable")
async def test_a_version_is_kept_once_however_often_it_is_run(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        first = await engine.record(await start(engine, flow(step("a"))))
        again = await engine.record(await start(engine, flow(step("a"))))
        other = await engine.record(await start(engine, flow(step("b"))))
        assert first.flow_version == again.flow_version != other.flow_version
    async with world.open() as engine:
        later = await engine.record(await start(engine, flow(step("a"))))
        assert later.flow_version == first.flow_version


async def test_wait_gives_an_ended_run_at_once_and_an_unknown_one_an_error(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        state = await run(engine, flow(step("a")))
        again = await engine.wait(state.run_id)
        assert (again.status, again.outputs) == ("succeeded", "done")
        with pytest.raises(NotFoundError, match="run_nothing"):
            await engine.wait("run_nothing")


async def test_every_waiter_of_a_run_is_told(world: World) -> None:
    release = asyncio.Event()
    world.action(scripted(lambda _p, _c: release.wait()))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        waiters = [asyncio.create_task(engine.wait(run_id)) for _ in range(3)]
        given_up = asyncio.create_task(engine.wait(run_id))
        await settle()
        given_up.cancel()
        release.set()
        assert [one.status for one in await asyncio.gather(*waiters)] == ["succeeded"] * 3
        assert engine.residents.waited_for == 0


async def test_wait_says_so_when_the_engine_closes_first(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        waiting = asyncio.create_task(engine.wait(await start(engine, flow(step("a")))))
        await settle()
        await engine.close(grace_seconds=0)
        with pytest.raises(EngineError, match="goes on at its next start"):
            await waiting


async def test_an_engine_that_is_not_open_takes_nothing(world: World) -> None:
    engine = world.engine()
    with pytest.raises(EngineError, match="not open"):
        await engine.start(flow(step("a")), {})
    await engine.open()
    await engine.close()
    await engine.close()
    with pytest.raises(EngineError, match="being closed"):
        await engine.start(flow(step("a")), {})
    with pytest.raises(EngineError, match="being closed"):
        await engine.cancel("run_x")


@pytest.mark.req("API-7.embedded")
async def test_inputs_and_signals_that_are_no_json_are_refused_and_leave_nothing_behind(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        with pytest.raises(RequestError, match="inputs"):
            await engine.start(flow(step("a")), {"x": object()})  # pyright: ignore[reportArgumentType]
        assert engine.statistics()["runs_in_memory"] == 0
        assert (await world.store.list_runs(RunFilter())).runs == ()

        run_id = await start(engine, flow(wait_callback("w"), step("a")))
        await settle()
        token = engine.callback_token(run_id, (await state_of(engine, run_id)).nodes[0])
        with pytest.raises(RequestError, match="payload"):
            await engine.callback(token, object())  # pyright: ignore[reportArgumentType]
        await engine.callback(token, {"at": (1, 2)})  # pyright: ignore[reportArgumentType]
        state = await engine.wait(run_id)
        assert state.nodes[0].output == {"at": [1, 2]}


async def test_a_callers_later_changes_of_its_inputs_do_not_reach_the_run(world: World) -> None:
    world.action(scripted("done"))
    inputs: dict[str, Any] = {"x": [1], "a": 2}
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "10s"), step("a", params={"x": "$inputs.x"})), inputs)
        inputs["x"].append(2)
        assert list((await engine.wait(run_id)).inputs) == ["x", "a"]
    assert world.params == [{"x": [1]}]


async def test_a_watcher_hears_of_every_commit_until_it_is_forgotten(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        event = asyncio.Event()
        run_id = await start(engine, flow(wait_for("w", "1m"), step("a")), run_id="run_1")
        await engine.changed(run_id, event)
        await engine.wait(run_id)
        assert event.is_set()
        engine.forget(run_id, event)
        assert engine.residents.watchers == {}
        engine.forget(run_id, event)


@pytest.mark.req("DUR-2.past")
async def test_the_state_as_of_every_past_event_can_be_had(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        record = await engine.record((await run(engine, flow(step("a"), step("b")))).run_id)
        seen = [await engine.state(record, upto_seq=seq) for seq in range(7)]
        assert [one.status.value for one in (seen[0], seen[1], seen[6])] == ["queued", "running", "succeeded"]
        assert [statuses(one).get("a") for one in seen] == [None, "ready", "running"] + ["succeeded"] * 4
        assert statuses(seen[3]) == {"a": "succeeded", "b": "ready"}


@pytest.mark.req("DUR-4.cancel")
async def test_cancelling_ends_attempts_at_once_and_their_late_results_change_nothing(world: World) -> None:
    ended: list[str] = []

    async def stubborn(_params: dict, context: object) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
        return "too late"

    world.action(stubborn)
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", step("a"), step("b")), step("c")))
        await settle()
        await engine.cancel(run_id, "not needed")
        state = await engine.wait(run_id)
        await settle()
        assert ended == ["cancelled", "cancelled"]
        assert state.status == "cancelled"
        assert statuses(await state_of(engine, run_id)) == {"p": "cancelled", "a": "cancelled", "b": "cancelled"} | {
            "c": "pending"
        }
        assert engine.statistics() == {"runs_in_memory": 0, "attempts_in_flight": 0, "attempts_queued": 0}
        with pytest.raises(ConflictError, match="over already"):
            await engine.cancel(run_id)


@pytest.mark.req("DUR-4.pause")
async def test_a_paused_run_keeps_what_is_in_flight_and_starts_nothing_new(world: World) -> None:
    release = asyncio.Event()

    async def held(_params: dict, _context: object) -> str:
        await release.wait()
        return "kept"

    world.action(held)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await settle()
        await engine.pause(run_id, "look first")
        release.set()
        await asyncio.sleep(3600)
        state = await state_of(engine, run_id)
        assert statuses(state) == {"a": "succeeded", "b": "ready"}
        assert state.status == "paused"
        assert world.called == ["a"]
        await engine.resume(run_id)
        assert (await engine.wait(run_id)).status == "succeeded"
        assert world.called == ["a", "b"]


@pytest.mark.req("DUR-4.pause")
async def test_a_timer_that_passes_in_a_pause_fires_when_the_run_is_resumed(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1m"), step("a")))
        await engine.pause(run_id)
        await asyncio.sleep(3600)
        assert world.called == []
        await engine.resume(run_id)
        assert (await engine.wait(run_id)).status == "succeeded"
        with pytest.raises(ConflictError):
            await engine.resume(run_id)


async def test_no_more_attempts_are_in_flight_than_allowed_and_every_one_has_its_turn(world: World) -> None:
    most = 0

    async def count(_params: dict, _context: object) -> None:
        nonlocal most
        most = max(most, engine.statistics()["attempts_in_flight"])
        await asyncio.sleep(1)

    world.action(count)
    async with world.open(max_attempts_in_flight=3) as engine:
        ids = [await start(engine, flow(parallel("p", *(step(f"s{n}") for n in range(4))))) for _ in range(5)]
        await settle()
        assert engine.statistics() == {"runs_in_memory": 5, "attempts_in_flight": 3, "attempts_queued": 17}
        await engine.cancel(ids[2])
        states = [await engine.wait(one) for one in ids]
        assert [one.status for one in states] == ["succeeded", "succeeded", "cancelled", "succeeded", "succeeded"]
        assert most == 3
        await settle()
        assert engine.statistics()["attempts_queued"] == 0
    assert len(world.calls) == 16
