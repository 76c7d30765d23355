"""The one outgoing HTTP client: every call that Segue makes for a flow goes through here.

It sends what it is told, once, and tells exactly what came of it. It keeps no cookies, obeys no proxy variables,
follows redirects itself so that each hop is judged by the egress policy, and holds no more of an answer than its
limits say. It does not retry and does not judge statuses: retries are journaled by the engine, statuses by
`raise_for_status`.
"""

from __future__ import annotations

import asyncio
import io
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from multidict import CIMultiDictProxy

from segue.errors import EngineError
from segue.net.bodies import parse_body
from segue.net.egress import EgressPolicy
from segue.net.errors import HttpFailure, invalid_request
from segue.net.failures import failure_of, timed_out
from segue.net.limits import HEADER_LENGTH_MAX, HttpLimits
from segue.net.messages import HttpRequest, HttpResponse
from segue.net.prepare import PreparedRequest, prepare
from segue.net.redirects import REDIRECTS, next_request
from segue.net.transport import CURRENT_EXCHANGE, Exchange, Resolver, SegueConnector, SystemResolver
from segue.observe.masking import DEFAULT_MASKER, Masker

USER_AGENT: Final = "segue"
# From this size on aiohttp wants a file object, so that one write does not hold the event loop.
_LARGE_BODY_BYTES: Final = 256 * 1024
# What is read of a redirect's own body to keep its connection; a longer one costs the connection.
_REDIRECT_BODY_BYTES: Final = 16 * 1024


class HttpClient:
    """Async HTTP client with egress rules and limits. One for each host process; belongs to one event loop.

    Safe to use from many tasks at once. The session is opened by the first call; `close` ends kept connections. Also
    an async context manager.
    """

    def __init__(
        self,
        *,
        policy: EgressPolicy,
        limits: HttpLimits | None = None,
        resolver: Resolver | None = None,
        masker: Masker = DEFAULT_MASKER,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`masker` hides secrets in failure messages. `ssl_context`: own certificate authorities. `clock` is for
        durations.
        """
        self.policy = policy
        self.limits = limits or HttpLimits()
        self._resolver = resolver or SystemResolver()
        self._owns_resolver = resolver is None
        self._masker = masker
        self._ssl_context = ssl_context
        self._clock = clock
        self._session: ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def request(self, request: HttpRequest) -> HttpResponse:
        """Make the call and return its last answer, whatever the status.

        Raises HttpFailure (categories timeout, connection, dns, tls, validation), of which EgressRefusedError is one;
        its `sent` says whether the other side may have seen the request. Cancelling closes the connection that was in
        use.
        """
        prepared = prepare(request, self.limits)
        total_seconds = _seconds(request.timeout_seconds, self.limits.total_timeout_seconds, "timeout")
        connect_seconds = _seconds(
            request.connect_timeout_seconds, self.limits.connect_timeout_seconds, "connect timeout"
        )
        call = _Call(
            session=self._open_session(),
            exchange=Exchange(),
            timeout=ClientTimeout(total=None, sock_connect=connect_seconds),
            body_limit=self._body_limit(request.max_body_bytes),
            follows=request.follow_redirects,
            started=self._clock(),
        )
        token = CURRENT_EXCHANGE.set(call.exchange)
        deadline = asyncio.timeout(total_seconds)
        try:
            async with deadline:
                return await self._follow(call, prepared)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise timed_out(call.exchange, self._name(prepared), total_seconds) from error
        finally:
            CURRENT_EXCHANGE.reset(token)

    async def close(self) -> None:
        """End all connections. Safe to repeat; calls made afterwards raise EngineError."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._owns_resolver and isinstance(self._resolver, SystemResolver):
            self._resolver.close()

    def _open_session(self) -> ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise EngineError("the HTTP client is closed; the host is shutting down")
        if self._session is None:
            connector = SegueConnector(
                policy=self.policy, resolver=self._resolver, limits=self.limits, ssl_context=self._ssl_context
            )
            # A kept cookie would carry one run's session into another's.
            self._session = ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": USER_AGENT},
                timeout=ClientTimeout(total=None),
                # Content-Security-Policy and the like outgrow aiohttp's 8 KiB.
                max_line_size=HEADER_LENGTH_MAX,
                max_field_size=HEADER_LENGTH_MAX,
            )
            self._loop = loop
        elif self._loop is not loop:
            raise EngineError("the HTTP client belongs to another event loop: make one for each loop")
        return self._session

    async def _follow(self, call: _Call, first: PreparedRequest) -> HttpResponse:
        current = first
        for redirects in range(self.limits.redirects_max + 1):
            response, content = await self._send(call, current)
            location = response.headers.get("Location") if call.follows else None
            following = next_request(current, response.status, location)
            if following is None:
                return self._response(current, response, content, redirects, self._clock() - call.started)
            current = following
        raise HttpFailure(
            f"{self._name(first)} was redirected more than {self.limits.redirects_max} times, last to "
            f"{self._masker.mask_url(str(current.url))}. Call the last address, or do not follow redirects.",
            category="validation",
            code="too_many_redirects",
            sent=True,
        )

    async def _send(self, call: _Call, request: PreparedRequest) -> tuple[ClientResponse, bytes]:
        """One request and its answer. Sent a second time only if a kept connection was found closed before any
        answer, and the request is idempotent: then the server is free to have seen it or not (RFC 9110, section
        9.2.2).
        """
        exchange = call.exchange
        exchange.begin(request.url.raw_host or "", request.url.scheme)
        try:
            return await self._exchange(call, request)
        except (ClientError, OSError) as error:
            if _is_deadline(error):
                raise
            if not (request.idempotent and _is_stale_connection(error, exchange)):
                raise failure_of(error, exchange, self._name(request)) from error
        exchange.begin(request.url.raw_host or "", request.url.scheme)
        try:
            return await self._exchange(call, request)
        except (ClientError, OSError) as error:
            if _is_deadline(error):
                raise
            raise failure_of(error, exchange, self._name(request)) from error

    async def _exchange(self, call: _Call, request: PreparedRequest) -> tuple[ClientResponse, bytes]:
        body = request.body
        async with call.session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY_BYTES else body,
            allow_redirects=False,
            timeout=call.timeout,
        ) as response:
            call.exchange.is_answered = True
            if call.follows and response.status in REDIRECTS and response.headers.get("Location"):
                return response, await _read_at_most(response, _REDIRECT_BODY_BYTES) or b""
            content = await _read_at_most(response, call.body_limit)
        if content is None:
            raise self._too_large(request, call.body_limit)
        return response, content

    def _response(
        self, request: PreparedRequest, response: ClientResponse, content: bytes, redirects: int, seconds: float
    ) -> HttpResponse:
        headers = join_headers(response.headers)
        content_type = headers.get("content-type")
        body, problem = parse_body(content, content_type if isinstance(content_type, str) else None)
        return HttpResponse(
            method=request.method,
            url=str(request.url),
            status=response.status,
            headers=headers,
            body=body,
            body_error=problem,
            content=content,
            duration_seconds=seconds,
            redirects=redirects,
        )

    def _body_limit(self, wanted: int | None) -> int:
        if wanted is None:
            return self.limits.response_bytes_max
        if not 0 < wanted <= self.limits.response_bytes_ceiling:
            ceiling = self.limits.response_bytes_ceiling
            raise invalid_request(
                f"the body limit must be between 1 and {ceiling} bytes, not {wanted}", code="bad_limit"
            )
        return wanted

    def _too_large(self, request: PreparedRequest, limit: int) -> HttpFailure:
        return HttpFailure(
            f"the answer to {self._name(request)} is larger than {limit} bytes. Ask for less, or raise the body limit.",
            category="validation",
            code="body_too_large",
            sent=True,
            details={"limit_bytes": limit},
        )

    def _name(self, request: PreparedRequest) -> str:
        return f"{request.method} {self._masker.mask_url(str(request.url))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """What stays the same over all requests (redirects) of one call."""

    session: ClientSession
    exchange: Exchange
    timeout: ClientTimeout
    body_limit: int
    follows: bool
    started: float


async def _read_at_most(response: ClientResponse, limit: int) -> bytes | None:
    """The decompressed body, or None as soon as it is longer than `limit`; what was not read is dropped with the
    connection.

    aiohttp decompresses piece by piece as we read, so a body that would unpack to gigabytes never is.
    """
    announced = response.content_length
    if announced is not None and announced > limit and response.method != "HEAD":
        response.close()
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def join_headers(headers: CIMultiDictProxy[str]) -> dict[str, str | list[str]]:
    """Headers by lower-case name, repeated ones joined by `, ` (RFC 9110, section 5.3). Cookies contain commas, so
    `set-cookie` is always a list (RFC 6265, section 3).
    """
    joined: dict[str, str | list[str]] = {}
    for name, value in headers.items():
        key = name.lower()
        earlier = joined.get(key)
        if key == "set-cookie":
            joined[key] = [*earlier, value] if isinstance(earlier, list) else [value]
        else:
            joined[key] = f"{earlier}, {value}" if isinstance(earlier, str) else value
    return joined


def _seconds(wanted: float | None, default: float, what: str) -> float:
    if wanted is None:
        return default
    if not (math.isfinite(wanted) and wanted > 0):
        raise invalid_request(f"the {what} must be a positive number of seconds, not {wanted}", code="bad_limit")
    return wanted


def _is_stale_connection(error: Exception, exchange: Exchange) -> bool:
    """A kept connection that broke before any answer: most likely the server closed it while it was idle."""
    is_broken = isinstance(error, ClientConnectionError) and not isinstance(error, ClientConnectorError)
    return is_broken and exchange.connects > 0 and not exchange.is_fresh and not exchange.is_answered


def _is_deadline(error: BaseException) -> bool:
    """The call's own total time: told by `request`, which knows how long it was."""
    return isinstance(error, TimeoutError) and not isinstance(error, ClientError)
