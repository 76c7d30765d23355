"""JSON documents of other servers, such as an issuer's keys: had through the guarded client, whole or not at all."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from segue.errors import StepError
from segue.net.messages import HttpRequest

if TYPE_CHECKING:
    from segue.net.client import HttpClient

TIMEOUT_SECONDS: Final = 5.0
BYTES_MAX: Final = 512 * 1024


async def json_document(client: HttpClient, url: str) -> object:
    """The document at an address. Raises StepError, of which HttpFailure is one."""
    answer = await client.request(
        HttpRequest(
            url=url, headers={"Accept": "application/json"}, follow_redirects=False, timeout_seconds=TIMEOUT_SECONDS,
            max_body_bytes=BYTES_MAX,
        )
    )  # fmt: skip
    if answer.status != HTTPStatus.OK:
        raise StepError(f"{url} answered {answer.status}", category="http.4xx")
    return answer.body
