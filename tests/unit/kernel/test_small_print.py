"""Details that no other test noticed when they were changed on purpose (`scripts/mutation.py`)."""

from __future__ import annotations

import pytest

from segue.flow.model import Poll, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.reasons import explain_run, explain_step
from segue.kernel.retry import matches
from segue.kernel.scope import SeededImpure, step_scope
from unit.kernel.builders import NOW, Play, callback, flow, foreach, parallel, repeat, step


@pytest.mark.req("TIME-3.job")
def test_a_call_with_a_poll_starts_the_job_once_and_then_asks_about_it() -> None:
    play = Play(flow(step("job", poll=Poll(use="jobs.status", success_condition="$.done", interval_seconds=2))))
    play.ok("job", {"id": 7})
    started = [row.event for row in play.rows if isinstance(row.event, ev.PollAnswered)]
    assert [(one.started, one.answer) for one in started] == [(True, {"id": 7})]
    assert (play.step("job").job, play.step("job").polls, play.state.next_due()) == ({"id": 7}, 0, NOW + 2_000)
    play.next_timer()
    play.ok("job", {"done": False})
    assert play.step("job").polls == 1
    assert explain_step(play.state, play.step("job"), play.now).code == "step-waiting-poll"
    play.next_timer()
    play.ok("job", {"done": True})
    assert play.out("job") == {"done": True}


@pytest.mark.req("EXEC-9.wait")
def test_a_wait_until_this_very_moment_does_not_wait() -> None:
    play = Play(flow(step("w", "wait", params={"until": "2027-01-15T08:00:00Z"})))
    assert play.state.accepted_at == NOW
    assert (play.status, "WaitStarted" in play.events("w")) == ("succeeded", False)


@pytest.mark.req("EXEC-9.wait")
def test_a_wait_for_no_time_says_what_was_wrong_with_it() -> None:
    play = Play(flow(step("w", "wait", params={"duration": "soon"})))
    assert play.state.error is not None
    assert "soon" in play.state.error.message


@pytest.mark.req("EXEC-4.while")
def test_a_loop_that_its_while_ends_in_its_last_turn_counts_its_turns() -> None:
    play = Play(flow(repeat("again", step("a"), while_="a == null || a.more", max=2)))
    play.ok("again[0].a", {"more": True})
    play.ok("again[1].a", {"more": False})
    assert play.why("again").endswith("ended after 2 turns: `while` does not hold")


@pytest.mark.req("EXEC-4.every")
def test_a_loop_with_a_pause_says_until_when_it_pauses() -> None:
    play = Play(flow(repeat("again", step("a"), until="false", every="1h", max=3)))
    play.ok("again[0].a")
    assert play.step("again").until == NOW + 3_600_000


@pytest.mark.req("EXEC-3.tolerate")
def test_to_tolerate_none_is_a_count() -> None:
    play = Play(flow(foreach("each", [1], step("a"), tolerate=0)))
    play.bad("each[0].a", "validation")
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "validation")


@pytest.mark.req("EXEC-1.parallel")
def test_a_group_of_which_two_branches_failed_fails_as_itself_and_says_how_many() -> None:
    play = Play(flow(parallel("all", {"one": [step("a")], "two": [step("b")]}, fail="wait")))
    play.bad("a", "validation", "bad a")
    play.bad("b", "validation", "bad b")
    error = play.state.error
    assert error is not None
    assert (error.step, "2 of 2 branches failed" in error.message) == ("all", True)


@pytest.mark.req("EXEC-1.join-any")
def test_a_group_that_can_no_longer_have_enough_good_branches_fails_as_itself() -> None:
    play = Play(flow(parallel("most", {"one": [step("a")], "two": [step("b")]}, join=2, fail="fast")))
    play.bad("a", "validation", "bad a")
    assert play.state.error is not None
    assert play.status == "failed"
    assert play.of("most") == "failed"


@pytest.mark.req("EXEC-6.categories")
@pytest.mark.parametrize(
    ("category", "wanted", "does"),
    [
        ("http.503", "http.5xx", True),
        ("http.503", "http", True),
        ("http.503", "http.50", False),
        ("adapter.crm.full", "adapter.crm", False),
        ("timeout", "*", True),
    ],
)
def test_which_categories_a_word_takes(category: str, wanted: str, does: bool) -> None:
    assert matches(category, wanted) is does


@pytest.mark.req("DUR-5.same-key")
def test_random_values_differ_from_each_other_and_their_time_is_exact() -> None:
    impure = SeededImpure("ab", "here", 1_800_000_000_123)
    assert int(impure.now().timestamp() * 1000) == 1_800_000_000_123
    assert len({impure.uuid() for _ in range(10)} | {str(impure.random()) for _ in range(10)}) == 20
    assert SeededImpure("ab", "here", 0).uuid() == SeededImpure("ab", "here", 9).uuid()


@pytest.mark.req("CALL-1.expiry")
def test_a_callback_that_is_waited_for_says_how_many_came_and_when_it_expires() -> None:
    play = Play(flow(step("ask", callback=callback(uses=2, expires_seconds=3600))))
    play.ok("ask")
    play.call_back("ask", 1)
    assert "1 of 2" in play.why("ask")
    assert play.why("ask").endswith("expires 2027-01-15T09:00:00Z")
    assert explain_run(play.state, play.now).action == explain_step(play.state, play.step("ask"), play.now).action


@pytest.mark.req("BAR-4.facts")
def test_a_step_that_is_tried_again_says_so_under_its_own_code() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=2, jitter="none"))))
    play.bad("a", "timeout")
    assert explain_step(play.state, play.step("a"), play.now).code == "step-waiting-retry"
    play.next_timer()
    play.bad("a", "timeout")
    assert explain_step(play.state, play.step("a"), play.now).code == "step-failed-after-retries"


@pytest.mark.req("DUR-3.rewind")
def test_a_step_in_flight_that_a_rewind_takes_again_has_its_time_limit_again() -> None:
    play = Play(flow(step("a", timeout=Timeout(attempt_seconds=5)), step("b")))
    play.ok("a", 1)
    play.now += 60_000
    play.give(inp.RewindRun(("a",), by="tester"))
    assert play.active == ["a"]
    assert play.state.timers[play.step("a").id, "attempt"] == play.now + 5_000
    play.later(5_000)
    assert play.state.error is not None
    assert play.state.error.code == "attempt_timeout"


@pytest.mark.req("TIME-3.job")
def test_parameters_see_the_value_at_hand() -> None:
    play = Play(flow(step("a")))
    assert step_scope(play.state, play.step("a"), value={"x": 1}).lookup("$") == {"x": 1}


@pytest.mark.req("EXEC-6.handlers")
def test_a_failing_step_with_open_blocks_lets_go_of_them() -> None:
    play = Play(flow(foreach("each", [1, 2], step("a"), limit=1, timeout=Timeout(total_seconds=10))))
    play.later(10_000)
    assert (play.of("each"), play.cancelled) == ("timed_out", ["each[0].a"])
    assert play.step("each").open_blocks == 0
