"""Tables of the service: identities, flows, triggers and the like, which people and programs manage.

The engine's own rows go through `segue.store.port.Store`, made for its hot path. What is managed is small and seldom
written, so one port of four methods is enough, and each part of the service brings its statements with it: plain SQL
that SQLite and PostgreSQL both read, with `?` for values.

A change is one transaction, in the same queue as the engine's commits and in the same flush to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Value = str | int | float | bytes | None
Row = tuple[Any, ...]


class Sql(Protocol):
    """A connection inside of a transaction. Belongs to the function that was given it."""

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """All rows of the answer."""
        ...

    def row(self, statement: str, *values: Value) -> Row | None:
        """The first row; None if there is none."""
        ...

    def run(self, statement: str, *values: Value) -> int:
        """The number of rows that the statement changed."""
        ...


class Tables(Protocol):
    """Transactions over the service's tables. The functions run in another thread and must touch nothing else."""

    async def ask(self, question: Callable[[Sql], T]) -> T:
        """The answer to a question that changes nothing. Raises StoreUnavailableError."""
        ...

    async def change(self, operation: Callable[[Sql], T]) -> T:
        """What the operation returns, once all that it changed is on disk; if it raises, nothing was changed.

        Raises what the operation raises; ConflictError if a row stands in its way (a key that is taken);
        StoreUnavailableError.
        """
        ...
