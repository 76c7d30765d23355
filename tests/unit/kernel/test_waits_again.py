"""Waits that are tried again: `retry` on `wait` and `approve` asks anew, as often as it says."""

from __future__ import annotations

import pytest

from segue.errors import ConflictError
from segue.flow.model import Callback, Retry, Timeout
from segue.kernel import inputs as inp
from unit.kernel.builders import Play, flow, on_error, step

AGAIN = Retry(max_attempts=3, backoff="constant", initial_delay_seconds=10, jitter="none")
HOUR = 3_600_000


def hook(**settings: object):
    return step("hook", "wait", callback=Callback(expires_seconds=3_600), retry=AGAIN, **settings)


def asked(**settings: object):
    return step("ask", "approve", callback=Callback(expires_seconds=3_600, uses=2), retry=AGAIN, **settings)


@pytest.mark.req("TIME-1.waits")
def test_a_callback_that_did_not_come_is_asked_for_again_under_another_token() -> None:
    play = Play(flow(hook(), step("b")))
    first = play.step("hook").generation
    play.later(HOUR)
    assert (play.status, play.of("hook"), play.closed) == ("waiting", "retrying", [("hook", "expired")])
    assert "no callback came within 3600 s" in play.why("hook")
    play.later(10_000)
    again = play.step("hook")
    assert (again.status, again.tries, again.generation != first) == ("waiting", 2, True)
    assert play.opened == ["hook", "hook"]
    with pytest.raises(ConflictError, match="not waiting for this callback"):
        play.give(inp.CallbackArrived(again.id, first, "too late"))
    play.call_back("hook", "in time")
    assert (play.out("hook"), play.active) == ("in time", ["b"])


@pytest.mark.req("TIME-1.waits")
def test_the_last_try_of_a_wait_ends_as_a_wait_without_tries_does() -> None:
    play = Play(flow(hook(on_error=on_error(step("h")))))
    for _ in range(2):
        play.later(HOUR)
        play.later(10_000)
    assert play.of("hook") == "waiting"
    play.later(HOUR)
    assert play.active == ["hook.on_error.h"]
    error = play.step("hook").error
    assert error is not None
    assert error.code == "callback_expired"


@pytest.mark.req("TIME-1.waits")
def test_a_wait_whose_last_try_is_over_has_timed_out() -> None:
    play = Play(flow(step("hook", "wait", callback=Callback(expires_seconds=60), retry=AGAIN)))
    for _ in range(3):
        play.next_timer()
        play.next_timer() if play.status != "failed" else None
    assert (play.of("hook"), play.status) == ("timed_out", "failed")


@pytest.mark.req("TIME-1.waits")
def test_approvals_that_came_to_the_try_before_do_not_count_for_the_next() -> None:
    play = Play(flow(asked()))
    play.call_back("ask", {"decision": "approve", "by": "ann"})
    play.later(HOUR)
    play.later(10_000)
    play.call_back("ask", {"decision": "approve", "by": "ann"})
    assert play.of("ask") == "waiting"
    play.call_back("ask", {"decision": "approve", "by": "bob"})
    assert [one["by"] for one in play.out("ask")["decisions"]] == ["ann", "bob"]


@pytest.mark.req("TIME-1.waits")
def test_an_approval_is_reminded_of_anew_in_each_try() -> None:
    play = Play(flow(asked(params={"remind": "40m"})))
    play.later(40 * 60_000)
    assert play.step("ask").reminded == 1
    play.later(20 * 60_000)
    play.later(10_000)
    assert play.step("ask").reminded == 0
    play.later(40 * 60_000)
    assert play.step("ask").reminded == 1


@pytest.mark.req("TIME-1.waits")
def test_an_event_that_did_not_come_in_time_is_waited_for_again() -> None:
    play = Play(flow(step("e", "wait", params={"event": "paid"}, timeout=Timeout(attempt_seconds=60), retry=AGAIN)))
    before = play.step("e").generation
    play.later(60_000)
    assert play.of("e") == "retrying"
    play.later(10_000)
    one = play.step("e")
    assert (one.status, one.event, one.generation != before) == ("waiting", "paid", True)
    play.give(inp.EventArrived(one.id, one.generation, "evt_1", "paid", play.now, {"n": 1}, None))
    assert play.status == "succeeded"


@pytest.mark.req("TIME-1.waits")
def test_the_limit_on_all_tries_together_is_the_last_word() -> None:
    play = Play(flow(hook(timeout=Timeout(total_seconds=4_000))))
    play.later(HOUR)
    play.later(10_000)
    play.later(390_000)
    assert (play.of("hook"), play.status) == ("timed_out", "failed")


@pytest.mark.req("TIME-1.waits")
def test_a_pause_of_nothing_between_two_tries_is_a_decision_of_its_own() -> None:
    at_once = Retry(max_attempts=2, backoff="constant", initial_delay_seconds=0, jitter="none")
    play = Play(flow(step("hook", "wait", callback=Callback(expires_seconds=60), retry=at_once)))
    decision = play.later(60_000)
    assert decision.callbacks_opened == []
    play.next_timer()
    assert (play.opened, play.closed) == (["hook", "hook"], [("hook", "expired")])


@pytest.mark.req("TIME-1.waits", "TIME-1.restart")
def test_a_wait_between_two_tries_survives_restarts() -> None:
    play = Play(flow(hook()))
    play.later(HOUR)
    play.crash()
    play.later(10_000)
    play.crash()
    play.call_back("hook", 1)
    assert play.status == "succeeded"


@pytest.mark.req("TIME-1.waits", "TIME-1.then")
def test_a_handler_may_have_a_wait_tried_again() -> None:
    play = Play(
        flow(step("hook", "wait", callback=Callback(expires_seconds=60), on_error=on_error(step("h"), then="retry")))
    )
    play.later(60_000)
    play.ok("hook.on_error.h")
    play.next_timer()
    assert (play.of("hook"), play.opened) == ("waiting", ["hook", "hook"])
    play.call_back("hook", "late but well")
    assert play.out("hook") == "late but well"


@pytest.mark.req("TIME-1.waits", "TIME-1.then")
def test_a_wait_that_a_handler_has_tried_again_after_its_time_was_over_has_that_time_once_more() -> None:
    handlers = on_error(step("h"), then="retry")
    timeout = Timeout(total_seconds=60)
    play = Play(flow(step("e", "wait", params={"event": "paid"}, timeout=timeout, on_error=handlers)))
    play.later(60_000)
    play.ok("e.on_error.h")
    play.next_timer()
    assert (play.of("e"), play.step("e").until) == ("waiting", play.now + 60_000)
    play.later(60_000)
    assert (play.of("e"), play.status) == ("timed_out", "failed")
