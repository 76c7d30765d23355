"""A database of every released schema opens in this release, and the runs in it go on."""

from __future__ import annotations

import base64
from pathlib import Path

import apsw
import pytest

from segue import Segue
from segue.store.migrate import load_migrations, migrate
from segue.store.sqlite_file import APPLICATION_ID

pytestmark = [pytest.mark.anyio, pytest.mark.req("OPS-6.every-schema")]

FLOW = """
flow: waits
steps:
  - first: {set: {n: 1}}
  - ask: {wait: {callback: {expires: 30d}}}
  - last: {set: {n: "{{ vars.n + steps.ask.n }}"}}
outputs: {n: $vars.n}
"""


@pytest.fixture(autouse=True)
def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_KEY", base64.b64encode(b"k" * 32).decode())


async def make(path: Path) -> str:
    """A database of this release with a run that waits; the run's id."""
    async with Segue(f"sqlite:///{path}") as segue:
        run_id = await segue.start(FLOW)
        assert await segue.callbacks(run_id)
        return run_id


def of_schema(number: int, path: Path, source: Path) -> None:
    """A database as a release with this schema would have left it: what it has places for of what is in `source`."""
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("application_id", APPLICATION_ID)
    migrate(db, load_migrations("sqlite")[:number])
    db.execute("ATTACH ? AS newest", (str(source),))
    tables = [row[0] for row in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
    for table in tables:
        if table.startswith(("sqlite_", "schema_version")):
            continue
        here, there = (columns_of(db, one, table) for one in ("main", "newest"))
        columns = ", ".join(f'"{name}"' for name in sorted(here & there))
        if columns:
            db.execute(f'INSERT OR REPLACE INTO main."{table}"({columns}) SELECT {columns} FROM newest."{table}"')
    db.close()


def columns_of(db: apsw.Connection, database: str, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA {database}.table_info('{table}')")}


@pytest.mark.parametrize("number", range(1, len(load_migrations("sqlite")) + 1))
async def test_a_run_that_waited_under_an_older_schema_goes_on(number: int, tmp_path: Path) -> None:
    run_id = await make(tmp_path / "newest.db")
    of_schema(number, tmp_path / "old.db", tmp_path / "newest.db")
    async with Segue(f"sqlite:///{tmp_path / 'old.db'}") as segue:
        (waiting,) = await segue.callbacks(run_id)
        await segue.callback(waiting.token, {"n": 41})
        assert (await segue.wait(run_id)).outputs == {"n": 42}
