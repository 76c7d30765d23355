"""Runs that other runs start and wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segue.engine.flow_source import RegisteredFlows
from segue.engine.host import Engine
from segue.engine.parents import child_run_id
from segue.flow.model import Flow, Step
from segue.kernel.decision import Child
from segue.store.port import Commit, RunFilter, RunRecord
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
    view,
    wait_callback,
    wait_for,
)

pytestmark = pytest.mark.anyio
NEEDS_N: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def sub(id: str = "sub", of: str = "child", **settings: Any) -> Step:
    params = {"flow": of, **{key: settings.pop(key) for key in ("inputs", "version", "wait") if key in settings}}
    return step(id, "flow", params=params, **settings)


def flows(*known: Flow) -> RegisteredFlows:
    found = RegisteredFlows()
    for one in known:
        found.add(one)
    return found


async def children_of(world: World, parent: str) -> list[RunRecord]:
    records = (await world.store.list_runs(RunFilter(), limit=1000)).runs
    return sorted((one for one in records if one.parent_run_id == parent), key=lambda one: one.key)


async def held_child(engine: Engine, parent: str) -> str:
    """The id of the child that the step `sub` waits for."""
    await settle()
    child = (await state_of(engine, parent)).nodes[0].child
    assert child is not None
    return child


@pytest.mark.req("EXEC-7.sub-flow")
async def test_a_flow_runs_another_as_a_step_and_goes_on_with_its_outputs(world: World) -> None:
    world.action(scripted(lambda params, _: params["n"] * 2), "double")
    child = flow(
        step("d", use="double", params={"n": "$inputs.n"}), id="child", outputs={"twice": "$d"}, inputs=NEEDS_N
    )
    parent = flow(sub(inputs={"n": "$inputs.n"}), outputs={"all": "$sub.twice"})
    async with world.open(flows=flows(child)) as engine:
        ended = await run(engine, parent, {"n": 4})
        assert ended.outputs == {"all": 8}
        made = (await children_of(world, ended.run_id))[0]
        assert made.run_id == child_run_id(ended, Child("sub", 0, 1)) == ended.nodes[0].child
        shown = await view(engine, made.run_id)
        assert shown.parent is not None
        assert (shown.trigger, shown.parent.run, shown.parent.step) == ("flow", ended.run_id, "sub")
        assert (await view(engine, ended.run_id)).steps[0].child == made.run_id
        assert await world.store.messages() == []


@pytest.mark.req("EXEC-7.sub-flow")
async def test_while_its_sub_flow_waits_a_run_is_a_row(world: World) -> None:
    async with world.open(flows=flows(flow(wait_callback("ask"), id="child"))) as engine:
        parent = await start(engine, flow(sub()))
        child = await held_child(engine, parent)
        assert engine.statistics()["runs_in_memory"] == 0
        assert (await view(engine, parent)).reason_code == "run-waiting-flow"
        await engine.callback(await token_of(engine, child, "ask"), {"x": 1})
        assert (await engine.wait(parent)).outputs == {"x": 1}


@pytest.mark.req("EXEC-7.sub-flow-fails")
async def test_the_error_of_a_sub_flow_is_its_step_s_and_names_the_child(world: World) -> None:
    child = flow(
        step("f", "fail", params={"code": "no_stock", "message": "none left", "category": "adapter.shop"}), id="child"
    )
    async with world.open(flows=flows(child)) as engine:
        ended = await run(engine, flow(sub()))
        error = ended.error
        assert error is not None
        assert (error.category, error.code, error.step) == ("adapter.shop", "no_stock", "sub")
        assert error.message == f"the flow child failed (run {ended.nodes[0].child}): `f`: none left"


@pytest.mark.req("EXEC-7.sub-flow-fails")
async def test_a_retried_sub_flow_is_a_new_run_each_time(world: World) -> None:
    world.action(scripted(TimeoutError(), "fine"))
    async with world.open(flows=flows(flow(step("a"), id="child"))) as engine:
        parent = await start(engine, flow(sub(retry=retry(2, 60.0))))
        await settle()
        world.clock.jump(60_000)
        assert (await engine.wait(parent)).outputs == "fine"
        assert [one.status for one in await children_of(world, parent)] == ["failed", "succeeded"]


@pytest.mark.req("EXEC-7.cancel-child")
async def test_cancelling_a_run_cancels_its_sub_flows_down_to_the_last(world: World) -> None:
    inner = flow(wait_callback("ask"), id="inner")
    async with world.open(flows=flows(flow(sub(of="inner"), id="child"), inner)) as engine:
        parent = await start(engine, flow(sub()))
        child = await held_child(engine, parent)
        grandchild = await held_child(engine, child)
        await engine.cancel(parent)
        await settle()
        assert [(await engine.record(one)).status for one in (parent, child, grandchild)] == ["cancelled"] * 3
        assert "does not wait for it any more" in ((await view(engine, child)).reason or "")


@pytest.mark.req("EXEC-7.cancel-child")
async def test_a_step_whose_time_is_over_cancels_its_sub_flow(world: World) -> None:
    async with world.open(flows=flows(flow(wait_callback("ask"), id="child"))) as engine:
        parent = await start(engine, flow(sub(timeout=timeout(5.0))))
        child = await held_child(engine, parent)
        world.clock.jump(5_000)
        ended = await engine.wait(parent)
        assert ended.error is not None
        assert ended.error.category == "timeout"
        await settle()
        assert (await engine.record(child)).status == "cancelled"


async def test_a_child_that_somebody_cancels_fails_its_parent_s_step(world: World) -> None:
    async with world.open(flows=flows(flow(wait_callback("ask"), id="child"))) as engine:
        parent = await start(engine, flow(sub(retry=retry(3))))
        await engine.cancel(await held_child(engine, parent), "not now")
        error = (await engine.wait(parent)).error
        assert error is not None
        assert (error.category, error.message[-9:]) == ("cancelled", ": not now")


@pytest.mark.req("EXEC-7.no-wait")
async def test_a_sub_flow_that_is_not_waited_for_goes_its_own_way(world: World) -> None:
    async with world.open(flows=flows(flow(wait_callback("ask"), id="child"))) as engine:
        ended = await run(engine, flow(sub(wait=False)))
        outputs: Any = ended.outputs
        child: str = outputs["run_id"]
        assert (await view(engine, ended.run_id)).steps[0].child == child
        await engine.callback(await token_of(engine, child, "ask"), 1)
        assert (await engine.wait(child)).outputs == 1
        assert await world.store.messages() == []


@pytest.mark.req("EXEC-7.inputs")
@pytest.mark.parametrize(
    ("inputs", "of", "told"),
    [
        ({"n": "many"}, "child", "inputs of child"),
        ("text", "child", "a sub-flow's inputs are a map"),
        ({"n": 1}, "nobody", "this host knows no flow 'nobody'"),
    ],
)
async def test_a_sub_flow_is_not_begun_with_what_it_does_not_take(
    world: World, inputs: Any, of: str, told: str
) -> None:
    async with world.open(flows=flows(flow(step("a"), id="child", inputs=NEEDS_N))) as engine:
        ended = await run(engine, flow(sub(of=of, inputs=inputs)))
        assert ended.error is not None
        assert told in ended.error.message
        assert ended.error.category == "validation"
        assert await children_of(world, ended.run_id) == []


@pytest.mark.req("EXEC-7.depth")
async def test_a_flow_may_run_itself_sixteen_deep(world: World) -> None:
    deeper = {"n": "{{ inputs.n - 1 }}"}
    itself = flow(sub(of="f", inputs=deeper, when="inputs.n > 0"), id="f", outputs={"below": "$sub"}, inputs=NEEDS_N)
    async with world.open(flows=flows(itself)) as engine:
        assert (await run(engine, itself, {"n": 16})).status == "succeeded"
        ended = await run(engine, itself, {"n": 17})
        assert ended.error is not None
        assert "more than 16 deep" in ended.error.message


@pytest.mark.req("EXEC-7.versions")
async def test_the_version_that_is_named_is_run_else_the_newest_that_is_known(world: World) -> None:
    def version(number: str) -> Flow:
        return flow(step("v", "set", params={"version": number}), id="child", version=number)

    async with world.open() as engine:
        for number in ("1.0.0", "2.0.0"):
            await run(engine, version(number))
        assert (await run(engine, flow(sub()))).outputs == {"version": "2.0.0"}
        assert (await run(engine, flow(sub(version="1.0.0")))).outputs == {"version": "1.0.0"}
        ended = await run(engine, flow(sub(version="3.0.0")))
        assert ended.error is not None
        assert "no version 3.0.0 of the flow 'child'" in ended.error.message
    async with world.open(flows=flows(version("2.5.0"))) as engine:
        assert (await run(engine, flow(sub()))).outputs == {"version": "2.5.0"}
        assert (await run(engine, flow(sub(version="1.0.0")))).outputs == {"version": "1.0.0"}


# ---------------------------------------------------------------- crashes


@pytest.mark.req("DUR-1.sub-flow")
@pytest.mark.parametrize("kept", range(9))
async def test_a_host_that_dies_after_any_commit_leaves_no_child_lost_or_started_twice(world: World, kept: int) -> None:
    """The first `kept` commits are flushed, then the host dies; the next one brings both runs to their ends."""
    world.action(scripted("done"))
    known = flows(flow(step("a"), wait_for("w", "1h"), id="child"))
    parent = flow(sub(), step("after"))
    engine = world.engine(flows=known)
    await engine.open()
    flushed = 0
    original = world.store._apply

    def apply(commit: Commit) -> BaseException | None:
        nonlocal flushed
        flushed += 1
        if flushed > kept + 1:
            raise asyncio.CancelledError
        return original(commit)

    run_id = await start(engine, parent)
    world.store._apply = apply
    await asyncio.wait([asyncio.ensure_future(settle())])
    world.store._apply = original
    await world.kill(engine)
    async with world.open(flows=known) as engine:
        await settle()
        world.clock.jump(3_600_000)
        ended = await engine.wait(run_id)
        assert statuses(ended) == {"sub": "succeeded", "after": "succeeded"}
        await settle()
        assert [one.status for one in await children_of(world, run_id)] == ["succeeded"]
        assert await world.store.messages() == []


@pytest.mark.req("DUR-1.sub-flow")
async def test_the_end_of_a_child_whose_host_dies_at_once_wakes_the_parent_at_the_next_start(world: World) -> None:
    known = flows(flow(wait_callback("ask"), id="child"))
    async with world.open(flows=known) as engine:
        parent = await start(engine, flow(sub()))
        child = await held_child(engine, parent)
        token = await token_of(engine, child, "ask")
    engine = world.engine(flows=known)
    await engine.open(adopt=False)
    await engine.callback(token, {"x": 1})
    assert (await engine.record(child)).status == "succeeded"
    assert [message.run_id for _, message in await world.store.messages()] == [parent]
    await engine.close()
    async with world.open(flows=known) as engine:
        assert (await engine.wait(parent)).outputs == {"x": 1}
        assert await world.store.messages() == []


@pytest.mark.req("DUR-1.sub-flow")
async def test_a_cancellation_reaches_the_child_also_if_the_host_dies_before_it_does(world: World) -> None:
    known = flows(flow(wait_callback("ask"), id="child"))
    async with world.open(flows=known) as engine:
        parent = await start(engine, flow(sub()))
        child = await held_child(engine, parent)
    engine = world.engine(flows=known)
    await engine.open(adopt=False)
    await engine.cancel(parent)
    await engine.close()
    async with world.open(flows=known) as engine:
        await settle()
        assert (await engine.record(child)).status == "cancelled"
        assert await world.store.messages() == []


@pytest.mark.req("DUR-1.sub-flow")
async def test_a_message_whose_commit_fails_is_delivered_again(world: World) -> None:
    async with world.open(flows=flows(flow(wait_callback("ask"), id="child"))) as engine:
        parent = await start(engine, flow(sub()))
        child = await held_child(engine, parent)
        token = await token_of(engine, child, "ask")
        await engine.callback(token, 7)
        world.store.fail_next(2)
        assert (await engine.wait(parent)).outputs == 7
        await settle()
        assert await world.store.messages() == []
