"""Flows as text, bound to a few actions that must never be called."""

from __future__ import annotations

from typing import Any

from segue.engine.catalogue import RegistryCatalogue
from segue.engine.dry_run import DryRun, dry_run
from segue.engine.flow_test_run import FlowTestResults, run_tests
from segue.engine.flow_tests import read_tests
from segue.engine.mocks import read_mocks
from segue.engine.port import Action, ActionRegistry, AttemptContext
from segue.flow import Document, Flow, Problem, check_flow, read_flow
from segue.flow.bind import bind_flow
from segue.steps.http import PARAMS_SCHEMA, effect_of


async def never(_params: dict[str, Any], _context: AttemptContext) -> Any:
    raise AssertionError("an action was called")


REGISTRY = ActionRegistry(
    (
        Action(name="http", run=never, effect=effect_of, params_schema=PARAMS_SCHEMA),
        Action(
            name="shop.charge",
            run=never,
            effect="unsafe",
            params_schema={
                "type": "object",
                "required": ["amount"],
                "properties": {"amount": {"type": "number"}, "key": {"type": "string"}},
                "additionalProperties": False,
            },
            result_schema={
                "type": "object",
                "required": ["paid", "id"],
                "properties": {"paid": {"type": "boolean"}, "id": {"type": "string"}},
            },
        ),
        Action(name="shop.status", run=never, effect="safe"),
    )
)


def loaded(text: str) -> tuple[Flow, Document]:
    result = read_flow(text, file="flow.yaml")
    assert result.flow is not None
    assert result.document is not None
    catalogue = RegistryCatalogue(REGISTRY)
    problems = [*result.problems, *check_flow(result.flow, catalogue, runnable=False, document=result.document)]
    assert [str(one) for one in problems if one.severity == "error"] == []
    return bind_flow(result.flow, catalogue), result.document


def planned(text: str, inputs: dict[str, Any] | None = None, **mocks: Any) -> DryRun:
    flow, document = loaded(text)
    return dry_run(flow, inputs or {}, REGISTRY, mocks=read_mocks(mocks), document=document)


def results_of(text: str) -> FlowTestResults:
    flow, document = loaded(text)
    tests, problems = read_tests(flow, document)
    assert [str(one) for one in problems] == []
    return run_tests(flow, tests, REGISTRY)


def problems_of(text: str) -> list[Problem]:
    flow, document = loaded(text)
    return read_tests(flow, document)[1]
