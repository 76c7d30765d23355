"""What document A's routes answer: its field names, its status words (PENDING, RUNNING, WAITING, COMPLETED, FAILED)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segue.engine.log_lines import LogLine
from segue.engine.views import RunView, rfc3339
from segue.flow.model import JsonValue
from segue.store.port import RunRecord

RUN_WORDS: Final = {
    "queued": "PENDING", "running": "RUNNING", "waiting": "WAITING", "paused": "WAITING", "succeeded": "COMPLETED",
}  # fmt: skip
"""Every other status is FAILED to document A."""
NODE_WORDS: Final = {
    "pending": "PENDING", "ready": "PENDING", "running": "RUNNING", "retrying": "RUNNING", "waiting": "WAITING",
    "succeeded": "COMPLETED", "recovered": "COMPLETED", "skipped": "SKIPPED",
}  # fmt: skip
"""Of a node, for which document A has no word when a run goes past it. Every other status is FAILED."""
STATUSES_OF: Final = {
    "PENDING": ("queued",), "RUNNING": ("running",), "WAITING": ("waiting", "paused"), "COMPLETED": ("succeeded",),
    "FAILED": ("failed", "cancelled", "timed_out", "quarantined"),
}  # fmt: skip


class Orchestrator(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A flow. `definition` is its canvas graph: `{nodes, edges, version}`."""

    id: str
    name: str
    description: str | None
    definition: dict[str, Any] | None
    """Not in lists."""
    workspace_id: str
    created_date: str | None = None
    updated_date: str | None = None
    """Null for the flow of a file."""


class OrchestratorLog(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A line of a run's log."""

    timestamp: str
    level: str
    message: str
    run_id: str
    node_id: str | None = None
    data: dict[str, Any] | None = None


class OrchestratorRunRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run in a list: what it was given and gave is with the run itself."""

    id: str
    orchestrator_id: str
    status: str
    trigger: str
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    """Once it is over."""
    created_date: str
    updated_date: str


class OrchestratorRun(OrchestratorRunRow, frozen=True, kw_only=True, rename="camel"):
    """A run. `correlationToken` is there while one callback is open."""

    inputs: dict[str, Any]
    outputs: JsonValue
    error: dict[str, Any] | None
    logs: list[OrchestratorLog]
    metadata: dict[str, Any]
    correlation_token: str | None


class NodeData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What went into a node and what came out of it."""

    node_id: str
    status: str
    input: JsonValue = None
    output: JsonValue = None
    error: dict[str, Any] | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An outside system. `status` is INACTIVE as long as no connection to it is kept."""

    id: str
    name: str
    status: str
    capabilities: list[str]
    credentials: list[str]
    """The fields of its credentials."""


class ProviderConnection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A connection to a provider, without its credentials. `status`: ACTIVE, or INACTIVE when its last check failed."""

    id: str
    provider: str
    name: str
    status: str
    workspace_id: str
    last_sync: str | None
    created_date: str
    updated_date: str


class ProviderTest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What trying a connection out said. `status` as a connection's; `message` says what is wrong, else null."""

    connection_id: str
    provider: str
    name: str
    success: bool
    status: str
    message: str | None
    last_sync: str | None


class Executed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A call of an outside system, as the run that makes it. `data` is its answer once there is one."""

    execution_id: str
    status: str
    data: JsonValue = None
    error: dict[str, Any] | None = None


RECORDS: Final[tuple[type[msgspec.Struct], ...]] = (
    Orchestrator, OrchestratorLog, OrchestratorRunRow, OrchestratorRun, NodeData, Provider, ProviderConnection,
    ProviderTest, Executed,
)  # fmt: skip


def log_of(run_id: str, line: LogLine) -> OrchestratorLog:
    """A line in document A's words."""
    level = "warn" if line.level == "warning" else line.level
    return OrchestratorLog(
        timestamp=line.ts, level=level, message=line.msg, run_id=run_id, node_id=line.step, data=line.data
    )


def run_row(record: RunRecord) -> OrchestratorRunRow:
    """A run in a list."""
    return OrchestratorRunRow(**_row(record))


def whole_run(record: RunRecord, view: RunView, lines: list[LogLine], token: str | None) -> OrchestratorRun:
    """A run of its own."""
    row = _row(record)
    row["updated_date"] = lines[-1].ts if lines else row["updated_date"]
    return OrchestratorRun(
        **row, inputs=view.inputs, outputs=view.outputs, error=view.error,
        logs=[log_of(record.run_id, line) for line in lines], correlation_token=token,
        metadata={"version": view.version, "reason": view.reason, "steps": len(view.steps)},
    )  # fmt: skip


def _row(record: RunRecord) -> dict[str, Any]:
    begun, ended = record.started_at, record.finished_at
    return {
        "id": record.run_id, "orchestrator_id": record.flow_id, "status": RUN_WORDS.get(record.status, "FAILED"),
        "trigger": record.trigger, "started_at": rfc3339(begun), "finished_at": rfc3339(ended),
        "duration_ms": None if begun is None or ended is None else max(0, ended - begun),
        "created_date": rfc3339(record.created_at) or "",
        "updated_date": rfc3339(ended or begun or record.created_at) or "",
    }  # fmt: skip
