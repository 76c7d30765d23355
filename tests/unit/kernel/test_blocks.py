"""Steps that own branches: parallel, conditional, switch, try (semantics, Outputs and Paths)."""

from __future__ import annotations

from typing import Any

import pytest

from segue.kernel import inputs as inp
from unit.kernel.builders import Play, conditional, failure, flow, on_error, parallel, step, switch, try_

# ---------------------------------------------------------------- parallel


@pytest.mark.req("EXEC-1.parallel")
def test_parallel_gives_a_map_by_branch_and_later_steps_see_into_its_branches() -> None:
    play = Play(
        flow(parallel("p", {"x": [step("a"), step("b")], "y": [step("c")]}), step("see", "map", params={"value": "$b"}))
    )
    assert play.active == ["a", "c"]
    play.run({"a": 1, "b": 2, "c": 3})
    assert (play.out("p"), play.out("see")) == ({"x": 2, "y": 3}, 2)


@pytest.mark.req("EXEC-1.parallel")
def test_parallel_without_branches_gives_an_empty_map() -> None:
    assert Play(flow(step("p", "parallel"))).outputs == {}


@pytest.mark.req("EXEC-1.limit")
def test_a_limit_opens_the_next_branch_when_one_ends() -> None:
    play = Play(flow(parallel("p", {name: [step(name)] for name in "abcd"}, limit=2)))
    assert play.active == ["a", "b"]
    play.ok("b")
    assert play.active == ["a", "c"]
    play.ok("a")
    play.ok("c")
    play.ok("d")
    assert (play.status, list(play.outputs)) == ("succeeded", ["a", "b", "c", "d"])


@pytest.mark.req("EXEC-1.join")
@pytest.mark.parametrize(("join", "needed"), [("all", 3), ("any", 1), ("first", 1), (2, 2)])
def test_parallel_ends_after_as_many_good_branches_as_its_join_says(join: Any, needed: int) -> None:
    play = Play(flow(parallel("p", {name: [step(name)] for name in "abc"}, join=join), step("after")))
    for number, name in enumerate("cba", start=1):
        assert ("after" in play.active) == (number > needed)
        if name in play.active:
            play.ok(name, name)
    assert "after" in play.active


@pytest.mark.req("EXEC-1.join")
def test_join_first_cancels_the_branches_that_lost() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b"), step("b2")]}, join="first")))
    play.ok("a", 1)
    assert (play.of("b"), play.of("b2"), play.cancelled) == ("cancelled", "pending", ["b"])
    assert (play.status, play.outputs) == ("succeeded", {"x": 1, "y": None})
    assert play.why("b") == "cancelled: another branch was first"


@pytest.mark.req("EXEC-1.join")
@pytest.mark.parametrize(("join", "calls"), [("first", "b"), ("any", "b"), (2, "bc")])
def test_a_branch_in_which_nothing_was_run_wins_no_race(join: str | int, calls: str) -> None:
    branches = {"a": [step("a", when="false")], "b": [step("b")], "c": [step("c")], "d": [step("d", when="false")]}
    play = Play(flow(parallel("p", branches, join=join), step("after")))
    for call in calls:
        assert play.of("p") == "running"
        play.ok(call, call.upper())
    assert play.of("p") == "succeeded"
    assert play.active[-1] == "after"


@pytest.mark.req("EXEC-1.join")
def test_a_race_in_which_nothing_was_run_gives_nothing() -> None:
    play = Play(flow(parallel("p", {name: [step(name, when="false")] for name in "ab"}, join="first")))
    assert (play.status, play.outputs) == ("succeeded", {"a": None, "b": None})


@pytest.mark.req("EXEC-1.join")
def test_a_race_in_which_what_was_run_failed_has_no_winner() -> None:
    play = Play(flow(parallel("p", {"a": [step("a", when="false")], "b": [step("b")]}, join="any")))
    play.bad("b", "validation")
    assert play.status == "failed"
    assert play.why("p").startswith("failed with validation")


@pytest.mark.req("EXEC-1.join")
def test_join_any_lets_the_others_go_on_and_the_run_ends_after_them() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b"), step("b2")]}, join="any"), step("after")))
    play.ok("a", 1)
    play.ok("after", "end")
    assert (play.status, play.state.background) == ("running", 1)
    play.ok("b")
    play.ok("b2")
    assert (play.status, play.outputs) == ("succeeded", "end")


@pytest.mark.req("EXEC-1.join")
def test_a_branch_that_fails_after_its_join_was_satisfied_fails_nothing_else() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b"), step("b2")]}, join="any"), step("after")))
    play.ok("a", 1)
    play.bad("b")
    assert play.of("b2") == "pending"
    play.ok("after", "end")
    assert (play.status, play.outputs) == ("succeeded", "end")


@pytest.mark.req("EXEC-1.join")
def test_join_any_succeeds_although_the_first_branches_fail() -> None:
    play = Play(flow(parallel("p", {name: [step(name)] for name in "abc"}, join="any")))
    play.bad("a")
    play.bad("b")
    play.ok("c", 3)
    assert (play.status, play.outputs) == ("succeeded", {"a": None, "b": None, "c": 3})


@pytest.mark.req("EXEC-1.join")
def test_join_n_fails_as_soon_as_too_many_branches_failed() -> None:
    play = Play(flow(parallel("p", {name: [step(name)] for name in "abc"}, join=2)))
    play.bad("a")
    assert play.status == "running"
    play.bad("b")
    assert (play.status, play.of("c")) == ("failed", "cancelled")
    assert "2 of 3 branches failed, too many for 2 to end well" in play.why("p")


@pytest.mark.req("EXEC-1.parallel")
def test_fail_fast_cancels_the_siblings() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]})))
    play.bad("a")
    assert (play.status, play.of("p"), play.of("b"), "b" in play.cancelled) == ("failed", "failed", "cancelled", True)
    assert play.why("b") == "cancelled: `p` failed"


@pytest.mark.req("EXEC-1.parallel")
def test_fail_wait_lets_the_siblings_end_before_it_fails() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, fail="wait")))
    play.bad("a")
    assert (play.status, play.of("b")) == ("running", "running")
    play.ok("b")
    assert (play.status, play.of("b")) == ("failed", "succeeded")


@pytest.mark.req("EXEC-1.parallel")
def test_fail_wait_with_a_limit_still_opens_the_other_branches() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, fail="wait", limit=1)))
    play.bad("a")
    play.ok("b")
    assert (play.status, play.of("b")) == ("failed", "succeeded")


@pytest.mark.req("EXEC-6.error-in-scope")
def test_an_error_that_passes_up_names_the_step_that_failed() -> None:
    play = Play(flow(parallel("p", {"x": [parallel("q", {"z": [step("a")]})]}))).run({"a": failure("http.503", "down")})
    error = play.state.error
    assert error is not None
    assert (error.step, error.category, error.attempt) == ("a", "http.503", 1)
    assert play.why("p") == "failed: `a` failed with http.503: down"
    assert play.why() == "failed: `a` failed with http.503: down"


@pytest.mark.req("DUR-4.cancel")
def test_what_goes_on_after_a_join_is_cancelled_with_the_block_around_it() -> None:
    inner = parallel("inner", {"slow": [step("slow")], "quick": [step("quick")]}, join="any")
    play = Play(
        flow(try_("t", [parallel("outer", {"x": [inner, step("x")], "y": [step("y")]})], catch=[step("caught")]))
    )
    play.ok("quick")
    play.bad("y")
    assert (play.of("slow"), play.of("x"), play.active) == ("cancelled", "cancelled", ["caught"])


# ---------------------------------------------------------------- conditional, switch


@pytest.mark.req("EXEC-2.conditional")
@pytest.mark.parametrize(("n", "ran"), [(1, "one"), (2, "two"), (3, "many")])
def test_conditional_takes_the_first_branch_whose_condition_holds(n: int, ran: str) -> None:
    plan = flow(
        conditional("c", ("$inputs.n == 1", [step("one")]), ("$inputs.n < 3", [step("two")]), (None, [step("many")])),
        step("end"),
    )
    play = Play(plan, {"n": n})
    assert play.active == [ran]
    play.ok(ran, ran)
    assert (play.out("c"), play.active) == (ran, ["end"])


@pytest.mark.req("EXEC-2.branch-visible")
def test_conditional_says_which_branch_it_took_and_why() -> None:
    play = Play(flow(conditional("c", ("$inputs.x.y", [step("a")]), (None, [step("b")]))))
    play.ok("b")
    assert play.why("c").startswith("took `else`: `then` did not hold (")


@pytest.mark.req("EXEC-2.conditional")
def test_conditional_without_else_gives_null_if_nothing_holds() -> None:
    play = Play(flow(conditional("c", ("false", [step("a")])), step("b")))
    assert (play.out("c"), play.active) == (None, ["b"])
    assert play.why("c").startswith("took no branch")


@pytest.mark.req("EXEC-2.conditional")
def test_a_condition_that_is_no_boolean_fails_the_step() -> None:
    play = Play(flow(conditional("c", ("$inputs.n", [step("a")]))), {"n": 3})
    assert (play.status, play.of("c"), play.state.error and play.state.error.category) == (
        "failed",
        "failed",
        "expression",
    )


@pytest.mark.req("EXEC-2.conditional")
def test_a_branch_without_steps_gives_an_empty_result_and_goes_on() -> None:
    play = Play(flow(conditional("c", ("true", []), (None, [step("a")])), step("b")))
    assert play.active == ["b"]


@pytest.mark.req("EXEC-2.switch")
@pytest.mark.parametrize(
    ("value", "ran"),
    [("a", "one"), (2, "two"), (2.0, "two"), (True, "yes"), (1, "other"), (None, "other"), ("2", "other")],
)
def test_switch_takes_the_case_that_equals_the_value(value: Any, ran: str) -> None:
    cases = {"a": [step("one")], 2: [step("two")], True: [step("yes")]}
    play = Play(flow(switch("s", "$inputs.v", cases, [step("other")])), {"v": value})
    assert play.active == [ran]
    play.ok(ran, 1)
    assert play.outputs == 1
    assert play.why("s").startswith("took ")


@pytest.mark.req("EXEC-2.switch")
def test_switch_without_default_gives_null_if_no_case_fits() -> None:
    play = Play(flow(switch("s", "$inputs.v", {"a": [step("one")]})), {"v": "b"})
    assert (play.status, play.outputs, play.why("s")) == ("succeeded", None, 'took no branch: no case is "b"')


# ---------------------------------------------------------------- try


@pytest.mark.req("EXEC-6.try")
def test_try_gives_the_output_of_do_and_runs_finally() -> None:
    play = Play(flow(try_("t", [step("a")], [step("c")], [step("f")]))).run({"a": 1, "f": 2})
    assert (play.order, play.outputs, play.of("t")) == (["a", "f"], 1, "succeeded")


@pytest.mark.req("EXEC-6.error-in-scope")
def test_catch_sees_the_error_and_recovers_the_step() -> None:
    catch = [step("c", "map", params={"value": "{{ error.category + ' ' + error.step }}"})]
    play = Play(flow(try_("t", [step("a"), step("a2")], catch, [step("f")]), step("after")))
    play.bad("a", "http.404")
    play.ok("f")
    assert (play.of("t"), play.out("t"), play.active) == ("recovered", "http.404 a", ["after"])
    play.ok("after")
    assert (play.status, play.state.recovered) == ("succeeded", True)
    assert play.why("t") == "failed with http.404: no answer; its `catch` block ended well"


@pytest.mark.req("EXEC-6.try")
def test_try_without_catch_fails_after_finally() -> None:
    play = Play(flow(try_("t", [step("a")], final=[step("f")])))
    play.bad("a", "http.404")
    assert play.active == ["f"]
    play.ok("f")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.404")


@pytest.mark.req("EXEC-6.try")
def test_a_catch_that_fails_fails_the_step_after_finally() -> None:
    play = Play(flow(try_("t", [step("a")], [step("c")], [step("f")])))
    play.bad("a", "http.404")
    play.bad("c", "http.500")
    play.ok("f")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.500")


@pytest.mark.req("EXEC-6.try")
def test_a_finally_that_fails_fails_the_step() -> None:
    play = Play(flow(try_("t", [step("a")], final=[step("f")])))
    play.ok("a")
    play.bad("f", "http.500")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "http.500")


@pytest.mark.req("EXEC-6.try")
def test_finally_sees_the_error_or_null() -> None:
    plan = flow(
        try_("t", [step("a")], [step("c")], [step("f", "set", params={"seen": "{{ error.category ?? 'none' }}"})])
    )
    assert Play(plan).run({}).state.vars == {"seen": "none"}
    assert Play(plan).run({"a": failure("dns")}).state.vars == {"seen": "dns"}


@pytest.mark.req("EXEC-6.try")
def test_a_failure_within_a_catchs_inner_block_is_no_error_of_do() -> None:
    inner = try_("inner", [step("b")], [step("c")])
    play = Play(flow(try_("outer", [inner], [step("never")]))).run({"b": failure()})
    assert (play.status, play.has("never"), play.of("inner")) == ("succeeded", False, "recovered")


# ---------------------------------------------------------------- handlers of a step


@pytest.mark.req("EXEC-6.on_error")
def test_handlers_run_in_order_with_the_error_and_the_step_is_recovered() -> None:
    handlers = on_error(step("note", "map", params={"value": "$error.code"}), step("tell"))
    play = Play(flow(step("a", on_error=handlers), step("b")))
    play.bad("a", "http.503", code="down")
    assert (play.of("a"), play.out("a.on_error.note"), play.active) == ("running", "down", ["a.on_error.tell"])
    assert play.why("a") == "failed with http.503: no answer; its `on_error` steps are running"
    play.ok("a.on_error.tell", "told")
    assert (play.of("a"), play.out("a"), play.active) == ("recovered", "told", ["b"])
    play.ok("b")
    assert (play.status, play.state.recovered) == ("succeeded", True)


@pytest.mark.req("EXEC-6.on_error")
def test_data_within_handlers_is_the_failed_steps_input() -> None:
    handlers = on_error(step("note", "map", params={"value": "$data"}))
    play = Play(flow(step("a"), step("b", on_error=handlers)))
    play.ok("a", "flowed in")
    play.bad("b")
    assert play.out("b") == "flowed in"


@pytest.mark.req("EXEC-6.on_error")
def test_a_handler_that_matches_no_category_lets_the_error_pass() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"), match=("http.404",)))))
    play.bad("a", "http.500")
    assert (play.status, play.has("a.on_error.h")) == ("failed", False)


@pytest.mark.req("EXEC-6.on_error")
def test_the_first_handler_that_matches_is_taken() -> None:
    handlers = (
        on_error(step("one"), match=("http.404",))
        + on_error(step("two"), match=("http.5xx",))
        + on_error(step("three"))
    )
    play = Play(flow(step("a", on_error=handlers)))
    play.bad("a", "http.502")
    assert play.active == ["a.on_error.two"]


@pytest.mark.req("EXEC-6.on_error")
def test_then_fail_passes_the_error_on_after_the_handlers() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"), then="fail"))))
    play.bad("a", "http.500")
    play.ok("a.on_error.h")
    assert (play.status, play.of("a"), play.state.error and play.state.error.category) == (
        "failed",
        "failed",
        "http.500",
    )


@pytest.mark.req("EXEC-6.on_error")
def test_then_retry_makes_one_more_attempt_after_the_handlers() -> None:
    play = Play(flow(step("a", on_error=on_error(step("refresh"), then="retry"))))
    play.bad("a", "http.401")
    play.ok("a.on_error.refresh")
    play.later(0)
    assert (play.of("a"), play.started[-1]) == ("running", ("a", 2))
    assert play.why("a").startswith("attempt 2 is in flight")
    play.ok("a", "good")
    assert (play.status, play.outputs) == ("succeeded", "good")


@pytest.mark.req("EXEC-6.on_error")
def test_a_step_that_fails_again_after_then_retry_is_not_handled_twice() -> None:
    play = Play(flow(step("a", on_error=on_error(step("refresh"), then="retry"))))
    play.bad("a", "http.401")
    play.ok("a.on_error.refresh")
    play.later(0)
    play.bad("a", "http.401")
    assert (play.status, play.of("a")) == ("failed", "failed")


@pytest.mark.req("EXEC-6.on_error")
def test_a_handler_that_fails_passes_the_error_up() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h")))))
    play.bad("a", "http.404")
    play.bad("a.on_error.h", "http.500")
    error = play.state.error
    assert error is not None
    assert (play.of("a.on_error.h"), error.category, error.step) == ("failed", "http.404", "a")


@pytest.mark.req("EXEC-6.on_error")
def test_handlers_of_a_composite_run_after_its_blocks_are_cancelled() -> None:
    handlers = on_error(step("h"))
    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, on_error=handlers), step("after")))
    play.bad("a")
    assert (play.of("b"), play.active) == ("cancelled", ["p.on_error.h"])
    play.ok("p.on_error.h", 9)
    assert (play.of("p"), play.out("p"), play.active) == ("recovered", 9, ["after"])


@pytest.mark.req("EXEC-6.on_error")
@pytest.mark.parametrize("kind", ["set", "map", "log", "call"])
def test_handlers_run_for_a_step_whose_values_cannot_be_computed(kind: str) -> None:
    broken = {"params": {"value": "{{ 1 / 0 }}"}} if kind != "call" else {"when": "1 / 0 == 1"}
    play = Play(flow(step("a", kind, on_error=on_error(step("h")), **broken), step("b")))
    assert (play.active, play.started) == (["a.on_error.h"], [("a.on_error.h", 1)])
    play.ok("a.on_error.h", "mended")
    assert (play.of("a"), play.out("a"), play.active) == ("recovered", "mended", ["b"])


@pytest.mark.req("EXEC-6.on_error")
def test_an_error_edge_takes_the_failure_of_values_too() -> None:
    from unit.kernel.builders import graph

    root = graph([step("a", "set", params={"x": "{{ 1 / 0 }}"}), step("bad"), step("good")], ["a>good", "a>bad:error"])
    play = Play(flow(root=root))
    assert (play.of("a"), play.active, play.of("good")) == ("recovered", ["bad"], "skipped")


@pytest.mark.req("EXEC-6.on_error")
def test_cancelling_reaches_running_handlers() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h")))))
    play.bad("a")
    play.give(inp.CancelRun("enough"))
    assert (play.status, play.of("a"), play.of("a.on_error.h")) == ("cancelled", "cancelled", "cancelled")


@pytest.mark.req("EXEC-6.on_error")
def test_handlers_within_handlers_work() -> None:
    inner = on_error(step("deep"))
    play = Play(flow(step("a", on_error=on_error(step("h", on_error=inner)))))
    play.bad("a")
    play.bad("a.on_error.h")
    assert play.active == ["a.on_error.h.on_error.deep"]
    play.ok("a.on_error.h.on_error.deep", 1)
    assert (play.status, play.outputs) == ("succeeded", 1)
