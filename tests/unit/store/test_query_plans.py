"""Every question that the store asks SQLite is answered through an index (OPS-4: indexes for every list)."""

from __future__ import annotations

import apsw
import pytest

from segue.store import readers
from segue.store.migrate import migrate
from segue.store.port import RunFilter
from segue.store.run_lists import list_statement

LISTS = {
    "all": (RunFilter(), None, "run_by_time (workspace=?"),
    "times": (RunFilter(created_from=1, created_before=9), None, "run_by_time (workspace=? AND created_at>?"),
    "flow": (RunFilter(flow_id="f"), None, "run_by_flow (workspace=? AND flow_id=?"),
    "flow and status": (
        RunFilter(flow_id="f", statuses=("failed",)),
        "failed",
        "run_by_flow_and_status (workspace=? AND flow_id=? AND status=?",
    ),
    "flow and version": (RunFilter(flow_id="f", version="1.0.0"), None, "run_by_flow (workspace=? AND flow_id=?"),
    "trigger": (RunFilter(trigger="schedule"), None, "run_by_trigger (workspace=? AND trigger=?"),
    "parent": (
        RunFilter(parent_run_id="run_1", statuses=("failed",)),
        None,
        "run_by_parent (workspace=? AND parent_ru",
    ),
    "error": (RunFilter(error_text="timeout"), None, "run_search VIRTUAL TABLE INDEX"),
    "error of two letters": (RunFilter(error_text="ti"), None, "run_with_error (workspace=?"),
    "label": (RunFilter(labels=(("team", "a"),)), None, "run_label USING PRIMARY KEY (space=? AND name=? AND label=?"),
    "labels and all else": (
        RunFilter(
            labels=(("team", "a"), ("env", "p")),
            flow_id="f",
            statuses=("failed", "queued"),
            created_from=1,
            trigger="api",
            among=frozenset({"f", "g"}),
        ),
        None,
        "run_label USING PRIMARY KEY (space=? AND name=? AND label=? AND at>?",
    ),
    "label and error": (
        RunFilter(labels=(("team", "a"),), error_text="timeout"),
        None,
        "run_search VIRTUAL TABLE INDEX",
    ),
    "label and parent": (RunFilter(labels=(("a", "b"),), parent_run_id="run_1"), None, "run_by_parent (workspace=?"),
    "oldest first": (RunFilter(flow_id="f", oldest_first=True), None, "run_by_flow (workspace=? AND flow_id=?"),
    "status": (RunFilter(statuses=("failed",)), "failed", "run_by_status (workspace=? AND status=?"),
    "status and times": (
        RunFilter(statuses=("failed",), created_from=1, created_before=9),
        "failed",
        "run_by_status (workspace=? AND status=? AND created_at>?",
    ),
}
QUESTIONS = {
    "run by id": (readers.RUN_BY_ID, ("run_1",), "(run_id=?)"),
    "run by idempotency key": (readers.RUN_BY_IDEMPOTENCY_KEY, ("w", "k"), "PRIMARY KEY (workspace=? AND key=?)"),
    "run by key": (readers.RUN_BY_KEY, (1,), "PRIMARY KEY (rowid=?)"),
    "unfinished": (readers.UNFINISHED, (0, 10), "run_unfinished (key>?)"),
    "due": (readers.DUE, (9, 10), "run_by_wake_at (wake_at<?)"),
    "next wake": (readers.NEXT_WAKE_AT, (), "run_by_wake_at"),
    "under way": (readers.UNDER_WAY, ("w", "f", ""), "run_under_way (workspace=? AND flow_id=? AND limit_key=?)"),
    "queued": (readers.QUEUED, ("w", "f", "", 9), "run_queue (workspace=? AND flow_id=? AND limit_key=?)"),
    "begun": (readers.BEGUN, ("w", "f", "", 0, 9), "run_begun (workspace=? AND flow_id=? AND limit_key=? AND started"),
    "queues": (readers.NEXT_QUEUE_GROUP, ("w", "f", ""), "run_queue ((workspace,flow_id,limit_key)>(?,?,?))"),
    "slot waits": (readers.SLOT_WAITS, ("s", 9), "slot_wait_in_order (slots=?)"),
    "slots begun": (readers.SLOTS_BEGUN, ("s", 0, 9), "slot_begun_in_order (slots=? AND at>?)"),
    "awaited slots": (readers.AWAITED_SLOTS, ("", 9), "slot_wait_in_order (slots>?)"),
    "cached": (readers.CACHED, (b"k", 0), "PRIMARY KEY (key=?)"),
    "workspaces": (readers.WORKSPACES, (), "run_by_time (workspace>?)"),
    "counts": (readers.COUNT_RUNS, ("w",), "COVERING INDEX run_by_status (workspace=?)"),
    "journal": (readers.JOURNAL, (1, -1, 10), "PRIMARY KEY (run_key=? AND seq>?)"),
    "blob": (readers.BLOB, ("h",), "(hash=?)"),
    "logs": (readers.LOGS, (1, 0, 10), "log_line_by_run (run_key=? AND n>?)"),
    "callback": (readers.CALLBACK, (b"h",), "PRIMARY KEY (token_hash=?)"),
    "callbacks of a run": (readers.CALLBACKS_OF_RUN, (1,), "callback_by_run (run_key=?)"),
    "flow version": (readers.FLOW_VERSION, (1,), "PRIMARY KEY (rowid=?)"),
    "setting": (readers.SETTING, ("a",), "PRIMARY KEY (name=?)"),
}


@pytest.fixture(scope="module")
def db() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    return connection


def plan(db: apsw.Connection, text: str, values: tuple) -> list[str]:
    return [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {text}", values)]


def scanned_tables(steps: list[str]) -> list[str]:
    """Tables that are read from end to end (what a subquery yields is not a table)."""
    tables = {"run", "journal", "blob", "log_line", "callback", "flow_version", "setting", "idempotency"}
    tables |= {"slot_wait", "slot_begun", "result_cache"}
    return [step for step in steps if step.startswith("SCAN") and step.split()[1] in tables]


@pytest.mark.req("OPS-4.indexes")
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("cursor", [None, (5, 5)], ids=["first page", "next page"])
def test_each_list_of_runs_is_read_in_order_from_its_index(
    db: apsw.Connection, name: str, cursor: tuple[int, int] | None
) -> None:
    where, status, index = LISTS[name]
    steps = plan(db, *list_statement(where, "w", status, cursor, 10))
    assert any(index in step for step in steps), steps
    assert scanned_tables(steps) == []
    assert not any("TEMP B-TREE" in step for step in steps), "the rows would be sorted"


@pytest.mark.req("OPS-4.indexes")
def test_runs_whose_ids_begin_alike_are_found_by_their_ids(db: apsw.Connection) -> None:
    where = RunFilter(id_prefix="run_06f2k9m1", statuses=("failed",))
    steps = plan(db, *list_statement(where, "w", None, (5, 5), 10))
    assert any("sqlite_autoindex_run_1 (run_id>? AND run_id<?)" in step for step in steps), steps


@pytest.mark.req("OPS-4.indexes")
@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_uses_an_index(db: apsw.Connection, name: str) -> None:
    text, values, index = QUESTIONS[name]
    steps = plan(db, text, values)
    assert any(index in step for step in steps), steps
    assert scanned_tables(steps) == []
