"""JSON, base64, hexadecimal, addresses, HTML, hashes, identifiers. Where bytes are wanted, a text stands for its UTF-8.

Sources: RFC 8259 (JSON), RFC 4648 (base64, base16), RFC 3986 (percent-encoding), FIPS 180-4 and RFC 2104 (hashes,
HMAC);
`base64.encode` and `base64.decode` are those of CEL's encoders extension.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import html
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote_to_bytes

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame, text_bytes
from segue.expr.library.core import utf8
from segue.expr.library.table import Table
from segue.expr.text import json_text

ENCODING: Final = Table("encoding")
_ALGORITHMS: Final = ("md5", "sha1", "sha256", "sha384", "sha512")


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else utf8(value)


def _encodable(frame: Frame, value: str | bytes, growth: int) -> bytes:
    """The bytes, with a text of `growth` times their number paid for."""
    octets = _octets(value)
    frame.reserve_text(growth * len(octets))
    return octets


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ExprEvalError("EXP106", "the bytes are not UTF-8", suggestion="`base64.decode` gives bytes") from None


@ENCODING.add(
    "parseJson(text: string) -> any", "The value of a JSON text.", "parseJson('{\"a\": [1, 2.5]}')", {"a": [1, 2.5]}
)
def _parse_json(frame: Frame, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # The message of the standard library is not passed on: it may quote the text.
        raise ExprEvalError("EXP106", "the text is not JSON, nests too deep, or holds too long a number") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


@ENCODING.add(
    "toJson(value: any, indent?: int) -> string",
    "As JSON: compact, or indented by so many spaces.",
    "toJson({'a': [1, null]})",
    '{"a":[1,null]}',
)
def _to_json(frame: Frame, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 8:
        raise ExprEvalError("EXP106", "the indent is between 0 and 8")
    return json_text(frame, value, indent)


@ENCODING.add("base64(value: string|bytes) -> string", "In base64.", "base64('hello')", "aGVsbG8=")
def _base64(frame: Frame, value: Any) -> str:
    return b64encode(_encodable(frame, value, 2)).decode("ascii")


@ENCODING.add(
    "base64Decode(text: string) -> string",
    "The text that the base64 holds; also its URL-safe form, padded or not.",
    "base64Decode('aGVsbG8')",
    "hello",
)
def _base64_decode(frame: Frame, text: str) -> str:
    return _decoded(_from_base64(frame, text.replace("-", "+").replace("_", "/")))


@ENCODING.add(
    "base64Url(value: string|bytes) -> string", "In URL-safe base64 without padding.", "base64Url(b'\\xfb\\xff')", "-_8"
)
def _base64_url(frame: Frame, value: Any) -> str:
    return urlsafe_b64encode(_encodable(frame, value, 2)).decode("ascii").rstrip("=")


@ENCODING.add("base64.encode(value: bytes|string) -> string", "In base64.", "base64.encode(b'hello')", "aGVsbG8=")
def _base64_encode_bytes(frame: Frame, value: Any) -> str:
    return b64encode(_encodable(frame, value, 2)).decode("ascii")


@ENCODING.add(
    "base64.decode(text: string) -> bytes",
    "The bytes that the base64 holds.",
    "base64.decode('aGVsbG8') == b'hello'",
    True,
)
def _base64_decode_bytes(frame: Frame, text: str) -> bytes:
    return _from_base64(frame, text)


def _from_base64(frame: Frame, text: str) -> bytes:
    """Of the standard alphabet, padded as it should be or not at all."""
    encoded = _encodable(frame, text, 1)
    padding = b"" if b"=" in encoded else b"=" * (-len(encoded) % 4)
    try:
        return b64decode(encoded + padding, validate=True)
    except binascii.Error:
        raise ExprEvalError("EXP106", "the text is not base64") from None


@ENCODING.add("hex(value: string|bytes) -> string", "In hexadecimal digits.", "hex('hi')", "6869")
def _hex(frame: Frame, value: Any) -> str:
    return _encodable(frame, value, 2).hex()


@ENCODING.add(
    "urlEncode(text: string) -> string",
    "Percent-encoded, fit for any part of an address.",
    "urlEncode('a b&c')",
    "a%20b%26c",
)
def _url_encode(frame: Frame, text: str) -> str:
    return quote(_encodable(frame, text, 3), safe="")


@ENCODING.add(
    "urlDecode(text: string) -> string", "With its percent-encoding undone.", "urlDecode('a%20b%26c')", "a b&c"
)
def _url_decode(frame: Frame, text: str) -> str:
    # Python splits at each `%`, and keeps the pieces until the end.
    frame.charge(text.count("%"))
    return _decoded(unquote_to_bytes(_encodable(frame, text, 1)))


@ENCODING.add(
    "escapeHtml(text: string) -> string",
    "Safe inside of HTML text and attributes.",
    "escapeHtml('<b> & \"c\"')",
    "&lt;b&gt; &amp; &quot;c&quot;",
)
def _escape_html(frame: Frame, text: str) -> str:
    frame.reserve_text(text_bytes(text) + 5 * sum(text.count(character) for character in "&<>\"'"))
    return html.escape(text)


def _hash(name: str, result: str, remark: str = "") -> None:
    compute: Callable[..., Any] = getattr(hashlib, name)

    @ENCODING.add(
        f"{name}(value: string|bytes) -> string",
        f"The {name.upper()} hash in hexadecimal digits{remark}.",
        f"{name}('hello')",
        result,
    )
    def digest(frame: Frame, value: Any) -> str:
        return compute(_octets(value), usedforsecurity=False).hexdigest()

    del digest


_hash("md5", "5d41402abc4b2a76b9719d911017c592", "; fit for checksums only")
_hash("sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "; fit for checksums only")
_hash("sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
_hash(
    "sha512",
    "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"
    "2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
)


@ENCODING.add(
    "hmac(message: string|bytes, key: string|bytes, algorithm?: string) -> string",
    "The keyed hash in hexadecimal digits: `sha256`, or `md5 sha1 sha384 sha512`.",
    "hmac('hello', 'key')",
    "9307b3b915efb5171ff14d8cb55fbcc798c6c0ef1456d66ded1a6aa723a58b7b",
)
def _hmac(frame: Frame, message: Any, key: Any, algorithm: str = "sha256") -> str:
    if algorithm not in _ALGORITHMS:
        raise ExprEvalError("EXP106", "unknown hash algorithm", suggestion=f"it is one of `{' '.join(_ALGORITHMS)}`")
    return hmac.new(_octets(key), _octets(message), algorithm).hexdigest()


@ENCODING.add(
    "uuid() -> string",
    "A new UUID; kept in the run's journal, so that a replay sees the same.",
    "size(uuid())",
    36,
    impure=True,
)
def _uuid(frame: Frame) -> str:
    return frame.provider("uuid").uuid()
