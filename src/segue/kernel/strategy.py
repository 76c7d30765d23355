"""Which of the ready steps begins next, by the flow's strategy."""

from __future__ import annotations

import heapq

from segue.kernel.children import waits_for_child
from segue.kernel.state import Keeping, RunState, StepState


def next_ready(state: RunState) -> StepState | None:
    """The ready step whose turn it is under the flow's strategy, or None if all must wait for a slot."""
    flow = state.plan.flow
    if state.paused:
        return None
    if state.keeping is not None and (step := _next_kept(state, state.keeping)) is not None:
        return step
    if flow.strategy == "parallel" and flow.concurrency is None:
        return next(iter(state.ready.values()))
    limit = 1 if flow.strategy == "sequential" else flow.concurrency
    # What waits for a slot of its own limits has had its turn: it is in flight as soon as it gets one.
    busy = limit is not None and len(state.active) + len(state.awaiting) >= limit
    if flow.strategy == "sequential" and not busy:
        # A step keeps its turn until it is settled: what is retried or asked again has not ended.
        busy = state.turns > 0 or waits_for_child(state)
    if flow.strategy == "priority":
        while state.heap and state.heap[0][1] not in state.ready:
            heapq.heappop(state.heap)
        step = state.ready[state.heap[0][1]] if state.heap else None
    else:
        step = next(iter(state.ready.values()))
    return step if step is None or not busy or not step.plan.is_action else None


def _next_kept(state: RunState, keeping: Keeping) -> StepState | None:
    """A ready step that is kept from another run: it takes no slot and goes before all others."""
    while keeping.ready:
        step = next(iter(keeping.ready.values()))
        if state.ready.get(step.id) is step:
            return step
        del keeping.ready[step.id]
    return None
