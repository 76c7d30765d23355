"""Flows that start at events, and when runs of other flows end.

Told of the same end or event twice, it starts one run: the run's id follows from what was told and from the trigger,
and a run that is there is not started again. That holds through crashes, since the engine tells until it was heard.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Final

from segue.engine.host import Engine
from segue.engine.ids import new_run_id
from segue.engine.parents import depth_of
from segue.engine.reactions import RunEnd
from segue.errors import ConflictError, RequestError
from segue.flow.model import RawMap
from segue.flow.trigger_keys import ENDS
from segue.store.port import EventRow
from segue.store.tables import Tables
from segue.triggers.errors import FlowUnusableError, RestingError
from segue.triggers.records import TriggerRow, note_fired
from segue.triggers.registry import Registry
from segue.triggers.starting import MAX_DEPTH, Starter

OUTSIDE: Final = "api"
"""The source of events that no run sent."""
_log = logging.getLogger("segue.triggers")


class Chains:
    """Starts runs at events and ends of runs, for one host."""

    def __init__(self, engine: Engine, tables: Tables, registry: Registry, starter: Starter) -> None:
        self._engine = engine
        self._tables = tables
        self._registry = registry
        self._starter = starter

    def watches_end(self, workspace: str, flow_id: str) -> bool:
        """See `Reactions.watches_end`."""
        return bool(self._registry.live("flow", workspace, flow_id))

    async def run_ended(self, end: RunEnd) -> None:
        """See `Reactions.run_ended`."""
        rows = [row for row in self._registry.live("flow", end.workspace, end.flow) if end.status in _ends_of(row)]
        if not rows:
            return
        record = await self._engine.store.get_run(end.run)
        if record is None:
            return
        state = await self._engine.state(record, upto_seq=end.seq)
        error = state.error
        told: RawMap = {
            "kind": "flow", "flow": end.flow, "version": end.version, "run_id": end.run, "status": end.status,
            "depth": end.depth + 1, "body": state.outputs,
            "error": None if error is None else {
                "category": error.category, "code": error.code, "message": error.message, "step": error.step,
            },
        }  # fmt: skip
        for row in rows:
            await self._start(row, told, f"chain\n{end.run}\n{end.seq}", record.created_at, end.run)

    async def event_kept(self, event: EventRow) -> None:
        """See `Reactions.event_kept`."""
        rows = self._registry.live("event", event.workspace, event.name)
        if not rows:
            return
        depth, sender = 0, OUTSIDE
        if event.source is not None:
            record = await self._engine.store.get_run(event.source)
            sender = "" if record is None else record.flow_id
            depth = 0 if record is None else depth_of(await self._engine.state(record))
        rows = [row for row in rows if _hears(row, sender)]
        if not rows:
            return
        data = self._engine.event_data(event)
        told: RawMap = {
            "kind": "event", "event": event.name, "id": event.id, "source": event.source, "flow": sender or None,
            "depth": depth + 1, "body": data,
        }  # fmt: skip
        for row in rows:
            await self._start(row, told, f"event\n{event.workspace}\n{event.id}", event.at, event.source)

    async def _start(self, row: TriggerRow, told: RawMap, cause: str, at: int, parent: str | None) -> None:
        entropy = hashlib.sha256(f"{cause}\n{row.id}".encode()).digest()[:10]
        run_id = new_run_id(at, entropy=entropy)
        if await self._engine.store.get_run(run_id) is not None:
            return
        depth = told["depth"]
        if isinstance(depth, int) and depth > MAX_DEPTH:
            await self._note(row, f"not started: {MAX_DEPTH} runs have started each other already (from {parent})")
            return
        event = told | {"name": row.name}
        try:
            ready = await self._starter.ready(row, event)
            if ready.version is None:
                return
            now = self._engine.now()
            await self._starter.start(
                row, ready, event, run_id=run_id, parent_run_id=parent,
                also=lambda sql: note_fired(sql, row.id, now, run_id),
            )  # fmt: skip
        except (RequestError, FlowUnusableError, RestingError) as error:
            if isinstance(error, ConflictError) and await self._engine.store.get_run(run_id) is not None:
                return
            await self._note(row, error.message)

    async def _note(self, row: TriggerRow, message: str) -> None:
        _log.warning("trigger %s of flow %s: %s", row.id, row.flow_id, message)
        await self._tables.change(lambda sql: note_fired(sql, row.id, self._engine.now(), None, message))


def _ends_of(row: TriggerRow) -> frozenset[str]:
    written = row.settings.get("on", "succeeded")
    words = written if isinstance(written, list) else [written]
    return frozenset[str]().union(*(ENDS.get(str(word).lower(), frozenset[str]()) for word in words))


def _hears(row: TriggerRow, sender: str) -> bool:
    """Whether events of this flow's runs, or of nobody's, are for the trigger."""
    written = row.settings.get("source")
    return written is None or sender in (written if isinstance(written, list) else [written])
