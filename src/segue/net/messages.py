"""A call and its answer, as values: what goes into the client and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Scalar: TypeAlias = bool | int | float | str | None
ParameterValue: TypeAlias = Scalar | Sequence[Scalar]
"""One value, or one parameter of the same name for each of several. `null` leaves the parameter out; true is
`true`."""
HeaderValue: TypeAlias = str | Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicAuth:
    """User name and password in `Authorization: Basic` (RFC 7617, UTF-8). The name must not contain a colon."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class BearerAuth:
    """A token in `Authorization: Bearer` (RFC 6750)."""

    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderAuth:
    """A key in a header of its own, such as `X-API-Key`. The header is a secret header: it does not cross origins."""

    name: str
    value: str = field(repr=False)


Auth: TypeAlias = BasicAuth | BearerAuth | HeaderAuth


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a `multipart/form-data` body (RFC 7578): a field, or a file if `filename` is given."""

    name: str
    data: bytes | str = field(repr=False)
    filename: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class HttpRequest:
    """One call. At most one of `json`, `body`, `form` and `multipart`; the client's limits hold where none are given.

    `method` and `url` are as in RFC 9110; user information in the URL becomes Basic auth. `json: None` sends `null`;
    UNSET sends no body. Printing a request shows neither headers, query nor body, since they carry secrets.
    """

    method: str = "GET"
    url: str
    headers: Mapping[str, HeaderValue] = field(default_factory=dict[str, HeaderValue])
    params: Mapping[str, ParameterValue] = field(default_factory=dict[str, ParameterValue])
    """Added to the query of `url`."""
    json: JsonValue | UnsetType = UNSET
    body: bytes | str | None = None
    form: Mapping[str, ParameterValue] | None = None
    multipart: Sequence[Part] = ()
    auth: Auth | None = None
    secret_headers: frozenset[str] = frozenset()
    """Names of headers that a connection filled in; like Authorization and Cookie they do not cross origins."""
    idempotency_key: str | None = None
    """Sent as `Idempotency-Key`, unless `headers` has one."""
    idempotent: bool | None = None
    """Whether the client itself may send again when a kept connection turns out closed before any answer (RFC 9110,
    section 9.2.2). None: as the method says (GET HEAD OPTIONS PUT DELETE). Nothing else is ever sent twice by the
    client."""
    traceparent: str | None = None
    """W3C Trace Context, passed through."""
    follow_redirects: bool = True
    connect_timeout_seconds: float | None = None
    """For one TCP and TLS handshake."""
    timeout_seconds: float | None = None
    """For everything: waiting for a connection, DNS, redirects, the whole answer."""
    max_body_bytes: int | None = None
    """For the answer's body, after decompression."""

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        return f"HttpRequest({self.method} {parts.scheme}://{parts.hostname or ''}{parts.path})"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class HttpResponse:
    """The last answer of a call, whatever its status."""

    method: str
    """Of the last request: a redirect may have made it GET."""
    url: str
    """Where the answer came from, after redirects, without user information and fragment."""
    status: int
    headers: Mapping[str, str | list[str]]
    """Names in lower case. Repeated fields are joined by `, ` (RFC 9110, section 5.3) but for `set-cookie`, which is
    always a list."""
    body: JsonValue
    """By content type: JSON, text, a map for a form, null if empty; else `{encoding: base64, content_type,
    size_bytes, data}` (see `segue.net.bodies`)."""
    body_error: str | None = None
    """Why the body is not what its content type says (malformed JSON, wrong charset); `body` is then the next weaker
    form."""
    content: bytes
    """The body as it came, decompressed."""
    duration_seconds: float
    redirects: int = 0

    @property
    def size_bytes(self) -> int:
        """Size of the body after decompression."""
        return len(self.content)

    def header(self, name: str) -> str | None:
        """A header's value; for `set-cookie` the first."""
        value = self.headers.get(name.lower())
        return value[0] if isinstance(value, list) else value

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        origin = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        return f"HttpResponse({self.status} of {self.method} {origin}, {self.size_bytes} bytes)"
