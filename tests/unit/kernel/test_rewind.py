"""Going back: which steps are undone, which keep their results, what becomes of what was told of the undone ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.engine.ids import call_id, idempotency_key
from segue.errors import ConflictError, NotFoundError
from segue.flow.model import Flow, Handler, Timeout
from segue.kernel import inputs as inp
from segue.kernel.reasons import explain_step
from segue.kernel.status import RunStatus
from unit.kernel.builders import (
    Play,
    callback,
    compensate,
    conditional,
    failure,
    flow,
    foreach,
    graph,
    on_error,
    parallel,
    repeat,
    seq,
    step,
    try_,
)

pytestmark = pytest.mark.req("DUR-3.rewind")


def to(play: Play, *addresses: str) -> list[str]:
    """Rewind; the attempts that begin with that."""
    before = len(play.started)
    play.give(inp.RewindRun(addresses, by="tester"))
    return [address for address, _ in play.started[before:]]


def retry(play: Play) -> list[str]:
    before = len(play.started)
    play.give(inp.RetryRun())
    return [address for address, _ in play.started[before:]]


def key(play: Play, address: str) -> str:
    one = play.step(address)
    return idempotency_key(call_id("default", play.state.run_id, one.address, one.generation))


# ---------------------------------------------------------------- what is undone


def test_a_step_and_what_follows_from_it_run_again_and_what_was_before_is_kept() -> None:
    play = Play(flow(step("a"), step("b"), step("c")))
    play.run({"a": 1, "b": 2, "c": 3})
    assert play.outputs == 3
    assert to(play, "b") == ["b"]
    assert play.statuses() == {"a": "succeeded", "b": "running", "c": "pending"}
    assert (play.out("a"), play.out("b")) == (1, None)
    play.run({"b": 20, "c": 30})
    assert play.outputs == 30


def test_a_branch_that_does_not_depend_on_the_step_is_not_run_again() -> None:
    root = graph([step(name) for name in "abcd"], ["a>b", "a>c", "b>d", "c>d"])
    play = Play(flow(root=root)).run({"a": 1, "b": 2, "c": 3, "d": 4})
    assert to(play, "b") == ["b"]
    assert play.out("c") == 3
    play.run({"b": 5, "d": 6})
    assert [address for address, _ in play.started].count("c") == 1
    assert play.outputs == 6


def test_what_is_in_flight_elsewhere_goes_on_undisturbed() -> None:
    play = Play(flow(root=graph([step("a"), step("b"), step("c")], ["a>c", "b>c"])))
    play.ok("a", 1)
    assert to(play, "a") == ["a"]
    assert play.cancelled == []
    play.ok("b", 2)
    assert play.of("c") == "pending"
    play.ok("a", 3)
    assert play.step("c").live == 2


def test_what_is_in_flight_and_depends_on_it_is_cut_off_and_its_late_result_changes_nothing() -> None:
    play = Play(flow(step("a"), step("b")))
    play.ok("a", 1)
    late = inp.AttemptEnded(play.step("b").id, 1, "late")
    assert to(play, "a") == ["a"]
    assert play.cancelled == ["b"]
    assert not play.give(late).rows
    play.ok("a", 2)
    assert not play.give(late).rows, "the new attempt has the same number; the old answer is not its answer"
    play.ok("b", 3)
    assert play.outputs == 3


def test_a_callback_of_before_the_rewind_is_refused() -> None:
    play = Play(flow(step("a"), step("w", "wait", callback=callback(expires_seconds=60.0))))
    play.ok("a")
    old = play.step("w")
    to(play, "a")
    assert play.closed == [("w", "cancelled")]
    play.ok("a")
    with pytest.raises(ConflictError, match="not waiting"):
        play.give(inp.CallbackArrived(old.id, old.generation, 1))
    play.call_back("w", 2)
    assert play.outputs == 2


def test_a_timer_of_before_the_rewind_does_not_fire() -> None:
    play = Play(flow(step("a"), step("w", "wait", params={"duration": "1m"})))
    play.ok("a")
    to(play, "a")
    assert not play.state.timers
    play.later(60_000)
    assert play.active == ["a"]


def test_idempotency_keys_and_random_values_are_new_after_a_rewind_and_equal_over_retries() -> None:
    play = Play(flow(step("a"), step("s", "set", params={"id": "{{ uuid() }}"})))
    first = key(play, "a")
    play.ok("a")
    drawn = play.out("s")
    to(play, "a")
    second = key(play, "a")
    assert second != first
    play.crash()
    assert key(play, "a") == second
    play.ok("a")
    assert play.out("s") != drawn
    to(play, "s")
    assert play.out("s") not in (drawn, None)


def test_vars_are_what_the_kept_steps_made_of_them() -> None:
    steps = [step("one", "set", params={"n": 1}), step("a"), step("two", "set", params={"n": 2, "m": 2})]
    play = Play(flow(*steps, vars={"n": 0})).run()
    assert play.state.vars == {"n": 2, "m": 2}
    to(play, "a")
    assert play.state.vars == {"n": 1}
    to(play, "one")
    play.crash()
    assert play.state.vars == {"n": 1}, "`one` ran again at once"


def test_several_steps_at_once() -> None:
    play = Play(flow(root=graph([step(name) for name in "abcd"], ["a>b", "c>d"]))).run()
    assert to(play, "b", "d", "b") == ["b", "d"]
    assert (play.of("a"), play.of("c")) == ("succeeded", "succeeded")


def test_a_step_that_was_skipped_is_judged_again() -> None:
    play = Play(flow(step("s", "set", params={"on": "{{ false }}"}), step("a", when="vars.on"))).run()
    assert play.of("a") == "skipped"
    to(play, "s")
    assert play.status is RunStatus.SUCCEEDED
    assert play.of("a") == "skipped"


def test_chosen_edges_of_kept_steps_stay_chosen() -> None:
    branches = [{"label": "yes", "when": "true"}, {"label": "no", "when": None}]
    root = graph(
        [step("b", "branch", params={"branches": branches}), step("y"), step("n"), step("end")],
        ["b>y:yes", "b>n:no", "y>end", "n>end"],
    )
    play = Play(flow(root=root)).run({"y": 1, "end": 2})
    assert to(play, "y") == ["y"]
    assert play.of("n") == "skipped"
    play.run({"y": 3, "end": 4})
    assert play.outputs == 4
    assert "n" not in play.order


# ---------------------------------------------------------------- inside of composites


def test_one_item_of_a_loop_runs_again_and_the_others_keep_their_results() -> None:
    play = Play(flow(foreach("each", [1, 2, 3, 4], step("x"), step("y")), step("end")))
    play.run(lambda one: one.address)
    assert to(play, "each[2].y") == ["each[2].y"]
    assert play.of("end") == "pending"
    play.run({"y": "new", "end": "done"})
    assert play.out("each") == ["each[0].y", "each[1].y", "new", "each[3].y"]
    assert [address for address, _ in play.started].count("each[2].x") == 1
    assert play.outputs == "done"


def test_a_failed_item_runs_again_and_the_items_that_were_cut_off_go_on() -> None:
    play = Play(flow(foreach("each", [1, 2, 3, 4], step("x"), limit=2)))
    play.ok("each[0].x", "0")
    play.bad("each[1].x", "http.404")
    assert play.statuses() == {
        "each": "failed", "each[0].x": "succeeded", "each[1].x": "failed", "each[2].x": "cancelled",
    }  # fmt: skip
    assert retry(play) == ["each[1].x", "each[2].x"]
    play.run(lambda one: one.address)
    assert play.outputs == ["0", "each[1].x", "each[2].x", "each[3].x"]


def test_an_item_whose_failure_was_tolerated_stays_so_until_it_is_chosen_itself() -> None:
    play = Play(flow(foreach("each", [1, 2], step("x"), tolerate="all"), step("end")))
    play.bad("each[0].x", "http.404")
    play.ok("each[1].x", 1)
    play.ok("end")
    assert to(play, "each[1].x") == ["each[1].x"]
    play.ok("each[1].x", 2)
    assert play.out("each") == [None, 2]
    assert to(play, "each[0].x") == ["each[0].x"]
    play.ok("each[0].x", 3)
    assert play.out("each") == [3, 2]


def test_an_earlier_turn_undoes_the_later_ones() -> None:
    play = Play(flow(repeat("loop", step("x"), max=3)))
    for turn in range(3):
        play.ok(f"loop[{turn}].x", turn)
    assert to(play, "loop[1].x") == ["loop[1].x"]
    assert sorted(play.statuses()) == ["loop", "loop[0].x", "loop[1].x"]
    play.run({"x": "again"})
    assert [address for address, _ in play.started].count("loop[0].x") == 1
    assert play.outputs == "again"


def test_a_loop_that_was_cancelled_between_two_turns_goes_on_with_the_next() -> None:
    play = Play(flow(repeat("loop", step("x"), max=3, every="1h")))
    play.ok("loop[0].x")
    play.give(inp.CancelRun())
    assert retry(play) == []
    play.next_timer()
    assert play.active == ["loop[1].x"]


def test_a_step_of_a_branch_runs_again_and_the_other_branch_keeps_its_output() -> None:
    play = Play(flow(parallel("p", {"a": [step("a1"), step("a2")], "b": [step("b1")]}), step("end")))
    play.run(lambda one: one.address)
    assert to(play, "a2") == ["a2"]
    play.run({"a2": "new"})
    assert play.out("p") == {"a": "new", "b": "b1"}
    assert [address for address, _ in play.started].count("b1") == 1


def test_a_branch_that_was_cut_off_by_the_failure_of_another_goes_on_with_it() -> None:
    play = Play(flow(parallel("p", {"a": [step("a1")], "b": [step("b1"), step("b2")]})))
    play.ok("b1", 1)
    play.bad("a1", "http.404")
    assert play.of("b2") == "cancelled"
    assert to(play, "b2") == ["a1", "b2"], "`a1` is why the run failed: without it `p` cannot end well"
    play.run()
    assert play.status is RunStatus.SUCCEEDED


def test_a_branch_that_failed_and_did_not_matter_stays_failed() -> None:
    play = Play(flow(parallel("p", {"a": [step("a1")], "b": [step("b1")]}, join="any"), step("end")))
    play.bad("a1", "http.404")
    play.ok("b1", 1)
    play.ok("end")
    assert to(play, "b1") == ["b1"]
    play.run({"b1": 2})
    assert play.of("a1") == "failed"
    assert play.out("p") == {"a": None, "b": 2}


def test_branches_that_are_kept_can_be_enough() -> None:
    play = Play(flow(parallel("p", {"a": [step("a1")], "b": [step("b1")]}, join="any"), step("end")))
    play.ok("a1", 1)
    play.ok("b1", 2)
    to(play, "b1")
    play.bad("b1", "http.404")
    play.run()
    assert play.status is RunStatus.SUCCEEDED


def test_a_taken_branch_stays_taken_and_its_owner_gives_its_new_output() -> None:
    play = Play(flow(conditional("c", ("true", [step("x"), step("y")]), (None, [step("z")])), step("end")))
    play.run(lambda one: one.address)
    assert to(play, "y") == ["y"]
    play.run({"y": "new", "end": 1})
    assert play.out("c") == "new"
    assert "took `then`" in play.why("c")


@pytest.mark.req("BAR-4.what-happened")
def test_a_taken_branch_that_was_cancelled_says_again_why_it_was_taken_once_it_goes_on() -> None:
    play = Play(flow(conditional("c", ("true", [step("x"), step("y")])), step("end")))
    play.ok("x")
    play.give(inp.CancelRun("enough"))
    assert play.why("c") == "cancelled: enough"
    retry(play)
    play.run()
    assert play.why("c") == "took `then`: its condition holds"


def test_a_composite_that_is_undone_leaves_its_steps_behind() -> None:
    play = Play(flow(step("a"), conditional("c", ("true", [step("x")])), step("end")))
    play.ok("a")
    inner = play.step("x").id
    to(play, "a")
    assert play.cancelled == ["x"]
    assert not play.has("x")
    with pytest.raises(ConflictError, match="has not reached `x`"):
        to(play, "x")
    play.ok("a")
    assert play.step("x").id != inner, "numbers are never given again"
    assert play.state.nodes[inner].block.gone
    assert "taken back by a rewind" in explain_step(play.state, play.state.nodes[inner], play.now).sentence


def test_a_step_of_a_try_undoes_what_caught_it() -> None:
    play = Play(flow(try_("t", [step("x"), step("y")], [step("c")], [step("f")]), step("end")))
    play.ok("x", 1)
    play.bad("y", "http.404")
    play.run({"c": "caught", "f": "final"})
    assert play.out("t") == "caught"
    assert to(play, "y") == ["y"]
    assert sorted(play.statuses()) == ["end", "t", "x", "y"]
    play.run({"y": "fine"})
    assert play.out("t") == "fine"


def test_a_step_of_a_catch_block_keeps_the_failure_that_it_handles() -> None:
    play = Play(flow(try_("t", [step("y")], [step("c"), step("d")]), step("end")))
    play.bad("y", "http.404")
    play.run({"d": "old"})
    assert to(play, "d") == ["d"]
    assert play.of("y") == "failed"
    play.run({"d": "new"})
    assert play.out("t") == "new"


def test_a_step_of_a_finally_block_keeps_the_rest_of_the_try() -> None:
    play = Play(flow(try_("t", [step("y")], None, [step("f"), step("g")])))
    play.run({"y": 1})
    assert to(play, "g") == ["g"]
    play.run()
    assert play.outputs == 1


def test_what_was_undone_begins_anew_wherever_the_run_goes_back_to() -> None:
    undone = [step(name, compensate=compensate(step(f"no_{name}"))) for name in "ab"]
    play = Play(flow(*undone, step("c"))).run({"c": failure("http.404")})
    assert (play.step("a").undone, play.step("b").undone) == ("done", "done")
    assert to(play, "c") == ["a"], "what `c` builds on is no more"
    assert play.statuses() == {"a": "running", "b": "pending", "c": "pending"}
    play.run({"c": 3})
    assert (play.status, play.outputs, play.step("a").undone) == (RunStatus.SUCCEEDED, 3, None)


def test_what_was_about_to_be_undone_when_the_run_goes_back_is_not_done_again() -> None:
    play = Play(flow(step("pay", compensate=compensate(step("refund"))), step("ship"), step("mail"))).run()
    play.give(inp.UndoRun(), starts=False)
    assert (play.step("pay").undone, play.of("pay.compensate.refund")) == ("running", "ready")
    assert to(play, "ship") == ["ship"]
    assert play.step("pay").undone is None
    play.run()
    assert play.status is RunStatus.SUCCEEDED
    play.give(inp.UndoRun())
    play.run()
    assert [one for one in play.order if one.startswith("pay")] == ["pay", "pay.compensate.refund"]


def test_what_was_being_undone_when_the_run_goes_back_is_done_again() -> None:
    play = Play(flow(step("pay", compensate=compensate(step("refund"))), step("ship"))).run()
    play.give(inp.UndoRun())
    assert to(play, "ship") == ["pay"], "nobody knows whether it was refunded"


def test_what_goes_on_in_the_background_still_holds_up_the_end_after_a_rewind() -> None:
    play = Play(flow(parallel("p", {"a": [step("x")], "b": [step("y")]}, join="any"), step("end"), step("last")))
    play.ok("x")
    play.ok("end")
    assert to(play, "end") == ["end"]
    assert play.state.background == 1
    play.ok("end")
    play.ok("last", 7)
    assert play.status is RunStatus.RUNNING
    play.ok("y")
    assert (play.status, play.outputs) == (RunStatus.SUCCEEDED, 7)


def test_a_finally_that_others_wait_for_is_still_waited_for_after_a_rewind_elsewhere() -> None:
    cleaned = step("y", finally_=seq(step("f"), label="finally"))
    block = conditional(
        "c", ("true", [parallel("p", {"a": [step("x")], "b": [cleaned]}, on_error=on_error(step("h")))])
    )
    play = Play(flow(root=graph([block, step("z"), step("end")], ["c>end"])))
    play.ok("z")
    play.bad("x", "http.404")
    assert play.step("p").failing is not None
    assert to(play, "z") == ["z"]
    assert (play.step("p").finishing, play.step("c").finishing) == (1, 1)
    play.ok("z")
    play.ok(play.active[0])
    assert play.of("p.on_error.h") == "running"
    play.run()
    assert play.status is RunStatus.SUCCEEDED


# ---------------------------------------------------------------- handlers


def test_a_handled_step_is_tried_anew_without_its_handler() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"))), step("b")))
    play.bad("a", "http.404")
    play.run({"h": "handled"})
    assert play.out("a") == "handled"
    assert to(play, "a") == ["a"]
    assert not play.has("a.on_error.h")
    play.run({"a": "fine"})
    assert play.out("a") == "fine"
    assert not play.state.recovered


def test_a_step_of_a_handler_runs_again_and_the_step_stays_failed() -> None:
    play = Play(flow(step("a", on_error=on_error(step("g"), step("h"))), step("b")))
    play.bad("a", "http.404")
    play.run({"h": "old"})
    assert to(play, "a.on_error.h") == ["a.on_error.h"]
    assert play.of("a") == "running"
    play.run({"h": "new"})
    assert play.out("a") == "new"
    assert play.state.recovered
    assert [address for address, _ in play.started].count("a") == 1


def test_a_step_that_is_tried_again_after_its_handler_sends_a_new_key_and_waits_for_a_new_callback() -> None:
    handlers = (Handler(block=seq(step("h"), label="on_error"), then="retry"),)
    play = Play(flow(step("a", on_error=handlers, callback=callback(expires_seconds=600.0)), step("b")))
    first = key(play, "a")
    play.bad("a", "http.404")
    play.ok("a.on_error.h")
    play.later(0)
    play.ok("a")
    play.call_back("a", 1)
    play.ok("b")
    to(play, "a.on_error.h")
    assert play.opened == ["a", "a"]
    play.ok("a.on_error.h")
    play.later(0)
    assert key(play, "a") != first
    play.ok("a")
    play.call_back("a", 2)
    play.ok("b", 3)
    assert (play.out("a"), play.outputs) == (2, 3)


# ---------------------------------------------------------------- the flow's phases


def whole(**settings: Any) -> Flow:
    return flow(
        step("a"), step("b"), on_error_block=seq(step("h"), label="on_error"),
        finally_=seq(step("f"), step("g"), label="finally"), **settings,
    )  # fmt: skip


def test_from_the_end_back_to_the_steps() -> None:
    play = Play(whole())
    play.ok("a", 1)
    play.bad("b", "http.404")
    play.run()
    assert play.status is RunStatus.FAILED
    assert to(play, "b") == ["b"]
    assert (play.state.phase, play.state.flow_error, play.state.error) == ("steps", None, None)
    assert not play.has("on_error.h")
    play.run({"b": 2})
    assert (play.status, play.outputs) == (RunStatus.SUCCEEDED, 2)


def test_a_wait_that_nobody_tries_again_leaves_no_callback_open_behind_its_handler() -> None:
    handlers = (Handler(block=seq(step("h")), then="fail"),)
    ask = step("a", kind="wait", use=None, callback=callback(expires_seconds=600.0), timeout=Timeout(total_seconds=5.0))
    play = Play(flow(msgspec.structs.replace(ask, on_error=handlers)))
    play.later(5_000)
    assert (play.opened, play.closed) == (["a"], [("a", "cancelled")])
    to(play, "a.on_error.h")
    play.ok("a.on_error.h")
    assert play.state.status is RunStatus.FAILED
    assert (play.opened, play.closed) == (["a"], [("a", "cancelled")])


def test_from_the_handlers_back_to_the_steps() -> None:
    play = Play(whole())
    play.bad("a", "http.404")
    assert play.state.phase == "handlers"
    assert to(play, "a") == ["a"]
    assert play.cancelled[-1:] == ["on_error.h"]
    play.run()
    assert play.status is RunStatus.SUCCEEDED


def test_a_step_of_the_flows_handlers_keeps_the_runs_failure() -> None:
    play = Play(whole())
    play.bad("a", "http.404")
    play.run()
    assert to(play, "on_error.h") == ["on_error.h"]
    assert (play.state.phase, play.of("a")) == ("handlers", "failed")
    play.run()
    assert play.status is RunStatus.FAILED


def test_a_step_of_the_flows_finally_keeps_the_outcome() -> None:
    play = Play(whole()).run({"b": 7})
    assert to(play, "finally.g") == ["finally.g"]
    assert play.state.phase == "finally"
    play.run()
    assert (play.status, play.outputs) == (RunStatus.SUCCEEDED, 7)


def test_a_paused_run_is_rewound_and_stays_paused() -> None:
    play = Play(flow(step("a"), step("b")))
    play.ok("a")
    play.give(inp.PauseRun())
    assert to(play, "a") == []
    assert play.status is RunStatus.PAUSED
    play.give(inp.ResumeRun())
    assert play.active == ["a"]


def test_the_time_limits_begin_anew_with_what_runs_again() -> None:
    each = foreach("each", [1], step("x"), timeout=Timeout(total_seconds=60.0))
    play = Play(flow(each, timeout_seconds=100.0))
    play.later(50_000)
    play.ok("each[0].x")
    to(play, "each[0].x")
    assert play.state.timers[-1, "run"] == play.now + 100_000
    assert play.state.timers[play.step("each").id, "total"] == play.now + 60_000


def test_a_run_that_a_return_step_ended_goes_on_from_a_step_before_it() -> None:
    play = Play(flow(step("a"), step("r", "return", params={"value": "$data"}), step("b")))
    play.ok("a", 1)
    assert play.outputs == 1
    to(play, "a")
    play.ok("a", 2)
    assert (play.outputs, play.state.stopped_by) == (2, "r")


# ---------------------------------------------------------------- refusals


def test_a_step_that_does_not_exist_is_named_in_the_refusal() -> None:
    play = Play(flow(step("a")))
    with pytest.raises(NotFoundError, match="no step `b`; it can be rewound to a"):
        to(play, "b")
    with pytest.raises(ConflictError, match="say to which step"):
        to(play)


def test_a_run_whose_vars_cannot_be_computed_is_not_begun_again() -> None:
    play = Play(flow(step("a"), vars={"n": "{{ 1 / inputs.zero }}"}), {"zero": 0})
    assert play.status is RunStatus.FAILED
    with pytest.raises(ConflictError, match="vars"):
        retry(play)


# ---------------------------------------------------------------- retry


@pytest.mark.req("DUR-3.retry")
def test_only_the_innermost_failed_step_is_tried_again() -> None:
    play = Play(flow(step("a"), try_("t", [conditional("c", ("true", [step("x"), step("y")]))]), step("end")))
    play.ok("a")
    play.ok("x")
    play.bad("y", "http.404")
    assert play.status is RunStatus.FAILED
    assert retry(play) == ["y"]
    play.run()
    assert play.status is RunStatus.SUCCEEDED
    assert [address for address, _ in play.started].count("x") == 1
    assert "retried from `y`" in play.why()
    assert "1 step taken back" in play.why()


@pytest.mark.req("DUR-3.retry")
def test_an_unknown_outcome_is_tried_again_if_a_person_says_so() -> None:
    play = Play(flow(step("a", at_most_once=True)))
    play.crash()
    assert play.of("a") == "unknown_outcome"
    assert retry(play) == ["a"]


@pytest.mark.req("DUR-3.retry")
def test_a_cancelled_run_goes_on_where_it_stopped() -> None:
    play = Play(flow(step("a"), foreach("each", [1, 2], step("x"), step("y")), step("end")))
    play.ok("a")
    play.ok("each[0].x", 1)
    play.give(inp.CancelRun("enough"))
    assert retry(play) == ["each[0].y", "each[1].x"]
    play.run()
    assert (play.status, play.state.cancelling) == (RunStatus.SUCCEEDED, None)
    assert [address for address, _ in play.started].count("a") == 1


@pytest.mark.req("DUR-3.retry")
def test_a_run_that_timed_out_goes_on_with_the_same_time_again() -> None:
    play = Play(flow(step("a"), timeout_seconds=10.0))
    play.later(10_000)
    assert play.status is RunStatus.TIMED_OUT
    assert retry(play) == ["a"]
    play.later(9_999)
    play.ok("a")
    assert play.status is RunStatus.SUCCEEDED


@pytest.mark.req("DUR-3.retry")
def test_a_run_that_was_cancelled_in_its_finally_goes_on_there() -> None:
    play = Play(whole())
    play.ok("a")
    play.ok("b", 3)
    play.ok("finally.f")
    play.give(inp.CancelRun())
    assert play.status is RunStatus.CANCELLED
    assert retry(play) == ["finally.g"]
    play.run()
    assert (play.status, play.outputs) == (RunStatus.SUCCEEDED, 3)


@pytest.mark.req("DUR-3.retry")
def test_outputs_that_could_not_be_computed_are_computed_again() -> None:
    play = Play(
        flow(step("a"), finally_=seq(step("f"), label="finally"), outputs={"n": "{{ 1 / vars.n }}"}, vars={"n": 0})
    )
    play.run()
    assert play.status is RunStatus.FAILED
    assert retry(play) == ["finally.f"]
    play.run()
    assert play.status is RunStatus.FAILED


@pytest.mark.req("DUR-3.retry")
def test_failures_with_which_the_flow_went_on_are_retried_with_what_was_skipped_for_them() -> None:
    root = graph([step("a"), step("b"), step("c")], ["a>b"])
    play = Play(flow(root=root, on_error="continue"))
    play.bad("a", "http.404")
    play.ok("c")
    assert (play.status, play.of("b")) == (RunStatus.SUCCEEDED, "skipped")
    assert retry(play) == ["a"]
    play.run({"b": 5})
    assert play.out("b") == 5
    assert [address for address, _ in play.started].count("c") == 1


@pytest.mark.req("DUR-3.retry")
def test_there_is_nothing_to_retry_in_a_run_that_ended_well_or_has_not_failed() -> None:
    play = Play(flow(step("a")))
    with pytest.raises(ConflictError, match="no step of it has failed"):
        retry(play)
    play.ok("a")
    with pytest.raises(ConflictError, match="ended well"):
        retry(play)


@pytest.mark.req("DUR-3.retry")
def test_a_retry_that_fails_can_be_retried() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"), then="fail"))))
    for attempt in range(3):
        play.run({"a": failure("http.404"), "h": attempt})
        assert play.status is RunStatus.FAILED
        assert retry(play) == ["a"]
    play.run()
    assert play.status is RunStatus.SUCCEEDED
    assert play.state.generation == 3
