"""Starting a run for a trigger: its flow as it stands now, whether it begins, with which inputs; once for all kinds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import SystemRandom
from typing import Final, NamedTuple

from segue.access.resting import resting
from segue.engine.flow_source import FlowSource, FoundFlow
from segue.engine.host import Engine
from segue.engine.versions import Version
from segue.errors import ConflictError, InvalidFlowError, NotFoundError, StoreUnavailableError
from segue.flow.inputs import resolve_inputs
from segue.flow.model import Flow, JsonValue, RawMap
from segue.flow.starting import begin_from, trigger_value
from segue.observe.masking import DEFAULT_MASKER, Masker, masker_for
from segue.store.tables import Sql
from segue.triggers.errors import FlowUnusableError, RestingError
from segue.triggers.records import TriggerRow
from segue.triggers.registry import trigger_of

MAX_DEPTH: Final = 16
"""Runs that start each other by their ends and events: as many as sub-flows within each other."""
LOOK_SECONDS: Final = 1.0
"""How soon the sources are asked again whether a flow is as it was; what is published is known at once (`forget`)."""
_KNOWN_MAX: Final = 10_000
_RANDOM: Final = SystemRandom()


class _Known(NamedTuple):
    flow: Flow
    version: Version
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What would be started. `version` None: no run begins, for the reason."""

    version: Version | None
    inputs: RawMap
    reason: str | None = None
    hides: bool = False
    """Whether the flow declares that something of what comes in is secret, so that it is kept sealed."""


class _Impure:
    """`now() uuid() random()` of what a trigger computes once, before there is a run whose journal holds it."""

    def __init__(self, at: int) -> None:
        self._at = at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._at / 1000, UTC)

    def uuid(self) -> str:
        return str(uuid.uuid4())

    def random(self) -> float:
        return _RANDOM.random()


class Starter:
    """Starts runs for the triggers of one host."""

    def __init__(self, engine: Engine, flows: FlowSource, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.engine = engine
        self._flows = flows
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}

    def forget(self, workspace: str, flow_id: str) -> None:
        """The flow has changed, or is gone."""
        self._known.pop((workspace, flow_id), None)

    async def version(self, workspace: str, flow_id: str) -> Version:
        """The flow's version that a trigger starts now: as its source has it, else the newest that was kept, since what
        is started again after a crash may come before the folders are known. Raises FlowUnusableError,
        StoreUnavailableError.
        """
        known, now = self._known.get((workspace, flow_id)), self._clock()
        if known is not None and now < known.until:
            return known.version
        try:
            found = await self._flows.find(flow_id, workspace=workspace)
        except InvalidFlowError as error:
            raise FlowUnusableError(f"the flow {flow_id} has errors and cannot run: {error.message}") from error
        except (NotFoundError, ConflictError) as error:
            raise FlowUnusableError(f"the flow {flow_id} cannot run: {error.message}") from error
        if found is None:
            newest = await self.engine.versions.newest(workspace, flow_id)
            if newest is None:
                raise FlowUnusableError(f"there is no flow {flow_id} to run: it is gone, or was never published")
            return newest
        if known is not None and known.flow is found.flow:
            version = known.version
        else:
            version = await self._kept(found, workspace)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[workspace, flow_id] = _Known(found.flow, version, now + LOOK_SECONDS)
        return version

    async def _kept(self, found: FoundFlow, workspace: str) -> Version:
        try:
            return await self.engine.versions.keep(found.flow, found.source, self.engine.now(), workspace=workspace)
        except InvalidFlowError as error:
            raise FlowUnusableError(f"the flow {found.flow.id} cannot run: {error.message}") from error

    def computed(self, written: JsonValue, event: Mapping[str, JsonValue], what: str) -> JsonValue:
        """A value over `$trigger` and `$data`. Raises InvalidInputError."""
        return trigger_value(written, event, _Impure(self.engine.now()), what)

    async def ready(self, row: TriggerRow, event: Mapping[str, JsonValue]) -> Ready:
        """Whether a run begins at an event. Raises FlowUnusableError; InvalidInputError if what the event brings does
        not fit the flow.
        """
        version = await self.version(row.workspace, row.flow_id)
        hides = bool(version.plan.declared)
        beginning = begin_from(version.flow, trigger_of(row), event, _Impure(self.engine.now()))
        if not beginning.begins:
            return Ready(version=None, inputs={}, reason=beginning.reason, hides=hides)
        inputs = resolve_inputs(version.flow, beginning.inputs)
        return Ready(version=version, inputs=inputs, reason=beginning.reason, hides=hides)

    async def masker(self, row: TriggerRow) -> Masker:
        """What hides the flow's declared secrets in what is kept of a delivery that begins nothing."""
        try:
            return masker_for((await self.version(row.workspace, row.flow_id)).plan.declared)
        except (FlowUnusableError, StoreUnavailableError):
            return DEFAULT_MASKER

    async def start(
        self,
        row: TriggerRow,
        ready: Ready,
        event: RawMap,
        *,
        run_id: str | None = None,
        parent_run_id: str | None = None,
        also: Callable[[Sql], None],
    ) -> str:
        """Have the run kept together with `also`; its id. Raises RestingError, and what `Engine.start` raises."""
        assert ready.version is not None

        def kept(sql: Sql) -> None:
            # In the commit of the run: nothing begins after a workspace was closed.
            if row.workspace in resting(sql):
                raise RestingError("not started: the workspace is archived, or flows and runs are switched off there")
            also(sql)

        started = await self.engine.start(
            ready.version, ready.inputs, trigger=event, workspace=row.workspace, run_id=run_id,
            parent_run_id=parent_run_id, also=kept,
        )  # fmt: skip
        return started.run_id
