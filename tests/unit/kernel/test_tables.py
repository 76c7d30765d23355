"""Every pair of a state and an event is either listed or refused, and a refusal changes nothing that matters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.errors import JournalCorruptError
from segue.flow.model import Callback, Edge, Poll, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import apply, fold
from segue.kernel.plan import compile_plan
from segue.kernel.state import RunState
from segue.kernel.status import (
    RUN_ENDED,
    RUN_TRANSITIONS,
    STEP_SETTLED,
    STEP_TRANSITIONS,
    RunStatus,
    StepStatus,
    failed_status,
)
from unit.kernel.builders import NOW, Play, flow, foreach, graph, on_error, parallel, seq, snapshot, step

ERROR = ev.Failure(category="timeout", message="late")
RUN_EVENTS: list[ev.Event] = [
    ev.RunAccepted(),
    ev.RunStarted(),
    ev.RunSucceeded(),
    ev.RunFailed(error=ERROR),
    ev.RunCancelled(),
    ev.RunTimedOut(error=ERROR),
    ev.RunPaused(),
    ev.RunResumed(),
    ev.CancelRequested(),
    ev.RunDeadlineReached(),
    ev.HostRestarted(),
    ev.FlowHandlersStarted(error=ERROR),
    ev.FinallyStarted(),
    ev.CompensationStarted(error=ERROR),
    ev.RunEnding(),
    ev.UndoRequested(),
    ev.Rewound(),
    ev.RolledBack(),
    ev.RunQueued(),
    ev.RunSkipped(),
]
STEP_EVENTS: list[ev.Event] = [
    ev.StepStarted(),
    ev.StepSucceeded(),
    ev.StepFailed(error=ERROR),
    ev.StepSkipped(),
    ev.StepCancelled(),
    ev.StepRecovered(error=ERROR),
    ev.AttemptStarted(),
    ev.AttemptFailed(error=ERROR, retry_at=NOW),
    ev.AttemptLost(),
    ev.WaitStarted(until=NOW),
    ev.CallbackReceived(),
    ev.PollAnswered(next_at=NOW),
    ev.BlocksOpened(),
    ev.IterationEnded(),
    ev.HandlerStarted(block=1, error=ERROR),
    ev.EdgesChosen(),
    ev.StepFailing(error=ERROR),
    ev.StepFinallyStarted(),
    ev.StepCompensationStarted(),
    ev.StepCompensated(),
    ev.ChildStarted(run_id="run_2", flow="other"),
    ev.Reminded(next_at=NOW),
    ev.EventReceived(id="evt_1"),
    ev.BlocksKept(),
    ev.SlotAwaited(),
    ev.FallbackStarted(error=ERROR),
]


def test_the_events_of_these_tables_are_all_events() -> None:
    assert {type(event) for event in RUN_EVENTS + STEP_EVENTS} == set(ev.ALL)
    assert len({event.KIND for event in ev.ALL}) == len(ev.ALL)


def test_every_status_has_a_row_and_only_known_events_stand_in_it() -> None:
    assert set(RUN_TRANSITIONS) == set(RunStatus) - {RunStatus.WAITING, RunStatus.QUARANTINED}
    assert set(STEP_TRANSITIONS) == set(StepStatus)
    assert all(event in {type(one) for one in RUN_EVENTS} for row in RUN_TRANSITIONS.values() for event in row)
    assert all(event in {type(one) for one in STEP_EVENTS} for row in STEP_TRANSITIONS.values() for event in row)


def test_an_end_is_left_only_by_undoing_or_rewinding_the_run() -> None:
    assert all(set(RUN_TRANSITIONS[status]) == {ev.UndoRequested, ev.Rewound} for status in RUN_ENDED)
    for status in STEP_SETTLED:
        assert set(STEP_TRANSITIONS[status].values()) <= {status}


# ---------------------------------------------------------------- runs


def run_in(status: RunStatus) -> RunState:
    """A run that came to this status by decisions, or by events where no decision stays there."""
    plan = compile_plan(
        flow(step("a"), on_error_block=seq(step("h"), label="on_error"), finally_=seq(step("f"), label="finally"))
    )
    if status is RunStatus.QUEUED:
        state = RunState(plan, "run_1")
        apply(state, -1, ev.RunAccepted(), NOW)
        return state
    play = Play(plan)
    if status is RunStatus.PAUSED:
        play.give(inp.PauseRun())
    elif status is RunStatus.SUCCEEDED:
        play.run()
    elif status is RunStatus.CANCELLED:
        play.give(inp.CancelRun())
        play.run()
    elif status is not RunStatus.RUNNING:
        play.bad("a")
        play.run()
        assert play.state.ended
        play.state.set_status(status)
    return play.state


@pytest.mark.req("DUR-6.detected")
@pytest.mark.parametrize("status", list(RUN_TRANSITIONS))
@pytest.mark.parametrize("event", RUN_EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_of_a_run_is_listed_or_refused(status: RunStatus, event: ev.Event) -> None:
    state = run_in(status)
    target = RUN_TRANSITIONS[status].get(type(event))
    if target is None:
        _refused(state, -1, event)
    else:
        apply(state, -1, event, NOW)
        assert (RunStatus.RUNNING if state.status is RunStatus.WAITING else state.status) is target


def _refused(state: RunState, number: int, event: ev.Event) -> None:
    before, seq = snapshot(state), state.seq
    with pytest.raises(JournalCorruptError) as caught:
        apply(state, number, event, NOW)
    assert caught.value.last_valid_seq == seq - 1
    assert f"event {seq}" in str(caught.value)
    assert snapshot(state) == before


@pytest.mark.req("DUR-6.detected")
def test_before_it_is_accepted_a_run_takes_no_event() -> None:
    for event in RUN_EVENTS[1:]:
        _refused(RunState(compile_plan(flow(step("a"))), "run_1"), -1, event)


# ---------------------------------------------------------------- steps


def step_in(status: StepStatus) -> RunState:
    """A run whose step `x` came to this status by decisions."""
    x = step("x", on_error=on_error(step("h"), match=("never",)))
    plans: dict[StepStatus, Any] = {
        StepStatus.PENDING: flow(step("first"), x),
        StepStatus.READY: flow(root=graph([step("first"), x], []), concurrency=1),
        StepStatus.RETRYING: flow(step("x", retry=Retry(max_attempts=2), on_error=x.on_error)),
        StepStatus.WAITING: flow(step("x", "wait", params={"duration": "1h"}, on_error=x.on_error)),
        StepStatus.SKIPPED: flow(step("x", when="false"), step("after")),
        StepStatus.RECOVERED: flow(root=graph([step("x"), step("bad"), step("good")], ["x>bad:error", "x>good"])),
        StepStatus.CANCELLED: flow(parallel("p", {"a": [x], "b": [step("wins")]}, join="first"), step("after")),
        StepStatus.TIMED_OUT: flow(
            root=graph([step("x", timeout=Timeout(total_seconds=1)), step("after")], []), on_error="continue"
        ),
        StepStatus.UNKNOWN_OUTCOME: flow(
            root=graph([step("x", at_most_once=True), step("after")], []), on_error="continue"
        ),
        StepStatus.FAILED: flow(root=graph([x, step("after")], []), on_error="continue"),
    }
    play = Play(plans.get(status, flow(x, step("after"))))
    if status in (StepStatus.RETRYING, StepStatus.RECOVERED, StepStatus.FAILED):
        play.bad("x")
    elif status is StepStatus.SUCCEEDED:
        play.ok("x")
    elif status is StepStatus.CANCELLED:
        play.ok("wins")
    elif status is StepStatus.TIMED_OUT:
        play.later(1_000)
    elif status is StepStatus.UNKNOWN_OUTCOME:
        play.crash()
    assert play.of("x") is status
    return play.state


@pytest.mark.req("DUR-6.detected")
@pytest.mark.parametrize("status", list(StepStatus))
@pytest.mark.parametrize("event", STEP_EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_of_a_step_is_listed_or_refused(status: StepStatus, event: ev.Event) -> None:
    state = step_in(status)
    x = next(one for one in state.nodes if one.address == "x")
    target = STEP_TRANSITIONS[status].get(type(event))
    if target is None:
        _refused(state, x.id, event)
        return
    if isinstance(event, ev.HandlerStarted):
        event = msgspec.structs.replace(event, block=x.plan.handlers[0].index)
    apply(state, x.id, event, NOW)
    assert x.status is target
    assert (x.id in state.ready) == (x.status is StepStatus.READY)


@pytest.mark.parametrize(
    ("category", "deadline", "status"),
    [
        ("timeout", False, "failed"),
        ("timeout", True, "timed_out"),
        ("unknown_outcome", False, "unknown_outcome"),
        ("dns", True, "timed_out"),
    ],
)
def test_a_failures_category_and_deadline_say_how_the_step_ended(category: str, deadline: bool, status: str) -> None:
    assert failed_status(category, deadline=deadline) == status


# ---------------------------------------------------------------- journals


@pytest.fixture
def play() -> Play:
    plan = flow(
        step("a", retry=Retry(max_attempts=2)),
        foreach("each", [1, 2], step("w"), tolerate="all"),
        step("p", "poll", poll=Poll(success_condition="$.ok")),
        step("hook", "wait", callback=Callback(uses=2)),
        parallel("q", {"x": [step("b", on_error=on_error(step("h")))], "y": [step("c")]}, join="any"),
        vars={"n": 1},
        timeout_seconds=10_000,
    )
    play = Play(plan, {"k": "v"}, {"body": 1})
    play.bad("a")
    play.next_timer()
    play.ok("a")
    play.bad("each[0].w")
    play.ok("each[1].w")
    play.ok("p", {"ok": False})
    play.next_timer()
    play.ok("p", {"ok": True})
    play.call_back("hook", 1)
    play.call_back("hook", 2)
    play.bad("b")
    play.ok("c")
    play.ok("b.on_error.h")
    assert play.status == "succeeded"
    return play


@pytest.mark.req("DUR-6.detected")
def test_a_journal_with_a_missing_row_is_refused_and_says_where(play: Play) -> None:
    rows = play.journal()
    for index in range(len(rows) - 1):
        with pytest.raises(JournalCorruptError, match=f"event {index} is missing") as caught:
            fold(play.plan, "run_1", rows[:index] + rows[index + 1 :])
        assert caught.value.last_valid_seq == index - 1


@pytest.mark.req("DUR-6.detected")
@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"output": }', b'{"retry_at": "x"}'])
def test_a_row_that_cannot_be_read_is_refused(play: Play, broken: bytes) -> None:
    rows = play.journal()
    number = next(index for index, row in enumerate(rows) if row[1] == ev.AttemptFailed.KIND)
    rows[number] = (*rows[number][:4], broken)
    with pytest.raises(JournalCorruptError, match="cannot be read") as caught:
        fold(play.plan, "run_1", rows)
    assert caught.value.last_valid_seq == number - 1


@pytest.mark.req("DUR-6.detected")
def test_a_row_of_an_unknown_kind_or_step_is_refused(play: Play) -> None:
    rows = play.journal()
    with pytest.raises(JournalCorruptError, match="cannot be read"):
        fold(play.plan, "run_1", [rows[0], (1, 250, -1, NOW, b"")])
    with pytest.raises(JournalCorruptError, match="does not exist"):
        fold(play.plan, "run_1", [*rows[:2], (2, ev.StepStarted.KIND, 99, NOW, b"")])


@pytest.mark.req("DUR-1.fold")
def test_each_event_reads_back_as_it_was_written() -> None:
    assert all(ev.decode(event.KIND, ev.encode(event)) == event for event in RUN_EVENTS + STEP_EVENTS)
    assert ev.encode(ev.StepStarted()) == b""


@pytest.mark.req("DUR-1.fold")
def test_every_prefix_of_a_journal_folds(play: Play) -> None:
    for count in range(len(play.rows) + 1):
        assert fold(play.plan, "run_1", play.journal(count)).seq == count


def test_an_edge_that_leads_nowhere_is_refused_when_the_plan_is_made() -> None:
    from segue.errors import InvalidFlowError
    from segue.flow.model import Block

    with pytest.raises(InvalidFlowError, match="an end that is no step"):
        compile_plan(flow(root=Block(label="root", steps=(step("a"),), edges=(Edge("a", "nowhere"),))))
    with pytest.raises(InvalidFlowError):
        compile_plan(flow(step("a", when="1 +")))
