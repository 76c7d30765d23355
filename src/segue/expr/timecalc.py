"""Timestamps and durations: text forms, calendar fields, arithmetic with its range. Exact to the nanosecond.

Sources: RFC 3339; google.protobuf.Timestamp and Duration (JSON mapping); Go's ParseDuration, which CEL names; ISO 8601
durations.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from segue.expr.errors import ExprEvalError
from segue.expr.types import INT_MAX, INT_MIN, Duration, Timestamp

SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIMESTAMP_MIN: Final = -62_135_596_800 * SECOND
TIMESTAMP_MAX: Final = 253_402_300_800 * SECOND - 1

_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
    "d": 86_400 * SECOND,
}
_DURATION_PART: Final = re.compile(r"(\d{0,20})(?:\.(\d{0,20}))?(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_ISO_DURATION: Final = re.compile(
    r"P(?:(\d{1,9})W|(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12})(?:\.(\d{1,9}))?S)?)?)",
    re.ASCII,
)
_OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def timestamp_of(nanos: int) -> Timestamp:
    """The instant. Raises ExprEvalError outside of the years 1 to 9999."""
    if not TIMESTAMP_MIN <= nanos <= TIMESTAMP_MAX:
        raise ExprEvalError("EXP112", "timestamp outside of the years 1 to 9999")
    return Timestamp(nanos)


def duration_of(nanos: int) -> Duration:
    """The span. Raises ExprEvalError outside of the int64 range of nanoseconds."""
    if not INT_MIN <= nanos <= INT_MAX:
        raise ExprEvalError("EXP104", "duration outside of the 64-bit range of nanoseconds (some 292 years)")
    return Duration(nanos)


def from_datetime(value: datetime) -> Timestamp:
    """A Python datetime with zone as an instant."""
    if value.tzinfo is None:
        raise ExprEvalError("EXP112", "a time without its zone is not an instant")
    span = value - _EPOCH
    return timestamp_of((span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 1_000)


def to_datetime(value: Timestamp, zone: tzinfo = UTC) -> datetime:
    """The instant as a Python datetime in the zone, cut to microseconds. Raises ExprEvalError past its ends."""
    try:
        return (_EPOCH + timedelta(microseconds=value.nanos // 1_000)).astimezone(zone)
    except OverflowError:
        raise ExprEvalError("EXP112", "time outside of the years 1 to 9999 in this time zone") from None


def parse_timestamp(text: str) -> Timestamp:
    """An RFC 3339 time. Raises ExprEvalError."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ExprEvalError(
            "EXP106", "the text is not an RFC 3339 time", suggestion="it looks like `2025-01-31T09:30:00Z`"
        )
    year, month, day, hour, minute, second = (int(found.group(part)) for part in range(1, 7))
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise ExprEvalError("EXP112", "the text is not a date and time of the years 1 to 9999") from None
    span = local - _EPOCH
    nanos = (span.days * 86_400 + span.seconds) * SECOND + int((found.group(7) or "0").ljust(9, "0"))
    if found.group(9):
        hours, minutes = int(found.group(10)), int(found.group(11))
        if hours > 23 or minutes > 59:
            raise ExprEvalError("EXP112", "the offset of the time is out of range")
        shift = (hours * 3_600 + minutes * 60) * SECOND
        nanos += shift if found.group(9) == "-" else -shift
    return timestamp_of(nanos)


def format_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many decimals as are needed."""
    seconds, nanos = divmod(value.nanos, SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    text = f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}"
    return f"{text}{_decimals(nanos)}Z"


def _decimals(nanos: int) -> str:
    return f".{nanos:09}".rstrip("0") if nanos else ""


def parse_duration(text: str) -> Duration:
    """`1h30m`, `1.5s`, `-10ms` (Go), with `d` for 24 h as the flow language has it, or ISO 8601 (`PT1H`). Raises
    ExprEvalError.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    nanos = 0 if body == "0" else _iso_nanos(body) if body.startswith("P") else _go_nanos(body)
    if nanos is None:
        raise ExprEvalError(
            "EXP106", "the text is not a duration", suggestion="it looks like `1h30m`, `500ms` or `PT1H`"
        )
    return duration_of(-nanos if text.startswith("-") else nanos)


def _go_nanos(text: str) -> int | None:
    position = total = 0
    if not text or len(text) > 200:
        return None
    while position < len(text):
        found = _DURATION_PART.match(text, position)
        if found is None or not (found.group(1) or found.group(2)):
            return None
        unit = _UNITS[found.group(3)]
        total += int(found.group(1) or "0") * unit
        if decimals := found.group(2):
            total += int(decimals) * unit // 10 ** len(decimals)
        position = found.end()
    return total


def _iso_nanos(text: str) -> int | None:
    found = _ISO_DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(found.group(part) or "0") for part in range(1, 6))
    whole = ((weeks * 7 + days) * 24 + hours) * 3_600 + minutes * 60 + seconds
    return whole * SECOND + int((found.group(6) or "0").ljust(9, "0"))


def format_duration(value: Duration) -> str:
    """Seconds with an `s` behind, as protobuf's JSON mapping writes it: `3.5s`."""
    seconds, nanos = divmod(abs(value.nanos), SECOND)
    return f"{'-' if value.nanos < 0 else ''}{seconds}{_decimals(nanos)}s"


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name (`Europe/Berlin`) or an offset (`+02:00`, `02:00`). Raises ExprEvalError.

    IANA names are read from the machine's own time zone data (PEP 615): the one thing here that comes from outside.
    """
    if name in ("UTC", "Z", ""):
        return UTC
    if found := _OFFSET.fullmatch(name):
        hours, minutes = int(found.group(2)), int(found.group(3))
        if hours <= 23 and minutes <= 59:
            span = timedelta(hours=hours, minutes=minutes)
            return timezone(-span if found.group(1) == "-" else span)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # The key is the user's text: a missing zone, a path, or a folder of the zone database.
        raise ExprEvalError(
            "EXP112", "unknown time zone", suggestion="it looks like `Europe/Berlin` or `+02:00`"
        ) from None
