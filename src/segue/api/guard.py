"""What every request passes before a route sees it: request id, own host and origin, identity, body limit; and the
headers and the log line that every answer gets.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from segue.api.errors import (
    ClosingError,
    ForbiddenError,
    InvalidRequestError,
    TooLargeError,
    TooSlowError,
    details_of,
    problem_response,
)
from segue.api.gate import WORKSPACE_HEADER, Gate
from segue.errors import NotFoundError, SegueError
from segue.observe.logs import get_logger, log_context, new_request_id

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
BODY_SECONDS_MAX: Final = 60.0
RUN_PREFIXES: Final = ("run_", "eng_")
CALLBACK_PREFIX: Final = "/api/v1/orchestrator/callback/"
HOOK_PREFIX: Final = "/hooks/"
PROBES: Final = frozenset({"/health/live", "/health/ready"})
"""What a load balancer asks, by whatever name and without an identity."""
PUBLIC_PATHS: Final = frozenset({"/", "/login", "/setup", "/api/v1/login", "/api/v1/setup"})
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FORM_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Of the page on which a person answers a callback: no script at all."""
TRANSPORT_POLICY: Final = b"max-age=31536000"
"""For a year this name is asked by https only (RFC 6797); subdomains are not ours to speak for."""
DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_FIXED_HEADERS: Final = [
    (name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items() if name != "referrer-policy"
]
_OUR_HEADERS: Final = frozenset(
    (*(name.encode() for name in SECURITY_HEADERS), b"x-request-id", b"content-security-policy")
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_LIVE: Final = re.compile(r"/api/v1/(live(/events)?|runs/[^/]+/(events|socket))\Z")
"""Streams of Server-Sent Events and WebSockets."""
_PROGRAM_PATHS: Final = ("/api/", "/v1/", HOOK_PREFIX)

_log = get_logger("segue.api.access")


class Guard:
    """The outermost middleware. Puts `segue.request_id`, `segue.shown_path` and `segue.principal` into the scope."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Gate,
        closing: Callable[[], bool],
        body_bytes_max: int,
        hook_bytes: Callable[[str], int],
    ) -> None:
        """`hook_bytes`: how much is read at a webhook's path."""
        self._app = app
        self._hook_bytes = hook_bytes
        self._gate = gate
        self._closing = closing
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same checks as for a request, before the handshake is answered. A session's cookie goes with a handshake
        from any page, so with one an `Origin` is a must.
        """
        headers = Headers(scope=scope)
        scope["segue.request_id"] = request_id = new_request_id()
        scope["segue.shown_path"] = shown_path(scope["path"])
        with log_context(request_id=request_id):
            try:
                if is_public(scope["path"]):
                    raise NotFoundError("no WebSocket is served here")
                await self._check(scope, _with_token_of_protocol(headers))
                if scope["segue.principal"].is_browser and "origin" not in headers:
                    raise ForbiddenError("a WebSocket with a session must say by `Origin` that it is from our own page")
                await self._app(scope, receive, send)
            except SegueError as error:
                await refuse_socket(scope, receive, send, error)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else new_request_id()
        scope["segue.request_id"] = request_id
        scope["segue.shown_path"] = shown_path(scope["path"])
        answer = _Answer(send, request_id, scope, self._gate)
        with log_context(request_id=request_id):
            try:
                await self._check(scope, headers)
                limit = self._body_bytes_max
                if scope["path"].startswith(HOOK_PREFIX):
                    # Anyone may send to a webhook's address, so less is read there before it is known who it is.
                    limit = min(limit, self._hook_bytes(scope["path"]))
                await self._app(scope, await self._with_body(headers, receive, limit), answer)
            except asyncio.CancelledError:
                answer.status = answer.status or 499
                raise
            except Exception as error:  # noqa: BLE001 - the last net: every request gets an answer
                if _is_ours(error):
                    _log.exception("request failed inside", path=scope["segue.shown_path"])
                if answer.status is None:
                    response = problem_response(error, instance=scope["segue.shown_path"], request_id=request_id)
                    await response(scope, receive, answer)
            finally:
                level = "debug" if scope["path"].startswith("/health/") else "info"
                getattr(_log, level)(
                    "request", method=scope["method"], path=scope["segue.shown_path"], status=answer.status,
                    duration_ms=round((time.perf_counter() - begun) * 1000, 1), bytes=answer.bytes_sent,
                )  # fmt: skip

    async def _check(self, scope: Scope, headers: Headers) -> None:
        path, method = scope["path"], scope.get("method", "GET")
        if path in PROBES:
            return
        access = self._gate.access
        hosts = headers.getlist("host")
        # Two names are none (RFC 9112, section 3.2): a proxy may have looked at the other one.
        access.check_host(hosts[0] if len(hosts) == 1 else ", ".join(hosts), scope.get("server"))
        access.check_transport(headers, scope.get("client"))
        access.check_origin(headers)
        address = scope["segue.address"] = access.address_of(headers, scope.get("client"))
        if is_public(path):
            self._gate.admit_anyone(address)
        else:
            headers = _with_workspace_of_query(scope, headers)
            scope["segue.headers"] = headers
            principal = await self._gate.identify(headers, cookies_of(headers), address)
            if principal.is_browser:
                access.check_same_origin(method, headers)
            scope["segue.principal"] = principal
        if self._closing() and path.startswith(_PROGRAM_PATHS):
            raise ClosingError("the server is being stopped; what it has accepted is kept. Ask again in a moment")

    async def _with_body(self, headers: Headers, receive: Receive, limit: int) -> Receive:
        """The whole body, counted as it comes, before any route runs: a half-read request changes nothing."""
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            return receive
        if length is not None and length.isascii() and length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                last = await _read(receive, limit)
        except TimeoutError:
            raise TooSlowError(f"the body did not come within {BODY_SECONDS_MAX:g} s") from None
        pending = [last]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        return replay


async def _read(receive: Receive, limit: int) -> Message:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return {"type": "http.request", "body": b"".join(chunks), "more_body": False}


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit:,} bytes")


class _Answer:
    """`send`, with the headers that every answer gets; remembers status and size for the log."""

    def __init__(self, send: Send, request_id: str, scope: Scope, gate: Gate) -> None:
        self._send = send
        self._scope = scope
        self._gate = gate
        self._request_id = request_id
        self.status: int | None = None
        self.bytes_sent = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
        await self._send(message)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The answer's own headers and ours. Made as a plain list: every answer of the server comes through here."""
        kept = [one for one in given if one[0] not in _OUR_HEADERS]
        kind = next((value for name, value in kept if name == b"content-type"), b"")
        policy, referrer = DATA_POLICY, SECURITY_HEADERS["referrer-policy"]
        if kind.startswith(b"text/html"):
            is_form = self._scope["path"].startswith(CALLBACK_PREFIX)
            policy = FORM_POLICY if is_form else PAGE_POLICY
            # With `no-referrer` a browser would send the form with `Origin: null`.
            referrer = "same-origin" if is_form else referrer
        kept += [
            (b"x-request-id", self._request_id.encode()), *_FIXED_HEADERS,
            (b"referrer-policy", referrer.encode()), (b"content-security-policy", policy.encode()),
        ]  # fmt: skip
        if all(name != b"cache-control" for name, _ in kept):
            kept.append((b"cache-control", b"no-store"))
        if self._gate.access.has_tls:
            kept.append((b"strict-transport-security", TRANSPORT_POLICY))
        address = self._scope.get("segue.address")
        if address is not None and all(name != b"ratelimit" for name, _ in kept):
            fields = self._gate.rate_fields(self._scope.get("segue.principal"), address)
            kept += [(name.encode(), value.encode()) for name, value in fields.items()]
        return kept


async def refuse_socket(scope: Scope, receive: Receive, send: Send, error: SegueError) -> None:
    """Answer a handshake with a problem document where the server can (ASGI's `websocket.http.response`)."""
    response = problem_response(error, instance=scope["segue.shown_path"], request_id=scope["segue.request_id"])
    await WebSocket(scope, receive, send).send_denial_response(response)


def _with_token_of_protocol(headers: Headers) -> Headers:
    """Browsers' WebSocket can set no header but `Sec-WebSocket-Protocol`: a token may come as `bearer.TOKEN` there."""
    if "authorization" in headers:
        return headers
    offered = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
    token = next((one.removeprefix("bearer.") for one in offered if one.startswith("bearer.")), None)
    return headers if token is None else Headers({**headers, "authorization": f"Bearer {token}"})


def _with_workspace_of_query(scope: Scope, headers: Headers) -> Headers:
    """Browsers' EventSource and WebSocket can set no header, so that for a live stream `workspace` may stand in the
    query. It counts like the header: only among the workspaces of who asks. Raises InvalidRequestError for two.
    """
    if not scope["query_string"] or not _LIVE.match(scope["path"]):
        return headers
    named = QueryParams(scope["query_string"]).getlist("workspace")
    if not named:
        return headers
    if len({*named, headers.get(WORKSPACE_HEADER, named[0])}) > 1:
        message = "the request names two workspaces"
        raise InvalidRequestError(message, [("workspace", message)])
    return Headers({**headers, WORKSPACE_HEADER: named[0]})


def is_public(path: str) -> bool:
    """Whether a path is answered without an identity. A callback's token is its own proof; the page at `/` looks at
    the session itself; who signs in has no identity yet.
    """
    if path.startswith(CALLBACK_PREFIX):
        return not path.removeprefix(CALLBACK_PREFIX).startswith(RUN_PREFIXES)
    return path in PUBLIC_PATHS | PROBES or path.startswith(("/assets/", "/api/v1/oidc/", HOOK_PREFIX))


def shown_path(path: str) -> str:
    """The path for logs and problems: a callback's token opens a door, so it is not written down."""
    if path.startswith(CALLBACK_PREFIX) and is_public(path):
        return CALLBACK_PREFIX + "***"
    if path.startswith(HOOK_PREFIX):
        return "/".join([*path[:500].split("/")[:4], "***"])
    return path[:500]


def cookies_of(headers: Headers) -> dict[str, str]:
    """The request's cookies; none if the header cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _is_ours(error: Exception) -> bool:
    """Whether an error is no answer to the caller's mistake but one of our own."""
    details, _ = details_of(error, instance="", request_id="")
    return details.status == HTTPStatus.INTERNAL_SERVER_ERROR
