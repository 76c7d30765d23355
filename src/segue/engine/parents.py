"""Who started a run, where a step of another run did, and the ids of such runs."""

from __future__ import annotations

import hashlib

import msgspec

from segue.engine.ids import new_run_id
from segue.kernel.decision import Child
from segue.kernel.state import RunState


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """Of a sub-flow's run: which step of which run started it. In the run's trigger, under `parent`."""

    run: str
    flow: str
    step: str
    """The step's address."""
    number: int
    """The step instance's number in its run."""
    generation: int
    attempt: int
    """The try that started it."""
    depth: int
    waits: bool


def child_run_id(state: RunState, child: Child) -> str:
    """The id of the run that this try of the step starts: sorted by its parent's time, the rest a hash."""
    text = f"child\n{state.run_id}\n{child.address}\n{child.generation}\n{child.number}"
    return new_run_id(state.accepted_at or 0, entropy=hashlib.sha256(text.encode()).digest()[:10])


def depth_of(state: RunState) -> int:
    """How many runs led to this one, each started by a step, the end or an event of the one before."""
    parent = parent_of(state)
    if parent is not None:
        return parent.depth
    told = state.trigger.get("depth")
    return told if isinstance(told, int) else 0


def parent_of(state: RunState) -> Parent | None:
    """Who started the run, if a step of another run did."""
    told = state.trigger.get("parent") if state.trigger.get("kind") == "flow" else None
    return None if told is None else msgspec.convert(told, Parent)
