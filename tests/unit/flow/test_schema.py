"""The published JSON Schema of flows: valid, current, and of one mind with the reader."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from tests.unit.flow.kit import problems_of
from tests.unit.flow.test_codes import TRIGGERS

from segue.flow import codes
from segue.flow.inputs_schema import _TYPES
from segue.flow.model import JsonValue
from segue.flow.schema import DIALECT, flow_schema, schema_text
from segue.flow.schema_parts import TYPE_NAMES, example_value
from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS
from segue.flow.yaml_source import read_source

ROOT = Path(__file__).parents[3]
SCHEMA = jsonschema_rs.Draft202012Validator(flow_schema())
HEAD = "flow: x\n"


def value_of(text: str) -> JsonValue:
    document, _ = read_source(text)
    assert document is not None, text
    return document.root.plain()


def mistakes(text: str) -> list[str]:
    return [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in SCHEMA.iter_errors(value_of(text))
    ]


@pytest.mark.req("FLOW-13.dialect")
def test_the_schema_is_a_schema_of_its_dialect() -> None:
    assert flow_schema()["$schema"] == DIALECT
    jsonschema_rs.meta.validate(flow_schema())


@pytest.mark.req("FLOW-13.published")
def test_the_published_file_is_current() -> None:
    published = (ROOT / "docs" / "flow.schema.json").read_text(encoding="utf-8")
    assert published == schema_text(), "write it again: make docs"
    assert json.loads(published) == flow_schema()


@pytest.mark.req("FLOW-13.complete")
def test_every_verb_modifier_and_key_is_described() -> None:
    schema = json.loads(schema_text())
    for name in FLOW_KEYS:
        assert schema["properties"][name]["description"], name
    for name in MODIFIERS:
        assert schema["$defs"]["modifiers"]["properties"][name]["description"], name
    for name, verb in VERBS.items():
        assert schema["$defs"][f"verb_{name}"]["description"].startswith(verb.doc)
        assert set(MODIFIERS) <= set(schema["$defs"][f"step_{name}"]["properties"])


@pytest.mark.req("FLOW-13.examples")
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.[yj]*[ln]")), ids=lambda path: path.name)
def test_every_example_file_is_valid(path: Path) -> None:
    assert mistakes(path.read_text(encoding="utf-8")) == []


@pytest.mark.req("FLOW-13.examples")
@pytest.mark.parametrize("name", list(VERBS))
def test_the_example_of_every_verb_is_valid_in_every_form_of_a_step(name: str) -> None:
    example = VERBS[name].example
    assert mistakes(f"{HEAD}steps:\n  - {example}") == []
    assert mistakes(f"{HEAD}steps:\n  - named:\n      {example}") == []
    assert mistakes(f"{HEAD}steps:\n  - name: named\n    {example}") == []


@pytest.mark.req("FLOW-13.examples")
@pytest.mark.parametrize(
    ("verb", "key"),
    [(verb, key) for verb in VERBS.values() for key in verb.keys if key.example],
    ids=lambda row: row.name,
)
def test_the_example_of_every_key_of_a_verb_is_valid(verb, key) -> None:
    schema = flow_schema()
    named = next(
        (one for one in alternatives(schema, f"verb_{verb.name}") if key.name in one.get("properties", {})), None
    )
    assert named is not None, f"{verb.name}.{key.name}"
    part = {**named["properties"][key.name], "$defs": schema["$defs"]}
    assert jsonschema_rs.Draft202012Validator(part).is_valid(example_value(key.example))


def alternatives(schema, name: str) -> list[dict]:
    """The maps that a verb's value may be."""
    found = [schema["$defs"][name]]
    for one in found:
        found += one.get("anyOf", [])
        found += [one[word] for word in ("then", "else") if word in one]
    return found


@pytest.mark.req("FLOW-13.examples")
@pytest.mark.parametrize(
    "key", [key for key in dict.fromkeys(MODIFIERS.values()) if key.example], ids=lambda key: key.name
)
def test_the_example_of_every_modifier_is_valid(key) -> None:
    assert mistakes(f"{HEAD}steps:\n  - log: x\n    {key.name}: {key.example}") == []
    assert mistakes(f"{HEAD}steps:\n  - a: {{log: x}}\n    {key.name}: {key.example}") == []


@pytest.mark.req("FLOW-13.examples")
@pytest.mark.parametrize(
    "key", [key for key in dict.fromkeys(FLOW_KEYS.values()) if key.example], ids=lambda key: key.name
)
def test_the_example_of_every_flow_key_is_valid(key) -> None:
    steps = "" if key.name in ("steps", "tasks", "nodes") else "steps: [a]\n"
    assert mistakes(f"{steps}{key.name}: {key.example}\n" + ("nodes: [{id: n1}]" if key.name == "edges" else "")) == []


GOOD = {
    "a name": "steps: [authenticate]",
    "an id and a name": "steps: [{step1: authenticate}]",
    "modifiers beside a keyed name": "steps: [{step1: authenticate, when: $inputs.a, retry: 3}]",
    "a verb whose keys stand beside it": "steps: [{foreach: $orders, as: order, do: [enrich]}]",
    "a call that waits for its callback": "steps: [{a: {call: x.y, wait: {callback: {expires: 1h}}}}]",
    "a call that is polled": "steps: [{a: {call: x.y, poll: {success_condition: $.done, interval: 2s}}}]",
    "branches by name": "steps: [{parallel: {mail: [send_email], text: send_sms}}]",
    "branches with settings": "steps: [{parallel: {branches: {a: [x], b: [y]}, join: 1, limit: 2}}]",
    "keys forgotten beside the name": "steps: [{charge: null, call: stripe.charge}]",
    "keys for other tools": "x-team: finance\nsteps: [{log: x, x-colour: red}]",
    "milliseconds of document A": "steps: [{a: {call: x.y, retryAttempts: 3, retryDelay: 1000}}]",
    "handlers by category": "steps: [{a: {call: x.y, on_error: [{match: [http.404], do: [b], then: retry}]}}]",
    "tasks": "tasks: [{id: t1, agent_type: m, parameters: {a: 1}}, {id: t2, agent_type: b, dependencies: [t1]}]",
    "a conditional task": "tasks: [{id: c, condition: vars.x, thenTasks: [a]}, {id: a, agent_type: m}]",
    "an early end": "steps: [{if: $inputs.a, then: stop, else: [return]}]",
}  # fmt: skip


@pytest.mark.req("FLOW-13.valid")
@pytest.mark.parametrize("name", list(GOOD))
def test_the_ways_to_write_a_flow_are_valid(name: str) -> None:
    text = HEAD + GOOD[name]
    assert mistakes(text) == []
    refused = {"FLW010", "FLW011", "FLW015", "FLW016", "FLW017", "FLW018", "FLW019"}
    assert not {problem.code for problem in problems_of(text)} & refused, "the reader must take it too"


BAD = {
    "an unknown flow key": "stesp: []\nsteps: [a]",
    "an unknown key of a step": "steps: [{log: x, wehn: true}]",
    "an unknown key in a named step": "steps: [{a: {log: x, wehn: true}}]",
    "an unknown key of a verb": "steps: [{foreach: {items: $x, d: [a]}}]",
    "an unknown key of retry": "steps: [{a: {call: x.y, retry: {atempts: 3}}}]",
    "an unknown key of a request": "steps: [{http: {url: 'https://x', heders: {}}}]",
    "two verbs": "steps: [{a: {log: x, set: {b: 1}}}]",
    "no verb": "steps: [{retry: 3}]",
    "a verb without its value": "steps: [parallel]",
    "a duration without a unit": "steps: [{a: {log: x, timeout: 30}}]",
    "text that is no duration": "steps: [{wait: soon}]",
    "a word that is not allowed": "steps: [{a: {log: x, on_timeout: explode}}]",
    "a flag that is text": "steps: [{a: {log: x, disabled: no}}]",
    "no tries": "steps: [{a: {call: x.y, retry: 0}}]",
    "a request without an address": "steps: [{http: {method: GET}}]",
    "a condition without branches": "steps: [{conditional: {if: true}}]",
    "no branches": "steps: [{parallel: []}]",
    "no steps": "title: y",
    "steps that are no list": "steps: 3",
    "a type that does not exist": "inputs: {a: strnig}\nsteps: [a]",
    "a strategy that does not exist": "strategy: fastest\nsteps: [a]",
    "a version that is none": "version: newest\nsteps: [a]",
    "another language version": "dsl: 2\nsteps: [a]",
    "a plain secret": "secrets: {token: hunter2}\nsteps: [a]",
    "a trigger that is none": "trigger: {sometimes: true}\nsteps: [a]",
    "a mapping without a target": "steps: [{map: {mappings: [{from: input.a}]}}]",
    "a task without a name": "tasks: [{agent_type: mail}]",
}


@pytest.mark.req("FLOW-13.wrong")
@pytest.mark.parametrize("name", list(BAD))
def test_a_wrong_flow_is_not_valid(name: str) -> None:
    text = HEAD + BAD[name]
    assert mistakes(text) != []
    assert any(problem.severity == "error" for problem in problems_of(text)), "the reader must refuse it too"


SHAPE_CODES = (
    codes.UNKNOWN_KEY, codes.MISSING_KEY, codes.WRONG_TYPE, codes.NOT_ALLOWED, codes.TWO_VERBS, codes.NO_VERB,
    codes.BARE_NUMBER, codes.BAD_DURATION, codes.NO_STEPS, codes.BAD_SCHEMA, codes.EMPTY_BLOCK,
)  # fmt: skip


@pytest.mark.req("FLOW-13.wrong")
@pytest.mark.parametrize("code", SHAPE_CODES)
def test_what_the_checker_says_of_a_flows_shape_the_schema_says_too(code: str) -> None:
    assert mistakes(TRIGGERS[code]) != []


def test_the_type_names_are_the_readers() -> None:
    assert set(TYPE_NAMES) == set(_TYPES)
