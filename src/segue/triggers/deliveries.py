"""What came to the webhooks: kept to be looked at and to be delivered again, without what proves the sender.

An accepted delivery is kept with its run in one commit; that is where `delivery_seen` refuses a second one of the same
id. What was refused is kept too, its body cut short, so that one sees why a sender does not get through.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from segue.engine.ids import new_run_id
from segue.errors import NotFoundError
from segue.expr.sealed import MARK as SEAL
from segue.expr.sealed import Sealer
from segue.observe.masking import DEFAULT_MASKER, MASK, Masker
from segue.store.tables import Row, Sql

Verdict = Literal["accepted", "ignored", "refused", "captured", "replayed"]
SEEN_KEPT_MS: Final = 7 * 86_400_000
"""How long a sender's id is remembered: the longest retries of the senders that we know take three days."""
KEPT_MS: Final = 30 * 86_400_000
DROPPED_AT_ONCE: Final = 500
"""Rows of one transaction when what is old is forgotten."""
REFUSED_KEPT: Final = 200
"""Refused deliveries of one trigger: whoever is refused must not fill the disk."""
REFUSED_BODY_BYTES: Final = 4_096
HEADERS_MAX: Final = 100
_COLUMNS: Final = (
    "id", "workspace", "flow_id", "trigger_id", "at", "method", "content_type", "headers", "query", "body",
    "body_bytes", "verdict", "reason", "run_id", "replay_of",
)  # fmt: skip
_SEALED: Final = b'{"' + SEAL.encode() + b'":'
_encode = msgspec.json.Encoder().encode
_texts = msgspec.json.Decoder(dict[str, str]).decode


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One request that came to a webhook. `headers` and `query` are without secrets."""

    id: str
    workspace: str
    flow_id: str
    trigger_id: str
    at: int
    method: str
    content_type: str
    headers: dict[str, str]
    query: dict[str, str]
    body: bytes
    body_bytes: int
    """The body's length as it came; of a refused delivery only the beginning is kept."""
    verdict: Verdict
    reason: str
    """`ok`, or a reason code."""
    run_id: str | None = None
    replay_of: str | None = None


class Seen(msgspec.Struct, frozen=True):
    """What became of the first delivery of an id."""

    delivery_id: str
    run_id: str | None


def shown_headers(headers: Sequence[tuple[str, str]], proofs: frozenset[str]) -> dict[str, str]:
    """Headers as they are kept: `***` for what proves the sender and for what is secret by its name."""
    kept: dict[str, str] = {}
    for name, value in headers[:HEADERS_MAX]:
        key = name.lower()
        shown = MASK if key in proofs or DEFAULT_MASKER.is_sensitive(key) else DEFAULT_MASKER.mask_text(value)
        kept[key] = f"{kept[key]}, {shown}" if key in kept else shown
    return kept


def shown_query(query: Sequence[tuple[str, str]], proof: str | None) -> dict[str, str]:
    """The address's query as it is kept."""
    return {
        name: MASK if name == proof or DEFAULT_MASKER.is_sensitive(name) else value
        for name, value in query[:HEADERS_MAX]
    }


def is_sealed(body: bytes) -> bool:
    """Whether a kept body is an encrypted one."""
    return body.startswith(_SEALED)


def sealed_body(body: bytes, sealer: Sealer) -> bytes:
    """A body as it is kept for a flow that declares that something in it is secret."""
    return _encode({SEAL: sealer.seal(base64.b64encode(body).decode())})


def opened_body(body: bytes, sealer: Sealer) -> bytes:
    """The body as it came. Raises EngineError if its key is missing."""
    if not is_sealed(body):
        return body
    return base64.b64decode(str(sealer.open(msgspec.json.decode(body)[SEAL])))


def shown_body(body: bytes, masker: Masker) -> bytes:
    """The body of a refused delivery, which nobody delivers again: nothing of it need be kept that is not shown."""
    try:
        body = _encode(masker.mask_json(msgspec.json.decode(body)))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            body = masker.mask_text(body[: 16 * REFUSED_BODY_BYTES].decode()).encode()
        except UnicodeDecodeError:
            return body[:REFUSED_BODY_BYTES]
    return body[:REFUSED_BODY_BYTES]


def put_delivery(sql: Sql, one: Delivery) -> None:
    """Keep a delivery."""
    sql.run(
        "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        one.id, one.workspace, one.flow_id, one.trigger_id, one.at, one.method, one.content_type,
        _encode(one.headers).decode(), _encode(one.query).decode(), one.body, one.body_bytes, one.verdict,
        one.reason, one.run_id, one.replay_of,
    )  # fmt: skip


def put_seen(sql: Sql, one: Delivery, seen: str) -> None:
    """Remember the sender's id. A second one stands in the way: ConflictError."""
    sql.run(
        "INSERT INTO delivery_seen VALUES (?, ?, ?, ?, ?)", one.trigger_id, seen, one.at, one.id, one.run_id
    )  # fmt: skip


def find_seen(sql: Sql, trigger_id: str, seen: str) -> Seen | None:
    """What became of the delivery of this id; None if there was none."""
    row = sql.row("SELECT delivery_id, run_id FROM delivery_seen WHERE trigger_id = ? AND seen = ?", trigger_id, seen)
    return None if row is None else Seen(row[0], row[1])


def get_delivery(sql: Sql, workspace: str, id: str) -> Delivery:
    """Raises NotFoundError."""
    row = sql.row("SELECT * FROM delivery WHERE workspace = ? AND id = ?", workspace, id)
    if row is None:
        raise NotFoundError(f"no delivery has the id {id!r}")
    return _delivery(row)


def list_deliveries(
    sql: Sql, workspace: str, where: Mapping[str, str | None], *, before: str | None, limit: int
) -> list[Delivery]:
    """Newest first, before the one with the id `before`. `where`: `trigger_id` and `verdict`, if they matter."""
    last = before or "~"
    trigger_id, verdict = where.get("trigger_id"), where.get("verdict")
    if trigger_id is not None and verdict is not None:
        rows = sql.rows(
            "SELECT * FROM delivery WHERE trigger_id = ? AND verdict = ? AND id < ? AND workspace = ?"
            " ORDER BY id DESC LIMIT ?",
            trigger_id, verdict, last, workspace, limit,
        )  # fmt: skip
    elif trigger_id is not None:
        rows = sql.rows(
            "SELECT * FROM delivery WHERE trigger_id = ? AND id < ? AND workspace = ? ORDER BY id DESC LIMIT ?",
            trigger_id, last, workspace, limit,
        )  # fmt: skip
    else:
        rows = sql.rows(
            "SELECT * FROM delivery WHERE workspace = ? AND id < ? AND (? IS NULL OR verdict = ?)"
            " ORDER BY id DESC LIMIT ?",
            workspace, last, verdict, verdict, limit,
        )  # fmt: skip
    return [_delivery(row) for row in rows]


def drop_refused(sql: Sql, trigger_id: str) -> None:
    """Forget all refused deliveries of a trigger but the last ones."""
    sql.run(
        "DELETE FROM delivery WHERE trigger_id = ? AND verdict = 'refused' AND id NOT IN (SELECT id FROM delivery"
        " WHERE trigger_id = ? AND verdict = 'refused' ORDER BY id DESC LIMIT ?)",
        trigger_id, trigger_id, REFUSED_KEPT,
    )  # fmt: skip


def drop_old(sql: Sql, now: int, kept_ms: int = KEPT_MS) -> bool:
    """Forget some of what is older than it is kept; whether there may be more. In small steps: whoever writes waits."""
    oldest = new_run_id(now - kept_ms, prefix="dlv_", entropy=bytes(10))
    dropped = sql.run(
        "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE id < ? ORDER BY id LIMIT ?)",
        oldest, DROPPED_AT_ONCE,
    )  # fmt: skip
    dropped += sql.run(
        "DELETE FROM delivery_seen WHERE (trigger_id, seen) IN"
        " (SELECT trigger_id, seen FROM delivery_seen WHERE at < ? ORDER BY at LIMIT ?)",
        now - SEEN_KEPT_MS, DROPPED_AT_ONCE,
    )  # fmt: skip
    if dropped:
        return True
    sql.run("DELETE FROM schedule_fire WHERE at < ? AND outcome <> 'queued'", now - kept_ms)
    return False


def _delivery(row: Row) -> Delivery:
    values = dict(zip(_COLUMNS, row, strict=True))
    values |= {"headers": _texts(row[7]), "query": _texts(row[8])}
    return msgspec.convert(values, Delivery, builtin_types=(bytes,))
