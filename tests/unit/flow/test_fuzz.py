"""Whatever the text or value is, reading and checking end in a flow or problems, never in another exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.flow.kit import CATALOGUE
from tests.unit.flow.mutations import SECONDS_MAX, examine, try_one
from tests.unit.flow.test_check import LANGUAGE_EXAMPLE, VISIBLE
from tests.unit.flow.test_codes import TRIGGERS
from tests.unit.flow.test_graph_form import REMOTE_WEBHOOK
from tests.unit.flow.test_yaml_source import TEMPLATES

from segue.errors import InvalidFlowError
from segue.flow import check_flow, load_flow, read_document, read_flow
from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS

EDITS = 200
VALUES_TRIED = 400
SEEDS = [LANGUAGE_EXAMPLE, VISIBLE, TEMPLATES, *(text for text in TRIGGERS.values() if len(text) < 2_000)]
PIECES = [
    "{{", "}}", "$", "[", "]", "{", "}", ": ", "- ", "\n", "  ", "'", '"', "|", ">", "&a ", "*a", "!!str ", "#", "---",
    "\t", "\x00", "﻿", "é", "🎉", "0x", "1e999", "null", "~", "$a.b", "{{ a }}", "99999999999999999999", "<<: ",
    *VERBS, "then", "else", "do", "cases", "definitions",
]  # fmt: skip


@pytest.mark.req("FLOW-5.schema")
@given(st.binary(max_size=200))
def test_random_bytes(raw: bytes) -> None:
    examine(read_flow(raw))


@given(st.text(max_size=200))
def test_random_text(text: str) -> None:
    examine(read_flow(text))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[end:]
    return text


@given(mutated())
@settings(max_examples=examples(EDITS))
@example("flow: x\nsteps:\n  - a: {{ b }}: c")
@example("steps: [{foreach: , do: [x]}]")
@example("steps: [{if: null, then: null}]")
def test_flows_with_random_edits(text: str) -> None:
    examine(read_flow(text))


WORDS = st.sampled_from(
    [
        *VERBS,
        *MODIFIERS,
        *FLOW_KEYS,
        "then",
        "else",
        "elif",
        "cases",
        "do",
        "catch",
        "items",
        "callback",
        "from",
        "to",
        "mappings",
        "id",
        "type",
        "data",
        "config",
        "source",
        "target",
        "sourceHandle",
        "deps",
        "condition",
        "thenTasks",
        "taskTemplate",
        "inputData",
        "agent_type",
        "position",
        "parentId",
        "branches",
        "match",
        *REMOTE_WEBHOOK,
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.sampled_from(
        [
            "a",
            "b",
            "$a",
            "$a.b",
            "{{ a }}",
            "{{",
            "a ==",
            "3s",
            "http",
            "Condition",
            "ErrorBoundary",
            "foreach",
            "start",
            "a.b",
            "",
        ]
    ),
    st.text(max_size=8),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(WORDS | st.sampled_from("ab"), inner, max_size=5)
    ),
    max_leaves=25,
)
NODES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcd"),
            "type": st.sampled_from(["start", "http", "Condition", "ErrorBoundary", "foreach", "repeat", "log", "x.y"]),
        },
        optional={"data": VALUES, "parentId": st.sampled_from("abcd"), "dependencies": VALUES, "deps": VALUES},
    ),
    max_size=5,
)
EDGES = st.lists(st.fixed_dictionaries({"source": st.sampled_from("abcd"), "target": st.sampled_from("abcd")}, optional={"sourceHandle": st.sampled_from(["body", "error", "done", "then", "else", "x"]), "data": VALUES}), max_size=8)  # noqa: E501  # fmt: skip


@given(
    st.one_of(
        VALUES,
        st.fixed_dictionaries(
            {"steps": st.lists(VALUES, max_size=4)},
            optional={
                "definitions": VALUES,
                "inputs": VALUES,
                "trigger": VALUES,
                "secrets": VALUES,
                "on_error": VALUES,
            },
        ),
        st.fixed_dictionaries({"nodes": NODES, "edges": EDGES}),
        st.fixed_dictionaries(
            {
                "definition": st.fixed_dictionaries(
                    {"tasks": st.lists(st.dictionaries(WORDS, VALUES, max_size=6), max_size=4)}
                )
            }
        ),
        st.fixed_dictionaries(
            {
                "definition": st.fixed_dictionaries(
                    {"steps": st.lists(st.fixed_dictionaries({"type": LEAVES, "config": VALUES}), max_size=3)}
                )
            }
        ),
        st.fixed_dictionaries({"dag": st.fixed_dictionaries({"nodes": NODES})}),
    )
)
@settings(max_examples=examples(VALUES_TRIED))
def test_parsed_values_of_every_form(value: Any) -> None:
    examine(read_document(value))


@given(VALUES)
def test_json_text_and_parsed_json_read_the_same(value: Any) -> None:
    text = json.dumps({"flow": "x", "steps": [value]})
    from_text, parsed = read_flow(text), read_document(json.loads(text))
    assert {problem.code for problem in from_text.problems} == {problem.code for problem in parsed.problems}


@given(mutated())
@example("flow: x\nsteps:\n  '': {log: hi}\n")
@example("flow: x\nsteps:\n  - '': {log: hi}\n")
@example("flow: x\nsteps:\n  - p: {parallel: {branches: {'': [{'1 x': {log: x}}], b: [{log: y}]}}}\n")
def test_loading_gives_a_flow_or_invalid_flow(text: str) -> None:
    has_errors = False
    try:
        flow = load_flow(text, CATALOGUE)
        problems = check_flow(flow, CATALOGUE, runnable=True)
    except InvalidFlowError as error:
        has_errors, problems = True, list(error.problems)
    assert any(problem.severity == "error" for problem in problems) == has_errors


@pytest.mark.req("FLOW-5.bounded", "FLOW-4.refused")
@pytest.mark.parametrize("part", range(8))
def test_mutated_flows_end_in_a_flow_or_errors_and_edits_of_them_in_a_text_or_a_reason(part: int) -> None:
    count = examples(20)
    for number in range(part * count, (part + 1) * count):
        try:
            seconds = try_one(number)
        except Exception as error:
            raise AssertionError(f"mutated_source({number})") from error
        assert seconds < SECONDS_MAX, f"mutated_source({number})"
