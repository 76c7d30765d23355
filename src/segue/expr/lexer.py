"""Source text to tokens: the lexical grammar of CEL, plus `$name`, a lone `$`, `??` and `|`.

Source of the grammar: the CEL language definition, "Syntax" (github.com/google/cel-spec, doc/langdef.md).
Offsets are absolute in the given text, so that an expression inside of a template reports its place in the whole
scalar.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from segue.expr.errors import ExprSyntaxError
from segue.expr.types import INT_MAX, UINT_MAX, Uint


class Token(NamedTuple):
    """`kind` is one of: literal name dollar quoted op end. `text` is the operator or the name, `value` what a literal
    means.
    """

    kind: str
    text: str
    value: object
    start: int
    end: int


_SKIP: Final = re.compile(r"(?:[ \t\n\f\r]+|//[^\n]*)*")
_STRING: Final = re.compile(r"(?P<prefix>[bB]?[rR]|[rR]?[bB])?(?P<quote>\"\"\"|'''|\"|')")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_DOLLAR: Final = re.compile(r"\$([A-Za-z_]\w*)?")
_QUOTED: Final = re.compile(r"`([A-Za-z0-9_.\-/ ]+)`")
_NUMBER: Final = re.compile(
    r"(?P<hex>0[xX][0-9a-fA-F]+)(?P<hexu>[uU])?"
    r"|(?P<float>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)"
    r"|(?P<int>[0-9]+)(?P<intu>[uU])?"
)
_OPERATOR: Final = re.compile(r"\?\?|&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,|()\[\]{}]")
_SIMPLE_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_HEX_ESCAPES: Final = {"x": 2, "X": 2, "u": 4, "U": 8}
_HINTS: Final = {
    "=": "write `==` to compare",
    "&": "write `&&` or `and`",
    "“": "use straight quotes",
    "”": "use straight quotes",
    "‘": "use straight quotes",
    "’": "use straight quotes",
    "`": "only field names with letters, digits and `_ . - /` stand in backticks",
}


def tokenize(source: str, start: int = 0, stop: int | None = None) -> list[Token]:
    """All tokens of `source[start:stop]`, the last of kind `end`. Raises ExprSyntaxError."""
    stop = len(source) if stop is None else stop
    tokens: list[Token] = []
    position = start
    while True:
        token = next_token(source, position, stop)
        tokens.append(token)
        if token.kind == "end":
            return tokens
        position = token.end


def tokenize_until_braces(source: str, start: int) -> tuple[list[Token], int]:
    """Tokens up to the `}}` that closes a template expression opened just before `start`, and the offset after it.

    Braces of map literals and of strings do not close it. Raises ExprSyntaxError if nothing does.
    """
    tokens: list[Token] = []
    position, open_braces = start, 0
    while True:
        token = next_token(source, position, len(source))
        if token.kind == "end":
            raise ExprSyntaxError(
                "EXP011",
                "`{{` has no closing `}}`",
                start=start - 2,
                end=start,
                suggestion='write `{{ "{{" }}` for two braces as text',
            )
        if token.kind == "op" and token.text == "{":
            open_braces += 1
        elif token.kind == "op" and token.text == "}":
            if open_braces == 0 and source.startswith("}}", token.start):
                tokens.append(Token("end", "", None, token.start, token.start))
                return tokens, token.start + 2
            open_braces -= 1
        tokens.append(token)
        position = token.end


def next_token(source: str, position: int, stop: int) -> Token:
    """The token at or after `position`."""
    skipped = _SKIP.match(source, position, stop)
    position = skipped.end() if skipped else position
    if position >= stop:
        return Token("end", "", None, stop, stop)
    if found := _STRING.match(source, position, stop):
        return _string(source, found, stop)
    if found := _NAME.match(source, position, stop):
        return Token("name", found.group(), None, position, found.end())
    if found := _DOLLAR.match(source, position, stop):
        return Token("dollar", found.group(1) or "$", None, position, found.end())
    if found := _NUMBER.match(source, position, stop):
        return _number(source, found, stop)
    if found := _OPERATOR.match(source, position, stop):
        return Token("op", found.group(), None, position, found.end())
    if found := _QUOTED.match(source, position, stop):
        return Token("quoted", found.group(1), None, position, found.end())
    character = source[position]
    raise ExprSyntaxError(
        "EXP001",
        f"unexpected character {character!r}",
        start=position,
        end=position + 1,
        suggestion=_HINTS.get(character),
    )


def _number(source: str, found: re.Match[str], stop: int) -> Token:
    start, end = found.span()
    if end < stop and (source[end].isalnum() or source[end] == "_"):
        raise ExprSyntaxError("EXP004", f"`{source[start : end + 1][:40]}` is not a number", start=start, end=end + 1)
    text = found.group()
    if found.group("float"):
        return Token("literal", text, float(text), start, end)
    unsigned = bool(found.group("hexu") or found.group("intu"))
    digits = text[:-1] if unsigned else text
    # 20 digits hold every 64-bit number; Python refuses to convert very long decimal texts, and needs quadratic time
    # for others.
    value = UINT_MAX + 1 if len(digits.lstrip("0xX")) > 20 else int(digits, 16 if found.group("hex") else 10)
    # One more than the largest int is let through: it may stand behind a minus sign; the parser refuses it elsewhere.
    if value > (UINT_MAX if unsigned else INT_MAX + 1):
        raise ExprSyntaxError("EXP004", "integer literal outside of the 64-bit range", start=start, end=end)
    return Token("literal", text, Uint(value) if unsigned else value, start, end)


def _string(source: str, found: re.Match[str], stop: int) -> Token:
    prefix, quote = (found.group("prefix") or "").lower(), found.group("quote")
    start, body = found.start(), found.end()
    raw, is_bytes, triple = "r" in prefix, "b" in prefix, len(quote) == 3
    position = body
    while not (position + len(quote) <= stop and source.startswith(quote, position)):
        if position >= stop or (not triple and source[position] in "\r\n"):
            raise ExprSyntaxError("EXP002", "string without its closing quote", start=start, end=min(position, stop))
        position += 2 if source[position] == "\\" and not raw else 1
    text, end = source[body:position], position + len(quote)
    if raw or "\\" not in text:
        value: object = text.encode("utf-8", "surrogatepass") if is_bytes else text
    else:
        value = _unescape_bytes(text, body) if is_bytes else _unescape(text, body)
    return Token("literal", source[start:end], value, start, end)


def _escape(text: str, position: int, offset: int) -> tuple[str, int, int]:
    """The escape whose backslash is at `position`: its letter, its value (-1: a simple one), the position after it."""
    letter = text[position + 1 : position + 2]
    if letter in _SIMPLE_ESCAPES:
        return letter, -1, position + 2
    length, base = (_HEX_ESCAPES[letter], 16) if letter in _HEX_ESCAPES else (3, 8)
    first = position + 2 if base == 16 else position + 1
    digits = text[first : first + length]
    allowed = "0123456789abcdefABCDEF" if base == 16 else "01234567"
    if len(digits) < length or not all(digit in allowed for digit in digits):
        raise ExprSyntaxError(
            "EXP003",
            f"`\\{letter}` is not an escape",
            start=offset + position,
            end=offset + position + 2,
            suggestion="write `\\\\` for a backslash, or put `r` before the string",
        )
    return letter if base == 16 else "o", int(digits, base), first + length


def _unescape(text: str, offset: int) -> str:
    parts: list[str] = []
    position = 0
    while (slash := text.find("\\", position)) >= 0:
        parts.append(text[position:slash])
        letter, code, position = _escape(text, slash, offset)
        if code < 0:
            parts.append(_SIMPLE_ESCAPES[letter])
        elif code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or (letter == "o" and code > 255):
            raise ExprSyntaxError(
                "EXP003", "escape of a code point that does not exist", start=offset + slash, end=offset + position
            )
        else:
            parts.append(chr(code))
    parts.append(text[position:])
    return "".join(parts)


def _unescape_bytes(text: str, offset: int) -> bytes:
    parts: list[bytes] = []
    position = 0
    while (slash := text.find("\\", position)) >= 0:
        parts.append(text[position:slash].encode("utf-8", "surrogatepass"))
        letter, code, position = _escape(text, slash, offset)
        if code < 0:
            parts.append(_SIMPLE_ESCAPES[letter].encode())
        elif letter in "uU" or code > 255:
            raise ExprSyntaxError(
                "EXP003", "bytes take `\\x` and octal escapes up to 255", start=offset + slash, end=offset + position
            )
        else:
            parts.append(bytes((code,)))
    parts.append(text[position:].encode("utf-8", "surrogatepass"))
    return b"".join(parts)
