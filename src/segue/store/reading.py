"""Reading a database file without hosting it: for commands that only look.

Nothing is written and no lock is taken, so it works beside a running host and on a file that nobody runs: SQLite's log
(WAL) lets readers see what is committed at any time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import msgspec

from segue.errors import NotFoundError, StoreUnavailableError
from segue.store.migrate import load_migrations, pending_migrations
from segue.store.readers import Readers
from segue.store.sqlite import SqliteStore
from segue.store.sqlite_file import APPLICATION_ID, check_sqlite_version, open_for_reading
from segue.store.writer import unavailable


class SqliteReader(SqliteStore):
    """A store whose reading methods work; whatever would write raises StoreUnavailableError."""

    async def open(self) -> None:
        """Connect. Raises NotFoundError if there is no file yet, StoreUnavailableError for one that cannot be used."""
        if self._readers is None:
            self._readers = await asyncio.to_thread(_open_readers, self.path)


def _open_readers(path: Path) -> Readers:
    check_sqlite_version(apsw.sqlite_lib_version())
    if not path.exists():
        raise NotFoundError(f"there is no database at {path} yet; it is made by the first run")
    if path.is_dir():
        raise StoreUnavailableError(f"The database {path} is a folder; name a file.")
    try:
        db = open_for_reading(path)
        try:
            _check(db, path)
        finally:
            db.close()
        return Readers(path)
    except apsw.NotADBError as error:
        raise StoreUnavailableError(f"{path} is not a SQLite database; name another file.") from error
    except apsw.Error as error:
        raise unavailable(error) from error


def _check(db: apsw.Connection, path: Path) -> None:
    """That the file is ours and has the schema that this program reads."""
    if db.pragma("application_id") != APPLICATION_ID:
        if db.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            raise NotFoundError(f"there is nothing in the database {path} yet; it is filled by the first run")
        raise StoreUnavailableError(f"{path} is the database of another program; name another file.")
    rows = db.execute("SELECT number, checksum FROM schema_version").fetchall()
    applied = dict(msgspec.convert(rows, list[tuple[int, str]]))
    if pending_migrations(applied, load_migrations("sqlite")):
        raise StoreUnavailableError(
            f"The database {path} was made by an older version of Segue; `segue run --continue` brings it up to date."
        )
