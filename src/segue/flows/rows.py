"""Statements over the tables of stored flows. All run inside of a transaction that their caller opened."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segue.errors import ConflictError, NotFoundError
from segue.flow.model import Flow, walk_flow
from segue.flow.problems import Problem
from segue.flows.numbers import canonical
from segue.flows.reading import ReadText, actions_in
from segue.flows.records import Author, Draft, FlowInfo, State, StoredVersion, VersionInfo
from segue.store.tables import Row, Sql

INFO: Final = (
    "SELECT f.key, f.id, f.state, f.name, f.sort_name, f.description, f.category, f.tags, f.steps, f.inputs,"
    " f.problems, f.revision, p.number,"
    " (SELECT v.number FROM stored_version v WHERE v.flow = f.key ORDER BY v.key DESC LIMIT 1),"
    " p.source IS NULL OR p.source <> f.draft, f.created_at, f.created_by, f.updated_at, f.updated_by"
    " FROM flow f LEFT JOIN stored_version p ON p.key = f.published"
)
_LIVE: Final = " WHERE f.workspace = ? AND f.id = ? AND f.state <> 'deleted'"
_DELETED: Final = (
    " WHERE f.workspace = ? AND f.id = ? AND f.state = 'deleted' ORDER BY f.updated_at DESC, f.key DESC LIMIT 1"
)
_VERSION: Final = (
    "SELECT v.key, v.number, v.digest, v.message, v.created_at, v.created_by, v.key IS f.published, v.published_at,"
    " v.published_by, f.id, v.source, v.model FROM stored_version v JOIN flow f ON f.key = v.flow"
)
_PUBLISHED: Final = (
    "SELECT f.id, v.model FROM flow f JOIN stored_version v ON v.key = f.published"
    " WHERE f.workspace = ? AND f.state = 'live'"
)
_model = msgspec.json.Decoder(Flow)


class _Taking(msgspec.Struct):
    """What a flow's model says of its inputs; the rest is not looked at."""

    inputs: dict[str, Any] = {}


_taking = msgspec.json.Decoder(_Taking)
_problems = msgspec.json.Decoder(tuple[Problem, ...])
PROBLEMS_KEPT: Final = 50
"""Problems of a draft that are kept for lists; the draft itself is checked anew whenever it is shown."""


def info_of(row: Row) -> FlowInfo:
    """A flow from the columns of `INFO`."""
    return FlowInfo(
        key=row[0], id=row[1], state=row[2], name=row[3], sort_name=row[4], description=row[5], category=row[6],
        tags=tuple(msgspec.json.decode(row[7], type=list[str])), steps=row[8], inputs=msgspec.json.decode(row[9]),
        problems=_problems.decode(row[10]), revision=row[11], published=row[12], latest=row[13],
        is_changed=bool(row[14]), created_at=row[15], created_by=row[16], updated_at=row[17], updated_by=row[18],
    )  # fmt: skip


def find(sql: Sql, workspace: str, id: str) -> FlowInfo | None:
    """The flow of this id that is not deleted."""
    row = sql.row(INFO + _LIVE, workspace, id)
    return None if row is None else info_of(row)


def get(sql: Sql, workspace: str, id: str) -> FlowInfo:
    """As `find`. Raises NotFoundError."""
    found = find(sql, workspace, id)
    if found is None:
        raise unknown(id)
    return found


def find_deleted(sql: Sql, workspace: str, id: str) -> FlowInfo | None:
    """The flow of this id that was deleted last."""
    row = sql.row(INFO + _DELETED, workspace, id)
    return None if row is None else info_of(row)


def unknown(id: str) -> NotFoundError:
    """That there is no such flow."""
    return NotFoundError(f"no flow has the id {id!r}")


def text_of(sql: Sql, key: int) -> str:
    """The draft of a flow."""
    row = sql.row("SELECT draft FROM flow WHERE key = ?", key)
    assert row is not None, "flows are never removed"
    return row[0]


def draft_of(info: FlowInfo, found: ReadText) -> Draft:
    """A draft as it is shown."""
    return Draft(
        id=info.id, revision=info.revision, text=found.text, form=None if found.flow is None else found.flow.form,
        problems=found.problems, updated_at=info.updated_at, updated_by=info.updated_by,
    )  # fmt: skip


def insert(sql: Sql, workspace: str, found: ReadText, author: Author, now: int) -> FlowInfo:
    """A new flow. Raises ConflictError if there is one of this id."""
    if find(sql, workspace, found.id) is not None:
        raise ConflictError(f"there is a flow {found.id!r} already; change that one, or take another id")
    sql.run(
        "INSERT INTO flow (workspace, id, state, name, sort_name, tags, steps, inputs, problems, draft, revision,"
        " created_at, created_by, updated_at, updated_by)"
        " VALUES (?, ?, 'live', ?, ?, '[]', 0, '{}', '[]', '', 0, ?, ?, ?, ?)",
        workspace, found.id, found.id, found.id.casefold(), now, author.name, now, author.name,
    )  # fmt: skip
    write_draft(sql, workspace, get(sql, workspace, found.id), found, author, now)
    return get(sql, workspace, found.id)


def write_draft(sql: Sql, workspace: str, info: FlowInfo, found: ReadText, author: Author, now: int) -> None:
    """Another text as the draft, and what lists show of it. Of one that cannot be read, they show what was before."""
    encode = msgspec.json.encode
    problems = encode(found.problems[:PROBLEMS_KEPT]).decode()
    sql.run(
        "UPDATE flow SET draft = ?, revision = revision + 1, problems = ?, updated_at = ?, updated_by = ?"
        " WHERE key = ?",
        found.text, problems, now, author.name, info.key,
    )  # fmt: skip
    flow = found.flow
    if flow is None:
        if info.revision == 0:
            write_search(sql, workspace, info, found)
        else:
            sql.run("UPDATE flow_search SET text = ? WHERE rowid = ?", found.text, info.key)
        return
    name = flow.title or flow.name or flow.id
    tags = list(dict.fromkeys(flow.tags))
    sql.run(
        "UPDATE flow SET name = ?, sort_name = ?, description = ?, category = ?, tags = ?, steps = ?, inputs = ?"
        " WHERE key = ?",
        name, name.casefold(), flow.description, flow.category, encode(tags).decode(), len(walk_flow(flow)),
        encode(flow.inputs).decode(), info.key,
    )  # fmt: skip
    sql.run("DELETE FROM flow_tag WHERE flow = ?", info.key)
    for tag in tags:
        sql.run("INSERT INTO flow_tag VALUES (?, ?, ?)", workspace, tag, info.key)
    write_search(sql, workspace, get(sql, workspace, info.id), found)


def write_search(sql: Sql, workspace: str, info: FlowInfo, found: ReadText) -> None:
    """What full text search finds a flow by."""
    flow = found.flow
    steps = [] if flow is None else walk_flow(flow)
    words = " ".join(dict.fromkeys(f"{step.id} {step.title or ''}" for step in steps))
    actions = "" if flow is None else " ".join(actions_in(flow))
    sql.run("DELETE FROM flow_search WHERE rowid = ?", info.key)
    sql.run(
        "INSERT INTO flow_search (rowid, workspace, id, name, description, tags, steps, actions, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        info.key, workspace, info.id, info.name, info.description or "", " ".join(info.tags), words, actions,
        found.text,
    )  # fmt: skip


def set_state(sql: Sql, info: FlowInfo, state: State, author: Author, now: int) -> None:
    """Archive, delete or restore a flow."""
    sql.run(
        "UPDATE flow SET state = ?, updated_at = ?, updated_by = ? WHERE key = ?", state, now, author.name, info.key
    )


# ---------------------------------------------------------------- versions


def version_of(row: Row) -> StoredVersion:
    """A version from the columns of `_VERSION`."""
    return StoredVersion(info=version_info(row), flow_id=row[9], source=row[10], flow=_model.decode(row[11]))


def version_info(row: Row) -> VersionInfo:
    """A version's row of a list, from the first columns of `_VERSION`."""
    return VersionInfo(
        key=row[0], number=row[1], digest=row[2], message=row[3], created_at=row[4], created_by=row[5],
        is_published=bool(row[6]), published_at=row[7], published_by=row[8],
    )  # fmt: skip


def find_version(sql: Sql, info: FlowInfo, number: str | None) -> StoredVersion | None:
    """A version by its number; the published one if None."""
    wanted = info.published if number is None else canonical(number)
    row = None if wanted is None else sql.row(f"{_VERSION} WHERE v.flow = ? AND v.number = ?", info.key, wanted)
    return None if row is None else version_of(row)


def get_version(sql: Sql, info: FlowInfo, number: str) -> StoredVersion:
    """As `find_version`. Raises NotFoundError."""
    found = find_version(sql, info, number)
    if found is None:
        raise NotFoundError(f"the flow {info.id!r} has no version {number!r}")
    return found


def latest_version(sql: Sql, info: FlowInfo) -> StoredVersion | None:
    """The version with the highest number, which is the last one that was made."""
    row = sql.row(f"{_VERSION} WHERE v.flow = ? ORDER BY v.key DESC LIMIT 1", info.key)
    return None if row is None else version_of(row)


def list_versions(sql: Sql, info: FlowInfo, *, before: int | None, limit: int) -> list[VersionInfo]:
    """Versions, newest first, older than the one with the key `before`."""
    rows = sql.rows(
        f"{_VERSION} WHERE v.flow = ? AND v.key < ? ORDER BY v.key DESC LIMIT ?",
        info.key, before if before is not None else 2**62, limit,
    )  # fmt: skip
    return [version_info(row) for row in rows]


def insert_version(
    sql: Sql, workspace: str, info: FlowInfo, version: tuple[str, str, str, Flow], message: str | None, author: Author,
    now: int,
) -> None:  # fmt: skip
    """Keep a version: number, digest, text, model."""
    number, digest, source, flow = version
    sql.run(
        "INSERT INTO stored_version (workspace, flow, number, digest, source, model, message, created_at, created_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        workspace, info.key, number, digest, source, msgspec.json.encode(flow), message, now, author.name,
    )  # fmt: skip


UNSETTLED: Final = (
    "SELECT f.key, f.workspace, f.id, f.state = 'live', v.key, v.model FROM flow f"
    " LEFT JOIN stored_version v ON v.key = f.published"
    " WHERE COALESCE(CASE WHEN f.state = 'live' THEN f.published END, -1) <> COALESCE(f.followed, -1)"
    " ORDER BY f.state = 'live', f.key LIMIT ?"
)


def unsettled(sql: Sql, limit: int) -> list[tuple[int, str, str, int | None, Flow | None]]:
    """Flows whose triggers are not those that they should have: key, workspace, id, and the version to follow (None:
    theirs are to rest). Those that rest come first, so that another flow of the same id can take their place.
    """
    return [
        (row[0], row[1], row[2], row[4] if row[3] else None, _model.decode(row[5]) if row[3] and row[5] else None)
        for row in sql.rows(UNSETTLED, limit)
    ]


def set_followed(sql: Sql, key: int, version: int | None) -> None:
    """Note that the triggers of this version are in force."""
    sql.run("UPDATE flow SET followed = ? WHERE key = ?", version, key)


def publish(sql: Sql, info: FlowInfo, version: VersionInfo, author: Author, now: int) -> None:
    """Let a version be the one that runs."""
    sql.run("UPDATE stored_version SET published_at = ?, published_by = ? WHERE key = ?", now, author.name, version.key)
    sql.run(
        "UPDATE flow SET published = ?, updated_at = ?, updated_by = ? WHERE key = ?",
        version.key, now, author.name, info.key,
    )  # fmt: skip


CALLERS_MAX: Final = 200


def naming(sql: Sql, workspace: str, id: str) -> list[tuple[str, bytes | None, str]]:
    """Live flows in whose draft or published text another's id stands: id, published model, draft."""
    found = sql.rows(
        "SELECT f.id, v.model, f.draft FROM flow f LEFT JOIN stored_version v ON v.key = f.published"
        " WHERE f.workspace = ? AND f.state = 'live' AND f.id <> ?"
        " AND (instr(f.draft, ?) > 0 OR instr(v.source, ?) > 0) ORDER BY f.sort_name, f.id LIMIT ?",
        workspace, id, id, id, CALLERS_MAX,
    )  # fmt: skip
    return [(row[0], row[1], row[2]) for row in found]


def model_of(data: bytes) -> Flow:
    """A version's model."""
    return _model.decode(data)


def inputs_of_published(sql: Sql, workspace: str, ids: tuple[str, ...] | None = None) -> dict[str, dict[str, Any]]:
    """What the published versions of a workspace's live flows take, by id: of all, or of these."""
    found: list[Row] = []
    if ids is None:
        found = sql.rows(_PUBLISHED, workspace)
    for id in ids or ():
        found += sql.rows(f"{_PUBLISHED} AND f.id = ?", workspace, id)
    return {row[0]: _taking.decode(row[1]).inputs for row in found}
