"""Declared inputs become one JSON Schema; a run's inputs are filled, checked, and typed from a command line."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.flow.kit import codes_of, one, read_well

from segue.errors import InvalidInputError
from segue.flow import Flow, parse_cli_value, resolve_inputs
from segue.flow.inputs import check_value
from segue.flow.model import JsonValue
from segue.flow.schemas import validator


def declared(inputs: str) -> Flow:
    return read_well(f"flow: x\ninputs: {inputs}\nsteps: [{{log: x}}]")


@pytest.mark.req("FLOW-12.schema")
@pytest.mark.parametrize(
    ("written", "properties", "required"),
    [
        ("{a: string}", {"a": {"type": "string"}}, ["a"]),
        ("{a: {type: string, format: email}}", {"a": {"type": "string", "format": "email"}}, ["a"]),
        ("{a: {type: number, default: 3}}", {"a": {"type": "number", "default": 3}}, None),
        ("{a: integer?}", {"a": {"type": "integer"}}, None),
        ("{a: 'string[]'}", {"a": {"type": "array", "items": {"type": "string"}}}, ["a"]),
        (
            "{a: email, b: datetime}",
            {"a": {"type": "string", "format": "email"}, "b": {"type": "string", "format": "date-time"}},
            ["a", "b"],
        ),
        ("{a: [x, y]}", {"a": {"enum": ["x", "y"]}}, ["a"]),
        ("{a: {type: string, required: false}}", {"a": {"type": "string"}}, None),
        ("{a: null}", {"a": {}}, ["a"]),
        ("[a, b]", {"a": {}, "b": {}}, ["a", "b"]),
    ],
)
def test_the_shorthand_is_one_json_schema(written: str, properties: dict[str, Any], required: list[str] | None) -> None:
    schema = declared(written).inputs
    assert schema == {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


@pytest.mark.req("FLOW-12.schema")
def test_a_full_schema_is_taken_as_it_is() -> None:
    schema = declared("{type: object, properties: {a: {type: string}}, minProperties: 1}").inputs
    assert schema == {"type": "object", "properties": {"a": {"type": "string"}}, "minProperties": 1}


def test_schemas_that_are_none_are_refused_with_a_suggestion() -> None:
    problem = one("flow: x\ninputs: {a: strng}\nsteps: [{log: x}]", "FLW043")
    assert problem.suggestion == 'did you mean "string"?'
    assert "FLW043" in codes_of("flow: x\ninputs: {a: {type: string, minLength: -1}}\nsteps: [{log: x}]")
    assert "FLW043" in codes_of("flow: x\ninputs: {a: {pattern: '('}}\nsteps: [{log: x}]")


@pytest.mark.req("FLOW-12.validated")
def test_defaults_are_put_in_and_the_given_map_is_not_changed() -> None:
    flow = declared(
        "{a: string, n: {type: number, default: 3}, o: {type: object, default: {}, properties: {x: {default: 1}}}}"
    )
    given: dict[str, JsonValue] = {"a": "x", "o": {}}
    assert resolve_inputs(flow, given) == {"a": "x", "n": 3, "o": {"x": 1}}
    assert given == {"a": "x", "o": {}}


@pytest.mark.req("FLOW-12.validated")
def test_all_mistakes_are_named_with_path_and_nearest_name() -> None:
    flow = declared(
        "{message: string, email: email, "
        "deep: {type: object, properties: {n: {type: integer}}, additionalProperties: false}}"
    )
    with pytest.raises(InvalidInputError) as raised:
        resolve_inputs(flow, {"mesage": "x", "email": "nobody", "deep": {"n": "x", "m": 1}})
    details = dict(raised.value.details)
    assert details["message"] == "is required"
    assert details["mesage"] == 'is not declared; did you mean "message"?'
    assert "email" in details["email"]
    assert "integer" in details["deep.n"]
    assert details["deep.m"] == 'is not declared; did you mean "n"?'
    assert raised.value.message.startswith("inputs of x: 5 mistakes; the first: ")


def test_a_flow_that_declares_nothing_takes_any_object() -> None:
    flow = read_well("flow: x\nsteps: [{log: x}]")
    assert resolve_inputs(flow, {"anything": [1]}) == {"anything": [1]}


@pytest.mark.req("FLOW-12.validation")
@pytest.mark.parametrize(
    ("value", "path", "sentence"),
    [
        (2**63, "n", "9223372036854775808 does not fit 64 bits; send it as text"),
        ([{"a": -(2**63) - 1}], "n.0.a", "does not fit 64 bits"),
        (float("inf"), "n", "inf is not a finite number"),
        (object(), "n", "an object of type object is no JSON value"),
    ],
)
@pytest.mark.parametrize("inputs", ["", "inputs: {n: {}}\n"])
def test_what_no_journal_keeps_is_refused_whatever_is_declared(
    value: Any, path: str, sentence: str, inputs: str
) -> None:
    flow = read_well(f"flow: x\n{inputs}steps: [{{log: x}}]")
    with pytest.raises(InvalidInputError) as caught:
        resolve_inputs(flow, {"n": value})
    ((found, said),) = caught.value.details
    assert found == path
    assert sentence in said
    given: Any = {"n": [2**63 - 1, (1,)]}
    assert resolve_inputs(flow, given) == {"n": [2**63 - 1, (1,)]}


@pytest.mark.req("CALL-3.schema")
def test_a_choice_of_properties_is_told_by_their_names() -> None:
    schema: dict[str, Any] = {"anyOf": [{"required": ["decision"]}, {"required": ["approved"]}]}
    assert check_value(schema, {}) == [("", "needs one of these: decision, approved")]
    other: dict[str, Any] = {"anyOf": [{"type": "string"}, {"required": ["approved"]}]}
    assert "anyOf" in check_value(other, {})[0][1]


def test_validators_are_made_once() -> None:
    schema = declared("{a: string}").inputs
    assert validator(schema) is validator(schema)
    assert check_value(schema, {"a": "x"}) == []
    other = {**schema}
    assert validator(other) is not validator(schema)


@pytest.mark.req("FLOW-12.command_line")
@pytest.mark.parametrize(
    ("text", "schema", "meant"),
    [
        ("3", {"type": "string"}, "3"),
        ("3", {"type": "integer"}, 3),
        ("3.0", {"type": "integer"}, 3),
        ("3.5", {"type": "number"}, 3.5),
        ("x", {"type": "integer"}, "x"),
        ("yes", {"type": "boolean"}, True),
        ("false", {"type": "boolean"}, False),
        ("a, b", {"type": "array", "items": {"type": "string"}}, ["a", "b"]),
        ("1,2", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("", {"type": "array"}, []),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("null", {"type": ["string", "null"]}, None),
        ("NaN", {}, "NaN"),
        ("plain", {}, "plain"),
        ("12", {}, 12),
    ],
)
def test_command_line_values_are_typed_by_their_declaration(
    text: str, schema: dict[str, Any], meant: JsonValue
) -> None:
    assert parse_cli_value(text, schema) == meant
