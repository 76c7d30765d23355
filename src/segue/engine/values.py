"""Values from outside (inputs, signals, results, messages) in the form in which the journal gives them back."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from segue.errors import RequestError
from segue.expr.sealed import MARK, as_json, revived, sealed_in
from segue.flow.model import JsonValue
from segue.observe.masking import DEPTH_MAX, MASK, Masker

MAX_DEPTH: Final = DEPTH_MAX
"""Lists and maps within each other. Masking looks no deeper, and no recursion over a value can run out of stack."""
MAX_TEXT_LENGTH: Final = 8_000
"""Characters of an error's message or a log line."""

MAX_SEARCHED_LENGTH: Final = 1024 * 1024
"""Characters of such a text that are searched for secrets; what is behind them is not shown."""

_encode = msgspec.json.Encoder().encode
_encode_sealed = msgspec.json.Encoder(enc_hook=as_json).encode
_decode = msgspec.json.Decoder().decode


_MARK: Final = b'{"' + MARK.encode() + b'":'


class NotKeepableError(ValueError):
    """The value cannot be kept; `code` says why: not_json, too_deep, too_large."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def as_kept(value: object, *, max_bytes: int | None = None) -> JsonValue:
    """The value as JSON would give it back: a copy, which its giver cannot change. Raises NotKeepableError.

    NaN and infinities become null as with JSON.stringify (ECMA-262, section 25.5.2); bytes become base64.
    """
    if value is None or value is True or value is False:
        return value
    try:
        encoded = _encode(value)
        size = len(encoded)
        if max_bytes is not None and size > max_bytes:
            raise NotKeepableError("too_large", f"it has {size:,} bytes as JSON; at most {max_bytes:,} are kept")
        kept = _decode(encoded)
    except NotKeepableError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except TypeError as error:
        sealed = next(sealed_in(value), None)
        if sealed is None:
            raise NotKeepableError("not_json", f"it cannot be kept as JSON: {error}") from error
        return revived(_decode(_encode_sealed(value)), sealed.sealer)
    except (ValueError, OverflowError) as error:
        raise NotKeepableError("not_json", f"it cannot be kept as JSON: {error}") from error
    if _MARK in encoded:
        raise NotKeepableError("not_json", f"a map whose only key is {MARK!r} is what Segue writes for sealed values")
    # Most values have fewer brackets than levels are allowed.
    if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH and _is_deep(kept):
        raise _too_deep()
    return kept


def as_shown(value: object, masker: Masker) -> JsonValue:
    """The value as JSON and masked, or its text where it is none: for logs and details, which must not fail a step."""
    try:
        kept = as_kept(value)
    except NotKeepableError:
        return as_text(repr(value), masker)
    return cast("JsonValue", masker.mask_json(kept))


def as_text(text: str, masker: Masker) -> str:
    """A text that can be kept: masked, not endless, and without what UTF-8 cannot express.

    Masked before it is cut, since a part of a secret is none that would be found.
    """
    searched = masker.mask_text(text[:MAX_SEARCHED_LENGTH])
    if len(searched) <= MAX_TEXT_LENGTH < MAX_SEARCHED_LENGTH < len(text):
        return MASK  # so full of secrets that the cut before the search may have left a part of one
    text = searched
    if len(text) > MAX_TEXT_LENGTH:
        text = text[:MAX_TEXT_LENGTH] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_deep(value: JsonValue) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[JsonValue] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(cast("dict[str, JsonValue]", one).values())
            elif isinstance(one, list):
                inner.extend(cast("list[JsonValue]", one))
        if not inner:
            return False
        level = inner
    return True


def _too_deep() -> NotKeepableError:
    return NotKeepableError("too_deep", f"it has more than {MAX_DEPTH} lists and maps within each other")


def kept_or_refused(value: JsonValue, what: str) -> JsonValue:
    """What the journal will give back for a value from outside; a copy, which its giver cannot change. `what` names the
    value. Raises RequestError for one that is no JSON.
    """
    try:
        return as_kept(value)
    except NotKeepableError as error:
        raise RequestError(f"{what}: {error}") from error
