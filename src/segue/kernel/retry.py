"""When a failed attempt is tried again. Pure arithmetic; the random share of a delay is an argument.

Defaults after `semantics` (Paths). Full jitter: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
2015.
"""

from __future__ import annotations

from segue.flow.model import Retry
from segue.kernel.events import Failure

RETRIED_BY_DEFAULT = frozenset(
    {"timeout", "connection", "dns", "rate_limit", "http.408", "http.425", "http.429", "http.5xx"}
)
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""A server that asks for a longer pause than a day is not waited for that long."""


def matches(category: str, wanted: str) -> bool:
    """`http.503` is matched by itself and by `http.5xx`; `http` and `adapter` match all of theirs; `*` matches all."""
    if wanted in (category, "*"):
        return True
    if wanted.endswith("xx") and category.startswith("http."):
        return len(category) == len(wanted) and category[: len(wanted) - 2] == wanted[:-2]
    return "." not in wanted and category.startswith(wanted + ".")


def is_retried(policy: Retry, category: str, transient: bool | None = None) -> bool:
    """Whether the policy tries again after this category of error. An unknown outcome never is (it could act twice).

    `transient` is the action's own word: False forbids, True allows unless the policy names categories.
    """
    if category in ("unknown_outcome", "cancelled") or transient is False:
        return False
    if transient and policy.on is None:
        return not any(matches(category, one) for one in policy.not_on)
    wanted = RETRIED_BY_DEFAULT if policy.on is None else policy.on
    return any(matches(category, one) for one in wanted) and not any(matches(category, one) for one in policy.not_on)


def delay_seconds(policy: Retry, tries: int, share: float) -> float:
    """Seconds before the next try after `tries` of them; `share` in [0, 1) is the random part of full jitter."""
    if policy.backoff == "constant":
        delay = policy.initial_delay_seconds
    elif policy.backoff == "linear":
        delay = policy.initial_delay_seconds * tries
    else:
        delay = policy.initial_delay_seconds * policy.multiplier ** min(tries - 1, 64)
    delay = min(delay, policy.max_delay_seconds)
    return delay * share if policy.jitter == "full" else delay


def retry_at(
    policy: Retry | None,
    failure: Failure,
    *,
    tries: int,
    started_at: int,
    now: int,
    share: float,
    retry_after: float | None = None,
    transient: bool | None = None,
) -> int | None:
    """When to try again (ms since the epoch), or None if this was the last try."""
    if policy is None or tries >= policy.max_attempts or not is_retried(policy, failure.category, transient):
        return None
    delay = delay_seconds(policy, tries, share)
    if retry_after is not None:
        delay = max(delay, min(retry_after, MAX_RETRY_AFTER_SECONDS))
    due = now + round(delay * 1000)
    if policy.max_time_seconds is not None and due - started_at > policy.max_time_seconds * 1000:
        return None
    return due
