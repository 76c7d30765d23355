"""`AsyncClient`: a server of Segue from a Python program, over its HTTP API.

What can be repeated without harm is repeated when the server is away for a moment: questions, and starts and events,
which carry a key of their own. Errors are the ones that the server's own code raises (`segue.errors`), and those of
`segue.client.records`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Literal, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

import msgspec

from segue.client.operations import KEY_HEADER, Operations, items_of, record_of
from segue.client.records import (
    FlowSummary,
    HostLostError,
    RemoteCallback,
    RunEvent,
    RunSummary,
    StartedRun,
    TriggerSummary,
    UnavailableError,
)
from segue.client.remote import RemoteHost
from segue.engine.log_lines import LogLine
from segue.engine.run_compare import RunComparison
from segue.engine.second_chances import NewRunOf
from segue.engine.step_data import StepData
from segue.engine.views import RunView, UndoView
from segue.errors import EngineError

ATTEMPTS: Final = 6
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 5.0
ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "timed_out", "quarantined"})

T = TypeVar("T")


class _Flows(msgspec.Struct):
    flows: list[FlowSummary]
    next_cursor: str | None = None


class _Triggers(msgspec.Struct):
    triggers: list[TriggerSummary]
    next_cursor: str | None = None


class AsyncClient:
    """A server at an address (`https://segue.example.org`), with a key (`sgk_…`) or its token. Use it as an async
    context manager, or `close` it. Belongs to one event loop.
    """

    def __init__(self, url: str, token: str, *, workspace: str | None = None, attempts: int = ATTEMPTS) -> None:
        """`workspace`: another than the first one of the key's. `attempts`: how often a request is tried in all."""
        self._remote = RemoteHost(url, token, workspace=workspace)
        self._attempts = attempts
        self._known: Operations | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End kept connections. Safe to repeat."""
        await self._remote.close()

    # ------------------------------------------------------------ flows and triggers

    async def flows(self, search: str | None = None, *, limit: int = 200) -> list[FlowSummary]:
        """Flows of the workspace, by name; with a `search` the best hits first."""
        found: list[FlowSummary] = []
        cursor: str | None = None
        while len(found) < limit:
            query = [("limit", str(min(limit - len(found), 200)))]
            query += [(name, value) for name, value in (("q", search), ("cursor", cursor)) if value is not None]
            page = await self._ask("GET", "/api/v1/flows", _Flows, query=query)
            found += page.flows
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def flow(self, flow_id: str) -> FlowSummary:
        """One flow. Raises NotFoundError."""
        return await self._ask("GET", f"/api/v1/flows/{quote(flow_id, safe='')}", FlowSummary)

    async def triggers(self, flow_id: str | None = None) -> list[TriggerSummary]:
        """What starts runs, of one flow if it is named."""
        query = [] if flow_id is None else [("flow", flow_id)]
        return (await self._ask("GET", "/api/v1/triggers", _Triggers, query=query)).triggers

    # ------------------------------------------------------------ runs

    async def start(
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
        """Start a run of a flow's text or document, or of one that the server has (`flow_id`). When this returns, it is
        kept. Raises InvalidFlowError, InvalidInputError with every mistake, NotFoundError, LimitReachedError.
        """
        body: dict[str, Any] = {
            "flow": flow, "flow_id": flow_id, "inputs": dict(inputs or {}),
            "idempotency_key": idempotency_key or f"client-{uuid4()}",
            "start_at": at.isoformat() if isinstance(at, datetime) else None,
            "start_in": f"{at.total_seconds():.3f}s" if isinstance(at, timedelta) else None,
            "labels": labels or None, "metadata": metadata or None,
        }  # fmt: skip
        given = {name: value for name, value in body.items() if value is not None}
        return await self._ask("POST", "/api/v1/runs", StartedRun, json=given, safe=True)

    async def run(
        self,
        flow: str | Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        flow_id: str | None = None,
        idempotency_key: str | None = None,
        timeout_seconds: float | None = None,
    ) -> RunView:
        """Start a run and wait for its end. Errors as `start` and `wait`."""
        started = await self.start(flow, inputs, flow_id=flow_id, idempotency_key=idempotency_key)
        return await self.wait(started.run_id, timeout_seconds=timeout_seconds)

    async def wait(self, run_id: str, *, timeout_seconds: float | None = None) -> RunView:
        """The run once it is over. Raises NotFoundError, TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            async with aclosing(self.events(run_id)) as events:
                async for event in events:
                    if event.kind == "end":
                        break
            return await self.show(run_id)

    async def events(self, run_id: str, after: str | None = None) -> AsyncGenerator[RunEvent]:
        """The run's events as they happen, until it is over; a broken connection is taken up where it broke. `after`:
        the id of the last event that is known. Raises NotFoundError; HostLostError if the server stays away.
        """
        left = self._attempts
        while True:
            try:
                async with aclosing(self._remote.follow(run_id, after)) as events:
                    async for event in events:
                        left, after = self._attempts, event.id or after
                        if event.kind != "resume":
                            yield event
                        if event.kind == "end":
                            return
                if after is not None and after.endswith(".end"):
                    return
            except (HostLostError, UnavailableError):
                if left <= 1:
                    raise
            left -= 1
            await self._pause(self._attempts - left)

    async def runs(
        self, *, statuses: Sequence[str] = (), flow: str | None = None, search: str | None = None,
        labels: Mapping[str, str] | None = None, limit: int = 1_000,
    ) -> list[RunSummary]:  # fmt: skip
        """Runs, newest first. `search`: the beginning of an id, or a text in the error; `labels`: with all of these."""
        found: list[RunSummary] = []
        cursor: str | None = None
        while len(found) < limit:
            query = [("status", status) for status in statuses] + [("limit", str(min(limit - len(found), 200)))]
            query += [("label", f"{name}:{value}") for name, value in (labels or {}).items()]
            given = (("flow", flow), ("q", search), ("cursor", cursor))
            query += [(name, value) for name, value in given if value is not None]
            page = await self._ask("GET", "/api/v1/runs", _Runs, query=query)
            found += page.runs
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def show(self, run_id: str, *, at: int | None = None) -> RunView:
        """The run with its steps; `at`: as of that event. Raises NotFoundError, ConflictError."""
        return await self._ask("GET", _path(run_id), RunView, query=[] if at is None else [("at", str(at))])

    async def step(self, run_id: str, address: str) -> StepData:
        """What went into a step and what came out. Raises NotFoundError."""
        return await self._ask("GET", f"{_path(run_id)}/steps/{quote(address, safe='')}", StepData)

    async def logs(self, run_id: str) -> list[LogLine]:
        """The last 10,000 lines. Raises NotFoundError."""
        return await self._again(lambda: self._remote.logs(run_id), safe=True)

    async def compare(self, a: str, b: str) -> RunComparison:
        """Two runs side by side. Raises NotFoundError."""
        return await self._ask("GET", f"{_path(a)}/compare/{quote(b, safe='')}", RunComparison)

    async def tell(
        self,
        run_id: str,
        what: Literal["cancel", "pause", "resume", "retry", "undo"],
        reason: str | None = None,
        *,
        force: bool = False,
    ) -> None:
        """Tell a run something (`force`: cancel without clean-up). Raises NotFoundError, ConflictError."""
        further = {"force": True} if force else {}
        await self._again(lambda: self._remote.act(run_id, what, reason, **further), safe=False)

    async def rewind(self, run_id: str, *to: str, reason: str | None = None) -> None:
        """Go back to these steps. Raises NotFoundError, ConflictError."""
        await self._again(lambda: self._remote.rewind(run_id, to, reason), safe=False)

    async def replay(self, run_id: str, *from_: str, **changes: Any) -> NewRunOf:
        """Start a new run from steps of this one; `changes` as the API takes them (`inputs`, `version`, …)."""
        body = {"from": list(from_), **changes}
        return await self._again(lambda: self._remote.new_run_of(run_id, "replay", body), safe=False)

    async def fork(self, run_id: str, *, at: int | None = None, **changes: Any) -> NewRunOf:
        """Start a new run from this one as of an event; `changes` as in `replay`."""
        return await self._again(lambda: self._remote.new_run_of(run_id, "fork", {"at": at, **changes}), safe=False)

    async def undo_preview(self, run_id: str) -> UndoView:
        """What undoing the run would do. Raises NotFoundError."""
        return await self._again(lambda: self._remote.undo_preview(run_id), safe=True)

    # ------------------------------------------------------------ signals

    async def callbacks(self, run_id: str) -> list[RemoteCallback]:
        """What the run waits for from outside. Raises NotFoundError."""
        return (await self._ask("GET", f"{_path(run_id)}/callbacks", _Callbacks)).callbacks

    async def callback(self, token: str, payload: Any = None) -> str:
        """Answer a step that waits; `token` may be its whole address. Gives the run's id.

        Raises NotFoundError, ConflictError, GoneError, InvalidInputError.
        """
        given = token.rpartition("/")[2]
        return await self._again(lambda: self._remote.callback(given, payload), safe=False)

    async def publish(self, name: str, data: Any = None, *, id: str | None = None) -> str:
        """Send an event; its id, once it is kept. The same id again changes nothing."""
        sent = id or f"client-{uuid4()}"
        return await self._again(lambda: self._remote.publish(name, data, sent), safe=True)

    # ------------------------------------------------------------ everything else

    async def operations(self) -> list[str]:
        """The names of all that the server can do, as its OpenAPI document calls them."""
        return (await self._operations()).names

    @overload
    async def call(
        self, operation: str, body: object = msgspec.UNSET, /, *, returns: type[T], **parameters: Any
    ) -> T: ...

    @overload
    async def call(self, operation: str, body: object = msgspec.UNSET, /, **parameters: Any) -> Any: ...

    async def call(
        self, operation: str, body: object = msgspec.UNSET, /, *, returns: type[T] | None = None, **parameters: Any
    ) -> T | Any:
        """Any operation by its name: `call("createSchedule", {"flow": "report", "cron": "0 7 * * *"})`,
        `call("getSchedule", schedule_id=id)`. Parameters of its path, its query and its headers (`if_match`) go by
        their names. Gives JSON as Python has it, text, or None for an answer without a body; with `returns`, a record:
        the OpenAPI document names the one of each operation (`ScheduleView`), which is in `segue.api.*answers`.

        A POST gets an idempotency key of its own where the operation takes one, so that it is repeated without harm.
        Raises RequestError for an operation or parameter that the server has not got, and what its code raised.
        """
        call = (await self._operations()).call(operation, parameters)
        safe = call.method not in {"POST", "PATCH"}
        headers = dict(call.headers)
        if call.takes_key:
            headers.setdefault(KEY_HEADER, f"client-{uuid4()}")
            safe = True
        kind, content = await self._again(
            lambda: self._remote.send(call.method, call.path, json=body, query=call.query, headers=headers), safe=safe
        )
        if not content:
            return None
        if not kind.endswith("json"):
            return content.decode("utf-8", "replace")
        if returns is None:
            return msgspec.json.decode(content)
        return record_of(content, returns, operation)

    @overload
    def pages(self, operation: str, *, returns: type[T], **parameters: Any) -> AsyncGenerator[T]: ...

    @overload
    def pages(self, operation: str, **parameters: Any) -> AsyncGenerator[Any]: ...

    async def pages(
        self, operation: str, *, returns: type[T] | None = None, **parameters: Any
    ) -> AsyncGenerator[T | Any]:
        """The rows of a list, page after page: `pages("listDeliveries", flow="orders")`; with `returns`, as records
        (`DeliveryItem`). Raises as `call`.
        """
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            rows, cursor = items_of(await self.call(operation, **{**parameters, **more}))
            for row in rows:
                yield row if returns is None else record_of(row, returns, operation)
            if cursor is None:
                return

    async def _operations(self) -> Operations:
        if self._known is None:
            _, document = await self._again(lambda: self._remote.send("GET", "/openapi.json"), safe=True)
            self._known = Operations(document)
        return self._known

    # ------------------------------------------------------------ asking again

    async def _ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        json: object = msgspec.UNSET,
        query: list[tuple[str, str]] | None = None,
        safe: bool = True,
    ) -> T:
        return await self._again(lambda: self._remote.ask(method, path, answer, json=json, query=query), safe=safe)

    async def _again(self, request: Callable[[], Awaitable[T]], *, safe: bool) -> T:
        """`safe`: the request may be repeated though nobody knows whether it was carried out. One that the server
        refused for the moment was not, and is repeated in any case.
        """
        for number in range(1, self._attempts + 1):
            try:
                return await request()
            except UnavailableError:
                if number == self._attempts:
                    raise
            except HostLostError:
                if not safe or number == self._attempts:
                    raise
            await self._pause(number)
        raise EngineError("no attempt was made; a client tries at least once")

    @staticmethod
    async def _pause(number: int) -> None:
        longest = min(FIRST_DELAY_SECONDS * 2 ** (number - 1), LONGEST_DELAY_SECONDS)
        await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads load, hides nothing


class _Runs(msgspec.Struct):
    runs: list[RunSummary]
    next_cursor: str | None = None


class _Callbacks(msgspec.Struct):
    callbacks: list[RemoteCallback]


def _path(run_id: str) -> str:
    return f"/api/v1/runs/{quote(run_id, safe='')}"
