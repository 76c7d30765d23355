"""From a request as a flow writes it to one that is safe to put on the wire, or a `validation` failure that says why
not.

Header and field syntax is RFC 9110 (sections 5.1 and 5.5). What would change the framing of the message
(`Content-Length`, `Transfer-Encoding`, …) is the client's own and refused, since two opinions on where a message ends
are request smuggling.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET
from multidict import CIMultiDict
from yarl import URL

from segue.net.errors import HttpFailure, invalid_request
from segue.net.limits import HEADER_LENGTH_MAX, HEADERS_MAX, URL_LENGTH_MAX, HttpLimits
from segue.net.messages import Auth, BasicAuth, BearerAuth, HttpRequest, ParameterValue
from segue.net.multipart import encode_multipart

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_URL: Final = re.compile(r"[\x00-\x20\x7f]")
_FRAMING: Final = frozenset({
    "content-length", "transfer-encoding", "connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade",
    "expect",
})  # fmt: skip
# CONNECT makes a tunnel past every rule here; TRACE sends our credentials back in a body.
_METHODS_REFUSED: Final = frozenset({"CONNECT", "TRACE"})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class PreparedRequest:
    """A request that has been checked: nothing in it can break the message's framing."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None
    secret_headers: frozenset[str]
    """Lower-case names that must not follow a redirect to another origin."""
    idempotent: bool


def prepare(request: HttpRequest, limits: HttpLimits) -> PreparedRequest:
    """Check and encode `request`. Raises HttpFailure with category `validation` and nothing sent."""
    method = _method(request.method)
    url = _url(request)
    headers = _headers(request)
    auth = request.auth
    if url.user is not None or url.password is not None:
        if auth is not None or "Authorization" in headers:
            raise invalid_request("the URL has user information, and auth is given too: remove one", code="bad_url")
        auth = BasicAuth(username=url.user or "", password=url.password or "")
        url = url.with_user(None)
    secret = {name.lower() for name in request.secret_headers}
    if auth is not None:
        name, value = _auth_header(auth)
        if name in headers:
            raise invalid_request(
                f"the header {name} is given twice, by headers and by auth: remove one", code="bad_header"
            )
        headers[name] = value
        secret.add(name.lower())
    for name, value in (("Idempotency-Key", request.idempotency_key), ("traceparent", request.traceparent)):
        if value is not None and name not in headers:
            headers[name] = _checked_value(name, value)
    body = _body(request, headers)
    if body is not None and len(body) > limits.request_bytes_max:
        raise invalid_request(
            f"the request's body has {len(body)} bytes; at most {limits.request_bytes_max} are sent",
            code="request_too_large",
        )
    idempotent = method in _IDEMPOTENT if request.idempotent is None else request.idempotent
    return PreparedRequest(
        method=method, url=url, headers=headers, body=body, secret_headers=frozenset(secret), idempotent=idempotent
    )


def _method(text: str) -> str:
    method = text.upper()
    if not _TOKEN.fullmatch(method) or method in _METHODS_REFUSED:
        raise invalid_request(f"{text!r} cannot be used as HTTP method: use GET, POST, PUT, …", code="bad_method")
    return method


def _url(request: HttpRequest) -> URL:
    text = request.url.strip()
    if len(text) > URL_LENGTH_MAX:
        raise invalid_request(f"the URL has {len(text)} characters; at most {URL_LENGTH_MAX}", code="bad_url")
    if _NOT_IN_URL.search(text):
        raise invalid_request("the URL contains a blank, line break or control character: encode it", code="bad_url")
    try:
        url = URL(text)
        url = url.with_fragment(None) if url.raw_fragment else url
        host, port = url.raw_host, url.port
        pairs = list(_pairs(request.params))
        url = url.extend_query(pairs) if pairs else url
    except ValueError as error:
        raise invalid_request("the URL cannot be read: write it as https://host/path", code="bad_url") from error
    if url.scheme not in {"http", "https"} or not host:
        raise invalid_request("the URL must begin with https:// (or http://) and a host", code="bad_url")
    if not port:
        raise invalid_request("the URL's port must be between 1 and 65535", code="bad_url")
    return url


def _pairs(parameters: Mapping[str, ParameterValue]) -> Iterator[tuple[str, str]]:
    for name, value in parameters.items():
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        values = cast("Sequence[object]", value) if is_list else (value,)
        for item in values:
            if item is not None:
                yield name, _scalar_text(name, item)


def _scalar_text(name: str, value: object) -> str:
    if not isinstance(value, bool | int | float | str):  # values come from flows, whose types nobody checked
        kind = type(value).__name__
        raise invalid_request(
            f"the parameter {name!r} is a {kind}: use text, numbers, or a list of them", code="bad_params"
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # semantics of text in flows: an integral float prints without `.0`
    return str(value)


def _headers(request: HttpRequest) -> CIMultiDict[str]:
    if len(request.headers) > HEADERS_MAX:
        raise invalid_request(
            f"the request has {len(request.headers)} headers; at most {HEADERS_MAX}", code="bad_header"
        )
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name):
            raise invalid_request(f"{name!r} is not a header name", code="bad_header")
        if name.lower() in _FRAMING:
            raise invalid_request(f"the header {name} is written by the client itself: remove it", code="bad_header")
        for part in (value,) if isinstance(value, str) else value:
            headers.add(name, _checked_value(name, part))
    return headers


def _checked_value(name: str, value: str) -> str:
    if _NOT_IN_VALUE.search(value):
        # The value itself is not shown: it may be a secret that was pasted with its line break.
        raise invalid_request(
            f"the value of header {name} contains a line break or control character", code="bad_header"
        )
    if len(value) > HEADER_LENGTH_MAX:
        raise invalid_request(f"the value of header {name} is longer than {HEADER_LENGTH_MAX}", code="bad_header")
    return value.strip(" \t")


def _auth_header(auth: Auth) -> tuple[str, str]:
    match auth:
        case BasicAuth(username=username, password=password):
            if ":" in username:
                raise invalid_request(
                    "a user name for Basic auth must not contain a colon (RFC 7617)", code="bad_header"
                )
            return "Authorization", "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        case BearerAuth(token=token):
            return "Authorization", _checked_value("Authorization", f"Bearer {token}")
        case _:
            if not _TOKEN.fullmatch(auth.name) or auth.name.lower() in _FRAMING:
                raise invalid_request(f"{auth.name!r} cannot be used as header for a key", code="bad_header")
            return auth.name, _checked_value(auth.name, auth.value)


def _body(request: HttpRequest, headers: CIMultiDict[str]) -> bytes | None:
    given = [
        name
        for name, is_given in (
            ("json", request.json is not UNSET),
            ("body", request.body is not None),
            ("form", request.form is not None),
            ("multipart", bool(request.multipart)),
        )
        if is_given
    ]
    if len(given) > 1:
        raise invalid_request(f"a request has one body, not {' and '.join(given)}", code="bad_body")
    if request.json is not UNSET:
        headers.setdefault("Content-Type", "application/json")
        return _json_body(request.json)
    if request.form is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return urlencode(list(_pairs(request.form))).encode()
    if request.multipart:
        content_type, encoded = encode_multipart(request.multipart)
        headers["Content-Type"] = content_type  # only this one knows the boundary
        return encoded
    if isinstance(request.body, str):
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return request.body.encode()
    return request.body


def _json_body(value: object) -> bytes:
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid_request(f"the request's json cannot be encoded: {error}", code="bad_body") from error
    # msgspec writes NaN and infinities as null. Only when there is a null can that have happened, so only then we
    # look.
    if b"null" in encoded and _has_no_json_number(value):
        raise _not_a_json_number()
    return encoded


def _has_no_json_number(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_has_no_json_number(item) for item in cast("Mapping[object, object]", value).values())
    if isinstance(value, list | tuple):
        return any(_has_no_json_number(item) for item in cast("Sequence[object]", value))
    return False


def _not_a_json_number() -> HttpFailure:
    return invalid_request("the request's json contains NaN or an infinity, which JSON cannot say", code="bad_body")
