"""An answer's body as a value, by its content type.

| content type | value |
| --- | --- |
| nothing came | null |
| `application/json`, `…+json` | the JSON value |
| `text/*`, XML, JavaScript, YAML, GraphQL, JSON lines, or no type and valid UTF-8 | text |
| `application/x-www-form-urlencoded` | a map; a repeated name gives a list |
| anything else | `{"encoding": "base64", "content_type": …, "size_bytes": …, "data": …}` |

What is not what its type says is never dropped: malformed JSON is given as text and undecodable text as base64, with
the reason beside it, because the body of a failing server is often the only explanation there is.
"""

from __future__ import annotations

import base64
import codecs
import re
from email.message import Message
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from segue.net.messages import JsonValue

# A form with more fields than this is not a form; parse_qsl stops there.
FORM_FIELDS_MAX: Final = 10_000
_TEXT: Final = re.compile(
    r"text/.*|application/(?:xml|javascript|ecmascript|yaml|x-yaml|graphql|x-ndjson|jsonl|toml|sql)|.*\+(?:xml|yaml)"
)
_JSON: Final = re.compile(r"application/json|text/json|.*\+json")
# Python also knows codecs such as punycode, whose time grows with the square of the input; a server does not choose
# those.
_CHARSET: Final = re.compile(
    r"utf-?(?:8|8-sig|16|16-[lb]e|32|32-[lb]e)|us-ascii|ascii|iso-?8859-\d+|latin-?1|windows-\d+|cp\d+|koi8-[rut]"
    r"|shift_jis|euc_(?:jp|kr)|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5|iso-2022-jp"
)


def parse_body(content: bytes, content_type: str | None) -> tuple[JsonValue, str | None]:
    """The value of a body, and why it is not what its content type says (None if it is)."""
    if not content:
        return None, None
    media_type, charset = _media_type(content_type)
    if _JSON.fullmatch(media_type):
        return _json(content, charset, media_type)
    if media_type == "application/x-www-form-urlencoded":
        return _form(content, charset, media_type)
    if _TEXT.fullmatch(media_type):
        return _text(content, charset, media_type)
    if not media_type:
        text, problem = _text(content, None, "")
        return text, None if problem is None or isinstance(text, dict) else problem
    return _base64(content, media_type), None


@lru_cache(maxsize=256)  # servers use a few; reading one costs as much as a small body
def _media_type(content_type: str | None) -> tuple[str, str | None]:
    if not content_type:
        return "", None
    message = Message()
    message["content-type"] = content_type
    charset = message.get_param("charset")
    plain = content_type.partition(";")[0].strip().lower()
    return plain, charset.strip().lower() if isinstance(charset, str) else None


def _decode(content: bytes, charset: str | None) -> str:
    """Raises ValueError (also as UnicodeDecodeError) if it is not text in that charset."""
    if charset is None or charset in {"utf-8", "utf8"}:
        return content.decode("utf-8-sig")
    if not _CHARSET.fullmatch(charset):
        raise ValueError(f"unknown charset {charset[:40]!r}")
    return codecs.decode(content, charset)


def _json(content: bytes, charset: str | None, media_type: str) -> tuple[JsonValue, str | None]:
    try:
        # RFC 8259 knows UTF-8 only; some servers still say otherwise and mean it.
        source = content if charset in {None, "utf-8", "utf8"} else _decode(content, charset)
        if isinstance(source, bytes):
            source = source.removeprefix(codecs.BOM_UTF8)
        return msgspec.json.decode(source), None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        text, _ = _text(content, charset, media_type)
        return text, f"the body is not the JSON that its content type says: {error}"


def _form(content: bytes, charset: str | None, media_type: str) -> tuple[JsonValue, str | None]:
    try:
        pairs = parse_qsl(_decode(content, charset), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        return _base64(content, media_type), f"the body is not the form that its content type says: {error}"
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}, None


def _text(content: bytes, charset: str | None, media_type: str) -> tuple[JsonValue, str | None]:
    try:
        return _decode(content, charset), None
    except ValueError as error:
        return _base64(content, media_type), f"the body is not text in the charset that it says: {error}"


def _base64(content: bytes, media_type: str) -> dict[str, JsonValue]:
    return {
        "encoding": "base64",
        "content_type": media_type or "application/octet-stream",
        "size_bytes": len(content),
        "data": base64.b64encode(content).decode(),
    }
