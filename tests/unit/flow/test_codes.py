"""Every problem code is triggered by a flow, and the published page is the table's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.flow.kit import codes_of, problems_of

from segue.flow import codes, errors_page
from segue.flow.yaml_source import MAX_CHARACTERS

HEAD = "flow: x\n"
TRIGGERS = {
    codes.SYNTAX: "a: b: c",
    codes.DUPLICATE_KEY: HEAD + "steps: [{a: {log: x, log: y}}]",
    codes.TOO_LARGE: "a" * (MAX_CHARACTERS + 1),
    codes.TEMPLATE_QUOTED: HEAD + "steps:\n  - log: {{ inputs.a }}",
    codes.YAML_FEATURE: HEAD + "<<: {a: 1}\nsteps: [a]",
    codes.NOT_TEXT: "a: \x02",
    codes.NUMBER: HEAD + "steps: [{set: {id: 123456789012345678901}}]",
    codes.UNKNOWN_KEY: HEAD + "steps: [{a: {log: x, wehn: true}}]",
    codes.MISSING_KEY: HEAD + "steps: [{a: {http: {method: GET}}}]",
    codes.UNKNOWN_ADAPTER: HEAD + "steps: [{a: {call: nope.x}}]",
    codes.UNKNOWN_ACTION: HEAD + "steps: [{a: {call: iam.nope}}]",
    codes.UNBOUND: HEAD + "steps: [nobody_knows]",
    codes.WRONG_TYPE: HEAD + "steps: [{a: {log: x, disabled: no}}]",
    codes.NOT_ALLOWED: HEAD + "steps: [{a: {log: x, on_timeout: explode}}]",
    codes.TWO_VERBS: HEAD + "steps: [{a: {log: x, set: {b: 1}}}]",
    codes.NO_VERB: HEAD + "steps: [{retry: 3}]",
    codes.BARE_NUMBER: HEAD + "steps: [{a: {log: x, timeout: 30}}]",
    codes.BAD_DURATION: HEAD + "steps: [{a: {log: x, timeout: soon}}]",
    codes.DURATION_RANGE: HEAD + "steps: [{a: {log: x, timeout: 9999d}}]",
    codes.BAD_NAME: HEAD + "steps: [{two-words: {log: x}}]",
    codes.RESERVED_NAME: HEAD + "steps: [{inputs: {log: x}}]",
    codes.DUPLICATE_STEP: HEAD + "steps: [{a: {log: x}}, {a: {log: y}}]",
    codes.UNKNOWN_STEP: HEAD + "steps: [{a: {log: x}}, {b: {log: y, needs: [aa]}}]",
    codes.CYCLE: HEAD + "steps: [{a: {log: x, needs: [b]}}, {b: {log: y}}]",
    codes.UNREACHABLE: HEAD + "steps: [stop, {log: x}]",
    codes.ENDLESS_JOIN: HEAD + "steps: [{parallel: {branches: [{log: a}, {log: b}], join: 3}}]",
    codes.BAD_EDGE: (
        "nodes: [{id: a, type: Condition, data: {condition: 'true'}}, {id: b, type: start}]\n"
        "edges: [{source: a, target: b, sourceHandle: perhaps}]"
    ),
    codes.EXPRESSION: HEAD + "steps: [{a: {log: x, when: 1 +}}]",
    codes.UNKNOWN_NAME: HEAD + "steps: [{a: {log: $nobody}}]",
    codes.NOT_YET: HEAD + "steps: [{a: {log: $b}}, {b: {log: x}}]",
    codes.UNKNOWN_INPUT: HEAD + "inputs: {a: string}\nsteps: [{log: $inputs.b}]",
    codes.UNKNOWN_FIELD: HEAD + "steps: [{a: {http: GET https://x}}, {b: {log: $a.bdy}}]",
    codes.BAD_PARAMS: HEAD + "steps: [{a: {call: iam.verify_token, params: {token: 3}}}]",
    codes.MANY_STEPS: HEAD + "steps: [" + ", ".join(["{log: x}"] * 51) + "]",
    codes.TOO_MANY_STEPS: HEAD + "steps: [" + ", ".join(["{log: x}"] * 2_001) + "]",
    codes.CANNOT_RUN: HEAD + "steps: [{a: {wait: 1s, runs_on: gpu}}]",
    codes.RECURSIVE_DEFINITION: HEAD + "definitions: {a: {use: b}, b: {use: a}}\nsteps: [a]",
    codes.NO_STEPS: HEAD,
    codes.BAD_SCHEMA: HEAD + "inputs: {a: strnig}\nsteps: [{log: x}]",
    codes.EMPTY_BLOCK: HEAD + "steps: [{parallel: []}]",
    codes.CONFLICT: HEAD + "steps: [{a: {http: {url: 'https://x', json: 1, body: 2}}}]",
    codes.UNKNOWN_SECRET: HEAD + "steps: [{log: $secrets.token}]",
    codes.NOT_REPLACED: HEAD + "steps: [{a: {call: iam.revoke}}, {log: 'it was $a.name'}]",
    codes.BAD_TRIGGER: HEAD + "trigger: {cron: sometimes}\nsteps: [{log: x}]",
}


@pytest.mark.req("FLOW-5.codes")
@pytest.mark.parametrize("code", list(codes.CODES))
def test_every_code_is_triggered_by_a_flow(code: str) -> None:
    found = [problem for problem in problems_of(TRIGGERS[code], runnable=True) if problem.code == code]
    assert found, [str(problem) for problem in problems_of(TRIGGERS[code], runnable=True)]
    assert all(problem.message for problem in found)
    assert found[0].severity == codes.CODES[code].severity or code == codes.UNBOUND


@pytest.mark.req("FLOW-5.codes")
def test_every_code_that_is_raised_is_in_the_table() -> None:
    raised = {code for text in TRIGGERS.values() for code in codes_of(text, runnable=True)}
    assert raised == set(codes.CODES)


@pytest.mark.req("FLOW-5.codes")
def test_the_published_page_is_the_tables() -> None:
    page = Path(__file__).parents[3] / "docs" / "errors.md"
    assert page.read_text(encoding="utf-8") == errors_page.page(), (
        "print it again: python -m segue.flow.errors_page > docs/errors.md"
    )


def test_codes_are_well_formed_and_unique() -> None:
    assert all(code.code == name and len(name) == 6 for name, code in codes.CODES.items())
    assert len({code.title for code in codes.CODES.values()}) == len(codes.CODES)
