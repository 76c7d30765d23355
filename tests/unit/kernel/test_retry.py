"""Retries and timeouts (semantics, Paths; TIME-1, TIME-2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from segue.errors import ConflictError
from segue.flow.model import Callback, Retry, Timeout
from segue.kernel.events import Failure
from segue.kernel.retry import delay_seconds, is_retried, matches, retry_at
from unit.kernel.builders import NOW, Play, failure, flow, foreach, on_error, step

PLAIN = Retry(max_attempts=3, jitter="none")


def due_after(play: Play) -> int:
    due = play.state.next_due()
    assert due is not None
    return due - play.now


@pytest.mark.req("TIME-1.backoff")
@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Retry(backoff="constant", initial_delay_seconds=2), [2, 2, 2, 2]),
        (Retry(backoff="linear", initial_delay_seconds=2), [2, 4, 6, 8]),
        (Retry(), [1, 2, 4, 8]),
        (Retry(multiplier=3), [1, 3, 9, 27]),
        (Retry(initial_delay_seconds=10, max_delay_seconds=15), [10, 15, 15, 15]),
    ],
)
def test_delays_follow_the_backoff(policy: Retry, delays: list[float]) -> None:
    plain = msgspec.structs.replace(policy, jitter="none")
    assert [delay_seconds(plain, tries, 0.5) for tries in (1, 2, 3, 4)] == delays


@pytest.mark.req("TIME-1.jitter")
@given(share=some.floats(0, 1, exclude_max=True), tries=some.integers(1, 10_000), first=some.floats(0, 1e6))
def test_full_jitter_stays_between_nothing_and_the_delay(share: float, tries: int, first: float) -> None:
    policy = Retry(initial_delay_seconds=first)
    most = delay_seconds(Retry(initial_delay_seconds=first, jitter="none"), tries, share)
    assert 0 <= delay_seconds(policy, tries, share) <= most <= policy.max_delay_seconds


@pytest.mark.req("TIME-1.jitter")
def test_jitter_spreads_the_delays_of_different_runs_and_is_the_same_after_a_fold() -> None:
    plan = flow(step("a", retry=Retry(max_attempts=3, initial_delay_seconds=10)))
    delays: set[int] = set()
    for seed in ("aa", "bb", "cc"):
        play = Play(plan, seed=seed)
        play.bad("a")
        delays.add(due_after(play))
    assert len(delays) == 3
    assert all(0 <= delay <= 10_000 for delay in delays)


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize(
    ("category", "retried"),
    [
        ("timeout", True),
        ("connection", True),
        ("dns", True),
        ("rate_limit", True),
        ("http.408", True),
        ("http.425", True),
        ("http.429", True),
        ("http.500", True),
        ("http.503", True),
        ("http.400", False),
        ("http.404", False),
        ("tls", False),
        ("auth", False),
        ("validation", False),
        ("expression", False),
        ("adapter.odd", False),
        ("internal", False),
        ("cancelled", False),
        ("unknown_outcome", False),
    ],
)
def test_these_categories_are_retried_by_default(category: str, retried: bool) -> None:
    assert is_retried(Retry(max_attempts=3), category) == retried


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize(
    ("category", "wanted", "matched"),
    [
        ("http.503", "http.5xx", True),
        ("http.503", "http.503", True),
        ("http.503", "http.4xx", False),
        ("http.503", "http", True),
        ("http.503", "*", True),
        ("adapter.x", "adapter", True),
        ("adapter.x", "adapter.y", False),
        ("timeout", "time", False),
        ("http.50", "http.5xx", False),
        ("httpx.1", "http", False),
    ],
)
def test_categories_are_matched_by_name_class_and_star(category: str, wanted: str, matched: bool) -> None:
    assert matches(category, wanted) == matched


@pytest.mark.req("TIME-1.categories")
def test_on_and_not_on_choose_what_is_retried() -> None:
    policy = Retry(max_attempts=2, on=("http",), not_on=("http.404",))
    assert [is_retried(policy, category) for category in ("http.400", "http.404", "timeout")] == [True, False, False]
    assert not is_retried(Retry(max_attempts=9, on=("*",)), "unknown_outcome")


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize(
    ("on", "transient", "retried"), [(None, True, True), (None, False, False), (("dns",), True, False)]
)
def test_an_actions_own_word_on_transience_counts_unless_the_policy_names_categories(
    on: tuple[str, ...] | None, transient: bool, retried: bool
) -> None:
    assert is_retried(Retry(max_attempts=2, on=on), "validation", transient) == retried


@pytest.mark.req("TIME-1.attempts")
def test_attempts_count_all_tries() -> None:
    play = Play(flow(step("a", retry=PLAIN)))
    play.bad("a")
    assert (play.of("a"), due_after(play)) == ("retrying", 1_000)
    play.next_timer()
    play.bad("a")
    assert due_after(play) == 2_000
    play.next_timer()
    play.bad("a", "http.503", "down")
    assert (play.status, play.started) == ("failed", [("a", 1), ("a", 2), ("a", 3)])
    assert play.why("a") == "failed after 3 of 3 tries with http.503: down"


@pytest.mark.req("TIME-1.attempts")
def test_without_a_policy_nothing_is_retried() -> None:
    play = Play(flow(step("a")))
    play.bad("a")
    assert play.status == "failed"


@pytest.mark.req("BAR-4.sentence")
def test_a_step_that_waits_for_its_next_try_says_when_and_after_what() -> None:
    play = Play(flow(step("a", retry=PLAIN)))
    play.bad("a", "http.503", "service unavailable")
    assert play.why("a") == "attempt 1 of 3 failed with http.503: service unavailable; next try at 2027-01-15T08:00:01Z"
    assert (play.status, play.why()) == ("waiting", "`a`: " + play.why("a"))


@pytest.mark.req("TIME-1.retry-after")
@pytest.mark.parametrize(("asked", "waited"), [(30.0, 30_000), (0.1, 1_000), (1e9, 86_400_000)])
def test_retry_after_lengthens_the_delay_up_to_a_day(asked: float, waited: int) -> None:
    play = Play(flow(step("a", retry=PLAIN)))
    play.bad("a", "http.429", retry_after_seconds=asked)
    assert due_after(play) == waited


@pytest.mark.req("TIME-1.max_time")
def test_no_try_begins_after_the_policys_time() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=99, backoff="constant", jitter="none", max_time_seconds=2.5))))
    play.run({"a": failure()})
    assert len(play.started) == 3


@pytest.mark.req("TIME-1.max_time")
@given(
    tries=some.integers(1, 50),
    most=some.integers(1, 50),
    share=some.floats(0, 0.99),
    now=some.integers(NOW, NOW + 10**9),
    after=some.none() | some.floats(0, 1e6),
    max_time=some.none() | some.floats(0.1, 1e6),
)
def test_a_next_try_is_never_in_the_past_nor_beyond_a_bound(
    tries: int, most: int, share: float, now: int, after: float | None, max_time: float | None
) -> None:
    policy = Retry(max_attempts=most, max_time_seconds=max_time)
    failed = Failure(category="timeout", message="")
    due = retry_at(policy, failed, tries=tries, started_at=NOW, now=now, share=share, retry_after=after)
    if due is None:
        assert tries >= most or max_time is not None
        return
    assert tries < most
    assert now <= due <= now + 86_400_001
    assert max_time is None or due - NOW <= max_time * 1000


@pytest.mark.req("TIME-1.survives-restart")
def test_a_delay_survives_a_restart() -> None:
    play = Play(flow(step("a", retry=PLAIN)))
    play.bad("a")
    due = play.state.next_due()
    play.crash()
    assert (play.state.next_due(), play.active) == (due, [])
    play.next_timer()
    assert play.started[-1] == ("a", 2)


@pytest.mark.req("TIME-1.log")
def test_each_attempt_is_in_the_journal() -> None:
    play = Play(flow(step("a", retry=PLAIN)))
    play.bad("a")
    play.next_timer()
    play.ok("a")
    assert play.events("a") == ["StepStarted", "AttemptFailed", "AttemptStarted", "StepSucceeded"]


# ---------------------------------------------------------------- timeouts


@pytest.mark.req("TIME-2.attempt")
def test_an_attempt_that_takes_too_long_is_cancelled_and_retried() -> None:
    play = Play(flow(step("a", retry=PLAIN, timeout=Timeout(attempt_seconds=5))))
    play.later(4_999)
    assert play.of("a") == "running"
    play.later(1)
    assert (play.of("a"), play.cancelled) == ("retrying", ["a"])
    play.next_timer()
    assert due_after(play) == 5_000
    play.ok("a", 1)
    assert play.status == "succeeded"


@pytest.mark.req("TIME-2.attempt")
def test_a_result_that_comes_after_its_attempt_timed_out_changes_nothing() -> None:
    from segue.kernel import inputs as inp

    play = Play(flow(step("a", retry=PLAIN, timeout=Timeout(attempt_seconds=5))))
    play.later(5_000)
    assert not play.give(inp.AttemptEnded(play.step("a").id, 1, "late")).rows
    play.next_timer()
    assert not play.give(inp.AttemptEnded(play.step("a").id, 1, "late")).rows
    assert play.of("a") == "running"


@pytest.mark.req("TIME-2.total")
def test_a_total_timeout_spans_all_attempts_and_their_delays() -> None:
    play = Play(flow(step("a", retry=Retry(max_attempts=99, jitter="none"), timeout=Timeout(total_seconds=2))))
    play.bad("a")
    play.next_timer()
    play.bad("a")
    play.later(1_000)
    assert (play.status, play.of("a"), play.why("a")) == (
        "failed",
        "timed_out",
        "timed out: not done within 2 s in all (2 attempts)",
    )


@pytest.mark.req("TIME-2.total")
def test_a_total_timeout_of_a_composite_cancels_all_inside() -> None:
    play = Play(flow(foreach("each", [1, 2], step("w"), timeout=Timeout(total_seconds=2))))
    play.later(2_000)
    assert (play.status, play.of("each"), play.of("each[0].w")) == ("failed", "timed_out", "cancelled")
    assert play.why("each") == "timed out: not done within 2 s in all"


@pytest.mark.req("TIME-2.on_timeout")
@pytest.mark.parametrize(
    ("on_timeout", "settings", "output"),
    [
        ("continue", {}, None),
        ("default", {"default": {"n": "$inputs.n"}, "has_default": True}, {"n": 3}),
        ("default", {}, None),
    ],
)
@pytest.mark.parametrize("kind", ["attempt_seconds", "total_seconds"])
def test_on_timeout_goes_on_with_null_or_the_default(
    on_timeout: str, settings: dict[str, Any], output: object, kind: str
) -> None:
    timeout = Timeout(**{kind: 1.0, "on_timeout": on_timeout})  # pyright: ignore[reportArgumentType]
    play = Play(flow(step("a", timeout=timeout, **settings), step("b")), {"n": 3})
    play.later(1_000)
    assert (play.of("a"), play.out("a"), play.active) == ("recovered", output, ["b"])
    assert play.why("a").endswith(f"`on_timeout: {on_timeout}`")


@pytest.mark.req("TIME-2.on_timeout")
def test_on_timeout_says_nothing_about_other_errors() -> None:
    play = Play(flow(step("a", timeout=Timeout(total_seconds=1, on_timeout="continue"))))
    play.bad("a", "http.500")
    assert play.status == "failed"


@pytest.mark.req("TIME-2.on_timeout")
def test_a_default_that_cannot_be_computed_fails_the_step() -> None:
    timeout = Timeout(total_seconds=1, on_timeout="default")
    play = Play(flow(step("a", timeout=timeout, default="{{ 1 / 0 }}", has_default=True)))
    play.later(1_000)
    assert (play.status, play.state.error and play.state.error.category) == ("failed", "expression")


@pytest.mark.req("TIME-2.on_timeout")
def test_handlers_come_before_on_timeout() -> None:
    timeout = Timeout(total_seconds=1, on_timeout="continue")
    play = Play(flow(step("a", timeout=timeout, on_error=on_error(step("h")))))
    play.later(1_000)
    assert play.active == ["a.on_error.h"]


@pytest.mark.req("TIME-2.run")
def test_a_runs_timeout_cancels_all_and_still_runs_finally() -> None:
    from unit.kernel.builders import seq

    play = Play(flow(step("a"), timeout_seconds=60, finally_=seq(step("f"), label="finally")))
    play.later(60_000)
    assert (play.of("a"), play.active, play.status) == ("cancelled", ["finally.f"], "running")
    assert play.why().startswith("its `finally` steps are running; then it ends as timed out")
    play.ok("finally.f")
    assert (play.status, play.why()) == ("timed_out", "timed out: it was not done within 60 s")


@pytest.mark.req("TIME-2.run")
def test_a_run_that_is_done_in_time_is_not_timed_out() -> None:
    play = Play(flow(step("a"), timeout_seconds=60))
    play.ok("a")
    play.later(60_000)
    assert play.status == "succeeded"


# ---------------------------------------------------------------- with callbacks


@pytest.mark.req("CALL-1.expiry")
def test_a_callback_step_whose_call_was_retried_waits_its_whole_time() -> None:
    play = Play(flow(step("a", retry=PLAIN, callback=Callback(expires_seconds=3_600))))
    play.bad("a")
    play.next_timer()
    play.ok("a", "started")
    assert (play.of("a"), play.step("a").until) == ("waiting", NOW + 3_600_000)
    play.later(60_000)
    play.call_back("a", "paid")
    assert (play.status, play.outputs) == ("succeeded", "paid")


@pytest.mark.req("CALL-1.expiry")
def test_a_callback_stays_open_while_handlers_prepare_another_try() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"), then="retry"), callback=Callback(expires_seconds=10))))
    play.bad("a", "http.401")
    play.call_back("a", "early")
    play.ok("a.on_error.h")
    play.later(1_000)
    assert (play.opened, play.closed, play.of("a")) == (["a"], [], "running")
    play.ok("a", "started")
    assert (play.status, play.outputs) == ("succeeded", "early")


@pytest.mark.req("CALL-1.expiry")
def test_a_callback_that_expired_is_closed_once_and_not_tried_again() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h"), then="retry"), callback=Callback(expires_seconds=10))))
    play.ok("a", "started")
    play.later(10_000)
    assert (play.active, play.closed) == (["a.on_error.h"], [("a", "expired")])
    with pytest.raises(ConflictError):
        play.call_back("a", "late")
    play.ok("a.on_error.h")
    assert (play.status, play.of("a"), play.opened) == ("failed", "failed", ["a"])


@pytest.mark.req("CALL-1.expiry")
@pytest.mark.parametrize("then", ["retry", "{{ h == 1 ? 'continue' : 'retry' }}"])
def test_a_callback_is_closed_when_there_is_no_other_try_after_all(then: str) -> None:
    settings: dict[str, Any] = {"callback": Callback(expires_seconds=10), "default": 7, "has_default": True}
    play = Play(flow(step("a", on_error=on_error(step("h"), then=then), **settings)))
    play.bad("a", "http.401")
    assert play.closed == []
    if then == "retry":
        play.bad("a.on_error.h", "http.404")
    else:
        play.ok("a.on_error.h", 1)
    assert (play.status, play.outputs, play.closed) == ("succeeded", 7 if then == "retry" else 1, [("a", "cancelled")])


@pytest.mark.req("CALL-1.expiry")
def test_handlers_without_retry_close_the_callback() -> None:
    play = Play(flow(step("a", on_error=on_error(step("h")), callback=Callback(expires_seconds=10))))
    play.bad("a", "http.500")
    assert play.closed == [("a", "cancelled")]
    with pytest.raises(ConflictError):
        play.call_back("a", "late")
