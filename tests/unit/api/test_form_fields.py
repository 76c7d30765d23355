"""Forms out of JSON Schemas: each kind of field, and the value that it says."""

from __future__ import annotations

from typing import Any

import pytest

from segue.api.form_fields import fields_of, value_of

TYPES: dict[str, tuple[dict[str, Any], str, list[str], Any]] = {
    "text": ({"type": "string"}, "text", ["a\r\nb"], "a\nb"),
    "long text": ({"type": "string", "maxLength": 2000}, "textarea", ["x"], "x"),
    "e-mail": ({"type": "string", "format": "email"}, "email", ["a@b.c"], "a@b.c"),
    "number": ({"type": "number"}, "number", ["1.5"], 1.5),
    "whole number": ({"type": "integer"}, "integer", ["7"], 7),
    "no number": ({"type": "integer"}, "integer", ["seven"], "seven"),
    "endless number": ({"type": "number"}, "number", ["inf"], "inf"),
    "ticked": ({"type": "boolean"}, "checkbox", ["true"], True),
    "not ticked": ({"type": "boolean"}, "checkbox", [], False),
    "choice": ({"enum": ["1", 1, None]}, "select", ["1"], 1),
    "several": ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, "several", ["0", "2"], ["a", "c"]),
    "lines": ({"type": "array", "items": {"type": "string"}}, "lines", [" a \r\n\r\nb"], ["a", "b"]),
    "date": ({"type": "string", "format": "date"}, "date", ["2030-01-31"], "2030-01-31"),
    "moment": ({"type": "string", "format": "date-time"}, "datetime", ["2030-01-31T09:00"], "2030-01-31T09:00:00Z"),
    "moment with seconds": (
        {"type": "string", "format": "date-time"}, "datetime", ["2030-01-31T09:00:30"], "2030-01-31T09:00:30Z",
    ),
    "anything": ({}, "json", ['{"a": [1]}'], {"a": [1]}),
    "anything as text": ({}, "json", ["hello"], "hello"),
    "or null": ({"type": ["null", "integer"]}, "integer", ["3"], 3),
}  # fmt: skip


@pytest.mark.req("CALL-3.form")
@pytest.mark.parametrize("name", TYPES)
def test_each_type_has_its_field_and_its_value(name: str) -> None:
    schema, kind, given, value = TYPES[name]
    fields = fields_of({"type": "object", "properties": {"x": schema}})
    assert fields is not None
    assert [one.kind for one in fields] == [kind]
    assert value_of(fields, {"x": given}) == {"x": value}


@pytest.mark.req("CALL-3.form")
def test_groups_references_and_names_with_dots_keep_their_place() -> None:
    schema: Any = {
        "type": "object",
        "required": ["home"],
        "properties": {
            "home": {"$ref": "#/$defs/address"},
            "a.b": {"type": "string", "title": "Dotted"},
            "work": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
        "$defs": {"address": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    fields = fields_of(schema)
    assert fields is not None
    assert [leaf.name for one in fields for leaf in one.leaves()] == ["home.city", "a.b", "work.city"]
    assert value_of(fields, {"home.city": ["Paris"], "a.b": ["x"], "work.city": [" "]}) == {
        "home": {"city": "Paris"}, "a.b": "x",
    }  # fmt: skip


@pytest.mark.parametrize("schema", [None, {"type": "string"}, {"$ref": "#/nowhere"}, {"$ref": "#"}])
def test_what_is_no_object_has_no_fields(schema: Any) -> None:
    assert fields_of(schema) is None


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema: Any = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}
    schema["$defs"] = {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}
    fields = fields_of(schema)
    assert fields is not None
    assert len([leaf for one in fields for leaf in one.leaves()]) == 1
