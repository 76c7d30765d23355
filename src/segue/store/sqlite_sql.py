"""A connection to SQLite as the service's tables see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import apsw

from segue.errors import ConflictError
from segue.store.tables import Row, Sql, Value

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


def changed(db: apsw.Connection, operation: Callable[[Sql], T]) -> T:
    """What the operation returns. Raises ConflictError if a row stands in its way, and whatever it raises itself."""
    try:
        return operation(SqliteSql(db))
    except apsw.ConstraintError as error:
        raise ConflictError(f"another row stands in the way: {error}") from error
