"""What runs and attempts are counted by under `limits`, and the sentence that says that all slots are taken."""

from __future__ import annotations

from typing import Final

import msgspec

from segue.expr.sealed import Box
from segue.flow.durations import format_duration
from segue.flow.model import JsonValue, Limits, RawMap
from segue.kernel.evaluate import compute, refuse_sealed, stop
from segue.kernel.plan import Plan
from segue.kernel.scope import RunScope, SeededImpure
from segue.kernel.state import RunState, StepState

KEY_LENGTH_MAX: Final = 1_000
"""Characters of a key; what is longer is no name of anything."""
_SHOWN: Final = 60
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(tuple[str, str, str, str]).decode


def slot_key(value: JsonValue) -> str:
    """The value as JSON text: equal values give equal texts. Raises StopNow if it is too long."""
    refuse_sealed(value, "limits.key")
    text = _encode(value).decode()
    if len(text) > KEY_LENGTH_MAX:
        message = f"limits.key: its {len(text):,} characters are more than the {KEY_LENGTH_MAX:,} that a key may have"
        raise stop("validation", message, "key_too_long")
    return text


def key_of_run(plan: Plan, run_id: str, inputs: RawMap, trigger: RawMap, seed: str, now: int) -> str | None:
    """What a run that is about to be accepted is counted by: "" if all runs of the flow are counted together, None if
    its flow has no limits. Raises StopNow.
    """
    if plan.flow.run_limits is None:
        return None
    if plan.limit_key is None:
        return ""
    state = RunState(plan, run_id)
    state.inputs, state.trigger = inputs, trigger
    state.box = Box(None)
    state.box.adopt(inputs)
    return slot_key(compute(plan.limit_key, RunScope(state), SeededImpure(seed, "limits.key", now), "limits.key"))


def slots_taken(what: str, limits: Limits, key: str, taken: int) -> str:
    """The reason of what waits, is skipped or refused: facts, in one sentence."""
    return f"{taken} of {limits.concurrency} slots of `{what}`{_for_key(key)} are taken"


def rate_reached(what: str, limits: Limits, key: str) -> str:
    """The same for what has begun too often."""
    length = format_duration(limits.rate_seconds)
    return f"`{what}`{_for_key(key)} has begun {limits.rate_count} times within {length}"


def name_of(workspace: str, flow_id: str, step: StepState) -> str:
    """What a step's attempts are counted by: workspace, flow, step and key, as one text."""
    return _encode([workspace, flow_id, step.plan.full_name, step.slot_key or ""]).decode()


def parts_of(name: str) -> tuple[str, str, str, str]:
    """The reverse of `name_of`."""
    return _decode(name)


def _for_key(key: str) -> str:
    if not key:
        return ""
    return f" for key {key if len(key) <= _SHOWN else key[:_SHOWN] + '…'}"
