"""The service's tables: a change is a transaction of its own, whatever it meets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from segue.errors import ConflictError, NotFoundError, StoreUnavailableError
from segue.store import open_store, tables_of
from segue.store.tables import Sql, Tables

pytestmark = [pytest.mark.anyio, pytest.mark.req("OPS-1.tables")]


@pytest.fixture(params=["file", "memory"])
async def tables(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tables]:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}" if request.param == "file" else "memory:")
    await store.open()
    try:
        yield tables_of(store)
    finally:
        await store.close()


async def names(tables: Tables) -> list[str]:
    return await tables.ask(lambda sql: [row[0] for row in sql.rows("SELECT name FROM setting ORDER BY name")])


async def test_what_was_changed_is_found_and_counted(tables: Tables) -> None:
    assert await tables.change(lambda sql: sql.run("INSERT INTO setting VALUES (?, ?)", "b", b"2")) == 1
    assert await tables.change(lambda sql: sql.run("INSERT INTO setting VALUES ('a', x'01'), ('c', x'02')")) == 2
    assert await tables.change(lambda sql: sql.run("UPDATE setting SET value = x'03' WHERE name > 'a'")) == 2
    assert await names(tables) == ["a", "b", "c"]
    assert await tables.ask(lambda sql: sql.row("SELECT value FROM setting WHERE name = ?", "c")) == (b"\x03",)
    assert await tables.ask(lambda sql: sql.row("SELECT value FROM setting WHERE name = ?", "z")) is None


async def test_an_operation_that_raises_changes_nothing_and_harms_no_other(tables: Tables) -> None:
    def half(sql: Sql) -> None:
        sql.run("INSERT INTO setting VALUES ('half', x'01')")
        raise NotFoundError("there is no such thing")

    def broken(sql: Sql) -> None:
        sql.run("INSERT INTO setting VALUES ('broken', x'01')")
        raise KeyError("a mistake of ours")

    with pytest.raises(NotFoundError):
        await tables.change(half)
    with pytest.raises(KeyError):
        await tables.change(broken)
    await tables.change(lambda sql: sql.run("INSERT INTO setting VALUES ('whole', x'01')"))
    assert await names(tables) == ["whole"]


async def test_a_key_that_is_taken_is_a_conflict(tables: Tables) -> None:
    await tables.change(lambda sql: sql.run("INSERT INTO setting VALUES ('a', x'01')"))
    with pytest.raises(ConflictError, match="stands in the way"):
        await tables.change(lambda sql: sql.run("INSERT INTO setting VALUES ('a', x'02')"))
    assert await tables.ask(lambda sql: sql.row("SELECT value FROM setting")) == (b"\x01",)


async def test_a_statement_that_the_database_refuses_is_told(tables: Tables) -> None:
    with pytest.raises(StoreUnavailableError):
        await tables.ask(lambda sql: sql.rows("SELECT * FROM nowhere"))
