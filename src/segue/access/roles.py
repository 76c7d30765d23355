"""Roles: four that every workspace has, and those that it makes for itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from segue.access.keys import check_permissions
from segue.access.principal import ROLES
from segue.access.records import Role
from segue.errors import ConflictError, InvalidInputError, NotFoundError
from segue.store.tables import Sql, Tables

PER_WORKSPACE_MAX: Final = 100
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}\Z")
_decode = msgspec.json.Decoder(list[str]).decode


class Roles:
    """The roles of one server's workspaces."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def list_of(self, workspace: str) -> list[Role]:
        """The built-in ones first, then the workspace's own by name; at most 104."""
        rows = await self._tables.ask(
            lambda sql: sql.rows("SELECT name, permissions FROM role WHERE workspace = ? ORDER BY name", workspace)
        )
        return [*_BUILT_IN, *(Role(name=row[0], permissions=tuple(_decode(row[1])), is_built_in=False) for row in rows)]

    async def permissions_of(self, workspace: str, name: str) -> frozenset[str]:
        """What a role may do. Raises InvalidInputError if the workspace has none of this name."""
        return await self._tables.ask(lambda sql: permissions_of(sql, workspace, name))

    async def put(self, workspace: str, name: str, permissions: Sequence[str]) -> Role:
        """Make a role, or change it. Raises InvalidInputError; ConflictError for a built-in one."""
        if name in ROLES:
            raise ConflictError(f"the role {name!r} is the same in every workspace; make one of another name")
        if not _NAME.match(name):
            raise InvalidInputError(
                "this is no name of a role", [("name", "is a letter, then letters, digits, - and _ (50 at most)")]
            )
        check_permissions(permissions)
        kept, now = sorted(set(permissions)), self._now()

        def put(sql: Sql) -> None:
            count = sql.row("SELECT count(*) FROM role WHERE workspace = ? AND name <> ?", workspace, name)
            if count is not None and count[0] >= PER_WORKSPACE_MAX:
                raise ConflictError(f"the workspace has {PER_WORKSPACE_MAX} roles already; delete one first")
            sql.run(
                "INSERT INTO role VALUES (?, ?, ?, ?) ON CONFLICT (workspace, name)"
                " DO UPDATE SET permissions = excluded.permissions",
                workspace, name, msgspec.json.encode(kept).decode(), now,
            )  # fmt: skip

        await self._tables.change(put)
        self._changed()
        return Role(name=name, permissions=tuple(kept), is_built_in=False)

    async def delete(self, workspace: str, name: str) -> None:
        """Raises NotFoundError; ConflictError if it is built in or a member has it."""
        if name in ROLES:
            raise ConflictError(f"the role {name!r} belongs to every workspace")

        def delete(sql: Sql) -> None:
            if sql.row("SELECT 1 FROM membership WHERE workspace = ? AND role = ? LIMIT 1", workspace, name):
                raise ConflictError(f"members have the role {name!r}; give them another one first")
            sql.run(
                "DELETE FROM flow_grant WHERE workspace = ? AND subject_kind = 'role' AND subject = ?", workspace, name
            )
            if not sql.run("DELETE FROM role WHERE workspace = ? AND name = ?", workspace, name):
                raise NotFoundError(f"no role has the name {name!r}")

        await self._tables.change(delete)
        self._changed()


_BUILT_IN: Final = tuple(
    Role(name=name, permissions=tuple(sorted(permissions)), is_built_in=True) for name, permissions in ROLES.items()
)


def permissions_of(sql: Sql, workspace: str, name: str) -> frozenset[str]:
    """What a role may do. Raises InvalidInputError if the workspace has none of this name."""
    if name in ROLES:
        return ROLES[name]
    row = sql.row("SELECT permissions FROM role WHERE workspace = ? AND name = ?", workspace, name)
    if row is None:
        raise InvalidInputError(f"this workspace has no role {name[:50]!r}", [("role", "is no role here")])
    return frozenset(_decode(row[0]))
