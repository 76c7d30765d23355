"""Callbacks: the public address under which an outside system, or a person, answers a step that waits."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import CallbackShown, CallbackTaken, answer
from segue.api.bodies import read_payload
from segue.api.documented import answers_with
from segue.api.guard import CALLBACK_PREFIX
from segue.api.routing import Routes
from segue.engine.host import Engine
from segue.engine.views import rfc3339

_HOW = "send the answer as JSON with POST to this same address"


class CallbackRoutes:
    """`/api/v1/orchestrator/callback/{token}`: whoever has the token may speak."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["callbacks"])
        path = f"{CALLBACK_PREFIX}{{token}}"
        errors = (404, 409, 410)
        kinds = ("application/json", "application/x-www-form-urlencoded", "text/plain")
        payload: dict[str, Any] = {"required": False, "content": {kind: {} for kind in kinds}}
        router.add(
            path, self.give, method="POST", needs=None, extra={"requestBody": payload},
            responses=answers_with(200, CallbackTaken, 403, *errors, 413, 415, 422),
        )  # fmt: skip
        router.add(path, self.show, needs=None, responses=answers_with(200, CallbackShown, *errors))
        return router

    async def give(self, token: str, request: Request) -> Response:
        """Answer the step that waits: JSON, a form (as a map), text, or nothing (null). When this is answered, the
        signal is kept. An unknown token is 404, a used or cancelled one 409, an expired one 410, an answer that is not
        what the step takes 422 (with every mistake), a missing or wrong signature 403; none of them changes anything.
        """
        await self._engine.find_callback(token)
        payload, raw = await read_payload(request), await request.body()
        run_id = await self._engine.callback(token, payload, raw=raw, headers=request.headers)
        return answer(CallbackTaken(run_id=run_id))

    async def show(self, token: str) -> Response:
        """What the callback is. Asking changes nothing, so that link previews do no harm."""
        row, record = await self._engine.find_callback(token)
        return answer(
            CallbackShown(
                flow=record.flow_id, step=row.step_path, status=row.state, expires_at=rfc3339(row.expires_at), how=_HOW
            )
        )
