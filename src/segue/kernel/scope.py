"""What expressions see: names of one step instance, as of one moment.

A step's parameters are never journaled; they are computed from the state whenever an attempt is made. So that a retry,
or an attempt after a crash, computes the same values although other branches have gone on meanwhile, a scope looks at
the state *as of* the event that started the step: outputs settled later are null, `vars` are the ones of then, and
`now() uuid() random()` are functions of the run's journaled seed, the step and the journaled time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from segue.expr import UnknownName
from segue.kernel.outputs import incoming
from segue.kernel.plan import NodePlan
from segue.kernel.state import BlockState, Frame, RunState, StepState
from segue.kernel.status import STEP_SETTLED, StepStatus

_NO_LIMIT = 1 << 62


class SeededImpure:
    """`now() uuid() random()` of one evaluation: equal seeds, labels and times give equal values in equal order."""

    __slots__ = ("_at", "_count", "_label")

    def __init__(self, seed: str, label: str, at: int) -> None:
        self._label = f"{seed}/{label}/"
        self._at = at
        self._count = 0

    def _digest(self) -> bytes:
        self._count += 1
        return hashlib.sha256(f"{self._label}{self._count}".encode()).digest()

    def now(self) -> datetime:
        """The time of the decision or the step, in UTC."""
        return datetime.fromtimestamp(self._at / 1000, UTC)

    def uuid(self) -> str:
        """A version 4 UUID (RFC 9562) from the digest's bits."""
        raw = bytearray(self._digest()[:16])
        raw[6] = (raw[6] & 0x0F) | 0x40
        raw[8] = (raw[8] & 0x3F) | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return int.from_bytes(self._digest()[:7], "big") / (1 << 56)


class RunScope:
    """Names at the top of a run: for `vars`, `outputs` and the flow's own handlers."""

    __slots__ = ("block", "extra", "limit", "secrets", "state", "step", "value")

    def __init__(
        self,
        state: RunState,
        *,
        step: StepState | None = None,
        block: BlockState | None = None,
        limit: int = _NO_LIMIT,
        value: object = None,
        secrets: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.extra = extra
        self.state = state
        self.step = step
        self.block = block if block is not None or step is None else step.block
        self.limit = limit
        self.value = value
        self.secrets = secrets

    def lookup(self, name: str) -> object:
        """Raises UnknownName if there is no such name here."""
        state = self.state
        if name == "$":
            return self.value
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name in state.plan.binding_names:
            block = self.block
            while block is not None:
                if block.bindings is not None and name in block.bindings:
                    return block.bindings[name]
                block = None if block.owner is None else block.owner.block
        frame = self.block.frame if self.block is not None else None if state.root is None else state.root.frame
        limit = self.limit
        while frame is not None:
            found = frame.plan.names.get(name)
            if found is not None:
                return _output(frame, found, limit)
            if frame.as_of is not None:
                limit = min(limit, frame.as_of)
            frame = frame.parent
        reader = _SPECIAL.get(name)
        if reader is not None:
            return reader(self)
        if name in state.plan.binding_names:
            return None
        raise UnknownName(name)

    def names(self) -> list[str]:
        """All names in scope, for suggestions."""
        found = [*_SPECIAL, *self.state.plan.binding_names]
        frame = (
            self.block.frame if self.block is not None else None if self.state.root is None else self.state.root.frame
        )
        while frame is not None:
            found += frame.plan.names
            frame = frame.parent
        return found


def _output(frame: Frame, candidates: list[NodePlan], limit: int) -> object:
    """The output of the one that ran; null if none has settled before event `limit`."""
    nodes = frame.nodes
    for plan in candidates:
        step = nodes.get(plan.index)
        if step is not None and step.status in STEP_SETTLED and step.settled_seq < limit:
            if step.status is StepStatus.SKIPPED and len(candidates) > 1:
                continue
            return step.output
    return None


def step_scope(
    state: RunState,
    step: StepState,
    *,
    value: object = None,
    secrets: Mapping[str, object] | None = None,
) -> RunScope:
    """The scope of a step's parameters: as of its start; before it starts, as of now."""
    limit = step.started_seq if step.started_seq >= 0 else _NO_LIMIT
    return RunScope(state, step=step, limit=limit, value=value, secrets=secrets)


def _inputs(scope: RunScope) -> object:
    return scope.state.inputs


def _data(scope: RunScope) -> object:
    if scope.step is not None:
        return incoming(scope.state, scope.step)
    return scope.state.trigger.get("body", scope.state.inputs)


def _vars(scope: RunScope) -> object:
    step = scope.step
    past = None if scope.block is None else _past_of(scope.block.frame)
    if past is not None:
        return past.vars
    if step is not None and step.vars is not None and scope.limit != _NO_LIMIT:
        return step.vars
    return scope.state.vars


def _past_of(frame: Frame | None) -> Frame | None:
    """The compensation that this frame belongs to: outside of it, names are what they were when its step had ended."""
    while frame is not None and frame.as_of is None:
        frame = frame.parent
    return frame


def _secrets(scope: RunScope) -> object:
    """Only while an attempt is made; elsewhere the name is unknown, so that no secret gets into a decision."""
    if scope.secrets is None:
        raise UnknownName("secrets")
    return scope.secrets


def _run(scope: RunScope) -> object:
    state = scope.state
    return {
        "id": state.run_id,
        "flow": state.plan.flow.id,
        "version": state.plan.flow.version,
        "started_at": None if state.started_at is None else rfc3339(state.started_at),
    }


def _self(scope: RunScope) -> object:
    step = scope.step
    if step is None:
        return None
    return {"id": step.plan.step.id, "path": step.address, "attempt": step.attempt, "generation": step.generation}


def _steps(scope: RunScope) -> object:
    """All steps by id, those of the blocks around this place too, the nearest first: a step's output; of a loop the
    list of its items, each a map of inner steps to outputs.
    """
    state, limit = scope.state, scope.limit
    frame = scope.block.frame if scope.block is not None else None if state.root is None else state.root.frame
    found: dict[str, object] = {}
    while frame is not None:
        found = _frame_outputs(frame, limit) | found
        if frame.as_of is not None:
            limit = min(limit, frame.as_of)
        frame = frame.parent
    return found


def _frame_outputs(frame: Frame, limit: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, candidates in frame.plan.names.items():
        step = next((frame.nodes[plan.index] for plan in candidates if plan.index in frame.nodes), None)
        if step is None:
            found[name] = None
            continue
        settled = step.status in STEP_SETTLED and step.settled_seq < limit
        found[name] = step.output if settled else None
        if step.plan.kind in ("foreach", "repeat"):
            opened = [one for one in step.children or () if one.plan.role == "body" and one.opened_seq < limit]
            keys = step.keys
            if opened and keys is not None:
                found[name] = {keys[one.index]: _frame_outputs(one.frame, limit) for one in opened}
            elif opened:
                found[name] = [_frame_outputs(one.frame, limit) for one in opened]
    return found


def rfc3339(at: int) -> str:
    """Milliseconds since the epoch as UTC text with milliseconds."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trigger(scope: RunScope) -> object:
    return scope.state.trigger


def _env(scope: RunScope) -> object:
    return scope.state.plan.flow.env


def _attempt(scope: RunScope) -> object:
    return 0 if scope.step is None else scope.step.attempt


_SPECIAL: dict[str, Callable[[RunScope], object]] = {
    "inputs": _inputs,
    "input": _inputs,
    "data": _data,
    "trigger": _trigger,
    "vars": _vars,
    "env": _env,
    "secrets": _secrets,
    "run": _run,
    "self": _self,
    "attempt": _attempt,
    "steps": _steps,
}
