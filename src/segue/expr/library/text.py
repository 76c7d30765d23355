"""Functions of texts. Positions count characters (Unicode code points) from 0.

`charAt indexOf lastIndexOf join split replace substring trim reverse lowerAscii upperAscii format` follow CEL's strings
extension (github.com/google/cel-go, ext/strings.go), which refuses positions outside of the text; `slice` clips
instead. Every text is paid for before it is made.
"""

from __future__ import annotations

import re
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.library.printf import printf
from segue.expr.library.strftime import format_time
from segue.expr.library.table import Table
from segue.expr.ops import equal, is_list
from segue.expr.text import to_text
from segue.expr.timecalc import parse_timestamp, zone_of
from segue.expr.types import INT_MAX, Timestamp, spoken

TEXT: Final = Table("text")
_WORD: Final = re.compile(r"[a-z0-9]+")
_QUOTED: Final = str.maketrans(
    {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", '"': r"\"", "\\": r"\\"}
)
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER: Final = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def _outside(what: str) -> ExprEvalError:
    return ExprEvalError("EXP106", f"{what} is outside of the text")


@TEXT.add("upper(text: string) -> string", "In upper case.", "'ada' | upper", "ADA")
def _upper(frame: Frame, text: str) -> str:
    # One character may become three (ΐ, ﬃ), and each may take three times the bytes.
    frame.reserve_text(text_bytes(text))
    return text.upper()


@TEXT.add("lower(text: string) -> string", "In lower case.", "'ADA' | lower", "ada")
def _lower(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return text.lower()


@TEXT.add(
    "upperAscii(text: string) -> string",
    "With `a` to `z` in upper case, all else as it is.",
    "'é2b'.upperAscii()",
    "é2B",
)
def _upper_ascii(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return text.translate(_UPPER)


@TEXT.add(
    "lowerAscii(text: string) -> string",
    "With `A` to `Z` in lower case, all else as it is.",
    "'É2B'.lowerAscii()",
    "É2b",
)
def _lower_ascii(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return text.translate(_LOWER)


@TEXT.add(
    "capitalize(text: string) -> string", "With its first letter in upper case.", "'ada l.' | capitalize", "Ada l."
)
def _capitalize(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return text[:1].upper() + text[1:]


@TEXT.add(
    "title(text: string) -> string",
    "With each word's first letter in upper case, the rest in lower.",
    "'ada LOVELACE' | title",
    "Ada Lovelace",
)
def _title(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return text.title()


@TEXT.add("trim(text: string) -> string", "Without white space at both ends.", "'  ada ' | trim", "ada")
def _trim(frame: Frame, text: str) -> str:
    return text.strip()


@TEXT.add("trimStart(text: string) -> string", "Without white space at the start.", "' ada ' | trimStart", "ada ")
def _trim_start(frame: Frame, text: str) -> str:
    return text.lstrip()


@TEXT.add("trimEnd(text: string) -> string", "Without white space at the end.", "' ada ' | trimEnd", " ada")
def _trim_end(frame: Frame, text: str) -> str:
    return text.rstrip()


@TEXT.add(
    "replace(text: string, from: string, to: string, limit?: int) -> string",
    "With every `from` (or the first `limit` of them) replaced by `to`.",
    "'a-b-c'.replace('-', '+')",
    "a+b+c",
)
def _replace(frame: Frame, text: str, old: str, new: str, limit: int = -1) -> str:
    found = text.count(old)
    count = found if limit < 0 else min(found, limit)
    frame.reserve_text(max(0, text_bytes(text) + count * (text_bytes(new) - text_bytes(old))))
    return text.replace(old, new, count)


@TEXT.add(
    "split(text: string, by: string, limit?: int) -> list",
    "The parts between the separators, at most `limit` of them; an empty separator gives the characters.",
    "'a,b,c' | split(',')",
    ["a", "b", "c"],
)
def _split(frame: Frame, text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = (text.count(by) if by else len(text)) + 1
    frame.charge(parts if limit < 0 else min(parts, limit))
    if by:
        return text.split(by, limit - 1 if limit > 0 else -1)
    if 0 < limit < len(text):
        return [*text[: limit - 1], text[limit - 1 :]]
    return list(text)


@TEXT.add(
    "join(items: list, by?: string) -> string",
    "The items as one text, with the separator between them.",
    "[1, 'b', 2.0] | join(', ')",
    "1, b, 2",
)
def _join(frame: Frame, items: Any, by: str = "") -> str:
    parts: list[str] = []
    size, gap = 0, text_bytes(by)
    for item in items:
        parts.append(to_text(frame, item))
        size += text_bytes(parts[-1]) + gap
        if size > frame.budget.output_bytes + gap:
            frame.reserve_text(size)
    frame.reserve_text(max(0, size - gap))
    return by.join(parts)


@TEXT.add(
    "lines(text: string) -> list",
    "The lines of the text, without their line breaks.",
    r"'a\nb' | lines",
    ["a", "b"],
)
def _lines(frame: Frame, text: str) -> list[str]:
    found = text.splitlines()
    frame.charge(len(found))
    return found


@TEXT.add("words(text: string) -> list", "The parts between white space.", "' a  b ' | words", ["a", "b"])
def _words(frame: Frame, text: str) -> list[str]:
    found = text.split()
    frame.charge(len(found))
    return found


@TEXT.add(
    "substring(text: string, start: int, end?: int) -> string",
    "The part from `start` up to, not with, `end`; positions outside of the text are an error (see `slice`).",
    "'tacocat'.substring(0, 4)",
    "taco",
)
def _substring(frame: Frame, text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise _outside("the part")
    return text[start:stop]


@TEXT.add(
    "charAt(text: string, position: int) -> string",
    "The character at the position; the empty text right behind the last one.",
    "'hello'.charAt(4)",
    "o",
)
def _char_at(frame: Frame, text: str, position: int) -> str:
    if not 0 <= position <= len(text):
        raise _outside("the position")
    return text[position : position + 1]


@TEXT.add(
    "indexOf(in: string|list, what: any, from?: int) -> int",
    "Where the part or item first occurs, at or after `from`; -1 if it does not.",
    "'hello'.indexOf('l')",
    2,
)
def _index_of(frame: Frame, inside: Any, what: Any, start: int = 0) -> int:
    if not 0 <= start <= len(inside):
        raise _outside("the position")
    if isinstance(inside, str):
        return inside.find(_part(what), start)
    from_here = list(inside[start:])
    return next((start + position for position, item in enumerate(from_here) if equal(frame, item, what)), -1)


@TEXT.add(
    "lastIndexOf(text: string, what: string, from?: int) -> int",
    "Where the part last occurs, at or before `from`; -1 if it does not.",
    "'hello'.lastIndexOf('l')",
    3,
)
def _last_index_of(frame: Frame, text: str, what: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(what)
    if not 0 <= start <= len(text):
        raise _outside("the position")
    return text.rfind(what, 0, start + len(what))


def _part(what: object) -> str:
    if isinstance(what, str):
        return what
    raise ExprEvalError("EXP103", f"a part of a string is a string, not {spoken(what)}")


@TEXT.add(
    "strings.quote(text: string) -> string",
    "In double quotes, with line breaks, quotes, backslashes and control signs as escapes.",
    "strings.quote('say \"hi\"')",
    r'"say \"hi\""',
)
def _quote(frame: Frame, text: str) -> str:
    frame.reserve_text(2 * text_bytes(text) + 2)
    # Half of a surrogate pair has no UTF-8 form; the extension writes the replacement character for what is no text.
    whole = "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in text)
    return f'"{whole.translate(_QUOTED)}"'


@TEXT.add("repeat(text: string, times: int) -> string", "The text so many times.", "'ab'.repeat(3)", "ababab")
def _repeat(frame: Frame, text: str, times: int) -> str:
    frame.reserve_text(text_bytes(text) * max(0, times))
    return text * max(0, min(times, INT_MAX) if text else 0)


def _fill(frame: Frame, text: str, width: int, fill: str) -> str:
    missing = width - len(text)
    if missing <= 0 or not fill:
        return ""
    frame.reserve_text(text_bytes(text) + missing * 4)
    return (fill * (missing // len(fill) + 1))[:missing]


@TEXT.add(
    "padStart(text: string, width: int, fill?: string) -> string",
    "At least so many characters long, filled up at the start (with spaces).",
    "'7'.padStart(3, '0')",
    "007",
)
def _pad_start(frame: Frame, text: str, width: int, fill: str = " ") -> str:
    return _fill(frame, text, width, fill) + text


@TEXT.add(
    "padEnd(text: string, width: int, fill?: string) -> string",
    "At least so many characters long, filled up at the end (with spaces).",
    "'7'.padEnd(3, '.')",
    "7..",
)
def _pad_end(frame: Frame, text: str, width: int, fill: str = " ") -> str:
    return text + _fill(frame, text, width, fill)


@TEXT.add(
    "truncate(text: string, length: int, ending?: string) -> string",
    "At most so many characters long; where something was cut off, the ending (`…`) is its last part.",
    "'hello world'.truncate(6)",
    "hello…",
)
def _truncate(frame: Frame, text: str, length: int, ending: str = "…") -> str:
    if length < 0:
        raise ExprEvalError("EXP106", "a length is not negative")
    if len(text) <= length:
        return text
    frame.reserve_text(4 * length)
    return (text[: max(0, length - len(ending))] + ending)[:length]


@TEXT.add(
    "slug(text: string) -> string",
    "Fit for an address or a file name: lower-case ASCII letters and digits, joined with `-`.",
    "'Hello, World!' | slug",
    "hello-world",
)
def _slug(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text))
    return "-".join(_WORD.findall(text.lower()))


@TEXT.add(
    "format(what: string|timestamp, with: list|string, zone?: string) -> string",
    "A text with `%s %d %f %.2f %e %x %X %o %b %%` filled from the list; or a time (also in RFC 3339) in a pattern of "
    "`%Y %m %d %H %M %S …`, in UTC or in the zone.",
    "'%s has %d (%.1f %%)'.format(['Ada', 3, 12.34])",
    "Ada has 3 (12.3 %)",
)
def _format(frame: Frame, what: Any, how: Any, zone: str = "UTC") -> str:
    if is_list(how):
        if isinstance(what, Timestamp):
            raise ExprEvalError("EXP103", "`format` of a timestamp takes a pattern such as '%Y-%m-%d'")
        return printf(frame, what, how)
    at = parse_timestamp(what) if isinstance(what, str) else what
    return format_time(frame, at, how, zone_of(zone))
