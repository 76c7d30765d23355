"""Steps that run another flow: what they begin, and what the end of the other run means for them.

A `flow` step makes attempts like a call. What its attempt does is to have the child's run kept (`ChildBegan`); from
then on the step waits, at the cost of a row, until it is told of the child's end (`ChildEnded`). The child's run id
follows from the parent's run, the step's address, its generation and the number of the try, so that a start which is
made again after a crash finds the child there, and a cancellation finds the child that it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.decision import Child
from segue.kernel.state import RunState, StepState
from segue.kernel.status import StepStatus

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def is_waited_for(step: StepState) -> bool:
    """Whether the step waits for its sub-flow's end (`wait: false`: it goes on at once)."""
    return step.plan.step.params.get("wait") is not False


def child_of(step: StepState) -> Child:
    """The run that the step's present try starts, or has started."""
    return Child(step.address, step.generation, step.tries)


def waits_for_child(state: RunState) -> bool:
    """Whether any step waits for the end of a sub-flow now."""
    for number, step in list(state.with_child.items()):
        if step.status is StepStatus.WAITING and step.waits_on == "child":
            return True
        del state.with_child[number]
    return False


def abandon(decider: Decider, step: StepState) -> None:
    """Nobody waits for the step's child any more: it is to be cancelled, should it have been started."""
    starting = step.id in decider.state.active
    waiting = step.status is StepStatus.WAITING and step.waits_on == "child"
    child = child_of(step)
    if (starting or waiting) and is_waited_for(step) and child not in decider.over:
        decider.decision.speak().children_cancelled.append(child)


def on_began(decider: Decider, given: inp.ChildBegan) -> None:
    """The child is kept: the step sleeps until its end."""
    step = decider.state.active.get(given.step)
    if step is not None and (step.attempt, step.generation) == (given.attempt, given.generation):
        decider.emit(step.id, ev.ChildStarted(run_id=given.run_id, flow=given.flow, version=given.version))


def take_end(decider: Decider, given: inp.ChildEnded) -> StepState | None:
    """The step that waited for this end, if one still does. The end may come before the start's own answer."""
    state = decider.state
    step = state.nodes[given.step] if 0 <= given.step < len(state.nodes) else None
    if step is None or state.ended or (step.generation, step.tries) != (given.generation, given.number):
        return None
    if step.id in state.active:
        decider.decision.cancel.append(step)
        decider.emit(step.id, ev.ChildStarted(run_id=given.run_id, flow=given.flow, version=given.version))
    elif step.status is not StepStatus.WAITING or step.waits_on != "child":
        return None
    decider.over.add(child_of(step))
    return step
