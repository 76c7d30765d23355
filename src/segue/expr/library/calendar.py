"""Accessors of timestamps and durations (CEL's `get…`), in UTC or in a named zone.

Source: the CEL language definition, "Timestamps and Durations": months, days of the month and of the year count from 0
(`getDate` from 1), Sunday is 0. Of a duration, hours, minutes and seconds are totals, milliseconds the part below a
second.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.timecalc import SECOND, to_datetime, zone_of
from segue.expr.types import Duration

CALENDAR: Final = Table("calendar")
_AT: Final = "timestamp('2025-01-31T09:30:15.250Z')"


def _accessor(name: str, doc: str, example: str, result: int, read: Callable[[datetime], int]) -> None:
    @CALENDAR.add(
        f"{name}(of: timestamp, zone?: string) -> int",
        f"{doc}, in UTC or in the zone.",
        example,
        result,
        constant_time=True,
    )
    def get(frame: Frame, of: Any, zone: str | None = None) -> int:
        return read(to_datetime(of, UTC if zone is None else zone_of(zone)))

    del get


_accessor("getFullYear", "The year", f"{_AT}.getFullYear()", 2025, lambda at: at.year)
_accessor("getMonth", "The month, January is 0", f"{_AT}.getMonth()", 0, lambda at: at.month - 1)
_accessor("getDate", "The day of the month, the first is 1", f"{_AT}.getDate()", 31, lambda at: at.day)
_accessor("getDayOfMonth", "The day of the month, the first is 0", f"{_AT}.getDayOfMonth()", 30, lambda at: at.day - 1)
_accessor(
    "getDayOfWeek", "The day of the week, Sunday is 0", f"{_AT}.getDayOfWeek()", 5, lambda at: at.isoweekday() % 7
)
_accessor(
    "getDayOfYear",
    "The day of the year, the first is 0",
    f"{_AT}.getDayOfYear()",
    30,
    lambda at: at.timetuple().tm_yday - 1,
)


def _clock_accessor(
    name: str, doc: str, example: str, result: int, read: Callable[[datetime], int], total: Callable[[int], int]
) -> None:
    @CALENDAR.add(f"{name}(of: timestamp|duration, zone?: string) -> int", doc, example, result, constant_time=True)
    def get(frame: Frame, of: Any, zone: str | None = None) -> int:
        if not isinstance(of, Duration):
            return read(to_datetime(of, UTC if zone is None else zone_of(zone)))
        if zone is not None:
            raise ExprEvalError("EXP103", f"`{name}` of a duration takes no time zone")
        return total(abs(of.nanos)) * (-1 if of.nanos < 0 else 1)

    del get


_clock_accessor(
    "getHours",
    "The hour of a timestamp; all the whole hours of a duration.",
    f"{_AT}.getHours('+02:00')",
    11,
    lambda at: at.hour,
    lambda nanos: nanos // (3_600 * SECOND),
)
_clock_accessor(
    "getMinutes",
    "The minute of a timestamp; all the whole minutes of a duration.",
    f"{_AT}.getMinutes()",
    30,
    lambda at: at.minute,
    lambda nanos: nanos // (60 * SECOND),
)
_clock_accessor(
    "getSeconds",
    "The second of a timestamp; all the whole seconds of a duration.",
    f"{_AT}.getSeconds()",
    15,
    lambda at: at.second,
    lambda nanos: nanos // SECOND,
)
_clock_accessor(
    "getMilliseconds",
    "The milliseconds of a timestamp's or a duration's last second.",
    f"{_AT}.getMilliseconds()",
    250,
    lambda at: at.microsecond // 1_000,
    lambda nanos: nanos % SECOND // 1_000_000,
)
