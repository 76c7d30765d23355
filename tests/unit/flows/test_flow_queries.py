"""Every list of flows is read through an index, so that it stays quick however many there are."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import apsw
import pytest

from segue.flows import listing, rows
from segue.flows.records import FlowFilter
from segue.store.migrate import migrate
from segue.store.sqlite_sql import SqliteSql


@pytest.fixture(scope="module")
def db() -> Generator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    for number in range(2_000):
        workspace, state = f"w{number % 3}", "live" if number % 10 else "archived"
        connection.execute(
            "INSERT INTO flow VALUES"
            " (?, ?, ?, ?, ?, ?, NULL, ?, '[]', 1, '{}', '[]', '', 1, NULL, NULL, ?, 'a', ?, 'a')",
            (number, workspace, f"f{number}", state, f"F{number}", f"f{number}", f"c{number % 7}", number, number),
        )
        connection.execute("INSERT INTO flow_tag VALUES (?, ?, ?)", (workspace, f"t{number % 50}", number))
        connection.execute(
            "INSERT INTO stored_version VALUES (?, ?, ?, '1.0.0', 'd', '', x'7b7d', NULL, 1, 'a', NULL, NULL)",
            (number, workspace, number),
        )
    connection.execute("ANALYZE")
    yield connection
    connection.close()


def plan(db: apsw.Connection, statement: str, values: Sequence[object]) -> list[str]:
    found = db.execute(f"EXPLAIN QUERY PLAN {statement}", tuple(values)).fetchall()  # type: ignore[arg-type]
    return [str(row[3]) for row in found]


def after(where: FlowFilter) -> listing.Position:
    return listing.Position(where.sort, "f5" if where.sort == "name" else 5, "f5")


@pytest.mark.req("OPS-4.flows", "FLOW-6.list")
@pytest.mark.parametrize(
    ("where", "index"),
    [
        (FlowFilter(), "flow_by_name"),
        (FlowFilter(sort="updated"), "flow_by_update"),
        (FlowFilter(sort="created"), "flow_by_creation"),
        (FlowFilter(state="archived"), "flow_by_name"),
        (FlowFilter(category="c1"), "flow_by_category"),
        (FlowFilter(tags=("t1",)), "flow"),
        (FlowFilter(is_published=True), "flow_by_name"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_list_of_flows_uses_an_index(db: apsw.Connection, where: FlowFilter, index: str, is_first: bool) -> None:
    statement, values = listing.statement_of("w1", where, None if is_first else after(where))
    found = plan(db, f"{statement} LIMIT ?", [*values, 50])
    assert not [line for line in found if line.startswith("SCAN")], found
    assert any(index in line and "INDEX" in line for line in found), found
    if not where.tags:
        assert not [line for line in found if "TEMP B-TREE" in line], found


@pytest.mark.req("OPS-4.flows")
def test_a_search_goes_through_the_full_text_index_and_single_rows_by_key(db: apsw.Connection) -> None:
    where = FlowFilter(query="hello world")
    searched = listing.search_of("w1", where.query or "")
    statement, values = listing.search_statement("w1", where, None)
    found = plan(db, f"{statement} LIMIT ?", [searched, *values, 50])
    assert any("VIRTUAL TABLE INDEX" in line for line in found), found
    assert not [line for line in found if line.startswith("SCAN f ") or line == "SCAN f"], found
    for text, values in (
        (f"{rows.INFO} WHERE f.workspace = ? AND f.id = ? AND f.state <> 'deleted'", ["w1", "f1"]),
        (rows.UNSETTLED, [100]),
        ("SELECT key FROM stored_version WHERE flow = ? AND key < ? ORDER BY key DESC LIMIT 50", [5, 9]),
        ("SELECT flow_id FROM flow_favourite WHERE workspace = ? AND owner = ? ORDER BY place", ["w1", "me"]),
    ):
        found = plan(db, text, values)
        scans = [line for line in found if line.startswith("SCAN") and "INDEX" not in line]
        assert not scans, found


def test_words_that_a_search_could_be_broken_with_are_words(db: apsw.Connection) -> None:
    sql = SqliteSql(db)
    for query in (
        '"',
        "a AND OR NOT",
        "NEAR(",
        "*",
        "a:b",
        "workspace : w2",
        "{id} :",
        "'; DROP TABLE flow",
        "\0",
        "^x",
    ):
        page = listing.page(sql, "w1", FlowFilter(query=query), limit=5, cursor=None)
        assert page.flows == ()
