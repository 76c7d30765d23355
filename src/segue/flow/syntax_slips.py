"""Says in plain words why a text is no YAML, where the slip is, and how it is repaired.

libyaml reports where it gave up, which is often a line or two behind the mistake. The commonest slips can be told from
the lines around that place.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from segue.flow.problems import Patch
from segue.flow.templates import quote

_MAX_LINES_BACK: Final = 50
_TAB: Final = re.compile(r"^[ ]*\t[ \t]*", re.MULTILINE)
_ENTRY: Final = re.compile(
    r"(?P<head>[ ]*(?:- +)*(?P<key>[\w.-]+):[ ]+)(?P<value>[^\s\"'\[{|>#].*?)(?P<rest>[ ]+#.*|[ ]*)\Z"
)
_ITEM: Final = re.compile(r"(?P<head>[ ]*- +)(?P<value>[^\s\"'\[{|>#].*?)(?P<rest>[ ]+#.*|[ ]*)\Z")
_NO_SPACE: Final = re.compile(r"(?P<head>[ ]*(?:- +)*[A-Za-z_][\w-]*:)(?P<value>[^\s/:].*)\Z")
_NO_DASH_SPACE: Final = re.compile(r"(?P<head>[ ]*-)(?P<value>[A-Za-z_][\w-]*(?::(?:\s.*)?)?)\Z")
_NO_COLON: Final = re.compile(r"(?P<head>[ ]*(?:- +)*[A-Za-z_][\w-]*)[ ]*(?P<rest>=?[ ]*)\Z")
_QUOTES: Final = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\n]|'')*'|(?<!\S)#.*")
_BRACKETS: Final = {"[": "]", "{": "}"}
_LIST_TYPE: Final = re.compile(r"(?<=:)(?P<space>[ ]+)(?P<value>[A-Za-z]+\[\]\??)(?=[ ]*[,}])")


class Slip(NamedTuple):
    """What is wrong, where (offsets), what helps."""

    message: str
    start: int
    end: int
    hint: str | None = None
    patch: Patch | None = None


def slip_of(text: str, place: int, context: int | None, said: str) -> Slip | None:
    """The slip that made libyaml give up at `place` (and `context`, where what it was reading began); None: unknown."""
    line_start, line = _line(text, place)
    if text[place : place + 1] == "," and text[:place].rstrip().endswith(","):
        patch = Patch(start=place, end=place + 1, text="")
        return Slip("there is a comma too many", place, place + 1, "remove one of the two", patch)
    return (
        _tab(text, place)
        or _unclosed_quote(text, context, said)
        or _list_type(text, place, said)
        or _unclosed_bracket(text, context, said)
        or _no_space(text, line_start)
        or (_too_deep(text, line_start, line) if "mapping values" in said else None)
        or (_value(text, line_start, line) if "mapping values" in said else None)
        or _bad_start(text, place, said)
        or _key_without_colon(text, place, said)
        or _indentation(text, line_start, line, said)
    )


def _line(text: str, place: int) -> tuple[int, str]:
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", start)
    return start, (text[start:] if end < 0 else text[start:end]).rstrip("\r")


def _tab(text: str, place: int) -> Slip | None:
    """Tabs that indent, all of them to the last such line."""
    end = text.find("\n", place)
    found = list(_TAB.finditer(text, 0))
    if not found or found[0].start() > (len(text) if end < 0 else end):
        return None
    first, last = found[0], found[-1]
    start = text.index("\t", first.start())
    spaced = _TAB.sub(lambda match: match.group().replace("\t", "  "), text[first.start() : last.end()])
    patch = Patch(start=first.start(), end=last.end(), text=spaced)
    return Slip("a tab indents this line", start, start + 1, "indent with spaces, not tabs", patch)


def _unclosed_quote(text: str, context: int | None, said: str) -> Slip | None:
    if context is None or text[context : context + 1] not in ("'", '"') or "end of stream" not in said:
        return None
    sign = text[context]
    line_start, line = _line(text, context)
    end = line_start + len(line)
    patch = None
    inside = line[context - line_start + 1 :]
    if " #" not in inside and inside.strip() and inside.rstrip()[-1] not in "]},":
        patch = Patch(start=end - 1, end=end, text=text[end - 1] + sign)
    return Slip(f"the quote {sign} is not closed", context, context + 1, f"put a {sign} where the text ends", patch)


def _list_type(text: str, place: int, said: str) -> Slip | None:
    """`{tags: string[]}`: within braces, brackets belong to YAML."""
    line_start, line = _line(text, place)
    found = next((one for one in _LIST_TYPE.finditer(line) if line_start + one.end() > place), None)
    if found is None or "expected ',' or '}'" not in said:
        return None
    start, end = line_start + found.start("value"), line_start + found.end("value")
    return Slip(
        f"`{found['value']}` stands within braces, where YAML takes the brackets for a list", start, end,
        "put quotes around it, or write the inputs on lines of their own",
        Patch(start=start, end=end, text=quote(found["value"])),
    )  # fmt: skip


def _unclosed_bracket(text: str, context: int | None, said: str) -> Slip | None:
    if context is None or text[context : context + 1] not in _BRACKETS or text.lstrip()[:1] in _BRACKETS:
        return None  # JSON's brackets span lines; its own parser tells better where they end
    if "expected ',' or" not in said and "end of stream" not in said and "node content" not in said:
        return None
    opening = text[context]
    closing = _BRACKETS[opening]
    line_start, line = _line(text, context)
    bare = _QUOTES.sub("", line)
    missing = bare.count(opening) - bare.count(closing)
    end = line_start + len(line.partition(" #")[0].rstrip())
    others = {one: bare.count(one) for one in "[]{}"}
    balanced = others["["] - others["]"] + others["{"] - others["}"] == missing
    is_whole = missing == 1 and balanced and text[end - 1] not in ",[{"
    patch = Patch(start=end - 1, end=end, text=text[end - 1] + closing) if is_whole else None
    return Slip(f"the bracket {opening} is not closed", context, context + 1, f"put a {closing} where it ends", patch)


def _no_space(text: str, line_start: int) -> Slip | None:
    """`key:value`, in this line or the one before it."""
    for start, line in _lines_up(text, line_start, 2):
        if found := _NO_SPACE.match(line):
            at = start + found.end("head")
            patch = Patch(start=at - 1, end=at, text=": ")
            return Slip("a blank is missing after the colon", at - 1, at, "write `key: value`", patch)
        if found := _NO_DASH_SPACE.match(line):
            at = start + found.end("head")
            return Slip(
                "a blank is missing after the dash",
                at - 1,
                at,
                "write `- step`",
                Patch(start=at - 1, end=at, text="- "),
            )
    return None


def _lines_up(text: str, start: int, count: int) -> list[tuple[int, str]]:
    """This line and those before it, nearest first; empty ones and comments left out."""
    found: list[tuple[int, str]] = []
    for _ in range(_MAX_LINES_BACK):
        line = _line(text, start)[1]
        if line.strip() and not line.lstrip().startswith("#"):
            found.append((start, line))
        if start == 0 or len(found) == count:
            break
        start = text.rfind("\n", 0, start - 1) + 1
    return found


def _too_deep(text: str, line_start: int, line: str) -> Slip | None:
    """A line further in than the one before it, which has a value already."""
    before = _lines_up(text, line_start, 2)[1:]
    found = _ENTRY.match(before[0][1]) if before else None
    column = len(line) - len(line.lstrip(" "))
    if found is None or found.start("key") >= column:
        return None
    start = line_start + column
    message = f"this line is further in than `{found['key']}`, which has a value already"
    patch = Patch(start=line_start, end=start, text=" " * found.start("key"))
    return Slip(message, start, start + 1, f"begin it in the same column as `{found['key']}`", patch)


def _value(text: str, line_start: int, line: str) -> Slip | None:
    """A value that holds `: `."""
    found = _ENTRY.match(line)
    if found is None or not re.search(r":(?:\s|\Z)", found["value"]):
        return None
    start, end = line_start + found.start("value"), line_start + found.end("value")
    colon = start + re.search(r":(?:\s|\Z)", found["value"]).start()  # pyright: ignore[reportOptionalMemberAccess]
    return Slip(
        "a value without quotes holds `: `", colon, colon + 1, "put quotes around the value",
        Patch(start=start, end=end, text=quote(found["value"])),
    )  # fmt: skip


def _bad_start(text: str, place: int, said: str) -> Slip | None:
    """A value that begins with a sign of YAML's own, such as `@`, `%`, `*` or a backtick."""
    if "cannot start any token" not in said and "alphabetic or numeric character" not in said:
        return None
    line_start, line = _line(text, place)
    for shape in (_ENTRY, _ITEM):
        found = shape.match(line)
        if found is not None and found["value"][0] in "@`%*&!":
            start, end = line_start + found.start("value"), line_start + found.end("value")
            return Slip(
                f"a value without quotes begins with `{found['value'][0]}`", start, start + 1,
                "put quotes around the value", Patch(start=start, end=end, text=quote(found["value"])),
            )  # fmt: skip
    return None


def _key_without_colon(text: str, place: int, said: str) -> Slip | None:
    """A word alone where `key:` belongs."""
    if "could not find expected ':'" not in said:
        return None
    for start, line in _lines_up(text, _line(text, place)[0], 3)[1:] or _lines_up(text, _line(text, place)[0], 1):
        found = _NO_COLON.match(line)
        if found is not None and ":" not in line:
            at = start + len(found["head"])
            patch = Patch(start=at - 1, end=start + len(line), text=f"{text[at - 1]}:")
            return Slip("a colon is missing after the key", at - 1, at, "write `key: value`", patch)
    return None


def _indentation(text: str, line_start: int, line: str, said: str) -> Slip | None:
    """A line that stands neither beside nor inside what is around it."""
    if not line.strip() or not ("expected <block end>" in said or "did not find expected" in said):
        return None
    column = len(line) - len(line.lstrip(" "))
    start = line_start + column
    before = _lines_up(text, line_start, 2)[1:]
    wanted = len(before[0][1]) - len(before[0][1].lstrip(" ")) if before else column
    # One blank more or less than the line before is a slip; what other columns are meant to be is not known.
    patch = Patch(start=line_start, end=start, text=" " * wanted) if column and abs(wanted - column) == 1 else None
    return Slip(
        "this line does not line up with those around it", start, start + 1,
        "begin it in the same column as the lines it belongs to", patch,
    )  # fmt: skip
