"""A database of every released schema opens in this release, and the runs in it go on."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

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


def filled(db: apsw.Connection) -> dict[str, dict[str, Any]]:
    """One row in every table that a program writes to, whatever is allowed there; the rows, by table."""
    rows: dict[str, dict[str, Any]] = {}
    virtual = [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'")]
    found: list[Any] = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY rowid").fetchall()
    for table, sql in found:
        if table.startswith(("sqlite_", "schema_version", *virtual)):
            continue
        row: dict[str, Any] = {}
        columns: list[Any] = db.execute(f"PRAGMA table_info('{table}')").fetchall()
        for _, column, kind, _, _, _ in columns:
            allowed = re.search(rf"{column}\b[^,]*CHECK \({column} IN \(([^)]*)\)", sql)
            word = allowed[1].split(",")[0].strip() if allowed else ""
            if kind == "INTEGER":
                row[column] = int(word) if word else 1
            elif kind == "TEXT":
                row[column] = word.strip("'") if word else f'{{"{table}": "{column}"}}'
            else:
                row[column] = f"{table}.{column}".encode()
        names, places = (", ".join(parts) for parts in ([f'"{name}"' for name in row], ["?"] * len(row)))
        db.execute(f'INSERT OR REPLACE INTO "{table}"({names}) VALUES ({places})', tuple(row.values()))
        rows[table] = row
    assert len(rows) > 7
    return rows


@pytest.mark.req("OPS-6.every-row")
@pytest.mark.parametrize("number", range(1, len(load_migrations("sqlite")) + 1))
def test_every_table_of_an_older_schema_keeps_its_rows(number: int, tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "old.db"))
    migrations = load_migrations("sqlite")
    assert migrate(db, migrations[:number]) == list(range(1, number + 1))
    before = filled(db)
    assert migrate(db) == list(range(number + 1, len(migrations) + 1))
    for table, row in before.items():
        kept = sorted(columns_of(db, "main", table) & row.keys())
        assert set(kept) == set(row), f"{table} has lost a column: say here where it went"
        names = ", ".join(f'"{name}"' for name in kept)
        assert tuple(row[name] for name in kept) in db.execute(f'SELECT {names} FROM "{table}"').fetchall(), table
    assert db.execute("PRAGMA integrity_check").get == "ok"
    assert migrate(db) == [], "a second time there is nothing to do"
    db.close()
