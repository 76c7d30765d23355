"""Results that are used again, actions that stand in for others, labels that a host must have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.errors import ConflictError, GoneError, StepError, TerminalError
from segue.flow.model import Cache, Callback, Fallback, Flow, Poll
from segue.kernel.reasons import explain_step
from unit.engine.kit import (
    World,
    flow,
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
)

pytestmark = pytest.mark.anyio


def cached(seconds: float = 3_600.0, key: str | None = None, **settings: Any) -> Flow:
    settings.setdefault("params", {"who": "$inputs.who"})
    return flow(step("a", cache=Cache(seconds=seconds, key=key), **settings))


@pytest.mark.req("EXEC-5.cache")
async def test_a_success_stands_for_later_calls_with_the_same_parameters(world: World) -> None:
    world.action(scripted(lambda *_: {"n": len(world.calls)}))
    async with world.open() as engine:
        first = await run(engine, cached(output="{{ $.n }}"), {"who": "x"})
        await world.kill(engine)
    async with world.open() as engine:
        again = await run(engine, cached(output="{{ $.n }}"), {"who": "x"})
        other = await run(engine, cached(output="{{ $.n }}"), {"who": "y"})
        assert [one.outputs for one in (first, again, other)] == [1, 1, 2]
        reason = explain_step(again, again.nodes[0], engine.now())
        assert reason.code == "step-succeeded-from-cache"
        assert reason.sentence.endswith(f"taken from the cache: the result of run {first.run_id}")
        await asyncio.sleep(3_600)
        assert (await run(engine, cached(output="{{ $.n }}"), {"who": "x"})).outputs == 3


@pytest.mark.req("EXEC-5.cache")
async def test_a_key_says_what_a_result_belongs_to(world: World) -> None:
    world.action(scripted(lambda *_: len(world.calls)))
    async with world.open() as engine:
        what = cached(key="inputs.team")
        given = [{"who": "x", "team": 1}, {"who": "y", "team": 1}, {"who": "x", "team": 2}]
        assert [(await run(engine, what, one)).outputs for one in given] == [1, 1, 2]
        # Another step, or the same one of another flow, has results of its own.
        assert (await run(engine, flow(*what.root.steps, id="g"), given[0])).outputs == 3


@pytest.mark.req("EXEC-5.cache")
async def test_failures_are_never_kept(world: World) -> None:
    world.action(scripted(TerminalError("no"), "done"))
    async with world.open() as engine:
        assert (await run(engine, cached())).status == "failed"
        assert (await run(engine, cached())).outputs == "done"
        assert len(world.calls) == 2


@pytest.mark.req("EXEC-5.cache", "DUR-8.payloads")
async def test_a_large_result_comes_back_as_it_was(world: World) -> None:
    world.action(scripted({"text": "ä" * 200_000}))
    async with world.open() as engine:
        first, again = await run(engine, cached()), await run(engine, cached())
        assert first.outputs == again.outputs
        assert len(world.calls) == 1


@pytest.mark.req("EXEC-5.cache")
async def test_what_a_secret_was_is_not_in_the_store(world: World) -> None:
    world.action(scripted("done"))
    secrets = {"token": {"from": "env:T"}}
    what = flow(step("a", cache=Cache(seconds=60.0), params={"t": "$secrets.token"}), secrets=secrets)
    async with world.open(environment={"T": "hidden value"}) as engine:
        assert [(await run(engine, what)).outputs for _ in range(2)] == ["done"] * 2
    assert len(world.calls) == 1
    assert "hidden value" not in repr(world.store._cache)


@pytest.mark.req("EXEC-5.fallback")
async def test_another_action_is_called_after_the_last_try_and_gives_the_output(world: World) -> None:
    world.action(scripted(StepError("down", category="connection")))
    world.action(scripted("sent by post"), name="post")
    what = flow(
        step("a", retry=retry(2), params={"to": "$inputs.to"}, fallback=(Fallback(use="post"),)),
        step("b", "set", params={"how": "$a"}),
    )
    async with world.open() as engine:
        state = await run(engine, what, {"to": "x"})
        assert state.status == "succeeded"
        assert state.outputs == {"how": "sent by post"}
        assert world.called == ["a", "a", "a"]
        assert world.params == [{"to": "x"}] * 3
        reason = explain_step(state, state.nodes[0], engine.now())
        assert reason.code == "step-succeeded-by-fallback"
        assert reason.sentence == "ended well: given by its fallback `post`, after connection: down"
    keys = [context.idempotency_key for _, context in world.calls]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.req("EXEC-5.fallback")
async def test_fallbacks_are_tried_in_order_each_with_its_own_parameters_and_tries(world: World) -> None:
    world.action(scripted(TerminalError("no", category="auth")))
    world.action(scripted(StepError("slow", category="timeout")), name="one")
    world.action(scripted(TerminalError("worse", category="validation")), name="two")
    fallbacks = (Fallback(use="one", params={"n": "{{ inputs.n + 1 }}"}), Fallback(use="two", params={"n": 9}))
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(2), params={"n": 1}, fallback=fallbacks)), {"n": 4})
        assert state.error is not None
        assert state.error.message == "worse"
        assert world.params == [{"n": 1}, {"n": 5}, {"n": 5}, {"n": 9}]


@pytest.mark.req("EXEC-5.fallback", "DUR-5.unknown-outcome")
async def test_nothing_stands_in_for_a_call_that_may_have_taken_effect(world: World) -> None:
    world.action(scripted(StepError("cut", category="connection")), effect="unsafe")
    world.action(scripted("done"), name="post")
    async with world.open() as engine:
        state = await run(engine, flow(step("a", fallback=(Fallback(use="post"),))))
        assert statuses(state) == {"a": "unknown_outcome"}
        assert len(world.calls) == 1


@pytest.mark.req("EXEC-5.fallback", "TIME-2.attempt")
async def test_a_fallback_goes_on_after_a_crash_and_has_the_time_of_an_attempt(world: World) -> None:
    world.action(scripted(TerminalError("no")))
    world.action(scripted(lambda *_: asyncio.sleep(100)), name="slow")
    world.action(scripted("done"), name="fast")
    what = flow(step("a", timeout=timeout(5.0), fallback=(Fallback(use="slow"), Fallback(use="fast"))))
    async with world.open() as engine:
        run_id = await start(engine, what)
        await settle()
        await world.kill(engine)
    async with world.open() as engine:
        begun = engine.now()
        state = await engine.wait(run_id)
        assert state.outputs == "done"
        assert (state.finished_at or 0) - begun == 5_000
    assert len(world.calls) == 4


def job(**settings: Any) -> Flow:
    """A call that starts an outside job and sleeps until the job calls back."""
    return flow(step("a", callback=Callback(expires_seconds=600.0), params={"who": "$inputs.who"}, **settings))


def polled(use: str | None = "state", **settings: Any) -> Flow:
    """A call that starts an outside job and asks how it goes; or only asks."""
    poll = Poll(
        use=use, success_condition="$.state == 'done'", failure_condition="$.state == 'broken'", interval_seconds=5.0,
        max_attempts=3,
    )  # fmt: skip
    return flow(step("a", poll=poll, params={"who": "$inputs.who"}, **settings))


@pytest.mark.req("EXEC-5.cache", "BAR-7")
async def test_what_a_job_called_back_with_stands_for_later_jobs_also_after_a_restart(world: World) -> None:
    world.action(scripted(lambda *_: {"job": len(world.calls)}))
    what = job(cache=Cache(seconds=3_600.0))
    async with world.open() as engine:
        first = await start(engine, what, {"who": "x"})
        await settle()
        token = await token_of(engine, first, "a")
        await world.kill(engine)
    async with world.open() as engine:
        await engine.callback(token, {"answer": 42})
        assert (await engine.wait(first)).outputs == {"answer": 42}
        again = await run(engine, what, {"who": "x"})
        assert again.outputs == {"answer": 42}
        assert len(world.calls) == 1
        reason = explain_step(again, again.nodes[0], engine.now())
        assert reason.sentence == f"ended well without a call: taken from the cache: the result of run {first}"
        with pytest.raises(ConflictError, match="does not wait"):
            await engine.callback(await token_of(engine, again.run_id, "a"), {"answer": 43})
        await start(engine, what, {"who": "y"})
        await settle()
        assert len(world.calls) == 2


@pytest.mark.req("EXEC-5.cache", "TIME-3.composite")
@pytest.mark.parametrize("use", ["state", None], ids=["a call of its own asks", "the same call asks"])
async def test_what_a_job_was_asked_out_of_stands_for_later_jobs_also_after_a_restart(
    world: World, use: str | None
) -> None:
    world.action(scripted({"state": "busy"}, {"state": "done", "n": 1}, {"state": "done", "n": 2}))
    world.action(scripted({"state": "busy"}, {"state": "done", "n": 1}), name="state")
    what = polled(use, cache=Cache(seconds=3_600.0))
    async with world.open() as engine:
        first = await start(engine, what, {"who": "x"})
        await asyncio.sleep(1.0)
        await world.kill(engine)
    async with world.open() as engine:
        assert (await engine.wait(first)).outputs == {"state": "done", "n": 1}
        calls = len(world.calls)
        assert (await run(engine, what, {"who": "x"})).outputs == {"state": "done", "n": 1}
        assert len(world.calls) == calls


@pytest.mark.req("EXEC-5.cache")
async def test_a_job_that_failed_or_was_stood_in_for_is_not_kept(world: World) -> None:
    world.action(scripted({"id": 1}))
    world.action(scripted({"state": "broken"}, {"state": "broken"}, {"state": "done"}), name="state")
    world.action(scripted("by hand"), name="post")
    async with world.open() as engine:
        with_post = polled(cache=Cache(seconds=3_600.0), fallback=(Fallback(use="post"),))
        assert (await run(engine, with_post, {"who": "x"})).outputs == "by hand"
        assert (await run(engine, with_post, {"who": "x"})).outputs == "by hand"
        assert (await run(engine, with_post, {"who": "x"})).outputs == {"state": "done"}


@pytest.mark.req("EXEC-5.fallback", "BAR-7")
@pytest.mark.parametrize("begun", [True, False], ids=["the job never answers", "the job cannot be started"])
async def test_a_fallback_stands_in_for_a_job_and_what_the_job_says_afterwards_does_not_count(
    world: World, begun: bool
) -> None:
    world.action(scripted({"id": 1} if begun else StepError("down", category="connection")))
    world.action(scripted("by hand"), name="post")
    what = flow(*job(fallback=(Fallback(use="post"),)).root.steps, step("b", "wait", params={"duration": "1h"}))
    async with world.open() as engine:
        run_id = await start(engine, what, {"who": "x"})
        await settle()
        token = await token_of(engine, run_id, "a")
        await asyncio.sleep(600.0)
        await settle()
        state = await state_of(engine, run_id)
        assert statuses(state) == {"a": "succeeded", "b": "waiting"}
        assert state.nodes[0].output == "by hand"
        assert world.called == ["a", "a"]
        with pytest.raises(GoneError if begun else ConflictError):
            await engine.callback(token, {"answer": 42})
        reason = explain_step(state, state.nodes[0], engine.now())
        cause = "timeout: no callback came within 600 s" if begun else "connection: down"
        assert reason.sentence == f"ended well: given by its fallback `post`, after {cause}"


@pytest.mark.req("EXEC-5.fallback", "TIME-3.failure-condition")
@pytest.mark.parametrize("state", ["broken", "busy"])
async def test_a_fallback_stands_in_for_a_job_that_broke_or_was_never_done(world: World, state: str) -> None:
    world.action(scripted({"id": 1}))
    world.action(scripted({"state": state}), name="state")
    world.action(scripted(StepError("cut", category="connection"), {"state": "this is not asked about"}), name="post")
    async with world.open() as engine:
        ended = await run(engine, polled(retry=retry(2), fallback=(Fallback(use="post"),)), {"who": "x"})
        assert ended.outputs == {"state": "this is not asked about"}
        assert len(world.calls) == 1 + (1 if state == "broken" else 3) + 2
        assert not ended.timers


@pytest.mark.req("EXEC-5.fallback", "DUR-2")
async def test_a_fallback_for_a_job_goes_on_after_a_crash(world: World) -> None:
    world.action(scripted({"id": 1}))
    world.action(scripted(lambda *_: asyncio.sleep(100), "by hand"), name="post")
    async with world.open() as engine:
        run_id = await start(engine, job(fallback=(Fallback(use="post"),)), {"who": "x"})
        await asyncio.sleep(601.0)
        await world.kill(engine)
    async with world.open() as engine:
        assert (await engine.wait(run_id)).outputs == "by hand"
    assert world.called == ["a", "a", "a"]


@pytest.mark.req("BAR-7.early")
@pytest.mark.parametrize("category", ["timeout", "validation"])
async def test_an_answer_that_came_early_counts_also_when_the_call_that_started_the_job_fails(
    world: World, category: str
) -> None:
    answered = asyncio.Event()

    async def cut(*_: object) -> None:
        await answered.wait()
        raise StepError("cut", category=category)

    world.action(scripted(cut))
    async with world.open() as engine:
        run_id = await start(engine, job(retry=retry(3)), {"who": "x"})
        await settle()
        await engine.callback(await token_of(engine, run_id, "a"), {"answer": 42})
        answered.set()
        state = await engine.wait(run_id)
        assert (state.status, state.outputs) == ("succeeded", {"answer": 42})
        assert len(world.calls) == 1


@pytest.mark.req("EXEC-5.runs-on")
async def test_a_step_waits_for_a_host_that_has_its_labels(world: World) -> None:
    world.action(scripted("done"))
    what = flow(step("a", runs_on=("gpu", "eu")))
    async with world.open(labels=["gpu"]) as engine:
        run_id = await start(engine, what)
        await settle()
        assert engine.parked() == {run_id: "eu"}
        lines = await world.store.load_logs((await engine.record(run_id)).key)
        assert world.called == []
        await asyncio.sleep(1)
        lines = await world.store.load_logs((await engine.record(run_id)).key)
        message = "this host does not have the label 'eu' that `runs_on` asks for; the step waits for one that has it"
        assert [line.message for _, line in lines] == [message]
    async with world.open(labels=["eu", "gpu"]) as engine:
        assert (await engine.wait(run_id)).outputs == "done"
