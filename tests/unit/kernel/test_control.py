"""How runs end, are stopped, paused, and outlive their hosts."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import ConflictError
from segue.flow.model import Callback, Edge, Retry
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decide import MAX_LOST_ATTEMPTS, decide
from segue.kernel.plan import compile_plan
from segue.kernel.state import RunState
from unit.kernel.builders import Play, failure, flow, foreach, graph, on_error, parallel, seq, step, try_

FINALLY = seq(step("f"), label="finally")
HANDLERS = seq(step("h", "map", params={"value": "{{ error.category }}"}), step("h2"), label="on_error")


# ---------------------------------------------------------------- return, stop, fail


@pytest.mark.req("EXEC-9.return")
def test_return_ends_the_run_with_its_value_and_cancels_the_rest() -> None:
    play = Play(
        flow(
            parallel("p", {"x": [step("r", "return", params={"value": "$inputs.n"})], "y": [step("a")]}), outputs="no"
        ),
        {"n": 4},
    )
    assert (play.status, play.outputs, play.state.stopped_by) == ("succeeded", 4, "r")
    play = Play(flow(parallel("p", {"y": [step("a")], "x": [step("r", "return", params={"value": 1})]})))
    assert (play.of("a"), play.of("p"), play.outputs) == ("cancelled", "cancelled", 1)
    assert (play.why("a"), play.why()) == ("cancelled: `r` ended the run", "ended well: `r` ended it")


@pytest.mark.req("EXEC-9.return")
@pytest.mark.parametrize("last", [True, False])
def test_return_runs_finally_before_the_run_ends(last: bool) -> None:
    steps = [step("r", "return", params={"value": 1}), *([] if last else [step("never")])]
    play = Play(flow(*steps, finally_=FINALLY))
    assert (play.status, play.active) == ("running", ["finally.f"])
    play.ok("finally.f", 2)
    assert (play.status, play.outputs, play.state.stopped_by) == ("succeeded", 1, "r")


@pytest.mark.req("EXEC-9.return")
def test_return_within_a_loop_ends_the_run() -> None:
    play = Play(flow(foreach("each", [1, 2, 3], step("r", "return", params={"value": "$item"}), limit=1), step("b")))
    assert (play.status, play.outputs, play.state.stopped_by) == ("succeeded", 1, "each[0].r")


@pytest.mark.req("EXEC-9.return")
def test_a_return_whose_value_cannot_be_changed_fails_the_run() -> None:
    play = Play(flow(step("r", "return", params={"value": 1}, output="{{ $ / 0 }}")))
    assert (play.status, play.of("r")) == ("failed", "failed")


@pytest.mark.req("EXEC-9.stop")
def test_stop_ends_the_run_quietly() -> None:
    play = Play(flow(step("s", "stop"), step("b")))
    assert (play.status, play.outputs, play.of("b")) == ("succeeded", None, "cancelled")
    assert play.why("s").endswith("ended the run quietly")


@pytest.mark.req("EXEC-9.fail")
def test_fail_fails_with_its_code_message_and_category() -> None:
    play = Play(
        flow(step("x", "fail", params={"code": "no_stock", "message": "{{ inputs.n }} left"}), step("b")), {"n": 0}
    )
    error = play.state.error
    assert error is not None
    assert (play.status, error.code, error.message, error.category, error.step) == (
        "failed",
        "no_stock",
        "0 left",
        "validation",
        "x",
    )
    assert play.of("b") == "pending"
    assert play.why("b") == "not reached: the run ended first (failed)"


@pytest.mark.req("EXEC-9.fail")
def test_a_fail_step_is_caught_like_any_error() -> None:
    play = Play(
        flow(
            try_("t", [step("x", "fail", params={"code": "odd"})], [step("c", "map", params={"value": "$error.code"})])
        )
    )
    assert (play.status, play.outputs) == ("succeeded", "odd")


@pytest.mark.req("EXEC-9.return")
def test_a_return_leaves_no_block_open_whose_other_steps_are_on_a_dead_path() -> None:
    body = graph(
        [step("r", "return", params={"value": 1}), step("dead")], [Edge("r", "dead", when="false")], label="do"
    )
    each = step("each", "foreach", params={"items": [1]}, blocks=(body,))
    play = Play(flow(each, step("b"), finally_=FINALLY))
    assert (play.of("each"), play.step("each").open_blocks, play.active) == ("cancelled", 0, ["finally.f"])
    play.ok("finally.f")
    assert (play.status, play.outputs, play.of("each[0].dead")) == ("succeeded", 1, "pending")


# ---------------------------------------------------------------- the flow's own on_error and finally


@pytest.mark.req("EXEC-6.flow")
def test_an_error_at_the_top_runs_the_flows_handlers_then_finally_then_fails() -> None:
    play = Play(flow(step("a"), on_error_block=HANDLERS, finally_=FINALLY))
    play.bad("a", "http.500")
    assert (play.out("on_error.h"), play.active) == ("http.500", ["on_error.h2"])
    assert play.why() == "`a` failed with http.500: no answer; the flow's `on_error` steps are running"
    play.ok("on_error.h2")
    assert play.active == ["finally.f"]
    play.ok("finally.f")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.500")


@pytest.mark.req("EXEC-6.flow")
def test_a_flows_handler_that_fails_keeps_the_first_error() -> None:
    play = Play(flow(step("a"), on_error_block=HANDLERS, finally_=FINALLY))
    play.bad("a", "http.500")
    play.bad("on_error.h2", "dns")
    play.ok("finally.f")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.500")


@pytest.mark.req("EXEC-6.finally")
def test_finally_runs_after_success_and_keeps_the_outputs() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.ok("a", 1)
    assert (play.active, play.status) == (["finally.f"], "running")
    play.crash()
    play.ok("finally.f", 2)
    assert (play.status, play.outputs) == ("succeeded", 1)


@pytest.mark.req("EXEC-6.finally")
def test_a_finally_that_fails_fails_a_run_that_had_succeeded() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.ok("a", 1)
    play.bad("finally.f", "dns")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "dns")


@pytest.mark.req("EXEC-6.finally")
def test_a_finally_that_fails_does_not_hide_the_first_error() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.bad("a", "http.500")
    play.bad("finally.f", "dns")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.500")


@pytest.mark.req("EXEC-6.finally")
def test_finally_sees_the_error() -> None:
    see = seq(step("f", "set", params={"seen": "$error.category"}), label="finally")
    play = Play(flow(step("a"), finally_=see))
    play.bad("a", "http.500")
    assert play.state.vars == {"seen": "http.500"}


@pytest.mark.req("EXEC-6.finally")
def test_branches_that_go_on_keep_finally_waiting() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, join="any"), finally_=FINALLY))
    play.ok("a")
    assert play.active == ["b"]
    play.ok("b")
    assert play.active == ["finally.f"]


@pytest.mark.req("EXEC-6.finally")
def test_a_branch_that_went_on_and_fails_last_still_leads_to_finally() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, join="any"), finally_=FINALLY))
    play.ok("a")
    play.bad("b")
    play.ok("finally.f")
    assert play.status == "succeeded"


@pytest.mark.req("EXEC-6.finally")
@pytest.mark.parametrize("phase", ["on_error", "finally"])
def test_branches_that_go_on_within_handlers_or_finally_keep_the_run_open(phase: str) -> None:
    block = seq(parallel("p", {"x": [step("quick")], "y": [step("slow")]}, join="any"), label=phase)
    play = Play(flow(step("a"), **({"finally_": block} if phase == "finally" else {"on_error_block": block})))
    play.bad("a")
    play.ok(f"{phase}.quick")
    assert (play.status, play.active) == ("running", [f"{phase}.slow"])
    play.ok(f"{phase}.slow")
    assert play.status == "failed"


@pytest.mark.req("FLOW-3.on_error")
def test_on_error_continue_skips_what_depends_on_the_failed_step_and_goes_on_with_the_others() -> None:
    root = graph([step("a"), step("b"), step("c"), step("d")], ["a>c", "c>d"])
    play = Play(flow(root=root, on_error="continue"))
    play.bad("a", "http.500")
    play.ok("b", 1)
    assert (play.status, play.statuses()) == (
        "succeeded",
        {"a": "failed", "b": "succeeded", "c": "skipped", "d": "skipped"},
    )
    assert play.why("c") == "skipped: `a`, which it depends on, failed"
    assert play.why("d") == "skipped: `c`, which it depends on, was skipped after a failure"
    assert play.why() == "ended, although 1 step failed: `a`"


@pytest.mark.req("FLOW-3.on_error")
def test_under_continue_a_step_that_needs_a_failed_and_a_good_one_is_skipped() -> None:
    root = graph([step("a"), step("b"), step("c"), step("j"), step("k")], ["a>c", "c>j", "b>j", "j>k"])
    play = Play(flow(root=root, on_error="continue"))
    play.ok("b")
    play.bad("a")
    assert (play.status, play.of("j"), play.of("k")) == ("succeeded", "skipped", "skipped")


@pytest.mark.req("FLOW-3.on_error")
@pytest.mark.parametrize("join", ["any", "first", 1])
def test_under_continue_a_join_that_needs_only_some_goes_on_without_the_failed_one(join: Any) -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("j", join=join)], ["a>j", "b>j"]), on_error="continue"))
    play.bad("a")
    play.ok("b")
    assert play.active == ["j"]


@pytest.mark.req("FLOW-3.on_error")
def test_under_continue_a_failed_handler_does_not_stop_the_flow() -> None:
    play = Play(flow(root=graph([step("a", on_error=on_error(step("h"))), step("b")], []), on_error="continue"))
    play.bad("a")
    play.bad("a.on_error.h")
    assert (play.of("a"), play.active) == ("failed", ["b"])


@pytest.mark.req("FLOW-3.on_error")
def test_under_continue_an_error_inside_a_composite_fails_the_composite_alone() -> None:
    play = Play(
        flow(root=graph([parallel("p", {"x": [step("a")], "y": [step("c")]}), step("b")], []), on_error="continue")
    )
    play.bad("a")
    assert (play.of("p"), play.of("c"), play.active) == ("failed", "cancelled", ["b"])


# ---------------------------------------------------------------- cancel


@pytest.mark.req("DUR-4.cancel")
def test_cancelling_reaches_what_runs_waits_retries_and_is_ready() -> None:
    body = [
        step("runs"), step("waits", "wait", params={"duration": "1h"}), step("called", "wait", callback=Callback()),
        step("retries", retry=Retry(max_attempts=2, on=("*",))), foreach("each", [1], step("inner")),
    ]  # fmt: skip
    play = Play(flow(root=graph([*body, step("after")], ["runs>after"])))
    play.bad("retries")
    play.give(inp.CancelRun("no more"))
    assert (play.status, play.state.timers) == ("cancelled", {})
    assert set(play.statuses().values()) == {"cancelled", "pending"}
    assert (play.why("runs"), play.why()) == ("cancelled: no more", "cancelled: no more")
    assert play.closed == [("called", "cancelled")]
    assert set(play.cancelled) == {"runs", "each[0].inner"}


@pytest.mark.req("DUR-4.cancel")
def test_cancelling_runs_finally() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.give(inp.CancelRun())
    assert (play.status, play.active) == ("running", ["finally.f"])
    play.ok("finally.f")
    assert play.status == "cancelled"


@pytest.mark.req("DUR-4.cancel")
def test_cancelling_twice_cancels_once() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.give(inp.CancelRun("one"))
    assert not play.give(inp.CancelRun("two")).rows
    assert play.active == ["finally.f"]


@pytest.mark.req("DUR-4.cancel")
@pytest.mark.parametrize("phase", ["handlers", "finally"])
def test_cancelling_reaches_the_flows_handlers_and_finally(phase: str) -> None:
    play = Play(flow(step("a"), on_error_block=HANDLERS, finally_=FINALLY))
    play.bad("a")
    if phase == "finally":
        play.ok("on_error.h2")
        play.give(inp.CancelRun())
        assert (play.status, play.of("finally.f")) == ("cancelled", "cancelled")
    else:
        play.give(inp.CancelRun())
        assert (play.of("on_error.h2"), play.active) == ("cancelled", ["finally.f"])


@pytest.mark.req("DUR-4.cancel")
def test_cancelling_reaches_branches_that_went_on_after_their_join() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, join="any")))
    play.ok("a")
    play.give(inp.CancelRun())
    assert (play.status, play.of("b"), play.state.background) == ("cancelled", "cancelled", 0)


@pytest.mark.req("DUR-4.cancel")
def test_cancelling_an_ended_run_is_refused() -> None:
    play = Play(flow())
    for given in (inp.CancelRun(), inp.PauseRun(), inp.ResumeRun()):
        with pytest.raises(ConflictError):
            play.give(given)


@pytest.mark.req("DUR-4.cancel")
def test_a_result_that_comes_after_the_cancellation_changes_nothing() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    late = inp.AttemptEnded(play.step("a").id, 1, "late")
    play.give(inp.CancelRun())
    assert not play.give(late).rows


@pytest.mark.req("DUR-4.cancel")
def test_a_paused_run_can_be_cancelled_and_its_finally_runs() -> None:
    play = Play(flow(step("a"), finally_=FINALLY))
    play.give(inp.PauseRun())
    play.give(inp.CancelRun())
    play.ok("finally.f")
    assert play.status == "cancelled"


# ---------------------------------------------------------------- pause, resume


@pytest.mark.req("DUR-4.pause")
def test_a_paused_run_starts_nothing_lets_attempts_end_and_goes_on_when_resumed() -> None:
    play = Play(flow(step("a"), step("b")))
    play.give(inp.PauseRun("lunch"))
    assert (play.status, play.why()) == ("paused", "paused by a person; 1 attempt still in flight")
    play.ok("a")
    assert (play.active, play.of("b")) == ([], "ready")
    assert play.why("b") == "could go on, and the run is paused"
    play.give(inp.ResumeRun())
    assert play.active == ["b"]


@pytest.mark.req("DUR-4.pause")
def test_timers_wait_while_paused_and_fire_when_resumed() -> None:
    play = Play(flow(step("w", "wait", params={"duration": "1h"}), step("b")))
    play.give(inp.PauseRun())
    assert not play.later(7_200_000).rows
    assert play.why("w") == "could go on, and the run is paused"
    play.give(inp.ResumeRun())
    assert play.active == ["b"]


@pytest.mark.req("DUR-4.pause")
@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("settings", [{}, {"finally_": FINALLY}, {"on_error_block": HANDLERS}])
def test_a_run_whose_last_attempt_ends_while_paused_comes_to_its_end(good: bool, settings: dict[str, Any]) -> None:
    play = Play(flow(step("a"), **settings))
    play.give(inp.PauseRun())
    if good:
        play.ok("a", 1)
    else:
        play.bad("a")
    if not play.state.ended:
        assert (play.status, play.active) == ("paused", [])
        play.give(inp.ResumeRun())
        play.run()
    assert play.status == ("succeeded" if good else "failed")


@pytest.mark.req("DUR-4.pause")
@pytest.mark.parametrize("good", [True, False])
def test_a_run_that_is_paused_while_its_finally_runs_ends_as_it_was_to_end(good: bool) -> None:
    play = Play(flow(step("a"), finally_=FINALLY, timeout_seconds=5))
    play.later(5_000)
    play.give(inp.PauseRun())
    play.give(inp.AttemptEnded(play.step("finally.f").id, 1, failure=None if good else failure()))
    assert play.status == "timed_out"


@pytest.mark.req("DUR-4.pause")
def test_pausing_twice_is_pausing_once_and_resuming_a_running_run_is_refused() -> None:
    play = Play(flow(step("a")))
    with pytest.raises(ConflictError):
        play.give(inp.ResumeRun())
    assert len(play.give(inp.PauseRun()).rows) == 1
    assert not play.give(inp.PauseRun()).rows


@pytest.mark.req("DUR-4.pause")
def test_a_pause_survives_a_restart() -> None:
    play = Play(flow(step("a"), step("b")))
    play.give(inp.PauseRun())
    play.crash()
    assert (play.status, play.active, play.started[-1]) == ("paused", ["a"], ("a", 2))
    play.ok("a")
    assert play.active == []


# ---------------------------------------------------------------- hosts that stop


@pytest.mark.req("DUR-5.again")
def test_a_step_in_flight_when_its_host_stopped_is_attempted_again_and_it_does_not_count() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, jitter="none"))))
    play.crash()
    assert (play.started, play.step("a").tries) == ([("a", 1), ("a", 2)], 1)
    assert play.why("a") == "retried after its host stopped while attempt 1 was in flight"
    play.bad("a")
    assert play.of("a") == "retrying"
    play.next_timer()
    play.ok("a")
    assert play.status == "succeeded"


@pytest.mark.req("DUR-5.at_most_once")
def test_at_most_once_is_not_attempted_again() -> None:
    play = Play(flow(step("a", at_most_once=True, retry=Retry(max_attempts=9, on=("*",)))))
    play.crash()
    assert (play.status, play.of("a"), len(play.started)) == ("failed", "unknown_outcome", 1)
    assert play.why("a").startswith("outcome unknown: the host stopped while the attempt was in flight")


@pytest.mark.req("BAR-15.unknown")
def test_an_unsafe_step_gets_an_unknown_outcome_and_its_handlers() -> None:
    play = Play(flow(step("a", on_error=on_error(step("check"), match=("unknown_outcome",)))))
    play.crash(frozenset({play.step("a").id}))
    assert play.active == ["a.on_error.check"]
    play.ok("a.on_error.check", "it was sent")
    assert (play.status, play.outputs) == ("succeeded", "it was sent")


@pytest.mark.req("DUR-1.no-step-twice")
def test_an_adoption_without_attempts_in_flight_writes_nothing() -> None:
    play = Play(flow(step("w", "wait", params={"duration": "1h"})))
    assert not play.crash().rows


@pytest.mark.req("DUR-1.no-step-twice")
def test_completed_steps_are_not_run_again_after_a_crash() -> None:
    play = Play(flow(step("a"), step("b"), step("c")))
    for name in "abc":
        play.ok(name, name)
        if not play.state.ended:
            play.crash()
    assert [address for address, _ in play.started] == ["a", "b", "b", "c", "c"]
    assert (play.status, play.outputs) == ("succeeded", "c")


@pytest.mark.req("DUR-5.poison")
def test_a_step_that_was_in_flight_at_ten_crashes_fails_instead_of_being_tried_again() -> None:
    play = Play(flow(step("a")))
    for crash in range(1, MAX_LOST_ATTEMPTS):
        play.crash()
        assert (play.status, play.step("a").lost) == ("running", crash)
    play.crash()
    assert (play.status, play.state.error and play.state.error.code) == ("failed", "host_stopped")
    assert "10 times" in play.why("a")


@pytest.mark.req("BAR-15.unknown")
def test_two_unsafe_steps_of_one_block_fail_the_run_once_and_its_handlers_run() -> None:
    play = Play(flow(root=graph([step("a"), step("b")], []), on_error_block=HANDLERS))
    play.crash(frozenset({0, 1}))
    assert (play.of("a"), play.of("b"), play.active) == ("unknown_outcome", "cancelled", ["on_error.h2"])
    play.ok("on_error.h2")
    assert play.status == "failed"


@pytest.mark.req("BAR-15.unknown")
def test_two_unsafe_steps_in_branches_of_one_step_fail_it_once() -> None:
    play = Play(flow(try_("t", [parallel("p", {"x": [step("a")], "y": [step("b")]})], [step("c")])))
    play.crash(frozenset(one.id for one in play.state.active.values()))
    assert (play.of("p"), play.events("p").count("StepFailed"), play.active) == ("unknown_outcome", 1, ["c"])


@pytest.mark.req("BAR-15.unknown")
def test_a_safe_step_beside_an_unsafe_one_that_fails_the_run_is_not_attempted_again() -> None:
    play = Play(flow(root=graph([step("a"), step("b")], [])))
    play.crash(frozenset({0}))
    assert (play.status, play.of("b"), play.started) == ("failed", "cancelled", [("a", 1), ("b", 1)])


# ---------------------------------------------------------------- what is refused


@pytest.mark.req("DUR-1.no-step-twice")
def test_a_result_that_is_not_expected_changes_nothing() -> None:
    play = Play(flow(step("a"), step("b")))
    one = play.step("a").id
    for given in (
        inp.AttemptEnded(one, 0, 1),
        inp.AttemptEnded(one, 2, 1),
        inp.AttemptEnded(99, 1),
        inp.AttemptEnded(-1, 1),
    ):
        assert not play.give(given).rows
    play.ok("a", 1)
    assert not play.give(inp.AttemptEnded(one, 1, 2)).rows
    assert not play.give(inp.AttemptEnded(one, 1, failure=failure())).rows
    assert play.out("a") == 1


@pytest.mark.req("DUR-1.no-step-twice")
def test_a_run_begins_once() -> None:
    with pytest.raises(ConflictError):
        Play(flow(step("a"))).give(inp.Begin({}, {}, "cd"))


@pytest.mark.req("DUR-1.no-step-twice")
@pytest.mark.parametrize(
    "given",
    [
        inp.CancelRun(),
        inp.PauseRun(),
        inp.ResumeRun(),
        inp.AdoptRun(frozenset()),
        inp.TimersDue(),
        inp.CallbackArrived(0, 0, 1),
        inp.AttemptEnded(0, 1),
    ],
)
def test_before_it_begins_a_run_takes_no_other_input(given: inp.Input) -> None:
    state = RunState(compile_plan(flow(step("a"))), "run_1")
    with pytest.raises(ConflictError, match="has not begun"):
        decide(state, given, 1)
    assert state.seq == 0


@pytest.mark.req("DUR-4.cancel")
def test_a_decision_carries_its_time_on_every_row() -> None:
    play = Play(flow(step("a"), step("b")))
    play.now += 5
    made = play.ok("a")
    assert {row.at for row in made.rows} == {play.now}
    assert [type(row.event) for row in made.rows] == [ev.StepSucceeded, ev.StepStarted]
