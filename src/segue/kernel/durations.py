"""Durations and moments that flows compute at run time, in the spellings that they may write."""

from __future__ import annotations

from datetime import UTC, datetime

from segue.flow.durations import MAX_SECONDS, parse_duration


class InvalidDuration(ValueError):
    """A value that is neither a duration nor a moment; the message says what is."""


def milliseconds_of(value: object) -> int:
    """`30s`, `2h`, ISO 8601 (`PT30S`), a CEL duration in JSON form (`90s`) or a number of seconds, in milliseconds.

    A number stands for what the reader has read from text already, or for what an expression computed; flows themselves
    must write the unit.
    """
    seconds = parse_duration(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        seconds = float(value)
    if seconds is None:
        raise InvalidDuration(
            f"{value!r} is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S"
        )
    if seconds > MAX_SECONDS:
        raise InvalidDuration(f"{value!r} is longer than ten years")
    return round(seconds * 1000)


def moment_of(value: object) -> int:
    """An RFC 3339 time with its zone, in milliseconds since the epoch."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidDuration(
            f"{value!r} is no moment; write a date and time with its zone, such as 2026-01-31T09:00:00+01:00"
        )
    try:
        return round(moment.astimezone(UTC).timestamp() * 1000)
    except OverflowError:
        raise InvalidDuration(f"{value!r} lies outside of the years 1 to 9999 in UTC") from None
