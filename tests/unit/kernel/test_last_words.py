"""What is told of loops, choices, events and late failures; sealed values in the journal; timers that are due."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segue.expr.sealed import Box, Sealed
from segue.flow.model import Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import decide
from segue.kernel.kept import record
from segue.kernel.reasons import explain_step
from segue.kernel.rewind import RewindPlan
from segue.kernel.scope import RunScope
from segue.kernel.state import RunState
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
    repeat,
    seq,
    step,
    switch,
)


@pytest.mark.req("BAR-4.what-happened")
@pytest.mark.parametrize(
    ("one", "told"),
    [
        (conditional("c", ("1 > 2", [step("x")]), ("2 > 3", [step("y")])),
         "took no branch: `then` did not hold; `elif:1` did not hold"),
        (conditional("c", ("1 > 2", [step("x")]), ("2 > 1", [step("y")])), "took `elif:1`: its condition holds"),
        (conditional("c", ("1 > 2", [step("x")]), (None, [step("y")])), "took `else`: `then` did not hold"),
        (conditional("c", (None, [step("y")])), "took `else`: always"),
        (switch("c", "5", {1: [step("x")]}), "took no branch: no case is 5"),
        (switch("c", "5", {1: [step("x")]}, [step("y")]), "took `default`: no case is 5"),
        (switch("c", "5.0", {5: [step("x")]}), "took `case:5`"),
        (switch("c", "true", {1: [step("x")]}), "took no branch: no case is true"),
        (switch("c", "'" + "x" * 58 + "'", {1: [step("x")]}), f'took no branch: no case is "{"x" * 58}"'),
        (switch("c", "'" + "x" * 59 + "'", {1: [step("x")]}), f'took no branch: no case is "{"x" * 56}…'),
        (repeat("c", step("x"), max=3), "ended after 3 turns, as `max` says"),
        (repeat("c", step("x"), until="x == 2", max=3), "ended after 2 turns: `until` holds"),
        (repeat("c", step("x"), while_="x != 2", max=3), "ended after 2 turns: `while` does not hold"),
        (repeat("c", step("x"), while_="false", max=3), "ended after 0 turns: `while` does not hold"),
        (foreach("c", [1, 2, 3], step("x", on_error=()), tolerate="all"), None),
    ],
)  # fmt: skip
def test_a_choice_or_a_loop_says_how_it_went(one: Any, told: str | None) -> None:
    play = Play(flow(one))
    calls = 0
    while play.state.active:
        calls += 1
        play.ok(play.active[0], calls)
    assert (play.status, play.step("c").reason) == ("succeeded", told)


@pytest.mark.req("EXEC-3.tolerate")
def test_a_fan_out_says_how_many_failures_it_tolerated() -> None:
    play = Play(flow(foreach("each", [1, 2, 3], step("x"), tolerate="all")))
    play.run({"x": failure("http.404")})
    assert play.step("each").reason == "3 of 3 items failed and were tolerated"


@pytest.mark.req("BAR-10.undo")
@pytest.mark.parametrize(("end", "status"), [("good", "cancelled"), ("late", "timed_out"), ("bad", "failed")])
def test_a_run_that_is_undone_after_its_end_stays_what_it_was_but_for_a_good_one(end: str, status: str) -> None:
    first, second = (step(name, compensate=compensate(step(f"no_{name}"))) for name in "ab")
    play = Play(flow(first, second, step("c"), timeout_seconds=9.0))
    play.ok("a")
    play.ok("b")
    if end == "late":
        play.next_timer()
    elif end == "bad":
        play.bad("c", "http.404", "gone")
    else:
        play.ok("c")
        play.give(inp.UndoRun())
    play.give(inp.CancelRun(force=True))
    error = play.state.error
    assert play.status == status
    play.give(inp.UndoRun("once more"))
    play.run()
    assert (play.status, play.state.error) == (status, error)
    assert (play.step("a").undone, play.step("b").undone) == ("done", "done")


@pytest.mark.req("EXEC-2.continue")
def test_a_step_that_cleans_up_after_its_failure_is_gone_on_without() -> None:
    root = graph([step("a", finally_=final(step("f"))), step("b"), step("c")], ["a>b"])
    play = Play(flow(root=root, on_error="continue"))
    play.bad("a", "http.404")
    play.run()
    assert (play.status, play.step("a").continued) == ("succeeded", True)
    assert play.statuses() == {"a": "failed", "a.finally.f": "succeeded", "b": "skipped", "c": "succeeded"}


@pytest.mark.req("BAR-1.replay")
def test_a_branch_step_that_is_kept_says_what_it_had_chosen() -> None:
    choices = [{"label": "yes", "when": "1 < 2"}, {"label": "no", "when": None}]
    root = graph([step("k", "branch", params={"branches": choices}), step("y"), step("n")], ["k>y:yes", "k>n:no"])
    old = Play(flow(root=root)).run()
    new = Play(old.plan, kept=record(old.state, RewindPlan()))
    assert new.why("k") == old.why("k") == "took `yes`"
    assert new.why("n") == old.why("n")


@pytest.mark.req("CALL-1.event")
@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ("event.id == 'evt_1' && event.name == 'paid' && event.run == 'run_5'", True),
        ("event.data.n == 1 && $.n == 1", True),
        ("event.at == '2027-01-15T08:00:00.000Z'", True),
        ("event.data.n == 2", False),
    ],
)
def test_what_an_event_must_be_is_said_of_all_that_is_known_of_it(where: str, taken: bool) -> None:
    play = Play(flow(step("w", "wait", params={"event": "paid", "where": where})))
    play.give(inp.EventArrived(0, 0, "evt_1", "paid", NOW, {"n": 1}, "run_5"))
    assert (play.of("w") == "succeeded") is taken
    if taken:
        assert play.outputs == {"n": 1}
        assert play.step("w").reason == "the event paid came (evt_1)"
        assert ev.EventReceived(id="evt_1", sent_at=NOW, source="run_5") in [row.event for row in play.rows]


@pytest.mark.req("CALL-1.event")
def test_an_event_is_taken_once_by_a_step_and_looked_back_for_as_long_as_it_says() -> None:
    play = Play(flow(repeat("loop", step("w", "wait", params={"event": "paid", "buffer": "10s"}), max=2)))
    for address, id, at, taken in (
        ("loop[0].w", "evt_0", NOW - 10_001, False),
        ("loop[0].w", "evt_1", NOW - 10_000, True),
        ("loop[1].w", "evt_1", NOW - 10_000, False),
        ("loop[1].w", "evt_2", NOW - 9_000, True),
    ):
        one = play.step(address)
        play.give(inp.EventArrived(one.id, one.generation, id, "paid", at))
        assert (play.of(address) == "succeeded") is taken


@pytest.mark.req("CALL-1.event")
def test_what_a_run_sent_itself_before_it_waited_came_before() -> None:
    play = Play(flow(step("e", "emit", params={"event": "paid"}), step("w", "wait", params={"event": "paid"})))
    for at, source, taken in ((NOW, "run_1", False), (NOW + 1, "run_1", True)):
        play.give(inp.EventArrived(1, 0, "evt_1", "paid", at, None, source))
        assert (play.of("w") == "succeeded") is taken


@pytest.mark.req("DUR-6.rollback")
def test_a_step_that_waits_for_its_next_try_goes_on_waiting_when_its_journal_was_cut_off() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, initial_delay_seconds=9.0, jitter="none"))))
    play.bad("a", "timeout")
    made = play.give(inp.GoOn(set_aside=1))
    assert (made.start, play.of("a"), play.state.next_due()) == ([], "retrying", NOW + 9_000)
    play.next_timer()
    assert play.active == ["a"]


@pytest.mark.req("TIME-2.choice")
def test_whose_word_it_was_that_a_timeout_is_no_failure() -> None:
    asked = callback(expires_seconds=60.0, on_timeout="continue")
    play = Play(flow(step("w", "wait", callback=asked, timeout=Timeout(total_seconds=90.0))))
    play.later(60_000)
    assert play.why("w") == "no callback came within 60 s; `on_timeout: continue`"


@pytest.mark.req("EXEC-8.names")
def test_a_step_in_a_loop_knows_the_names_beside_it() -> None:
    play = Play(flow(foreach("each", [1], step("x"), step("y"))))
    assert {"x", "y", "each"} <= set(RunScope(play.state, step=play.step("each[0].y")).names())
    assert "x" not in RunScope(play.state).names()


@pytest.mark.req("TIME-2.timers")
def test_all_timers_that_are_due_are_found_and_no_others() -> None:
    state = RunState(Play(flow(step("a"))).plan, "run_2")
    for number, due in enumerate((5, 3, 8, 1, 9, 2, 7, 4, 6)):
        state.set_timer(number, "wait", due)
    state.drop_timer(3, "wait")
    state.set_timer(5, "wait", 20)
    assert sorted(state.due_timers(6)) == [(0, "wait"), (1, "wait"), (7, "wait"), (8, "wait")]
    assert [*state.due_timers(2)] == []
    assert state.next_due() == 3


# ---------------------------------------------------------------- sealed values


class Reversing:
    """A sealer for tests: its sealed text is the JSON backwards."""

    def seal(self, plain: object) -> str:
        return json.dumps(plain)[::-1]

    def open(self, sealed: str) -> object:
        return json.loads(sealed[::-1])


@pytest.mark.req("DUR-5.sealed")
def test_sealed_values_are_written_sealed_and_read_back_wherever_in_an_event_they_stand() -> None:
    sealer = Reversing()
    secret = Sealed(sealer, plain="hunter2")
    inner = ev.Kept(kind="call", status="succeeded", output={"deep": [secret, 1]})
    block = ev.KeptBlock(label="then", role="branch", index=0, failure=None, steps={"x": inner})
    outer = ev.Kept(kind="conditional", status="succeeded", output=secret, blocks=[block])
    written = ev.RunAccepted(inputs={"token": secret, "n": 1}, trigger={}, seed="ab", kept={"c": outer})
    data = ev.encode(written)
    assert b"hunter2" not in data
    box = Box(sealer)
    read = ev.decode(ev.RunAccepted.KIND, data, box)
    assert isinstance(read, ev.RunAccepted)
    kept = read.kept["c"]
    deep: Any = kept.blocks[0].steps["x"].output
    values: list[Any] = [read.inputs["token"], kept.output, deep["deep"][0]]
    assert [(type(one), str(one), one.plain) for one in values] == [(Sealed, "***", "hunter2")] * 3
    assert (read.inputs["n"], deep["deep"][1], box.used) == (1, 1, True)
    steps = ev.decode(ev.BlocksOpened.KIND, ev.encode(ev.BlocksOpened(blocks=(1,), items=[secret, "x"])), box)
    assert isinstance(steps, ev.BlocksOpened)
    assert (steps.blocks, [str(one) for one in steps.items or ()]) == ((1,), ["***", "x"])


# ---------------------------------------------------------------- phases, beginnings, time after a rewind


@pytest.mark.req("EXEC-8.names")
def test_the_flow_s_finally_and_handlers_know_the_names_of_its_steps() -> None:
    seen = {"value": {"a": "$a", "why": "$error.message"}}
    play = Play(
        flow(
            step("a"), step("b"), on_error_block=seq(step("h", "map", params=seen), label="on_error"),
            finally_=seq(step("f", "map", params=seen), step("g"), label="finally"),
        )
    )  # fmt: skip
    play.ok("a", 7)
    play.bad("b", "http.404", "gone")
    told = {"a": 7, "why": "gone"}
    assert (play.out("on_error.h"), play.out("finally.f")) == (told, told)


@pytest.mark.req("EXEC-5.on-full")
def test_a_run_that_is_not_to_begin_at_all_says_why_from_the_first() -> None:
    state = RunState(Play(flow(step("a"))).plan, "run_2")
    made = decide(state, inp.Begin({}, {}, "ab", skipped="1 of 1 slots of `f` are taken"), NOW)
    assert [(row.step, type(row.event)) for row in made.rows] == [(-1, ev.RunAccepted), (-1, ev.RunSkipped)]
    assert (state.status, state.skipped, state.ended) == ("cancelled", "1 of 1 slots of `f` are taken", True)


@pytest.mark.req("TIME-2.timers")
def test_a_block_that_runs_again_after_a_rewind_has_its_times_from_then_on() -> None:
    limits = Timeout(attempt_seconds=3.0, total_seconds=20.0)
    block = conditional("c", ("true", [step("x")]), timeout=limits, retry=Retry(max_attempts=2, jitter="none"))
    play = Play(flow(block, step("end")))
    play.ok("x")
    play.now += 50_000
    play.give(inp.RewindRun(("x",)))
    assert play.state.timers == {(0, "total"): NOW + 70_000, (0, "attempt"): NOW + 53_000}
    assert play.step("c").tries == 1


@pytest.mark.req("BAR-4.what-happened")
def test_edges_that_were_chosen_without_a_condition_have_no_reason() -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("c")], ["a>b", "a>c:error"])))
    play.ok("a")
    assert (play.step("a").edges_live, play.step("a").edges_reason) == ((0,), None)


# ---------------------------------------------------------------- small words


@pytest.mark.req("BAR-4.code")
@pytest.mark.parametrize(
    ("category", "helps"),
    [
        ("http.401", "check the connection's credentials"), ("http.403", "check the connection's credentials"),
        ("auth", "check the connection's credentials"), ("dns", "check the host name in the step's address"),
        ("tls", "check the certificate of the host that is called"),
        ("expression", "mend the expression in the flow, or what it is given"),
        ("validation", "compare the values with what the step expects"),
        ("connection", "check that the outside system is up and can be reached from here"),
        ("http.500", "mend the cause, then `segue retry run_1`"),
    ],
)  # fmt: skip
def test_what_helps_against_each_kind_of_error(category: str, helps: str) -> None:
    play = Play(flow(step("a")))
    play.bad("a", category)
    assert explain_step(play.state, play.step("a"), play.now).action == helps


@pytest.mark.req("BAR-4.code")
def test_of_two_steps_that_wait_the_one_with_a_time_is_named_first() -> None:
    timed, untimed = step("w", "wait", params={"duration": "1h"}), step("e", "wait", params={"event": "paid"})
    play = Play(flow(root=graph([untimed, timed], [])))
    assert play.why() == "`w`: waiting until 2027-01-15T09:00:00Z; 1 other step waits too"


@pytest.mark.req("TIME-1.retry")
@pytest.mark.parametrize(("seconds", "status"), [(5.0, "retrying"), (4.999, "failed")])
def test_the_next_try_may_begin_at_the_end_of_the_time_for_tries(seconds: float, status: str) -> None:
    policy = Retry(max_attempts=2, initial_delay_seconds=5.0, max_time_seconds=seconds, jitter="none")
    play = Play(flow(step("a", retry=policy)))
    play.bad("a", "timeout")
    assert play.of("a") == status


@pytest.mark.req("CALL-1.callback")
def test_signals_that_came_before_the_call_had_answered_are_the_output_then() -> None:
    for uses, output in ((1, 1), (2, [1, 2])):
        play = Play(flow(step("a", callback=callback(expires_seconds=60.0, uses=uses))))
        for payload in range(1, uses + 1):
            play.call_back("a", payload)
        play.ok("a", "started")
        assert play.outputs == output


@pytest.mark.req("CALL-1.respond")
def test_a_second_answer_to_the_caller_says_that_it_came_too_late() -> None:
    play = Play(flow(step("one", "respond", params={"body": 1}), step("two", "respond", params={"body": 2})))
    assert play.step("one").reason is None
    assert play.step("two").reason == "the caller had its answer already"
    assert play.state.response == {"status": 200, "body": 1}
