"""What a decision tells the world outside: attempts to make and to give up, callbacks, events, sub-flows, slots.

Each row is a flow, what happens to it, and what the last of that led to. Hosts act on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segue.flow.model import Fallback, Flow, Handler, Limits, Poll, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decision import Decision
from unit.kernel.builders import (
    NOW,
    Play,
    callback,
    compensate,
    conditional,
    failure,
    final,
    flow,
    foreach,
    graph,
    parallel,
    repeat,
    seq,
    step,
    try_,
)

TWICE = Retry(max_attempts=2, initial_delay_seconds=5.0, jitter="none")
Move = Callable[[Play], Decision]


def ok(address: str, output: Any = None) -> Move:
    return lambda play: play.ok(address, output)


def bad(address: str, category: str = "http.404") -> Move:
    return lambda play: play.bad(address, category, "gone")


def later(seconds: float) -> Move:
    return lambda play: play.later(round(seconds * 1000))


def give(given: inp.Input) -> Move:
    return lambda play: play.give(given)


def crash(play: Play) -> Decision:
    return play.crash()


def callback_of(address: str, payload: Any = None) -> Move:
    return lambda play: play.call_back(address, payload)


def told(made: Decision) -> dict[str, Any]:
    """The effects of a decision that are not empty. An attempt that ends by failing may be among the cancelled."""
    outside = made.outside
    found: dict[str, Any] = {
        "start": [f"{one.address}#{one.attempt}" for one in made.start],
        "cancel": sorted(one.address for one in made.cancel),
        "slots": [one.address for one in made.slots],
        "opened": [one.address for one in made.callbacks_opened],
        "closed": [f"{one.address} {how}" for one, how in made.callbacks_closed.values()],
    }
    if outside is not None:
        found |= {
            "children": [f"{one.address} {one.generation} {one.number}" for one in outside.children_cancelled],
            "waits": [one.address for one in outside.waits_opened],
            "waits over": outside.waits_closed,
            "emitted": [one.name for one in outside.emitted],
            "responded": outside.responded,
            "called": outside.correlations,
            "remarks": [text for _, text in outside.remarks],
        }
    return {name: value for name, value in found.items() if value}


def handled(then: str) -> tuple[Handler, ...]:
    return (Handler(block=seq(step("h"), label="on_error"), then=then),)


WAIT = step("w", "wait", callback=callback(expires_seconds=60.0))
EVENT = step("w", "wait", params={"event": "paid"})
SUB = step("sub", "flow", timeout=Timeout(attempt_seconds=30.0), retry=TWICE)
BEGAN = inp.ChildBegan(0, 1, "run_9", "other")
PAIR = parallel("p", {"a": [step("x")], "b": [step("y"), step("z")]})

ROWS: list[tuple[Flow, list[Move], dict[str, Any]]] = [
    (flow(step("a"), step("b")), [ok("a")], {"start": ["b#1"]}),
    (flow(step("a", retry=TWICE)), [bad("a", "timeout")], {}),
    (flow(step("a", retry=TWICE)), [bad("a", "timeout"), later(4.999)], {}),
    (flow(step("a", retry=TWICE)), [bad("a", "timeout"), later(5)], {"start": ["a#2"]}),
    (flow(step("a", timeout=Timeout(attempt_seconds=3.0), retry=TWICE)), [later(3)], {"cancel": ["a"]}),
    (flow(step("a", timeout=Timeout(attempt_seconds=3.0), retry=TWICE)), [later(3), later(5)], {"start": ["a#2"]}),
    (flow(step("a", timeout=Timeout(total_seconds=3.0), retry=TWICE)), [later(3)], {"cancel": ["a"]}),
    (flow(step("a", fallback=(Fallback(use="b"),))), [bad("a")], {"start": ["a#2"]}),
    (flow(step("a", at_most_once=True)), [crash], {"cancel": ["a"]}),
    (flow(step("a")), [crash], {"start": ["a#2"]}),
    (flow(step("a"), timeout_seconds=9.0), [later(9)], {"cancel": ["a"]}),
    (flow(PAIR), [give(inp.CancelRun())], {"cancel": ["x", "y"]}),
    (flow(PAIR), [bad("x")], {"cancel": ["x", "y"]}),
    (flow(PAIR), [give(inp.PauseRun()), ok("y")], {}),
    (flow(PAIR), [give(inp.PauseRun()), ok("y"), give(inp.ResumeRun())], {"start": ["z#1"]}),
    (flow(root=graph([step("x"), step("y"), step("j", join="first")], ["x>j", "y>j"])), [ok("x")],
     {"cancel": ["y"], "start": ["j#1"]}),
    (flow(parallel("p", {"a": [step("x")], "b": [step("y")]}, join="first"), step("end")), [ok("x")],
     {"cancel": ["y"], "start": ["end#1"]}),
    (flow(parallel("p", {"a": [step("x")], "b": [step("y")]}, join="any"), step("end")), [ok("x")],
     {"start": ["end#1"]}),
    (flow(foreach("each", [1, 2, 3], step("x"), limit=2)), [ok("each[0].x")], {"start": ["each[2].x#1"]}),
    (flow(repeat("loop", step("x"), max=2)), [ok("loop[0].x")], {"start": ["loop[1].x#1"]}),
    (flow(repeat("loop", step("x"), max=2, every="9s")), [ok("loop[0].x")], {}),
    (flow(repeat("loop", step("x"), max=2, every="9s")), [ok("loop[0].x"), later(9)], {"start": ["loop[1].x#1"]}),
    (flow(try_("t", [step("x")], [step("c")], [step("f")])), [bad("x")], {"cancel": ["x"], "start": ["c#1"]}),
    (flow(try_("t", [step("x")], [step("c")], [step("f")])), [bad("x"), bad("c")],
     {"cancel": ["c"], "start": ["f#1"]}),
    (flow(step("a", finally_=final(step("f")))), [give(inp.CancelRun())],
     {"cancel": ["a"], "start": ["a.finally.f#1"]}),
    (flow(step("a", finally_=final(step("f")))), [give(inp.CancelRun(force=True))], {"cancel": ["a"]}),
    (flow(step("a", on_error=handled("retry"))), [bad("a"), ok("a.on_error.h"), later(0)],
     {"start": ["a#2"]}),
    (flow(step("a", on_error=handled("fail"))), [bad("a"), ok("a.on_error.h")], {}),
    (flow(conditional("c", ("true", [step("x"), step("y")]), retry=TWICE)), [ok("x"), bad("y", "timeout"), later(5)],
     {"start": ["x#1"]}),
    (flow(step("a", compensate=compensate(step("n"))), step("b")), [ok("a"), bad("b")],
     {"cancel": ["b"], "start": ["a.compensate.n#1"]}),
    (flow(step("a", compensate=compensate(step("n"))), step("b"), timeout_seconds=9.0),
     [ok("a"), bad("b"), give(inp.CancelRun())], {}),
    (flow(step("a", compensate=compensate(step("n"))), step("b")),
     [ok("a"), bad("b"), give(inp.CancelRun(force=True))], {"cancel": ["a.compensate.n"]}),
    # callbacks
    (flow(step("a"), WAIT), [ok("a")], {"opened": ["w"]}),
    (flow(WAIT, step("b")), [callback_of("w", 1)], {"closed": ["w used"], "start": ["b#1"]}),
    (flow(WAIT), [later(60)], {"closed": ["w expired"]}),
    (flow(WAIT), [give(inp.CancelRun())], {"closed": ["w cancelled"]}),
    (flow(step("a", callback=callback(expires_seconds=60.0))), [ok("a", 1)], {}),
    (flow(step("a", callback=callback(expires_seconds=60.0))), [callback_of("a", 1), ok("a")], {"closed": ["a used"]}),
    (flow(step("a", callback=callback(expires_seconds=60.0))), [bad("a")],
     {"cancel": ["a"], "closed": ["a cancelled"]}),
    (flow(step("a"), step("w", "wait", callback=callback(expires_seconds=60.0, correlate="{{ 40 + 2 }}"))), [ok("a")],
     {"opened": ["w"], "called": {1: 42}}),
    (flow(step("a"), step("ask", "approve", params={"to": ["ann"]}, callback=callback(expires_seconds=60.0))),
     [ok("a")], {"opened": ["ask"]}),
    (flow(step("ask", "approve", params={"remind": 9.0}, callback=callback(expires_seconds=60.0))), [later(9)],
     {"emitted": ["segue.approval.reminder"]}),
    (flow(step("ask", "approve", callback=callback(expires_seconds=60.0, on_timeout="reject")), step("b")), [later(60)],
     {"closed": ["ask expired"], "start": ["b#1"]}),
    # events
    (flow(step("a"), EVENT), [ok("a")], {"waits": ["w"]}),
    (flow(EVENT, step("b")), [give(inp.EventArrived(0, 0, "evt_1", "paid", NOW, 1))],
     {"waits over": [(0, 0)], "start": ["b#1"]}),
    (flow(EVENT, step("b")), [give(inp.EventArrived(0, 0, "evt_1", "sent", NOW, 1))], {}),
    (flow(EVENT, step("b")), [give(inp.EventArrived(0, 1, "evt_1", "paid", NOW, 1))], {}),
    (flow(EVENT, step("b")), [give(inp.EventArrived(0, 0, "evt_1", "paid", NOW - 1, 1))], {}),
    (flow(EVENT, step("b")), [give(inp.EventArrived(7, 0, "evt_1", "paid", NOW, 1))], {}),
    (flow(step("w", "wait", params={"event": "paid", "where": "1 / 0"})),
     [give(inp.EventArrived(0, 0, "evt_1", "paid", NOW, 1))],
     {"remarks": ["the event paid (evt_1) was not taken: where.evt_1: EXP105 division by zero (at 0)"]}),
    (flow(EVENT), [give(inp.CancelRun())], {"waits over": [(0, 0)]}),
    (flow(step("a"), step("e", "emit", params={"event": "paid"}), step("b")), [ok("a")],
     {"emitted": ["paid"], "start": ["b#1"]}),
    (flow(step("a"), step("r", "respond", params={"body": 1}), step("b")), [ok("a")],
     {"responded": True, "start": ["b#1"]}),
    (flow(step("r", "respond"), step("a"), step("again", "respond"), step("b")), [ok("a")], {"start": ["b#1"]}),
    # sub-flows
    (flow(SUB), [give(BEGAN)], {}),
    (flow(SUB), [give(BEGAN), give(inp.CancelRun())], {"children": ["sub 0 1"]}),
    (flow(SUB), [give(inp.CancelRun())], {"cancel": ["sub"], "children": ["sub 0 1"]}),
    (flow(SUB), [give(BEGAN), later(30)], {"children": ["sub 0 1"]}),
    (flow(SUB), [give(BEGAN), later(30), later(5)], {"start": ["sub#2"]}),
    (flow(SUB, step("b")), [give(BEGAN), give(inp.ChildEnded(0, 0, 1, "run_9", "other", output=1))],
     {"start": ["b#1"]}),
    (flow(SUB, step("b")), [give(inp.ChildEnded(0, 0, 1, "run_9", "other", output=1))],
     {"cancel": ["sub"], "start": ["b#1"]}),
    (flow(SUB, step("b")), [give(BEGAN), give(inp.ChildEnded(0, 0, 2, "run_9", "other", output=1))], {}),
    (flow(SUB, step("b")), [give(BEGAN), give(inp.ChildEnded(0, 1, 1, "run_9", "other", output=1))], {}),
    (flow(SUB), [give(BEGAN), give(inp.ChildEnded(0, 0, 1, "run_9", "other", failure=failure("validation")))], {}),
    (flow(step("sub", "flow", params={"wait": False}), step("b")), [give(inp.CancelRun())], {"cancel": ["sub"]}),
    # a job
    (flow(step("a", "poll", poll=Poll(success_condition="$ > 1", interval_seconds=2.0, multiplier=3.0))),
     [ok("a", 1), later(2)], {"start": ["a#2"]}),
    (flow(step("a", "poll", poll=Poll(success_condition="$ > 1", interval_seconds=2.0, multiplier=3.0))),
     [ok("a", 1), later(2), ok("a", 1), later(5.999)], {}),
    (flow(step("a", "poll", poll=Poll(success_condition="$ > 1", interval_seconds=2.0, multiplier=3.0))),
     [ok("a", 1), later(2), ok("a", 1), later(6)], {"start": ["a#3"]}),
    # going back
    (flow(step("a"), PAIR), [ok("a"), give(inp.RewindRun(("a",)))], {"cancel": ["x", "y"], "start": ["a#1"]}),
    (flow(step("a"), WAIT), [ok("a"), give(inp.RewindRun(("a",)))], {"closed": ["w cancelled"], "start": ["a#1"]}),
    (flow(step("a"), EVENT), [ok("a"), give(inp.RewindRun(("a",)))], {"waits over": [(1, 0)], "start": ["a#1"]}),
]  # fmt: skip


@pytest.mark.req("DUR-1.effects")
@pytest.mark.parametrize(("what", "moves", "effects"), ROWS)
def test_what_happens_to_a_run_leads_to_these_effects_and_no_others(
    what: Flow, moves: list[Move], effects: dict[str, Any]
) -> None:
    play = Play(what)
    made = [move(play) for move in moves]
    assert told(made[-1]) == effects


@pytest.mark.req("EXEC-5.limits")
def test_every_attempt_of_a_limited_step_asks_for_a_slot_under_the_key_of_the_first() -> None:
    limited = step("a", retry=TWICE, limits=Limits(concurrency=1, key="$vars.n"))
    play = Play(flow(limited, vars={"n": 7}), check=False)
    assert (play.started, play.step("a").slot_key) == ([], "7")
    assert told(play.give(inp.SlotGiven(0))) == {"start": ["a#1"]}
    assert told(play.give(inp.SlotGiven(0))) == {}, "it does not wait for one any more"
    play.bad("a")
    play.give(inp.RewindRun(("a",)))
    play.give(inp.SlotGiven(0))
    play.bad("a", "timeout")
    assert told(play.later(5_000)) == {"slots": ["a"]}
    assert told(play.give(inp.SlotGiven(0))) == {"start": ["a#2"]}
    again = [one.event for one in play.rows if isinstance(one.event, ev.SlotAwaited)]
    assert again == [ev.SlotAwaited(key="7")] * 3


@pytest.mark.req("EXEC-5.limits")
def test_a_paused_run_takes_no_slot_and_asks_again_when_it_goes_on() -> None:
    play = Play(flow(step("a", limits=Limits(concurrency=1))), check=False)
    play.give(inp.PauseRun())
    assert told(play.give(inp.SlotGiven(0))) == {}
    assert told(play.give(inp.ResumeRun())) == {"slots": ["a"]}


@pytest.mark.req("EXEC-5.on-full")
@pytest.mark.parametrize(("how", "status", "run"), [("skip", "skipped", "succeeded"), ("reject", "failed", "failed")])
def test_a_step_that_gets_no_slot_is_skipped_or_fails(how: Any, status: str, run: str) -> None:
    play = Play(flow(step("a", limits=Limits(concurrency=1))), check=False)
    play.give(inp.SlotRefused(0, how, "full"))
    assert (play.of("a"), play.status) == (status, run)
    if how == "reject":
        assert play.state.error == ev.Failure(
            category="rate_limit", code="limit_reached", message="full", step="a"
        )  # fmt: skip


# ---------------------------------------------------------------- why things were cut off


@pytest.mark.req("BAR-4.what-happened")
@pytest.mark.parametrize(
    ("what", "moves", "address", "reason"),
    [
        (flow(PAIR), [bad("x")], "y", "`p` failed"),
        (flow(root=graph([step("a"), step("b")], [])), [bad("a")], "b", "`a` failed"),
        (flow(PAIR), [give(inp.CancelRun("enough"))], "x", "enough"),
        (flow(PAIR), [give(inp.CancelRun())], "x", "the run was cancelled"),
        (flow(PAIR, timeout_seconds=9.0), [later(9)], "x", "the run's time is over"),
        (flow(parallel("p", {"a": [step("x")], "b": [step("y")]}, join="first")), [ok("x")], "y",
         "another branch was first"),
        (flow(root=graph([step("x"), step("y"), step("j", join="first")], ["x>j", "y>j"])), [ok("x")], "y",
         "another path to `j` was first"),
        (flow(root=graph([step("x"), step("r", "return"), step("y")], ["x>r"])), [ok("x")], "y", "`r` ended the run"),
        (flow(foreach("each", [1, 2], step("x"))), [bad("each[0].x")], "each[1].x", "`each` failed"),
        (flow(step("a", disabled=True)), [], "a", "the step is disabled"),
        (flow(step("a", when="inputs.n > 1")), [], "a", "its condition was not met: inputs.n > 1"),
    ],
)  # fmt: skip
def test_what_was_cut_off_or_left_out_says_why(what: Flow, moves: list[Move], address: str, reason: str) -> None:
    play = Play(what, {"n": 1})
    for move in moves:
        move(play)
    assert play.step(address).reason == reason
