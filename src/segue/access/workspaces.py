"""Workspaces, and the switches of each and of the whole server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from segue.access.accounts import checked_name
from segue.access.principal import DEFAULT_WORKSPACE
from segue.access.records import Flag, Workspace
from segue.access.resting import ORCHESTRATOR, SERVER
from segue.engine.ids import new_run_id
from segue.errors import ConflictError, NotFoundError
from segue.store.tables import Row, Sql, Tables

FLAGS: Final[Mapping[str, bool]] = MappingProxyType({ORCHESTRATOR: True})
"""Every switch, and what it is if nobody set it."""
_COLUMNS: Final = "id, name, created_at, archived_at"


class Workspaces:
    """The workspaces of one server."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def list_all(self) -> list[Workspace]:
        """All, the oldest first."""
        rows = await self._tables.ask(
            lambda sql: sql.rows(f"SELECT {_COLUMNS} FROM workspace ORDER BY created_at, id")  # noqa: S608 - constant
        )
        return [_workspace(row) for row in rows]

    async def list_of(self, account_id: str) -> list[Workspace]:
        """Those that a person belongs to and that are not archived."""
        return await self._tables.ask(lambda sql: workspaces_of(sql, account_id))

    async def get(self, workspace_id: str) -> Workspace:
        """Raises NotFoundError."""
        return await self._tables.ask(lambda sql: _get(sql, workspace_id))

    async def get_open(self, workspace_id: str) -> Workspace:
        """As `get`. Raises NotFoundError, which tells one that is archived from one that is not there."""
        found = await self.get(workspace_id)
        if found.archived_at is not None:
            raise NotFoundError(
                f"the workspace {workspace_id!r} is archived; `segue workspace restore {workspace_id}` brings it back"
            )
        return found

    async def create(self, name: str, owner: str | None) -> Workspace:
        """A new one; `owner` (an account) becomes its first member. Raises InvalidInputError."""
        name, now = checked_name(name), self._now()
        workspace_id = new_run_id(now, prefix="wsp_")

        def make(sql: Sql) -> Workspace:
            sql.run("INSERT INTO workspace(id, name, created_at) VALUES (?, ?, ?)", workspace_id, name, now)
            if owner is not None:
                sql.run("INSERT INTO membership VALUES (?, ?, 'owner', ?)", workspace_id, owner, now)
            return _get(sql, workspace_id)

        made = await self._tables.change(make)
        self._changed()
        return made

    async def rename(self, workspace_id: str, name: str) -> Workspace:
        """Raises NotFoundError, InvalidInputError."""
        name = checked_name(name)

        def rename(sql: Sql) -> Workspace:
            sql.run("UPDATE workspace SET name = ? WHERE id = ?", name, workspace_id)
            return _get(sql, workspace_id)

        return await self._tables.change(rename)

    async def set_archived(self, workspace_id: str, *, archived: bool) -> Workspace:
        """Close a workspace to everybody, or open it again; nothing in it is lost. Runs under way go on to their end.

        Raises NotFoundError; ConflictError for the default one.
        """
        if workspace_id == DEFAULT_WORKSPACE:
            raise ConflictError("the default workspace is the server's own and cannot be archived")
        now = self._now()

        def put(sql: Sql) -> Workspace:
            _get(sql, workspace_id)
            sql.run("UPDATE workspace SET archived_at = ? WHERE id = ?", now if archived else None, workspace_id)
            return _get(sql, workspace_id)

        changed = await self._tables.change(put)
        self._changed()
        return changed

    async def flags_of(self, workspace: str) -> list[Flag]:
        """Every switch as it counts in a workspace: on only if neither it nor the server has switched it off."""
        return await self._tables.ask(lambda sql: flags_of(sql, workspace))

    async def set_flag(self, where: str, name: str, is_on: bool | None) -> None:
        """Set a switch of a workspace or of the `SERVER`; None: as if nobody had set it. Raises NotFoundError."""
        if name not in FLAGS:
            raise NotFoundError(f"no switch has the name {name[:50]!r}; known: {', '.join(FLAGS)}")
        now = self._now()

        def put(sql: Sql) -> None:
            sql.run("DELETE FROM flag WHERE workspace = ? AND name = ?", where, name)
            if is_on is not None:
                sql.run("INSERT INTO flag VALUES (?, ?, ?, ?)", where, name, int(is_on), now)

        await self._tables.change(put)
        self._changed()


def workspaces_of(sql: Sql, account_id: str) -> list[Workspace]:
    """Those that a person belongs to and that are not archived, in the order in which they joined."""
    rows = sql.rows(
        "SELECT workspace.id, workspace.name, workspace.created_at, archived_at FROM membership"
        " JOIN workspace ON workspace.id = workspace WHERE account_id = ? AND archived_at IS NULL"
        " ORDER BY membership.created_at, workspace.id",
        account_id,
    )
    return [_workspace(row) for row in rows]


def is_open(sql: Sql, workspace_id: str) -> bool:
    """Whether there is such a workspace, not archived."""
    return sql.row("SELECT 1 FROM workspace WHERE id = ? AND archived_at IS NULL", workspace_id) is not None


def flags_of(sql: Sql, workspace: str) -> list[Flag]:
    """See `Workspaces.flags_of`."""
    rows = sql.rows("SELECT workspace, name, is_on FROM flag WHERE workspace IN (?, ?)", workspace, SERVER)
    kept = {(row[0], row[1]): bool(row[2]) for row in rows}
    found: list[Flag] = []
    for name, default in FLAGS.items():
        server, own = kept.get((SERVER, name)), kept.get((workspace, name))
        is_on = default if server is None else server
        found.append(Flag(name=name, is_on=is_on and own is not False, server=server, workspace=own))
    return found


def _get(sql: Sql, workspace_id: str) -> Workspace:
    row = sql.row(f"SELECT {_COLUMNS} FROM workspace WHERE id = ?", workspace_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no workspace has the id {workspace_id!r}")
    return _workspace(row)


def _workspace(row: Row) -> Workspace:
    return Workspace(id=row[0], name=row[1], created_at=row[2], archived_at=row[3])
