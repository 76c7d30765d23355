"""The promises of the store port on limits, slots and results that are used again; beside `StoreContract`.

class TestMyStore(LimitsContract, StoreContract):
    ...
"""

# ruff: noqa: D102 - the tests' names are the sentences that a docstring would repeat

from __future__ import annotations

import asyncio

import pytest

from segue.store.port import (
    CachedResult,
    Commit,
    LimitGroup,
    RunHead,
    SlotBegun,
    SlotWait,
    Store,
)
from segue.store.rules import INLINE_BYTES_MAX
from segue.testing.store_contract import (
    START,
    create,
    events,
    keep,
    limited,
    queue,
)


class LimitsContract:
    """Derive from it and from `StoreContract`, whose fixtures it uses."""

    pytestmark = pytest.mark.anyio

    async def test_runs_under_way_and_queued_runs_are_found_by_their_group(self, store: Store) -> None:
        group = LimitGroup("w", "f", '"a"')
        keys = [await limited(store, name) for name in ("running", "waiting", "queued", "queued", "paused", "failed")]
        urgent = await limited(store, "queued", priority=5)
        delayed = await limited(store, "queued", wake_at=START + 5)
        for other in ({"limit_key": '"b"'}, {"flow": "g"}, {"workspace": "v"}, {"limit_key": None}):
            await limited(store, "running", **other)
            await limited(store, "queued", **other)
        assert await store.runs_under_way(group) == [keys[0], keys[1], keys[4]]
        assert [run.key for run in await store.queued_runs(group)] == [urgent, keys[2], keys[3]]
        assert [run.key for run in await store.queued_runs(group, limit=2)] == [urgent, keys[2]]
        found = (await store.queued_runs(group))[0]
        assert (found.limit_key, found.priority) == ('"a"', 5)
        groups = [LimitGroup("v", "f", '"a"'), group, LimitGroup("w", "f", '"b"'), LimitGroup("w", "g", '"a"')]
        assert await store.queue_groups() == groups
        assert await store.queue_groups(after=groups[0], limit=2) == groups[1:3]
        unfinished = [run.key for run in await store.unfinished_runs()]
        assert not {*keys[1:4], urgent, delayed} & {*unfinished}
        assert keys[0] in unfinished
        await keep(store, Commit(run_key=urgent, rows=events(1), head=RunHead(status="running", started_at=START)))
        await keep(store, Commit(run_key=keys[0], rows=events(1), head=RunHead(status="succeeded")))
        await keep(store, Commit(run_key=delayed, rows=events(1), head=RunHead(status="queued")))
        assert await store.runs_under_way(group) == [keys[1], keys[4], urgent]
        assert [run.key for run in await store.queued_runs(group)] == [keys[2], keys[3], delayed]

    async def test_what_began_within_a_time_is_counted(self, store: Store) -> None:
        group = LimitGroup("w", "f", '"a"')
        assert await store.runs_begun(group, 0, limit=3) == (0, None)
        for at in (30, 10, 20, 40):
            await limited(store, "succeeded", started_at=START + at)
        assert await store.runs_begun(group, START + 10, limit=9) == (3, START + 20)
        assert await store.runs_begun(group, START, limit=2) == (2, START + 30)
        run_key = await create(store)
        begun = [SlotBegun("s", START + at, START + 15) for at in (10, 30, 20)]
        await keep(store, Commit(run_key=run_key, rows=events(1), slots_begun=begun))
        assert await store.slots_begun("s", START + 15, limit=9) == (2, START + 20)
        assert await store.slots_begun("s", START + 15, limit=1) == (1, START + 30)
        assert await store.slots_begun("t", 0, limit=9) == (0, None)

    async def test_steps_wait_for_slots_in_the_order_in_which_they_asked(self, store: Store) -> None:
        one, two = await create(store), await create(store)
        waits = [SlotWait("s", START + 2, one, 1), SlotWait("s", START + 1, one, 2), SlotWait("t", START, one, 3)]
        await keep(store, Commit(run_key=one, rows=events(1), slots_awaited=waits))
        await keep(store, Commit(run_key=two, rows=(), slots_awaited=[SlotWait("s", START, two, 1)]))
        assert await store.slot_waits("s") == [SlotWait("s", START, two, 1), waits[1], waits[0]]
        assert await store.slot_waits("s", limit=1) == [SlotWait("s", START, two, 1)]
        assert await store.awaited_slots() == ["s", "t"]
        assert await store.awaited_slots(after="s") == ["t"]
        assert await store.awaited_slots(limit=1) == ["s"]
        moved = SlotWait("t", START + 9, one, 1)
        # In one group the last word counts.
        answers = [
            queue(store, Commit(run_key=one, rows=events(2), slots_awaited=[moved], slots_left=(2,))),
            queue(store, Commit(run_key=two, rows=events(1), slots_left=(1, 7))),
        ]
        assert await asyncio.gather(*answers) == [None, None]
        assert await store.slot_waits("s") == []
        assert await store.slot_waits("t") == [waits[2], moved]
        twice = [SlotWait("u", START, two, 1), SlotWait("v", START + 1, two, 1)]
        await keep(store, Commit(run_key=two, rows=(), slots_awaited=twice))
        assert (await store.slot_waits("u"), await store.slot_waits("v")) == ([], [twice[1]])
        await keep(store, Commit(run_key=two, rows=(), slots_left=(1,)))
        assert await store.awaited_slots() == ["t"]

    # Results that are used again

    @pytest.mark.parametrize("size", [3, INLINE_BYTES_MAX + 1])
    async def test_a_result_is_found_until_it_expires_and_the_last_one_counts(self, store: Store, size: int) -> None:
        run_key = await create(store)
        first = CachedResult(key=b"k", run_id="run_1", at=START, expires_at=START + 10, data=b"1" * size)
        await keep(store, Commit(run_key=run_key, rows=events(1), cached=[first]))
        assert await store.cached_result(b"k", START + 9) == first
        assert await store.cached_result(b"k", START + 10) is None
        assert await store.cached_result(b"other", START) is None
        later = CachedResult(key=b"k", run_id="run_2", at=START + 5, expires_at=START + 50, data=b"2")
        await keep(store, Commit(run_key=run_key, rows=events(2), cached=[later]))
        assert await store.cached_result(b"k", START + 20) == later
