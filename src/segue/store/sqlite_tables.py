"""The service's tables on SQLite: in the database's file through the store's own writer and readers, or in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import apsw

from segue.errors import ConflictError
from segue.store.migrate import migrate
from segue.store.tables import Row, Sql, Value
from segue.store.writer import unavailable

if TYPE_CHECKING:
    from segue.store.sqlite import SqliteStore

T = TypeVar("T")


class SqliteSql:
    """`segue.store.tables.Sql` over one connection."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """See `Sql.rows`."""
        return self._db.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Value) -> Row | None:
        """See `Sql.row`."""
        return self._db.execute(statement, values).fetchone()

    def run(self, statement: str, *values: Value) -> int:
        """See `Sql.run`."""
        before = self._db.total_changes()
        self._db.execute(statement, values)
        return self._db.total_changes() - before


class FileTables:
    """`Tables` in the file of a store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def ask(self, question: Callable[[Sql], T]) -> T:
        """See `Tables.ask`."""
        return await self._store.read(lambda db: question(SqliteSql(db)))

    async def change(self, operation: Callable[[Sql], T]) -> T:
        """See `Tables.change`."""
        return await self._store.write(lambda db: _changed(db, operation))


class MemoryTables:
    """`Tables` that end with the process."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        migrate(self._db)
        self._turn = asyncio.Lock()

    async def ask(self, question: Callable[[Sql], T]) -> T:
        """See `Tables.ask`."""
        return await self._do(lambda: question(SqliteSql(self._db)))

    async def change(self, operation: Callable[[Sql], T]) -> T:
        """See `Tables.change`."""

        def do() -> T:
            self._db.execute("BEGIN")
            try:
                changed = _changed(self._db, operation)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return changed

        return await self._do(do)

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(work)
            except apsw.Error as error:
                raise unavailable(error) from error


def _changed(db: apsw.Connection, operation: Callable[[Sql], T]) -> T:
    try:
        return operation(SqliteSql(db))
    except apsw.ConstraintError as error:
        raise ConflictError(f"another row stands in the way: {error}") from error
