"""Secrets and connections of a workspace, and the keys that everything is encrypted with."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.access.connections import Connection
from segue.access.credentials import Credentials
from segue.access.principal import DEFAULT_WORKSPACE
from segue.access.rotation import rotate, usage
from segue.access.secrets import Secret
from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.credential_answers import (
    ChangeConnection,
    ConnectionItem,
    ConnectionList,
    CreateConnection,
    Encryption,
    EncryptionKey,
    KeysRotated,
    SecretItem,
    SecretList,
    SecretValue,
    connection_item,
    secret_item,
)
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.errors import ForbiddenError
from segue.api.etags import etag, expected_revision
from segue.api.routing import Routes, principal_of

LIMIT: Final = 50
LIMIT_MAX: Final = 500
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str, Query(max_length=100, description="Where the page before ended.")]
_READ, _CHANGE = "connection:read", "connection:update"
_BAD: Final = (400, 413, 415, 422)
_GONE: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "Deleted"}, **errors_of(400, 404, 412)}


class CredentialRoutes:
    """`/api/v1/secrets`, `/api/v1/connections` and `/api/v1/encryption`."""

    def __init__(self, credentials: Credentials) -> None:
        self._held = credentials

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["credentials"])
        add = router.add
        one, link = "/secrets/{name}", "/connections/{name}"
        add("/secrets", self.secrets, needs=_READ, responses=answers_with(200, SecretList, 422))
        add(one, self.secret, needs=_READ, responses=answers_with(200, SecretItem, 404))
        kept = answers_with(200, SecretItem, 412, *_BAD) | answers_with(201, SecretItem, description="Kept")
        add(one, self.put_secret, method="PUT", needs=_CHANGE, extra=body_of(SecretValue), responses=kept)
        add(one, self.delete_secret, method="DELETE", needs="connection:delete", status_code=204, responses=_GONE)
        add("/connections", self.connections, needs=_READ, responses=answers_with(200, ConnectionList, 422))
        add(
            "/connections", self.create, method="POST", needs="connection:create", status_code=201,
            extra=body_of(CreateConnection), responses=answers_with(201, ConnectionItem, 409, *_BAD),
        )  # fmt: skip
        add(link, self.connection, needs=_READ, responses=answers_with(200, ConnectionItem, 404))
        add(
            link, self.change, method="PATCH", needs=_CHANGE, extra=body_of(ChangeConnection),
            responses=answers_with(200, ConnectionItem, 404, 412, *_BAD),
        )  # fmt: skip
        add(link, self.delete_connection, method="DELETE", needs="connection:delete", status_code=204, responses=_GONE)
        add(
            link + "/check", self.check, method="POST", needs="connection:execute",
            responses=answers_with(200, ConnectionItem, 404),
        )  # fmt: skip
        add("/encryption", self.encryption, needs="workspace:admin", responses=answers_with(200, Encryption))
        add(
            "/encryption/rotate", self.rotate, method="POST", needs="workspace:admin",
            responses=answers_with(200, KeysRotated, 409),
        )  # fmt: skip
        return router

    # ------------------------------------------------------------ secrets

    async def secrets(self, request: Request, limit: Limit = LIMIT, cursor: Cursor = "") -> Response:
        """The workspace's secrets by name, without their values."""
        rows = await self._held.secrets.all(principal_of(request).workspace, after=cursor, limit=limit + 1)
        shown = [secret_item(row) for row in rows[:limit]]
        return answer(SecretList(secrets=shown, next_cursor=shown[-1].name if len(rows) > limit else None))

    async def secret(self, name: str, request: Request) -> Response:
        """One secret without its value, and the flows that name it."""
        workspace = principal_of(request).workspace
        found = await self._held.secrets.get(workspace, name)
        return self._secret(found, await self._held.used_by(workspace, f"secret:{name}"))

    async def put_secret(self, name: str, request: Request) -> Response:
        """Keep a value, in the place of the one before; attempts that begin from now on use it. With `If-Match`: only
        over that version.
        """
        body, who = await read_model(request, SecretValue), principal_of(request)
        found, is_new = await self._held.secrets.put(
            who.workspace, name, body.value, by=who.name, note=body.note,
            version=expected_revision(request.headers, required=False),
        )  # fmt: skip
        return self._secret(found, status=201 if is_new else 200)

    async def delete_secret(self, name: str, request: Request) -> Response:
        """Forget a secret. Steps that still ask for it fail."""
        expected = expected_revision(request.headers, required=False)
        await self._held.secrets.delete(principal_of(request).workspace, name, version=expected)
        return Response(status_code=204)

    def _secret(self, found: Secret, used_by: list[str] | None = None, status: int = 200) -> Response:
        return answer(secret_item(found, used_by), status, {"etag": etag(found.version)})

    # ------------------------------------------------------------ connections

    async def connections(self, request: Request, limit: Limit = LIMIT, cursor: Cursor = "") -> Response:
        """The workspace's connections by name."""
        rows = await self._held.connections.all(principal_of(request).workspace, after=cursor, limit=limit + 1)
        shown = [connection_item(row) for row in rows[:limit]]
        return answer(ConnectionList(connections=shown, next_cursor=shown[-1].name if len(rows) > limit else None))

    async def create(self, request: Request) -> Response:
        """Make a connection."""
        body, who = await read_model(request, CreateConnection), principal_of(request)
        found = await self._held.connections.create(
            who.workspace, body.name, body.adapter, body.fields, body.secret_fields, by=who.name
        )
        return self._connection(found, status=201)

    async def connection(self, name: str, request: Request) -> Response:
        """One connection, and the flows that name it."""
        principal = principal_of(request)
        found = await self._held.connections.get(principal.workspace, name)
        used_by = await self._held.used_by(principal.workspace, f"connection:{name}.")
        return self._connection(found, [flow_id for flow_id in used_by if principal.may("flow:read", flow_id)])

    async def change(self, name: str, request: Request) -> Response:
        """Change fields of a connection. With an address of another origin all secret fields must come along, so that
        nobody can have them sent elsewhere.
        """
        body, who = await read_model(request, ChangeConnection), principal_of(request)
        found = await self._held.connections.update(
            who.workspace, name, body.fields, body.secret_fields, by=who.name,
            version=expected_revision(request.headers, required=False),
        )  # fmt: skip
        return self._connection(found)

    async def delete_connection(self, name: str, request: Request) -> Response:
        """Forget a connection. Steps that still ask for it fail."""
        expected = expected_revision(request.headers, required=False)
        await self._held.connections.delete(principal_of(request).workspace, name, version=expected)
        return Response(status_code=204)

    async def check(self, name: str, request: Request) -> Response:
        """Try the connection: ask its address (`check_path` below `base_url`) with its credentials. `status` and
        `check_message` say what came of it.
        """
        return self._connection(await self._held.check(principal_of(request).workspace, name))

    def _connection(self, found: Connection, used_by: list[str] | None = None, status: int = 200) -> Response:
        return answer(connection_item(found, used_by), status, {"etag": etag(found.version)})

    # ------------------------------------------------------------ keys

    async def encryption(self, request: Request) -> Response:
        """The keys of the server's key ring by id, and how much is encrypted with each. Default workspace only."""
        _refuse_others(request)
        found = await usage(self._held.tables, self._held.vault.ring)
        keys = [EncryptionKey(id=one.id, active=one.active, known=one.known, rows=one.rows) for one in found]
        return answer(Encryption(keys=keys))

    async def rotate(self, request: Request) -> Response:
        """Encrypt everything with a new key and drop the old ones. Default workspace only; safe to repeat."""
        _refuse_others(request)
        done = await rotate(self._held.tables, self._held.vault, self._held.key_file)
        return answer(
            KeysRotated(
                active=done.active, resealed=done.resealed, dropped=list(done.dropped), unused=list(done.unused)
            )
        )


def _refuse_others(request: Request) -> None:
    if principal_of(request).workspace != DEFAULT_WORKSPACE:
        raise ForbiddenError("the server's keys are managed in its default workspace")
