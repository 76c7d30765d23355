"""Durations as written: `500ms`, `30s`, `1h30m`, `7d`, or ISO 8601 (`PT30S`, `P1DT2H`)."""

from __future__ import annotations

import re
from typing import Final

MAX_SECONDS: Final = 10 * 366 * 86_400.0
"""Ten years: longer is a slip, and keeps every due time within what clocks and databases hold."""

MAX_BUFFER_SECONDS: Final = 86_400.0
"""How old an event may be at most when a wait for it begins (`buffer`); events are kept longer than that."""

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s?(ms|sec|min|[smhdw])\s?")
_WORDS = re.compile(r"(?:\d{1,12}(?:\.\d{1,9})?\s?(?:ms|sec|min|[smhdw])\s?){1,7}\Z")
_DIGITS = re.compile(r"\d{1,9}(?:\.\d{1,3})?\Z")
_ENGLISH = re.compile(
    r"(\d{1,9}(?:\.\d{1,3})?)\s*"
    r"(milliseconds?|millis|msecs?|ms|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|[smhdw])(?![A-Za-z])",
    re.IGNORECASE,
)
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)S)?)?\Z"
)


def parse_duration(text: str) -> float | None:
    """Seconds, or None if the text is no duration. Months and years are not read: their length varies."""
    text = text.strip()
    if _WORDS.match(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    iso = _ISO.match(text)
    if iso is None:
        return None
    parts = {unit: number for unit, number in iso.groupdict().items() if number is not None}
    if not parts:
        return None
    return sum(float(number) * _UNITS[unit] for unit, number in parts.items())


def duration_in_words(text: str) -> str | None:
    """How a duration in English words is written (`5 minutes`: `5m`; digits alone are seconds), or None."""
    parts = _ENGLISH.findall(text)
    if _DIGITS.match(text.strip()):
        return format_duration(float(text))
    if not parts or _ENGLISH.sub("", text).replace("and", "").strip(" ,"):
        return None
    written = "".join(f"{number}{_unit_of(word)}" for number, word in parts)
    return written if parse_duration(written) is not None else None


def _unit_of(word: str) -> str:
    """The unit that an English word begins with."""
    word = word.lower()
    return "ms" if word.startswith(("ms", "milli")) else word[0]


def format_duration(seconds: float) -> str:
    """The shortest spelling, such as `90s`, `2h`, `500ms`."""
    if seconds and seconds != int(seconds):
        return f"{seconds * 1000:g}ms"
    whole = int(seconds)
    for unit in ("d", "h", "m"):
        size = int(_UNITS[unit])
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
