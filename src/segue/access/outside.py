"""Secrets of HashiCorp Vault and what speaks its API (OpenBao): the KV secrets engine, versions 2 and 1.

API: developer.hashicorp.com/vault/api-docs. KV 2, "Read secret version": `GET /v1/:mount/data/:path`, with
`X-Vault-Token`, answers `{"data": {"data": {…}, "metadata": {…}}}`; KV 1: `GET /v1/:mount/:path`, `{"data": {…}}`. 404
for what is not there or was deleted, 403 for what the token may not read, 503 while the store is sealed. Which version
a mount has is asked as Vault's own tools do (`GET /v1/sys/internal/ui/mounts/:path`), once version 2 has nothing there.

The server's account is its own, by the names that Vault's own tools read: `VAULT_ADDR`, `VAULT_NAMESPACE`, and a token
(`VAULT_TOKEN`, `VAULT_TOKEN_FILE`) or an AppRole (`VAULT_ROLE_ID` with `VAULT_SECRET_ID` or `VAULT_SECRET_ID_FILE`;
"Login with AppRole": `POST /v1/auth/approle/login`), whose token is renewed before it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from msgspec import UNSET

from segue.errors import NotFoundError, RequestError, StepError
from segue.net.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from segue.net.client import HttpClient

TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_SERVING: Final = frozenset((200, 429, 472, 473))
RENEW_AFTER: Final = 2 / 3
"""The part of a token's time after which it is renewed, as Vault Agent does."""
_HOW: Final = "write vault:MOUNT/PATH#FIELD, such as vault:secret/payments#api_key"


class VaultStore:
    """Reads fields of secrets. Safe to use from many tasks of one event loop."""

    def __init__(
        self,
        client: Callable[[], HttpClient],
        environment: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` is asked for at each request: it checks where the request goes. `now` is in seconds."""
        self._client = client
        self._environment = environment
        self._account = _Account(self._send, environment, now)
        self._first_versions: set[str] = set()
        """Mounts that are known to be KV version 1."""

    async def field(self, place: str) -> str:
        """The field at `MOUNT/PATH#FIELD`. Raises RequestError for another form, NotFoundError, StepError with the
        category of what went wrong on the way.
        """
        path, _, name = place.partition("#")
        mount, _, inner = path.strip("/").partition("/")
        if not mount or not inner or not name:
            raise RequestError(f"{place[:200]!r} names no field of a secret; {_HOW}")
        if any(part in ("", ".", "..") for part in inner.split("/")):
            raise RequestError(f"{place[:200]!r} is no path of a secret; {_HOW}")
        found = (await self._read(mount, inner)).get(name)
        shown = f"{mount}/{inner}"
        if found is None:
            raise NotFoundError(f"the secret at {shown} has no field {name[:100]!r}")
        if not isinstance(found, str):
            raise RequestError(f"the field {name[:100]!r} at {shown} is no text")
        return found

    async def answers(self) -> str:
        """Whether the store serves requests (`GET /v1/sys/health`: 200 active, 429, 472 and 473 standby, 503 sealed);
        a sentence. Raises StepError if it does not.
        """
        answer = await self._send("GET", "sys/health", None, None)
        if answer.status in _SERVING:
            return "it answers"
        why = "it is sealed" if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else f"it answers {answer.status}"
        raise StepError(f"the secret store does not serve: {why}", category="http.5xx")

    async def _read(self, mount: str, inner: str) -> Mapping[str, Any]:
        shown, depth = f"{mount}/{inner}", 1
        answer = None
        if mount not in self._first_versions:
            answer, depth = await self._get(f"{quote(mount, safe='')}/data/{quote(inner)}"), 2
            if answer.status == HTTPStatus.NOT_FOUND and await self._is_first_version(mount):
                self._first_versions.add(mount)
                answer, depth = None, 1
        answer = answer or await self._get(f"{quote(mount, safe='')}/{quote(inner)}")
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"the secret store has nothing at {shown}, or it was deleted there")
        _refuse_bad(answer, shown)
        return _fields(answer.body, depth)

    async def _is_first_version(self, mount: str) -> bool:
        answer = await self._get(f"sys/internal/ui/mounts/{quote(mount, safe='')}")
        if answer.status != HTTPStatus.OK:
            return False
        told = _fields(answer.body, 1)
        options = told.get("options")
        version = cast("dict[str, object]", options).get("version") if isinstance(options, dict) else None
        return told.get("type") in ("kv", "generic") and str(version) != "2"

    async def _get(self, path: str) -> HttpResponse:
        token = await self._account.token()
        answer = await self._send("GET", path, None, token)
        if answer.status == HTTPStatus.FORBIDDEN and self._account.forget(token):
            answer = await self._send("GET", path, None, await self._account.token())
        return answer

    async def _send(self, method: str, path: str, body: Mapping[str, str] | None, token: str | None) -> HttpResponse:
        address = self._environment.get("VAULT_ADDR", "").rstrip("/")
        if not address:
            raise RequestError("this server knows no secret store: set VAULT_ADDR and VAULT_TOKEN where it runs")
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if namespace := self._environment.get("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = namespace
        return await self._client().request(
            HttpRequest(
                method=method, url=f"{address}/v1/{path}", headers=headers, json=UNSET if body is None else body,
                secret_headers=frozenset(("X-Vault-Token",)), follow_redirects=False, timeout_seconds=TIMEOUT_SECONDS,
                max_body_bytes=ANSWER_BYTES_MAX,
            )
        )  # fmt: skip


_Send = Callable[[str, str, "Mapping[str, str] | None", "str | None"], Awaitable[HttpResponse]]


class _Account:
    """The server's token: its own, read where it stands each time, or an AppRole's, kept until it ends."""

    def __init__(self, send: _Send, environment: Mapping[str, str], now: Callable[[], float]) -> None:
        self._send = send
        self._environment = environment
        self._now = now
        self._token: str | None = None
        self._begun = self._ends = 0.0
        self._renewable = False
        self._asking = asyncio.Lock()

    def forget(self, token: str) -> bool:
        """Whether another token may be had in the place of one that was refused."""
        if self._token != token:
            return self._token is not None
        self._token = None
        return True

    async def token(self) -> str:
        """Raises RequestError if there is no account, StepError if the store does not let it in."""
        given = self._environment.get("VAULT_TOKEN") or self._of_file("VAULT_TOKEN_FILE")
        if given:
            return given
        role = self._environment.get("VAULT_ROLE_ID")
        if not role:
            raise RequestError(
                "this server has no account with its secret store: set VAULT_TOKEN, VAULT_TOKEN_FILE or VAULT_ROLE_ID"
            )
        async with self._asking:
            now = self._now()
            if self._token is not None and now >= self._begun + (self._ends - self._begun) * RENEW_AFTER:
                await self._renew(self._token)
            if self._token is None:
                secret = self._environment.get("VAULT_SECRET_ID") or self._of_file("VAULT_SECRET_ID_FILE") or ""
                login = {"role_id": role, "secret_id": secret}
                answer = await self._send("POST", "auth/approle/login", login, None)
                if answer.status == HTTPStatus.BAD_REQUEST:
                    message = "the secret store does not know VAULT_ROLE_ID with VAULT_SECRET_ID"
                    raise StepError(message, category="auth")
                _refuse_bad(answer, "auth/approle/login")
                self._keep(answer)
            if self._token is None:
                raise StepError("the secret store's answer to the AppRole's login has no token", category="auth")
            return self._token

    async def _renew(self, token: str) -> None:
        """Renew the token (`POST /v1/auth/token/renew-self`). What cannot be renewed is asked for anew."""
        self._token = None
        if self._renewable and self._now() < self._ends:
            answer = await self._send("POST", "auth/token/renew-self", {}, token)
            if answer.status == HTTPStatus.OK:
                self._keep(answer)

    def _keep(self, answer: HttpResponse) -> None:
        auth = cast("dict[str, object]", answer.body).get("auth") if isinstance(answer.body, dict) else None
        told = cast("dict[str, object]", auth) if isinstance(auth, dict) else {}
        token, seconds = told.get("client_token"), told.get("lease_duration")
        if isinstance(token, str) and token:
            self._token, self._renewable = token, told.get("renewable") is True
            self._begun = self._now()
            # A lease of 0 does not end.
            lasts = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else float("inf")
            self._ends = self._begun + lasts

    def _of_file(self, variable: str) -> str | None:
        file = self._environment.get(variable)
        if not file:
            return None
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise RequestError(f"the file of {variable}, {file}, cannot be read") from None


def _refuse_bad(answer: HttpResponse, shown: str) -> None:
    if answer.status == HTTPStatus.OK:
        return
    if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        raise StepError(f"the secret store does not let this server read {shown}", category="auth")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise StepError(f"the secret store is asked too often (429 for {shown})", category="rate_limit")
    category = "http.5xx" if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "http.4xx"
    why = ": it is sealed, or down for maintenance" if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    raise StepError(f"the secret store answered {answer.status} for {shown}{why}", category=category)


def _fields(body: object, depth: int) -> Mapping[str, Any]:
    """`data.data` of the answer (KV 2), or `data` (KV 1); empty if it is of another shape."""
    for _ in range(depth):
        body = cast("dict[str, object]", body).get("data") if isinstance(body, dict) else None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
