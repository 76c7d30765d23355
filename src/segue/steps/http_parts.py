"""The `multipart` parameter of the `http` step: a map of fields and files (RFC 7578).

A field is a text, number, boolean, null (left out) or a list of fields of the same name; with more to say it is a map
of `value` or `base64` (the bytes of a file), and optionally `filename` and `content_type`. The body of an answer that
was no text (`{encoding: base64, content_type, data}`) may be given as it came, so that what one step fetched the next
one can send.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Final, cast

from segue.net.messages import Part

_KEYS: Final = frozenset({"value", "base64", "filename", "content_type"})
_ANSWER_KEYS: Final = frozenset({"encoding", "content_type", "size_bytes", "data"})


def parts_of(value: object, refuse: Callable[[str], Exception]) -> tuple[Part, ...]:
    """The parts that a parameter describes. Raises what `refuse` makes of the sentence that names the wrong one."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise refuse(f"multipart: a map is needed, not {type(value).__name__}")
    return tuple(
        part
        for name, given in cast("dict[str, object]", value).items()
        for part in _parts(name, given, lambda sentence, name=name: refuse(f"multipart.{name}: {sentence}"))
    )


def _parts(name: str, given: object, refuse: Callable[[str], Exception]) -> Iterator[Part]:
    if isinstance(given, list):
        for one in cast("list[object]", given):
            yield from _parts(name, one, refuse)
    elif isinstance(given, dict):
        yield _described(name, cast("dict[str, object]", given), refuse)
    elif given is not None:
        yield Part(name=name, data=_text(given))


def _described(name: str, given: dict[str, object], refuse: Callable[[str], Exception]) -> Part:
    if given.get("encoding") == "base64" and set(given) <= _ANSWER_KEYS:
        given = {"base64": given.get("data"), "content_type": given.get("content_type")}
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise refuse(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    if (given.get("value") is None) == (given.get("base64") is None):
        raise refuse("one of value and base64 is needed")
    data: str | bytes
    if given.get("base64") is not None:
        data = _bytes(given["base64"], refuse)
    elif isinstance(given["value"], dict | list):
        raise refuse("value: a text is needed; write a map or a list as text with `toJson`")
    else:
        data = _text(given["value"])
    filename, content_type = given.get("filename"), given.get("content_type")
    return Part(
        name=name,
        data=data,
        filename=None if filename is None else _text(filename),
        content_type=None if content_type is None else _text(content_type),
    )


def _bytes(encoded: object, refuse: Callable[[str], Exception]) -> bytes:
    try:
        return base64.b64decode(str(encoded), validate=True)
    except binascii.Error as error:
        raise refuse("base64 cannot be decoded") from error


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
