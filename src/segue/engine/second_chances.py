"""Second chances of a run: go back in it, try again, start it anew from there, roll it back to its last valid event.

Rewinding and retrying change the run itself. A replay and a fork are new runs; the old one stays as it is, and both
name each other (the new one in its first event, the old one by a line in its log).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from segue.engine.ids import token_hash
from segue.engine.replays import Cut, own_outputs
from segue.engine.sealing import resolved
from segue.engine.versions import Version
from segue.errors import ConflictError, JournalCorruptError, NotFoundError, RequestError
from segue.expr.sealed import Box
from segue.flow.model import JsonValue
from segue.kernel import inputs as inp
from segue.kernel import kept as keeping
from segue.kernel.events import Origin
from segue.kernel.rewind import plan_fork
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus
from segue.store.port import Commit, LogRow, RunRecord

if TYPE_CHECKING:
    from segue.engine.host import Engine

LATEST = "latest"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for a second chance, and why; kept in the journal."""

    by: str | None = None
    reason: str | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What of a replayed or forked run is to be other than it was; None: as it was.

    `version`: one at hand, its number, or `latest` (of those kept). `outputs`: of kept steps, by address.
    """

    version: Version | str | None = None
    inputs: Mapping[str, JsonValue] | None = None
    outputs: Mapping[str, JsonValue] | None = None


class NewRunOf(msgspec.Struct, frozen=True, kw_only=True):
    """A replayed or forked run: its id, how many recorded outcomes it starts with, and what could not be kept."""

    run_id: str
    kept: int
    not_kept: tuple[keeping.NotKept, ...] = ()


class RolledBackTo(msgspec.Struct, frozen=True, kw_only=True):
    """The last valid event of a run that goes on from there, and how many events after it were set aside."""

    last_valid_event: int
    set_aside: int


class SecondChances:
    """The operations, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def rewind(
        self, run_id: str, to: Sequence[str], asked: Asked | None = None, *, compensate: bool = False
    ) -> None:
        """Go back to these steps (addresses): they and all that depends on them are run again, what else has ended
        keeps its results. Also of a run that is over. Raises NotFoundError, ConflictError for a step that the run has
        not reached.

        `compensate`: what is taken back is undone first, by the steps' own `compensate`; if one of those fails, the run
        ends as it had ended. Only of a run that is over.
        """
        asked = asked or Asked()
        await self._engine.reopen(run_id, inp.RewindRun(tuple(to), asked.reason, asked.by, compensate))

    async def retry(self, run_id: str, asked: Asked | None = None) -> None:
        """Go on with a run that failed, was cancelled or timed out: what failed or was cut off is run again, also what
        may have taken effect. Raises NotFoundError, ConflictError if nothing has failed.
        """
        asked = asked or Asked()
        await self._engine.reopen(run_id, inp.RetryRun(asked.reason, asked.by))

    # ------------------------------------------------------------ new runs

    async def replay(
        self, run_id: str, to: Sequence[str] = (), changes: Changes | None = None, asked: Asked | None = None
    ) -> NewRunOf:
        """Start a new run that goes on from these steps of the old one (`outer/inner`: of a sub-flow's run); without
        steps it begins anew.

        What the old run did before them, and beside them, is kept: such a step ends as it had ended, with no call.
        Raises NotFoundError for a run, step or version that does not exist, ConflictError for a step that the run has
        not reached, InvalidInputError, RequestError, JournalCorruptError.
        """
        record = await self._engine.record(run_id)
        state = await self._engine.state(record)
        changes = changes or Changes()
        cut = await self._engine.replays.cut(state, to, changes.outputs or {}, latest=changes.version == LATEST)
        return await self._start(record, state, "replay", tuple(to), cut, changes, asked)

    async def fork(
        self, run_id: str, at: int | None = None, changes: Changes | None = None, asked: Asked | None = None
    ) -> NewRunOf:
        """Start a new run from the old one as of its event `at` (None: the last one): all that had settled is kept,
        but for what was undone by then; the rest is run. Errors as `replay`; ConflictError if there is no such event.
        """
        record = await self._engine.record(run_id)
        state = (await self.as_of(record, at))[0] if at is not None else await self._engine.state(record)
        cut = Cut(keeping.record(state, plan_fork(state)), {})
        return await self._start(record, state, "fork", (), cut, changes or Changes(), asked)

    async def _start(
        self,
        record: RunRecord,
        state: RunState,
        kind: str,
        to: tuple[str, ...],
        cut: Cut,
        changes: Changes,
        asked: Asked | None,
    ) -> NewRunOf:
        engine, asked = self._engine, asked or Asked()
        version = await self._version(record, changes.version)
        kept, not_kept = keeping.fit(cut.kept, version.plan)
        kept = keeping.replaced(kept, own_outputs(changes.outputs or {}))
        inputs = state.inputs if changes.inputs is None else changes.inputs
        inputs = resolved(version.flow, inputs, state.box or Box(None))
        origin = Origin(
            run_id=record.run_id, kind="fork" if kind == "fork" else "replay", to=to, event=state.seq - 1,
            by=asked.by, reason=asked.reason, inside=cut.inside,
        )  # fmt: skip
        begin = inp.Begin(inputs, state.trigger, state.seed, origin, kept)
        run_id = await engine.starting.from_run(version, begin, record.workspace, kind)
        done = "replayed" if kind == "replay" else "forked"
        engine.store.log(record.key, [LogRow(engine.now(), "info", "", f"{done} as run {run_id}")])
        return NewRunOf(run_id=run_id, kept=len(kept), not_kept=tuple(not_kept))

    async def _version(self, record: RunRecord, chosen: Version | str | None) -> Version:
        versions = self._engine.versions
        if chosen is None:
            return await versions.get(record.flow_version)
        if isinstance(chosen, str):
            wanted = None if chosen == LATEST else chosen
            return await self._chosen(record.workspace, record.flow_id, wanted)
        if chosen.flow.id != record.flow_id:
            raise RequestError(f"run {record.run_id} is of flow {record.flow_id!r}, not of {chosen.flow.id!r}")
        return await versions.of_workspace(chosen, record.workspace)

    async def _chosen(self, workspace: str, flow_id: str, number: str | None) -> Version:
        """The version of a number, the newest if None: as its source has it, else as one was kept."""
        engine = self._engine
        found = await engine.flows.find(flow_id, number, workspace=workspace)
        if found is not None:
            return await engine.versions.keep(found.flow, found.source, engine.now(), workspace=workspace)
        kept = await engine.versions.newest(workspace, flow_id, number)
        if kept is None:
            raise NotFoundError(f"no version {number or LATEST!r} of flow {flow_id!r} is kept")
        return kept

    # ------------------------------------------------------------ the past

    async def as_of(self, record: RunRecord, event: int) -> tuple[RunState, int]:
        """The run as of one of its events, and that event's time (ms). Raises ConflictError if there is none."""
        rows = await self._engine.store.load_journal(record.key, after_seq=event - 1, limit=1) if event >= 0 else []
        if not rows:
            last = (await self._engine.state(record)).seq - 1
            raise ConflictError(f"run {record.run_id} has no event {event}; its events are 0 to {last}")
        return await self._engine.state(record, upto_seq=event), rows[0].at

    # ------------------------------------------------------------ a journal that does not fold

    async def rollback(self, run_id: str, asked: Asked | None = None) -> RolledBackTo:
        """Go on with a run whose journal does not fold from its last valid event; what follows is set aside.

        Raises NotFoundError, ConflictError if its journal folds and it is not quarantined, or if no event of it is
        valid. Safe to repeat after a crash.
        """
        engine, asked = self._engine, asked or Asked()
        async with engine.reopening:
            record = await engine.record(run_id)
            state, folds = await self._valid_part(record)
            if record.key in engine.residents.by_key or (folds and record.status != RunStatus.QUARANTINED):
                raise ConflictError(f"run {run_id} is {record.status}: there is nothing to roll back")
            last = state.seq - 1
            count = await engine.store.put_journal_aside(record.key, after_seq=last, at=engine.now())
            await self._close_callbacks(record, state)
            await engine.go_on(record, inp.GoOn(count, asked.reason, asked.by))
        return RolledBackTo(last_valid_event=last, set_aside=count)

    async def _valid_part(self, record: RunRecord) -> tuple[RunState, bool]:
        """The run as of its last valid event, and whether that is its last event."""
        try:
            return await self._engine.loading.state(record, opens=True), True
        except JournalCorruptError as error:
            if error.last_valid_seq < 1:
                raise ConflictError(
                    f"nothing of run {record.run_id} but its acceptance folds: start the flow again"
                ) from error
            return await self._engine.state(record, upto_seq=error.last_valid_seq), False

    async def _close_callbacks(self, record: RunRecord, state: RunState) -> None:
        """Signals that only the events set aside waited for."""
        engine = self._engine
        awaited = {token_hash(engine.callback_token(record.run_id, one)) for one in state.standing if one.callback}
        rows = await engine.store.callbacks_of_run(record.key)
        stale = [(row.token_hash, "cancelled") for row in rows if row.state == "open" and row.token_hash not in awaited]
        if stale:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def answer(_commit: Commit, error: BaseException | None) -> None:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

            engine.store.commit(Commit(run_key=record.key, rows=(), callbacks_closed=stale), answer)
            await done
