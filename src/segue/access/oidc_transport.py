"""The host's guarded HTTP client under the library that speaks OAuth: it opens no connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httpx2

from segue.net.messages import HttpRequest

if TYPE_CHECKING:
    from segue.net.client import HttpClient

_SENT: Final = ("accept", "authorization", "content-type")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends each request once, follows nothing, and reads no more and no longer than it is told."""

    def __init__(self, client: Callable[[], HttpClient], *, timeout_seconds: float, answer_bytes_max: int) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._answer_bytes_max = answer_bytes_max

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises HttpFailure, whose message holds nothing of the request's body."""
        answer = await self._client().request(
            HttpRequest(
                method=request.method, url=str(request.url), body=await request.aread() or None,
                headers={name: request.headers[name] for name in _SENT if name in request.headers},
                idempotent=False, follow_redirects=False, timeout_seconds=self._timeout_seconds,
                max_body_bytes=self._answer_bytes_max,
            )
        )  # fmt: skip
        kind = answer.header("content-type")
        return httpx2.Response(
            answer.status, headers={} if kind is None else {"content-type": kind}, content=answer.content,
            request=request,
        )  # fmt: skip
