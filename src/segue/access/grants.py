"""What a user, a key or a role may do with single flows, beyond what it may do anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from segue.access.keys import check_permissions
from segue.access.members import member_of
from segue.access.paging import AFTER_ALL, Page, page_of
from segue.access.records import Grant
from segue.access.roles import permissions_of
from segue.engine.ids import new_run_id
from segue.errors import InvalidInputError, NotFoundError
from segue.store.tables import Row, Sql, Tables

SubjectKind = Literal["user", "key", "role"]
_COLUMNS: Final = "id, flow_id, subject_kind, subject, permissions, created_at"
_OF_A_FLOW: Final = ("flow:", "run:")
_decode = msgspec.json.Decoder(list[str]).decode


class Grants:
    """The grants of one server's workspaces."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def page(self, workspace: str, flow_id: str | None, limit: int, cursor: str | None) -> Page[Grant]:
        """Grants of a workspace, the newest first."""
        one = "" if flow_id is None else " AND flow_id = ?"
        values = [workspace, cursor or AFTER_ALL, *([] if flow_id is None else [flow_id])]
        rows = await self._tables.ask(
            lambda sql: sql.rows(
                f"SELECT {_COLUMNS} FROM flow_grant WHERE workspace = ? AND id < ?{one} ORDER BY id DESC LIMIT ?",  # noqa: S608
                *values,
                limit + 1,
            )
        )
        return page_of([_grant(row) for row in rows], limit, lambda grant: grant.id)

    async def put(
        self, workspace: str, flow_id: str, kind: SubjectKind, subject: str, permissions: Sequence[str]
    ) -> Grant:
        """Grant something, in place of what was granted to the same subject with this flow.

        Raises InvalidInputError, NotFoundError if the workspace has no such subject.
        """
        check_permissions(permissions)
        foreign = [one for one in permissions if not one.startswith(_OF_A_FLOW)]
        if foreign:
            raise InvalidInputError(
                f"{foreign[0]} has nothing to do with a flow", [("permissions", "are of flow: and run: only")]
            )
        now, text = self._now(), msgspec.json.encode(sorted(set(permissions))).decode()

        def put(sql: Sql) -> Grant:
            _refuse_unknown(sql, workspace, kind, subject)
            sql.run(
                f"INSERT INTO flow_grant({_COLUMNS}, workspace) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
                " ON CONFLICT (workspace, subject_kind, subject, flow_id) DO UPDATE SET"
                " permissions = excluded.permissions",
                new_run_id(now, prefix="grt_"), flow_id, kind, subject, text, now, workspace,
            )  # fmt: skip
            row = sql.row(
                f"SELECT {_COLUMNS} FROM flow_grant WHERE workspace = ? AND subject_kind = ? AND subject = ?"  # noqa: S608
                " AND flow_id = ?",
                workspace, kind, subject, flow_id,
            )  # fmt: skip
            assert row is not None
            return _grant(row)

        try:
            return await self._tables.change(put)
        finally:
            self._changed()

    async def delete(self, workspace: str, grant_id: str) -> None:
        """Raises NotFoundError."""
        gone = await self._tables.change(
            lambda sql: sql.run("DELETE FROM flow_grant WHERE workspace = ? AND id = ?", workspace, grant_id)
        )
        self._changed()
        if not gone:
            raise NotFoundError(f"no grant has the id {grant_id!r}")


def grants_of(sql: Sql, workspace: str, *subjects: tuple[str, str]) -> Mapping[str, frozenset[str]]:
    """Permissions by flow id, of several subjects together."""
    found: dict[str, frozenset[str]] = {}
    for kind, subject in subjects:
        rows = sql.rows(
            "SELECT flow_id, permissions FROM flow_grant WHERE workspace = ? AND subject_kind = ? AND subject = ?",
            workspace, kind, subject,
        )  # fmt: skip
        for flow_id, text in rows:
            found[flow_id] = found.get(flow_id, frozenset()) | frozenset(_decode(text))
    return found


def _refuse_unknown(sql: Sql, workspace: str, kind: SubjectKind, subject: str) -> None:
    if kind == "user":
        member_of(sql, workspace, subject)
    elif kind == "role":
        permissions_of(sql, workspace, subject)
    elif sql.row("SELECT 1 FROM api_key WHERE workspace = ? AND id = ?", workspace, subject) is None:
        raise NotFoundError(f"no key of this workspace has the id {subject!r}")


def _grant(row: Row) -> Grant:
    return Grant(
        id=row[0], flow_id=row[1], subject_kind=row[2], subject=row[3], permissions=tuple(_decode(row[4])),
        created_at=row[5],
    )  # fmt: skip
