"""Live by WebSocket (RFC 6455): the events of one run, or of all that a filter finds, in one connection; the latter by
Server-Sent Events, too.

The messages of a run are those of its Server-Sent Events, as `{event, id, data}`. A reader that is too slow is told to
`resume` and closed with 1013 (try again later): it comes back with the id, and has missed nothing. One that may read no
more is told `refused`, with a problem document, and closed with 4401.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from fastapi import Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from segue.access.principal import Principal
from segue.api.documented import errors_of, list_event_stream
from segue.api.errors import ClosingError
from segue.api.guard import refuse_socket
from segue.api.live import WORKSPACE, Streams, events_of, may_read
from segue.api.live_runs import LiveRuns, RunTold
from segue.api.routing import Routes, principal_of, refuse_if_off, refuse_unless
from segue.api.run_feed import Position, Told
from segue.api.run_filters import WORDS, run_filter
from segue.api.standing import Standing
from segue.engine.host import Engine
from segue.errors import NotFoundError, SegueError

PROTOCOL: Final = "segue.v1"
MESSAGE_BYTES_MAX: Final = 16 * 1024
"""Of a message from a watcher, who has nothing to say; the web server closes with 1009 above that."""
RECEIVED_MAX: Final = 1_000
"""Messages from a watcher that are overlooked before it is taken for broken."""
GOING_AWAY: Final = 1012
TRY_AGAIN: Final = 1013
POLICY: Final = 1008
REFUSED: Final = 4401
"""What allowed this connection is gone; the message `refused` before it says why. As HTTP's 401 among the codes that
RFC 6455, section 7.4.2, leaves to applications."""
Right: TypeAlias = Callable[[Principal], object]
Batches: TypeAlias = Callable[[Standing], AsyncGenerator[list[str]]]
Begun: TypeAlias = tuple[Right, Batches]
_encode = msgspec.json.Encoder().encode


class SocketRoutes:
    """`/api/v1/runs/{run_id}/socket`, `/api/v1/live` and `/api/v1/live/events`."""

    def __init__(self, engine: Engine, streams: Streams, live: LiveRuns) -> None:
        self._engine = engine
        self._streams = streams
        self._live = live

    def router(self) -> Routes:
        """The routes. OpenAPI has no words for WebSockets; docs/api.md has."""
        router = Routes(tags=["runs"])
        router.add(
            "/api/v1/live/events", self.list_events, needs="run:read", each=True,
            responses={
                200: {
                    "description": "`runs`, then one `run` for each change, or `refused`",
                    "content": {"text/event-stream": list_event_stream()},
                },
                **errors_of(422, 503),
            },
        )  # fmt: skip
        router.add_api_websocket_route("/api/v1/runs/{run_id}/socket", self.run)
        router.add_api_websocket_route("/api/v1/live", self.many)
        return router

    async def run(
        self,
        websocket: WebSocket,
        run_id: str,
        after: str = "",
        level: Literal["debug", "info", "warning", "error"] = "debug",
    ) -> None:
        """One run: `log`, `run`, and `end`. `after`: the id of the last message that is known."""

        async def begin() -> Begun:
            record = await self._engine.record(run_id)
            principal = _principal(websocket)
            if record.workspace != principal.workspace:
                raise NotFoundError(f"no run has the id {run_id!r}")
            await refuse_if_off(websocket.app.state.identities, principal.workspace)
            right, known = may_read(record.flow_id), Position.parse(after)
            right(principal)
            return right, lambda standing: self._told(self._streams.watch(record, known, level, standing), known)

        await self._serve(websocket, begin)

    async def many(
        self,
        websocket: WebSocket,
        status: Annotated[list[str] | None, Query()] = None,
        flow: str | None = None,
        trigger: str | None = None,
        parent: str | None = None,
        after: str = "",
    ) -> None:
        """Runs of a filter: a list of the newest (`runs`), then each that changes (`run`), as rows of the list. A run
        that has left the filter's statuses is told once more, so that it can be taken off. `after`: the id of the last
        message that is known.
        """
        right = _may_list(flow)

        async def begin() -> Begun:
            principal = _principal(websocket)
            await refuse_if_off(websocket.app.state.identities, principal.workspace)
            right(principal)
            where = run_filter(principal.workspace, statuses=status or (), flow=flow, trigger=trigger, parent=parent)
            known = self._live.changes.number_at(after)
            return right, lambda standing: self._rows(self._live.told(where, known, standing))

        await self._serve(websocket, begin)

    async def list_events(
        self,
        request: Request,
        status: Annotated[list[str] | None, Query(description=f"Only these: {WORDS}.")] = None,
        flow: Annotated[str | None, Query(description="Only runs of this flow.", max_length=300)] = None,
        trigger: Annotated[str | None, Query(description="Only started by this.", max_length=100)] = None,
        parent: Annotated[str | None, Query(description="Only started by steps of this run.", max_length=100)] = None,
        last_event_id: Annotated[str | None, Header()] = None,
        workspace: Annotated[str | None, Query(description=WORKSPACE, max_length=100)] = None,
    ) -> Response:
        """Runs of a filter as they change, by Server-Sent Events: `runs` (the newest 50), then `run`, a row of the
        list, for each that changes; one that has left the filter's statuses is told once more. With `Last-Event-ID`:
        what has changed since, or `runs` again where that is not known any more.
        """
        del workspace  # the guard has chosen by it
        right = _may_list(flow)
        principal = principal_of(request)
        right(principal)
        where = run_filter(principal.workspace, statuses=status or (), flow=flow, trigger=trigger, parent=parent)
        known = self._live.changes.number_at(last_event_id)
        self._streams.refuse_if_full()
        content = events_of(self._streams, request, right, lambda standing: self._live.told(where, known, standing))
        return StreamingResponse(content, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _told(self, batches: AsyncGenerator[list[Told]], known: Position) -> AsyncGenerator[list[str]]:
        if known.is_end:
            return
        async with aclosing(batches) as told:
            async for batch in told:
                yield [one.socket for one in batch]

    async def _rows(self, batches: AsyncGenerator[list[RunTold]]) -> AsyncGenerator[list[str]]:
        async with aclosing(batches) as told:
            async for batch in told:
                yield [one.socket for one in batch]

    async def _serve(self, websocket: WebSocket, begin: Callable[[], Awaitable[Begun]]) -> None:
        """Accept the connection and send until either side is done."""
        try:
            self._streams.refuse_if_full()
            if self._streams.over:
                raise ClosingError("the server is being stopped; ask again in a moment")
            right, batches = await begin()
        except SegueError as error:
            await refuse_socket(websocket.scope, websocket.receive, websocket.send, error)
            return
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        listening = asyncio.create_task(_until_gone(websocket))
        sending = asyncio.create_task(self._watched(websocket, right, batches))
        try:
            await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, sending):
                task.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)

    async def _watched(self, websocket: WebSocket, right: Right, batches: Batches) -> None:
        async with self._streams.standings.hold(websocket.scope, right) as standing:
            code = await self._send(websocket, batches(standing))
            if standing.refusal is not None and not self._streams.over:
                await websocket.send_text(_message("refused", standing.problem(websocket.scope)))
                code = REFUSED
            await websocket.close(code)

    async def _send(self, websocket: WebSocket, batches: AsyncGenerator[list[str]]) -> int:
        resume = False
        async with aclosing(batches) as told:
            async for batch in told:
                for text in batch:
                    await websocket.send_text(text)
                resume = bool(batch) and batch[-1].startswith('{"event":"resume"')
        return TRY_AGAIN if resume else GOING_AWAY if self._streams.over else 1000


async def _until_gone(websocket: WebSocket) -> None:
    """Watchers have nothing to say; one that says much is broken."""
    try:
        for _ in range(RECEIVED_MAX):
            await websocket.receive_text()
    except (WebSocketDisconnect, KeyError):
        return
    await websocket.close(POLICY, "this connection is for listening")


def _principal(websocket: WebSocket) -> Principal:
    principal = websocket.scope["segue.principal"]
    assert isinstance(principal, Principal)
    return principal


def _may_list(flow: str | None) -> Right:
    """The right to watch runs of a flow, or of all that one sees."""

    def right(principal: Principal) -> None:
        if flow is not None or not principal.flows_for("run:read"):
            refuse_unless(principal, "run:read", flow)

    return right


def _message(event: str, value: object) -> str:
    return f'{{"event":"{event}","data":{_encode(value).decode()}}}'
