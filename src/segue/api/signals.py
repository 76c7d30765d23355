"""What programs with an identity send to runs that wait: events, and callbacks found by their correlation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import CallbackTaken, EventTaken, answer
from segue.api.bodies import SendEvent, parse_json, read_model, read_payload
from segue.api.documented import answers_with, body_of
from segue.api.errors import BadBodyError
from segue.api.noted_callbacks import NotedCallbacks
from segue.api.routing import Routes, principal_of, seen_flows
from segue.engine.host import Engine
from segue.flow.model import JsonValue

_CORRELATION = "What the step calls its callback (`correlate`): JSON, or else the text itself."


class SignalRoutes:
    """`/api/v1/events` and `/api/v1/callbacks`."""

    def __init__(self, engine: Engine, noted: NotedCallbacks) -> None:
        self._engine = engine
        self._noted = noted

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["signals"])
        router.add(
            "/events", self.send, method="POST", needs="run:create", status_code=202, extra=body_of(SendEvent),
            responses=answers_with(202, EventTaken, 400, 413, 422, 503, description="Kept"),
        )  # fmt: skip
        payload: dict[str, Any] = {"required": False, "content": {"application/json": {}}}
        router.add(
            "/callbacks", self.call_back, method="POST", needs="run:update", each=True, extra={"requestBody": payload},
            responses=answers_with(200, CallbackTaken, 403, 404, 409, 413, 415, 422),
        )  # fmt: skip
        return router

    async def send(self, request: Request) -> Response:
        """Send an event to every step that waits for one of its name. When this is answered, it is kept; with an `id`
        of yours, sending it again changes nothing.
        """
        body = await read_model(request, SendEvent)
        workspace = principal_of(request).workspace
        kept = await self._engine.publish(body.event, body.data, id=body.id, workspace=workspace)
        return answer(EventTaken(id=kept), 202)

    async def call_back(
        self,
        request: Request,
        correlate: Annotated[str, Query(description=_CORRELATION, max_length=10_000)],
        flow: Annotated[str | None, Query(description="Only a run of this flow.", max_length=300)] = None,
    ) -> Response:
        """Answer the one step that calls its callback by this value: the body is the answer, as at its own address."""
        principal = principal_of(request)
        among = seen_flows(principal, "run:update", flow)
        payload, raw = await read_payload(request), await request.body()
        run_id = await self._noted.give_called(
            _called(correlate), payload, workspace=principal.workspace, flow_id=flow, among=among,
            sender=principal.name, raw=raw, headers=request.headers,
        )  # fmt: skip
        return answer(CallbackTaken(run_id=run_id))


def _called(text: str) -> JsonValue:
    try:
        return parse_json(text.encode())  # pyright: ignore[reportReturnType]
    except BadBodyError:
        return text
