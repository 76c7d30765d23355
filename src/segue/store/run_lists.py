"""Lists of runs on SQLite: each is read in its order from an index, so that a page costs the same among a million runs.

What one index cannot give in order (several statuses or flows, all workspaces) is several lists, which are merged.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Final

import apsw
import msgspec

from segue.store import rules
from segue.store.port import RunFilter, RunPage
from segue.store.readers import RUNS, one_moment, runs, workspaces

FLOWS_MERGED_MAX: Final = 100
"""More flows than these are looked for in the order of time."""
_Value = int | str | bytes | None
_OF_VERSION = (
    "flow_version IN (SELECT v.key FROM flow_version AS v WHERE v.workspace = ? AND v.flow_id = ? AND v.version = ?)"
)


def run_page(db: apsw.Connection, where: RunFilter, limit: int, cursor: str | None) -> RunPage:
    """A page in the order that `where` asks for."""
    limit = rules.page_limit(limit)
    after = None if cursor is None else rules.decode_cursor(cursor)
    by_time = where.parent_run_id is None and where.id_prefix is None and where.error_text is None
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
    index, asked = _index(where, status)
    for condition, value in (
        ("flow_id = ?", where.flow_id), ("status = ?", status), ("parent_run_id = ?", where.parent_run_id),
        ('"trigger" = ?', where.trigger), ("created_at >= ?", where.created_from),
        ("created_at < ?", where.created_before), ("instr(lower(error), lower(?)) > 0", where.error_text),
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
    if after is not None:
        asked.append((f"(created_at, key) {'>' if where.oldest_first else '<'} (?, ?)", after))
    conditions = " AND ".join(["workspace = ?", *(condition for condition, _ in asked)])
    values: tuple[_Value, ...] = (workspace, *(value for _, given in asked for value in given), limit)
    way = "ASC" if where.oldest_first else "DESC"
    # Named, not left to the planner: it would rather narrow the time than read one status in order.
    chosen = f"INDEXED BY {index} WHERE {conditions} ORDER BY created_at {way}, key {way} LIMIT ?"
    return RUNS.format(chosen=chosen), values


def _index(where: RunFilter, status: str | None) -> tuple[str, list[tuple[str, tuple[_Value, ...]]]]:
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
