"""Flows that start at events and when runs of other flows end: once each, whatever fails in between."""

from __future__ import annotations

import asyncio

import pytest

from segue.errors import StoreUnavailableError
from segue.testing.memory_store import MemoryStore
from unit.triggers.kit import until, world

pytestmark = pytest.mark.anyio

FIRST = """
flow: first
inputs: {n: {type: integer, default: 1}, fails: {type: boolean, default: false}}
steps:
  - stop_here: {fail: {code: broken, message: it broke}, when: $inputs.fails}
  - say: {set: {n: $inputs.n}}
outputs: {n: $say.n}
"""
SECOND = """
flow: second
trigger: {flow: first, when: "$data.n > 1", inputs: {n: $data.n, from: $trigger.run_id}}
inputs: {n: integer, from: string}
steps: [{say: {set: {n: $inputs.n, from: $inputs.from}}}]
outputs: {n: $say.n, from: $say.from}
"""
MENDER = """
flow: mender
trigger: {flow: first, on: failed, inputs: {why: $trigger.error.message, status: $trigger.status}}
inputs: {why: string, status: string}
steps: [{say: {set: {why: $inputs.why}}}]
outputs: $say.why
"""


@pytest.mark.req("EXEC-7.chaining", "TRIG-3.condition")
async def test_a_flow_starts_when_another_one_ends_under_its_condition() -> None:
    async with world() as it:
        for text in (FIRST, SECOND, MENDER):
            await it.follow(text)
        engine = it.host.engine
        version = await it.host.triggers.starter.version("default", "first")
        small = await engine.start(version, {"n": 1, "fails": False})
        large = await engine.start(version, {"n": 5, "fails": False})
        broken = await engine.start(version, {"n": 9, "fails": True})
        for started in (small, large, broken):
            await engine.wait(started.run_id)
        (chained,) = await it.until_ended(1, "second")
        (mended,) = await it.until_ended(1, "mender")

        assert chained.parent_run_id == large.run_id
        assert chained.trigger == "flow"
        assert (await engine.state(chained)).outputs == {"n": 5, "from": large.run_id}
        assert mended.parent_run_id == broken.run_id
        assert "it broke" in str((await engine.state(mended)).outputs)
        assert len(await it.runs()) == 5


@pytest.mark.req("TRIG-3.depth", "EXEC-7.depth")
async def test_flows_that_start_each_other_come_to_an_end() -> None:
    async with world() as it:
        await it.follow("flow: again\ntrigger: {flow: again}\nsteps: [{say: {set: {depth: $trigger.depth}}}]\n")
        version = await it.host.triggers.starter.version("default", "again")
        await it.host.engine.start(version, {})
        runs = await it.until_ended(17, "again")

        async def is_noted() -> bool:
            row = await it.host.triggers.registry.refresh(it.trigger("again").id)
            return row is not None and "16 runs" in (row.last_error or "")

        await until(is_noted)
        assert len(await it.runs("again")) == len(runs) == 17


@pytest.mark.req("TRIG-4.chain", "EXEC-7.chaining")
@pytest.mark.parametrize("kept", range(4))
async def test_a_chained_run_is_neither_lost_nor_doubled_by_a_host_that_dies(kept: int) -> None:
    """The host dies when it has kept this many commits after the first run was begun."""
    store = MemoryStore()
    async with world(store=store) as it:
        await it.follow(FIRST)
        await it.follow(SECOND)
        version = await it.host.triggers.starter.version("default", "first")
        counted = Counting(store, kept)
        run_id = None
        try:
            async with asyncio.timeout(2):
                run_id = (await it.host.engine.start(version, {"n": 5, "fails": False}, run_id="run_first")).run_id
                await counted.reached.wait()
        except StoreUnavailableError:
            assert kept == 0
        except TimeoutError:
            assert kept >= counted.seen
        store.crash()
        counted.end()
        it.host.engine.stop()
    async with world(store=store, begin=False) as it:
        for text in (FIRST, SECOND):
            await it.follow(text)
        accepted = await store.get_run("run_first") is not None
        assert accepted or run_id is None
        if accepted:
            await it.until_ended(1, "first")
            (chained,) = await it.until_ended(1, "second")
            assert chained.parent_run_id == "run_first"
        assert await store.messages() == []
        assert len(await it.runs("second")) == int(accepted)


class Counting:
    """Holds a store up after some commits, as a machine that is about to lose power."""

    def __init__(self, store: MemoryStore, kept: int) -> None:
        self.seen = 0
        self.reached = asyncio.Event()
        self._store = store
        self._refusal = store._refusal

        def refusal(commit):
            if self.seen >= kept:
                self.reached.set()
                return StoreUnavailableError("the power is gone")
            self.seen += 1
            return self._refusal(commit)

        store._refusal = refusal

    def end(self) -> None:
        self._store._refusal = self._refusal


@pytest.mark.req("TRIG-4.chain")
async def test_a_commit_of_the_chained_run_that_fails_is_made_again() -> None:
    store = MemoryStore()
    async with world(store=store) as it:
        await it.follow(FIRST)
        await it.follow(SECOND)
        version = await it.host.triggers.starter.version("default", "first")
        chains = it.host.triggers.run_ended

        async def with_faults(end):
            store.fail_next(1)
            it.host.triggers.run_ended = chains
            await chains(end)

        it.host.triggers.run_ended = with_faults
        await it.host.engine.start(version, {"n": 5, "fails": False})
        await it.until_ended(1, "second")

        async def taken() -> bool:
            return await store.messages() == []

        await until(taken)
        assert len(await it.runs("second")) == 1


@pytest.mark.req("TRIG-2.events")
async def test_an_event_starts_the_flows_that_name_it_once_and_under_their_condition() -> None:
    async with world() as it:
        await it.follow(
            "flow: ship\ntrigger: {event: order.paid, when: $data.total > 10}\ninputs: {total: integer}\n"
            "steps: [{say: {set: {total: $inputs.total}}}]\noutputs: $say.total\n"
        )
        engine = it.host.engine
        await engine.publish("order.paid", {"total": 5}, id="small")
        for _ in range(3):
            await engine.publish("order.paid", {"total": 50}, id="large")
        await engine.publish("order.lost", {"total": 50})
        await engine.publish("order.paid", {"total": 50}, workspace="other")
        await it.until_ended(1, "ship")
        await engine.publish("order.paid", {"total": 60}, id="last")
        runs = await it.until_ended(2, "ship")

        assert [(await engine.state(run)).outputs for run in runs] == [50, 60]
        assert [run.trigger for run in runs] == ["event", "event"]


@pytest.mark.req("TRIG-2.events", "TRIG-3.depth")
async def test_events_that_runs_send_start_flows_as_their_children_to_a_depth() -> None:
    async with world() as it:
        await it.follow("flow: echo\ntrigger: {event: ping}\nsteps: [{out: {emit: {event: ping}}}]\n")
        await it.host.engine.publish("ping", None)
        runs = await it.until_ended(16, "echo")

        async def is_noted() -> bool:
            row = await it.host.triggers.registry.refresh(it.trigger("echo").id)
            return row is not None and "16 runs" in (row.last_error or "")

        await until(is_noted)
        assert len(await it.runs("echo")) == 16
        assert [run.parent_run_id for run in runs[1:]] == [run.run_id for run in runs[:-1]]


@pytest.mark.req("TRIG-2.refused")
async def test_an_event_that_does_not_fit_the_flow_is_noted_with_the_trigger() -> None:
    async with world() as it:
        await it.follow("flow: ship\ntrigger: {event: paid}\ninputs: {total: integer}\nsteps: [{a: {set: {b: 1}}}]\n")
        await it.host.engine.publish("paid", {"total": "much"})

        async def is_noted() -> bool:
            row = await it.host.triggers.registry.refresh(it.trigger("ship").id)
            return row is not None and "total" in (row.last_error or "")

        await until(is_noted)
        assert await it.runs("ship") == []


@pytest.mark.req("TRIG-2.source")
async def test_a_trigger_hears_only_the_events_of_its_sources() -> None:
    heard = (
        "flow: {name}\ntrigger: {{event: order.paid{source}}}\n"
        "steps: [{{say: {{set: {{flow: $trigger.flow}}}}}}]\noutputs: $say.flow\n"
    )
    async with world() as it:
        for name in ("billing", "other"):
            await it.follow(f"flow: {name}\nsteps: [{{tell: {{emit: {{event: order.paid}}}}}}]\n")
        for name, source in (("all", ""), ("outside", ", source: api"), ("ours", ", source: [billing, nobody]")):
            await it.follow(heard.format(name=name, source=source))
        for name in ("billing", "other"):
            flow = it.host.registered
            found = await flow.find(name, workspace="default")
            assert found is not None
            await it.host.engine.start(found.flow, {}, source=found.source)
        await it.host.engine.publish("order.paid", {"n": 1})
        await it.until_ended(3, "all")
        await it.until_ended(1, "outside")
        await it.until_ended(1, "ours")
        outputs = {
            name: sorted([str((await it.host.engine.state(run)).outputs) for run in await it.runs(name)])
            for name in ("all", "outside", "ours")
        }
    assert outputs == {"all": ["api", "billing", "other"], "outside": ["api"], "ours": ["billing"]}
