"""A run becomes a test that passes, and fails once the flow does something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from segue.client.embedded import Segue
from segue.engine.flow_test_run import FlowTestResults, run_tests
from segue.engine.flow_tests import read_tests
from segue.engine.recorded_test import literal, recorded_test
from segue.engine.views import RunView, StepView
from segue.expr import MappingScope, compile_value
from segue.flow import Document, read_document
from unit.engine_dry.flows import REGISTRY, loaded

FLOW = """
flow: buy
inputs: {ids: {type: array}, note: string}
steps:
  - each:
      foreach:
        items: $inputs.ids
        as: id
        do: [{pay: {call: pay, params: {id: $id}, retry: {attempts: 2, initial_delay: 1ms}}}]
  - risky: {call: lose, on_error: [{mend: {set: {mended: true}}}]}
  - skip: {log: never, when: size($inputs.ids) == 0}
outputs: {paid: $each, note: $inputs.note, mended: $risky.mended}
"""


def replayed(view: RunView, text: str = FLOW) -> FlowTestResults:
    flow, _ = loaded(text)
    document = read_document({"steps": ["x"], "tests": [recorded_test(view)]}).document
    assert isinstance(document, Document)
    tests, problems = read_tests(flow, document)
    assert [str(one) for one in problems] == []
    return run_tests(flow, tests, REGISTRY)


async def view_of_run(inputs: dict[str, Any]) -> RunView:
    segue = Segue()
    calls: list[int] = []

    @segue.action("pay")
    def pay(id: int) -> dict[str, Any]:
        calls.append(id)
        if id == 2 and calls.count(2) == 1:
            raise ConnectionError("busy")
        return {"id": id, "text": "costs $5 {{ no }} $$ $x", "output": [id]}

    @segue.action("lose")
    def lose() -> None:
        raise ValueError("lost")

    del pay, lose
    async with segue:
        result = await segue.run(FLOW, inputs)
        return await segue.show(result.run_id)


@pytest.mark.anyio
@pytest.mark.req("BAR-2.passes")
async def test_a_recorded_run_is_a_test_that_passes() -> None:
    view = await view_of_run({"ids": [1, 2], "note": "as {{ it }} is"})
    assert view.status == "succeeded"
    results = replayed(view)
    assert results.tests[0].error is None
    assert results.tests[0].differences == []
    assert results.tests[0].assumed == []
    entry: Any = recorded_test(view)
    assert entry["now"] == view.started_at
    assert entry["expect"]["steps"]["each[1].pay"] == {"status": "succeeded", "attempts": 2}


@pytest.mark.anyio
@pytest.mark.req("BAR-2.fails")
async def test_a_recorded_run_fails_when_the_flow_does_something_else() -> None:
    view = await view_of_run({"ids": [1], "note": "n"})
    changed = FLOW.replace("mended: true", "mended: false").replace("== 0}", "== 1}")
    assert [one.what for one in replayed(view, changed).tests[0].differences] == ["outputs.mended", "steps.skip.status"]


@pytest.mark.parametrize(
    ("step", "mock"),
    [
        (StepView(id="a", name="a", kind="wait", status="succeeded", output={"ok": True}), {"ok": True}),
        (
            StepView(id="a", name="a", kind="wait", status="timed_out", error={"category": "timeout", "message": "-"}),
            {"no_answer": True},
        ),
        (StepView(id="a", name="a", kind="wait", status="succeeded"), None),
        (StepView(id="a", name="a", kind="call", status="skipped"), None),
        (StepView(id="a", name="a", kind="set", status="succeeded", attempts=1, output={}), None),
    ],
)
def test_only_what_came_from_outside_becomes_a_mock(step: StepView, mock: Any) -> None:
    entry: Any = recorded_test(RunView(id="run_1", flow="f", version=None, status="failed", steps=[step]))
    assert entry.get("mocks", {}).get("a") == mock


@pytest.mark.parametrize("status", ["running", "waiting", "cancelled"])
def test_a_run_that_is_not_over_or_was_cancelled_makes_no_test(status: str) -> None:
    with pytest.raises(ValueError, match="run_1"):
        recorded_test(RunView(id="run_1", flow="f", version=None, status=status))


_TEXTS = st.text(alphabet="${} ab.\"\\'\n|", max_size=20)
_VALUES = st.recursive(
    _TEXTS | st.integers(-9, 9) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(_VALUES)
@settings(max_examples=examples(300))
@pytest.mark.req("BAR-2.literal")
def test_a_recorded_value_is_never_taken_for_a_reference(value: Any) -> None:
    made = compile_value(literal(value)).evaluate(MappingScope({}))
    assert json.loads(json.dumps(made)) == value
