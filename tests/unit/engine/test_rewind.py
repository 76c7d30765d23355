"""Going back with a run that a host carries out, or did: what is called again, what is refused, what crashes."""

from __future__ import annotations

import asyncio

import pytest

from segue.engine.log_lines import log_lines
from segue.engine.second_chances import Asked
from segue.errors import ConflictError, NotFoundError, StoreUnavailableError, TerminalError
from unit.engine.kit import World, flow, never, scripted, settle, start, state_of, step, token_of, wait_callback

pytestmark = [pytest.mark.anyio, pytest.mark.req("DUR-3.rewind")]


async def test_a_run_that_is_over_is_rewound_and_calls_only_what_depends_on_the_step(world: World) -> None:
    world.action(scripted(1, 2, 3, 20, 30))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b"), step("c")))
        assert (await engine.wait(run_id)).outputs == 3
        await engine.second_chances.rewind(run_id, ["b"], Asked(by="tester"))
        assert (await engine.wait(run_id)).outputs == 30
        record = await engine.record(run_id)
        assert (record.status, record.error) == ("succeeded", None)
        state = await state_of(engine, run_id)
        lines = [line.msg for line in log_lines(state, await engine.store.load_journal(record.key), [])]
    assert world.called == ["a", "b", "c", "b", "c"]
    keys = [context.idempotency_key for _, context in world.calls]
    assert len(set(keys)) == 5
    assert "run rewound to b by tester: 2 steps taken back" in lines


@pytest.mark.req("DUR-3.retry")
async def test_a_failed_run_is_retried_under_the_next_host(world: World) -> None:
    world.action(scripted(1, TerminalError("no")))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        assert (await engine.wait(run_id)).status == "failed"
    world.action(scripted(2))
    async with world.open() as engine:
        await engine.second_chances.retry(run_id)
        assert (await engine.wait(run_id)).outputs == 2
        with pytest.raises(ConflictError, match="ended well"):
            await engine.second_chances.retry(run_id)
        assert not engine.statistics()["runs_in_memory"]
    assert world.called == ["a", "b", "b"]


async def test_an_attempt_in_flight_is_cut_off_and_its_late_result_is_nobodys(world: World) -> None:
    gate = asyncio.Event()
    answers: list[str] = []

    async def late() -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            answers.append("cut off")
            raise
        return "late"

    world.action(scripted(1, lambda _params, _context: late(), 2, 3))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await settle()
        await engine.second_chances.rewind(run_id, ["a"])
        assert (await engine.wait(run_id)).outputs == 3
    assert answers == ["cut off"]


async def test_a_token_of_before_the_rewind_gets_a_conflict_and_the_new_one_is_another(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), wait_callback("c")))
        await settle()
        old = await token_of(engine, run_id, "c")
        await engine.second_chances.rewind(run_id, ["a"])
        await settle()
        with pytest.raises(ConflictError, match="does not wait for this callback any more"):
            await engine.callback(old, 1)
        new = await token_of(engine, run_id, "c")
        assert new != old
        await engine.callback(new, 2)
        assert (await engine.wait(run_id)).outputs == 2


async def test_a_step_that_is_not_there_changes_nothing(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await engine.wait(run_id)
        with pytest.raises(NotFoundError, match="no step `z`"):
            await engine.second_chances.rewind(run_id, ["z"])
        with pytest.raises(NotFoundError):
            await engine.second_chances.rewind("run_none", ["a"])
        assert (await engine.record(run_id)).status == "succeeded"
        assert not engine.statistics()["runs_in_memory"]


async def test_a_rewind_that_could_not_be_kept_has_not_happened(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await engine.wait(run_id)
        world.store.fail_next(1)
        with pytest.raises(StoreUnavailableError):
            await engine.second_chances.rewind(run_id, ["a"])
        await settle()
        assert (await state_of(engine, run_id)).generation == 0
    assert world.called == ["a"]


async def test_two_rewinds_at_once_are_both_kept_one_after_the_other(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await engine.wait(run_id)
        await asyncio.gather(
            engine.second_chances.rewind(run_id, ["a"]),
            engine.second_chances.rewind(run_id, ["b"]),
            return_exceptions=True,
        )
        assert (await engine.wait(run_id)).status == "succeeded"
        assert not engine.statistics()["runs_in_memory"]


async def test_a_host_that_stops_after_a_rewind_goes_on_from_it(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await engine.wait(run_id)
        world.action(never)
        await engine.second_chances.rewind(run_id, ["b"])
        await settle()
        await engine.close(grace_seconds=0)
    world.action(scripted(5))
    async with world.open() as engine:
        assert (await engine.wait(run_id)).outputs == 5
    assert world.called.count("a") == 1
