"""Second chances of a run: rewind, retry, replay, fork, rollback."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import NewRunOf, NotKept, RolledBack, RunState, answer
from segue.api.bodies import Fork, NewRunBody, Reason, Replay, Rewind, read_model
from segue.api.documented import answers_with, body_of
from segue.api.errors import InvalidRequestError
from segue.api.routing import Routes, principal_of, refuse_unless
from segue.api.starts import Starter
from segue.engine.host import Engine
from segue.engine.second_chances import Asked, Changes
from segue.engine.second_chances import NewRunOf as Made
from segue.engine.versions import Version


class SecondChanceRoutes:
    """`/api/v1/runs/{id}/…`."""

    def __init__(self, engine: Engine, starter: Starter) -> None:
        self._engine = engine
        self._chances = engine.second_chances
        self._starter = starter

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/runs/{run_id}", tags=["runs"])
        told = answers_with(202, RunState, 400, 404, 409, 422)
        made = answers_with(201, NewRunOf, 400, 404, 409, 422, 500, 503, description="Accepted and kept")
        rolled = answers_with(202, RolledBack, 404, 409)
        for name, operation, body, status, responses in (
            ("rewind", self.rewind, Rewind, 202, told), ("retry", self.retry, Reason, 202, told),
            ("replay", self.replay, Replay, 201, made), ("fork", self.fork, Fork, 201, made),
            ("rollback", self.rollback, Reason, 202, rolled),
        ):  # fmt: skip
            router.add(
                f"/{name}", operation, method="POST", needs="run:update", status_code=status, responses=responses,
                extra=body_of(body, required=name == "rewind"),
            )  # fmt: skip
        return router

    async def rewind(self, run_id: str, request: Request) -> Response:
        """Go back to steps of the run, also of one that is over: they and all that depends on them are run again."""
        body = await read_model(request, Rewind)
        await self._chances.rewind(run_id, body.to, _asked(request, body), compensate=body.compensate)
        return await self._state(run_id)

    async def retry(self, run_id: str, request: Request) -> Response:
        """Go on with a run that failed, was cancelled or timed out; what ended well is kept."""
        body = await read_model(request, Reason, optional=True)
        await self._chances.retry(run_id, _asked(request, body))
        return await self._state(run_id)

    async def replay(self, run_id: str, request: Request) -> Response:
        """Start a new run that goes on from steps of this one, which stays as it is."""
        body = await read_model(request, Replay, optional=True)
        changes = await self._changes(request, body)
        return await self._made(await self._chances.replay(run_id, body.from_, changes, _asked(request, body)))

    async def fork(self, run_id: str, request: Request) -> Response:
        """Start a new run from this one as of one of its events."""
        body = await read_model(request, Fork, optional=True)
        changes = await self._changes(request, body)
        return await self._made(await self._chances.fork(run_id, body.at, changes, _asked(request, body)))

    async def rollback(self, run_id: str, request: Request) -> Response:
        """Go on with a run whose journal does not fold from its last valid event; the rest is set aside."""
        body = await read_model(request, Reason, optional=True)
        done = await self._chances.rollback(run_id, _asked(request, body))
        record = await self._engine.record(run_id)
        return answer(
            RolledBack(
                run_id=run_id, status=record.status, last_valid_event=done.last_valid_event, set_aside=done.set_aside
            ),
            202,
        )  # fmt: skip

    async def _changes(self, request: Request, body: NewRunBody) -> Changes:
        given = [name for name in ("version", "flow", "flow_id") if getattr(body, name) is not None]
        if len(given) > 1:
            message = f"send only one of {' and '.join(given)}"
            raise InvalidRequestError(message, [(given[1], message)])
        version: Version | str | None = body.version
        if body.flow is not None or body.flow_id is not None:
            # Another flow than the run's: as if it were started.
            refuse_unless(principal_of(request), "run:create", body.flow_id)
        if body.flow is not None:
            version = await self._starter.sent(body.flow, principal_of(request).workspace, file=body.file)
        elif body.flow_id is not None:
            version = await self._starter.named(body.flow_id, principal_of(request).workspace)
        return Changes(version=version, inputs=body.inputs, outputs=body.outputs)

    async def _state(self, run_id: str) -> Response:
        record = await self._engine.record(run_id)
        return answer(RunState(run_id=run_id, status=record.status), 202)

    async def _made(self, made: Made) -> Response:
        record = await self._engine.record(made.run_id)
        told = NewRunOf(
            run_id=made.run_id, status=record.status, kept=made.kept,
            not_kept=[NotKept(step=one.step, why=one.why) for one in made.not_kept],
        )  # fmt: skip
        return answer(told, 201, {"location": f"/api/v1/runs/{made.run_id}"})


def _asked(request: Request, body: Reason) -> Asked:
    return Asked(by=principal_of(request).name, reason=body.reason)
