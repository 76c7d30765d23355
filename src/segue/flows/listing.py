"""Lists of stored flows: filters, order, cursors, full text search. Each order has its index."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from segue.errors import InvalidInputError
from segue.flows.records import FlowFilter, FlowInfo, FlowPage, Sort
from segue.flows.rows import INFO, info_of
from segue.store.tables import Sql, Value

KEY_DIGITS_MAX: Final = 18
WORDS_MAX: Final = 20
"""Words of one search; further ones are not looked at."""
_COLUMNS: Final[dict[Sort, str]] = {"name": "f.sort_name", "updated": "f.updated_at", "created": "f.created_at"}
_WORD: Final = re.compile(r"\w")
_WEIGHTS: Final = "0.0, 8.0, 10.0, 2.0, 5.0, 1.0, 2.0, 0.3"
"""What a hit counts by column: id and name most, the text least."""
_HITS: Final = (
    "WITH hit AS MATERIALIZED"  # noqa: S608 - constants
    f" (SELECT rowid AS flow, bm25(flow_search, {_WEIGHTS}) AS score FROM flow_search WHERE flow_search MATCH ?) "
)
_INFO_OF_HITS: Final = INFO.replace(" FROM flow f ", ", h.score FROM flow f JOIN hit h ON h.flow = f.key ", 1)


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended. `order` is the list's; `value` the last flow's in it: of a search its score, and how many
    went before among the files of folders.
    """

    order: str
    value: str | int | float
    id: str


def encode_cursor(position: Position) -> str:
    """A position as callers carry it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decode_cursor(text: str, order: str) -> Position:
    """Raises InvalidInputError for what no page of this list gave."""
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Position)
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        found = None
    is_text = order == "name"
    if found is None or found.order != order or isinstance(found.value, str) is not is_text:
        message = "the cursor is not of this list; begin without one"
        raise InvalidInputError(message, [("cursor", message)])
    if isinstance(found.value, int) and not -(2**53) < found.value < 2**53:
        raise InvalidInputError("the cursor is damaged; begin without one", [("cursor", "it is damaged")])
    return found


def order_of(where: FlowFilter) -> str:
    """The order that a list is in: the best hits first if it is a search."""
    return "relevance" if where.query is not None else where.sort


def page(sql: Sql, workspace: str, where: FlowFilter, *, limit: int, cursor: str | None) -> FlowPage:
    """See `StoredFlows.list`."""
    order = order_of(where)
    after = None if cursor is None else decode_cursor(cursor, order)
    if where.query is not None:
        return _found(sql, workspace, where, limit, after)
    found = in_order(sql, workspace, where, limit=limit + 1, after=after)
    if len(found) <= limit:
        return FlowPage(tuple(found), None)
    return FlowPage(tuple(found[:limit]), encode_cursor(position_of(found[limit - 1], where.sort)))


def position_of(info: FlowInfo, sort: Sort) -> Position:
    """Where a list stands after this flow."""
    value = {"name": info.sort_name, "updated": info.updated_at, "created": info.created_at}[sort]
    return Position(sort, value, info.id)


def in_order(sql: Sql, workspace: str, where: FlowFilter, *, limit: int, after: Position | None) -> list[FlowInfo]:
    """Flows by name from the first, or by time from the last; then by id."""
    statement, values = statement_of(workspace, where, after)
    return [info_of(row) for row in sql.rows(f"{statement} LIMIT ?", *values, limit)]


def statement_of(workspace: str, where: FlowFilter, after: Position | None) -> tuple[str, list[Value]]:
    """The statement of a list that is no search, and its values."""
    column, comparison, direction = _COLUMNS[where.sort], "<", "DESC"
    if where.sort == "name":
        comparison, direction = ">", "ASC"
    conditions, values = _conditions(workspace, where)
    if after is not None:
        conditions += f" AND ({column}, f.id) {comparison} (?, ?)"
        values += [after.value, after.id]
    return f"{INFO} WHERE {conditions} ORDER BY {column} {direction}, f.id {direction}", values


def _conditions(workspace: str, where: FlowFilter) -> tuple[str, list[Value]]:
    conditions, values = "f.workspace = ? AND f.state = ?", list[Value]((workspace, where.state))
    if where.ids is not None:
        conditions += f" AND f.id IN ({_places(where.ids)})"
        values += sorted(where.ids)
    if where.category is not None:
        conditions += " AND f.category = ?"
        values.append(where.category)
    if where.is_published is not None:
        conditions += " AND f.published IS NOT NULL" if where.is_published else " AND f.published IS NULL"
    for tag in where.tags:
        conditions += " AND f.key IN (SELECT t.flow FROM flow_tag t WHERE t.workspace = ? AND t.tag = ?)"
        values += [workspace, tag]
    return conditions, values


def _found(sql: Sql, workspace: str, where: FlowFilter, limit: int, after: Position | None) -> FlowPage:
    """A page of a search."""
    searched = search_of(workspace, where.query or "")
    if searched is None:
        return FlowPage((), None)
    statement, values = search_statement(workspace, where, after)
    rows = sql.rows(f"{statement} LIMIT ?", searched, *values, limit + 1)
    found = tuple(info_of(row) for row in rows[:limit])
    if len(rows) <= limit:
        return FlowPage(found, None)
    return FlowPage(found, encode_cursor(Position("relevance", rows[limit - 1][-1], str(found[-1].key))))


def search_statement(workspace: str, where: FlowFilter, after: Position | None) -> tuple[str, list[Value]]:
    """The statement of a search, and its values behind what is searched for (`search_of`)."""
    conditions, values = _conditions(workspace, where)
    if after is not None:
        conditions += " AND (h.score, f.key) > (?, ?)"
        values += [after.value, _key_of(after)]
    return f"{_HITS}{_INFO_OF_HITS} WHERE {conditions} ORDER BY h.score, f.key", values


def _key_of(after: Position) -> int:
    if not after.id.isascii() or not after.id.isdigit() or len(after.id) > KEY_DIGITS_MAX:
        raise InvalidInputError("the cursor is damaged; begin without one", [("cursor", "it is damaged")])
    return int(after.id)


def search_of(workspace: str, query: str) -> str | None:
    """A query of SQLite's full text search (FTS5): every word begins one of the flow's. None: there is no word in it.

    The only place that knows how this database searches.
    """
    words = [f'"{word}"*' for word in words_of(query)]
    if not words:
        return None
    mine, columns = _quoted(workspace), "id name description tags steps actions text"
    return f'workspace : "{mine}" AND {{{columns}}} : ({" AND ".join(words)})'


def words_of(query: str) -> list[str]:
    """The words that are looked for, without what would end a quoted one."""
    return [_quoted(word) for word in query.split()[:WORDS_MAX] if _WORD.search(word)]


def _quoted(text: str) -> str:
    return text.replace('"', '""').replace("\0", "")


def _places(values: frozenset[str]) -> str:
    return ",".join("?" * len(values))


def ids(sql: Sql, workspace: str, *, live: bool = False) -> frozenset[str]:
    """See `StoredFlows.ids` and `live_ids`."""
    states = "= 'live'" if live else "<> 'deleted'"
    found = sql.rows(f"SELECT id FROM flow WHERE workspace = ? AND state {states}", workspace)  # noqa: S608 - constants
    return frozenset(row[0] for row in found)


def tags(sql: Sql, workspace: str, among: frozenset[str] | None = None) -> list[tuple[str, int]]:
    """See `StoredFlows.tags`."""
    some = "" if among is None else f" AND f.id IN ({_places(among)})"
    found = sql.rows(
        "SELECT t.tag, count(*) FROM flow_tag t JOIN flow f ON f.key = t.flow AND f.state = 'live'"  # noqa: S608
        f" WHERE t.workspace = ?{some} GROUP BY t.tag ORDER BY t.tag",
        workspace,
        *sorted(among or ()),
    )
    return [(row[0], row[1]) for row in found]


def categories(sql: Sql, workspace: str, among: frozenset[str] | None = None) -> list[tuple[str, int]]:
    """See `StoredFlows.categories`."""
    some = "" if among is None else f" AND id IN ({_places(among)})"
    found = sql.rows(
        "SELECT category, count(*) FROM flow WHERE workspace = ? AND state = 'live' AND category IS NOT NULL"  # noqa: S608
        f"{some} GROUP BY category ORDER BY category",
        workspace,
        *sorted(among or ()),
    )
    return [(row[0], row[1]) for row in found]


def favourites(sql: Sql, workspace: str, owner: str) -> list[str]:
    """See `StoredFlows.favourites`."""
    statement = "SELECT flow_id FROM flow_favourite WHERE workspace = ? AND owner = ? ORDER BY place"
    return [row[0] for row in sql.rows(statement, workspace, owner)]


def put_favourites(sql: Sql, workspace: str, owner: str, ids: Sequence[str]) -> None:
    """See `StoredFlows.put_favourites`."""
    sql.run("DELETE FROM flow_favourite WHERE workspace = ? AND owner = ?", workspace, owner)
    for place, id in enumerate(dict.fromkeys(ids)):
        sql.run("INSERT INTO flow_favourite VALUES (?, ?, ?, ?)", workspace, owner, id, place)
