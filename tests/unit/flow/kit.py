"""What the tests of the flow language share: a catalogue, and short ways to read and check text."""

from __future__ import annotations

from textwrap import dedent

from segue.flow import ActionSpec, Flow, Problem, ReadResult, StaticCatalogue, Step, check_flow, read_flow, walk

CATALOGUE = StaticCatalogue(
    [
        ActionSpec(
            name="iam.verify_token",
            params_schema={
                "type": "object",
                "properties": {"token": {"type": "string"}, "scopes": {"type": "array", "items": {"type": "string"}}},
                "required": ["token"],
                "additionalProperties": False,
            },
            result_schema={
                "type": "object",
                "properties": {"user": {"type": "object"}, "valid": {"type": "boolean"}},
                "additionalProperties": False,
            },
        ),
        ActionSpec(name="iam.revoke"),
        ActionSpec(name="ai.classify", result_schema={"type": "object", "properties": {"category": {}}}),
        ActionSpec(name="stripe.charge_card"),
        ActionSpec(name="stripe.refund"),
        ActionSpec(name="score_lead"),
    ]
)


def read(text: str) -> ReadResult:
    return read_flow(dedent(text).lstrip("\n"), file="flow.yaml")


def read_well(text: str) -> Flow:
    """The flow of a text that reads without errors."""
    result = read(text)
    assert result.flow is not None
    assert not result.has_errors, [str(problem) for problem in result.problems]
    return result.flow


def problems_of(text: str, *, runnable: bool = False) -> list[Problem]:
    """Everything that reading and checking find."""
    result = read(text)
    found = list(result.problems)
    if result.flow is not None:
        found += check_flow(result.flow, CATALOGUE, runnable=runnable, document=result.document)
    return found


def codes_of(text: str, *, runnable: bool = False) -> set[str]:
    return {problem.code for problem in problems_of(text, runnable=runnable)}


def one(text: str, code: str, *, runnable: bool = False) -> Problem:
    """The only problem with that code."""
    found = [problem for problem in problems_of(text, runnable=runnable) if problem.code == code]
    assert len(found) == 1, [str(problem) for problem in problems_of(text, runnable=runnable)]
    return found[0]


def pointed_at(text: str, problem: Problem) -> str:
    """The characters that a problem points at."""
    assert problem.span is not None
    return dedent(text).lstrip("\n")[problem.span.start : problem.span.end]


def step_of(flow: Flow, id: str) -> Step:
    return next(step for step in walk(flow.root) if step.id == id)


def edges_of(flow: Flow) -> set[tuple[str, str, str | None]]:
    return {(edge.source, edge.target, edge.label) for edge in flow.root.edges}
