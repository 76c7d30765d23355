"""Which timers are open after what, and when they are due; which names an expression knows; what does not fold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.errors import JournalCorruptError
from segue.flow.model import Fallback, Flow, Handler, Limits, Poll, Retry, Step, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import apply, fold
from segue.kernel.scope import RunScope, SeededImpure, step_scope
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
from unit.kernel.test_effects import Move, bad, callback_of, crash, give, later, ok

LIMITS = Timeout(attempt_seconds=3.0, total_seconds=20.0)
TWICE = Retry(max_attempts=3, initial_delay_seconds=5.0, jitter="none")
JOB = Poll(success_condition="$ > 1", interval_seconds=2.0, multiplier=3.0, max_interval_seconds=5.0)
RETRIED = (Handler(block=seq(step("h"), label="on_error"), then="retry"),)
CALLED = callback(expires_seconds=60.0)


def open_timers(play: Play) -> dict[str, float]:
    """By address and kind: seconds from the beginning of the run."""
    return {
        f"{'run' if number < 0 else play.state.nodes[number].address} {kind}": (due - NOW) / 1000
        for (number, kind), due in play.state.timers.items()
    }


def timed(kind: str = "call", **settings: Any) -> Step:
    return step("a", kind, timeout=LIMITS, **settings)


ROWS: list[tuple[Flow, list[Move], dict[str, float]]] = [
    (flow(step("a"), timeout_seconds=90.0), [], {"run run": 90}),
    (flow(step("a"), timeout_seconds=90.0), [ok("a")], {}),
    (flow(step("a"), timeout_seconds=90.0, finally_=seq(step("f"), label="finally")), [later(90)], {}),
    (flow(timed()), [], {"a total": 20, "a attempt": 3}),
    (flow(timed(), step("b")), [ok("a")], {}),
    (flow(timed(), step("b"), on_error="continue"), [bad("a")], {}),
    (flow(timed()), [give(inp.CancelRun())], {}),
    (flow(timed(retry=TWICE)), [later(3)], {"a total": 20, "a retry": 8}),
    (flow(timed(retry=TWICE)), [later(3), later(5)], {"a total": 20, "a attempt": 11}),
    (flow(timed(retry=TWICE)), [later(3), later(5), later(3)], {"a total": 20, "a retry": 21}),
    (flow(timed(retry=TWICE)), [later(1), crash], {"a total": 20, "a attempt": 4}),
    (flow(timed(fallback=(Fallback(use="b"),))), [later(1), bad("a")], {"a total": 20, "a attempt": 4}),
    (flow(timed(on_error=RETRIED)), [bad("a")], {}),
    (flow(timed(on_error=RETRIED)), [bad("a"), later(1), ok("a.on_error.h")], {"a retry": 1}),
    (flow(timed(on_error=RETRIED)), [bad("a"), later(1), ok("a.on_error.h"), later(0)], {"a attempt": 4}),
    (flow(timed(finally_=final(step("f")))), [ok("a")], {}),
    (flow(step("w", "wait", params={"duration": "1m"})), [], {"w wait": 60}),
    (flow(step("w", "wait", params={"duration": "1m"}), step("b")), [later(60)], {}),
    (flow(step("w", "wait", params={"duration": "1m"}, timeout=Timeout(total_seconds=9.0))), [],
     {"w wait": 60, "w total": 9}),
    (flow(step("w", "wait", params={"duration": "1m"}, timeout=Timeout(attempt_seconds=9.0))), [],
     {"w wait": 60, "w total": 9}),
    (flow(step("w", "wait", callback=CALLED)), [], {"w expiry": 60}),
    (flow(step("w", "wait", callback=CALLED), step("b")), [callback_of("w")], {}),
    (flow(step("a", callback=CALLED)), [], {}),
    (flow(step("a", callback=CALLED)), [later(9), ok("a")], {"a expiry": 60}),
    (flow(timed(callback=CALLED)), [later(1), ok("a")], {"a total": 20, "a expiry": 60}),
    (flow(step("k", "approve", params={"remind": 9.0}, callback=CALLED)), [], {"k expiry": 60, "k remind": 9}),
    (flow(step("k", "approve", params={"remind": 9.0}, callback=CALLED)), [later(9)], {"k expiry": 60, "k remind": 18}),
    (flow(step("k", "approve", params={"remind": 40.0}, callback=CALLED)), [later(40)], {"k expiry": 60}),
    (flow(step("w", "wait", params={"event": "paid"}, timeout=LIMITS)), [], {"w total": 20}),
    (flow(step("s", "flow", timeout=LIMITS)), [give(inp.ChildBegan(0, 1, "run_9", "x"))],
     {"s total": 20, "s attempt": 3}),
    (flow(timed("poll", poll=JOB)), [ok("a", 1)], {"a total": 20, "a poll": 2}),
    (flow(timed("poll", poll=JOB)), [ok("a", 1), later(2)], {"a total": 20, "a attempt": 5}),
    (flow(timed("poll", poll=JOB)), [ok("a", 1), later(2), ok("a", 1)], {"a total": 20, "a poll": 7}),
    (flow(step("a", limits=Limits(concurrency=1), timeout=LIMITS)), [], {}),
    (flow(step("a", limits=Limits(concurrency=1), timeout=LIMITS)), [later(2), give(inp.SlotGiven(0))],
     {"a total": 22, "a attempt": 5}),
    (flow(repeat("loop", step("x"), max=2, every="9s")), [ok("loop[0].x")], {"loop every": 9}),
    (flow(repeat("loop", step("x"), max=2, every="9s")), [ok("loop[0].x"), later(9)], {}),
    (flow(conditional("c", ("true", [step("x")]), timeout=LIMITS)), [], {"c total": 20}),
    (flow(conditional("c", ("true", [step("x")]), timeout=LIMITS, retry=TWICE)), [], {"c total": 20, "c attempt": 3}),
    (flow(conditional("c", ("true", [step("x")]), timeout=LIMITS, retry=TWICE)), [bad("x", "timeout")],
     {"c total": 20, "c retry": 5}),
    (flow(conditional("c", ("true", [step("x")]), timeout=LIMITS, retry=TWICE)), [bad("x", "timeout"), later(5)],
     {"c total": 20, "c attempt": 8}),
    (flow(parallel("p", {"a": [timed()], "b": [step("b")]})), [bad("b")], {}),
    (flow(foreach("each", [1, 2], timed())), [ok("each[0].a")], {"each[1].a total": 20, "each[1].a attempt": 3}),
    (flow(step("z", compensate=compensate(timed())), step("b"), timeout_seconds=90.0), [ok("z"), bad("b")],
     {"z.compensate.a total": 20, "z.compensate.a attempt": 3}),
]  # fmt: skip


@pytest.mark.req("TIME-2.timers")
@pytest.mark.parametrize(("what", "moves", "timers"), ROWS)
def test_these_timers_are_open_and_no_others(what: Flow, moves: list[Move], timers: dict[str, float]) -> None:
    play = Play(what, check=not any(one.limits for one in what.root.steps))
    for move in moves:
        move(play)
    assert open_timers(play) == timers
    assert play.state.next_due() == (NOW + round(min(timers.values()) * 1000) if timers else None)


@pytest.mark.req("EXEC-5.strategy")
def test_a_step_between_two_attempts_keeps_its_turn_until_it_is_over() -> None:
    play = Play(flow(root=graph([step("a", retry=TWICE), step("b")], []), strategy="sequential"))
    play.bad("a", "timeout")
    assert (play.active, play.state.turns) == ([], 1)
    play.later(5_000)
    assert (play.active, play.state.turns) == (["a"], 0)
    play.ok("a")
    assert (play.active, play.state.turns) == (["b"], 0)
    waits = Play(flow(root=graph([step("w", "wait", params={"duration": "1m"}), step("b")], []), strategy="sequential"))
    assert (waits.active, waits.state.turns) == (["b"], 0), "one that only waits keeps none"
    gone = Play(flow(root=graph([step("a", retry=TWICE), step("b")], []), strategy="sequential"))
    gone.bad("a", "timeout")
    gone.give(inp.CancelRun())
    assert gone.state.turns == 0


# ---------------------------------------------------------------- names


@pytest.mark.req("EXEC-8.names")
def test_these_names_are_known_everywhere() -> None:
    play = Play(
        flow(step("a"), step("b"), vars={"n": 1}, env={"region": "eu"}, version="3"),
        {"x": 1}, {"body": {"y": 2}},
    )  # fmt: skip
    play.ok("a", 7)
    scope = step_scope(play.state, play.step("b"), value=9)
    bound = {"secrets", "item", "index", "error", "results"}
    found = {name: scope.lookup(name) for name in scope.names() if name not in bound}
    assert found == {
        "inputs": {"x": 1}, "input": {"x": 1}, "data": 7, "trigger": {"body": {"y": 2}}, "vars": {"n": 1},
        "env": {"region": "eu"}, "attempt": 1, "steps": {"a": 7, "b": None}, "a": 7, "b": None,
        "run": {"id": "run_1", "flow": "f", "version": "3", "started_at": "2027-01-15T08:00:00.000Z"},
        "self": {"id": "b", "path": "b", "attempt": 1, "generation": 0},
    }  # fmt: skip
    assert scope.lookup("$") == 9
    outer = RunScope(play.state)
    assert (outer.lookup("data"), outer.lookup("self"), outer.lookup("attempt")) == ({"y": 2}, None, 0)


@pytest.mark.req("EXEC-8.names")
def test_of_a_loop_the_steps_of_each_item_are_seen_by_place_or_by_key() -> None:
    for key, seen in ((None, [{"x": 1}, {"x": 1}]), ("item", {"p": {"x": 1}, "q": {"x": 1}})):
        keyed = {} if key is None else {"key": key}
        play = Play(flow(foreach("each", ["p", "q"], step("x"), **keyed), repeat("turns", step("y"), max=2), step("b")))
        play.run({"x": 1, "y": 2})
        assert RunScope(play.state).lookup("steps") == {"each": seen, "turns": [{"y": 2}, {"y": 2}], "b": None}
        then = RunScope(play.state, limit=play.step("turns").started_seq)
        assert then.lookup("steps") == {"each": seen, "turns": None, "b": None}


@pytest.mark.req("EXEC-8.names")
def test_what_undoes_a_step_sees_the_run_as_it_was_when_the_step_had_ended() -> None:
    seen = {"value": {"steps": "$steps", "n": "$vars.n", "b": "$b", "out": "$output", "why": "$error.message"}}
    undo = compensate(step("look", "map", params=seen))
    first, second = (step(name, "set", params={"n": n}) for name, n in (("s", 1), ("t", 2)))
    play = Play(flow(first, step("a", compensate=undo), second, step("b"), step("c"), vars={"n": 0}))
    play.ok("a", "done")
    play.ok("b", "later")
    play.bad("c", "http.404", "gone")
    assert play.out("a.compensate.look") == {
        "steps": {"s": {"n": 1}, "a": "done", "t": None, "b": None, "c": None, "look": None},
        "n": 1, "b": None, "out": "done", "why": "gone",
    }  # fmt: skip


@pytest.mark.req("DUR-1.fold")
def test_random_values_are_the_run_s_own_and_of_their_place() -> None:
    def drawn(seed: str, label: str) -> tuple[Any, ...]:
        one = SeededImpure(seed, label, NOW)
        return one.uuid(), one.uuid(), one.random(), one.random()

    assert drawn("ab", "x") == drawn("ab", "x")
    assert len({*drawn("ab", "x"), *drawn("ab", "y"), *drawn("cd", "x")}) == 12
    assert all(0 <= one < 1 for one in drawn("ab", "x")[2:])


# ---------------------------------------------------------------- what does not fold


@pytest.mark.req("DUR-6.error")
@pytest.mark.parametrize(
    ("number", "event", "told"),
    [
        (9, ev.StepStarted(), "StepStarted speaks of step instance 9, which does not exist"),
        (0, ev.StepStarted(), "StepStarted cannot follow on a being succeeded"),
        (-1, ev.RunAccepted(inputs={}, trigger={}, seed="ab"), "RunAccepted stands in the middle of the journal"),
        (-1, ev.RunResumed(), "RunResumed cannot follow on a run that is running"),
        (-1, ev.Rewound(to=(0, 9)), "Rewound speaks of steps (0, 9), not all of which exist"),
    ],
)
def test_an_event_that_cannot_be_is_refused_in_words(number: int, event: ev.Event, told: str) -> None:
    play = Play(flow(step("a"), step("b")))
    play.ok("a")
    seq = play.state.seq
    with pytest.raises(JournalCorruptError) as refused:
        apply(play.state, number, event, NOW)
    assert refused.value.message == f"the journal of run run_1 does not fold at event {seq}: {told}"
    assert (refused.value.last_valid_seq, play.state.seq) == (seq - 1, seq)


@pytest.mark.req("DUR-6.error")
def test_an_event_of_a_step_that_a_rewind_left_behind_is_refused() -> None:
    play = Play(flow(step("a"), conditional("c", ("true", [step("x")]))))
    play.ok("a")
    play.give(inp.RewindRun(("a",)))
    with pytest.raises(JournalCorruptError, match="StepSucceeded speaks of x, which a rewind left behind"):
        apply(play.state, 2, ev.StepSucceeded(), NOW)


@pytest.mark.req("DUR-6.error")
def test_rows_that_cannot_be_read_or_are_missing_say_which() -> None:
    play = Play(flow(step("a")))
    rows = play.journal()
    for bad_rows, told in (
        ([rows[0], (1, 250, -1, NOW, b"")], "event 1 (kind 250) cannot be read: 250"),
        ([rows[0], rows[2]], "event 1 is missing: the next one is 2"),
    ):
        with pytest.raises(JournalCorruptError) as refused:
            fold(play.plan, "run_1", bad_rows)
        assert refused.value.message == f"the journal of run run_1 does not fold at event 1: {told}"
        assert refused.value.last_valid_seq == 0


# ---------------------------------------------------------------- polls, callbacks, retries of what failed


@pytest.mark.req("TIME-3.job")
def test_of_an_http_call_that_is_polled_the_body_is_what_the_conditions_see() -> None:
    for use, answer, done in (
        ("http", {"status": 200, "body": {"n": 2}}, {"n": 2}),
        ("other", {"status": 200, "body": {"n": 2}, "n": 2}, {"status": 200, "body": {"n": 2}, "n": 2}),
    ):
        play = Play(flow(step("a", "poll", use=use, poll=Poll(success_condition="$.n > 1"))))
        play.ok("a", answer)
        assert play.out("a") == done
        job = Play(flow(step("a", use="other", poll=Poll(use=use, success_condition="$.n > 1", interval_seconds=1.0))))
        job.ok("a", {"body": {"id": 7}})
        assert job.step("a").job == {"body": {"id": 7}}
        job.later(1_000)
        job.ok("a", answer)
        assert job.out("a") == done


@pytest.mark.req("TIME-3.job")
@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ({"bad": True}, "poll_failed", "the poll's failure condition was met: $.bad"),
        ({"bad": False, "n": 1}, "poll_exhausted", "asked 1 times and the condition was never met: $.n > 1"),
    ],
)
def test_a_poll_that_cannot_end_well_says_why(answer: Any, code: str, message: str) -> None:
    poll = Poll(success_condition="$.n > 1", failure_condition="$.bad", max_attempts=1)
    play = Play(flow(step("a", "poll", poll=poll)))
    play.ok("a", answer)
    error = play.state.error
    assert error is not None
    assert (error.category, error.code, error.message) == (
        "validation" if code == "poll_failed" else "timeout", code, message,
    )  # fmt: skip


@pytest.mark.req("CALL-1.callback")
def test_the_answer_of_the_call_that_started_a_job_is_kept_while_its_callback_is_waited_for() -> None:
    play = Play(flow(step("a", callback=callback(expires_seconds=60.0, uses=2))))
    play.ok("a", {"job": 7})
    one = play.step("a")
    assert (one.answer, one.waits_on, one.until) == ({"job": 7}, "callback", NOW + 60_000)
    play.call_back("a", 1)
    play.call_back("a", 2)
    assert play.out("a") == [1, 2]


@pytest.mark.req("DUR-3.retry")
def test_of_a_loop_that_failed_the_items_within_its_tolerance_stay_failed() -> None:
    play = Play(flow(foreach("each", [0, 1, 2, 3], step("x"), step("y"), tolerate=1)))
    play.bad("each[0].x", "http.404", "gone")
    play.ok("each[2].x")
    play.bad("each[1].x", "http.404", "gone")
    assert play.status == "failed"
    before = len(play.started)
    play.give(inp.RetryRun())
    assert [address for address, _ in play.started[before:]] == ["each[1].x", "each[2].y", "each[3].x"]
    assert play.step("each").tolerated == [0]
    play.run(lambda one: one.address)
    assert play.out("each") == [None, "each[1].y", "each[2].y", "each[3].y"]


@pytest.mark.req("DUR-3.retry")
@pytest.mark.parametrize("when", ["in the do", "in the catch", "in the finally"])
def test_a_try_that_was_cut_off_goes_on_in_the_block_where_it_was_or_begins_anew(when: str) -> None:
    play = Play(flow(try_("t", [step("x"), step("y")], [step("c"), step("d")], [step("f")])))
    play.ok("x")
    if when != "in the do":
        play.bad("y", "http.404", "gone")
        play.ok("c")
    if when == "in the finally":
        play.ok("d")
    play.give(inp.CancelRun("enough", force=True))
    before = len(play.started)
    play.give(inp.RetryRun())
    begun = [address for address, _ in play.started[before:]]
    assert begun == {"in the do": ["y"], "in the catch": ["d"], "in the finally": ["x"]}[when], (
        "one that was cut off in its `finally` has no result to end with: it begins anew"
    )


@pytest.mark.req("TIME-1.retry")
def test_a_handler_and_a_failure_keep_their_details() -> None:
    told = failure("http.404", "gone", status=404, code="E1", details={"a": 1})
    play = Play(flow(step("a")))
    play.give(inp.AttemptEnded(0, 1, failure=told))
    assert play.state.error == msgspec.structs.replace(told, step="a", attempt=1)
