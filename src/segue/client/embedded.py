"""Segue in one's own process: `async with Segue("sqlite:///x.db") as segue: …`.

The engine runs on the caller's event loop; runs that an earlier process left go on as soon as it is opened, so register
the actions that they use before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from segue.bootstrap import build_host
from segue.engine.later import begins_at
from segue.engine.port import Effect
from segue.engine.second_chances import Asked, Changes, NewRunOf, RolledBackTo
from segue.engine.versions import Version
from segue.engine.views import RunView, UndoView, rfc3339, undo_view, view_of
from segue.errors import InvalidFlowError
from segue.flow import Flow, load_flow
from segue.flow.inputs import resolve_inputs
from segue.flow.model import JsonValue
from segue.kernel.events import Failure
from segue.kernel.state import RunState
from segue.net.egress import EgressPolicy
from segue.observe.health import HealthChecks
from segue.steps.python import python_action

_WHO = "a program"

F = TypeVar("F", bound=Callable[..., Any])
FlowSource = Flow | str | Path | Mapping[str, Any]
"""A flow that has been read, its YAML or JSON text, the path of its file, or a parsed document."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `status` is succeeded, failed, cancelled or timed_out; `recovered`: some step failed and was
    handled.
    """

    run_id: str
    status: str
    outputs: Any = None
    error: Failure | None = None
    recovered: bool = False
    steps: Mapping[str, Any] = {}
    """Output of each settled step by its address."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended well; `recovered` runs did."""
        return self.status == "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A run's answer to the caller that waits for it."""

    run_id: str
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCallback:
    """A signal that a step waits for. Whoever has the `token` can send it; `expires_at` is RFC 3339 (UTC)."""

    step: str
    token: str = field(repr=False)
    expires_at: str | None


class Segue:
    """A flow engine over one database, in this process: an async context manager, or `open` and `close` it."""

    def __init__(
        self,
        database: str = "memory:",
        *,
        egress: EgressPolicy | None = None,
        flows: Path | str | None = None,
        labels: Iterable[str] = (),
    ) -> None:
        """`database`: `sqlite:///file.db`, `sqlite:////absolute.db` or `memory:`. `egress`: where steps may send
        requests; loopback and private addresses are allowed by default, since the process is the user's own. `flows`: a
        folder of flows that other flows run by name; a flow that is started from a file finds those beside it anyway.
        `labels`: what steps with `runs_on` ask for.
        """
        folders = [] if flows is None else [Path(flows)]
        self._host = build_host(database, egress=egress or EgressPolicy.local(), folders=folders, labels=labels)
        self._versions: dict[int | str, Version] = {}

    async def __aenter__(self) -> Segue:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the database and go on with interrupted runs. Raises StoreInUseError if another process hosts it."""
        await self._host.open()

    async def close(self, *, grace_seconds: float = 10.0) -> None:
        """Give attempts in flight `grace_seconds`, then stop; runs that are not over go on at the next `open`."""
        await self._host.close(grace_seconds=grace_seconds)

    def action(self, name: str | None = None, *, effect: Effect = "keyed") -> Callable[[F], F]:
        """Make a function usable by flows, under `name` (`crm.enrich`) or its own. See `segue.steps.python`."""

        def decorate(function: F) -> F:
            self._add(function, name, effect)
            return function

        return decorate

    def _add(self, function: Callable[..., Any], name: str | None, effect: Effect) -> None:
        host = self._host
        host.actions.add(python_action(function, name=name, effect=effect, threads=lambda: host.threads))
        host.engine.actions_changed()

    @property
    def health(self) -> HealthChecks:
        """How what this host depends on stands; `register` a check for what your own program needs."""
        return self._host.health

    def register(self, flow: FlowSource) -> Flow:
        """Make a flow known by its id, so that other flows can run it. Raises InvalidFlowError."""
        loaded = self.load(flow)
        self._host.registered.add(loaded)
        return loaded

    def load(self, flow: FlowSource) -> Flow:
        """Read and check a flow against the registered actions. Raises InvalidFlowError with every problem."""
        if isinstance(flow, Flow):
            return flow
        if isinstance(flow, Path) or (isinstance(flow, str) and _is_path(flow)):
            path = Path(flow)
            self._host.library.add_folder(path.absolute().parent)
            return load_flow(path.read_text("utf-8"), self._host.catalogue, file=str(path))
        return load_flow(flow, self._host.catalogue)

    async def start(
        self,
        flow: FlowSource,
        inputs: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        at: datetime | timedelta | None = None,
    ) -> str:
        """Start a run and return its id once it is kept. `at`: when it is to begin, as a moment with its zone or as a
        length of time from now. Raises InvalidFlowError, InvalidInputError, ConflictError; LimitReachedError if the
        flow's `limits` refuse it; EngineError before `open` and after `close`.
        """
        engine = self._host.engine
        engine.refuse_if_closing()
        version = await self._version(flow)
        given = resolve_inputs(version.flow, dict(inputs or {}))
        started = await engine.start(
            version,
            given,
            trigger={"kind": "python"},
            idempotency_key=idempotency_key,
            at=None if at is None else _begins(at, engine.now()),
        )
        return started.run_id

    async def run(
        self, flow: FlowSource, inputs: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> RunResult:
        """Start a run and wait for its end."""
        return await self.wait(await self.start(flow, inputs, idempotency_key=idempotency_key))

    async def respond(self, run_id: str, *, timeout_seconds: float | None = None) -> Response | None:
        """What the run answers its caller (`respond`), as soon as it does; None if it is over without an answer. The
        run goes on. Raises NotFoundError, TimeoutError.
        """
        async with asyncio.timeout(timeout_seconds):
            state = await self._host.engine.wait_for_response(run_id)
        given = state.response
        if given is None:
            return None
        status, headers = given.get("status"), given.get("headers")
        return Response(
            run_id=run_id, status=status if isinstance(status, int) else 200, body=given.get("body"),
            headers={name: str(value) for name, value in headers.items()} if isinstance(headers, dict) else {},
        )  # fmt: skip

    async def publish(self, name: str, data: JsonValue = None, *, id: str | None = None) -> str:
        """Send an event to all steps that wait for one of this name, and give its id; once this returns, it is kept.
        Sending another one with the same `id` changes nothing.
        """
        return await self._host.engine.publish(name, data, id=id)

    async def wait(self, run_id: str) -> RunResult:
        """How the run ended, once it has. Raises NotFoundError."""
        return _result(await self._host.engine.wait(run_id))

    async def show(self, run_id: str, *, at: int | None = None) -> RunView:
        """The run as it stands: states, outputs, errors and reasons of all steps; `at`: as of that event of it.

        Raises NotFoundError; ConflictError if it has no such event; JournalCorruptError.
        """
        engine = self._host.engine
        record = await engine.record(run_id)
        if at is None:
            return view_of(await engine.state(record), record, engine.now())
        state, moment = await engine.second_chances.as_of(record, at)
        return view_of(state, record, moment, as_of=True)

    async def rewind(self, run_id: str, *to: str, compensate: bool = False, reason: str | None = None) -> None:
        """Go back to these steps (`charge`, `each[3].enrich`), also of a run that is over: they and all that depends on
        them are run again, what else has ended keeps its outputs. `compensate`: undo first what is taken back, of a run
        that is over. Raises NotFoundError, ConflictError.
        """
        asked = Asked(by=_WHO, reason=reason)
        await self._host.engine.second_chances.rewind(run_id, to, asked, compensate=compensate)

    async def retry(self, run_id: str, *, reason: str | None = None) -> None:
        """Go on with a run that failed, was cancelled or timed out; what ended well is kept. What failed is called
        again also if it may have taken effect. Raises NotFoundError, ConflictError if there is nothing to retry.
        """
        await self._host.engine.second_chances.retry(run_id, Asked(by=_WHO, reason=reason))

    async def replay(
        self,
        run_id: str,
        *from_: str,
        version: str | None = None,
        flow: FlowSource | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> NewRunOf:
        """Start a new run that goes on from these steps of the old one (none: from the beginning), which stays.

        `version`: a kept one's number or `latest`; `flow`: one at hand. `inputs` stand for the old run's, `outputs` for
        recorded outputs of kept steps. Raises NotFoundError, ConflictError, RequestError, InvalidInputError.
        """
        changes = await self._changes(version, flow, inputs, outputs)
        asked = Asked(by=_WHO, reason=reason)
        return await self._host.engine.second_chances.replay(run_id, from_, changes, asked)

    async def fork(
        self,
        run_id: str,
        *,
        at: int | None = None,
        version: str | None = None,
        flow: FlowSource | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> NewRunOf:
        """Start a new run from the old one as of its event `at` (the last one): what had settled is kept, the rest is
        run. The other arguments and errors as in `replay`.
        """
        changes = await self._changes(version, flow, inputs, outputs)
        asked = Asked(by=_WHO, reason=reason)
        return await self._host.engine.second_chances.fork(run_id, at, changes, asked)

    async def rollback(self, run_id: str, *, reason: str | None = None) -> RolledBackTo:
        """Go on with a run whose journal does not fold from its last valid event; what follows is set aside.

        Raises NotFoundError, ConflictError if there is nothing to roll back.
        """
        return await self._host.engine.second_chances.rollback(run_id, Asked(by=_WHO, reason=reason))

    async def _changes(
        self,
        version: str | None,
        flow: FlowSource | None,
        inputs: Mapping[str, Any] | None,
        outputs: Mapping[str, Any] | None,
    ) -> Changes:
        chosen = version if flow is None else await self._version(flow)
        return Changes(version=chosen, inputs=inputs, outputs=outputs)

    async def cancel(self, run_id: str, reason: str | None = None, *, force: bool = False) -> None:
        """Cancel a run; `force` cuts its `finally` steps and compensations off, too.

        Raises NotFoundError, ConflictError if it is over.
        """
        await self._host.engine.cancel(run_id, reason, force=force)

    async def undo(self, run_id: str, reason: str | None = None) -> None:
        """Begin to undo a run that is over; `wait` gives the end. Raises NotFoundError, ConflictError as
        `Engine.undo` does.
        """
        await self._host.engine.undo(run_id, reason)

    async def undo_preview(self, run_id: str) -> UndoView:
        """What `undo` would do, and what it could not. Raises NotFoundError."""
        return undo_view(await self._host.engine.undo_preview(run_id))

    async def callbacks(self, run_id: str) -> list[OpenCallback]:
        """What the run waits for from outside, with the tokens that `callback` takes. Raises NotFoundError."""
        engine = self._host.engine
        record = await engine.record(run_id)
        state = await engine.state(record)
        return [
            OpenCallback(
                step=step.address,
                token=engine.callback_token(run_id, step),
                expires_at=rfc3339(step.expires_at),
            )
            for step in state.nodes
            if step.callback and not state.ended
        ]

    async def callback(
        self,
        token: str,
        payload: JsonValue = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Deliver a signal to the step that waits with this token; gives the run's id. `raw` and `headers`: those of
        the request that brought it, for steps that want a signature.

        Raises NotFoundError, ConflictError, GoneError, InvalidInputError with all mistakes, SignatureError.
        """
        return await self._host.engine.callback(token, payload, raw=raw, headers=headers)

    async def _version(self, flow: FlowSource) -> Version:
        key: int | str | None = None
        if isinstance(flow, Flow):
            key = id(flow)
        elif isinstance(flow, str) and not _is_path(flow):
            key = flow
        found = self._versions.get(key) if key is not None else None
        if found is not None and (not isinstance(flow, Flow) or found.flow is flow):
            return found
        loaded = self.load(flow)
        engine = self._host.engine
        version = await engine.versions.keep(loaded, flow if isinstance(flow, str) else "", engine.now())
        if key is not None and len(self._versions) < 1_000:
            # The very object is kept, so that its id stays its own.
            self._versions[key] = version if version.flow is loaded else msgspec.structs.replace(version, flow=loaded)
        return version


def _begins(at: datetime | timedelta, now: int) -> int | None:
    if isinstance(at, timedelta):
        return begins_at(None, f"{at.total_seconds():.3f}s", now)
    return begins_at(at.isoformat(), None, now)


def _is_path(text: str) -> bool:
    """A text of one line that ends like a file's name is one."""
    return "\n" not in text and text.endswith((".yaml", ".yml", ".json")) and len(os.fsencode(text)) < 4096


def _result(state: RunState) -> RunResult:
    return RunResult(
        run_id=state.run_id,
        status=state.status.value,
        outputs=state.outputs,
        error=state.error,
        recovered=state.recovered,
        steps={step.address: step.output for step in state.standing if step.ended_at is not None},
    )


__all__ = ["FlowSource", "InvalidFlowError", "OpenCallback", "Response", "RunResult", "Segue"]
