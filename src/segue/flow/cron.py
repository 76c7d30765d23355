"""What is wrong with a cron line: five fields (minute, hour, day, month, weekday), or a word such as `@daily`.

Fields are as in crontab(5): `*`, numbers, names of months and weekdays, ranges, steps and lists of these. Days of the
week are 0 to 7, both ends being Sunday.
"""

from __future__ import annotations

import re
from typing import Final

from segue.flow.nearest import nearest

WORDS: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of the month", 1, 31, ()), ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)  # fmt: skip
_PART: Final = re.compile(r"(?P<from>\*|\w+)(?:-(?P<to>\w+))?(?:/(?P<step>\d+))?\Z")
HINT: Final = 'minute, hour, day, month, weekday: "0 9 * * 1-5" is nine o\'clock from Monday to Friday'


def cron_mistake(line: str) -> tuple[str, str, str | None] | None:
    """What is wrong, what helps, and the line that must be meant if there is one; None for a good line."""
    line = line.strip()
    if line.startswith("@"):
        if line in WORDS:
            return None
        meant = nearest(line, WORDS)
        return f'"{line[:40]}" is no word for times', f"known: {', '.join(WORDS)}", meant
    fields = line.split()
    if len(fields) == 6 and fields[0] in ("0", "*") and cron_mistake(" ".join(fields[1:])) is None:
        meant = " ".join(fields[1:])
        return f'"{line[:40]}" has six fields; there are no seconds', f'write "{meant}"', meant
    if len(fields) != 5:
        return f'"{line[:40]}" is no cron line of five fields', HINT, None
    for text, (name, least, most, words) in zip(fields, _FIELDS, strict=True):
        mistake = _field_mistake(text, name, least, most, words)
        if mistake is not None:
            return mistake, HINT, None
    return None


def _field_mistake(text: str, name: str, least: int, most: int, words: tuple[str, ...]) -> str | None:
    for part in text.split(","):
        found = _PART.match(part)
        if found is None:
            return f'{name}: "{part[:20]}" is neither a number, a range nor a step'
        if found["step"] is not None and int(found["step"][:9]) == 0:
            return f"{name}: a step of 0 goes nowhere"
        ends = [_number(end, words, least) for end in (found["from"], found["to"]) if end not in (None, "*")]
        for end, written in zip(ends, (found["from"], found["to"]), strict=False):
            if end is None or not least <= end <= most:
                return f'{name}: "{written}" is not between {least} and {most}'
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            return f"{name}: the range {part} runs backwards"
    return None


def _number(text: str, words: tuple[str, ...], least: int) -> int | None:
    if text.isdecimal() and len(text) < 6:
        return int(text)
    word = text.lower()
    return words.index(word) + least if word in words else None
