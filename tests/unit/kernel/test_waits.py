"""Waiting for time, callbacks and polled jobs."""

from __future__ import annotations

from typing import Any

import pytest

from segue.errors import ConflictError
from segue.flow.model import Callback, Poll, Retry, Timeout
from segue.kernel import inputs as inp
from unit.kernel.builders import NOW, Play, flow, foreach, on_error, parallel, step


def wait(id: str = "w", **params: Any):
    return step(id, "wait", params=params)


# ---------------------------------------------------------------- time


@pytest.mark.req("EXEC-9.wait")
def test_a_wait_sleeps_as_long_as_it_says_and_needs_nothing_meanwhile() -> None:
    play = Play(flow(wait(duration="3h"), step("a")))
    assert (play.status, play.of("w"), play.active) == ("waiting", "waiting", [])
    assert play.why("w") == "waiting until 2027-01-15T11:00:00Z"
    play.later(3 * 3_600_000 - 1)
    assert play.of("w") == "waiting"
    play.later(1)
    assert play.active == ["a"]


@pytest.mark.req("EXEC-9.wait")
@pytest.mark.parametrize("until", ["2027-01-15T09:00:00Z", "2027-01-15T10:00:00+01:00"])
def test_a_wait_until_a_moment_ends_at_that_moment(until: str) -> None:
    play = Play(flow(wait(until=until)))
    assert play.state.next_due() == NOW + 3_600_000
    play.next_timer()
    assert play.status == "succeeded"


@pytest.mark.req("EXEC-9.wait")
def test_a_wait_until_a_moment_that_has_passed_ends_at_once() -> None:
    play = Play(flow(wait(until="2020-01-01T00:00:00Z")))
    assert (play.status, play.why("w").endswith("the time had passed already")) == ("succeeded", True)


@pytest.mark.req("EXEC-9.wait")
@pytest.mark.parametrize(
    "params",
    [
        {"duration": "soon"},
        {"duration": -5},
        {"duration": "20y"},
        {"duration": "$inputs.none"},
        {"until": "2027-01-15"},
        {"until": "2027-01-15T09:00:00"},
        {"until": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"until": 5},
        {"duration": "{{ 1 / 0 }}"},
    ],
)
def test_a_wait_for_what_is_no_time_fails_the_step(params: dict[str, Any]) -> None:
    play = Play(flow(wait(**params)))
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "expression")


@pytest.mark.req("TIME-4.months")
def test_a_wait_of_months_survives_any_number_of_restarts() -> None:
    play = Play(flow(wait(duration="200d")))
    for _ in range(3):
        play.crash()
        play.later(86_400_000)
    assert play.of("w") == "waiting"
    play.later(197 * 86_400_000)
    assert play.status == "succeeded"


@pytest.mark.req("TIME-4.many")
def test_timers_that_are_due_together_fire_in_one_decision_in_the_order_of_their_times() -> None:
    play = Play(flow(foreach("each", ["3s", "1s", "2s"], wait(duration="$item"), limit=3)))
    play.later(10_000)
    ended = [play.state.nodes[row.step].address for row in play.rows if type(row.event).__name__ == "StepSucceeded"]
    assert ended == ["each[1].w", "each[2].w", "each[0].w", "each"]


# ---------------------------------------------------------------- callbacks


def hook(**settings: Any):
    return step("hook", "wait", callback=Callback(**settings))


@pytest.mark.req("CALL-2.resume")
def test_a_callback_resumes_the_step_with_its_payload() -> None:
    play = Play(flow(hook(), step("b")))
    assert (play.status, play.opened) == ("waiting", ["hook"])
    play.call_back("hook", {"paid": True})
    assert (play.out("hook"), play.active, play.closed) == ({"paid": True}, ["b"], [("hook", "used")])


@pytest.mark.req("BAR-4.sentence")
def test_a_step_that_waits_for_a_callback_says_until_when_and_what_helps() -> None:
    play = Play(flow(hook(expires_seconds=3_600)))
    assert play.why("hook") == "waiting for callback of `hook`, expires 2027-01-15T09:00:00Z"


@pytest.mark.req("CALL-2.double")
def test_a_second_callback_is_refused_and_changes_nothing() -> None:
    play = Play(flow(hook(), step("b")))
    play.call_back("hook", 1)
    count = len(play.rows)
    with pytest.raises(ConflictError):
        play.call_back("hook", 2)
    assert (len(play.rows), play.out("hook")) == (count, 1)


@pytest.mark.req("CALL-2.late")
@pytest.mark.parametrize("step_number", [0, 1, 99, -1])
def test_a_callback_for_a_step_that_does_not_wait_is_refused(step_number: int) -> None:
    play = Play(flow(step("a"), step("b")))
    with pytest.raises(ConflictError):
        play.give(inp.CallbackArrived(step_number, 0, None))


@pytest.mark.req("CALL-2.late")
def test_a_callback_of_another_generation_is_refused() -> None:
    play = Play(flow(hook()))
    with pytest.raises(ConflictError):
        play.give(inp.CallbackArrived(play.step("hook").id, 7, None))


@pytest.mark.req("CALL-2.late")
def test_a_callback_after_the_run_ended_is_refused() -> None:
    play = Play(flow(parallel("p", {"x": [hook()], "y": [step("a")]}, join="first")))
    play.ok("a")
    with pytest.raises(ConflictError):
        play.call_back("hook")
    assert play.closed == [("hook", "cancelled")]


@pytest.mark.req("CALL-2.expired")
def test_a_callback_that_does_not_come_fails_the_step_with_its_own_reason() -> None:
    play = Play(flow(hook(expires_seconds=60)))
    play.later(60_000)
    assert (play.status, play.of("hook"), play.closed) == ("failed", "timed_out", [("hook", "expired")])
    assert play.why("hook") == "timed out: no callback came within 60 s"
    assert play.state.error is not None
    assert play.state.error.code == "callback_expired"


@pytest.mark.req("CALL-2.expired")
@pytest.mark.parametrize(("on_timeout", "output"), [("continue", None), ("default", "none came")])
def test_an_expired_callback_may_go_on(on_timeout: Any, output: Any) -> None:
    late = step(
        "hook",
        "wait",
        callback=Callback(expires_seconds=60, on_timeout=on_timeout),
        default="none came",
        has_default=True,
    )
    play = Play(flow(late, step("b")))
    play.later(60_000)
    assert (play.of("hook"), play.out("hook"), play.active) == ("recovered", output, ["b"])


@pytest.mark.req("CALL-1.uses")
def test_a_callback_with_several_uses_ends_with_the_last_and_gives_all() -> None:
    play = Play(flow(hook(uses=3)))
    play.call_back("hook", 1)
    play.crash()
    play.call_back("hook", 2)
    assert play.why("hook").startswith("waiting for callback of `hook` (2 of 3 came), expires ")
    play.call_back("hook", 3)
    assert (play.status, play.outputs) == ("succeeded", [1, 2, 3])


@pytest.mark.req("CALL-5.early")
def test_a_callback_before_the_call_was_answered_is_kept_and_delivered() -> None:
    play = Play(flow(step("start", callback=Callback())))
    assert (play.opened, play.active) == (["start"], ["start"])
    play.call_back("start", "early")
    assert play.of("start") == "running"
    play.crash()
    play.ok("start", {"job": 7})
    assert (play.status, play.outputs, play.closed) == ("succeeded", "early", [("start", "used")])


@pytest.mark.req("CALL-5.early")
def test_a_second_early_callback_is_refused_and_the_first_one_counts() -> None:
    play = Play(flow(step("start", callback=Callback())))
    play.call_back("start", "first")
    with pytest.raises(ConflictError):
        play.call_back("start", "second")
    play.ok("start")
    assert play.outputs == "first"


@pytest.mark.req("CALL-5.early")
def test_an_early_callback_outlives_a_retry_of_the_call() -> None:
    play = Play(flow(step("start", callback=Callback(), retry=Retry(max_attempts=2, jitter="none"))))
    play.bad("start")
    play.call_back("start", "early")
    assert play.of("start") == "retrying"
    play.next_timer()
    play.ok("start")
    assert play.outputs == "early"


@pytest.mark.req("CALL-1.expiry")
def test_a_call_that_failed_for_good_closes_its_callback() -> None:
    play = Play(flow(step("start", callback=Callback())))
    play.bad("start", "http.400")
    assert (play.status, play.closed) == ("failed", [("start", "cancelled")])


@pytest.mark.req("CALL-2.resume")
def test_a_callback_is_taken_while_the_run_is_paused() -> None:
    play = Play(flow(hook(), step("b")))
    play.give(inp.PauseRun())
    play.call_back("hook", 1)
    assert (play.of("hook"), play.status, play.active) == ("succeeded", "paused", [])
    play.give(inp.ResumeRun())
    assert play.active == ["b"]


@pytest.mark.req("CALL-1.several")
def test_several_callbacks_may_be_open_in_one_run() -> None:
    play = Play(flow(foreach("each", [1, 2], step("h", "wait", callback=Callback()))))
    play.call_back("each[1].h", "B")
    play.call_back("each[0].h", "A")
    assert play.outputs == ["A", "B"]


@pytest.mark.req("TIME-2.attempt")
def test_the_attempts_timeout_ends_with_the_answer_to_the_call_not_with_the_callback() -> None:
    play = Play(flow(step("start", callback=Callback(), timeout=Timeout(attempt_seconds=5))))
    play.ok("start", "job")
    play.later(10_000)
    assert play.of("start") == "waiting"


# ---------------------------------------------------------------- polls


def poll(**settings: Any):
    more = {name: settings.pop(name) for name in ("retry", "timeout", "on_error", "use") if name in settings}
    return step("p", "poll", use=more.pop("use", "shop.status"), poll=Poll(**settings), **more)


@pytest.mark.req("TIME-3.success")
def test_a_poll_asks_until_its_condition_holds_and_gives_that_answer() -> None:
    play = Play(flow(poll(success_condition="$.status == 'done'", interval_seconds=2)))
    play.ok("p", {"status": "busy"})
    assert (play.of("p"), play.state.next_due()) == ("waiting", NOW + 2_000)
    assert play.why("p") == "waiting for the outside job: asked 1 of 30 times, asked again at 2027-01-15T08:00:02Z"
    play.next_timer()
    play.ok("p", {"status": "done", "n": 1})
    assert (play.status, play.outputs) == ("succeeded", {"status": "done", "n": 1})


@pytest.mark.req("TIME-3.success")
def test_a_poll_over_http_judges_and_gives_the_body() -> None:
    play = Play(flow(poll(success_condition="$.done", use="http")))
    play.ok("p", {"status": 200, "headers": {}, "body": {"done": True}})
    assert play.outputs == {"done": True}


@pytest.mark.req("TIME-3.jsonpath")
def test_a_polls_condition_may_be_a_jsonpath_query() -> None:
    play = Play(flow(poll(success_condition="$.items[?@.done == true]")))
    play.ok("p", {"items": [{"done": False}]})
    play.next_timer()
    play.ok("p", {"items": [{"done": False}, {"done": True}]})
    assert play.status == "succeeded"


@pytest.mark.req("TIME-3.failure")
def test_a_polls_failure_condition_fails_the_step_before_success_is_judged() -> None:
    play = Play(flow(poll(success_condition="true", failure_condition="$.status == 'failed'")))
    play.ok("p", {"status": "failed"})
    assert (play.status, play.state.error and play.state.error.code) == ("failed", "poll_failed")


@pytest.mark.req("TIME-3.exhausted")
def test_a_poll_that_never_succeeds_ends_after_its_attempts() -> None:
    play = Play(flow(poll(success_condition="$.done", max_attempts=3)))
    play.run({"p": {"done": False}})
    assert (play.status, play.state.error and play.state.error.code, len(play.started)) == (
        "failed",
        "poll_exhausted",
        3,
    )


@pytest.mark.req("TIME-3.interval")
def test_a_polls_interval_grows_up_to_its_bound() -> None:
    play = Play(flow(poll(success_condition="$.done", interval_seconds=1, multiplier=3, max_interval_seconds=5)))
    waits: list[int] = []
    for _ in range(4):
        play.ok("p", {"done": False})
        due = play.state.next_due()
        assert due is not None
        waits.append(due - play.now)
        play.next_timer()
    assert waits == [1_000, 3_000, 5_000, 5_000]


@pytest.mark.req("TIME-3.errors")
def test_a_poll_that_fails_is_retried_by_policy_and_polls_do_not_count_as_tries() -> None:
    play = Play(flow(poll(success_condition="$.done", retry=Retry(max_attempts=2, jitter="none"))))
    for _ in range(3):
        play.ok("p", {"done": False})
        play.next_timer()
    play.bad("p", "connection")
    assert play.of("p") == "retrying"
    play.next_timer()
    play.ok("p", {"done": True})
    assert play.status == "succeeded"


@pytest.mark.req("TIME-3.survives-restart")
def test_polls_survive_a_restart_in_flight_and_between() -> None:
    play = Play(flow(poll(success_condition="$.done")))
    play.crash()
    play.ok("p", {"done": False})
    play.crash()
    assert (play.of("p"), play.active) == ("waiting", [])
    play.next_timer()
    play.ok("p", {"done": True})
    assert (play.status, play.step("p").polls, play.step("p").tries) == ("succeeded", 1, 1)


@pytest.mark.req("TIME-3.errors")
def test_a_polls_condition_that_cannot_be_judged_fails_the_step() -> None:
    play = Play(flow(poll(success_condition="$.n > 'x'", on_error=on_error(step("h")))))
    play.ok("p", {"n": 1})
    assert play.active == ["p.on_error.h"]


@pytest.mark.req("TIME-3.log")
def test_each_poll_is_in_the_journal_with_its_answer() -> None:
    play = Play(flow(poll(success_condition="$.done")))
    play.ok("p", {"done": False})
    assert play.events("p") == ["StepStarted", "PollAnswered"]
    assert play.step("p").answer == {"done": False}
