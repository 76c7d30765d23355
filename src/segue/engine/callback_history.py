"""What was sent to callbacks, taken or refused: when, by whom, and why it was not taken (CALL-4).

The journal holds what was taken; this is for people who ask why their answer did nothing. The line of an answer that is
taken is kept in the commit of the answer; that of a refused one after it was refused, since nothing else is kept then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from segue.engine.callbacks import Note
from segue.engine.ids import new_run_id
from segue.engine.versions import Versions
from segue.engine.views import rfc3339
from segue.flow.model import JsonValue
from segue.observe.masking import masker_for
from segue.store.port import CallbackRow, RunRecord
from segue.store.tables import Sql, Tables

PAYLOAD_LENGTH_MAX: Final = 10_000
KEPT_A_RUN: Final = 200
"""Whoever has an address can send to it as often as he likes: only the last lines of a run are kept."""
_COLUMNS: Final = "id, run_id, step, at, taken, sender, code, reason, payload"
_INSERT: Final = f"INSERT INTO callback_signal (workspace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_DROP: Final = """DELETE FROM callback_signal WHERE workspace = ? AND run_id = ? AND id <= (
    SELECT id FROM callback_signal WHERE workspace = ? AND run_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"""
LIST: Final = f"""SELECT {_COLUMNS} FROM callback_signal
    WHERE workspace = ? AND run_id = ? AND id < ? ORDER BY id DESC LIMIT ?"""  # noqa: S608


class SignalLine(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was sent to a callback. `code` is the slug of the problem that a refused sender got; `payload` is
    masked, and cut off where it is long. `at` is RFC 3339 (UTC).
    """

    id: str
    run_id: str
    step: str
    at: str
    taken: bool
    sender: str
    code: str | None = None
    reason: str | None = None
    payload: str = ""


class Taken:
    """A line that goes with the commit of its answer (`Callbacks.give`, `note`)."""

    def __init__(self, make: Note) -> None:
        self._make = make
        self.whose: tuple[CallbackRow, RunRecord] | None = None
        self.write: Callable[[Sql], None] | None = None
        self.is_written = False

    async def __call__(self, row: CallbackRow, record: RunRecord) -> Callable[[Sql], None]:
        """What writes the line, now that it is known whose answer it is."""
        self.whose = row, record
        self.write = write = await self._make(row, record)

        def kept(sql: Sql) -> None:
            write(sql)
            self.is_written = True

        return kept


class CallbackHistory:
    """The lines of one host's callbacks."""

    def __init__(self, tables: Tables, versions: Versions, now: Callable[[], int]) -> None:
        self._tables = tables
        self._versions = versions
        self._now = now

    async def note(
        self,
        row: CallbackRow,
        record: RunRecord,
        payload: JsonValue,
        *,
        sender: str,
        code: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Keep a line: taken, or refused for a reason if there is a `code`."""
        await self._tables.change(await self._written(row, record, payload, sender, code, reason))

    def taken(self, payload: JsonValue, *, sender: str) -> Taken:
        """The line of an answer that may be taken, to be kept with it."""
        return Taken(lambda row, record: self._written(row, record, payload, sender))

    async def keep(self, line: Taken) -> None:
        """Keep the line of an answer that was taken and changed nothing, so that no commit took it along."""
        if line.write is not None and not line.is_written:
            await self._tables.change(line.write)

    async def _written(
        self,
        row: CallbackRow,
        record: RunRecord,
        payload: JsonValue,
        sender: str,
        code: str | None = None,
        reason: str | None = None,
    ) -> Callable[[Sql], None]:
        version = await self._versions.get(record.flow_version)
        masker = masker_for(version.plan.declared)
        text = msgspec.json.encode(masker.mask_json(payload)).decode()[:PAYLOAD_LENGTH_MAX]
        now = self._now()
        line: tuple[Any, ...] = (
            new_run_id(now, prefix="sig_"), record.run_id, row.step_path, now, int(code is None), sender[:200], code,
            None if reason is None else masker.mask_text(reason)[:1_000], text,
        )  # fmt: skip

        def write(sql: Sql) -> None:
            sql.run(_INSERT, record.workspace, *line)
            whose = (record.workspace, record.run_id)
            sql.run(_DROP, *whose, *whose, KEPT_A_RUN)

        return write

    async def of_run(
        self, record: RunRecord, *, limit: int, cursor: str | None = None
    ) -> tuple[list[SignalLine], str | None]:
        """The lines of a run, newest first, and where the next page begins."""
        after = cursor or "~"
        rows = await self._tables.ask(lambda sql: sql.rows(LIST, record.workspace, record.run_id, after, limit + 1))
        lines = [
            SignalLine(
                id=id, run_id=run_id, step=step, at=rfc3339(at) or "", taken=bool(taken), sender=sender, code=code,
                reason=reason, payload=payload,
            )
            for id, run_id, step, at, taken, sender, code, reason, payload in rows
        ]  # fmt: skip
        return lines[:limit], lines[limit - 1].id if len(lines) > limit else None
