"""`segue migrate`: bring a database to this version's schema before it is served, a step of its own in deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.database import database_url, file_of
from segue.cli.errors import FAILED, SUCCEEDED
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption
from segue.errors import RequestError


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is pending; ends with 1 if anything is.")
    ] = False,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Apply the schema changes that a database lacks: all of them or none. A server does the same when it starts.

    A database that is newer than this program, or that another process runs, is refused.
    """
    url = database_url(database)
    path = file_of(url)
    if path is None:
        raise RequestError(f"{url} keeps nothing in a file; there is nothing to migrate")
    before, newest = _schemas(path)
    if not check and before < newest:
        run_async(_open(url))
    after = before if check else _schemas(path)[0]
    if json:
        from segue.cli.output import print_json

        print_json({"database": url, "before": before, "schema": after, "newest": newest, "pending": newest - after})
    elif after < newest:
        print(f"schema {after}; pending: {after + 1} to {newest}")
    elif before < after:
        print(f"schema {before} → {after}")
    else:
        print(f"schema {after}: up to date")
    return FAILED if after < newest else SUCCEEDED


def _schemas(path: Path) -> tuple[int, int]:
    """The schema of the file, 0 for one that is none yet, and the newest one of this program. Raises
    StoreUnavailableError for a file that is newer, or was made by other files.
    """
    import apsw

    from segue.errors import StoreUnavailableError
    from segue.store.migrate import applied_migrations, load_migrations, pending_migrations

    known = load_migrations("sqlite")
    if not path.exists():
        return 0, len(known)
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            applied = applied_migrations(db)
        finally:
            db.close()
    except apsw.Error as error:
        raise StoreUnavailableError(f"The file {path} cannot be read as a database: {error}.") from error
    pending_migrations(applied, known)
    return max(applied, default=0), len(known)


async def _open(url: str) -> None:
    from segue.store import open_store

    store = open_store(url)
    await store.open()
    await store.close()
