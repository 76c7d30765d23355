"""Brings a SQLite database to the current schema: numbered `.sql` files, applied in order, each once.

`schema_version` keeps number, name and checksum of every file applied. A database that is newer than the program, or
that had another text applied under the same number, is refused untouched. All pending files are one transaction.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple

import apsw
import msgspec

from segue.errors import StoreUnavailableError

_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"""


class Migration(NamedTuple):
    """One file of `store/migrations/<dialect>/`, named `<number>_<what it does>.sql`."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(dialect: str) -> list[Migration]:
    """The program's migrations of a dialect (`sqlite`), by number: 1, 2, 3, … without a gap."""
    folder = resources.files("segue.store") / "migrations" / dialect
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    found = sorted(Migration(int(file.name[:4]), file.name[5:-4], file.read_text("utf-8")) for file in files)
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), "migrations have a gap"
    return found


def pending_migrations(applied: dict[int, str], migrations: list[Migration]) -> list[Migration]:
    """What is still to be applied, given number and checksum of what was.

    Raises StoreUnavailableError if the database is newer than the program or was made by other files.
    """
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise StoreUnavailableError(
            f"The database has schema {newest}, and this version of Segue knows schemas up to {len(migrations)}: "
            "the database was used by a newer version. Update Segue."
        )
    for migration in migrations:
        if migration.number in applied and applied[migration.number] != migration.checksum:
            raise StoreUnavailableError(
                f"Schema {migration.number} ({migration.name}) of the database was made by a file with another content "
                "than this version of Segue has: its tables are not what they should be. Use the version that made it."
            )
    return [migration for migration in migrations if migration.number not in applied]


def applied_migrations(db: apsw.Connection) -> dict[int, str]:
    """Number and checksum of what was applied to a database; empty for a new one."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").get is None:
        return {}
    rows = db.execute("SELECT number, checksum FROM schema_version").fetchall()
    return dict(msgspec.convert(rows, list[tuple[int, str]]))


def migrate(db: apsw.Connection, migrations: list[Migration] | None = None) -> list[int]:
    """Apply what is pending and return its numbers. All or nothing; a second program that tries meanwhile waits.

    Raises StoreUnavailableError as `pending_migrations` does; apsw's errors pass through.
    """
    migrations = load_migrations("sqlite") if migrations is None else migrations
    db.execute("BEGIN EXCLUSIVE")
    try:
        db.execute(_VERSIONS)
        pending = pending_migrations(applied_migrations(db), migrations)
        for migration in pending:
            db.execute(migration.sql)
            db.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
                (migration.number, migration.name, migration.checksum),
            )
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return [migration.number for migration in pending]
