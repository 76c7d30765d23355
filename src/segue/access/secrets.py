"""Secrets of a workspace: named values that are put in, used by its runs, and never shown again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from segue.access.vault import Context, Vault
from segue.errors import NotFoundError, RequestError, StaleError
from segue.store.tables import Row, Sql, Tables

KIND: Final = "secret"
VALUE_BYTES_MAX: Final = 64 * 1024
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
NAME_RULE: Final = "a letter or _, then up to 99 letters, digits, `_`, `.` or `-`"
USED_EVERY_MS: Final = 60_000
"""How exactly it is kept when something was used last: a run need not wait for that to be written each time."""
_ONE: Final = (
    "SELECT id, workspace, name, note, version, created_at, updated_at, updated_by, used_at FROM secret "
    "WHERE workspace = ? AND name = ?"
)
_AFTER: Final = (
    "SELECT id, workspace, name, note, version, created_at, updated_at, updated_by, used_at FROM secret "
    "WHERE workspace = ? AND name > ? ORDER BY name LIMIT ?"
)
_USED: Final = {
    "secret": "UPDATE secret SET used_at = ? WHERE id = ?",
    "connection": "UPDATE connection SET used_at = ? WHERE id = ?",
}


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """All of a secret but its value. Times are milliseconds since the epoch; `version` counts its values."""

    id: str
    workspace: str
    name: str
    note: str
    version: int
    created_at: int
    updated_at: int
    updated_by: str
    used_at: int | None


class Secrets:
    """The secrets of all workspaces. Every method asks for the workspace, and knows nothing of others."""

    def __init__(self, tables: Tables, vault: Vault, new_id: Callable[[int], str]) -> None:
        """`new_id` makes an id of the time in milliseconds since the epoch."""
        self._tables = tables
        self._vault = vault
        self._new_id = new_id
        self._noted: dict[str, int] = {}

    async def put(
        self, workspace: str, name: str, value: str, *, by: str, note: str | None = None, version: int | None = None
    ) -> tuple[Secret, bool]:
        """Keep a value under a name, in the place of the one before; and whether the name is new.

        `version`: only over that one; 0: only if there is none. Raises RequestError for a name or value that cannot be
        kept, StaleError for another version.
        """
        check_name(name, "a secret")
        check_value(name, value)
        now = _now()
        made = self._new_id(now)

        def change(sql: Sql) -> tuple[Secret, bool]:
            before = _find(sql, workspace, name)
            if version is not None and version != (0 if before is None else before.version):
                raise StaleError(f"the secret {name!r} was changed meanwhile; look at it and try again")
            row_id, number = (made, 1) if before is None else (before.id, before.version + 1)
            sealed = self._vault.seal(Context(KIND, workspace, row_id, number), value.encode())
            if before is None:
                sql.run(
                    "INSERT INTO secret VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                    row_id, workspace, name, note or "", number, sealed, now, now, by,
                )  # fmt: skip
            else:
                sql.run(
                    "UPDATE secret SET note = ?, version = ?, sealed = ?, updated_at = ?, updated_by = ? WHERE id = ?",
                    before.note if note is None else note, number, sealed, now, by, row_id,
                )  # fmt: skip
            found = _find(sql, workspace, name)
            assert found is not None
            return found, before is None

        return await self._tables.change(change)

    async def get(self, workspace: str, name: str) -> Secret:
        """Raises NotFoundError."""
        found = await self._tables.ask(lambda sql: _find(sql, workspace, name))
        if found is None:
            raise _unknown(name)
        return found

    async def all(self, workspace: str, *, after: str = "", limit: int = 100) -> list[Secret]:
        """By name, those after `after`."""
        rows = await self._tables.ask(lambda sql: sql.rows(_AFTER, workspace, after, limit))
        return [_secret(row) for row in rows]

    async def delete(self, workspace: str, name: str, *, version: int | None = None) -> None:
        """Forget it: runs that still ask for it fail. Raises NotFoundError, StaleError for another version."""

        def change(sql: Sql) -> None:
            found = _find(sql, workspace, name)
            if found is None:
                raise _unknown(name)
            if version is not None and version != found.version:
                raise StaleError(f"the secret {name!r} was changed meanwhile; look at it and try again")
            sql.run("DELETE FROM secret WHERE id = ?", found.id)

        await self._tables.change(change)

    async def value(self, workspace: str, name: str) -> str:
        """The value, for an attempt that needs it now. Raises NotFoundError, UnsealError."""
        row = await self._tables.ask(
            lambda sql: sql.row(
                "SELECT id, version, sealed FROM secret WHERE workspace = ? AND name = ?", workspace, name
            )
        )
        if row is None:
            raise _unknown(name)
        row_id, version, sealed = row
        value = self._vault.open(Context(KIND, workspace, row_id, version), sealed).decode()
        await note_used(self._tables, self._noted, "secret", row_id)
        return value

    async def values(self, workspace: str) -> list[str]:
        """All of a workspace, for finding them where they must not be; nobody used them. Raises UnsealError."""

        def ask(sql: Sql) -> list[str]:
            found = sql.rows("SELECT id, version, sealed FROM secret WHERE workspace = ?", workspace)
            return [self._vault.open(Context(KIND, workspace, row[0], row[1]), row[2]).decode() for row in found]

        return await self._tables.ask(ask)


async def note_used(tables: Tables, noted: dict[str, int], table: str, row_id: str) -> None:
    """Write down that a row of the table is used now, unless that was done a moment ago."""
    now = _now()
    if now - noted.get(row_id, 0) >= USED_EVERY_MS:
        noted[row_id] = now
        await tables.change(lambda sql: sql.run(_USED[table], now, row_id))


def check_name(name: str, what: str) -> None:
    """Raises RequestError."""
    if NAME.fullmatch(name) is None:
        # Not `secret: a letter …`, which answers and logs would mask as the value of a secret.
        raise RequestError(f"{name[:100]!r} is no name for {what}; a name is {NAME_RULE}")


def check_value(name: str, value: str) -> None:
    """Raises RequestError, which does not show the value."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise RequestError(f"the value of {name!r} is no text that can be kept as UTF-8") from None
    if not value:
        raise RequestError(f"the value of {name!r} is empty")
    if size > VALUE_BYTES_MAX:
        raise RequestError(f"the value of {name!r} has {size:,} bytes; at most {VALUE_BYTES_MAX:,} are kept")


def _find(sql: Sql, workspace: str, name: str) -> Secret | None:
    row = sql.row(_ONE, workspace, name)
    return None if row is None else _secret(row)


def _secret(row: Row) -> Secret:
    return Secret(**dict(zip(Secret.__struct_fields__, row, strict=True)))


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no secret {name[:100]!r} in this workspace; put one there with `segue secret set`")


def _now() -> int:
    return time.time_ns() // 1_000_000
