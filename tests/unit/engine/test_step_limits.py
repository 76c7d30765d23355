"""Limits of a step: so many of its attempts in flight at once, over all runs of the host."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.engine.port import AttemptContext
from segue.errors import StepError
from segue.flow.model import Block, Callback, Fallback, Limits, Poll, Step
from segue.kernel.reasons import explain_run, explain_step
from unit.engine.kit import World, flow, retry, scripted, settle, start, state_of, statuses, step

pytestmark = pytest.mark.anyio


class Crowd:
    """An action that takes ten seconds and counts who is in it."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.now: dict[Any, int] = {}
        self.most: dict[Any, int] = {}
        self.seconds = seconds

    async def __call__(self, params: dict[str, Any], _context: AttemptContext) -> str:
        key = params.get("key")
        self.now[key] = self.now.get(key, 0) + 1
        self.most[key] = max(self.most.get(key, 0), self.now[key])
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now[key] -= 1
        return "done"


def limited(number: int | None = 1, **settings: Any) -> Step:
    given = {name: settings.pop(name) for name in ("key", "on_full", "rate_count", "rate_seconds") if name in settings}
    return step("a", limits=Limits(concurrency=number, **given), **settings)


async def reasons(engine: Any, run_id: str) -> tuple[str, str]:
    state = await state_of(engine, run_id)
    return explain_step(state, state.nodes[0], engine.now()).sentence, explain_run(state, engine.now()).code


@pytest.mark.req("EXEC-5.step-limits")
async def test_attempts_over_all_runs_are_never_more_than_the_limit(world: World) -> None:
    crowd = Crowd()
    world.action(crowd)
    async with world.open() as engine:
        begun = engine.now()
        ids = [await start(engine, flow(limited(3))) for _ in range(10)]
        await settle()
        assert statuses(await state_of(engine, ids[3])) == {"a": "waiting"}
        assert await reasons(engine, ids[3]) == ("waits for a slot (at most 3 at once)", "run-waiting-slot")
        assert engine.statistics()["runs_in_memory"] == 3
        ended = [await engine.wait(one) for one in ids]
        assert crowd.most == {None: 3}
        assert [round(((one.finished_at or 0) - begun) / 10_000) for one in ended] == [1] * 3 + [2] * 3 + [3] * 3 + [4]


@pytest.mark.req("EXEC-5.step-limits")
async def test_attempts_are_counted_by_key(world: World) -> None:
    crowd = Crowd()
    world.action(crowd)
    what = flow(limited(1, key="inputs.who", params={"key": "$inputs.who"}))
    async with world.open() as engine:
        ids = [await start(engine, what, {"who": who}) for who in ("x", "y", "x", "y", "x")]
        await settle()
        assert crowd.now == {"x": 1, "y": 1}
        assert (await reasons(engine, ids[2]))[0] == 'waits for a slot (at most 1 at once for key "x")'
        for one in ids:
            await engine.wait(one)
        assert crowd.most == {"x": 1, "y": 1}


@pytest.mark.req("EXEC-5.step-limits", "DUR-1.limits")
async def test_after_the_death_of_the_host_the_slots_are_given_anew(world: World) -> None:
    world.action(Crowd())
    async with world.open() as engine:
        ids = [await start(engine, flow(limited(2))) for _ in range(5)]
        await asyncio.sleep(5)
        await world.kill(engine)
    crowd = Crowd()
    world.action(crowd)
    async with world.open() as engine:
        await settle()
        assert crowd.now == {None: 2}
        for one in ids:
            state = await engine.wait(one)
            assert state.status == "succeeded"
        assert crowd.most == {None: 2}
        assert await engine.store.awaited_slots() == []


@pytest.mark.req("EXEC-5.step-limits")
async def test_a_retry_and_a_poll_ask_for_a_slot_again(world: World) -> None:
    world.action(scripted(StepError("x", category="connection"), "done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(limited(1, retry=retry(3, 60.0))))
        await asyncio.sleep(30)
        other = await start(engine, flow(limited(1), id="f"))
        assert (await engine.wait(other)).status == "succeeded"  # who waits for the next try holds no slot
        assert (await engine.wait(run_id)).nodes[0].tries == 2
        world.action(scripted("not yet", "not yet", "done"))
        poll = limited(1, kind="poll", use="work", poll=Poll(success_condition="$ == 'done'", interval_seconds=5.0))
        state = await engine.wait(await start(engine, flow(poll, id="g")))
        assert (state.status, state.nodes[0].polls, state.nodes[0].tries) == ("succeeded", 2, 1)


@pytest.mark.req("EXEC-5.step-limits", "EXEC-5.fallback")
async def test_a_fallback_for_a_job_that_never_answered_waits_for_a_slot_of_its_own(world: World) -> None:
    world.action(scripted({"id": 1}))
    post = Crowd()
    world.action(post, name="post")
    callback, fallback = Callback(expires_seconds=60.0), (Fallback(use="post"),)
    what = flow(limited(1, callback=callback, fallback=fallback, retry=retry(2)))
    async with world.open() as engine:
        ids = [await start(engine, what) for _ in range(3)]
        await asyncio.sleep(61.0)
        assert post.now == {None: 1}
        assert sorted([(await reasons(engine, one))[1] for one in ids]) == ["run-in-flight"] + ["run-waiting-slot"] * 2
        await world.kill(engine)
    async with world.open() as engine:
        ended = [await engine.wait(one) for one in ids]
        assert [one.outputs for one in ended] == ["done"] * 3
        assert [one.nodes[0].tries for one in ended] == [1, 1, 1]
        assert post.most == {None: 1}


@pytest.mark.req("EXEC-5.on-full")
@pytest.mark.parametrize(
    ("on_full", "status", "sentence"),
    [
        ("skip", "skipped", "skipped: 1 of 1 slots of `a` are taken"),
        ("reject", "failed", "failed: 1 of 1 slots of `a` are taken"),
    ],
)
async def test_a_step_without_a_slot_may_be_skipped_or_fail(
    world: World, on_full: str, status: str, sentence: str
) -> None:
    world.action(Crowd())
    async with world.open() as engine:
        first = await start(engine, flow(limited(1, on_full=on_full)))
        second = await engine.wait(await start(engine, flow(limited(1, on_full=on_full))))
        assert statuses(second) == {"a": status}
        assert explain_step(second, second.nodes[0], engine.now()).sentence == sentence
        if status == "failed":
            assert second.error is not None
            assert (second.error.category, second.error.code) == ("rate_limit", "limit_reached")
        assert (await engine.wait(first)).status == "succeeded"


@pytest.mark.req("EXEC-5.on-full")
@pytest.mark.parametrize(("effect", "status"), [("keyed", "failed"), ("unsafe", "unknown_outcome")])
async def test_a_newer_attempt_may_take_the_slot_of_the_oldest(world: World, effect: Any, status: str) -> None:
    world.action(Crowd(), effect=effect)
    async with world.open() as engine:
        what = flow(limited(1, on_full="replace", retry=retry(3)))
        first, second = await start(engine, what), await start(engine, what)
        state = await engine.wait(first)
        assert statuses(state) == {"a": status}
        assert state.nodes[0].error is not None
        assert state.nodes[0].error.message == f"its slot went to run {second}"
        assert (await engine.wait(second)).status == "succeeded"
        assert len(world.calls) == 2


@pytest.mark.req("EXEC-5.rate", "DUR-1.limits")
async def test_a_rate_holds_over_runs_and_restarts(world: World) -> None:
    world.action(scripted("done"))
    what = flow(limited(None, rate_count=3, rate_seconds=60.0))
    async with world.open() as engine:
        begun = engine.now()
        ids = [await start(engine, what) for _ in range(4)]
        await settle()
        assert (await reasons(engine, ids[3]))[0] == "waits for a slot (at most 3 within 1m)"
        await world.kill(engine)
    async with world.open() as engine:
        ids += [await start(engine, what) for _ in range(4)]
        ended = [await engine.wait(one) for one in ids]
        assert [round(((one.nodes[0].started_at or 0) - begun) / 1000) for one in ended] == [0] * 3 + [60] * 3 + [
            120
        ] * 2


@pytest.mark.req("DUR-4.pause", "EXEC-5.step-limits")
async def test_a_paused_run_lets_others_pass_and_asks_again_when_it_is_resumed(world: World) -> None:
    crowd = Crowd()
    world.action(crowd)
    async with world.open() as engine:
        ids = [await start(engine, flow(limited(1))) for _ in range(3)]
        await engine.pause(ids[1])
        assert (await engine.wait(ids[2])).status == "succeeded"
        assert statuses(await state_of(engine, ids[1])) == {"a": "waiting"}
        await engine.resume(ids[1])
        assert (await engine.wait(ids[1])).status == "succeeded"
        assert crowd.most == {None: 1}


@pytest.mark.req("EXEC-5.step-limits")
async def test_a_cancelled_run_leaves_the_queue_and_gives_its_slot_back(world: World) -> None:
    world.action(Crowd())
    async with world.open() as engine:
        begun = engine.now()
        ids = [await start(engine, flow(limited(1))) for _ in range(3)]
        await settle()
        await engine.cancel(ids[1])
        await engine.cancel(ids[0])
        state = await engine.wait(ids[2])
        assert (state.finished_at or 0) - begun == 10_000
        assert await engine.store.awaited_slots() == []


@pytest.mark.req("DUR-1.limits")
async def test_commits_that_fail_neither_lose_nor_double_a_slot(world: World) -> None:
    crowd = Crowd(1.0)
    world.action(crowd)
    async with world.open() as engine:
        ids = [await start(engine, flow(limited(2))) for _ in range(8)]
        for _ in range(10):
            world.store.fail_next(2)
            await asyncio.sleep(0.7)
        assert {(await engine.wait(one)).status.value for one in ids} == {"succeeded"}
        assert crowd.most == {None: 2}


@pytest.mark.req("EXEC-5.step-limits", "EXEC-11.finally")
async def test_a_step_that_was_refused_a_slot_is_given_none_while_its_finally_runs(world: World) -> None:
    world.action(Crowd())
    tidy = Block(label="finally", steps=(step("tidy", kind="wait", use=None, params={"duration": 60.0}),))
    refused = limited(1, on_full="reject", finally_=tidy)
    async with world.open() as engine:
        first, second = await start(engine, flow(limited())), await start(engine, flow(refused))
        await engine.wait(first)
        assert statuses(await state_of(engine, second)) == {"a": "running", "a.finally.tidy": "waiting"}
        assert await engine.store.awaited_slots() == []
        assert statuses(await engine.wait(second)) == {"a": "failed", "a.finally.tidy": "succeeded"}
    assert len(world.calls) == 1


@pytest.mark.req("DUR-6.quarantine", "EXEC-5.step-limits")
async def test_a_run_that_is_set_aside_is_given_no_slot_until_it_is_rolled_back(world: World) -> None:
    world.action(Crowd())
    async with world.open() as engine:
        first, second = [await start(engine, flow(limited())) for _ in range(2)]
        await settle()
        record = await engine.record(second)
        engine.committing.set_aside(record.key, second, record.started_at, None, "it does not fold")
        await engine.wait(first)
        await settle()
        assert (await engine.record(second)).status == "quarantined"
        assert await engine.store.awaited_slots() == []
        await engine.second_chances.rollback(second)
        assert (await engine.wait(second)).status == "succeeded"


@pytest.mark.req("EXEC-5.strategies", "EXEC-5.step-limits")
async def test_under_the_strategy_sequential_a_step_that_waits_for_a_slot_keeps_its_turn(world: World) -> None:
    world.action(Crowd())
    async with world.open() as engine:
        await start(engine, flow(limited(1)))
        body = flow(root=_side_by_side(limited(1), step("b")), strategy="sequential")
        run_id = await start(engine, body)
        await asyncio.sleep(5)
        assert statuses(await state_of(engine, run_id)) == {"a": "waiting", "b": "ready"}
        assert (await engine.wait(run_id)).status == "succeeded"


def _side_by_side(*steps: Step) -> Any:
    from segue.flow.model import Block

    return Block(label="root", steps=steps)
