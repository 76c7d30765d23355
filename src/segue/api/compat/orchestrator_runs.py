"""Document A's runs: start, list, show, retry, cancel, logs, node data; and document C's `/flows/{id}/execute`."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import EndedRun, StartedRun, answer
from segue.api.bodies import CURSOR, RunFlow, read_model
from segue.api.compat.bodies import RunOrchestrator
from segue.api.compat.records import (
    NODE_WORDS,
    STATUSES_OF,
    NodeData,
    OrchestratorLog,
    OrchestratorRun,
    OrchestratorRunRow,
    log_of,
    run_row,
    whole_run,
)
from segue.api.documented import answers_with, body_of, list_of
from segue.api.errors import InvalidRequestError
from segue.api.repeats import WITH_THE_RUN, idempotency_key, with_key
from segue.api.responses import response_of
from segue.api.routing import Routes, principal_of
from segue.api.runs import LIST_MAX, LOG_LINES_MAX, Level, Wait, least_level, logs_of, state_of, within
from segue.api.starts import Starter
from segue.engine.host import Engine
from segue.engine.second_chances import Asked
from segue.engine.step_data import step_data
from segue.engine.versions import Version
from segue.engine.views import view_of
from segue.errors import NotFoundError
from segue.observe.masking import DEFAULT_MASKER
from segue.store.port import RunFilter, RunRecord
from segue.store.run_notes import NO_NOTES, checked_notes, read_notes
from segue.store.tables import Tables

ROOT: Final = "/api/v1/orchestrator"
NEXT_CURSOR: Final = "x-next-cursor"


class OrchestratorRunRoutes:
    """Runs under `/api/v1/orchestrator`."""

    def __init__(self, engine: Engine, starter: Starter, tables: Tables) -> None:
        self._tables = tables
        self._engine = engine
        self._starter = starter

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["document A"])
        add = router.add
        run = answers_with(200, OrchestratorRun, 404, 409, 500)
        add(
            f"{ROOT}/{{flow_id}}/run", self.start, method="POST", needs="flow:execute", status_code=201,
            extra=with_key(body_of(RunOrchestrator, required=False)), repeats=WITH_THE_RUN,
            responses=answers_with(201, OrchestratorRun, 400, 404, 409, 413, 415, 422, 429, 503, description="Kept"),
        )  # fmt: skip
        add(f"{ROOT}/{{flow_id}}/runs", self.index, needs="run:read", responses=list_of(OrchestratorRunRow, 400, 422))
        add(f"{ROOT}/{{flow_id}}/runs/{{run_id}}", self.show, needs="run:read", responses=run)
        for name, tell in (("retry", self.retry), ("cancel", self.cancel)):
            add(f"{ROOT}/{{flow_id}}/runs/{{run_id}}/{name}", tell, method="POST", needs="run:update", responses=run)
        add(
            f"{ROOT}/runs/{{run_id}}/logs",
            self.logs,
            needs="run:read",
            responses=list_of(OrchestratorLog, 404, 422, 500),
        )
        add(
            f"{ROOT}/runs/{{run_id}}/nodes/{{node_id}}/data", self.node, needs="run:read",
            responses=answers_with(200, NodeData, 404, 500),
        )  # fmt: skip
        for path in ("/flows/{flow_id}/execute", "/api/v1/flows/{flow_id}/execute"):
            add(
                path, self.execute, method="POST", needs="flow:execute", status_code=202, tags=["document C"],
                extra=with_key(body_of(RunFlow, required=False)), repeats=WITH_THE_RUN,
                responses={
                    **answers_with(202, StartedRun, 400, 404, 409, 413, 415, 422, 429, 503, description="Kept"),
                    **answers_with(200, EndedRun, description="With `wait`: how it ended"),
                },
            )  # fmt: skip
        return router

    async def start(self, flow_id: str, request: Request) -> Response:
        """Run a flow, as it was last saved: `{inputs, metadata}`, or the inputs themselves as the body."""
        body = await read_model(request, RunOrchestrator, optional=True)
        inputs = body.inputs if body.inputs is not None else dict(body.model_extra or {})
        given = (body.model_extra or {}).get("metadata") if body.inputs is not None else None
        metadata = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        started = await self._start(
            flow_id,
            request,
            RunFlow(inputs=inputs, metadata=metadata, idempotency_key=None),
            "orchestrator",
            draft=True,
        )
        record = await self._engine.record(started.run_id)
        return answer(await self._whole(record), 201, {"location": f"{ROOT}/{flow_id}/runs/{record.run_id}"})

    async def execute(self, flow_id: str, request: Request, wait: Wait = None) -> Response:
        """Run a flow: `{inputs}`. With `wait` (seconds), the answer is the run's own, or how it ended."""
        body = await read_model(request, RunFlow, optional=True)
        started = await self._start(flow_id, request, body, "execute")
        if wait is not None:
            return await response_of(request.app.state.streams, self._engine, started, wait, 200)
        return answer(started, 202, {"location": f"/api/v1/runs/{started.run_id}"})

    async def _start(
        self, flow_id: str, request: Request, body: RunFlow, door: str, *, draft: bool = False
    ) -> StartedRun:
        principal = principal_of(request)
        key = idempotency_key(request.headers, body.idempotency_key)

        async def version() -> Version:
            if not draft:
                return await self._starter.named(flow_id, principal.workspace)
            try:
                return await self._starter.named(flow_id, principal.workspace, draft=True)
            except NotFoundError:  # one of a folder has no draft
                return await self._starter.named(flow_id, principal.workspace)

        return await self._starter.start(
            version, body.inputs, workspace=principal.workspace, key=key,
            trigger={"kind": "manual" if principal.is_browser else "api", "door": door},
            request=[door, flow_id, body.inputs], notes=checked_notes(body.labels, body.metadata),
        )  # fmt: skip

    async def index(
        self,
        flow_id: str,
        request: Request,
        status: Annotated[str | None, Query(description=f"Only these: {', '.join(STATUSES_OF)}.")] = None,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=100, pattern=CURSOR)] = None,
    ) -> Response:
        """The flow's runs, newest first. The header `x-next-cursor` continues (without one: the end)."""
        words = [word for word in (status or "").split(",") if word]
        unknown = next((word for word in words if word not in STATUSES_OF), None)
        if unknown is not None:
            message = f"{unknown[:50]!r} is no status; use {', '.join(STATUSES_OF)}"
            raise InvalidRequestError(message, [("status", message)])
        where = RunFilter(
            workspace=principal_of(request).workspace, flow_id=flow_id,
            statuses=tuple(one for word in words for one in STATUSES_OF[word]),
        )  # fmt: skip
        page = await self._engine.store.list_runs(where, limit=limit, cursor=cursor)
        headers = {} if page.cursor is None else {NEXT_CURSOR: page.cursor}
        return answer([run_row(record) for record in page.runs], 200, headers)

    async def show(self, flow_id: str, run_id: str) -> Response:
        """A run with its logs."""
        return answer(await self._whole(await self._of(flow_id, run_id)))

    async def retry(self, flow_id: str, run_id: str, request: Request) -> Response:
        """Go on with a run that failed; what ended well is kept."""
        await self._of(flow_id, run_id)
        await self._engine.second_chances.retry(run_id, Asked(by=principal_of(request).name))
        return await self.show(flow_id, run_id)

    async def cancel(self, flow_id: str, run_id: str) -> Response:
        """Cancel a run."""
        await self._of(flow_id, run_id)
        await self._engine.cancel(run_id)
        return await self.show(flow_id, run_id)

    async def logs(
        self,
        run_id: str,
        level: Annotated[Level, Query(description="This level and graver ones.")] = "debug",
        node: Annotated[str | None, Query(max_length=300)] = None,
    ) -> Response:
        """A run's log, its last 10,000 lines."""
        lines = await logs_of(self._engine, await self._engine.record(run_id))
        found = [line for line in lines if least_level(line, level) and (node is None or within(line, node))]
        return answer([log_of(run_id, line) for line in found[-LOG_LINES_MAX:]])

    async def node(self, run_id: str, node_id: str) -> Response:
        """What went into a node, and what came out of it; secrets are masked."""
        record = await self._engine.record(run_id)
        found = step_data(await state_of(self._engine, record), node_id, self._engine.now())
        return answer(
            NodeData(
                node_id=node_id,
                status=NODE_WORDS.get(found.step.status, "FAILED"),
                input=found.data,
                output=found.output,
                error=found.step.error,
            )
        )

    async def _of(self, flow_id: str, run_id: str) -> RunRecord:
        record = await self._engine.record(run_id)
        if record.flow_id != flow_id:
            raise NotFoundError(f"flow {flow_id!r} has no run {run_id!r}")
        return record

    async def _whole(self, record: RunRecord) -> OrchestratorRun:
        engine = self._engine
        record = await engine.record(record.run_id)
        state = await state_of(engine, record)
        waiting = [step for step in state.nodes if step.callback and not state.ended]
        token = engine.callback_token(record.run_id, waiting[0]) if len(waiting) == 1 else None
        lines = (await logs_of(engine, record, state))[-LOG_LINES_MAX:]
        notes = await self._tables.ask(lambda sql: read_notes(sql, [record.run_id]))
        said = cast("dict[str, Any]", DEFAULT_MASKER.mask_json(notes.get(record.run_id, NO_NOTES).metadata))
        whole = whole_run(record, view_of(state, record, engine.now()), lines, token)
        return msgspec.structs.replace(whole, metadata={**whole.metadata, **said})
