"""What becomes of an attempt: its result, its error, its time, its log."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
import socket
import sys
from decimal import Decimal
from typing import Any

import pytest

from segue.engine import attempts, values
from segue.engine.port import AttemptContext
from segue.errors import StepError, TerminalError
from segue.kernel.state import RunState, StepState
from unit.engine.kit import (
    World,
    flow,
    never,
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
    view,
)  # fmt: skip

pytestmark = pytest.mark.anyio


def only(state: RunState) -> StepState:
    return state.nodes[0]


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.req("EXEC-9.python")
@pytest.mark.parametrize(
    ("result", "kept"),
    [
        (None, None),
        (True, True),
        (0, 0),
        ("ü", "ü"),
        ((1, 2), [1, 2]),
        ({"a": {1}}, {"a": [1]}),
        ({1: "x"}, {"1": "x"}),
        (Point(1), {"x": 1}),
        (Decimal("1.50"), "1.50"),
        (datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC), "2027-01-01T00:00:00Z"),
        (b"\x00\x01", "AAE="),
        # As JSON.stringify has it (ECMA-262, 25.5.2): JSON knows no such numbers.
        (float("nan"), None),
        ([float("inf")], [None]),
        (2**63, 2**63),
        (10**40, 10**40),
        (-(10**40), -(10**40)),
    ],
)
async def test_a_result_is_kept_as_the_json_that_a_restart_would_find(world: World, result: Any, kept: Any) -> None:
    world.action(scripted(result))
    async with world.open() as engine:
        state = await run(engine, flow(step("a"), step("b", params={"given": "$a"})))
        assert state.status == "succeeded"
        assert only(state).output == kept
        assert world.params[1] == {"given": kept}
        assert only(await state_of(engine, state.run_id)).output == kept


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize(
    "result",
    [object(), {(1, 2): 3}, "\ud800", (x for x in ()), print, 10**5000, asyncio.Event, 1j],
    ids=["object", "tuple-key", "surrogate", "generator", "function", "huge", "class", "complex"],
)
async def test_a_result_that_is_no_json_fails_for_good_and_says_what_it_was(world: World, result: Any) -> None:
    world.action(scripted(lambda _p, _c: result))
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(3))))
        error = only(state).error
        assert error is not None
        assert (error.category, error.code) == ("validation", "result_not_json")
        assert type(result).__name__ in error.message
    assert len(world.calls) == 1


@pytest.mark.req("ACC-7.depth")
@pytest.mark.parametrize("depth", [128, 129, 400, 900, 5000])
async def test_a_deep_result_is_kept_or_refused_but_never_hurts_the_run(world: World, depth: int) -> None:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    world.action(scripted(made, "fine"))
    async with world.open() as engine:
        state = await run(
            engine, flow(step("a"), step("b", params={"given": "$a"}), step("s", "set", params={"v": "$a"}))
        )
        assert state.status == ("succeeded" if depth <= values.MAX_DEPTH else "failed")
        if state.error is not None:
            assert (state.error.category, state.error.code) == ("validation", "result_too_deep")
        assert (await view(engine, state.run_id)).status == state.status


@pytest.mark.req("DUR-8.limit")
async def test_a_result_that_is_too_large_fails_for_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_OUTPUT_BYTES", 1000)
    world.action(scripted("x" * 998, "x" * 999))
    async with world.open() as engine:
        state = await run(engine, flow(step("a"), step("b", retry=retry(3))))
        assert statuses(state) == {"a": "succeeded", "b": "failed"}
        error = state.error
        assert error is not None
        assert error.code == "result_too_large"
        assert "1,001 bytes" in error.message
    assert len(world.calls) == 2


class OwnError(Exception):
    pass


class OwnStop(BaseException):
    pass


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize(
    ("raised", "category", "code"),
    [
        (StepError("x"), "internal", None),
        (StepError("x", category="http.503", code="busy", status=503), "http.503", "busy"),
        (StepError("x", category="auth"), "auth", None),
        (TerminalError("x", category="validation", code="bad"), "validation", "bad"),
        (TimeoutError("x"), "timeout", "TimeoutError"),
        (TimeoutError(), "timeout", "TimeoutError"),
        (ConnectionResetError("x"), "connection", "ConnectionResetError"),
        (BrokenPipeError("x"), "connection", "BrokenPipeError"),
        (socket.gaierror(-2, "x"), "dns", "gaierror"),
        (ValueError("x"), "adapter.ValueError", "ValueError"),
        (KeyError("x"), "adapter.KeyError", "KeyError"),
        (OSError("x"), "adapter.OSError", "OSError"),
        (MemoryError(), "adapter.MemoryError", "MemoryError"),
        (RecursionError("x"), "adapter.RecursionError", "RecursionError"),
        (StopAsyncIteration(), "adapter.StopAsyncIteration", "StopAsyncIteration"),
        (ExceptionGroup("x", [ValueError("y")]), "adapter.ExceptionGroup", "ExceptionGroup"),
        (OwnError(), "adapter.OwnError", "OwnError"),
        (Unspeakable("x"), "adapter.Unspeakable", "Unspeakable"),
        (ValueError("\ud800" * 100_000), "adapter.ValueError", "ValueError"),
        (StepError("x", category="connection", retry_after_seconds=float("nan")), "connection", None),
        (StepError("x", details={"o": object(), 1: "\ud800"}), "internal", None),  # type: ignore[dict-item]
        (OwnStop("x"), "adapter.OwnStop", "OwnStop"),
        (SystemExit(3), "adapter.SystemExit", "SystemExit"),
        (asyncio.CancelledError(), "cancelled", "CancelledError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_whatever_is_raised_is_a_failure_with_a_category(
    world: World, raised: BaseException, category: str, code: str | None
) -> None:
    world.action(scripted(raised))
    async with world.open() as engine:
        state = await run(engine, flow(step("a")))
        error = only(state).error
        assert error is not None
        assert (error.category, error.code, error.step, error.attempt) == (category, code, "a", 1)
        assert error.message
        assert state.status == "failed"
        assert engine.statistics()["attempts_in_flight"] == 0


@pytest.mark.req("TIME-1.attempts")
async def test_a_terminal_error_is_never_tried_again(world: World) -> None:
    world.action(scripted(TerminalError("no", category="connection")), retry_unclassified=True)
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(5, on=("*",)))))
        assert state.status == "failed"
    assert len(world.calls) == 1


@pytest.mark.req("TIME-1.attempts")
async def test_an_unclassified_exception_of_a_function_is_worth_another_try_and_of_an_adapter_not(
    world: World,
) -> None:
    world.action(scripted(ValueError("x"), "done"), retry_unclassified=True)
    async with world.open() as engine:
        assert (await run(engine, flow(step("a", retry=retry(2))))).status == "succeeded"
        world.action(scripted(ValueError("x"), "done"), retry_unclassified=False)
        assert (await run(engine, flow(step("a", retry=retry(2))))).status == "failed"


@pytest.mark.req("TIME-1.retry-after", "DUR-5.same-key")
async def test_retry_after_is_honoured_and_all_attempts_bear_one_key(world: World) -> None:
    times: list[int] = []
    answers = scripted(
        StepError("slow down", category="rate_limit", retry_after_seconds=90.0),
        StepError("again", category="connection", retry_after_seconds=0.5),
        "done",
    )

    async def work(params: dict[str, Any], context: AttemptContext) -> Any:
        times.append(engine.now())
        return await answers(params, context)

    world.action(work)
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(3, 2.0))))
        assert state.status == "succeeded"
    assert [after - before for before, after in itertools.pairwise(times)] == [90_000, 2_000]
    assert len({context.idempotency_key for _, context in world.calls}) == 1
    assert [context.attempt for _, context in world.calls] == [1, 2, 3]


@pytest.mark.req("TIME-2.attempt")
async def test_an_attempt_that_takes_too_long_is_cancelled_and_the_next_one_made(world: World) -> None:
    ended: list[str] = []

    async def slow(_params: dict[str, Any], _context: AttemptContext) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("cancelled")

    world.action(scripted(slow, "done"))
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(2, 1.0), timeout=timeout(5.0))))
        assert statuses(state) == {"a": "succeeded"}
        assert ended == ["cancelled"]
        assert (state.finished_at or 0) - (state.started_at or 0) == 6000


@pytest.mark.req("TIME-2.total")
async def test_the_total_time_of_a_step_ends_it_whatever_its_retries(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        state = await run(engine, flow(step("a", retry=retry(50, 1.0), timeout=timeout(5.0, 13.0))))
        assert statuses(state) == {"a": "timed_out"}
        assert (state.finished_at or 0) - (state.started_at or 0) == 13_000
        assert engine.statistics()["attempts_in_flight"] == 0
    assert len(world.calls) == 3


@pytest.mark.req("TIME-2.run")
async def test_the_time_of_a_run_ends_everything_in_flight(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        state = await run(engine, flow(parallel("p", step("a"), step("b")), timeout_seconds=60))
        assert state.status == "timed_out"
        assert engine.statistics()["attempts_in_flight"] == 0


@pytest.mark.req("EXEC-9.python")
async def test_the_context_tells_the_facts_of_the_attempt(world: World) -> None:
    world.action(scripted("done"))
    async with world.open(callback_base_url=lambda: "http://127.0.0.1:1") as engine:
        state = await run(engine, flow(step("a", params={"x": "$inputs.x"}), id="facts"), {"x": [1]}, workspace="w")
        context = world.calls[0][1]
        assert (context.run_id, context.flow_id, context.workspace) == (state.run_id, "facts", "w")
        assert (context.step, context.attempt, context.callback_url) == ("a", 1, None)
        assert len(context.idempotency_key) == 43
        assert world.params == [{"x": [1]}]
        other = await run(engine, flow(step("a"), id="facts"), {"x": [1]}, workspace="w")
        assert other.run_id != state.run_id
        assert world.calls[1][1].idempotency_key != context.idempotency_key


@pytest.mark.req("EXEC-9.python")
async def test_parameters_that_cannot_be_computed_fail_the_step_without_a_call(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        state = await run(engine, flow(step("a", params={"x": "{{ 1 / inputs.zero }}"})), {"zero": 0})
        error = only(state).error
        assert error is not None
        assert error.category == "expression"
        assert "params" in error.message
    assert world.calls == []


@pytest.mark.req("BIND-7.unbound")
async def test_an_action_that_this_host_lacks_is_waited_for_and_nothing_is_lost(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a", use="crm.enrich")))
        await settle()
        assert engine.parked() == {run_id: "crm.enrich"}
        world.action(scripted({"n": 1}), "crm.enrich")
        engine.actions_changed()
        state = await engine.wait(run_id)
        assert (state.status, only(state).output, only(state).attempt) == ("succeeded", {"n": 1}, 1)
        assert engine.parked() == {}


@pytest.mark.req("DUR-1.another-host")
async def test_a_host_that_has_the_action_makes_the_attempt_that_another_could_not(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a", use="crm.enrich")))
        await settle()
        assert engine.parked()
    world.action(scripted({"n": 1}), "crm.enrich")
    async with world.open() as engine:
        assert (await engine.wait(run_id)).status == "succeeded"


@pytest.mark.req("BIND-7.unbound")
async def test_an_unbound_step_gives_its_data_where_the_flow_allows_it(world: World) -> None:
    world.action(scripted({"n": 1}))
    async with world.open() as engine:
        what = flow(step("a"), step("b", use="nothing", unbound=True), unbound="allow")
        state = await run(engine, what)
        assert state.status == "succeeded"
        assert state.outputs == {"n": 1}


@pytest.mark.req("OBS-2.step-logs")
async def test_log_lines_are_kept_masked_and_soon_even_if_nothing_else_happens(world: World) -> None:
    release = asyncio.Event()

    async def talks(_params: dict[str, Any], context: AttemptContext) -> None:
        context.log("info", "token=abcdef12345 begins", password="p4ssw0rd!", n=1)
        await release.wait()
        context.log("warning", "ends")

    world.action(talks)
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await asyncio.sleep(1)
        key = (await engine.record(run_id)).key
        [(_, line)] = await world.store.load_logs(key)
        assert (line.level, line.step, line.message) == ("info", "a", "token=*** begins")
        assert line.data == b'{"password":"***","n":1}'
        release.set()
        await engine.wait(run_id)
        await settle()
        assert [line.message for _, line in await world.store.load_logs(key)] == ["token=*** begins", "ends"]


@pytest.mark.req("OBS-2.step-logs")
async def test_log_lines_of_a_lost_commit_are_kept_with_the_next(world: World) -> None:
    def talks(_params: dict[str, Any], context: AttemptContext) -> str:
        context.log("info", "before the end")
        world.store.fail_next(1)
        return "done"

    world.action(scripted(talks))
    async with world.open() as engine:
        state = await run(engine, flow(step("a")))
        await settle()
        lines = await world.store.load_logs((await engine.record(state.run_id)).key)
        assert [line.message for _, line in lines] == ["before the end"]


async def test_the_same_values_are_computed_for_every_attempt(world: World) -> None:
    world.action(scripted(StepError("x", category="connection"), "done"))
    async with world.open() as engine:
        params = {"id": "{{ uuid() }}", "at": "{{ string(now()) }}", "r": "{{ random() }}"}
        await run(engine, flow(step("a", params=params, retry=retry(2, 5.0))))
    assert world.params[0] == world.params[1]
    assert sys.getsizeof(world.params[0]["id"]) > 0
