"""What made a failed step a recovered one. The journal keeps what it gave, which tells the ways apart."""

from __future__ import annotations

import msgspec

from segue.kernel.outputs import block_output
from segue.kernel.state import BlockState, StepState
from segue.kernel.status import StepStatus


def leaves_by_error_edge(step: StepState) -> bool:
    """Whether its edge for errors leads on: only that gives the error itself as the output."""
    if step.status is not StepStatus.RECOVERED or not step.plan.has_error_edge or step.error is None:
        return False
    return step.output == msgspec.to_builtins(step.error)


def mended_by(step: StepState) -> BlockState | None:
    """The handler or `catch` block whose output stands for the step's own; None: its `default`, or nothing, does."""
    for block in reversed(step.children or ()):
        if block.plan.role in ("handler", "catch"):
            return block if block.failure is None and block_output(block) == step.output else None
    return None
