"""Signals from outside: each token opens one step once, early or late, one or many."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from segue.engine.ids import token_hash
from segue.errors import (
    ConflictError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    SignatureError,
    StepError,
)
from segue.flow.approval import decision_schema
from segue.flow.model import Callback, Handler, Retry, Signature, Step
from segue.store.port import CallbackRow, RunRecord
from segue.store.tables import Sql
from unit.engine.kit import (
    World,
    block,
    flow,
    parallel,
    run,
    scripted,
    settle,
    start,
    state_of,
    statuses,
    step,
    token_of,
    wait_callback,
)  # fmt: skip

pytestmark = pytest.mark.anyio


@pytest.mark.req("CALL-2.resume", "CALL-1.hash")
async def test_a_signal_resumes_the_run_with_its_payload_and_only_a_hash_is_kept(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a", params={"x": "$c.n"})))
        await settle()
        token = await token_of(engine, run_id, "c")
        assert len(token) == 43
        row, record = await engine.find_callback(token)
        assert (row.step_path, row.state, record.run_id) == ("c", "open", run_id)
        assert row.token_hash == token_hash(token)
        assert await engine.callback(token, {"n": 7}) == run_id
        assert (await engine.wait(run_id)).status == "succeeded"
        assert token.encode() not in repr(vars(world.store)).encode()
    assert world.params == [{"x": 7}]


@pytest.mark.req("CALL-2.answers")
async def test_unknown_used_expired_and_cancelled_tokens_get_distinct_answers(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        with pytest.raises(NotFoundError, match="no callback"):
            await engine.callback("x" * 43, 1)

        used = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        token = await token_of(engine, used, "c")
        await engine.callback(token, 1)
        with pytest.raises(ConflictError, match="used already"):
            await engine.callback(token, 2)

        expired = await start(engine, flow(wait_callback("c", expires=60)))
        await settle()
        token = await token_of(engine, expired, "c")
        assert (await engine.wait(expired)).status == "failed"
        with pytest.raises(GoneError, match="expired"):
            await engine.callback(token, 1)

        cancelled = await start(engine, flow(wait_callback("c")))
        await settle()
        token = await token_of(engine, cancelled, "c")
        await engine.cancel(cancelled)
        with pytest.raises(ConflictError, match="does not wait"):
            await engine.callback(token, 1)
        assert (await engine.wait(used)).nodes[0].output == 1


@pytest.mark.req("TIME-1.waits", "CALL-2.answers")
async def test_a_wait_that_is_tried_again_has_a_token_of_its_own_also_after_a_restart(world: World) -> None:
    again = Retry(max_attempts=2, initial_delay_seconds=50, jitter="none")
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(replace(wait_callback("c", expires=60), retry=again), step("a")))
        await settle()
        first = await token_of(engine, run_id, "c")
    await asyncio.sleep(61)
    async with world.open() as engine:
        await settle()
        with pytest.raises(GoneError, match="expired"):
            await engine.callback(first, 1)
        await asyncio.sleep(51)
        await settle()
        second = await token_of(engine, run_id, "c")
        assert second != first
        await engine.callback(second, 2)
        assert (await engine.wait(run_id)).nodes[0].output == 2


@pytest.mark.req("CALL-2.double")
async def test_of_many_signals_at_once_one_counts(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        token = await token_of(engine, run_id, "c")
        answers = await asyncio.gather(*(engine.callback(token, n) for n in range(10)), return_exceptions=True)
        assert [one for one in answers if isinstance(one, str)] == [run_id]
        assert sum(isinstance(one, ConflictError) for one in answers) == 9
        assert (await engine.wait(run_id)).nodes[0].output == 0
    assert world.called == ["a"]


@pytest.mark.req("CALL-5.early")
async def test_a_signal_that_comes_before_the_step_waits_is_kept_and_delivered(world: World) -> None:
    """The outside job is done before the call that started it has its answer; the host dies in between."""
    release = asyncio.Event()

    async def starts_a_job(_params: dict, context: object) -> dict:
        await release.wait()
        return {"job": 1}

    world.action(starts_a_job)
    async with world.open(callback_base_url=lambda: "https://segue.example") as engine:
        run_id = await start(engine, flow(step("job", callback=Callback()), step("after", use="other")))
        await settle()
        url = world.calls[0][1].callback_url
        assert url is not None
        token = url.rpartition("/")[2]
        assert token == await token_of(engine, run_id, "job")
        await engine.callback(token, "early")
        with pytest.raises(ConflictError):
            await engine.callback(token, "again")
        await world.kill(engine)
    release.set()
    world.action(scripted("done"), "other")
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert state.nodes[0].output == "early"
        with pytest.raises(ConflictError, match="used already"):
            await engine.callback(token, "late")
    assert world.called == ["job", "job", "after"]


@pytest.mark.req("CALL-1.uses")
async def test_a_token_of_several_uses_takes_as_many_signals_and_gives_them_all(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c", uses=3)))
        await settle()
        token = await token_of(engine, run_id, "c")
        await engine.callback(token, 1)
        await asyncio.sleep(60)
        await engine.callback(token, 2)
        await engine.callback(token, 3)
        assert (await engine.wait(run_id)).nodes[0].output == [1, 2, 3]
        with pytest.raises(ConflictError):
            await engine.callback(token, 4)


@pytest.mark.req("CALL-1.several")
async def test_each_of_several_waiting_steps_has_its_own_token(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(parallel("p", wait_callback("a"), wait_callback("b"))))
        await settle()
        a, b = await token_of(engine, run_id, "a"), await token_of(engine, run_id, "b")
        assert a != b
        await engine.callback(b, "for b")
        await engine.callback(a, "for a")
        assert (await engine.wait(run_id)).outputs == {"a": "for a", "b": "for b"}


async def test_a_signal_reaches_a_paused_run_which_goes_on_when_resumed(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        await engine.pause(run_id)
        await engine.callback(await token_of(engine, run_id, "c"), 1)
        await asyncio.sleep(100)
        assert world.called == []
        await engine.resume(run_id)
        assert (await engine.wait(run_id)).status == "succeeded"


async def test_without_an_http_door_there_is_no_callback_address(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        await start(engine, flow(step("job", callback=Callback(expires_seconds=5))))
        await settle()
        assert world.calls[0][1].callback_url is None


@pytest.mark.req("EXEC-6.on_error")
async def test_the_callback_of_a_step_whose_retrying_handler_failed_is_closed(world: World) -> None:
    """Found by the simulator (seed 15)."""
    world.action(scripted(StepError("no")))
    handler = Handler(block=block(step("h"), label="on_error"), then="retry")
    async with world.open() as engine:
        run_id = await start(engine, flow(step("job", callback=Callback(), on_error=(handler,))))
        state = await engine.wait(run_id)
        assert statuses(state) == {"job": "failed", "job.on_error.h": "failed"}
        [row] = await world.store.callbacks_of_run((await engine.record(run_id)).key)
        assert row.state == "cancelled"
        assert (await state_of(engine, run_id)).status == "failed"


# ---------------------------------------------------------------- approvals, signatures, correlations


def approve(need: int = 1, form: dict[str, Any] | None = None, **settings: Any) -> Step:
    callback = Callback(uses=need, schema=decision_schema(form, need), form=form, expires_seconds=3600.0, **settings)
    return step("ask", "approve", callback=callback)


@pytest.mark.req("CALL-1.approve", "CALL-3.payload-schema")
async def test_a_decision_is_checked_with_all_its_mistakes_and_nothing_is_used_up(world: World) -> None:
    form = {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "note": {"type": "string"}},
        "required": ["amount"],
    }
    async with world.open() as engine:
        run_id = await start(engine, flow(approve(need=2, form=form)))
        token = await token_of(engine, run_id, "ask")
        with pytest.raises(InvalidInputError) as wrong:
            await engine.callback(token, {"decision": "approve", "note": 3, "by": ""})
        assert {path for path, _ in wrong.value.details} == {"amount", "note", "by"}
        odd_ones: list[Any] = [{"decision": "approve", "approved": False, "by": "x", "amount": 1}, {"by": "x"}, "yes"]
        for odd in odd_ones:
            with pytest.raises(InvalidInputError):
                await engine.callback(token, odd)
        await engine.callback(token, {"decision": "approve", "by": "ann", "amount": 3})
        with pytest.raises(ConflictError, match="ann has decided"):
            await engine.callback(token, {"decision": "approve", "by": "ann", "amount": 3})
        await engine.callback(token, {"approved": False, "by": "bob"})
        out: Any = (await engine.wait(run_id)).outputs
        assert (out["approved"], out["by"], [one["by"] for one in out["decisions"]]) == (False, "bob", ["ann", "bob"])


def signed(body: bytes, secret: str = "s3cret") -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.req("CALL-3.signature")
async def test_a_signed_callback_takes_only_what_is_signed_with_its_secret(world: World) -> None:
    rule = Signature(secret="hook", header="x-hub-signature-256", prefix="sha256=")
    what = flow(wait_callback("ask", signature=rule), secrets={"hook": {"from": "env:HOOK"}})
    async with world.open(environment={"HOOK": "s3cret"}) as engine:
        run_id = await start(engine, what)
        token = await token_of(engine, run_id, "ask")
        body = b'{"x": 1}'
        bare = signed(body)["X-Hub-Signature-256"].removeprefix("sha256=")
        for raw, headers in (
            (None, None), (body, {}), (body, signed(body, "other")), (b'{"x": 2}', signed(body)),
            (body, {"x-hub-signature-256": "sha256=zz"}), (body, {"x-hub-signature-256": bare}),
        ):  # fmt: skip
            with pytest.raises(SignatureError) as refused:
                await engine.callback(token, {"x": 1}, raw=raw, headers=headers)
            assert "s3cret" not in str(refused.value)
        await engine.callback(token, {"x": 1}, raw=body, headers=signed(body))
        assert (await engine.wait(run_id)).outputs == {"x": 1}


@pytest.mark.req("CALL-1.correlate")
async def test_a_callback_is_found_by_what_its_step_calls_it(world: World) -> None:
    asks = wait_callback("ask", correlate={"order": "$inputs.order"})
    async with world.open() as engine:
        one, two = [await start(engine, flow(asks, id=id), {"order": order}) for id, order in (("f", 1), ("g", 1))]
        called: Any = {"order": 1}
        with pytest.raises(ConflictError, match="2 steps wait"):
            await engine.callbacks.give_called(called, "x")
        assert await engine.callbacks.give_called(called, "x", flow_id="g") == two
        assert await engine.callbacks.give_called(called, "y") == one
        with pytest.raises(NotFoundError):
            await engine.callbacks.give_called(called, "z")
        assert [(await engine.wait(run_id)).outputs for run_id in (one, two)] == ["y", "x"]


async def test_a_step_whose_correlation_cannot_be_computed_fails_and_leaves_no_callback(world: World) -> None:
    async with world.open() as engine:
        ended = await run(engine, flow(wait_callback("ask", correlate="{{ 1 / 0 }}")))
        assert ended.error is not None
        assert "correlate" in ended.error.message


@pytest.mark.req("CALL-4.one-commit")
async def test_what_is_written_about_an_answer_is_kept_with_it_or_neither_is(world: World) -> None:
    world.action(scripted("done"))
    written: list[str] = []
    async with world.open() as engine:
        run_id = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        token = await token_of(engine, run_id, "c")

        async def failing(row: CallbackRow, record: RunRecord) -> Callable[[Sql], None]:
            def write(sql: Sql) -> None:
                written.append(record.run_id)
                raise ConflictError("a row stands in the way")

            return write

        with pytest.raises(ConflictError, match="stands in the way"):
            await engine.callback(token, {"n": 7}, note=failing)
        assert written == [run_id]
        assert (await engine.find_callback(token))[0].state == "open"

        async def noting(row: CallbackRow, record: RunRecord) -> Callable[[Sql], None]:
            return lambda sql: written.append(row.step_path)

        again = await start(engine, flow(wait_callback("c"), step("a")))
        await settle()
        assert await engine.callback(await token_of(engine, again, "c"), {"n": 7}, note=noting) == again
        assert written == [run_id, "c"]
        assert (await engine.wait(again)).status == "succeeded"
