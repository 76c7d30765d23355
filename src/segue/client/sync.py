"""`Client`: the same as `AsyncClient`, for programs without an event loop: it has one of its own, in a thread of its
own, so that it also works where a loop runs already, as in a notebook.

Safe to use from several threads at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal, TypeVar, overload

import msgspec

from segue.client.aio import ATTEMPTS, AsyncClient
from segue.client.records import FlowSummary, RemoteCallback, RunEvent, RunSummary, StartedRun, TriggerSummary
from segue.engine.log_lines import LogLine
from segue.engine.run_compare import RunComparison
from segue.engine.second_chances import NewRunOf
from segue.engine.step_data import StepData
from segue.engine.views import RunView, UndoView
from segue.errors import RequestError

T = TypeVar("T")


class Client:
    """See `AsyncClient`: every method is as there, and waits for its answer."""

    def __init__(self, url: str, token: str, *, workspace: str | None = None, attempts: int = ATTEMPTS) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="segue-client", daemon=True)
        self._thread.start()
        self._client = AsyncClient(url, token, workspace=workspace, attempts=attempts)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End kept connections. The client cannot be used any more. Safe to repeat."""
        if not self._thread.is_alive():
            return
        self._do(self._client.close())
        self._do(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def flows(self, search: str | None = None, *, limit: int = 200) -> list[FlowSummary]:
        """See `AsyncClient.flows`."""
        return self._do(self._client.flows(search, limit=limit))

    def flow(self, flow_id: str) -> FlowSummary:
        """See `AsyncClient.flow`."""
        return self._do(self._client.flow(flow_id))

    def triggers(self, flow_id: str | None = None) -> list[TriggerSummary]:
        """See `AsyncClient.triggers`."""
        return self._do(self._client.triggers(flow_id))

    def start(
        self,
        flow: str | Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        flow_id: str | None = None,
        idempotency_key: str | None = None,
        at: datetime | timedelta | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StartedRun:
        """See `AsyncClient.start`."""
        return self._do(
            self._client.start(
                flow, inputs, flow_id=flow_id, idempotency_key=idempotency_key, at=at, labels=labels, metadata=metadata
            )
        )

    def run(
        self,
        flow: str | Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        flow_id: str | None = None,
        idempotency_key: str | None = None,
        timeout_seconds: float | None = None,
    ) -> RunView:
        """See `AsyncClient.run`."""
        return self._do(
            self._client.run(
                flow, inputs, flow_id=flow_id, idempotency_key=idempotency_key, timeout_seconds=timeout_seconds
            )
        )

    def wait(self, run_id: str, *, timeout_seconds: float | None = None) -> RunView:
        """See `AsyncClient.wait`."""
        return self._do(self._client.wait(run_id, timeout_seconds=timeout_seconds))

    def events(self, run_id: str, after: str | None = None) -> Iterator[RunEvent]:
        """See `AsyncClient.events`."""
        events = self._client.events(run_id, after)
        try:
            while True:
                event = self._do(_next(events))
                if event is _OVER:
                    return
                yield event
        finally:
            self._do(_closed(events))

    def runs(
        self, *, statuses: Sequence[str] = (), flow: str | None = None, search: str | None = None,
        labels: Mapping[str, str] | None = None, limit: int = 1_000,
    ) -> list[RunSummary]:  # fmt: skip
        """See `AsyncClient.runs`."""
        return self._do(self._client.runs(statuses=statuses, flow=flow, search=search, labels=labels, limit=limit))

    def show(self, run_id: str, *, at: int | None = None) -> RunView:
        """See `AsyncClient.show`."""
        return self._do(self._client.show(run_id, at=at))

    def step(self, run_id: str, address: str) -> StepData:
        """See `AsyncClient.step`."""
        return self._do(self._client.step(run_id, address))

    def logs(self, run_id: str) -> list[LogLine]:
        """See `AsyncClient.logs`."""
        return self._do(self._client.logs(run_id))

    def compare(self, a: str, b: str) -> RunComparison:
        """See `AsyncClient.compare`."""
        return self._do(self._client.compare(a, b))

    def tell(
        self,
        run_id: str,
        what: Literal["cancel", "pause", "resume", "retry", "undo"],
        reason: str | None = None,
        *,
        force: bool = False,
    ) -> None:
        """See `AsyncClient.tell`."""
        self._do(self._client.tell(run_id, what, reason, force=force))

    def rewind(self, run_id: str, *to: str, reason: str | None = None) -> None:
        """See `AsyncClient.rewind`."""
        self._do(self._client.rewind(run_id, *to, reason=reason))

    def replay(self, run_id: str, *from_: str, **changes: Any) -> NewRunOf:
        """See `AsyncClient.replay`."""
        return self._do(self._client.replay(run_id, *from_, **changes))

    def fork(self, run_id: str, *, at: int | None = None, **changes: Any) -> NewRunOf:
        """See `AsyncClient.fork`."""
        return self._do(self._client.fork(run_id, at=at, **changes))

    def undo_preview(self, run_id: str) -> UndoView:
        """See `AsyncClient.undo_preview`."""
        return self._do(self._client.undo_preview(run_id))

    def callbacks(self, run_id: str) -> list[RemoteCallback]:
        """See `AsyncClient.callbacks`."""
        return self._do(self._client.callbacks(run_id))

    def callback(self, token: str, payload: Any = None) -> str:
        """See `AsyncClient.callback`."""
        return self._do(self._client.callback(token, payload))

    def publish(self, name: str, data: Any = None, *, id: str | None = None) -> str:
        """See `AsyncClient.publish`."""
        return self._do(self._client.publish(name, data, id=id))

    def operations(self) -> list[str]:
        """See `AsyncClient.operations`."""
        return self._do(self._client.operations())

    @overload
    def call(self, operation: str, body: object = msgspec.UNSET, /, *, returns: type[T], **parameters: Any) -> T: ...

    @overload
    def call(self, operation: str, body: object = msgspec.UNSET, /, **parameters: Any) -> Any: ...

    def call(
        self, operation: str, body: object = msgspec.UNSET, /, *, returns: type[T] | None = None, **parameters: Any
    ) -> T | Any:
        """See `AsyncClient.call`."""
        if returns is None:
            return self._do(self._client.call(operation, body, **parameters))
        return self._do(self._client.call(operation, body, returns=returns, **parameters))

    @overload
    def pages(self, operation: str, *, returns: type[T], **parameters: Any) -> Iterator[T]: ...

    @overload
    def pages(self, operation: str, **parameters: Any) -> Iterator[Any]: ...

    def pages(self, operation: str, *, returns: type[T] | None = None, **parameters: Any) -> Iterator[T | Any]:
        """See `AsyncClient.pages`."""
        rows: AsyncGenerator[Any] = (
            self._client.pages(operation, **parameters)
            if returns is None
            else self._client.pages(operation, returns=returns, **parameters)
        )
        try:
            while (row := self._do(_next(rows))) is not _OVER:
                yield row
        finally:
            self._do(_closed(rows))

    def _do(self, call: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            call.close()
            raise RequestError("this client was closed; make a new one")
        doing = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return doing.result()
        except BaseException:
            doing.cancel()  # Ctrl-C, which comes to this thread only
            raise


_OVER: Final = object()


async def _next(rows: AsyncGenerator[Any]) -> Any:
    return await anext(rows, _OVER)


async def _closed(rows: AsyncGenerator[Any]) -> None:
    await rows.aclose()
