"""Callbacks: the public address under which an outside system, or a person, answers a step that waits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import CallbackShown, CallbackTaken, answer
from segue.api.bodies import read_payload
from segue.api.documented import PUBLIC, answers_with
from segue.api.guard import CALLBACK_PREFIX
from segue.engine.host import Engine
from segue.engine.views import rfc3339
from segue.errors import ConflictError, InvalidInputError
from segue.flow import Flow, walk
from segue.flow.inputs import check_value
from segue.flow.model import JsonValue, RawMap
from segue.store.port import CallbackRow, RunRecord

_HOW = "send the answer as JSON with POST to this same address"


class CallbackRoutes:
    """`/api/v1/orchestrator/callback/{token}`: whoever has the token may speak."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["callbacks"])
        path = f"{CALLBACK_PREFIX}{{token}}"
        errors = (404, 409, 410)
        kinds = ("application/json", "application/x-www-form-urlencoded", "text/plain")
        payload: dict[str, Any] = {"required": False, "content": {kind: {} for kind in kinds}}
        router.add_api_route(
            path, self.give, methods=["POST"], responses=answers_with(200, CallbackTaken, *errors, 413, 415, 422),
            openapi_extra={**PUBLIC, "requestBody": payload},
        )  # fmt: skip
        router.add_api_route(
            path, self.show, methods=["GET"], responses=answers_with(200, CallbackShown, *errors),
            openapi_extra=PUBLIC,
        )  # fmt: skip
        return router

    async def give(self, token: str, request: Request) -> Response:
        """Answer the step that waits: JSON, a form (as a map), text, or nothing (null). When this is answered, the
        signal is kept. An unknown token is 404, a used or cancelled one 409, an expired one 410; none of them changes
        anything.
        """
        row, record = await self._engine.find_callback(token)
        payload = await read_payload(request)
        await self._check(row, record, payload)
        return answer(CallbackTaken(run_id=await self._engine.callback(token, payload)))

    async def show(self, token: str) -> Response:
        """What the callback is. Asking changes nothing, so that link previews do no harm."""
        row, record = await self._engine.find_callback(token)
        return answer(
            CallbackShown(
                flow=record.flow_id, step=row.step_path, status=row.state, expires_at=rfc3339(row.expires_at), how=_HOW
            )
        )

    async def _check(self, row: CallbackRow, record: RunRecord, payload: JsonValue) -> None:
        """Raises InvalidInputError if the step declares what its answers look like, and this is not one."""
        schema = await self._schema_of(row, record)
        details = [] if schema is None else check_value(schema, payload)
        if details:
            path, sentence = details[0]
            message = f"the answer does not fit what {row.step_path} takes: {f'{path}: ' if path else ''}{sentence}"
            raise InvalidInputError(message, details)

    async def _schema_of(self, row: CallbackRow, record: RunRecord) -> RawMap | None:
        version = await self._engine.versions.get(record.flow_version)
        if not _has_schemas(version.flow):
            return None
        state = await self._engine.state(record)
        if row.step >= len(state.nodes):
            raise ConflictError(f"run {record.run_id} is not waiting for this callback any more; nothing was changed")
        callback = state.nodes[row.step].plan.step.callback
        return None if callback is None else callback.schema


def _has_schemas(flow: Flow) -> bool:
    """Few flows have any, so few runs are folded to look for one."""
    return any(step.callback is not None and step.callback.schema is not None for step in walk(flow.root))
