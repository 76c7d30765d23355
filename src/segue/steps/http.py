"""The `http` step: one request, its answer `{status, headers, body}`; a status of 400 or more fails the attempt.

Parameters (all in value notation): method, url, headers, query, one of json / body / form / multipart, auth,
follow_redirects, max_bytes, expect. The step's own `timeout` bounds the whole answer (30 s without). GET, HEAD,
OPTIONS, PUT and DELETE may be repeated; POST and PATCH are repeated under the same `Idempotency-Key`, which is sent
(`semantics`, Paths).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from segue.engine.port import Action, AttemptContext, CredentialsRefusedError, Effect
from segue.errors import TerminalError
from segue.net.errors import HttpFailure
from segue.net.links import Link
from segue.net.messages import Auth, BasicAuth, BearerAuth, HeaderAuth, HttpRequest, HttpResponse
from segue.net.statuses import raise_for_status
from segue.steps.bound import held
from segue.steps.http_parts import parts_of

if TYPE_CHECKING:
    from segue.net.client import HttpClient

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
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
        "multipart": {
            "type": "object",
            "description": "fields and files sent as multipart/form-data; a file is {value or base64, filename, "
            "content_type}",
        },
        "auth": {
            "type": "object",
            "description": "{bearer: token}, {basic: {username, password}} or {header: {name, value}}",
        },
        "connection": {
            "type": "string",
            "description": "a connection of the workspace: its address, which `url` may be below, and its credentials",
        },
        "follow_redirects": {"type": "boolean"},
        "max_bytes": {"type": "integer", "minimum": 1, "description": "of the answer's body; 10 MiB if absent"},
        "expect": {
            "type": ["integer", "string", "array"],
            "description": "statuses that count as good, such as [200, 404] or 2xx; below 400 if absent",
        },
    },
}
_KNOWN: Final = frozenset(PARAMS_SCHEMA["properties"])


def http_action(client: Callable[[], HttpClient]) -> Action:
    """The action over a client, which is asked for at each request."""

    async def run(params: dict[str, Any], context: AttemptContext) -> dict[str, Any]:
        request, link = request_of(params, context), context.connection
        if isinstance(link, Link):
            request = link.applied(request)
        request = held(request, params, context.bound)
        good = _expected(params.get("expect"))
        shown = context.masker.mask_url(request.url)
        response = await client().request(request)
        if response.status == 401 and isinstance(link, Link) and link.renew is not None and not context.renewed:
            raise CredentialsRefusedError
        is_good = response.status < 400 if good is None else any(fits(response.status) for fits in good)
        context.log(
            "info" if is_good else "warning", f"HTTP {response.status}", method=request.method, url=shown,
            durationMs=round(response.duration_seconds * 1000), bytes=response.size_bytes,
        )  # fmt: skip
        if response.body_error is not None:
            context.log("warning", f"the answer's body: {response.body_error}")
        if not is_good:
            raise_for_status(response, now=datetime.now(UTC), masker=context.masker)
            raise HttpFailure(
                f"{request.method} {shown} answered {response.status}, which `expect` does not name",
                category="validation", code="unexpected_status", sent=True, status=response.status,
            )  # fmt: skip
        return output_of(response)

    return Action(
        name="http",
        run=run,
        effect=effect_of,
        description="Send an HTTP request and give its answer.",
        params_schema=PARAMS_SCHEMA,
        takes_connection=True,
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


def request_of(params: Mapping[str, Any], context: AttemptContext) -> HttpRequest:
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
        multipart=parts_of(params.get("multipart"), _invalid),
        auth=_auth(params.get("auth")),
        idempotency_key=context.idempotency_key,
        idempotent=False if context.unsafe else None,
        follow_redirects=params.get("follow_redirects") is not False,
        timeout_seconds=context.timeout_seconds,
        max_body_bytes=_max_bytes(params.get("max_bytes")),
    )


def _expected(value: object) -> list[Callable[[int], bool]] | None:
    """What `expect` takes as good: numbers, or classes such as `2xx`."""
    if value is None:
        return None
    wanted = cast("list[object]", value) if isinstance(value, list) else [value]
    tests: list[Callable[[int], bool]] = []
    for one in wanted:
        text = str(one).lower()
        if text.isdigit() and len(text) == 3:
            tests.append(int(text).__eq__)
        elif len(text) == 3 and text[0].isdigit() and text.endswith("xx"):
            first = int(text[0])
            tests.append(lambda status, first=first: status // 100 == first)
        else:
            raise _invalid(f"expect: {one!r} is no status; write 200, 2xx or a list of such")
    return tests


def _headers(value: object) -> dict[str, Any]:
    found = _map(value, "headers")
    return {name: _header(name, one) for name, one in found.items() if one is not None}


def _header(name: str, value: object) -> Any:
    if isinstance(value, list):
        return [_text(name, one) for one in cast("list[object]", value)]
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, dict | list):
        kind = "dict" if isinstance(value, dict) else "list"
        raise _invalid(f"headers.{name}: a text is needed, not {kind}")
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _max_bytes(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise _invalid(f"max_bytes: a whole number is needed, not {value!r}")


def _map(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"{name}: a map is needed, not {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _auth(value: object) -> Auth | None:
    """`{bearer: …}`, `{basic: {username, password}}`, `{header: {name, value}}`, or the same with `type:` beside."""
    if value is None:
        return None
    given = _map(value, "auth")
    kind = given.get("type") or next(iter(given), None)
    inner: object = given if "type" in given else given.get(str(kind))
    try:
        if kind == "bearer":
            return BearerAuth(token=str(inner if isinstance(inner, str) else _map(inner, "auth.bearer")["token"]))
        if kind == "basic":
            parts = _present(_map(inner, "auth.basic"))
            return BasicAuth(username=str(parts["username"]), password=str(parts["password"]))
        if kind == "header":
            parts = _present(_map(inner, "auth.header"))
            return HeaderAuth(name=str(parts["name"]), value=str(parts["value"]))
    except KeyError as error:
        raise _invalid(f"auth: {kind} needs {error.args[0]!r}") from error
    raise _invalid(f"auth: bearer, basic or header is needed, not {kind!r}")


def _present(parts: dict[str, Any]) -> dict[str, Any]:
    """Without nulls: a secret that is not there must not be sent as the word None."""
    return {name: value for name, value in parts.items() if value is not None}


def _invalid(message: str) -> TerminalError:
    return TerminalError(f"http: {message}", category="validation", code="invalid_params")
