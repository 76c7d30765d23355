"""HTTP/1.1 as uvicorn reads it, with bounds on what comes before a request is one.

The guard counts and times bodies; a request's head never reaches it. Without these bounds a sender could fill the
memory with header lines, or hold connections by sending a head a byte a minute. What cannot be read as HTTP is told as
a problem document, like every other error. The rest of a body that was refused is let in for a while and forgotten: a
connection that is closed with input unread loses the answer on its way (RFC 9112, section 9.6).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from segue.api.errors import PROBLEM_TYPE, RETRY_AFTER_SECONDS, TYPE_PREFIX, ProblemDetails
from segue.observe.logs import get_logger, new_request_id

HEAD_BYTES_MAX: Final = 64 * 1024
"""Of the request line and all header lines. What a browser sends has some hundreds of bytes, other servers take 8 to
64 KiB.
"""
REST_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a body that is answered already; then the connection is closed."""
HEAD_SECONDS_MAX: Final = 20.0
LINGER_SECONDS: Final = 2.0
CONNECTIONS_MAX: Final = 4_000
"""Twice the streams that are kept open (`live.STREAMS_MAX`); above that, those that are open are served first."""

_log = get_logger("segue.api.access")


class Http1(HttpToolsProtocol):
    """One connection."""

    _waiting_bytes = 0
    _alarm: asyncio.TimerHandle | None = None
    _is_message_over = True
    _is_refused = False
    _is_handed_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """See `asyncio.Protocol`. One connection too many is told so."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(503, "busy", f"{CONNECTIONS_MAX:,} connections are open; come back in a moment")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.transport.is_closing():
            return
        if self._is_refused:
            self._waiting_bytes += len(data)
            if self._waiting_bytes > REST_BYTES_MAX:
                self.transport.close()
            return
        if self._is_waiting:
            self._waiting_bytes += len(data)
        super().data_received(data)
        if self._is_refused or self._is_handed_over:
            return
        if not self._is_waiting:
            self._forget()
        elif not self._is_message_over and self._waiting_bytes > REST_BYTES_MAX:
            self.transport.close()
        elif self._is_message_over and self._waiting_bytes > HEAD_BYTES_MAX:
            self._refuse(431, "head-too-large", f"the request's head has more than {HEAD_BYTES_MAX:,} bytes")
        else:
            self._watch()

    def handle_websocket_upgrade(self) -> None:
        """See httptools: the connection is another protocol's now, and no alarm of this one may reach it."""
        super().handle_websocket_upgrade()
        self._forget()
        self._is_handed_over = True

    def on_headers_complete(self) -> None:
        """See httptools: now it is a request, with a body to come."""
        self._is_message_over = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools: the body has come."""
        self._is_message_over = True
        self._waiting_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(400, "bad-request", "this cannot be read as an HTTP request")

    @property
    def _is_waiting(self) -> bool:
        """Whether no request is being answered: what comes is a head, or the rest of what is answered already."""
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _watch(self) -> None:
        if self._alarm is None and not self.transport.is_closing():
            self._alarm = self.loop.call_later(HEAD_SECONDS_MAX, self._give_up)

    def _forget(self) -> None:
        self._waiting_bytes = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _give_up(self) -> None:
        self._alarm = None
        if self._is_refused:
            self.transport.close()
        if not self._is_waiting or self.transport.is_closing():
            return
        if self._is_message_over:
            self._refuse(408, "too-slow", f"no request came within {HEAD_SECONDS_MAX:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, slug: str, detail: str) -> None:
        """Answer with a problem document, and close once the sender has, or in a moment."""
        request_id, title = new_request_id(), HTTPStatus(status).phrase
        body = msgspec.json.encode(
            ProblemDetails(
                type=TYPE_PREFIX + slug, title=title, status=status, detail=detail, instance="", request_id=request_id
            )
        )
        lines = [
            f"HTTP/1.1 {status} {title}", f"content-type: {PROBLEM_TYPE}", f"content-length: {len(body)}",
            f"x-request-id: {request_id}", "connection: close", "cache-control: no-store",
            *([f"retry-after: {RETRY_AFTER_SECONDS}"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]  # fmt: skip
        _log.info("request", request_id=request_id, status=status, detail=detail)
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._forget()
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._alarm = self.loop.call_later(LINGER_SECONDS, self._give_up)
