"""Opening the database file: tight permissions, and a clear word about whatever is wrong with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw
import pytest

from segue.errors import StoreUnavailableError
from segue.store import sqlite_file
from segue.store.sqlite import SqliteStore
from segue.store.sqlite_file import APPLICATION_ID, check_sqlite_version
from segue.testing.store_contract import create, new_run

pytestmark = pytest.mark.anyio


async def refusal(path: Path) -> str:
    """Why a store does not open; nothing stays open or locked after it."""
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    with pytest.raises(StoreUnavailableError):
        await store.get_run("run_1")
    return caught.value.message


def content(path: Path) -> bytes:
    return path.read_bytes()


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def other_program(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


@pytest.mark.req("OPS-1.private-files")
async def test_folder_and_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "data" / "segue.db")
        await store.open()
        await create(store)
        modes = modes_in(tmp_path / "data")
        assert modes == dict.fromkeys(["segue.db", "segue.db-wal", "segue.db-shm", "segue.db.host"], 0o600)
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        await store.close()
    finally:
        os.umask(before)


async def test_a_closed_store_is_one_file_beside_its_lock(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    await store.open()
    await create(store)
    await store.close()
    assert sorted(modes_in(tmp_path)) == ["segue.db", "segue.db.host"]


async def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    await store.open()
    await store.close()
    header = content(tmp_path / "segue.db")[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID == int.from_bytes(b"Segu", "big")


async def test_the_log_has_its_length_before_the_first_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "segue.db")
    await store.open()
    log = tmp_path / "segue.db-wal"
    length = log.stat().st_size
    assert length >= sqlite_file.LOG_BYTES
    run = await create(store, new_run())
    assert log.stat().st_size == length
    assert await store.write(lambda db: db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'filler'").get) == 0
    assert await store.get_run_by_key(run) is not None
    await store.close()


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.9", "3.50.7"])
def test_a_sqlite_that_can_corrupt_a_database_is_refused(version: str) -> None:
    with pytest.raises(StoreUnavailableError, match=rf"SQLite {version} .*3\.51\.3"):
        check_sqlite_version(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.100.0", "4.0.0"])
def test_a_sqlite_without_the_bug_is_taken(version: str) -> None:
    check_sqlite_version(version)


async def test_an_old_sqlite_keeps_a_store_from_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert "3.40.1" in await refusal(tmp_path / "a.db")
    assert not (tmp_path / "a.db").exists()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("not a database, but long enough to be looked at as one. " * 50)
    assert "a.db is not a SQLite database" in await refusal(tmp_path / "a.db")


@pytest.mark.parametrize("statement", ["CREATE TABLE t (x)", "PRAGMA application_id = 7"])
async def test_the_database_of_another_program_is_left_alone(tmp_path: Path, statement: str) -> None:
    other_program(tmp_path / "a.db", statement)
    before = (tmp_path / "a.db").read_bytes()
    assert "another program" in await refusal(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_bytes() == before


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    await store.open()
    await store.close()
    other_program(tmp_path / "a.db", "INSERT INTO schema_version VALUES (999, 'future', 'x', 'x')")
    assert "Update Segue" in await refusal(tmp_path / "a.db")


async def test_a_missing_parent_folder_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'} does not exist" in await refusal(tmp_path / "none" / "data" / "a.db")


async def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    assert "is a folder" in await refusal(tmp_path / "a.db")


async def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "data" in await refusal(tmp_path / "data" / "a.db")


async def test_a_missing_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permissions do not bind root, who may run these tests: the system's answers are put in their place.
    (tmp_path / "a.db").touch()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path == tmp_path and allowed(path, mode))
    assert "cannot be read and written by this user" in await refusal(tmp_path / "a.db")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"folder {tmp_path} cannot be written" in await refusal(tmp_path / "a.db")


async def test_a_read_only_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def read_only(path: str | Path, flags: int, *rest: int) -> int:
        if str(path).endswith("a.db"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)
    assert "Read-only file system" in await refusal(tmp_path / "a.db")


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a file system that takes no files")
async def test_a_file_system_that_takes_no_files_is_told() -> None:
    assert "/proc/a.db" in await refusal(Path("/proc/a.db"))


async def test_a_refused_file_is_not_left_locked(tmp_path: Path) -> None:
    other_program(tmp_path / "a.db", "CREATE TABLE t (x)")
    await refusal(tmp_path / "a.db")
    other_program(tmp_path / "a.db", "DROP TABLE t")
    store = SqliteStore(tmp_path / "a.db")
    await store.open()
    await store.close()


@pytest.mark.req("DUR-1.kill")
@pytest.mark.parametrize("done", [False, True])
def test_a_database_whose_making_was_cut_short_is_made_to_its_end_by_the_next_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    path = tmp_path / "segue.db"
    make = sqlite_file.migrate

    def cut_short(db: apsw.Connection) -> None:
        if done:
            make(db)
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_file, "migrate", cut_short)
    with pytest.raises(KeyboardInterrupt):
        sqlite_file.open_for_writing(path, "FULL")
    monkeypatch.undo()
    db = sqlite_file.open_for_writing(path, "FULL")
    assert db.execute("SELECT count(*) FROM run").get == 0
    db.close()
