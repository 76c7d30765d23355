"""Repairs of expressions that do not compile: what people bring along from other languages.

A repair is offered only if the text compiles with it; so a rule may be simple, and can at worst be of no use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from segue.expr import ExprError, functions

MAX_LENGTH: Final = 2_000
"""Longer expressions are not tried: each try compiles the text again."""

_WORDS: Final = {
    "is not": "!=", "is": "==", "AND": "and", "OR": "or", "NOT": "not", "IN": "in", "And": "and", "Or": "or",
    "Not": "not", "eq": "==", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "equals": "==", "mod": "%",
    "then": "?",
}  # fmt: skip
_FUNCTIONS: Final = {
    "len": "size", "length": "size", "count": "size", "str": "string", "toString": "string", "String": "string",
    "Number": "double", "float": "double", "parseFloat": "double", "parseInt": "int", "toUpperCase": "upper",
    "toLowerCase": "lower", "toUpper": "upper", "toLower": "lower", "uppercase": "upper", "lowercase": "lower",
    "includes": "contains", "startswith": "startsWith", "endswith": "endsWith", "starts_with": "startsWith",
    "ends_with": "endsWith", "strip": "trim", "replaceAll": "replace", "now_utc": "now", "to_json": "toJson",
    "boolean": "bool", "integer": "int",
}  # fmt: skip
_SIGNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"===", "=="), (r"!==", "!="), (r"<>", "!="), (r"=>", ">="), (r"=<", "<="), (r"(?<![=!<>])=(?!=)", "=="),
        (r"(?<!&)&(?!&)", "&&"), (r"(?<!\|)\|(?!\|)", "||"), (r"[“”„]", '"'), (r"[‘’‚]", "'"), (r"\?\.", "."),
        (r"≠", "!="), (r"≤", "<="), (r"≥", ">="), (r"×", "*"), (r"–|—|−", "-"), (r";\s*\Z", ""), (r"\A\s*if\s+", ""),
        (r"\A\s*=", ""), (r":\s*\Z", ""),
    )
)  # fmt: skip
_TEMPLATE: Final = re.compile(r"\$?\{\{\s*(.*?)\s*\}\}", re.DOTALL)


def repaired(source: str, error: ExprError, compiles: Callable[[str], object]) -> str | None:
    """The text with its one mistake repaired, or None. `compiles` raises ExprError for what does not compile."""
    if len(source) > MAX_LENGTH:
        return None
    for candidate in _candidates(source, error):
        if candidate == source:
            continue
        try:
            compiles(candidate)
        except ExprError:
            continue
        return candidate
    return None


def _candidates(source: str, error: ExprError) -> Iterator[str]:
    if error.code == "EXP011":
        yield source.rstrip() + " }}"
        yield re.sub(r"\}(?!\})\s*\Z", "}}", source)
    if error.code == "EXP003" and 0 <= error.start < len(source) and source[error.start] == "\\":
        yield source[: error.start] + "\\" + source[error.start :]
    if error.code == "EXP002" and 0 <= error.start < len(source):
        yield source.rstrip() + source[error.start]
    if error.code == "EXP007" and (found := re.search(r"`(\w+)`", error.message)):
        wrong = found[1]
        hint = re.search(r"`(\w+)`", error.suggestion or "")
        known = {about.signature.partition("(")[0].rpartition(".")[2] for about in functions()}
        right = _FUNCTIONS.get(wrong) if _FUNCTIONS.get(wrong) in known else hint[1] if hint else None
        if right is not None:
            yield re.sub(rf"(?<![\w.$]){wrong}(?=\s*\()", right, source)
            yield re.sub(rf"\b{wrong}\b", right, source)
    if error.code in ("EXP001", "EXP005", "EXP006"):
        yield from _with_signs(source)
        yield from _with_words(source)
        if error.code == "EXP005" and "{{" in source:
            yield _TEMPLATE.sub(r"\1", source)
    if error.code == "EXP006":
        yield source.rstrip() + ")" * max(0, source.count("(") - source.count(")"))
        yield source.rstrip() + "]" * max(0, source.count("[") - source.count("]"))
    if error.code == "EXP005" and source.count(")") == source.count("(") + 1 and 0 <= error.start < len(source):
        yield source[: error.start] + source[error.start + 1 :]


def _with_signs(source: str) -> Iterator[str]:
    """One kind of sign put right wherever it stands, then all of them."""
    together = source
    for wrong, right in _SIGNS:
        changed = _outside_strings(source, wrong, right)
        if changed != source:
            yield changed
        together = _outside_strings(together, wrong, right)
    yield together


def _with_words(source: str) -> Iterator[str]:
    together = source
    for word, right in _WORDS.items():
        wrong = re.compile(rf"(?<![\w.$]){word}(?![\w(])")
        changed = _outside_strings(source, wrong, right)
        if changed != source:
            yield changed
        together = _outside_strings(together, wrong, right)
    yield together


def _outside_strings(source: str, wrong: re.Pattern[str], right: str) -> str:
    """The replacement everywhere but inside of quotes."""
    pieces = re.split(r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')", source)
    if wrong.pattern.startswith(("\\A", ";", ":")) or "\\Z" in wrong.pattern:
        return wrong.sub(right, source)
    return "".join(piece if index % 2 else wrong.sub(right, piece) for index, piece in enumerate(pieces))
