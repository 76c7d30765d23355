"""Functions of times. Where a timestamp is wanted, its RFC 3339 text does as well: that is how JSON holds it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.strftime import format_time, parse_time
from segue.expr.library.table import Table
from segue.expr.timecalc import (
    duration_of,
    from_datetime,
    parse_duration,
    parse_timestamp,
    timestamp_of,
    to_datetime,
    zone_of,
)
from segue.expr.types import Duration, Timestamp

TIME: Final = Table("time")
_UNITS: Final = ("year", "month", "week", "day", "hour", "minute", "second")


def _instant(value: str | Timestamp) -> Timestamp:
    return parse_timestamp(value) if isinstance(value, str) else value


def _span(value: str | Duration) -> Duration:
    return parse_duration(value) if isinstance(value, str) else value


@TIME.add(
    "now() -> timestamp",
    "The time at which this is first evaluated; kept in the run's journal, so that a replay sees the same.",
    "now() > timestamp('2020-01-01T00:00:00Z')",
    True,
    impure=True,
)
def _now(frame: Frame) -> Timestamp:
    return from_datetime(frame.provider("now").now())


@TIME.add(
    "add(at: timestamp|string, span: duration|string) -> timestamp",
    "The instant so much later (earlier, if the span is negative).",
    "add('2025-01-31T22:00:00Z', '3h')",
    "2025-02-01T01:00:00Z",
)
def _add(frame: Frame, at: Any, span: Any) -> Timestamp:
    return timestamp_of(_instant(at).nanos + _span(span).nanos)


@TIME.add(
    "between(from: timestamp|string, to: timestamp|string) -> duration",
    "The span from one instant to another; negative if the second is earlier.",
    "between('2025-01-01T00:00:00Z', '2025-01-02T00:00:00Z')",
    "86400s",
)
def _between(frame: Frame, start: Any, end: Any) -> Duration:
    return duration_of(_instant(end).nanos - _instant(start).nanos)


@TIME.add(
    "date(at: timestamp|string, zone?: string) -> string",
    "The day as `2025-01-31`, in UTC or in the zone.",
    "date('2025-01-31T23:30:00Z', 'Europe/Berlin')",
    "2025-02-01",
)
def _date(frame: Frame, at: Any, zone: str = "UTC") -> str:
    return format_time(frame, _instant(at), "%F", zone_of(zone))


@TIME.add(
    "parseTime(text: string, pattern: string, zone?: string) -> timestamp",
    "The instant that the text names by a pattern of `%Y %m %d %H %M %S %z …`; without `%z`, in UTC or in the zone.",
    "parseTime('31.01.2025 09:30', '%d.%m.%Y %H:%M', 'Europe/Berlin')",
    "2025-01-31T08:30:00Z",
)
def _parse_time(frame: Frame, text: str, pattern: str, zone: str = "UTC") -> Timestamp:
    return parse_time(text, pattern, zone_of(zone))


@TIME.add(
    "startOf(at: timestamp|string, unit: string, zone?: string) -> timestamp",
    "The first instant of its `year month week day hour minute second`, in UTC or in the zone; weeks begin on Monday.",
    "startOf('2025-01-31T09:30:00Z', 'month')",
    "2025-01-01T00:00:00Z",
)
def _start_of(frame: Frame, at: Any, unit: str, zone: str = "UTC") -> Timestamp:
    if unit not in _UNITS:
        raise ExprEvalError("EXP106", "unknown unit of time", suggestion=f"the units are `{' '.join(_UNITS)}`")
    local = to_datetime(_instant(at), zone_of(zone)).replace(microsecond=0)
    kept = _UNITS.index(unit)
    if unit == "week":
        local = _days_earlier(local, local.weekday())
    month = 1 if kept < 1 else local.month
    day = 1 if kept < 2 else local.day
    hour = 0 if kept < 4 else local.hour
    return from_datetime(
        local.replace(
            month=month,
            day=day,
            hour=hour,
            minute=0 if kept < 5 else local.minute,
            second=0 if kept < 6 else local.second,
        )
    )


def _days_earlier(local: datetime, days: int) -> datetime:
    try:
        return local - timedelta(days=days)
    except OverflowError:
        raise ExprEvalError("EXP112", "the week begins before the year 1") from None


@TIME.add(
    "fromUnixMillis(milliseconds: int) -> timestamp",
    "The instant so many milliseconds after 1970-01-01T00:00:00Z.",
    "fromUnixMillis(1738315815250)",
    "2025-01-31T09:30:15.25Z",
)
def _from_unix_millis(frame: Frame, milliseconds: int) -> Timestamp:
    return timestamp_of(milliseconds * 1_000_000)


@TIME.add(
    "unixMillis(at: timestamp|string) -> int",
    "Milliseconds since 1970-01-01T00:00:00Z.",
    "unixMillis('2025-01-31T09:30:15.250Z')",
    1738315815250,
    constant_time=True,
)
def _unix_millis(frame: Frame, at: Any) -> int:
    return _instant(at).nanos // 1_000_000


@TIME.add(
    "inSeconds(span: duration|string) -> double",
    "The span as a number of seconds.",
    "inSeconds('1m30s')",
    90.0,
    constant_time=True,
)
def _in_seconds(frame: Frame, span: Any) -> float:
    return _span(span).nanos / 1_000_000_000
