"""`finally` of a step or a `try`: it runs whatever came of the step, cancelled or not, and the rest waits for it."""

from __future__ import annotations

import pytest

from segue.flow.model import Callback, Retry, Timeout
from segue.kernel import inputs as inp
from unit.kernel.builders import Play, failure, final, flow, foreach, on_error, parallel, seq, step, try_

CLOSE = final(step("close", params={"got": "$output", "error": "$error.category"}))


@pytest.mark.req("EXEC-6.step-finally")
def test_the_finally_of_a_step_runs_before_what_comes_after_it() -> None:
    play = Play(flow(step("a", finally_=CLOSE), step("b")))
    play.ok("a", 1)
    assert (play.active, play.of("a")) == (["a.finally.close"], "running")
    assert play.why("a") == "its `finally` steps are running; then it is succeeded"
    play.ok("a.finally.close")
    assert (play.active, play.out("a")) == (["b"], 1)


@pytest.mark.req("EXEC-6.step-finally")
def test_it_runs_after_the_last_try_and_the_handlers_of_a_step_that_fails() -> None:
    play = Play(flow(step("a", finally_=CLOSE, on_error=on_error(step("h"), then="fail"), retry=Retry(max_attempts=2))))
    play.run({"a": failure("timeout")})
    assert play.order == ["a", "a.on_error.h", "a.finally.close"]
    assert (play.status, play.of("a")) == ("failed", "failed")


@pytest.mark.req("EXEC-6.step-finally")
@pytest.mark.parametrize("first", [None, failure("http.404")])
def test_a_finally_that_fails_fails_its_step_and_hides_no_earlier_error(first: object) -> None:
    play = Play(flow(step("a", finally_=CLOSE))).run({"a": first, "close": failure("dns")})
    assert play.state.error is not None
    assert play.state.error.category == ("dns" if first is None else "http.404")


@pytest.mark.req("EXEC-6.step-finally", "DUR-5.same-key")
def test_a_finally_that_runs_again_after_another_try_does_its_calls_under_new_keys() -> None:
    play = Play(flow(step("a", finally_=CLOSE, on_error=on_error(step("h"), then="retry"))))
    play.ok("a", 1)
    play.bad("a.finally.close", "dns")
    play.ok("a.on_error.h")
    play.next_timer()
    play.ok("a", 2)
    assert play.active == ["a.finally.close"]
    assert [one.generation for one in play.state.nodes if one.address == "a.finally.close"] == [0, 1]


@pytest.mark.req("EXEC-6.step-finally")
def test_a_recovered_step_and_a_pure_step_have_their_finally_too() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h")), finally_=CLOSE), step("s", "set", finally_=CLOSE)))
    play.run({"a": failure(), "h": 5})
    assert play.order == ["a", "a.on_error.h", "a.finally.close", "s.finally.close"]
    assert (play.of("a"), play.out("a")) == ("recovered", 5)


@pytest.mark.req("EXEC-6.step-finally")
def test_a_step_that_was_not_run_has_nothing_to_clean_up() -> None:
    play = Play(flow(step("a", when="false", finally_=CLOSE), step("b", disabled=True, finally_=CLOSE))).run()
    assert play.order == []
    play = Play(flow(step("first"), step("a", finally_=CLOSE)))
    play.give(inp.CancelRun())
    assert (play.status, play.order) == ("cancelled", ["first"])


@pytest.mark.req("EXEC-6.finally-on-cancel")
def test_a_cancelled_run_ends_after_the_finally_of_what_it_cancelled() -> None:
    play = Play(flow(step("a", finally_=CLOSE), finally_=seq(step("f"), label="finally")))
    play.give(inp.CancelRun("no"))
    assert (play.of("a"), play.active, play.cancelled) == ("cancelled", ["a.finally.close"], ["a"])
    assert play.why() == "ends as cancelled once the `finally` steps of what was cancelled are over"
    play.give(inp.CancelRun("again"))
    assert play.active == ["a.finally.close"]
    play.ok("a.finally.close")
    assert play.active == ["finally.f"]
    play.ok("finally.f")
    assert play.status == "cancelled"


@pytest.mark.req("EXEC-6.finally-on-cancel", "EXEC-6.boundary")
def test_a_try_runs_its_finally_when_the_run_is_cancelled_or_times_out() -> None:
    guarded = try_("t", [step("a")], [step("h")], [step("close")])
    play = Play(flow(guarded, timeout_seconds=10))
    play.later(10_000)
    assert (play.active, play.of("t")) == (["close"], "cancelled")
    play.ok("close")
    assert play.status == "timed_out"
    play = Play(flow(guarded))
    play.give(inp.CancelRun())
    assert play.active == ["close"]


@pytest.mark.req("EXEC-6.finally-on-cancel")
def test_a_finally_that_has_begun_goes_on_through_a_cancellation_and_a_crash() -> None:
    play = Play(flow(step("a", finally_=CLOSE), step("b")))
    play.ok("a")
    play.give(inp.CancelRun())
    assert (play.of("a"), play.active) == ("cancelled", ["a.finally.close"])
    play.crash()
    assert play.active == ["a.finally.close"]
    play.ok("a.finally.close")
    assert play.status == "cancelled"


@pytest.mark.req("DUR-4.force")
def test_a_forced_cancellation_cuts_a_finally_off() -> None:
    play = Play(flow(step("a", finally_=final(step("close", "wait", params={"duration": "9h"})))))
    play.give(inp.CancelRun())
    assert play.status == "waiting"
    play.give(inp.CancelRun("now", force=True))
    assert (play.status, play.of("a.finally.close")) == ("cancelled", "cancelled")


@pytest.mark.req("EXEC-6.finally-on-cancel")
def test_a_failure_goes_up_only_after_the_finally_of_what_it_cancelled() -> None:
    both = parallel("p", {"x": [step("a", finally_=CLOSE)], "y": [step("b")]})
    play = Play(flow(try_("t", [both], [step("h")])))
    play.bad("b", "http.500")
    assert play.active == ["a.finally.close"]
    assert "`finally` steps of what was cancelled inside it" in play.why("p")
    play.crash()
    play.ok("a.finally.close")
    assert play.active == ["h"]
    play.ok("h")
    assert (play.status, play.of("t")) == ("succeeded", "recovered")


@pytest.mark.req("EXEC-6.step-finally")
def test_return_inside_a_finally_ends_nothing_and_a_return_with_one_ends_after_it() -> None:
    inner = final(step("end", "return", params={"value": 1}))
    play = Play(flow(step("a", finally_=inner), step("b"))).run({"b": 2})
    assert play.outputs == 2
    play = Play(flow(step("r", "return", params={"value": 3}, finally_=CLOSE), step("b")))
    assert play.active == ["r.finally.close"]
    play.ok("r.finally.close")
    assert (play.status, play.outputs, play.state.stopped_by) == ("succeeded", 3, "r")


@pytest.mark.req("EXEC-6.step-finally")
def test_a_branch_that_goes_on_while_its_step_cleans_up_changes_nothing() -> None:
    both = parallel("p", {"x": [step("a")], "y": [step("b")]}, join="any", finally_=CLOSE)
    play = Play(flow(both, step("c")))
    play.ok("a", 1)
    assert play.active == ["b", "p.finally.close"]
    play.ok("b", 2)
    play.ok("p.finally.close")
    play.ok("c")
    assert play.status == "succeeded"


@pytest.mark.req("EXEC-6.step-finally")
def test_a_failed_callback_and_a_deadline_have_their_finally() -> None:
    hook = step("w", "wait", callback=Callback(expires_seconds=5), finally_=CLOSE)
    play = Play(flow(hook))
    play.next_timer()
    assert (play.active, play.closed) == (["w.finally.close"], [("w", "expired")])
    play.ok("w.finally.close")
    assert play.of("w") == "timed_out"
    play = Play(flow(step("a", timeout=Timeout(total_seconds=1), finally_=CLOSE)))
    play.next_timer()
    play.later(60_000)
    assert play.active == ["a.finally.close"]


# ---------------------------------------------------------------- try.match


@pytest.mark.req("EXEC-6.match")
def test_a_catch_takes_only_the_errors_that_it_names() -> None:
    from segue.flow.model import Block

    def caught(*catches: Block) -> Play:
        guarded = step("t", "try", blocks=(seq(step("a"), label="do"), *catches))
        return Play(flow(guarded))

    first = Block(label="catch", steps=(step("h1"),), match=("http.5xx",))
    second = Block(label="catch:1", steps=(step("h2"),), match=("timeout",))
    play = caught(first, second)
    play.bad("a", "timeout")
    assert play.active == ["h2"]
    play.ok("h2", 7)
    assert (play.of("t"), play.out("t")) == ("recovered", 7)
    assert caught(first, second).run({"a": failure("dns")}).status == "failed"


# ---------------------------------------------------------------- blocks tried again


@pytest.mark.req("EXEC-6.block-retry")
def test_a_block_is_tried_again_as_a_whole_under_new_keys() -> None:
    block = try_("t", [step("a"), step("b")], retry=Retry(max_attempts=3, initial_delay_seconds=1, jitter="none"))
    play = Play(flow(block, step("after")))
    play.ok("a", 1)
    play.bad("b", "timeout")
    assert (play.of("t"), play.state.next_due()) == ("retrying", play.now + 1_000)
    assert "attempt 1 of 3 failed with timeout" in play.why("t")
    play.crash()
    play.next_timer()
    assert play.active == ["a"]
    one, other = [step for step in play.state.nodes if step.address == "a"]
    assert (one.output, one.generation) == (1, 0)
    assert other.generation == 1
    play.ok("a", 2)
    play.ok("b", 3)
    assert (play.active, play.out("t"), play.step("t").tries) == (["after"], 3, 2)


@pytest.mark.req("EXEC-6.block-retry")
def test_no_name_of_an_earlier_try_is_seen_in_the_next() -> None:
    items = foreach("each", "$inputs.xs", step("w"), step("v"), retry=Retry(max_attempts=2, initial_delay_seconds=0))
    play = Play(flow(items), {"xs": [1, 2]})
    play.ok("each[0].w", "old")
    play.bad("each[0].v", "timeout")
    play.next_timer()
    assert (play.step("each").items, play.step("each").results, play.active) == (
        [1, 2], None, ["each[0].w", "each[1].w"],
    )  # fmt: skip
    play.run(lambda one: one.address)
    assert play.out("each") == ["each[0].v", "each[1].v"]


@pytest.mark.req("EXEC-6.block-retry")
def test_a_block_stops_being_tried_when_its_tries_or_its_time_are_over() -> None:
    retry = Retry(max_attempts=2, initial_delay_seconds=1, jitter="none")
    play = Play(flow(parallel("p", {"x": [step("a")]}, retry=retry, on_error=on_error(step("h")))))
    play.run({"a": failure("timeout")})
    assert (play.of("p"), play.order.count("a"), len([1 for name, _ in play.started if name == "a"])) == (
        "recovered", 1, 2,
    )  # fmt: skip
    limited = parallel("p", {"x": [step("a")]}, retry=retry, timeout=Timeout(attempt_seconds=5, total_seconds=8))
    play = Play(flow(limited))
    play.later(5_000)
    assert (play.of("p"), play.of("a")) == ("retrying", "cancelled")
    play.later(1_000)
    assert play.active == ["a"]
    play.later(2_000)
    assert (play.status, play.of("p")) == ("failed", "timed_out")


@pytest.mark.req("EXEC-6.block-retry")
def test_what_is_not_retried_by_its_category_is_not_retried_in_a_block() -> None:
    play = Play(flow(parallel("p", {"x": [step("a")]}, retry=Retry(max_attempts=5)))).run({"a": failure("http.404")})
    assert (play.status, len(play.started)) == ("failed", 1)


@pytest.mark.req("EXEC-6.block-retry")
def test_a_loop_that_waits_for_its_next_turn_is_tried_again_from_its_first() -> None:
    """Simulation, seed 53: the time of a try ran out between two turns."""
    from unit.kernel.builders import repeat

    retry = Retry(max_attempts=2, initial_delay_seconds=1, jitter="none")
    play = Play(flow(repeat("r", step("a"), max=3, every="1m", retry=retry, timeout=Timeout(attempt_seconds=5))))
    play.ok("r[0].a")
    assert play.of("r") == "waiting"
    play.later(5_000)
    assert play.of("r") == "retrying"
    play.later(1_000)
    assert (play.active, play.step("r[0].a").generation) == (["r[0].a"], 1)


@pytest.mark.req("EXEC-6.block-retry")
def test_a_block_whose_condition_cannot_be_computed_is_not_tried_again() -> None:
    retry = Retry(max_attempts=3, on=("expression",))
    play = Play(flow(parallel("p", {"x": [step("a")]}, when="1 / 0 == 1", retry=retry)))
    assert (play.status, play.of("p")) == ("failed", "failed")


# ---------------------------------------------------------------- a first path


@pytest.mark.req("EXEC-1.first")
def test_the_first_path_to_a_join_cancels_the_paths_that_lead_only_to_it() -> None:
    from unit.kernel.builders import graph

    steps = [step("a"), step("b"), step("b2"), step("c"), step("other"), step("j", join="first")]
    play = Play(flow(root=graph(steps, ["a>j", "b>b2", "b2>j", "c>j", "c>other"])))
    play.ok("a", 1)
    assert (play.cancelled, play.of("b"), play.of("b2")) == (["b"], "cancelled", "skipped")
    assert play.active == ["c", "j"]  # another step waits for `c`, so it goes on
    play.ok("j")
    play.ok("c")
    play.ok("other")
    assert play.status == "succeeded"
    assert "another path to `j` was first" in play.why("b")


@pytest.mark.req("EXEC-1.any")
def test_any_path_to_a_join_lets_the_others_go_on() -> None:
    from unit.kernel.builders import graph

    play = Play(flow(root=graph([step("a"), step("b"), step("j", join="any")], ["a>j", "b>j"])))
    play.ok("a")
    assert (play.active, play.cancelled) == (["b", "j"], [])


# ---------------------------------------------------------------- sent, no answer


def _charge(then: str, **settings: object) -> Play:
    check = on_error(step("look"), match=("unknown_outcome",), then=then)
    return Play(flow(step("charge", at_most_once=True, on_error=check, **settings), step("next")))  # pyright: ignore[reportArgumentType]


@pytest.mark.req("BAR-15.check")
def test_a_check_step_finds_out_what_became_of_a_call_without_an_answer() -> None:
    then = "{{ look.found ? 'continue' : 'retry' }}"
    play = _charge(then)
    play.crash()
    assert play.active == ["charge.on_error.look"]
    play.ok("charge.on_error.look", {"found": True})
    assert (play.of("charge"), play.out("charge"), play.active) == ("recovered", {"found": True}, ["next"])
    play = _charge(then)
    play.crash()
    play.ok("charge.on_error.look", {"found": False})
    play.next_timer()
    assert (play.active, play.step("charge").attempt) == (["charge"], 2)


@pytest.mark.req("BAR-15.check")
def test_without_a_check_an_unknown_outcome_is_a_state_of_its_own() -> None:
    play = _charge("fail")
    play.crash()
    play.ok("charge.on_error.look")
    assert (play.status, play.of("charge")) == ("failed", "unknown_outcome")


@pytest.mark.req("BAR-15.check")
def test_a_check_is_made_again_as_long_as_there_are_tries_and_asks_anew() -> None:
    play = _charge("retry", retry=Retry(max_attempts=2))
    play.crash()
    play.ok("charge.on_error.look")
    play.next_timer()
    play.crash()
    assert play.of("charge") == "unknown_outcome"  # two tries, and none is left
    play = _charge("retry", retry=Retry(max_attempts=3))
    for generation in (0, 1):
        play.crash()
        assert play.step("charge.on_error.look").generation == generation
        play.ok("charge.on_error.look")
        play.next_timer()
    play.ok("charge", 5)
    assert play.out("charge") == 5


@pytest.mark.req("BAR-15.check")
def test_a_check_that_says_something_else_fails_the_step() -> None:
    play = _charge("{{ look }}")
    play.crash()
    play.ok("charge.on_error.look", "perhaps")
    assert play.state.error is not None
    assert "continue, fail or retry is needed" in play.state.error.message


# ---------------------------------------------------------------- items by key, numbers that are computed


@pytest.mark.req("EXEC-3.key")
def test_items_are_addressed_by_their_key() -> None:
    play = Play(
        flow(
            foreach("each", "$inputs.xs", step("w"), key="$item.id"),
            step("see", "map", params={"value": "{{ steps.each['b'].w }}"}),
        ),
        {"xs": [{"id": "a"}, {"id": "b"}]},
    )
    assert play.active == ['each["a"].w', 'each["b"].w']
    play.run(lambda one: one.address)
    assert (play.out("see"), play.out("each")) == ('each["b"].w', ['each["a"].w', 'each["b"].w'])


@pytest.mark.req("EXEC-3.key")
@pytest.mark.parametrize(
    ("items", "told"),
    [([{"id": 1}, {"id": "1"}], 'items 0 and 1 are both "1"'), ([{"id": None}], "item 0 has null"), ([{}], "item 0")],
)
def test_keys_that_are_equal_or_no_keys_are_refused(items: object, told: str) -> None:
    play = Play(flow(foreach("each", "$inputs.xs", step("w"), key="$item.id")), {"xs": items})
    assert play.state.error is not None
    assert told in play.state.error.message


@pytest.mark.req("EXEC-3.computed", "EXEC-1.limit", "EXEC-4.bound")
def test_limits_and_bounds_are_computed_as_of_the_start_of_the_step() -> None:
    from unit.kernel.builders import repeat

    play = Play(flow(parallel("p", {"x": [step("a")], "y": [step("b")]}, limit="$inputs.n")), {"n": 1})
    assert play.active == ["a"]
    tolerant = foreach("each", [1, 2, 3], step("w"), tolerate="{{ inputs.share }}")
    assert Play(flow(tolerant), {"share": "34%"}).run({"each[0].w": failure()}).status == "succeeded"
    assert Play(flow(tolerant), {"share": 0}).run({"each[0].w": failure()}).status == "failed"
    assert "tolerate" in str(Play(flow(tolerant), {"share": "some"}).run({"w": failure()}).state.error)
    turns = repeat("r", step("s", "set", params={"n": "{{ vars.n + 1 }}"}), max="$vars.n")
    play = Play(flow(turns, vars={"n": 3}))
    assert (play.status, play.state.vars["n"]) == ("succeeded", 6)
