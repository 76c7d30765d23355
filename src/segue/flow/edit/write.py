r"""Values as new text: canonical YAML, or JSON where the surroundings are JSON.

Only what YAML 1.2's core rules or the language's own `$` and `{{` would read as something else is quoted (YAML 1.2.2,
sections 7.3 and 10.3). Lines are joined by `\n` here; who puts them into a text uses that text's own newline.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

from segue.errors import RequestError
from segue.flow.model import JsonValue

LINE_LENGTH: Final = 100
"""A map or list is written on one line if it ends before this column."""
_FLOW_DEPTH: Final = 3
"""Collections within collections that still read well on one line."""

_NOT_PLAIN = frozenset(("", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "<<"))
_NUMBER_LIKE = re.compile(
    r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z|[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)\Z"
)
_PLAIN = re.compile(r"[\w$/.][^\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*\Z")
_ENDS_PLAIN = re.compile(r":(?=[ \t]|\Z)|[ \t]#|[ \t]\Z|\A(?:---|\.\.\.)")
_NOT_IN_FLOW = re.compile(r"[,\[\]{}]|:(?=[,\[\]{}])")
_NOT_IN_SINGLE_QUOTES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ESCAPED = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LITERAL = re.compile(r"(?:[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]"
                      r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]*)\Z")  # fmt: skip


def scalar_text(
    value: None | bool | int | float | str, *, flow: bool = True, quote: str | None = None, is_json: bool = False
) -> str:
    """A scalar on one line. `flow`: it stands in brackets. `quote`: the quotes to use if the value is text and can
    take them. Raises RequestError for numbers and texts that no flow can hold.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise RequestError(f"the number {value} does not fit 64 bits; write it as text")
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RequestError(f"{value} is not a finite number; a flow cannot hold it")
        return repr(value)
    return _text(value, flow=flow, quote='"' if is_json else quote)


def _text(value: str, *, flow: bool, quote: str | None) -> str:
    if re.search("[\ud800-\udfff]", value):
        raise RequestError("a text holds half of a surrogate pair; a flow cannot hold it")
    if quote != '"' and not _NOT_IN_SINGLE_QUOTES.search(value):
        if quote is None and is_plain(value, flow=flow):
            return value
        if quote == "'" or '"' in value or "\\" in value or "'" not in value:
            return "'" + value.replace("'", "''") + "'"
    return double_quoted(value)


def double_quoted(value: str) -> str:
    """The text in double quotes, with JSON's escapes; what YAML would take for a line break is escaped too."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))


def is_plain(value: str, *, flow: bool) -> bool:
    """Whether a text needs no quotes to be read as that text."""
    if value in _NOT_PLAIN or len(value) > LINE_LENGTH * 10 or _PLAIN.match(value) is None:
        return False
    if value[0] in "0123456789." and _NUMBER_LIKE.match(value):
        return False
    if _ENDS_PLAIN.search(value) or value.startswith("${{"):
        return False
    return not (flow and _NOT_IN_FLOW.search(value))


class PlainKey(str):
    """A key that is written without quotes, though it looks like a number or a truth value: a case of `switch`."""

    __slots__ = ()


def key_text(key: str, *, quote: str | None = None, is_json: bool = False) -> str:
    """A key, safe on a line and in brackets alike."""
    if isinstance(key, PlainKey):
        return str(key) if is_plain(f"_{key}", flow=True) else _text(str(key), flow=True, quote=None)
    if is_json or len(key) > LINE_LENGTH:
        return double_quoted(key)
    return _text(key, flow=True, quote=quote)


def flow_text(value: JsonValue, *, is_json: bool = False) -> str:
    """The value on one line: `{a: 1, b: [x, y]}`, or JSON."""
    if isinstance(value, dict):
        pairs = (
            f"{key_text(key, is_json=is_json)}: {flow_text(child, is_json=is_json)}" for key, child in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow_text(child, is_json=is_json) for child in value) + "]"
    return scalar_text(value, is_json=is_json)


def entry_lines(key: str, value: JsonValue, indent: int) -> list[str]:
    """`key: value` as lines whose first begins at column `indent` (its spaces are left out)."""
    name = key_text(key)
    return _after(f"{name}:", value, indent, indent + 2)


def item_lines(value: JsonValue, indent: int) -> list[str]:
    """`- value` as lines whose first begins at column `indent` (its spaces are left out)."""
    if isinstance(value, dict) and value and not (_is_small(value) and _fits(value, indent + 2)):
        lines = map_lines(value, indent + 2)
        return [f"- {lines[0]}", *lines[1:]]
    if isinstance(value, list) and value and not (_is_small(value) and _fits(value, indent + 2)):
        lines = list_lines(value, indent + 2)
        return [f"- {lines[0]}", *lines[1:]]
    return _after("-", value, indent, indent + 2)


def map_lines(value: dict[str, JsonValue], indent: int) -> list[str]:
    """A map that is not empty, in block style; the first line without its spaces."""
    lines = [line for key, child in value.items() for line in _indented(entry_lines(key, child, indent), indent)]
    return [lines[0][indent:], *lines[1:]]


def list_lines(value: list[JsonValue], indent: int) -> list[str]:
    """A list that is not empty, in block style; the first line without its spaces."""
    lines = [line for child in value for line in _indented(item_lines(child, indent), indent)]
    return [lines[0][indent:], *lines[1:]]


def layout_lines(value: JsonValue) -> list[str]:
    """`layout:` with one line a box, so that a box that is moved is one changed line."""
    lines = ["layout:"]
    for key, child in value.items() if isinstance(value, dict) else ():
        if key == "positions" and isinstance(child, dict) and child:
            lines.append("  positions:")
            lines += [f"    {key_text(name)}: {flow_text(position)}" for name, position in child.items()]
        else:
            lines += _indented(entry_lines(key, child, 2), 2)
    return lines if len(lines) > 1 else [f"layout: {flow_text(value)}"]


def value_lines(value: JsonValue, column: int, indent: int) -> list[str]:
    """What stands behind `key:` or `-`: one line if it fits behind `column`, else further lines at `indent`.

    The first line is empty if the value begins on the next one.
    """
    if isinstance(value, str) and "\n" in value and is_literal(value):
        return literal_lines(value, indent)
    if not isinstance(value, (dict, list)):
        return [scalar_text(value, flow=False)]
    if not value or _fits(value, column):
        return [flow_text(value)]
    lines = map_lines(value, indent) if isinstance(value, dict) else list_lines(value, indent)
    return ["", " " * indent + lines[0], *lines[1:]]


def is_literal(value: str) -> bool:
    """Whether a text of several lines can be a block scalar and come back the same."""
    return _LITERAL.match(value) is not None and not value.endswith("\n\n") and "\t\n" not in value


def literal_lines(value: str, indent: int) -> list[str]:
    """`|` and the lines of a text that `is_literal`."""
    header = "|" if value.endswith("\n") else "|-"
    body = value.removesuffix("\n").split("\n")
    return [header, *(" " * indent + line if line else "" for line in body)]


def _after(lead: str, value: JsonValue, indent: int, inner: int) -> list[str]:
    lines = value_lines(value, indent + len(lead) + 1, inner)
    first = f"{lead} {lines[0]}" if lines[0] else lead
    return [first, *lines[1:]]


def _indented(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + lines[0], *lines[1:]]


def _fits(value: JsonValue, column: int) -> bool:
    if _depth(value) > _FLOW_DEPTH or _has_lines(value):
        return False
    if isinstance(value, list) and any(isinstance(child, dict) and _depth(child) > 1 for child in value):
        # Steps, or what looks like them: one a line.
        return False
    return column + len(flow_text(value)) <= LINE_LENGTH


def _is_small(value: JsonValue) -> bool:
    """Whether a list's item reads well in brackets: several plain values, not a step."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(children) != 1 and not any(isinstance(child, (dict, list)) for child in children)


def _depth(value: JsonValue) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(child) for child in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(child) for child in value), default=0)
    return 0


def _has_lines(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_has_lines(child) for child in value.values())
    if isinstance(value, list):
        return any(_has_lines(child) for child in value)
    return isinstance(value, str) and "\n" in value


def write_document(value: dict[str, JsonValue]) -> str:
    """A whole document as canonical YAML: the keys in their order, a list of steps always in lines."""
    lines: list[str] = []
    for key, child in value.items():
        if key == "steps" and isinstance(child, list) and child:
            lines += ["steps:", *_indented(list_lines(child, 2), 2)]
        elif key == "layout" and isinstance(child, dict) and child:
            lines += layout_lines(child)
        else:
            lines += entry_lines(key, child, 0)
    return "\n".join(lines) + "\n" if lines else "{}\n"
