"""The ways to a database's runs: through this process (hosting or only reading), or through the host that runs it.

Commands speak to a `Desk` and need not know which it is. A host that goes away while it is spoken to is
`HostLostError`; whoever got it may open another way, since nothing that was kept is lost with a host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from segue.client.records import HostLostError, RunSummary
from segue.engine.host import Engine
from segue.engine.log_lines import LogLine, log_lines
from segue.engine.second_chances import Asked, NewRunOf, RolledBackTo
from segue.engine.second_chances import Changes as RunChanges
from segue.engine.versions import Version
from segue.engine.views import RunView, UndoView, quarantined_view, rfc3339, undo_view, view_of
from segue.errors import EngineError, JournalCorruptError, NotFoundError, RequestError, SegueError
from segue.flow import Catalogue, load_flow
from segue.kernel.state import RunState
from segue.kernel.status import RUN_ENDED, RunStatus, StepStatus
from segue.store.port import LogRow, RunFilter, RunRecord

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

LAST = "last"
_WHO = "the command line"
ENDED = frozenset(status.value for status in RUN_ENDED) | {RunStatus.QUARANTINED.value}
SEARCHED_RUNS = 10_000
"""How many of the newest runs are looked at for an abbreviated id."""
LOOK_AGAIN_SECONDS = 0.3
"""How often a database that another process writes is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackLink:
    """Where a waiting step's signal is to be sent."""

    step: str
    token: str
    url: str | None
    """None while no HTTP door is open; `segue callback TOKEN` reaches the step anyway."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as it stood at one moment."""

    view: RunView
    callbacks: tuple[CallbackLink, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.view.status in ENDED


class Changes(Protocol):
    """News of one run."""

    async def wait(self) -> None:
        """Until something may have happened since the last call; the first one returns at once."""
        ...

    async def pause(self, seconds: float) -> None:
        """This long, or less if the run ends meanwhile."""
        ...

    async def close(self) -> None:
        """Hear no more."""
        ...


class Desk(Protocol):
    """What commands ask for. All raise NotFoundError, ConflictError, … of `segue.errors`, and HostLostError."""

    async def page(
        self, *, statuses: tuple[str, ...] = (), flow: str | None = None, labels: tuple[tuple[str, str], ...] = (),
        limit: int = 50, cursor: str | None = None,
    ) -> tuple[list[RunSummary], str | None]:  # fmt: skip
        """Runs, newest first, and where the next page begins."""
        ...

    async def has(self, run_id: str) -> bool:
        """Whether there is such a run."""
        ...

    async def show(self, run_id: str, at: int | None = None) -> Snapshot:
        """The run as it stands; `at`: as of that event."""
        ...

    async def logs(self, run_id: str) -> list[LogLine]:
        """All lines so far."""
        ...

    def changes(self, run_id: str) -> Changes:
        """News of a run."""
        ...

    async def cancel(self, run_id: str, reason: str | None, *, force: bool = False) -> None:
        """Begin nothing more of it, and cut off what is in flight."""
        ...

    async def undo(self, run_id: str, reason: str | None) -> None:
        """Undo a run that is over."""
        ...

    async def undo_preview(self, run_id: str) -> UndoView:
        """What that would do."""
        ...

    async def pause(self, run_id: str, reason: str | None) -> None:
        """Begin no new step of it."""
        ...

    async def resume(self, run_id: str) -> None:
        """Let a paused run go on."""
        ...

    async def rewind(self, run_id: str, to: Sequence[str], reason: str | None, *, compensate: bool) -> None:
        """Go back to these steps."""
        ...

    async def retry(self, run_id: str, reason: str | None) -> None:
        """Go on with a run that failed or was cut off."""
        ...

    async def rollback(self, run_id: str, reason: str | None) -> RolledBackTo:
        """Go on from the last valid event."""
        ...

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """Start a run from another one; `body` as the API takes it."""
        ...

    async def callback(self, token: str, payload: Any) -> str:
        """Deliver a signal; the run's id."""
        ...

    async def publish(self, name: str, data: Any, id: str | None) -> str:
        """Send an event; its id."""
        ...


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
            return Snapshot(quarantined_view(record, error.message))
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
        await self.engine.second_chances.rewind(run_id, to, Asked(by=_WHO, reason=reason), compensate=compensate)

    async def retry(self, run_id: str, reason: str | None) -> None:
        """See `SecondChances.retry`."""
        await self.engine.second_chances.retry(run_id, Asked(by=_WHO, reason=reason))

    async def rollback(self, run_id: str, reason: str | None) -> RolledBackTo:
        """See `SecondChances.rollback`."""
        return await self.engine.second_chances.rollback(run_id, Asked(by=_WHO, reason=reason))

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """See `SecondChances.replay` and `fork`."""
        version: Version | str | None = body.get("version")
        text: str | None = body.get("flow")
        if text is not None and self.catalogue is not None:
            flow = load_flow(text, self.catalogue, file=body.get("file"))
            version = await self.engine.versions.keep(flow, text, self.engine.now())
        changes = RunChanges(version=version, inputs=body.get("inputs"), outputs=body.get("outputs"))
        asked, chances = Asked(by=_WHO, reason=body.get("reason")), self.engine.second_chances
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


class RemoteDesk:
    """Through the host that runs the database."""

    def __init__(self, remote: RemoteHost) -> None:
        self.remote = remote

    async def page(
        self, *, statuses: tuple[str, ...] = (), flow: str | None = None, labels: tuple[tuple[str, str], ...] = (),
        limit: int = 50, cursor: str | None = None,
    ) -> tuple[list[RunSummary], str | None]:  # fmt: skip
        """Newest first, and where the next page begins."""
        return await self.remote.runs(statuses=statuses, flow=flow, labels=labels, limit=limit, cursor=cursor)

    async def has(self, run_id: str) -> bool:
        """Whether there is such a run."""
        try:
            await self.remote.show(run_id)
        except NotFoundError:
            return False
        return True

    async def show(self, run_id: str, at: int | None = None) -> Snapshot:
        """The run as the host shows it."""
        view, callbacks = await self.remote.show(run_id, at=at)
        return Snapshot(view, tuple(CallbackLink(step=one.step, token=one.token, url=one.url) for one in callbacks))

    async def logs(self, run_id: str) -> list[LogLine]:
        """All lines so far."""
        return await self.remote.logs(run_id)

    def changes(self, run_id: str) -> Changes:
        """News of a run, as the host sends them."""
        return _Told(self.remote, run_id)

    async def cancel(self, run_id: str, reason: str | None, *, force: bool = False) -> None:
        """See `Engine.cancel`."""
        await self.remote.act(run_id, "cancel", reason, **({"force": True} if force else {}))

    async def undo(self, run_id: str, reason: str | None) -> None:
        """See `Engine.undo`."""
        await self.remote.act(run_id, "undo", reason)

    async def undo_preview(self, run_id: str) -> UndoView:
        """See `Engine.undo_preview`."""
        return await self.remote.undo_preview(run_id)

    async def pause(self, run_id: str, reason: str | None) -> None:
        """See `Engine.pause`."""
        await self.remote.act(run_id, "pause", reason)

    async def resume(self, run_id: str) -> None:
        """See `Engine.resume`."""
        await self.remote.act(run_id, "resume", None)

    async def rewind(self, run_id: str, to: Sequence[str], reason: str | None, *, compensate: bool) -> None:
        """See `SecondChances.rewind`."""
        await self.remote.rewind(run_id, to, reason, compensate=compensate)

    async def retry(self, run_id: str, reason: str | None) -> None:
        """See `SecondChances.retry`."""
        await self.remote.act(run_id, "retry", reason)

    async def rollback(self, run_id: str, reason: str | None) -> RolledBackTo:
        """See `SecondChances.rollback`."""
        return await self.remote.rollback(run_id, reason)

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """See `SecondChances.replay` and `fork`."""
        return await self.remote.new_run_of(run_id, kind, body)

    async def callback(self, token: str, payload: Any) -> str:
        """See `Engine.callback`."""
        return await self.remote.callback(token, payload)

    async def publish(self, name: str, data: Any, id: str | None) -> str:
        """See `Engine.publish`."""
        return await self.remote.publish(name, data, id)


async def find_run(desk: Desk, given: str) -> str:
    """The id that a RUN argument means: a whole id, `last`, or what begins or ends just one id.

    Raises NotFoundError, and RequestError if several runs fit.
    """
    if given == LAST:
        newest, _ = await desk.page(limit=1)
        if not newest:
            raise NotFoundError("there are no runs in this database yet")
        return newest[0].id
    if await desk.has(given):
        return given
    fitting: list[str] = []
    cursor: str | None = None
    for _ in range(SEARCHED_RUNS // 1000):
        page, cursor = await desk.page(limit=1000, cursor=cursor)
        fitting += [one.id for one in page if _fits(one.id, given)]
        if cursor is None:
            break
    if not fitting:
        raise NotFoundError(f"no run has the id {given!r}, nor one that begins or ends so; `segue runs` lists them")
    if len(fitting) > 1:
        shown = ", ".join(fitting[:5]) + (f" and {len(fitting) - 5} more" if fitting[5:] else "")
        raise RequestError(f"{given!r} fits {len(fitting)} runs: {shown}; write more of the id")
    return fitting[0]


def _fits(run_id: str, given: str) -> bool:
    return run_id.startswith((given, f"run_{given}")) or run_id.endswith(given)


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


class _Told:
    """Changes of a run that a host tells of over HTTP."""

    def __init__(self, remote: RemoteHost, run_id: str) -> None:
        self._remote = remote
        self._run_id = run_id
        self._event = asyncio.Event()
        self._ended = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._failure: SegueError | None = None

    async def wait(self) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
            return
        await self._event.wait()
        self._event.clear()
        if self._failure is not None:
            raise self._failure

    async def pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            async for kind in self._remote.events(self._run_id):
                if kind == "end":
                    self._ended.set()
                self._event.set()
        except SegueError as error:
            self._failure = error
        else:
            if not self._ended.is_set():
                self._failure = HostLostError(f"the host at {self._remote.address} ended its stream of events")
        self._event.set()
