"""Who belongs to a workspace, in which role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from segue.access.accounts import as_account, checked_person, found_or_made, has_owner, refuse_losing_owner
from segue.access.paging import AFTER_ALL, Page, page_of
from segue.access.records import Member
from segue.access.roles import permissions_of
from segue.errors import ConflictError, NotFoundError
from segue.store.tables import Row, Sql, Tables

_SELECT: Final = (
    "SELECT account.id, email, name, password IS NOT NULL, account.created_at, login_at, disabled_at, role,"
    " membership.created_at FROM membership JOIN account ON account.id = account_id"
)


class Members:
    """The members of one server's workspaces."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def page(self, workspace: str, limit: int, cursor: str | None) -> Page[Member]:
        """The newest accounts first."""
        rows = await self._tables.ask(
            lambda sql: sql.rows(
                f"{_SELECT} WHERE workspace = ? AND account_id < ? ORDER BY account_id DESC LIMIT ?",
                workspace,
                cursor or AFTER_ALL,
                limit + 1,
            )
        )
        return page_of([_member(row) for row in rows], limit, lambda member: member.account.id)

    async def get(self, workspace: str, account_id: str) -> Member:
        """Raises NotFoundError, also for a person of other workspaces only."""
        return await self._tables.ask(lambda sql: member_of(sql, workspace, account_id))

    async def add(self, workspace: str, email: str, name: str, role: str) -> tuple[Member, bool]:
        """Take a person in by e-mail address; an account without a password is made if there is none (True).

        Raises InvalidInputError; ConflictError if that one is a member already.
        """
        email, name = checked_person(email, name)
        now = self._now()

        def add(sql: Sql) -> tuple[Member, bool]:
            permissions_of(sql, workspace, role)
            account_id, is_new = found_or_made(sql, email, name, now)
            if sql.row("SELECT 1 FROM membership WHERE workspace = ? AND account_id = ?", workspace, account_id):
                raise ConflictError("a user with this address belongs to the workspace already")
            sql.run("INSERT INTO membership VALUES (?, ?, ?, ?)", workspace, account_id, role, now)
            return member_of(sql, workspace, account_id), is_new

        return await self._tables.change(add)

    async def put_role(self, workspace: str, account_id: str, role: str) -> Member:
        """Give a member another role. Raises NotFoundError, InvalidInputError, ConflictError if no owner is left."""

        def put(sql: Sql) -> Member:
            permissions_of(sql, workspace, role)
            had_owner = has_owner(sql, workspace)
            sql.run(
                "UPDATE membership SET role = ? WHERE workspace = ? AND account_id = ?", role, workspace, account_id
            )
            refuse_losing_owner(sql, workspace, had_owner=had_owner)
            return member_of(sql, workspace, account_id)

        try:
            return await self._tables.change(put)
        finally:
            self._changed()

    async def remove(self, workspace: str, account_id: str) -> None:
        """Raises NotFoundError; ConflictError if no owner would be left. Their keys in it stop working, too."""
        now = self._now()

        def remove(sql: Sql) -> None:
            member_of(sql, workspace, account_id)
            had_owner = has_owner(sql, workspace)
            sql.run("DELETE FROM membership WHERE workspace = ? AND account_id = ?", workspace, account_id)
            refuse_losing_owner(sql, workspace, had_owner=had_owner)
            sql.run(
                "UPDATE api_key SET revoked_at = ? WHERE workspace = ? AND account_id = ? AND revoked_at IS NULL",
                now, workspace, account_id,
            )  # fmt: skip
            sql.run(
                "DELETE FROM flow_grant WHERE workspace = ? AND subject_kind = 'user' AND subject = ?",
                workspace, account_id,
            )  # fmt: skip

        try:
            await self._tables.change(remove)
        finally:
            self._changed()


def member_of(sql: Sql, workspace: str, account_id: str) -> Member:
    """Raises NotFoundError."""
    row = sql.row(f"{_SELECT} WHERE workspace = ? AND account_id = ?", workspace, account_id)
    if row is None:
        raise NotFoundError(f"no user of this workspace has the id {account_id!r}")
    return _member(row)


def _member(row: Row) -> Member:
    return Member(account=as_account(row), role=row[7], since=row[8])
