"""How a connection says who asks: from its fields to what a request needs, with tokens that are fetched and kept.

The field `auth` says how: `bearer`, `basic`, `header`, `query`, `oauth2` (client credentials) or `none`; without it,
the other fields tell. `header.NAME` and `query.NAME` are sent as they are, beside that.

| auth | fields |
| --- | --- |
| bearer | token (or access_token) |
| basic | username, password |
| header | api_key (or apiKey, key); header_name, if absent that of the adapter (n8n, make), or `X-API-Key` |
| query | api_key (or apiKey, key); query_name, `api_key` if absent |
| oauth2 | token_url, client_id, client_secret; scope, audience; client_auth: `basic` (if absent) or `body` |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote_plus

from segue.access.connections import ADDRESS_FIELD, Connection, Connections
from segue.errors import RequestError, StepError
from segue.net.links import Link
from segue.net.messages import Auth, BasicAuth, BearerAuth, HeaderAuth, HttpRequest, HttpResponse

if TYPE_CHECKING:
    from segue.net.client import HttpClient

TOKEN_SECONDS: Final = 300.0
"""How long a token counts whose server does not say (RFC 6749, section 5.1: it should)."""
EARLY_SECONDS: Final = 30.0
"""A token is fetched anew this long before it ends."""
TIMEOUT_SECONDS: Final = 15.0
ANSWER_BYTES_MAX: Final = 256 * 1024
_KEY_FIELDS: Final = ("api_key", "apiKey", "key")
_TOKEN_FIELDS: Final = ("token", "access_token")
_HEADERS: Final = {"n8n": ("X-N8N-API-KEY", ""), "make": ("Authorization", "Token ")}
"""Of adapters that have a header of their own: its name, and what stands before the key."""
_KINDS: Final = ("bearer", "basic", "header", "query", "oauth2", "none")
_OAUTH_ERRORS: Final = frozenset((
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",
))  # fmt: skip
"""RFC 6749, section 5.2: other words of an answer are not repeated."""


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    value: str
    until: float


class ConnectionLinks:
    """Links of stored connections. Tokens are kept in memory, by connection and version, until they end."""

    def __init__(
        self, connections: Connections, client: Callable[[], HttpClient], now: Callable[[], float] = time.monotonic
    ) -> None:
        """`client` is asked for at each request: it checks where the request goes. `now` is in seconds."""
        self._connections = connections
        self._client = client
        self._now = now
        self._tokens: dict[tuple[str, int], _Token] = {}
        self._fetching: dict[tuple[str, int], asyncio.Lock] = {}

    async def link(self, workspace: str, name: str) -> Link:
        """A connection, ready to be used. Raises NotFoundError, RequestError, UnsealError, StepError: none shows a
        secret.
        """
        found, secrets = await self._connections.opened(workspace, name)
        return await self._link(found, secrets)

    async def renewed(self, linked: object) -> Link:
        """See `segue.engine.port.Links`."""
        assert isinstance(linked, Link)
        return linked if linked.renew is None else await linked.renew()

    async def _link(self, found: Connection, secrets: Mapping[str, str]) -> Link:
        fields = {**found.fields, **secrets}
        kind = _kind_of(found.name, fields)
        named = {
            part: {name.partition(".")[2]: value for name, value in fields.items() if name.startswith(f"{part}.")}
            for part in ("header", "query")
        }
        link = Link(
            name=found.name, base_url=fields.get(ADDRESS_FIELD, "").strip(), headers=named["header"],
            query=named["query"], values=tuple(secrets.values()),
            secret_headers=frozenset(f.partition(".")[2] for f in secrets if f.startswith("header.")),
        )  # fmt: skip
        if kind == "oauth2":
            return await self._with_token(link, found, fields)
        if kind == "query":
            key = _needed(found.name, kind, fields, *_KEY_FIELDS)
            return replace(link, query={**link.query, fields.get("query_name", "api_key"): key})
        return replace(link, auth=_auth(found, kind, fields))

    # ------------------------------------------------------------ OAuth 2.0 client credentials (RFC 6749, section 4.4)

    async def _with_token(self, link: Link, found: Connection, fields: Mapping[str, str]) -> Link:
        key = (found.id, found.version)
        lock = self._fetching.setdefault(key, asyncio.Lock())

        async def current(refused: str | None) -> Link:
            async with lock:  # many steps ask at once; one fetches
                token = self._tokens.get(key)
                if token is None or token.value == refused or token.until - EARLY_SECONDS <= self._now():
                    token = self._tokens[key] = await self._fetched(found, fields)

            async def renew() -> Link:
                return await current(token.value)

            return replace(link, auth=BearerAuth(token=token.value), values=(*link.values, token.value), renew=renew)

        for old in [one for one in self._tokens if one[0] == found.id and one != key]:
            del self._tokens[old]
            self._fetching.pop(old, None)
        return await current(None)

    async def _fetched(self, found: Connection, fields: Mapping[str, str]) -> _Token:
        client_id = _needed(found.name, "oauth2", fields, "client_id")
        client_secret = _needed(found.name, "oauth2", fields, "client_secret")
        form = {"grant_type": "client_credentials"}
        form |= {name: fields[name] for name in ("scope", "audience") if fields.get(name)}
        auth: Auth | None = BasicAuth(username=quote_plus(client_id), password=quote_plus(client_secret))
        if fields.get("client_auth") == "body":
            form, auth = {**form, "client_id": client_id, "client_secret": client_secret}, None
        asked = self._now()
        try:
            answer = await self._client().request(
                HttpRequest(
                    method="POST", url=_needed(found.name, "oauth2", fields, "token_url"), form=form, auth=auth,
                    headers={"accept": "application/json"}, follow_redirects=False, timeout_seconds=TIMEOUT_SECONDS,
                    max_body_bytes=ANSWER_BYTES_MAX,
                )
            )  # fmt: skip
        except StepError as error:
            message = f"the connection {found.name!r} got no token, since {error.message}"
            raise StepError(message, category=error.category, code=error.code) from None
        return _token_of(found.name, answer, asked)


def _token_of(name: str, answer: HttpResponse, asked: float) -> _Token:
    body = cast("dict[str, object]", answer.body) if isinstance(answer.body, dict) else {}
    token = body.get("access_token")
    if answer.status == HTTPStatus.OK and isinstance(token, str) and token:
        seconds = body.get("expires_in")
        lasts = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else TOKEN_SECONDS
        return _Token(token, asked + lasts)
    word = body.get("error")
    why = f" ({word})" if isinstance(word, str) and word in _OAUTH_ERRORS else ""
    what = "gave no token" if answer.status == HTTPStatus.OK else f"answered {answer.status}{why}"
    is_refused = answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    category = "auth" if is_refused or answer.status == HTTPStatus.OK else f"http.{answer.status}"
    advice = "check client_id, client_secret and scope" if is_refused else "check token_url, or try again later"
    raise StepError(f"the connection {name!r} got no token, since its token_url {what}; {advice}", category=category)


def _kind_of(name: str, fields: Mapping[str, str]) -> str:
    said = fields.get("auth", "").strip().lower()
    if said:
        if said not in _KINDS:
            raise RequestError(f"the connection {name!r}: auth is one of {', '.join(_KINDS)}, not {said[:50]!r}")
        return said
    if "client_secret" in fields and "token_url" in fields:
        return "oauth2"
    if any(one in fields for one in _TOKEN_FIELDS):
        return "bearer"
    if "username" in fields and "password" in fields:
        return "basic"
    return "header" if any(one in fields for one in _KEY_FIELDS) else "none"


def _auth(found: Connection, kind: str, fields: Mapping[str, str]) -> Auth | None:
    if kind == "bearer":
        return BearerAuth(token=_needed(found.name, kind, fields, *_TOKEN_FIELDS))
    if kind == "basic":
        user, password = (_needed(found.name, kind, fields, one) for one in ("username", "password"))
        return BasicAuth(username=user, password=password)
    if kind == "header":
        key = _needed(found.name, kind, fields, *_KEY_FIELDS)
        if named := fields.get("header_name"):
            return HeaderAuth(name=named, value=key)
        header, before = _HEADERS.get(found.adapter, ("X-API-Key", ""))
        return HeaderAuth(name=header, value=before + key)
    return None


def _needed(name: str, kind: str, fields: Mapping[str, str], *known: str) -> str:
    found = next((fields[one] for one in known if fields.get(one)), None)
    if found is None:
        raise RequestError(f"the connection {name!r} lacks the field {known[0]!r}, which auth {kind} needs")
    return found
