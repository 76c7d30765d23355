"""Rows of the service's tables that a commit brings are kept with it or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from segue.errors import ConflictError, NotFoundError
from segue.store import open_store, tables_of
from segue.store.port import Commit, JournalRow, NewRun, Store
from segue.store.tables import Sql, Tables

pytestmark = [pytest.mark.anyio, pytest.mark.req("TRIG-4.one-commit")]


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}" if request.param == "file" else "memory:")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def first(store: Store, run_id: str, name: str, error: Exception | None = None) -> Commit:
    def also(sql: Sql) -> None:
        sql.run("INSERT INTO setting VALUES (?, x'01')", name)
        if error is not None:
            raise error

    new = NewRun(run_id=run_id, workspace="default", flow_id="f", flow_version=1, trigger="api", created_at=1)
    return Commit(run_key=store.next_run_key(), rows=[JournalRow(0, 1, -1, 1, b"x")], new_run=new, also=also)


async def commit_all(store: Store, *commits: Commit) -> list[BaseException | None]:
    """The errors, in order; the commits are queued in one turn, so that they share a flush."""
    answers: list[asyncio.Future[BaseException | None]] = []
    for one in commits:
        answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        store.commit(one, lambda _, error, answer=answer: answer.set_result(error))
        answers.append(answer)
    return list(await asyncio.gather(*answers))


async def names(tables: Tables) -> list[str]:
    return await tables.ask(lambda sql: [row[0] for row in sql.rows("SELECT name FROM setting ORDER BY name")])


async def test_both_are_kept_together(store: Store) -> None:
    assert await commit_all(store, first(store, "run_1", "a")) == [None]

    assert await store.get_run("run_1") is not None
    assert await names(tables_of(store)) == ["a"]


async def test_a_key_that_is_taken_keeps_the_run_out_and_harms_no_neighbour(store: Store) -> None:
    commits = [first(store, f"run_{number}", name) for number, name in enumerate(["a", "b", "a", "c"])]

    errors = await commit_all(store, *commits)

    assert [type(error) for error in errors] == [type(None), type(None), ConflictError, type(None)]
    assert await names(tables_of(store)) == ["a", "b", "c"]
    assert await store.get_run("run_2") is None
    assert await store.get_run("run_3") is not None


@pytest.mark.parametrize("error", [NotFoundError("gone"), KeyError("ours")])
async def test_what_it_raises_is_the_commits_error_and_nothing_is_kept(store: Store, error: Exception) -> None:
    refused = first(store, "run_1", "a", error)

    errors = await commit_all(store, refused, first(store, "run_2", "b"))

    assert errors == [error, None]
    assert await names(tables_of(store)) == ["b"]
    assert await store.get_run("run_1") is None


async def test_a_run_that_is_refused_takes_its_row_along(store: Store) -> None:
    await commit_all(store, first(store, "run_1", "a"))

    errors = await commit_all(store, first(store, "run_1", "b"))

    assert isinstance(errors[0], ConflictError)
    assert await names(tables_of(store)) == ["a"]
