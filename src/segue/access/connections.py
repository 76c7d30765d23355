"""Connections: what is needed to reach another system, kept once for all flows of a workspace.

A connection has fields that may be seen (a user's name, an address) and fields that may not (a token). The latter are
sealed, are sent to the connection's own origin only, and are never shown again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from segue.access.secrets import check_name, check_value, note_used
from segue.access.vault import Context, Vault
from segue.errors import ConflictError, NotFoundError, RequestError, StaleError
from segue.net.origins import origin_of as origin_of_url
from segue.store.tables import Row, Sql, Tables

KIND: Final = "connection"
FIELDS_MAX: Final = 50
FIELD_LENGTH_MAX: Final = 10_000
ADDRESS_FIELD: Final = "base_url"
"""The field whose origin is where secret fields may be sent."""
TOKEN_FIELD: Final = "token_url"  # noqa: S105 - the name of a field
_ONE: Final = (
    "SELECT id, workspace, name, adapter, version, fields, secret_fields, origin, status, checked_at, check_message, "
    "created_at, updated_at, updated_by, used_at FROM connection WHERE workspace = ? AND name = ?"
)
_AFTER: Final = (
    "SELECT id, workspace, name, adapter, version, fields, secret_fields, origin, status, checked_at, check_message, "
    "created_at, updated_at, updated_by, used_at FROM connection "
    "WHERE workspace = ? AND name > ? ORDER BY name LIMIT ?"
)
_encode = msgspec.json.Encoder(order="sorted").encode


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection without its secrets: of `secret_fields` only the names. Times are milliseconds since the epoch."""

    id: str
    workspace: str
    name: str
    adapter: str
    version: int
    fields: dict[str, str]
    secret_fields: list[str]
    origin: str
    """Where the secret fields may be sent: scheme, host and port; empty: anywhere."""
    status: str
    """`unchecked`, `ok` or `failing`: what the last check said."""
    checked_at: int | None
    check_message: str | None
    created_at: int
    updated_at: int
    updated_by: str
    used_at: int | None


class Field(msgspec.Struct, frozen=True):
    """One field for an attempt. `origin` as in `Connection`, empty for a field that is no secret."""

    value: str
    is_secret: bool
    origin: str


class Connections:
    """The connections of all workspaces. Every method asks for the workspace, and knows nothing of others."""

    def __init__(self, tables: Tables, vault: Vault, new_id: Callable[[int], str]) -> None:
        """`new_id` makes an id of the time in milliseconds since the epoch."""
        self._tables = tables
        self._vault = vault
        self._new_id = new_id
        self._noted: dict[str, int] = {}

    async def create(
        self, workspace: str, name: str, adapter: str, fields: Mapping[str, str], secrets: Mapping[str, str], *, by: str
    ) -> Connection:
        """Keep a new one. Raises RequestError, ConflictError if the name is taken."""
        check_name(name, "a connection")
        if not adapter.strip() or len(adapter) > 100:
            raise RequestError("a connection names its adapter (`http`, `postgres`, …), in 1 to 100 characters")
        _check(fields, secrets)
        now = time.time_ns() // 1_000_000
        row_id = self._new_id(now)

        def change(sql: Sql) -> Connection:
            if _find(sql, workspace, name) is not None:
                raise ConflictError(f"there is a connection {name!r} in this workspace already")
            sql.run(
                "INSERT INTO connection VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, 'unchecked', NULL, NULL, ?, ?, ?, NULL)",
                row_id, workspace, name, adapter.strip(), _text(dict(fields)), _text(sorted(secrets)),
                self._sealed(workspace, row_id, 1, secrets),
                origin_of(fields), now, now, by,
            )  # fmt: skip
            return _found(sql, workspace, name)

        return await self._tables.change(change)

    async def update(
        self,
        workspace: str,
        name: str,
        fields: Mapping[str, str | None],
        secrets: Mapping[str, str | None],
        *,
        by: str,
        version: int | None = None,
    ) -> Connection:
        """Change these fields, drop those that are None, leave the others as they are.

        Secrets that were put in for one origin are not sent to another: with an address of another origin, all of them
        must be given anew. Raises NotFoundError, RequestError, StaleError for another version.
        """
        now = time.time_ns() // 1_000_000

        def change(sql: Sql) -> Connection:
            before = _found(sql, workspace, name)
            if version is not None and version != before.version:
                raise StaleError(f"the connection {name!r} was changed meanwhile; look at it and try again")
            open_fields = _merged(before.fields, fields)
            origin = origin_of(open_fields)
            kept = [one for one in before.secret_fields if one not in secrets]
            moved = origin != before.origin or _token_origin(open_fields) != _token_origin(before.fields)
            if moved and kept:
                message = f"the address is of another origin: give {', '.join(kept)} anew, or they could be sent there"
                raise RequestError(message)
            hidden = _merged(self._opened(sql, before), secrets)
            _check(open_fields, hidden)
            number = before.version + 1
            sql.run(
                "UPDATE connection SET version = ?, fields = ?, secret_fields = ?, sealed = ?, origin = ?, "
                "status = 'unchecked', checked_at = NULL, check_message = NULL, updated_at = ?, updated_by = ? "
                "WHERE id = ?",
                number, _text(open_fields), _text(sorted(hidden)), self._sealed(workspace, before.id, number, hidden),
                origin, now, by, before.id,
            )  # fmt: skip
            return _found(sql, workspace, name)

        return await self._tables.change(change)

    async def get(self, workspace: str, name: str) -> Connection:
        """Raises NotFoundError."""
        return await self._tables.ask(lambda sql: _found(sql, workspace, name))

    async def all(self, workspace: str, *, after: str = "", limit: int = 100) -> list[Connection]:
        """By name, those after `after`."""
        rows = await self._tables.ask(lambda sql: sql.rows(_AFTER, workspace, after, limit))
        return [_connection(row) for row in rows]

    async def delete(self, workspace: str, name: str, *, version: int | None = None) -> None:
        """Forget it. Raises NotFoundError, StaleError for another version."""

        def change(sql: Sql) -> None:
            found = _found(sql, workspace, name)
            if version is not None and version != found.version:
                raise StaleError(f"the connection {name!r} was changed meanwhile; look at it and try again")
            sql.run("DELETE FROM connection WHERE id = ?", found.id)

        await self._tables.change(change)

    async def checked(self, workspace: str, name: str, *, ok: bool, message: str | None) -> Connection:
        """Keep what a check of it said. Raises NotFoundError."""
        now = time.time_ns() // 1_000_000

        def change(sql: Sql) -> Connection:
            found = _found(sql, workspace, name)
            sql.run(
                "UPDATE connection SET status = ?, checked_at = ?, check_message = ? WHERE id = ?",
                "ok" if ok else "failing", now, message, found.id,
            )  # fmt: skip
            return _found(sql, workspace, name)

        return await self._tables.change(change)

    async def opened(self, workspace: str, name: str) -> tuple[Connection, dict[str, str]]:
        """A connection with its secret fields, for an attempt that uses it now. Raises NotFoundError, UnsealError."""

        def ask(sql: Sql) -> tuple[Connection, dict[str, str]]:
            found = _found(sql, workspace, name)
            return found, self._opened(sql, found)

        found = await self._tables.ask(ask)
        await note_used(self._tables, self._noted, "connection", found[0].id)
        return found

    async def field(self, workspace: str, name: str, field: str) -> Field:
        """One field, for an attempt that needs it now. Raises NotFoundError, UnsealError."""

        def ask(sql: Sql) -> tuple[Connection, str]:
            found = _found(sql, workspace, name)
            if field in found.fields:
                return found, found.fields[field]
            hidden = self._opened(sql, found)
            if field not in hidden:
                known = ", ".join([*found.fields, *hidden]) or "none"
                raise NotFoundError(f"the connection {name!r} has no field {field[:100]!r}; it has: {known}")
            return found, hidden[field]

        found, value = await self._tables.ask(ask)
        await note_used(self._tables, self._noted, "connection", found.id)
        is_secret = field not in found.fields
        return Field(value, is_secret, found.origin if is_secret else "")

    async def values(self, workspace: str) -> list[str]:
        """The secret fields of all connections of a workspace, for finding them where they must not be. Raises
        UnsealError.
        """

        def ask(sql: Sql) -> list[str]:
            found = sql.rows("SELECT id, version, sealed FROM connection WHERE workspace = ?", workspace)
            opened = (self._vault.open(Context(KIND, workspace, row[0], row[1]), row[2]) for row in found)
            return [value for plain in opened for value in msgspec.json.decode(plain, type=dict[str, str]).values()]

        return await self._tables.ask(ask)

    def _sealed(self, workspace: str, row_id: str, version: int, secrets: Mapping[str, str]) -> bytes:
        return self._vault.seal(Context(KIND, workspace, row_id, version), _encode(dict(secrets)))

    def _opened(self, sql: Sql, of: Connection) -> dict[str, str]:
        row = sql.row("SELECT sealed FROM connection WHERE id = ?", of.id)
        assert row is not None
        plain = self._vault.open(Context(KIND, of.workspace, of.id, of.version), row[0])
        return msgspec.json.decode(plain, type=dict[str, str])


def origin_of(fields: Mapping[str, str]) -> str:
    """The origin (RFC 6454) of the connection's address: `https://api.x.test:8443`; empty if it has none. Raises
    RequestError for an address that is none.
    """
    address = fields.get(ADDRESS_FIELD, "").strip()
    found = origin_of_url(address) if address else ""
    if found is None:
        raise RequestError(f"{ADDRESS_FIELD}: an address with http:// or https:// is needed")
    return found


def _token_origin(fields: Mapping[str, str]) -> str | None:
    """Where an OAuth 2.0 connection sends its client's secret; None for what is no address."""
    return origin_of_url(fields.get(TOKEN_FIELD, "").strip())


def _check(fields: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    if len(fields) + len(secrets) > FIELDS_MAX:
        raise RequestError(f"a connection has at most {FIELDS_MAX} fields")
    both = sorted(set(fields) & set(secrets))
    if both:
        raise RequestError(f"the field {both[0]!r} is either secret or not")
    for name in (*fields, *secrets):
        check_name(name, "a field")
    for name, value in fields.items():
        if len(value) > FIELD_LENGTH_MAX:
            raise RequestError(f"the field {name!r} has {len(value):,} characters; at most {FIELD_LENGTH_MAX:,} fit")
    for name, value in secrets.items():
        check_value(name, value)
    origin_of(fields)


def _merged(before: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def _text(value: object) -> str:
    return _encode(value).decode()


def _found(sql: Sql, workspace: str, name: str) -> Connection:
    found = _find(sql, workspace, name)
    if found is None:
        raise NotFoundError(f"there is no connection {name[:100]!r} in this workspace")
    return found


def _find(sql: Sql, workspace: str, name: str) -> Connection | None:
    row = sql.row(_ONE, workspace, name)
    return None if row is None else _connection(row)


def _connection(row: Row) -> Connection:
    known = dict(zip(Connection.__struct_fields__, row, strict=True))
    known["fields"] = msgspec.json.decode(known["fields"])
    known["secret_fields"] = msgspec.json.decode(known["secret_fields"])
    return Connection(**known)
