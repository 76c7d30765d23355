"""A host stops, of itself or by force; the next one takes up what it left."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from segue.engine.port import AttemptContext, Effect
from segue.errors import ConflictError, EngineError, StepError
from segue.kernel import events as ev
from unit.engine.kit import (
    World,
    events_of,
    flow,
    never,
    parallel,
    retry,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    timeout,
    token_of,
    view,
    wait_callback,
    wait_for,
)  # fmt: skip

pytestmark = pytest.mark.anyio


@pytest.mark.req("DUR-5.same-key", "DUR-1.completed-once")
@pytest.mark.parametrize("effect", ["safe", "keyed"])
async def test_an_interrupted_attempt_is_made_again_under_its_key_and_what_was_done_is_not(
    world: World, effect: Effect
) -> None:
    world.action(scripted("kept"))
    world.action(never, "slow", effect=effect)
    what = flow(step("a"), step("b", use="slow", params={"a": "$a", "id": "{{ uuid() }}"}), step("c"))
    async with world.open() as engine:
        run_id = await start(engine, what)
        await settle()
        await world.kill(engine)
    world.action(scripted("done"), "slow", effect=effect)
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        assert world.called == ["a", "b", "b", "c"]
        first, second = world.calls[1][1], world.calls[2][1]
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.idempotency_key == second.idempotency_key
        assert world.params[1] == world.params[2]
        kinds = [type(event) for event in await events_of(world, engine, run_id)]
        assert kinds.count(ev.HostRestarted) == 1
        assert kinds.count(ev.AttemptLost) == 1


@pytest.mark.req("DUR-5.at-most-once", "DUR-5.unknown-outcome")
@pytest.mark.parametrize("how", ["action", "step", "at_most_once"])
async def test_what_must_not_be_repeated_blindly_has_an_unknown_outcome_after_a_crash(world: World, how: str) -> None:
    world.action(never, effect="unsafe" if how == "action" else "keyed")
    settings: dict[str, Any] = {"step": {"idempotency": "unsafe"}, "at_most_once": {"at_most_once": True}}.get(how, {})
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a", retry=retry(5), **settings), step("b")))
        await settle()
        await world.kill(engine)
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert statuses(state) == {"a": "unknown_outcome", "b": "cancelled"} | {"b": statuses(state)["b"]}
        assert state.error is not None
        assert (state.error.category, state.error.code) == ("unknown_outcome", "host_stopped")
    assert world.called == ["a"]


@pytest.mark.req("DUR-5.unknown-outcome")
@pytest.mark.parametrize(
    ("raised", "sent", "category"),
    [
        (StepError("x", category="timeout"), True, "unknown_outcome"),
        (StepError("x", category="connection"), True, "unknown_outcome"),
        (StepError("x", category="connection"), False, "connection"),
        (StepError("x", category="http.500"), True, "http.500"),
        (StepError("x", category="dns"), True, "dns"),
        (TimeoutError("x"), True, "unknown_outcome"),
    ],
)
async def test_an_unsafe_call_without_an_answer_has_an_unknown_outcome_unless_it_was_never_sent(
    world: World, raised: Exception, sent: bool, category: str
) -> None:
    raised.sent = sent  # type: ignore[attr-defined]
    world.action(scripted(raised), effect="unsafe")
    async with world.open() as engine:
        state = await engine.wait(await start(engine, flow(step("a"))))
        assert state.error is not None
        assert state.error.category == category
    assert world.calls[0][1].unsafe


@pytest.mark.req("DUR-5.safe")
async def test_the_step_may_call_safe_what_its_action_calls_unsafe(world: World) -> None:
    world.action(scripted(StepError("x", category="timeout"), "done"), effect="unsafe")
    async with world.open() as engine:
        state = await engine.wait(await start(engine, flow(step("a", idempotency="safe", retry=retry(2)))))
        assert state.status == "succeeded"
        assert not world.calls[0][1].unsafe


async def test_an_effect_that_depends_on_the_parameters_is_asked_with_them_after_a_crash(world: World) -> None:
    def effect(params: Any) -> Effect:
        return "unsafe" if params.get("charge") else "safe"

    world.action(never, effect=effect)  # type: ignore[arg-type]
    async with world.open() as engine:
        run_id = await start(
            engine, flow(parallel("p", step("x", params={"charge": 1}), step("y", params={"charge": 0}), fail="wait"))
        )
        await settle()
        await world.kill(engine)
    world.action(scripted("done"), effect=effect)  # type: ignore[arg-type]
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert statuses(state) == {"p": "unknown_outcome", "x": "unknown_outcome", "y": "succeeded"}


@pytest.mark.req("DUR-1.kill")
async def test_a_step_in_flight_at_ten_crashes_is_taken_for_their_cause(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await settle()
        await world.kill(engine)
    for _ in range(20):
        engine = world.engine()
        await engine.open()
        await settle()
        if (await state_of(engine, run_id)).ended:
            break
        await world.kill(engine)
    state = await engine.wait(run_id)
    assert state.error is not None
    assert (state.error.category, state.error.code) == ("internal", "host_stopped")
    assert len(world.calls) == 10
    await engine.close()


@pytest.mark.req("DUR-1.kill", "DUR-4.pause")
async def test_a_paused_run_begins_its_interrupted_attempt_when_it_is_resumed_and_not_before(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", step("a"), wait_callback("c"))))
        await settle()
        await engine.pause(run_id)
        token = await token_of(engine, run_id, "c")
        await world.kill(engine)
    world.action(scripted("done"))
    async with world.open() as engine:
        await settle()
        await engine.callback(token, 1)
        await asyncio.sleep(3600)
        assert world.called == ["a"]
        await engine.resume(run_id)
        assert (await engine.wait(run_id)).status == "succeeded"
    assert world.called == ["a", "a"]


@pytest.mark.req("TIME-2.restart")
async def test_times_go_on_running_while_no_host_lives(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        ids = [
            await start(engine, flow(wait_for("w", "1h"))),
            await start(engine, flow(step("a", timeout=timeout(None, 600.0)))),
            await start(engine, flow(step("a"), timeout_seconds=700)),
            await start(engine, flow(wait_callback("c", expires=800))),
        ]
        await settle()
        await world.kill(engine)
    await asyncio.sleep(7200)
    async with world.open() as engine:
        begun = engine.now()
        states = [await engine.wait(one) for one in ids]
        assert [one.status for one in states] == ["succeeded", "failed", "timed_out", "failed"]
        assert {(one.finished_at or 0) - begun < 1_000 for one in states} == {True}


@pytest.mark.req("OPS-5.graceful")
async def test_closing_lets_attempts_end_and_starts_nothing_new(world: World) -> None:
    async def work(_params: dict, context: AttemptContext) -> str:
        await asyncio.sleep(5)
        return "done in time"

    world.action(work)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await settle()
        before = engine.now()
        await engine.close(grace_seconds=60)
        assert engine.closing
        assert engine.now() - before == 5_000
        assert world.called == ["a"]
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        assert ev.AttemptLost not in [type(event) for event in await events_of(world, engine, run_id)]
    assert world.called == ["a", "b"]


@pytest.mark.req("OPS-5.graceful")
async def test_closing_cuts_off_what_takes_longer_and_the_next_host_makes_it_again(world: World) -> None:
    ended: list[str] = []

    async def work(_params: dict, context: AttemptContext) -> str:
        context.log("info", f"attempt {context.attempt}")
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cut off")
            raise
        return "done"

    world.action(work)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await settle()
        before = engine.now()
        await engine.close(grace_seconds=10)
        assert engine.now() - before == 10_000
        assert ended == ["cut off"]
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        await settle()
        lines = await world.store.load_logs((await engine.record(run_id)).key)
        assert [line.message for _, line in lines] == ["attempt 1", "attempt 2"]


async def test_a_host_that_only_passes_a_word_on_carries_nothing_out(world: World) -> None:
    world.action(scripted("done"))
    engine = world.engine()
    await engine.open(adopt=False)
    run_id = await start(engine, flow(step("a")))
    await asyncio.sleep(100)
    assert world.called == []
    await engine.close()
    async with world.open() as engine:
        assert (await engine.wait(run_id)).status == "succeeded"
    assert world.called == ["a"]


@pytest.mark.req("DUR-6.quarantine", "DUR-6.others-go-on")
async def test_a_host_opens_although_runs_of_it_are_damaged(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        gap, version, good = [await start(engine, flow(step("a"), id=name)) for name in ("gap", "version", "good")]
        await settle()
        gap_key, record = (await engine.record(gap)).key, await engine.record(version)
        await world.kill(engine)
    world.store._journals[gap_key].pop(0)
    kept = world.store._flow_versions[record.flow_version]
    world.store._flow_versions[record.flow_version] = msgspec.structs.replace(kept, model=b'{"id": 5}')
    world.action(scripted("done"))
    async with world.open() as engine:
        assert (await engine.wait(good)).status == "succeeded"
        for run_id in (gap, version):
            assert (await engine.record(run_id)).status == "quarantined"
            with pytest.raises(EngineError, match="quarantined"):
                await engine.wait(run_id)
            with pytest.raises(ConflictError, match="quarantined"):
                await engine.cancel(run_id)
        assert engine.statistics()["runs_in_memory"] == 0


async def test_a_run_that_ends_while_it_is_loaded_does_not_stay_in_memory(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_for("w", "1h")))
        await settle()
        stale = await engine.record(run_id)
        await engine.cancel(run_id)
        run = await engine.loading.loaded(stale)
        assert run.state.ended
        assert engine.statistics()["runs_in_memory"] == 0
        assert (await engine.wait(run_id)).status == "cancelled"
        with pytest.raises(ConflictError):
            await engine.cancel(run_id)
        assert (await view(engine, run_id)).status == "cancelled"


@pytest.mark.req("DUR-5.unknown-outcome", "TIME-2.attempt")
@pytest.mark.parametrize("limit", ["attempt", "total"])
@pytest.mark.parametrize("how", ["action", "step", "at_most_once"])
async def test_an_unsafe_attempt_whose_time_ran_out_is_not_made_again(world: World, how: str, limit: str) -> None:
    world.action(never, effect="unsafe" if how == "action" else "keyed")
    settings: dict[str, Any] = {"step": {"idempotency": "unsafe"}, "at_most_once": {"at_most_once": True}}.get(how, {})
    async with world.open() as engine:
        limits = timeout(5.0) if limit == "attempt" else timeout(total=5.0)
        run_id = await start(engine, flow(step("a", retry=retry(5), timeout=limits, **settings)))
        state = await engine.wait(run_id)
        assert statuses(state) == {"a": "unknown_outcome"}
        assert state.error is not None
        assert (state.error.category, state.error.code) == ("unknown_outcome", f"{limit}_timeout")
        await settle()
        assert engine.statistics()["attempts_in_flight"] == 0
    assert world.called == ["a"]


@pytest.mark.req("DUR-5.unknown-outcome", "DUR-4.pause")
async def test_nor_is_one_whose_time_ran_out_in_a_pause(world: World) -> None:
    world.action(never, effect="unsafe")
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a", retry=retry(5), timeout=timeout(5.0))))
        await settle()
        await engine.pause(run_id)
        await asyncio.sleep(100)
        await engine.resume(run_id)
        assert statuses(await engine.wait(run_id)) == {"a": "unknown_outcome"}
    assert world.called == ["a"]
