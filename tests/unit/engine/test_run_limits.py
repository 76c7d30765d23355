"""Limits of a flow: so many of its runs under way at once, by key, across restarts; runs that begin later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.errors import ConflictError, LimitReachedError, RequestError, StoreUnavailableError
from segue.flow.model import Flow, Limits
from segue.kernel.reasons import explain_run
from unit.engine.kit import World, block, flow, never, scripted, settle, start, state_of, step, wait_for

pytestmark = pytest.mark.anyio


def limited(number: int | None = 1, *, wait: str = "1h", key: str | None = None, **settings: Any) -> Flow:
    """A flow of one long wait, so many of whose runs may be under way."""
    limits = {name: settings.pop(name) for name in ("on_full", "rate_count", "rate_seconds") if name in settings}
    return flow(wait_for("w", wait), run_limits=Limits(concurrency=number, key=key, **limits), **settings)


async def states(engine: Any, ids: list[str]) -> list[str]:
    return [(await engine.record(one)).status for one in ids]


@pytest.mark.req("EXEC-5.limits")
async def test_one_too_many_is_queued_with_its_reason_and_begins_in_its_turn(world: World) -> None:
    async with world.open() as engine:
        ids = [await start(engine, limited(2)) for _ in range(4)]
        await settle()
        assert await states(engine, ids) == ["waiting", "waiting", "queued", "queued"]
        assert engine.statistics()["runs_in_memory"] == 0
        reason = explain_run(await state_of(engine, ids[2]), engine.now())
        assert (reason.code, reason.sentence) == (
            "run-queued-for-slot",
            "accepted and kept: 2 of 2 slots of `f` are taken",
        )
        await engine.cancel(ids[1])
        await settle()
        assert await states(engine, ids) == ["waiting", "cancelled", "waiting", "queued"]
        ended = [await engine.wait(one) for one in ids]
        assert [one.status.value for one in ended] == ["succeeded", "cancelled", "succeeded", "succeeded"]
        assert (ended[3].started_at or 0) >= (ended[0].finished_at or 0)


@pytest.mark.req("EXEC-5.limits")
async def test_runs_are_counted_by_key(world: World) -> None:
    what = limited(1, key="inputs.email")
    async with world.open() as engine:
        ids = [await start(engine, what, {"email": email}) for email in ("a@b.c", "d@e.f", "a@b.c", None)]
        assert await states(engine, ids) == ["waiting", "waiting", "queued", "waiting"]
        reason = explain_run(await state_of(engine, ids[2]), engine.now())
        assert '1 of 1 slots of `f` for key "a@b.c" are taken' in reason.sentence


async def test_a_key_that_cannot_be_computed_refuses_the_run(world: World) -> None:
    async with world.open() as engine:
        with pytest.raises(RequestError, match=r"limits\.key"):
            await start(engine, limited(1, key="1 / inputs.n"), {"n": 0})


@pytest.mark.req("EXEC-5.limits", "DUR-1.limits")
async def test_a_queue_survives_the_death_of_its_host_and_no_slot_is_lost_or_given_twice(world: World) -> None:
    async with world.open() as engine:
        ids = [await start(engine, limited(2)) for _ in range(5)]
        await world.kill(engine)
    async with world.open() as engine:
        await settle()
        assert await states(engine, ids) == ["waiting"] * 2 + ["queued"] * 3
        assert engine.statistics()["runs_in_memory"] == 0
        await engine.cancel(ids[0])
        await world.kill(engine)  # at once: whether the next one has begun or not, it does
    async with world.open() as engine:
        await settle()
        assert await states(engine, ids) == ["cancelled"] + ["waiting"] * 2 + ["queued"] * 2
        assert {(await engine.wait(one)).status.value for one in ids[1:]} == {"succeeded"}


@pytest.mark.req("EXEC-5.limits")
async def test_higher_priority_begins_first(world: World) -> None:
    async with world.open() as engine:
        first = await start(engine, limited())
        low, high = await start(engine, limited()), await start(engine, limited(priority=5))
        await engine.cancel(first)
        await settle()
        assert await states(engine, [low, high]) == ["queued", "waiting"]


@pytest.mark.req("EXEC-5.on-full")
async def test_skip_ends_the_run_at_once_and_says_why(world: World) -> None:
    async with world.open() as engine:
        await start(engine, limited(on_full="skip"))
        second = await start(engine, limited(on_full="skip"))
        state = await engine.wait(second)
        reason = explain_run(state, engine.now())
        assert (state.status, reason.code) == ("cancelled", "run-skipped")
        assert reason.sentence == "skipped: 1 of 1 slots of `f` are taken"
        assert state.nodes == []


@pytest.mark.req("EXEC-5.on-full")
async def test_reject_refuses_the_start_and_keeps_nothing(world: World) -> None:
    async with world.open() as engine:
        first = await start(engine, limited(on_full="reject"))
        with pytest.raises(LimitReachedError, match="1 of 1 slots of `f` are taken"):
            await start(engine, limited(on_full="reject"), idempotency_key="k")
        assert (await engine.store.count_runs()) == {"waiting": 1}
        assert engine.statistics()["runs_in_memory"] == 0
        await engine.cancel(first)
        await start(engine, limited(on_full="reject"), idempotency_key="k")


@pytest.mark.req("EXEC-5.on-full")
async def test_replace_cancels_the_oldest_and_the_newest_takes_its_slot_once_it_has_ended(world: World) -> None:
    world.action(scripted(lambda *_: asyncio.sleep(30)))
    what = limited(2, on_full="replace", finally_=block(step("clean"), label="finally"))
    async with world.open() as engine:
        ids = [await start(engine, what) for _ in range(3)]
        await asyncio.sleep(1)
        assert await states(engine, ids) == ["running", "waiting", "queued"]  # the first one cleans up
        assert (await state_of(engine, ids[0])).cancelling == "replaced by a newer run of the flow"
        await asyncio.sleep(40)
        assert await states(engine, ids) == ["cancelled", "waiting", "waiting"]
        more = [await start(engine, what) for _ in range(4)]
        await asyncio.sleep(1)
        # Of six that want two slots the newest two get them; the others that were queued never begin.
        assert await states(engine, [*ids[1:], *more]) == ["running"] * 2 + ["cancelled"] * 2 + ["queued"] * 2
        await asyncio.sleep(40)
        assert await states(engine, more[2:]) == ["waiting", "waiting"]


@pytest.mark.req("EXEC-5.rate")
async def test_a_rate_lets_so_many_begin_within_a_time(world: World) -> None:
    what = limited(None, rate_count=2, rate_seconds=60.0, wait="1s")
    async with world.open() as engine:
        begun = engine.now()
        ids = [await start(engine, what) for _ in range(3)]
        await world.kill(engine)
    async with world.open() as engine:
        ids += [await start(engine, what) for _ in range(2)]
        reason = explain_run(await state_of(engine, ids[3]), engine.now())
        assert "`f` has begun 2 times within 1m" in reason.sentence
        ended = [await engine.wait(one) for one in ids]
        assert [round(((one.started_at or 0) - begun) / 1000) for one in ended] == [0, 0, 60, 60, 120]


@pytest.mark.req("TIME-6.delay")
async def test_a_run_may_begin_later(world: World) -> None:
    world.action(scripted("done"))
    async with world.open() as engine:
        at = engine.now() + 90 * 86_400_000
        run_id = await start(engine, flow(step("a")), at=at)
        assert await states(engine, [run_id]) == ["queued"]
        assert engine.statistics()["runs_in_memory"] == 0
        reason = explain_run(await state_of(engine, run_id), engine.now())
        assert (reason.code, reason.sentence) == (
            "run-queued-until",
            "accepted and kept: it begins at 2027-04-15T08:00:00Z",
        )
        for act in (engine.pause, engine.second_chances.retry):
            with pytest.raises(ConflictError, match="has not begun"):
                await act(run_id)
        await world.kill(engine)
    async with world.open() as engine:
        state = await engine.wait(run_id)
        assert (state.status, state.started_at) == ("succeeded", at)


@pytest.mark.req("TIME-6.delay")
async def test_a_run_that_was_to_begin_later_can_be_cancelled(world: World) -> None:
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), finally_=block(step("z"))), at=engine.now() + 1_000_000)
        await engine.cancel(run_id)
        state = await engine.wait(run_id)
        assert (state.status, state.started_at) == ("cancelled", None)
    assert world.called == []


@pytest.mark.req("TIME-6.delay", "EXEC-5.limits")
@pytest.mark.parametrize(("on_full", "then"), [("queue", "queued"), ("skip", "cancelled"), ("reject", "cancelled")])
async def test_one_that_begins_later_needs_a_slot_then(world: World, on_full: str, then: str) -> None:
    async with world.open() as engine:
        later = await start(engine, limited(on_full=on_full), at=engine.now() + 60_000)
        now = await start(engine, limited(on_full=on_full))
        await asyncio.sleep(61)
        assert await states(engine, [later, now]) == [then, "waiting"]
        await engine.cancel(now)
        await settle()
        assert await states(engine, [later]) == ["waiting" if then == "queued" else "cancelled"]


@pytest.mark.req("DUR-1.limits")
async def test_commits_that_fail_neither_lose_nor_double_a_slot(world: World) -> None:
    async with world.open() as engine:
        ids = [await start(engine, limited(2, wait="10s")) for _ in range(6)]
        for _ in range(6):
            world.store.fail_next(2)
            await asyncio.sleep(11)
            under_way = [one for one in await states(engine, ids) if one in ("running", "waiting")]
            assert len(under_way) <= 2
        assert {(await engine.wait(one)).status.value for one in ids} == {"succeeded"}


@pytest.mark.req("DUR-1.limits")
async def test_a_run_that_was_queued_behind_one_that_was_not_kept_begins(world: World) -> None:
    async with world.open() as engine:
        world.store.hold()
        first, second = (asyncio.ensure_future(start(engine, limited())) for _ in range(2))
        await settle()
        world.store.fail_next(1)
        world.store.release()
        with pytest.raises(StoreUnavailableError):
            await first
        assert (await engine.wait(await second)).status == "succeeded"


@pytest.mark.req("DUR-6.quarantine", "EXEC-5.limits")
async def test_a_run_that_is_set_aside_frees_its_slot(world: World) -> None:
    world.action(never)
    async with world.open() as engine:
        first = await start(engine, limited())
        second = await start(engine, limited())
        world.store._journals[(await engine.record(first)).key].pop(1)
        await asyncio.sleep(3_700)
        assert (await states(engine, [first]))[0] == "quarantined"
        assert (await engine.wait(second)).status == "succeeded"
