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


class OrchestratorRun(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A run. `logs` are with a run of its own, not in lists; `correlationToken` is there while one callback is open."""

    id: str
    orchestrator_id: str
    status: str
    trigger: str
    inputs: dict[str, Any] = {}
    outputs: JsonValue = None
    error: dict[str, Any] | None = None
    logs: list[OrchestratorLog] = []
    metadata: dict[str, Any] = {}
    correlation_token: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    created_date: str = ""
    updated_date: str = ""


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


class Executed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A call of an outside system, as the run that makes it. `data` is its answer once there is one."""

    execution_id: str
    status: str
    data: JsonValue = None
    error: dict[str, Any] | None = None


RECORDS: Final[tuple[type[msgspec.Struct], ...]] = (
    Orchestrator, OrchestratorLog, OrchestratorRun, NodeData, Provider, ProviderConnection, Executed,
)  # fmt: skip


def log_of(run_id: str, line: LogLine) -> OrchestratorLog:
    """A line in document A's words."""
    level = "warn" if line.level == "warning" else line.level
    return OrchestratorLog(
        timestamp=line.ts, level=level, message=line.msg, run_id=run_id, node_id=line.step, data=line.data
    )


def run_row(record: RunRecord) -> OrchestratorRun:
    """A run in a list."""
    updated = record.finished_at or record.started_at or record.created_at
    return OrchestratorRun(
        id=record.run_id, orchestrator_id=record.flow_id, status=RUN_WORDS.get(record.status, "FAILED"),
        trigger=record.trigger, started_at=rfc3339(record.started_at), finished_at=rfc3339(record.finished_at),
        created_date=rfc3339(record.created_at) or "", updated_date=rfc3339(updated) or "",
    )  # fmt: skip


def whole_run(record: RunRecord, view: RunView, lines: list[LogLine], token: str | None) -> OrchestratorRun:
    """A run of its own."""
    return msgspec.structs.replace(
        run_row(record), inputs=view.inputs, outputs=view.outputs, error=view.error,
        logs=[log_of(record.run_id, line) for line in lines], correlation_token=token,
        metadata={"version": view.version, "reason": view.reason, "steps": len(view.steps)},
        updated_date=lines[-1].ts if lines else rfc3339(record.created_at) or "",
    )  # fmt: skip
