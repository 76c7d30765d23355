"""When a run is to begin, as people and programs say it: a moment, or a length of time from now."""

from __future__ import annotations

from typing import Final

from segue.errors import RequestError
from segue.kernel.durations import InvalidDuration, milliseconds_of, moment_of

LONGEST_MS: Final = 10 * 366 * 86_400_000
"""Ten years, as for every duration: longer is a slip."""


def begins_at(at: str | None, after: str | None, now: int, *, what: str = "the run is to begin") -> int | None:
    """Milliseconds since the epoch; None: at once. A moment that has passed means at once, too.

    `at` is an RFC 3339 time with its zone, `after` a duration with its unit; raises RequestError for anything else, or
    if both are given. `what` happens then, for messages.
    """
    if at is not None and after is not None:
        raise RequestError(f"say either at which moment {what}, or after how long; not both")
    try:
        moment = now if at is None and after is None else moment_of(at) if at else now + milliseconds_of(after)
    except InvalidDuration as error:
        raise RequestError(f"when {what}: {error}") from error
    if moment - now > LONGEST_MS:
        raise RequestError(f"when {what}: ten years from now at the latest")
    return moment if moment > now else None
