"""The runs of a database through this process, which hosts it or only reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from segue.cli.desk import LOOK_AGAIN_SECONDS, WHO, CallbackLink, Changes, Snapshot
from segue.client.records import RunSummary
from segue.engine.host import Engine
from segue.engine.log_lines import LogLine, log_lines
from segue.engine.second_chances import Asked, NewRunOf, RolledBackTo
from segue.engine.second_chances import Changes as RunChanges
from segue.engine.versions import Version
from segue.engine.views import UndoView, quarantined_view, rfc3339, undo_view, view_of
from segue.errors import EngineError, JournalCorruptError
from segue.flow import Catalogue, load_flow
from segue.kernel.state import RunState
from segue.kernel.status import StepStatus
from segue.store.port import LogRow, RunFilter, RunRecord


class EngineDesk:
    """Through an engine of this process. `hosts`: it hears of changes at once; else it looks again and again."""

    def __init__(self, engine: Engine, *, hosts: bool, catalogue: Catalogue | None = None) -> None:
        self.engine = engine
        self.hosts = hosts
        self.catalogue = catalogue

    async def page(
        self, *, statuses: tuple[str, ...] = (), flow: str | None = None, labels: tuple[tuple[str, str], ...] = (),
        limit: int = 50, cursor: str | None = None,
    ) -> tuple[list[RunSummary], str | None]:  # fmt: skip
        """Newest first, and where the next page begins."""
        found = await self.engine.store.list_runs(
            RunFilter(statuses=statuses, flow_id=flow, labels=labels), limit=limit, cursor=cursor
        )
        return [_summary(record) for record in found.runs], found.cursor

    async def has(self, run_id: str) -> bool:
        """Whether there is such a run."""
        return await self.engine.store.get_run(run_id) is not None

    async def show(self, run_id: str, at: int | None = None) -> Snapshot:
        """The run as its journal tells it; one that does not fold is shown as quarantined."""
        record = await self.engine.record(run_id)
        if at is not None:
            past, moment = await self.engine.second_chances.as_of(record, at)
            return Snapshot(view_of(past, record, moment, as_of=True))
        try:
            state = await self.engine.state(record)
        except JournalCorruptError as error:
            return Snapshot(quarantined_view(record, error))
        return Snapshot(view_of(state, record, self.engine.now()), self._links(state))

    async def logs(self, run_id: str) -> list[LogLine]:
        """All lines so far."""
        record = await self.engine.record(run_id)
        store = self.engine.store
        state = await self.engine.state(record)
        # The journal may have grown since the state was read.
        rows = [row for row in await store.load_journal(record.key) if row.seq < state.seq]
        written: list[tuple[int, LogRow]] = []
        while page := await store.load_logs(record.key, after=written[-1][0] if written else 0):
            written += page
        return log_lines(state, rows, written)

    def changes(self, run_id: str) -> Changes:
        """News of a run."""
        return _Heard(self.engine, run_id) if self.hosts else _Looked()

    async def cancel(self, run_id: str, reason: str | None, *, force: bool = False) -> None:
        """See `Engine.cancel`."""
        await self.engine.cancel(run_id, reason, force=force)

    async def undo(self, run_id: str, reason: str | None) -> None:
        """See `Engine.undo`."""
        await self.engine.undo(run_id, reason)

    async def undo_preview(self, run_id: str) -> UndoView:
        """See `Engine.undo_preview`."""
        return undo_view(await self.engine.undo_preview(run_id))

    async def pause(self, run_id: str, reason: str | None) -> None:
        """See `Engine.pause`."""
        await self.engine.pause(run_id, reason)

    async def resume(self, run_id: str) -> None:
        """See `Engine.resume`."""
        await self.engine.resume(run_id)

    async def rewind(self, run_id: str, to: Sequence[str], reason: str | None, *, compensate: bool) -> None:
        """See `SecondChances.rewind`."""
        await self.engine.second_chances.rewind(run_id, to, Asked(by=WHO, reason=reason), compensate=compensate)

    async def retry(self, run_id: str, reason: str | None) -> None:
        """See `SecondChances.retry`."""
        await self.engine.second_chances.retry(run_id, Asked(by=WHO, reason=reason))

    async def rollback(self, run_id: str, reason: str | None) -> RolledBackTo:
        """See `SecondChances.rollback`."""
        return await self.engine.second_chances.rollback(run_id, Asked(by=WHO, reason=reason))

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """See `SecondChances.replay` and `fork`."""
        version: Version | str | None = body.get("version")
        text: str | None = body.get("flow")
        if text is not None and self.catalogue is not None:
            flow = load_flow(text, self.catalogue, file=body.get("file"))
            version = await self.engine.versions.keep(flow, text, self.engine.now())
        changes = RunChanges(version=version, inputs=body.get("inputs"), outputs=body.get("outputs"))
        asked, chances = Asked(by=WHO, reason=body.get("reason")), self.engine.second_chances
        if kind == "fork":
            return await chances.fork(run_id, body.get("at"), changes, asked)
        return await chances.replay(run_id, body.get("from") or (), changes, asked)

    async def callback(self, token: str, payload: Any) -> str:
        """See `Engine.callback`."""
        return await self.engine.callback(token, payload)

    async def publish(self, name: str, data: Any, id: str | None) -> str:
        """See `Engine.publish`."""
        return await self.engine.publish(name, data, id=id)

    def _links(self, state: RunState) -> tuple[CallbackLink, ...]:
        engine = self.engine
        return tuple(
            CallbackLink(
                step=step.address,
                token=engine.callback_token(state.run_id, step),
                url=engine.callback_url(state.run_id, step),
            )
            for step in state.nodes
            if step.callback and step.status is StepStatus.WAITING and step.waits_on == "callback"
        )


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(
        id=record.run_id,
        flow=record.flow_id,
        status=record.status,
        trigger=record.trigger,
        recovered=record.recovered,
        error=record.error,
        created_at=rfc3339(record.created_at),
        started_at=rfc3339(record.started_at),
        finished_at=rfc3339(record.finished_at),
    )


class _Heard:
    """Changes of a run that this process carries out."""

    def __init__(self, engine: Engine, run_id: str) -> None:
        self._engine = engine
        self._run_id = run_id
        self._event = asyncio.Event()
        self._ended = asyncio.Event()
        self._end: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        if self._end is None:
            await self._engine.changed(self._run_id, self._event)
            self._end = asyncio.create_task(self._await_end())
            return  # what happened before is not known
        await self._event.wait()
        self._event.clear()

    async def pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    async def close(self) -> None:
        self._engine.forget(self._run_id, self._event)
        if self._end is not None:
            self._end.cancel()
            await asyncio.gather(self._end, return_exceptions=True)

    async def _await_end(self) -> None:
        # Closed or quarantined: nothing more will be heard, and the next look tells what is.
        with suppress(EngineError):
            await self._engine.wait(self._run_id)
        self._ended.set()
        self._event.set()


class _Looked:
    """Changes of a run that another process carries out, which can only be looked for."""

    async def wait(self) -> None:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        return
