"""The addresses of webhooks: `/hooks/{workspace}/{flow}/{random}`. Whoever sends proves it by the request itself."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from segue.access.identities import Identities
from segue.api.answers import EndedRun, StartedRun, answer
from segue.api.bodies import read_content
from segue.api.documented import answers_with
from segue.api.live import Streams
from segue.api.responses import answered, in_time
from segue.api.routing import Routes, refuse_if_off
from segue.api.trigger_answers import WebhookTaken
from segue.errors import NotFoundError
from segue.triggers.incoming import Incoming
from segue.triggers.intake import Echo, Taken
from segue.triggers.service import Triggers
from segue.triggers.webhook_settings import METHODS

_ERRORS: Final = (400, 403, 404, 405, 413, 415, 422, 429, 503)


class HookRoutes:
    """What comes to webhooks."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["webhooks"])
        body: dict[str, Any] = {"required": False, "content": {"application/json": {}, "*/*": {}}}
        responses = answers_with(202, WebhookTaken, *_ERRORS, description="Kept")
        responses[200] = {
            "description": "The run's answer or end, or the challenge",
            "content": {"*/*": {"schema": {"$ref": f"#/components/schemas/{EndedRun.__name__}"}}},
        }
        for path, take in (
            ("/hooks/{workspace}/{flow}/{random}", self.take),
            ("/hooks/{workspace}/{flow}", self.named),
        ):
            for method in METHODS:
                extra = {} if method in ("GET", "HEAD") else {"requestBody": body}
                repeats = "a delivery counts once, by what its sender calls it" if method == "POST" else None
                router.add(
                    path, take, method=method, needs=None, status_code=202, extra=extra, responses=responses,
                    repeats=repeats, name=f"{take.__name__}_{method.lower()}",
                )  # fmt: skip
        return router

    def bytes_at(self, path: str) -> int:
        """The largest body that is read at a path, before anything else is looked at."""
        parts = [*path.split("/"), "", "", ""]
        return self._triggers.webhooks.bytes_at(parts[2], parts[3], parts[4] or None)

    async def hot(self, request: Request) -> Response | None:
        """What the routes below do, found without them; None if the request is for none of them."""
        parts = request.scope["path"].split("/")
        if request.method not in METHODS or len(parts) not in (4, 5) or not all(parts[2:]):
            return None
        return await self._take(parts[2], parts[3], parts[4] if len(parts) == 5 else None, request)

    async def take(self, workspace: str, flow: str, random: str, request: Request) -> Response:
        """Take what a sender brings. A 2xx means that it is kept, with the run that it starts: no crash loses it. The
        answer comes at once, from the run's `respond` step or from its end, as the webhook's `respond` says.
        """
        return await self._take(workspace, flow, random, request)

    async def named(self, workspace: str, flow: str, request: Request) -> Response:
        """The same without the unguessable part, for webhooks whose `auth` names a signature or a token."""
        return await self._take(workspace, flow, None, request)

    async def _take(self, workspace: str, flow: str, random: str | None, request: Request) -> Response:
        identities: Identities = request.app.state.identities
        if not await identities.has_workspace(workspace):
            raise NotFoundError("no webhook has this address")
        await refuse_if_off(identities, workspace)
        incoming = Incoming(
            workspace=workspace, flow_id=flow, random=random, method=request.method, headers=request.headers.items(),
            query=request.query_params.multi_items(), body=await request.body(),
        )  # fmt: skip
        taken = await self._triggers.intake.take(incoming, read_content)
        if isinstance(taken, Echo):
            return Response(taken.text, media_type="text/plain")
        return await self._answer(taken, request.app.state.streams)

    async def _answer(self, taken: Taken, streams: Streams) -> Response:
        run_id, engine = taken.run_id, self._triggers.engine
        if run_id is None or taken.answer == "now":
            return answer(WebhookTaken(delivery_id=taken.delivery_id, run_id=run_id, reason=taken.reason), 202)
        where = {"location": f"/api/v1/runs/{run_id}"}
        wait = engine.wait_for_response if taken.answer == "flow" else engine.wait
        state = await in_time(streams, wait(run_id), taken.answer_seconds)
        if state is None:
            record = await engine.record(run_id)
            return answer(StartedRun(run_id=run_id, status=record.status), 202, where)
        if taken.answer == "flow":
            return answered(state, where, 200)
        error = None if state.error is None else {"category": state.error.category, "message": state.error.message}
        return answer(
            EndedRun(run_id=run_id, status=state.status.value, outputs=state.outputs, error=error), 200, where
        )  # fmt: skip
