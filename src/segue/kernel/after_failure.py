"""What a step says of its failures: who handles them, what stands in for it, whether it is tried again as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.kernel import events as ev
from segue.kernel.plan import COMPOSITE_KINDS, WAIT_KINDS
from segue.kernel.retry import matches, retry_at
from segue.kernel.state import StepState

if TYPE_CHECKING:
    from segue.kernel.decider import Decider


def handler_of(step: StepState, category: str) -> int | None:
    """The number of the step's first handler that takes errors of this category.

    A step is handled once; one whose handler had it tried again is handled as long as its `retry` has tries left.
    """
    retry = step.plan.step.retry
    if step.handling is not None and (retry is None or not 0 < step.tries < retry.max_attempts):
        return None
    for number, handler in enumerate(step.plan.step.on_error):
        if not handler.match or any(matches(category, one) for one in handler.match):
            return number
    return None


def whole_again_at(decider: Decider, step: StepState, failure: ev.Failure) -> int | None:
    """When a block that failed is tried again as a whole, or a wait that was in vain, by its `retry`; None: it is
    not.
    """
    policy, waits = step.plan.step.retry, step.plan.kind in WAIT_KINDS
    if policy is None or not (waits or step.plan.kind in COMPOSITE_KINDS) or step.concluding is not None:
        return None
    if step.started_at is None or not step.tries:  # whether it is to be run at all could not be computed
        return None
    share = decider.impure(step, "jitter").random()
    due = retry_at(policy, failure, tries=step.tries, started_at=step.started_at, now=decider.now, share=share)
    # What closes a wait and what opens the next one are two decisions: each try has a token of its own.
    return max(due, decider.now + 1) if waits and due is not None else due


def timeout_policy(step: StepState) -> str:
    """What the step does when its time is over."""
    plan = step.plan.step
    if plan.timeout is not None and plan.timeout.on_timeout != "fail":
        return plan.timeout.on_timeout
    chosen = plan.callback.on_timeout if plan.callback is not None else "fail"
    return "default" if chosen == "fail" and step.plan.default is not None else chosen


def failure_policy(step: StepState) -> str:
    """A `default` stands in for any failure, unless it is said to be for timeouts (`on_timeout: default`)."""
    plan = step.plan.step
    said = [one.on_timeout for one in (plan.timeout, plan.callback) if one is not None]
    only_timeouts = any(policy != "fail" for policy in said)
    return "default" if step.plan.default is not None and not only_timeouts else "fail"
