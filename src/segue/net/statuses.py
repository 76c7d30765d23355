"""What an answer's status means for a step: from 400 on a failure, with what the server says about trying again.

Apart from the client, so that a step kind can be known without loading an HTTP library.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec

from segue.net.errors import HttpFailure
from segue.net.messages import HttpResponse
from segue.observe.masking import DEFAULT_MASKER, Masker

EXCERPT_LENGTH_MAX: Final = 500
_EXCERPT_SOURCE_BYTES_MAX: Final = 64 * 1024
# A server that asks for more means "not today"; a wait is bounded by the retry policy besides.
RETRY_AFTER_SECONDS_MAX: Final = 7 * 24 * 3600.0


def raise_for_status(response: HttpResponse, *, now: datetime, masker: Masker = DEFAULT_MASKER) -> None:
    """Raise HttpFailure if the status is 400 or more: `rate_limit` for 429, else `http.<status>`.

    `now` (aware) serves to read a Retry-After that is a date. The message quotes the start of the body, masked.
    """
    if response.status < 400:
        return
    status = response.status
    excerpt = body_excerpt(response, masker)
    call = f"{response.method} {masker.mask_url(response.url)}"
    raise HttpFailure(
        f"{call} answered {status}{_phrase(status)}" + (f": {excerpt}" if excerpt else ""),
        category="rate_limit" if status == 429 else f"http.{status}",
        code=f"http_{status}",
        sent=True,
        status=status,
        retry_after_seconds=parse_retry_after(response.header("retry-after"), now=now),
        details={"body": excerpt} if excerpt else None,
    )


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def body_excerpt(response: HttpResponse, masker: Masker = DEFAULT_MASKER) -> str:
    """The start of a body for a person to read: secrets hidden first, cut afterwards, so that no half secret is
    shown.
    """
    body = response.body
    if body is None:
        return ""
    if isinstance(body, dict) and body.get("encoding") == "base64" and "size_bytes" in body:
        text = f"{body['size_bytes']} bytes of {body.get('content_type')}"
    elif response.size_bytes <= _EXCERPT_SOURCE_BYTES_MAX and not isinstance(body, str):
        text = msgspec.json.encode(masker.mask_json(body)).decode()
    else:
        # Masking 10 MiB to show 500 characters would hold the event loop for a second.
        text = masker.mask_text(response.content[:_EXCERPT_SOURCE_BYTES_MAX].decode(errors="replace"))
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT_LENGTH_MAX else text[:EXCERPT_LENGTH_MAX] + "…"


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, section 10.2.3): delta seconds or a date. None if there is
    none or it cannot be read; 0 for a date in the past; at most a week.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - seldom a date, and slow to load

    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # HTTP dates are GMT; the old asctime form (RFC 9110, section 5.6.7) does not say so.
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)
