"""Two runs side by side (BAR-19): the first step that differs, what differs in it, and how long each step took.

Compared is what people see, so values that are masked in both count as equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, cast

import msgspec

from segue.engine.views import RunView, StepView
from segue.flow.model import JsonValue

DIFFERENCES_MAX: Final = 200
"""Fields told of one value; more would be read by nobody."""


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A field that differs. `path` is `items[2].price`, empty for the whole value; a side that lacks it is null."""

    path: str
    kind: Literal["changed", "only_in_a", "only_in_b"]
    a: JsonValue = None
    b: JsonValue = None


class StepDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A step in both runs. A status is null in the run that has no such step."""

    step: str
    a_status: str | None
    b_status: str | None
    a_ms: int | None
    b_ms: int | None
    same: bool
    output: list[FieldDifference] = []
    error: list[FieldDifference] = []


class RunComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs. `steps` are all steps of both, in the order in which they began; `first_difference` is the address of
    the first one that differs (null: none does).
    """

    a: str
    b: str
    same: bool
    same_version: bool
    a_status: str
    b_status: str
    a_ms: int | None
    b_ms: int | None
    inputs: list[FieldDifference]
    outputs: list[FieldDifference]
    first_difference: str | None
    steps: list[StepDifference]


def compare(a: RunView, b: RunView, *, same_version: bool) -> RunComparison:
    """Compare two views."""
    ours, theirs = {step.id: step for step in a.steps}, {step.id: step for step in b.steps}
    rank = {address: number for number, address in enumerate(dict.fromkeys([*ours, *theirs]))}

    def begun(address: str) -> tuple[int, int]:
        """By when it began after its run did, in the run that reached it; then by the flow's order."""
        return _since_start(a, ours.get(address), _since_start(b, theirs.get(address), 2**62)), rank[address]

    steps = [_step(address, ours.get(address), theirs.get(address)) for address in sorted(rank, key=begun)]
    first = next((step.step for step in steps if not step.same), None)
    inputs, outputs = differences(a.inputs, b.inputs), differences(a.outputs, b.outputs)
    return RunComparison(
        a=a.id, b=b.id, same=first is None and not inputs and not outputs and a.status == b.status,
        same_version=same_version, a_status=a.status, b_status=b.status, a_ms=a.duration_ms, b_ms=b.duration_ms,
        inputs=inputs, outputs=outputs, first_difference=first, steps=steps,
    )  # fmt: skip


def differences(a: object, b: object) -> list[FieldDifference]:
    """Fields in which two JSON values differ, at most 200, in the order of the first one's fields."""
    found: list[FieldDifference] = []
    _collect("", a, b, found)
    return found


def _collect(path: str, a: object, b: object, found: list[FieldDifference]) -> None:
    if len(found) >= DIFFERENCES_MAX:
        return
    if isinstance(a, dict) and isinstance(b, dict):
        ours, theirs = cast("Mapping[str, object]", a), cast("Mapping[str, object]", b)
        for name in dict.fromkeys([*ours, *theirs]):
            inner = f"{path}.{name}" if path else name
            _pair(inner, name in ours, name in theirs, ours.get(name), theirs.get(name), found)
    elif isinstance(a, list) and isinstance(b, list):
        mine, other = cast("list[object]", a), cast("list[object]", b)
        for index in range(max(len(mine), len(other))):
            has, had = index < len(mine), index < len(other)
            _pair(f"{path}[{index}]", has, had, mine[index] if has else None, other[index] if had else None, found)
            if len(found) >= DIFFERENCES_MAX:
                return
    else:
        _compare_values(path, cast("JsonValue", a), cast("JsonValue", b), found)


def _compare_values(path: str, a: JsonValue, b: JsonValue, found: list[FieldDifference]) -> None:
    # Python takes true for 1.
    if a != b or isinstance(a, bool) != isinstance(b, bool):
        found.append(FieldDifference(path=path, kind="changed", a=a, b=b))


def _pair(path: str, in_a: bool, in_b: bool, a: object, b: object, found: list[FieldDifference]) -> None:
    if in_a and in_b:
        _collect(path, a, b, found)
    elif len(found) < DIFFERENCES_MAX:
        kind = "only_in_a" if in_a else "only_in_b"
        found.append(FieldDifference(path=path, kind=kind, a=cast("JsonValue", a), b=cast("JsonValue", b)))


def _step(address: str, a: StepView | None, b: StepView | None) -> StepDifference:
    if a is None or b is None:
        return StepDifference(
            step=address, a_status=None if a is None else a.status, b_status=None if b is None else b.status,
            a_ms=None if a is None else a.duration_ms, b_ms=None if b is None else b.duration_ms, same=False,
        )  # fmt: skip
    output, error = differences(a.output, b.output), differences(a.error, b.error)
    same = a.status == b.status and not output and not error
    return StepDifference(
        step=address, a_status=a.status, b_status=b.status, a_ms=a.duration_ms, b_ms=b.duration_ms, same=same,
        output=output, error=error,
    )  # fmt: skip


def _since_start(run: RunView, step: StepView | None, otherwise: int) -> int:
    """Milliseconds from the run's start to the step's; RFC 3339 times of one form sort as text, but differ as times."""
    if step is None or step.started_at is None or run.started_at is None:
        return otherwise
    return _ms(step.started_at) - _ms(run.started_at)


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
