"""The runs of a database through the host that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from segue.client.records import HostLostError, RunSummary
from segue.engine.log_lines import LogLine
from segue.engine.second_chances import NewRunOf, RolledBackTo
from segue.engine.views import UndoView, set_aside_view
from segue.errors import JournalCorruptError, NotFoundError, SegueError

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

from segue.cli.desk import CallbackLink, Changes, Snapshot


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
        except JournalCorruptError:
            return True
        return True

    async def show(self, run_id: str, at: int | None = None) -> Snapshot:
        """The run as the host shows it; one that is set aside as what the host's list says of it."""
        try:
            view, callbacks = await self.remote.show(run_id, at=at)
        except JournalCorruptError as error:
            rows, _ = await self.remote.runs(begins=run_id, limit=1)
            if at is not None or not rows:
                raise
            row = rows[0]
            return Snapshot(
                set_aside_view(
                    run_id,
                    error,
                    flow=row.flow,
                    trigger=row.trigger,
                    created_at=row.created_at,
                    started_at=row.started_at,
                )
            )
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
