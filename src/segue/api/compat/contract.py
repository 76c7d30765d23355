"""Document B's engine contract, whatever it is spoken over: HTTP (`gateway`) and gRPC (`segue.api.grpc_door`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segue.api.answers import EngineStarted, GatewayLog, GatewayRun, GatewayStep
from segue.api.compat.bodies import Execute
from segue.api.repeats import idempotency_key
from segue.api.runs import logs_of, state_of
from segue.api.starts import Starter
from segue.engine.host import Engine
from segue.engine.ids import new_run_id
from segue.engine.log_lines import LogLine
from segue.engine.versions import Version
from segue.engine.views import RunView, view_of

ENGINE_PREFIX: Final = "eng_"
LOG_LINES_MAX: Final = 500
RUN_WORDS: Final = {
    "queued": "queued", "running": "running", "waiting": "running", "paused": "running", "succeeded": "succeeded",
}  # fmt: skip
"""Every other status is `failed` to document B."""
STEP_WORDS: Final = {
    "pending": "queued", "ready": "queued", "running": "running", "retrying": "running", "waiting": "running",
    "succeeded": "succeeded", "recovered": "succeeded", "skipped": "succeeded",
}  # fmt: skip


class EngineContract:
    """`execute` and `run` of one host."""

    def __init__(self, engine: Engine, starter: Starter) -> None:
        self.engine = engine
        self._starter = starter

    async def execute(self, body: Execute, headers: Mapping[str, str], workspace: str) -> EngineStarted:
        """Keep a run of the nodes of `dag`, each after its `deps`; `env` is what their expressions see under that name.
        `headers` (lower-case names) may bring the idempotency key.

        Raises what `Starter.start` does, and BadBodyError for keys that differ.
        """
        dag = {"nodes": body.dag.nodes, **(body.dag.model_extra or {})}
        flow: dict[str, Any] = {"flow": "dag", "dag": dag, "env": body.env}

        async def version() -> Version:
            return await self._starter.sent(flow, workspace)

        started = await self._starter.start(
            version, body.inputs, workspace=workspace, key=idempotency_key(headers, body.idempotency_key),
            trigger={"kind": "api", "door": "engine", "run_id": body.run_id},
            request=["engine", body.run_id, flow, body.inputs],
            run_id=new_run_id(self.engine.now(), prefix=ENGINE_PREFIX),
        )  # fmt: skip
        return EngineStarted(engine_run_id=started.run_id)

    async def run(self, run_id: str) -> GatewayRun:
        """A run's status, steps and short logs (the last 500 lines above debug). Raises NotFoundError."""
        engine = self.engine
        record = await engine.record(run_id)
        state = await state_of(engine, record)
        view = view_of(state, record, engine.now())
        lines = [line for line in await logs_of(engine, record, state) if line.level != "debug"]
        return run_in_words(view, [log_in_words(line) for line in lines[-LOG_LINES_MAX:]])


def run_in_words(view: RunView, logs: list[GatewayLog]) -> GatewayRun:
    """A run in the contract's words: the engine's with the ids of its nodes, the gateway's with `s1`, `s2`, …."""
    is_engines = view.id.startswith(ENGINE_PREFIX)
    steps = [
        GatewayStep(
            id=step.id if is_engines else f"s{number}",
            node_id=None if is_engines else step.id,
            status=STEP_WORDS.get(step.status, "failed"),
            duration_ms=step.duration_ms if step.ended_at is not None else None,
        )
        for number, step in enumerate(view.steps, start=1)
    ]
    return GatewayRun(id=view.id, status=RUN_WORDS.get(view.status, "failed"), steps=steps, logs=logs)


def log_in_words(line: LogLine) -> GatewayLog:
    """A line of a run's log in the contract's words."""
    return GatewayLog(ts=line.ts, level="warn" if line.level == "warning" else line.level, msg=line.msg)
