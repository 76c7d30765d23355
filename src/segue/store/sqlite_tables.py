"""The service's tables on SQLite: in the database's file through the store's own writer and readers, or in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import apsw

from segue.store.migrate import migrate
from segue.store.sqlite_sql import SqliteSql, changed
from segue.store.tables import Sql
from segue.store.writer import unavailable

if TYPE_CHECKING:
    from segue.store.sqlite import SqliteStore

T = TypeVar("T")


class FileTables:
    """`Tables` in the file of a store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def ask(self, question: Callable[[Sql], T]) -> T:
        """See `Tables.ask`."""
        return await self._store.read(lambda db: question(SqliteSql(db)))

    async def change(self, operation: Callable[[Sql], T]) -> T:
        """See `Tables.change`."""
        return await self._store.write(lambda db: changed(db, operation))


class MemoryTables:
    """`Tables` that end with the process."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        migrate(self._db)
        self._turn = threading.Lock()

    async def ask(self, question: Callable[[Sql], T]) -> T:
        """See `Tables.ask`."""
        return await asyncio.to_thread(self._locked, lambda: question(SqliteSql(self._db)))

    async def change(self, operation: Callable[[Sql], T]) -> T:
        """See `Tables.change`."""
        return await asyncio.to_thread(self.change_now, operation)

    def change_now(self, operation: Callable[[Sql], T]) -> T:
        """`change` without a thread of its own, as part of a commit of the memory store."""

        def do() -> T:
            self._db.execute("BEGIN")
            try:
                done = changed(self._db, operation)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return done

        return self._locked(do)

    def _locked(self, work: Callable[[], T]) -> T:
        with self._turn:
            try:
                return work()
            except apsw.Error as error:
                raise unavailable(error) from error
