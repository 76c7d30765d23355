"""Migrations: forwards, once each, all or nothing."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from segue.errors import StoreUnavailableError
from segue.store.migrate import Migration, load_migrations, migrate, pending_migrations

FIRST = Migration(1, "first", "CREATE TABLE a (x); INSERT INTO a VALUES (1);")
SECOND = Migration(2, "second", "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1;")
BROKEN = Migration(3, "broken", "CREATE TABLE b (x); CREATE TABLE a (x);")

pytestmark = pytest.mark.req("OPS-6.sqlite")


@pytest.fixture
def db(tmp_path: Path):
    connection = apsw.Connection(str(tmp_path / "a.db"))
    yield connection
    connection.close()


def test_pending_files_are_applied_in_order_and_once(db: apsw.Connection) -> None:
    assert migrate(db, [FIRST]) == [1]
    assert migrate(db, [FIRST, SECOND]) == [2]
    assert migrate(db, [FIRST, SECOND]) == []
    assert db.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    rows = db.execute("SELECT number, name, checksum FROM schema_version").fetchall()
    assert rows == [(m.number, m.name, m.checksum) for m in (FIRST, SECOND)]


def test_a_file_that_fails_leaves_the_database_as_it_was(db: apsw.Connection) -> None:
    migrate(db, [FIRST])
    with pytest.raises(apsw.SQLError, match="already exists"):
        migrate(db, [FIRST, SECOND, BROKEN])
    assert not db.in_transaction
    assert db.execute("SELECT * FROM a").fetchall() == [(1,)]
    assert migrate(db, [FIRST, SECOND]) == [2]


def test_a_database_newer_than_the_program_is_refused(db: apsw.Connection) -> None:
    migrate(db, [FIRST, SECOND])
    with pytest.raises(StoreUnavailableError, match=r"schema 2, .*up to 1.*newer version.*Update Segue"):
        migrate(db, [FIRST])
    assert db.execute("SELECT * FROM a").fetchall() == [(1, 2)]


def test_a_database_made_by_another_file_is_refused(db: apsw.Connection) -> None:
    migrate(db, [FIRST])
    with pytest.raises(StoreUnavailableError, match=r"Schema 1 \(first\).*another content"):
        migrate(db, [FIRST._replace(sql="CREATE TABLE a (z);"), SECOND])
    assert migrate(db, [FIRST, SECOND]) == [2]


def test_what_is_pending_depends_on_numbers_alone() -> None:
    assert pending_migrations({}, [FIRST, SECOND]) == [FIRST, SECOND]
    assert pending_migrations({1: FIRST.checksum}, [FIRST, SECOND]) == [SECOND]


def test_the_programs_own_files_are_numbered_without_a_gap_and_apply(db: apsw.Connection) -> None:
    own = load_migrations("sqlite")
    assert migrate(db) == [migration.number for migration in own] == list(range(1, len(own) + 1))
    assert db.execute("PRAGMA integrity_check").get == "ok"


def test_a_released_file_is_never_changed() -> None:
    # A change would lock every user out of their database: write the next number instead.
    assert {migration.number: migration.checksum[:12] for migration in load_migrations("sqlite")} == RELEASED


RELEASED = {
    1: "5c4c5f4b1351",
    2: "0129fd02cd3a",
    3: "ef2e9bd617c9",
    4: "5970717436a6",
    5: "5ca1ff48608d",
    6: "eb64c25fe1c9",
    7: "3fe38d19a092",
    8: "6b8a659b11ac",
    9: "44c3019a5574",
    10: "465fa73b6d52",
    11: "0dc9530438e8",
    12: "156c8d52c6fb",
}
