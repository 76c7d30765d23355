"""The `http` step: one request, its answer `{status, headers, body}`; a status of 400 or more fails the attempt.

Parameters (all in value notation): method, url, headers, query, one of json / body / form, auth, timeout,
connect_timeout, follow_redirects, max_body_bytes, success (statuses that do not fail, such as [404]). GET, HEAD,
OPTIONS, PUT and DELETE may be repeated; POST and PATCH are repeated under the same `Idempotency-Key`, which is sent
(`semantics`, Paths).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from segue.engine.port import Action, AttemptContext, Effect
from segue.errors import TerminalError
from segue.net.messages import Auth, BasicAuth, BearerAuth, HeaderAuth, HttpRequest, HttpResponse
from segue.net.statuses import raise_for_status
from segue.observe.masking import DEFAULT_MASKER

if TYPE_CHECKING:
    from segue.net.client import HttpClient

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_KNOWN: Final = frozenset(
    {
        "method", "url", "headers", "query", "json", "body", "form", "auth", "timeout", "connect_timeout",
        "follow_redirects", "max_body_bytes", "success",
    }
)  # fmt: skip

PARAMS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["url"],
    "additionalProperties": False,
    "properties": {
        "method": {"type": "string", "description": "GET if absent"},
        "url": {"type": "string", "description": "with http:// or https://"},
        "headers": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "array"]}},
        "query": {"type": "object", "description": "added to the address"},
        "json": {"description": "sent as application/json"},
        "body": {"description": "text sent as it is; a map or a list is sent as JSON"},
        "form": {"type": "object", "description": "sent as application/x-www-form-urlencoded"},
        "auth": {
            "type": "object",
            "description": "{type: basic, username, password}, {type: bearer, token} or {type: header, name, value}",
        },
        "timeout": {"type": "string", "description": "for the whole answer; 30s if absent"},
        "connect_timeout": {"type": "string", "description": "5s if absent"},
        "follow_redirects": {"type": "boolean"},
        "max_body_bytes": {"type": "integer", "minimum": 1},
        "success": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "statuses above 399 that do not fail",
        },
    },
}


def http_action(client: Callable[[], HttpClient], seconds_of: Callable[[object], float]) -> Action:
    """The action over a client, asked for at each request. `seconds_of` reads a duration as flows write it."""

    async def run(params: dict[str, Any], context: AttemptContext) -> dict[str, Any]:
        request = request_of(params, context, seconds_of)
        shown = DEFAULT_MASKER.mask_url(request.url)
        try:
            response = await client().request(request)
        except Exception as error:
            context.log("warning", f"{request.method} {shown}: {getattr(error, 'message', error)}")
            raise
        milliseconds = round(response.duration_seconds * 1000)
        bad = response.status >= 400 and response.status not in (params.get("success") or ())
        context.log(
            "warning" if bad else "info", f"HTTP {response.status}", method=request.method, url=shown,
            durationMs=milliseconds, bytes=response.size_bytes,
        )  # fmt: skip
        if bad:
            raise_for_status(response, now=datetime.now(UTC))
        return output_of(response)

    return Action(
        name="http",
        run=run,
        effect=effect_of,
        description="Send an HTTP request and give its answer.",
        params_schema=PARAMS_SCHEMA,
        result_schema={
            "type": "object",
            "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": {}},
        },
    )


def effect_of(params: Mapping[str, Any]) -> Effect:
    """By the method (RFC 9110, section 9.2.2, and our key)."""
    return "safe" if str(params.get("method") or "GET").upper() in SAFE_METHODS else "keyed"


def output_of(response: HttpResponse) -> dict[str, Any]:
    """What the step gives; `set-cookie` stays a list."""
    return {"status": response.status, "headers": dict(response.headers), "body": response.body}


def request_of(
    params: Mapping[str, Any], context: AttemptContext, seconds_of: Callable[[object], float]
) -> HttpRequest:
    """The request that parameters describe. Raises TerminalError (validation) that names the wrong one."""
    unknown = sorted(set(params) - _KNOWN)
    if unknown:
        raise _invalid(f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    url = params.get("url")
    if not isinstance(url, str) or not url.strip():
        raise _invalid(f"url: an address with http:// or https:// is needed, not {url!r}")
    body = params.get("body")
    json: Any = params.get("json", UNSET)
    if body is not None and not isinstance(body, str):
        json, body = body, None
    return HttpRequest(
        method=str(params.get("method") or "GET").upper(),
        url=url.strip(),
        headers=_headers(params.get("headers")),
        params=_map(params.get("query"), "query"),
        json=json,
        body=body,
        form=None if params.get("form") is None else _map(params.get("form"), "form"),
        auth=_auth(params.get("auth")),
        idempotency_key=context.idempotency_key,
        follow_redirects=params.get("follow_redirects") is not False,
        timeout_seconds=_duration(params, "timeout", seconds_of),
        connect_timeout_seconds=_duration(params, "connect_timeout", seconds_of),
        max_body_bytes=params.get("max_body_bytes"),
    )


def _duration(params: Mapping[str, Any], name: str, seconds_of: Callable[[object], float]) -> float | None:
    value = params.get(name)
    if value is None:
        return None
    try:
        return seconds_of(value)
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from error


def _headers(value: object) -> dict[str, Any]:
    found = _map(value, "headers")
    return {name: _header(one) for name, one in found.items() if one is not None}


def _header(value: object) -> Any:
    if isinstance(value, list):
        return [str(one) for one in cast("list[object]", value)]
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _map(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{name}: a map is needed, not {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _auth(value: object) -> Auth | None:
    if value is None:
        return None
    given = _map(value, "auth")
    kind = given.get("type")
    try:
        if kind == "basic":
            return BasicAuth(username=str(given["username"]), password=str(given["password"]))
        if kind == "bearer":
            return BearerAuth(token=str(given["token"]))
        if kind == "header":
            return HeaderAuth(name=str(given["name"]), value=str(given["value"]))
    except KeyError as error:
        raise _invalid(f"auth: {kind} needs {error.args[0]!r}") from error
    raise _invalid(f"auth: type must be basic, bearer or header, not {kind!r}")


def _invalid(message: str) -> TerminalError:
    return TerminalError(f"http: {message}", category="validation", code="invalid_params")
