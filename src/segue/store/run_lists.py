"""Lists of runs on SQLite: each is read in its order from an index, so that a page costs the same among a million runs.

What one index cannot give in order (several statuses or flows, all workspaces) is several lists, which are merged. Runs
with a label, and with a text in their error, are found in tables of their own, which have them in order.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Final

import apsw
import msgspec

from segue.store import rules
from segue.store.port import RunFilter, RunPage
from segue.store.readers import RUNS, RUNS_FOUND, one_moment, runs, workspaces

FLOWS_MERGED_MAX: Final = 100
"""More flows than these are looked for in the order of time."""
SEARCH_LETTERS_MIN: Final = 3
"""Letters of a text in an error, from which on it is found by an index."""
_Value = int | str | bytes | None
_Asked = tuple[str, tuple[_Value, ...]]
"""A condition, and the values of its places."""
_OF_VERSION = (
    "flow_version IN (SELECT v.key FROM flow_version AS v WHERE v.workspace = ? AND v.flow_id = ? AND v.version = ?)"
)


def run_page(db: apsw.Connection, where: RunFilter, limit: int, cursor: str | None) -> RunPage:
    """A page in the order that `where` asks for."""
    limit = rules.page_limit(limit)
    after = None if cursor is None else rules.decode_cursor(cursor)
    by_time = where.parent_run_id is None and where.id_prefix is None and where.error_text is None and not where.labels
    statuses = tuple(dict.fromkeys(where.statuses)) if by_time and where.statuses else (None,)
    with one_moment(db):
        lists = [
            runs(db, *list_statement(one, workspace, status, after, limit + 1))
            for workspace in workspaces(db, where.workspace)
            for status in statuses
            for one in (_by_flow(where) if by_time else (where,))
        ]
    ordered = merge(*lists, key=lambda run: (run.created_at, run.key), reverse=not where.oldest_first)
    found = tuple(islice(ordered, limit + 1))
    if len(found) <= limit:
        return RunPage(found, None)
    last = found[limit - 1]
    return RunPage(found[:limit], rules.encode_cursor(last.created_at, last.key))


def _by_flow(where: RunFilter) -> list[RunFilter]:
    """One filter for each flow, where few are meant."""
    if where.among is None or len(where.among) > FLOWS_MERGED_MAX:
        return [where]
    meant = where.among if where.flow_id is None else where.among & {where.flow_id}
    return [msgspec.structs.replace(where, flow_id=flow_id, among=None) for flow_id in sorted(meant)]


def list_statement(
    where: RunFilter, workspace: str, status: str | None, after: tuple[int, int] | None, limit: int
) -> tuple[str, tuple[_Value, ...]]:
    """One ordered list of runs, from the index that narrows it most."""
    if _is_searched(where):
        return _search_statement(where, workspace, status, after, limit)
    if where.labels and where.id_prefix is None and where.parent_run_id is None:
        return _label_statement(where, workspace, status, after, limit)
    index, asked = _index(where, status)
    asked += _conditions(where, workspace, status)
    if where.error_text is not None:
        asked.append(("instr(lower(error), lower(?)) > 0", (where.error_text,)))
    asked += _having(where.labels)
    if after is not None:
        asked.append((f"(created_at, key) {'>' if where.oldest_first else '<'} (?, ?)", after))
    conditions = " AND ".join(["workspace = ?", *(condition for condition, _ in asked)])
    values: tuple[_Value, ...] = (workspace, *(value for _, given in asked for value in given), limit)
    way = "ASC" if where.oldest_first else "DESC"
    # Named, not left to the planner: it would rather narrow the time than read one status in order.
    chosen = f"INDEXED BY {index} WHERE {conditions} ORDER BY created_at {way}, key {way} LIMIT ?"
    return RUNS.format(chosen=chosen), values


def _is_searched(where: RunFilter) -> bool:
    text = where.error_text
    is_narrow = where.id_prefix is not None or where.parent_run_id is not None
    return text is not None and len(text) >= SEARCH_LETTERS_MIN and not is_narrow


def _search_statement(
    where: RunFilter, workspace: str, status: str | None, after: tuple[int, int] | None, limit: int
) -> tuple[str, tuple[_Value, ...]]:
    """Runs by a text in their error, in the order that they were accepted in: that of their keys."""
    phrase = '"' + (where.error_text or "").replace('"', '""').replace("\0", "") + '"'
    asked: list[_Asked] = [("run_search MATCH ?", (phrase,)), ("workspace = ?", (workspace,))]
    asked += [*_conditions(where, workspace, status), *_having(where.labels)]
    if after is not None:
        asked.append((f"run_search.rowid {'>' if where.oldest_first else '<'} ?", after[1:]))
    order = f"run_search.rowid {'ASC' if where.oldest_first else 'DESC'}"
    return _found("run_search CROSS JOIN run ON run.key = run_search.rowid", asked, order, limit)


def _label_statement(
    where: RunFilter, workspace: str, status: str | None, after: tuple[int, int] | None, limit: int
) -> tuple[str, tuple[_Value, ...]]:
    """Runs by their first label, in its order; the others are looked up for each."""
    (name, label), *others = where.labels
    asked: list[_Asked] = [("space = ? AND name = ? AND label = ?", (workspace, name, label))]
    for condition, value in (("at >= ?", where.created_from), ("at < ?", where.created_before)):
        if value is not None:
            asked.append((condition, (value,)))
    asked += [*_conditions(where, workspace, status), *_having(tuple(others))]
    if where.error_text is not None:
        asked.append(("instr(lower(error), lower(?)) > 0", (where.error_text,)))
    way = "ASC" if where.oldest_first else "DESC"
    if after is not None:
        asked.append((f"(at, run_key) {'>' if where.oldest_first else '<'} (?, ?)", after))
    return _found("run_label CROSS JOIN run ON run.key = run_label.run_key", asked, f"at {way}, run_key {way}", limit)


def _found(source: str, asked: list[_Asked], order: str, limit: int) -> tuple[str, tuple[_Value, ...]]:
    conditions = " AND ".join(condition for condition, _ in asked)
    chosen = f"FROM {source} WHERE {conditions} ORDER BY {order} LIMIT ?"
    return RUNS_FOUND.format(chosen=chosen), (*(value for _, given in asked for value in given), limit)


def _having(labels: tuple[tuple[str, str], ...]) -> list[_Asked]:
    """That a run has these labels, too."""
    has = (
        "EXISTS (SELECT 1 FROM run_label AS l WHERE l.space = workspace AND l.name = ? AND l.label = ?"
        " AND l.at = created_at AND l.run_key = key)"
    )
    return [(has, one) for one in labels]


def _conditions(where: RunFilter, workspace: str, status: str | None) -> list[_Asked]:
    """What a run's own row must say."""
    asked: list[_Asked] = []
    for condition, value in (
        ("flow_id = ?", where.flow_id), ("status = ?", status), ("parent_run_id = ?", where.parent_run_id),
        ('"trigger" = ?', where.trigger), ("created_at >= ?", where.created_from),
        ("created_at < ?", where.created_before),
    ):  # fmt: skip
        if value is not None:
            asked.append((condition, (value,)))
    if where.among is not None:
        asked.append((f"flow_id IN ({','.join('?' * len(where.among))})", tuple(sorted(where.among))))
    if where.id_prefix is not None:
        # Behind every letter that ids are made of.
        asked.append(("run_id >= ? AND run_id < ?", (where.id_prefix, where.id_prefix + "~")))
    if where.statuses and status is None:
        asked.append((f"status IN ({','.join('?' * len(where.statuses))})", where.statuses))
    if where.version is not None:
        asked.append((_OF_VERSION, (workspace, where.flow_id, where.version)))
    return asked


def _index(where: RunFilter, status: str | None) -> tuple[str, list[_Asked]]:
    """The index, and what must be said for it to be usable."""
    if where.id_prefix is not None:
        return "sqlite_autoindex_run_1", []
    if where.parent_run_id is not None:
        return "run_by_parent", []
    if where.error_text is not None:
        return "run_with_error", [("error IS NOT NULL", ())]
    if where.flow_id is not None:
        return ("run_by_flow" if status is None else "run_by_flow_and_status"), []
    if status is not None:
        return "run_by_status", []
    return ("run_by_time" if where.trigger is None else "run_by_trigger"), []
