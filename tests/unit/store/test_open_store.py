"""Which store an address means."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.errors import RequestError
from segue.store import open_store
from segue.store.memory import MemoryStore
from segue.store.sqlite import SqliteStore


@pytest.mark.req("OPS-1.sqlite")
def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative, absolute = open_store("sqlite:///a/b.db"), open_store("sqlite:////srv/b.db")
    assert isinstance(relative, SqliteStore)
    assert isinstance(absolute, SqliteStore)
    assert relative.path == tmp_path / "a" / "b.db"
    assert absolute.path == Path("/srv/b.db")


@pytest.mark.parametrize("url", ["memory:", "sqlite:///:memory:"])
def test_memory_is_the_twin(url: str) -> None:
    assert isinstance(open_store(url), MemoryStore)


@pytest.mark.anyio
async def test_the_flush_to_disk_is_an_option(tmp_path: Path) -> None:
    for option, wanted in (("", 2), ("?synchronous=FULL", 2), ("?synchronous=NORMAL", 1)):
        store = open_store(f"sqlite:///{tmp_path}/a.db{option}")
        assert isinstance(store, SqliteStore)
        await store.open()
        assert await store.write(lambda db: db.pragma("synchronous")) == wanted
        assert await store.write(lambda db: db.pragma("journal_mode")) == "wal"
        await store.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://me:hidden@localhost/segue", "PostgreSQL yet"),
        ("postgres://me:hidden@localhost/segue", "PostgreSQL yet"),
        ("mysql://me:hidden@localhost/segue", "not the address of a store"),
        ("sqlite://relative.db", "not the address of a store"),
        ("segue.db", "not the address of a store"),
        ("", "not the address of a store"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a.db?synchronous=OFF", "not known"),
        ("sqlite:///a.db?mode=ro", "not known"),
    ],
)
def test_other_addresses_are_refused_with_what_would_work(url: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        open_store(url)
    assert "hidden" not in caught.value.message
