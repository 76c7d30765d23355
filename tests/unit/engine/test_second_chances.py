"""New runs from old ones, the past of a run, and runs whose journal does not fold."""

from __future__ import annotations

import pytest

from segue.engine.flow_source import RegisteredFlows
from segue.engine.host import Engine
from segue.engine.second_chances import Asked, Changes
from segue.engine.views import view_of
from segue.errors import ConflictError, EngineError, NotFoundError, RequestError, StepError
from segue.flow.model import Flow
from segue.kernel import events as ev
from segue.store.port import JournalRow
from unit.engine.kit import World, block, flow, scripted, settle, start, state_of, step, token_of, wait_callback

pytestmark = pytest.mark.anyio


def spoil(world: World, key: int, seq: int) -> None:
    """Make one row of a journal unreadable, as a damaged disk would."""
    rows = world.store._journals[key]
    rows[seq] = JournalRow(seq, 9_999, rows[seq].step, rows[seq].at, b"?")


# ---------------------------------------------------------------- new runs


@pytest.mark.req("BAR-1.replay")
async def test_a_replay_is_a_new_run_that_calls_only_from_the_step_on(world: World) -> None:
    world.action(scripted(1, 2, 3, 20, 30))
    async with world.open() as engine:
        old = await start(engine, flow(step("a"), step("b"), step("c")))
        await engine.wait(old)
        made = await engine.second_chances.replay(old, ["b"], asked=Asked(by="tester", reason="why not"))
        assert (await engine.wait(made.run_id)).outputs == 30
        assert (made.kept, made.not_kept) == (1, ())
        assert (await state_of(engine, old)).outputs == 3
        record = await engine.record(made.run_id)
        view = view_of(await engine.state(record), record, engine.now())
        logs = await engine.store.load_logs((await engine.record(old)).key)
    assert world.called == ["a", "b", "c", "b", "c"]
    assert record.trigger == "replay"
    assert f"replays run {old} from `b`" in (view.reason or "")
    assert f"kept from run {old}" in (view.steps[0].reason or "")
    assert [line.message for _, line in logs] == [f"replayed as run {made.run_id}"]


def nested() -> tuple[Flow, RegisteredFlows]:
    """A flow that runs another, which runs a third: `first`, `mid/a`, `mid/low/x`, `mid/low/y`, `mid/b`, `last`."""
    low = flow(step("x"), step("y"), id="low")
    mid = flow(step("a"), step("low", kind="flow", params={"flow": "low"}), step("b"), id="mid")
    known = RegisteredFlows()
    for one in (low, mid):
        known.add(one)
    return flow(step("first"), step("mid", kind="flow", params={"flow": "mid"}), step("last"), id="top"), known


@pytest.mark.req("BAR-1.replay-sub-flow")
@pytest.mark.parametrize(
    ("to", "called"),
    [
        (["mid/b"], ["b", "last"]),
        (["mid/low/y"], ["y", "b", "last"]),
        (["mid/a"], ["a", "x", "y", "b", "last"]),
        (["mid"], ["a", "x", "y", "b", "last"]),
        (["mid", "mid/b"], ["a", "x", "y", "b", "last"]),
        (["last"], ["last"]),
    ],
)
async def test_a_replay_may_go_back_to_a_step_of_a_sub_flow(world: World, to: list[str], called: list[str]) -> None:
    top, known = nested()
    world.action(scripted(lambda params, _: params))
    async with world.open(flows=known) as engine:
        old = await start(engine, top)
        await engine.wait(old)
        assert world.called == ["first", "a", "x", "y", "b", "last"]
        del world.calls[:]
        made = await engine.second_chances.replay(old, to)
        assert (await engine.wait(made.run_id)).status == "succeeded"
        assert world.called == called
        child = (await state_of(engine, made.run_id)).nodes[1].child
        old_child = (await state_of(engine, old)).nodes[1].child
        assert (child is None) == (to == ["last"])
        if to == ["mid/b"]:
            origin = (await state_of(engine, child or "")).keeping
            assert origin is not None
            assert (origin.origin.run_id, origin.origin.to) == (old_child, ("b",))


@pytest.mark.req("BAR-1.replay-sub-flow")
async def test_a_replay_inside_of_a_sub_flow_takes_other_outputs_and_outlives_its_host(world: World) -> None:
    known = RegisteredFlows()
    known.add(flow(step("a"), wait_callback("ask"), step("b", params={"of": "$a"}), id="mid"))
    top = flow(step("mid", kind="flow", params={"flow": "mid"}), outputs={"got": "$mid"})
    world.action(scripted({"n": 1}, lambda params, _: params["of"], lambda params, _: params["of"]))
    async with world.open(flows=known) as engine:
        old = await start(engine, top)
        await settle()
        child = (await state_of(engine, old)).nodes[0].child or ""
        await engine.callback(await token_of(engine, child, "ask"), None)
        assert (await engine.wait(old)).outputs == {"got": {"n": 1}}
        changes = Changes(outputs={"mid/a": {"n": 2}})
        made = await engine.second_chances.replay(old, ["mid/ask"], changes)
        await settle()
        await world.kill(engine)
    async with world.open(flows=known) as engine:
        child = (await state_of(engine, made.run_id)).nodes[0].child or ""
        await engine.callback(await token_of(engine, child, "ask"), None)
        assert (await engine.wait(made.run_id)).outputs == {"got": {"n": 2}}
    assert world.called == ["a", "b", "b"]


@pytest.mark.req("BAR-1.retry-sub-flow")
async def test_a_retry_runs_again_what_failed_in_a_sub_flow_and_keeps_what_ended_well_there(world: World) -> None:
    top, known = nested()
    world.action(scripted(1, 2, 3, StepError("no", category="http.404"), 4, 5, 6))
    async with world.open(flows=known) as engine:
        run_id = await start(engine, top)
        assert (await engine.wait(run_id)).status == "failed"
        assert world.called == ["first", "a", "x", "y"]
        del world.calls[:]
        old = (await state_of(engine, run_id)).nodes[1].child
        await engine.second_chances.retry(run_id)
        await settle()
        await world.kill(engine)
    async with world.open(flows=known) as engine:
        assert (await engine.wait(run_id)).outputs == 6
        child = (await state_of(engine, run_id)).nodes[1].child or ""
        keeping = (await state_of(engine, child)).keeping
        assert keeping is not None
        assert keeping.origin.run_id == old != child
    assert world.called == ["y", "b", "last"]


@pytest.mark.req("BAR-1.retry-sub-flow")
async def test_a_retry_takes_what_a_sub_flow_that_was_retried_by_itself_gave(world: World) -> None:
    top, known = nested()
    world.action(scripted(1, 2, 3, 4, StepError("no", category="http.404"), 5, 6))
    async with world.open(flows=known) as engine:
        run_id = await start(engine, top)
        await engine.wait(run_id)
        child = (await state_of(engine, run_id)).nodes[1].child or ""
        await engine.second_chances.retry(child)
        assert (await engine.wait(child)).status == "succeeded"
        await engine.second_chances.retry(run_id)
        assert (await engine.wait(run_id)).outputs == 6
    assert world.called == ["first", "a", "x", "y", "b", "b", "last"]


@pytest.mark.req("BAR-1.retry-sub-flow")
async def test_a_sub_flow_that_was_cut_off_with_its_run_goes_on_where_it_stopped(world: World) -> None:
    known = RegisteredFlows()
    known.add(flow(step("a"), wait_callback("ask"), step("b"), id="mid"))
    world.action(scripted(1, 2))
    async with world.open(flows=known) as engine:
        run_id = await start(engine, flow(step("mid", kind="flow", params={"flow": "mid"})))
        await settle()
        await engine.cancel(run_id)
        await settle()
        await engine.second_chances.retry(run_id)
        await settle()
        child = (await state_of(engine, run_id)).nodes[0].child or ""
        await engine.callback(await token_of(engine, child, "ask"), None)
        assert (await engine.wait(run_id)).outputs == 2
    assert world.called == ["a", "b"]


@pytest.mark.req("BAR-1.retry-sub-flow")
async def test_a_sub_flow_that_gets_other_inputs_after_a_retry_begins_anew(world: World) -> None:
    known = RegisteredFlows()
    known.add(flow(step("a"), step("b"), id="mid", inputs={"type": "object", "properties": {"n": {}}}))
    undone = step("first", compensate=block(step("un"), label="compensate"))
    mid = step("mid", kind="flow", params={"flow": "mid", "inputs": {"n": "$first"}})
    world.action(scripted(1, 2, StepError("no", category="http.404"), "undone", 10, 20, 30))
    async with world.open(flows=known) as engine:
        run_id = await start(engine, flow(undone, mid))
        assert (await engine.wait(run_id)).status == "failed"
        await engine.second_chances.retry(run_id)
        assert (await engine.wait(run_id)).outputs == 30
    assert world.called == ["first", "a", "b", "first.compensate.un", "first", "a", "b"]


@pytest.mark.req("BAR-1.replay-sub-flow")
async def test_what_is_wrong_inside_of_a_sub_flow_is_told_at_once(world: World) -> None:
    top, known = nested()
    world.action(scripted(lambda params, _: params))
    async with world.open(flows=known) as engine:
        old = await start(engine, top)
        await engine.wait(old)
        replay = engine.second_chances.replay
        with pytest.raises(NotFoundError, match="has no step `nobody`"):
            await replay(old, ["mid/nobody"])
        with pytest.raises(ConflictError, match=r"`first` of run .* has started no sub-flow's run"):
            await replay(old, ["first/x"])
        with pytest.raises(RequestError, match="only if the replay goes back to a step there"):
            await replay(old, ["last"], Changes(outputs={"mid/a": 1}))
        with pytest.raises(NotFoundError, match="keeps no output of `b`"):
            await replay(old, ["mid/low/y"], Changes(outputs={"mid/b": 1}))


@pytest.mark.req("BAR-1.replay")
async def test_a_replay_survives_a_host_that_dies_before_its_first_call(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        old = await start(engine, flow(step("a"), wait_callback("c")))
        await settle()
        made = await engine.second_chances.replay(old, ["c"])
        await settle()
    async with world.open() as engine:
        await engine.callback(await token_of(engine, made.run_id, "c"), 7)
        assert (await engine.wait(made.run_id)).outputs == 7
    assert world.called == ["a"]


@pytest.mark.req("BAR-1.dials")
async def test_on_another_version_with_other_data(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        first = flow(step("a"), step("b"), step("end", "map", params={"value": "$a"}), version="1")
        old = await start(engine, first, {"n": 1})
        await engine.wait(old)
        newer = flow(step("a"), step("end", "map", params={"value": ["$a", "$inputs.n"]}), version="2")
        await engine.versions.keep(newer, "", engine.now())
        changes = Changes(version="latest", inputs={"n": 2}, outputs={"a": 5})
        made = await engine.second_chances.replay(old, ["end"], changes)
        assert (await engine.wait(made.run_id)).outputs == [5, 2]
        assert [(one.step, one.why) for one in made.not_kept] == [
            ("b", "there is no such step in the version that is run; it was a `call` step")
        ]
        with pytest.raises(NotFoundError, match="no version '9'"):
            await engine.second_chances.replay(old, ["end"], Changes(version="9"))
        with pytest.raises(RequestError, match="sub-flow"):
            await engine.second_chances.replay(old, ["a/b"])


@pytest.mark.req("DUR-3.fork")
async def test_a_fork_keeps_what_had_settled_by_an_event(world: World) -> None:
    world.action(scripted(1, 2, 3, 20, 30))
    async with world.open() as engine:
        old = await start(engine, flow(step("a"), step("b"), step("c")))
        await engine.wait(old)
        rows = await engine.store.load_journal((await engine.record(old)).key)
        at = next(row.seq for row in rows if row.kind == ev.StepSucceeded.KIND)
        made = await engine.second_chances.fork(old, at)
        assert (await engine.wait(made.run_id)).outputs == 30
        whole = await engine.second_chances.fork(old)
        assert (await engine.wait(whole.run_id)).outputs == 3
        with pytest.raises(ConflictError, match="no event 99"):
            await engine.second_chances.fork(old, 99)
    assert world.called == ["a", "b", "c", "b", "c"]


# ---------------------------------------------------------------- the past


@pytest.mark.req("DUR-2.past")
async def test_a_run_is_shown_as_of_each_of_its_events(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a"), step("b")))
        await engine.wait(run_id)
        record = await engine.record(run_id)
        told: list[str] = []
        for row in await engine.store.load_journal(record.key):
            state, at = await engine.second_chances.as_of(record, row.seq)
            assert (state.seq, at) == (row.seq + 1, row.at)
            told.append(view_of(state, record, at).status)
        with pytest.raises(ConflictError, match="no event -1"):
            await engine.second_chances.as_of(record, -1)
    assert (told[0], told[-1]) == ("queued", "succeeded")
    assert "running" in told


# ---------------------------------------------------------------- journals that do not fold


async def quarantined(world: World, engine: Engine) -> str:
    """A run whose journal is damaged after its first step's end."""
    run_id = await start(engine, flow(step("a"), step("b")))
    await engine.wait(run_id)
    key = (await engine.record(run_id)).key
    rows = await engine.store.load_journal(key)
    spoil(world, key, next(row.seq for row in rows if row.kind == ev.StepSucceeded.KIND) + 1)
    return run_id


@pytest.mark.req("DUR-6.rollback")
async def test_a_damaged_run_goes_on_from_its_last_valid_event_and_the_rest_is_set_aside(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await quarantined(world, engine)
        key = (await engine.record(run_id)).key
        before = await engine.store.load_journal(key)
        with pytest.raises(EngineError, match="does not fold"):
            await engine.second_chances.retry(run_id)
        assert (await engine.record(run_id)).status == "quarantined"
        done = await engine.second_chances.rollback(run_id, Asked(by="tester"))
        assert (await engine.wait(run_id)).status == "succeeded"
        assert done.set_aside == len(before) - done.last_valid_event - 1
        aside = await engine.store.journal_aside(key)
        assert [row for _, row in aside] == before[done.last_valid_event + 1 :]
        with pytest.raises(ConflictError, match="nothing to roll back"):
            await engine.second_chances.rollback(run_id)
    assert world.called == ["a", "b", "b"], "`a` had ended, and that is valid"


@pytest.mark.req("DUR-6.rollback")
async def test_a_quarantined_run_takes_nothing_but_a_rollback(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await quarantined(world, engine)
        with pytest.raises(EngineError):
            await engine.second_chances.rewind(run_id, ["a"])
        for told in (engine.pause(run_id), engine.second_chances.rewind(run_id, ["a"])):
            with pytest.raises(ConflictError, match="quarantined"):
                await told


@pytest.mark.req("DUR-6.rollback")
async def test_a_run_of_which_nothing_but_its_acceptance_folds_cannot_be_rolled_back(world: World) -> None:
    world.action(scripted(1))
    async with world.open() as engine:
        run_id = await start(engine, flow(step("a")))
        await engine.wait(run_id)
        spoil(world, (await engine.record(run_id)).key, 1)
        with pytest.raises(ConflictError, match="start the flow again"):
            await engine.second_chances.rollback(run_id)
