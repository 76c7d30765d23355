"""`segue migrate`: the schema as a step of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from segue.store.migrate import load_migrations, migrate
from segue.store.sqlite_file import APPLICATION_ID

NEWEST = len(load_migrations("sqlite"))


def segue(path: Path, *args: str) -> tuple[int, Any, str]:
    command = [sys.executable, "-m", "segue", "migrate", *args, "--json", "--database", str(path)]
    env = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    told = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, (told.get("before"), told.get("schema"), told.get("pending")), done.stderr


def of_schema(path: Path, number: int) -> None:
    db = apsw.Connection(str(path))
    db.pragma("application_id", APPLICATION_ID)
    migrate(db, load_migrations("sqlite")[:number])
    db.close()


@pytest.mark.req("OPS-6.command")
def test_a_database_is_brought_to_the_newest_schema_by_command(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    of_schema(path, 9)
    assert segue(path, "--check")[:2] == (1, (9, 9, NEWEST - 9))
    assert segue(path)[:2] == (0, (9, NEWEST, 0))
    assert segue(path, "--check")[:2] == (0, (NEWEST, NEWEST, 0))
    assert segue(tmp_path / "new.db")[:2] == (0, (0, NEWEST, 0))


@pytest.mark.req("OPS-6.command")
def test_what_is_newer_or_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    of_schema(path, NEWEST)
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO schema_version VALUES (?, 'later', 'x', '')", (NEWEST + 1,))
    db.close()
    code, _, told = segue(path)
    assert code != 0
    assert "newer version" in told
    (tmp_path / "text.db").write_text("this is no database at all, but a text that is long enough to be looked at")
    code, _, told = segue(tmp_path / "text.db", "--check")
    assert code != 0
    assert "cannot be read as a database" in told
