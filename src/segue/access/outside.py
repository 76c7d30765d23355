"""Secrets of HashiCorp Vault and what speaks its API (OpenBao): the KV secrets engine, version 2.

API: developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2, "Read secret version": `GET /v1/:mount/data/:path`, with
`X-Vault-Token`, answers `{"data": {"data": {…}, "metadata": {…}}}`; 404 for what is not there or was deleted, 403 for
what the token may not read. The server's account is its own: `VAULT_ADDR`, `VAULT_TOKEN` or `VAULT_TOKEN_FILE`, and
`VAULT_NAMESPACE`, the names that Vault's own tools read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from segue.errors import NotFoundError, RequestError, StepError
from segue.net.messages import HttpRequest

if TYPE_CHECKING:
    from segue.net.client import HttpClient

TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_SERVING: Final = frozenset((200, 429, 472, 473))
_HOW: Final = "write vault:MOUNT/PATH#FIELD, such as vault:secret/payments#api_key"


class VaultStore:
    """Reads fields of secrets. Safe to use from many tasks of one event loop."""

    def __init__(self, client: Callable[[], HttpClient], environment: Mapping[str, str]) -> None:
        """`client` is asked for at each request: it checks where the request goes."""
        self._client = client
        self._environment = environment

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
        answer = await self._client().request(self._request(mount, inner))
        shown = f"{mount}/{inner}"
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"the secret store has nothing at {shown}, or it was deleted there")
        if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
            raise StepError(f"the secret store does not let this server read {shown}", category="auth")
        if answer.status != HTTPStatus.OK:
            category = "http.5xx" if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "http.4xx"
            raise StepError(f"the secret store answered {answer.status} for {shown}", category=category)
        found = _fields(answer.body).get(name)
        if found is None:
            raise NotFoundError(f"the secret at {shown} has no field {name[:100]!r}")
        if not isinstance(found, str):
            raise RequestError(f"the field {name[:100]!r} at {shown} is no text")
        return found

    async def answers(self) -> str:
        """Whether the store serves requests (`GET /v1/sys/health`: 200 active, 429, 472 and 473 standby, 503 sealed);
        a sentence. Raises StepError if it does not.
        """
        address = self._environment.get("VAULT_ADDR", "").rstrip("/")
        answer = await self._client().request(
            HttpRequest(url=f"{address}/v1/sys/health", follow_redirects=False, timeout_seconds=TIMEOUT_SECONDS)
        )
        if answer.status in _SERVING:
            return "it answers"
        why = "it is sealed" if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else f"it answers {answer.status}"
        raise StepError(f"the secret store does not serve: {why}", category="http.5xx")

    def _request(self, mount: str, path: str) -> HttpRequest:
        address = self._environment.get("VAULT_ADDR", "").rstrip("/")
        if not address:
            raise RequestError("this server knows no secret store: set VAULT_ADDR and VAULT_TOKEN where it runs")
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if namespace := self._environment.get("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = namespace
        return HttpRequest(
            url=f"{address}/v1/{quote(mount, safe='')}/data/{quote(path)}", headers=headers,
            secret_headers=frozenset(("X-Vault-Token",)), follow_redirects=False, timeout_seconds=TIMEOUT_SECONDS,
            max_body_bytes=ANSWER_BYTES_MAX,
        )  # fmt: skip

    def _token(self) -> str:
        given = self._environment.get("VAULT_TOKEN")
        if given:
            return given
        file = self._environment.get("VAULT_TOKEN_FILE")
        if not file:
            raise RequestError("this server has no account with its secret store: set VAULT_TOKEN or VAULT_TOKEN_FILE")
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise RequestError(f"the file of VAULT_TOKEN_FILE, {file}, cannot be read") from None


def _fields(body: object) -> Mapping[str, Any]:
    """`data.data` of the answer; empty if it is of another shape."""
    for _ in range(2):
        body = cast("dict[str, object]", body).get("data") if isinstance(body, dict) else None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}
