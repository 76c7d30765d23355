"""Browsers in which people have signed in: kept in the database, so that a restart signs nobody out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from segue.access.records import Session
from segue.access.tokens import digest_of, new_token
from segue.engine.ids import new_run_id
from segue.errors import NotFoundError
from segue.store.tables import Row, Sql, Tables

IDLE_MS: Final = 24 * 3_600_000
"""A session that was not used for so long is over."""
ABSOLUTE_MS: Final = 14 * 86_400_000
"""However much it is used: after so long a person signs in anew."""
USED_STEP_MS: Final = 60_000
"""How exactly the time of the last use is kept."""
PER_ACCOUNT_MAX: Final = 50
_COLUMNS: Final = "id, created_at, used_at, expires_at, address, agent"


class Sessions:
    """The sessions of one server. `changed` is called after one was ended."""

    def __init__(self, tables: Tables, now: Callable[[], int], changed: Callable[[], None]) -> None:
        self._tables = tables
        self._now = now
        self._changed = changed

    async def open(self, account_id: str, address: str, agent: str) -> str:
        """Sign a person in: the value of the new cookie."""
        token, now = new_token(), self._now()

        def make(sql: Sql) -> None:
            sql.run("DELETE FROM session WHERE expires_at <= ? OR used_at <= ?", now, now - IDLE_MS)
            sql.run(
                "DELETE FROM session WHERE account_id = ? AND id NOT IN"
                " (SELECT id FROM session WHERE account_id = ? ORDER BY created_at DESC LIMIT ?)",
                account_id, account_id, PER_ACCOUNT_MAX - 1,
            )  # fmt: skip
            sql.run(
                "INSERT INTO session(id, hash, account_id, created_at, used_at, expires_at, address, agent)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                new_run_id(now, prefix="ses_"), digest_of(token), account_id, now, now, now + ABSOLUTE_MS,
                address[:100], agent[:200],
            )  # fmt: skip
            sql.run("UPDATE account SET login_at = ? WHERE id = ?", now, account_id)

        await self._tables.change(make)
        return token

    async def list_of(self, account_id: str) -> list[Session]:
        """A person's living sessions, the newest first; at most 50."""
        now = self._now()
        rows = await self._tables.ask(
            lambda sql: sql.rows(
                f"SELECT {_COLUMNS} FROM session WHERE account_id = ? AND expires_at > ? AND used_at > ?"  # noqa: S608
                " ORDER BY created_at DESC, id DESC",
                account_id,
                now,
                now - IDLE_MS,
            )
        )
        return [_session(row) for row in rows]

    async def close(self, token: str) -> None:
        """Sign out. Safe to repeat."""
        await self._tables.change(lambda sql: sql.run("DELETE FROM session WHERE hash = ?", digest_of(token)))
        self._changed()

    async def close_all(self, account_id: str, *, but: str | None = None) -> None:
        """Sign a person out everywhere, or everywhere but where the cookie is `but`. Safe to repeat."""
        kept = b"" if but is None else digest_of(but)
        await self._tables.change(
            lambda sql: sql.run("DELETE FROM session WHERE account_id = ? AND hash <> ?", account_id, kept)
        )
        self._changed()

    async def id_of(self, token: str) -> str | None:
        """The id of the session that a cookie is of."""
        row = await self._tables.ask(lambda sql: sql.row("SELECT id FROM session WHERE hash = ?", digest_of(token)))
        return None if row is None else str(row[0])

    async def revoke(self, account_id: str, session_id: str) -> None:
        """End one of a person's sessions. Raises NotFoundError."""
        gone = await self._tables.change(
            lambda sql: sql.run("DELETE FROM session WHERE id = ? AND account_id = ?", session_id, account_id)
        )
        self._changed()
        if not gone:
            raise NotFoundError(f"no session has the id {session_id!r}")

    async def account_of(self, token: str) -> tuple[str, str] | None:
        """Whose living session this is, and its id; notes that it was used."""
        digest, now = digest_of(token), self._now()
        row = await self._tables.ask(
            lambda sql: sql.row("SELECT account_id, used_at, expires_at, id FROM session WHERE hash = ?", digest)
        )
        if row is None or row[2] <= now or row[1] <= now - IDLE_MS:
            return None
        if row[1] <= now - USED_STEP_MS:
            await self._tables.change(lambda sql: sql.run("UPDATE session SET used_at = ? WHERE hash = ?", now, digest))
        return str(row[0]), str(row[3])


def _session(row: Row) -> Session:
    return Session(id=row[0], created_at=row[1], used_at=row[2], expires_at=row[3], address=row[4], agent=row[5])
