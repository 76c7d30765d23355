"""Document B's two contracts: the gateway (`POST /v1/runs`) for builders, the engine (`POST /v1/execute`) behind it.

Run ids begin with `run_` or `eng_`; `GET /v1/runs/{id}` answers in the shape of the contract that made the run.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import EngineStarted, GatewayLog, GatewayRun, GatewayStarted, GatewayStep, answer
from segue.api.bodies import read_model
from segue.api.compat.bodies import Execute, GatewayStart
from segue.api.compat.contract import RUN_WORDS, EngineContract
from segue.api.documented import answers_with, body_of
from segue.api.errors import InvalidRequestError
from segue.api.repeats import WITH_THE_RUN, idempotency_key, with_key
from segue.api.routing import Routes, principal_of
from segue.api.runs import state_of
from segue.api.starts import Starter
from segue.client.engine import REMOTE_RUN, EngineElsewhere, compile_dag
from segue.client.records import HostLostError
from segue.engine.versions import Version
from segue.engine.views import RunView, view_of
from segue.errors import RequestError

_GATEWAY_KEYS: Final = frozenset({"graph", "name", "inputs", "idempotencyKey"})
_FLOW_MARKS: Final = frozenset({"definition", "nodes", "steps", "tasks"})


class GatewayRoutes:
    """`/v1/runs` and `/v1/execute`."""

    def __init__(self, contract: EngineContract, starter: Starter, remote: EngineElsewhere | None = None) -> None:
        """`remote`: the engine elsewhere that runs what comes to the gateway; None: this process runs it."""
        self._contract = contract
        self._starter = starter
        self._remote = remote

    def router(self, *, engine_only: bool = False) -> Routes:
        """The routes of both contracts, or those of the engine."""
        router = Routes(prefix="/v1", tags=["gateway and engine (document B)"])
        add = router.add
        add("/runs/{run_id}", self.show, needs="run:read", responses=answers_with(200, GatewayRun, 404, 500))
        add(
            "/execute", self.execute, method="POST", needs="run:create", status_code=202,
            extra=with_key(body_of(Execute)), repeats=WITH_THE_RUN,
            responses=answers_with(202, EngineStarted, 400, 409, 413, 422, 503),
        )  # fmt: skip
        if engine_only:
            return router
        add(
            "/runs", self.start, method="POST", needs="run:create", status_code=201,
            extra=with_key(body_of(GatewayStart)), repeats=WITH_THE_RUN,
            responses=answers_with(201, GatewayStarted, 400, 409, 413, 422, 503),
        )  # fmt: skip
        return router

    async def start(self, request: Request) -> Response:
        """Run a graph: `{graph: {nodes, edges}, inputs, idempotencyKey}`, or a document `{name, definition: {steps}}`,
        whole or under `graph`.
        """
        body = await read_model(request, GatewayStart)
        flow = _document(body)
        inputs: dict[str, Any] = body.inputs
        workspace = principal_of(request).workspace

        async def version() -> Version:
            checked = await self._starter.sent(flow, workspace)
            return checked if self._remote is None else await self._starter.sent(REMOTE_RUN, workspace)

        if self._remote is not None:
            inputs = {"dag": compile_dag(flow), "env": {}, "inputs": body.inputs}
        started = await self._starter.start(
            version, inputs, workspace=workspace,
            key=idempotency_key(request.headers, body.idempotency_key),
            trigger={"kind": "api", "door": "gateway"}, request=["gateway", flow, body.inputs],
        )  # fmt: skip
        return answer(GatewayStarted(run_id=started.run_id), 201, {"location": f"/v1/runs/{started.run_id}"})

    async def execute(self, request: Request) -> Response:
        """Run the nodes of `dag`, each after its `deps`; `env` is what their expressions see under that name."""
        body = await read_model(request, Execute)
        started = await self._contract.execute(body, request.headers, principal_of(request).workspace)
        return answer(started, 202, {"location": f"/v1/runs/{started.engine_run_id}"})

    async def show(self, run_id: str) -> Response:
        """A run's status, steps and short logs (the last 500 lines above debug)."""
        if self._remote is not None:
            engine = self._contract.engine
            record = await engine.record(run_id)
            if record.flow_id == REMOTE_RUN["flow"]:
                return answer(await self._elsewhere(view_of(await state_of(engine, record), record, engine.now())))
        return answer(await self._contract.run(run_id))

    async def _elsewhere(self, view: RunView) -> GatewayRun:
        """A run that the engine elsewhere carries out: its steps and logs, as far as the engine answers."""
        assert self._remote is not None
        accepted = next((step.output for step in view.steps if step.id == "accept"), None)
        status = RUN_WORDS.get(view.status, "failed")
        engine_run_id = accepted.get("engine_run_id") if isinstance(accepted, dict) else None
        if not isinstance(engine_run_id, str):
            return GatewayRun(id=view.id, status=status, steps=[], logs=[])
        try:
            run = await self._remote.get_run(engine_run_id, attempts=1)
        except (HostLostError, RequestError) as error:
            told = GatewayLog(ts=view.created_at or "", level="warn", msg=str(error))
            return GatewayRun(id=view.id, status=status, steps=[], logs=[told])
        steps = [
            GatewayStep(id=f"s{number}", node_id=step.id, status=step.status, duration_ms=step.duration_ms)
            for number, step in enumerate(run.steps, start=1)
        ]
        logs = [GatewayLog(ts=line.ts, level=line.level, msg=line.msg) for line in run.logs]
        return GatewayRun(id=view.id, status=status, steps=steps, logs=logs)


def _document(body: GatewayStart) -> dict[str, Any]:
    """The flow's document. `inputs` are always the run's values here. Raises InvalidRequestError."""
    rest = body.model_extra or {}
    if body.graph is not None:
        unknown = sorted(set(rest) - _GATEWAY_KEYS)
        if unknown:
            message = f"{unknown[0][:50]!r} is not known beside `graph`; known are {', '.join(sorted(_GATEWAY_KEYS))}"
            raise InvalidRequestError(message, [(unknown[0], "is not known")])
        return {"name": rest["name"], **body.graph} if "name" in rest else body.graph
    if _FLOW_MARKS.isdisjoint(rest):
        message = "send the flow under `graph` (nodes and edges), or as {name, definition: {steps}}"
        raise InvalidRequestError(message, [("graph", "is required")])
    return rest
