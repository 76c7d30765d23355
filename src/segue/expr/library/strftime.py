"""Times in patterns: the usual `%` codes with English names, the same on every machine whatever its locale."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.timecalc import SECOND, from_datetime, to_datetime
from segue.expr.types import Timestamp

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _offset(at: datetime, colon: str = "") -> str:
    minutes = (at.utcoffset() or timedelta()) // timedelta(minutes=1)
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{colon}{rest:02}"


_CODES: Final[dict[str, Callable[[datetime], str]]] = {
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "B": lambda at: _MONTHS[at.month - 1],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "d": lambda at: f"{at.day:02}",
    "e": lambda at: f"{at.day}",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "A": lambda at: _DAYS[at.weekday()],
    "a": lambda at: _DAYS[at.weekday()][:3],
    "u": lambda at: f"{at.isoweekday()}",
    "V": lambda at: f"{at.isocalendar().week:02}",
    "G": lambda at: f"{at.isocalendar().year:04}",
    "H": lambda at: f"{at.hour:02}",
    "I": lambda at: f"{(at.hour + 11) % 12 + 1:02}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "L": lambda at: f"{at.microsecond // 1000:03}",
    "f": lambda at: f"{at.microsecond:06}",
    "z": _offset,
    "F": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "T": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
    "%": lambda at: "%",
}
_CODE: Final = re.compile(r"%(.?)", re.DOTALL)
_HINT: Final = "the codes are `" + " ".join(f"%{code}" for code in _CODES) + "`"

_PARSERS: Final[dict[str, str]] = {
    "Y": r"(?P<Y>\d{4})",
    "m": r"(?P<m>\d{1,2})",
    "B": f"(?P<B>{'|'.join(_MONTHS)})",
    "b": f"(?P<b>{'|'.join(month[:3] for month in _MONTHS)})",
    "d": r"(?P<d>\d{1,2})",
    "e": r"(?P<e>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "p": r"(?P<p>[AaPp][Mm])",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,6})",
    "z": r"(?P<z>[Zz]|[+-]\d{2}:?\d{2})",
    "F": r"(?P<Y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})",
    "T": r"(?P<H>\d{1,2}):(?P<M>\d{1,2}):(?P<S>\d{1,2})",
    "%": "%",
}
_PARSE_HINT: Final = "the codes are `" + " ".join(f"%{code}" for code in _PARSERS) + "`, each at most once"
_PATTERN_CHARS: Final = 200
"""A pattern describes one time. The bound also keeps the standard library's matching of it trivial."""


def format_time(frame: Frame, at: Timestamp, pattern: str, zone: tzinfo) -> str:
    """The instant in the zone as the pattern says. Raises ExprEvalError for an unknown code."""
    local = to_datetime(at, zone)
    frame.charge(pattern.count("%"))
    # The longest code is `%A`, two characters that become nine.
    frame.reserve_text(5 * text_bytes(pattern))

    def fill(found: re.Match[str]) -> str:
        code = _CODES.get(found.group(1))
        if code is None:
            raise ExprEvalError("EXP106", "unknown code in the time pattern", suggestion=_HINT)
        return code(local)

    return _CODE.sub(fill, pattern)


def parse_time(text: str, pattern: str, zone: tzinfo) -> Timestamp:
    """The instant that the text names, read by the pattern; without `%z` in it, in the zone. Raises ExprEvalError."""
    if len(pattern) > _PATTERN_CHARS:
        raise ExprEvalError("EXP106", f"a time pattern has at most {_PATTERN_CHARS} characters")
    found = _pattern(pattern).fullmatch(text)
    if found is None:
        raise ExprEvalError("EXP106", "the text does not have the form of the time pattern")
    return _assemble({code: part for code, part in found.groupdict().items() if part is not None}, zone)


def _pattern(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    for found in _CODE.finditer(pattern):
        parts.append(re.escape(pattern[position : found.start()]))
        parser = _PARSERS.get(found.group(1))
        if parser is None:
            raise ExprEvalError("EXP106", "unknown code in the time pattern", suggestion=_PARSE_HINT)
        parts.append(parser)
        position = found.end()
    parts.append(re.escape(pattern[position:]))
    try:
        return re.compile("".join(parts), re.ASCII)
    except re.error:
        # The only way to fail is a name of a group that stands twice.
        raise ExprEvalError("EXP106", "a code stands twice in the time pattern", suggestion=_PARSE_HINT) from None


def _assemble(parts: dict[str, str], zone: tzinfo) -> Timestamp:
    month = int(parts.get("m", "1"))
    for code, length in (("B", None), ("b", 3)):
        if code in parts:
            month = [name[:length] for name in _MONTHS].index(parts[code]) + 1
    hour = int(parts.get("H", "0"))
    if "I" in parts:
        hour = int(parts["I"]) % 12 + (12 if parts.get("p", "am").lower() == "pm" else 0)
    moment = (int(parts.get("Y", "1970")), month, int(parts.get("d", parts.get("e", "1"))))
    clock = (hour, int(parts.get("M", "0")), int(parts.get("S", "0")), int(parts.get("f", "0").ljust(6, "0")))
    try:
        if (offset := parts.get("z")) is None:
            return from_datetime(datetime(*moment, *clock, tzinfo=zone))
        utc = from_datetime(datetime(*moment, *clock, tzinfo=UTC))
    except (ValueError, OverflowError):
        raise ExprEvalError("EXP112", "the text is not a date and time of the years 1 to 9999") from None
    return Timestamp(utc.nanos - _offset_seconds(offset) * SECOND)


def _offset_seconds(offset: str) -> int:
    if offset in "Zz":
        return 0
    digits = offset[1:].replace(":", "")
    seconds = int(digits[:2]) * 3_600 + int(digits[2:]) * 60
    return -seconds if offset[0] == "-" else seconds
