"""Functions with regular expressions: RE2's syntax, linear time, no look-around (see `segue.expr.regex`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.core import utf8
from segue.expr.library.table import Table
from segue.expr.regex import searchable

REGEX: Final = Table("regex")


def _found(frame: Frame, text: str, pattern: str) -> Iterator[Any]:
    """The matches, each paid for: a pattern may match at every position."""
    encoded = utf8(text)
    expression = searchable(frame, pattern, len(encoded))
    for match in expression.finditer(encoded):
        frame.charge(2 + expression.groups)
        yield match


def _group(match: Any) -> str | None:
    """The first group if the pattern has one, else the whole match."""
    found: bytes | None = match.group(1 if match.re.groups else 0)
    return None if found is None else found.decode("utf-8", "replace")


@REGEX.add(
    "find(text: string, pattern: string) -> string|null",
    "The first match, or its first group if the pattern has one; null if there is none.",
    "'order A-42'.find('[A-Z]-([0-9]+)')",
    "42",
)
def _find(frame: Frame, text: str, pattern: str) -> str | None:
    for match in _found(frame, text, pattern):
        return _group(match)
    return None


@REGEX.add(
    "findAll(text: string, pattern: string) -> list",
    "All matches, or their first groups if the pattern has one.",
    "'a1 b22'.findAll('[0-9]+')",
    ["1", "22"],
)
def _find_all(frame: Frame, text: str, pattern: str) -> list[str | None]:
    return [_group(match) for match in _found(frame, text, pattern)]


@REGEX.add(
    "regexReplace(text: string, pattern: string, to: string) -> string",
    r"With every match replaced; `\1` to `\9` stand for the groups, `\0` for the match, `\\` for a backslash.",
    r"regexReplace('2025-01', '([0-9]+)-([0-9]+)', r'\2/\1')",
    "01/2025",
)
def _regex_replace(frame: Frame, text: str, pattern: str, to: str) -> str:
    pieces = _template(to)
    encoded = utf8(text)
    made: list[bytes] = []
    size = position = 0
    for match in _found(frame, text, pattern):
        start, end = match.span()
        new = [encoded[position:start]]
        for piece in pieces:
            new.append(piece if isinstance(piece, bytes) else _reference(match, piece))
        size += sum(map(len, new))
        frame.reserve_text(size) if size > frame.budget.output_bytes else frame.charge(len(pieces))
        made.extend(new)
        position = end
    made.append(encoded[position:])
    frame.reserve_text(size + len(made[-1]))
    return b"".join(made).decode("utf-8", "replace")


def _reference(match: Any, group: int) -> bytes:
    if group > match.re.groups:
        raise ExprEvalError("EXP106", "the replacement names a group that the pattern does not have")
    return match.group(group) or b""


def _template(to: str) -> list[bytes | int]:
    pieces: list[bytes | int] = []
    position = 0
    while (slash := to.find("\\", position)) >= 0:
        pieces.append(utf8(to[position:slash]))
        letter = to[slash + 1 : slash + 2]
        if letter == "\\":
            pieces.append(b"\\")
        elif letter.isascii() and letter.isdigit():
            pieces.append(int(letter))
        else:
            raise ExprEvalError("EXP106", r"a backslash in a replacement stands before a digit or a backslash")
        position = slash + 2
    pieces.append(utf8(to[position:]))
    return pieces
