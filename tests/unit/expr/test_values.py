"""Values of parameters: references, computations and text in nested JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.expr.support import FixedImpure, refusal

from segue.expr import (
    Budget,
    BudgetExceeded,
    ExprEvalError,
    ExprSyntaxError,
    MappingScope,
    Timestamp,
    compile_value,
)

NAMES: dict[str, object] = {
    "x": {"name": "Ada", "n": 3, "f": 2.0, "list": [1, {"k": "v"}], "none": None, "a b": 7, "yes": True},
    "at": Timestamp(0),
}


def value(raw: object, impure: FixedImpure | None = None) -> Any:
    return compile_value(raw).evaluate(MappingScope(NAMES), impure)


@pytest.mark.req("EXEC-8.expressions")
@pytest.mark.parametrize(
    ("raw", "result"),
    [
        ("$x.n", 3),
        ("$x", NAMES["x"]),
        ("$x.list[1].k", "v"),
        ('$x["a b"]', 7),
        ("$x['a b']", 7),
        ("$x.missing.deeper", None),
        ("{{ $x.n }}", 3),
        ("{{x.n + 1}}", 4),
        ("${{ x.n * 2 }}", 6),
        ("{{ $x.list }}\n", [1, {"k": "v"}]),
        ('{{ {"a": {"b": 1}} }}', {"a": {"b": 1}}),
        ('{{{"a":{"b":1}}}}', {"a": {"b": 1}}),
        ("{{ '}}' }}", "}}"),
    ],
)
def test_a_reference_or_a_computation_alone_keeps_its_type(raw: str, result: object) -> None:
    assert value(raw) == result


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        ("Hello {{ $x.name }}!", "Hello Ada!"),
        ("{{ x.name }}{{ x.n }}", "Ada3"),
        ("f={{ $x.f }} half={{ $x.f / 4 }}", "f=2 half=0.5"),
        ("{{ 1500000.0 }} {{ 1e300 }}", "1500000 1e+300"),
        ("big: {{ 9223372036854775807 }}", "big: 9223372036854775807"),
        ("l={{ $x.list }}", 'l=[1,{"k":"v"}]'),
        ("m={{ {'ä': [1.5, 2.0, null]} }}", 'm={"ä":[1.5,2.0,null]}'),
        ("n=[{{ $x.none }}]", "n=[]"),
        ("b={{ $x.yes }}", "b=true"),
        ("t={{ $at }} {{ duration('90s') }}", "t=1970-01-01T00:00:00Z 90s"),
        (" {{ $x.n }}", " 3"),
        ("{{ $x.n }}\n\n", "3\n\n"),
        ('{{ "{{" }} x {{ "}}" }}', "{{ x }}"),
        ("costs $${{ $x.n }}", "costs $3"),
        ("$${{ $x.n }}", "$3"),
        ("a ${{ $x.n }}", "a 3"),
    ],
)
def test_a_computation_inside_of_text_becomes_text(raw: str, result: str) -> None:
    assert value(raw) == result


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        ("$5 off", "$5 off"),
        ("$", "$"),
        ("$$", "$"),
        ("$$x.name", "$x.name"),
        ("$$$$", "$$"),
        ("Dear $x.name", "Dear $x.name"),
        ("$x.name!", "$x.name!"),
        ("$x.name.upper()", "$x.name.upper()"),
        ("$.items[0]", "$.items[0]"),
        ("$x\n", "$x\n"),
        ("} }} {", "} }} {"),
        ("", ""),
        (5, 5),
        (None, None),
        (True, True),
        (1.5, 1.5),
        ({"a": [1, "b", {}]}, {"a": [1, "b", {}]}),
    ],
)
def test_everything_else_is_a_constant(raw: object, result: object) -> None:
    compiled = compile_value(raw)

    assert compiled.is_constant
    assert compiled.references == ()
    assert compiled.evaluate(MappingScope({})) == result


def test_a_constant_is_given_back_as_it_is() -> None:
    raw = {"a": [1, "b", {"c": None}]}

    assert compile_value(raw).evaluate(MappingScope({})) is raw


def test_only_what_computes_is_made_anew() -> None:
    raw: dict[str, Any] = {"constant": {"deep": [1]}, "list": ["$x.n", {"k": "{{ 1 + 1 }}"}], "$x.n": "keys are text"}
    result = value(raw)

    assert result == {"constant": {"deep": [1]}, "list": [3, {"k": 2}], "$x.n": "keys are text"}
    assert result["constant"] is raw["constant"]
    assert raw["list"] == ["$x.n", {"k": "{{ 1 + 1 }}"}]
    assert value(raw) is not result


def test_references_carry_the_path_of_their_scalar() -> None:
    compiled = compile_value({"a": ["$x.n", "hi {{ $y.z | upper }}"], "b": "text"})

    assert [(one.text, one.at, one.start, one.end) for one in compiled.references] == [
        ("$x.n", ("a", 0), 0, 4),
        ("$y.z", ("a", 1), 6, 10),
    ]
    assert not compiled.is_constant


@pytest.mark.req("BAR-17.placeholders")
def test_of_an_expression_that_reads_a_hidden_name_nothing_is_computed() -> None:
    raw = {
        "whole": "$secrets.token", "all": "$secrets", "size": "{{ size(secrets.token) }}", "block": "{{ secrets.x }}\n",
        "list": ["{{ [1, 2].map(n, string(n) + secrets.token) }}", "$n"], "text": "Bearer {{ secrets.token }} {{ n }}",
        "said": "secrets.token", "own": "{{ [1].map(secrets, secrets + 1) }}",
    }  # fmt: skip
    value = compile_value(raw, placeholders={"secrets": "***"})
    assert value.evaluate(MappingScope({"n": 3})) == {
        "whole": "***", "all": "***", "size": "***", "block": "***", "list": ["***", 3], "text": "Bearer *** 3",
        "said": "secrets.token", "own": [2],
    }  # fmt: skip
    assert {reference.root for reference in value.references} == {"n"}
    assert compile_value("$secrets.token", placeholders={"secrets": "***"}).is_constant


@pytest.mark.req("FLOW-5.expressions")
@pytest.mark.parametrize(
    ("raw", "code", "path", "start"),
    [
        ({"a": ["ok", "x {{ 1 + }}"]}, "EXP006", ("a", 1), 9),
        ({"a": {"b": "{{ uper(1) }}"}}, "EXP007", ("a", "b"), 3),
        (["{{ 'open }}"], "EXP002", (0,), 3),
        ("a {{ b", "EXP011", (), 2),
        ("{{ }}", "EXP006", (), 0),
    ],
)
def test_a_mistake_is_found_by_compiling_and_has_path_and_offset(
    raw: object, code: str, path: tuple[str | int, ...], start: int
) -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        compile_value(raw)

    assert (caught.value.code, caught.value.path, caught.value.start) == (code, path, start)


def test_an_error_of_the_evaluation_has_path_and_offset_too() -> None:
    with pytest.raises(ExprEvalError) as caught:
        value({"a": [1, "sum: {{ $x.name + 1 }}"]})

    assert (caught.value.code, caught.value.path, caught.value.start) == ("EXP102", ("a", 1), 8)


def test_impure_functions_are_stated_and_come_from_the_provider(impure: FixedImpure) -> None:
    compiled = compile_value({"a": "{{ uuid() }}", "b": ["at {{ now() }}"]})

    assert compiled.impure == {"uuid", "now"}
    assert compiled.evaluate(MappingScope({}), impure) == {
        "a": "0190f5a0-7c1e-7aaa-8000-0123456789ab",
        "b": ["at 2025-01-31T09:30:00Z"],
    }


def test_a_text_made_of_parts_stays_within_the_budget() -> None:
    compiled = compile_value("{{ $x }}" * 4, budget=Budget(output_bytes=1000))

    assert compiled.evaluate(MappingScope({"x": "a" * 250})) == "a" * 1000
    with pytest.raises(BudgetExceeded) as caught:
        compiled.evaluate(MappingScope({"x": "a" * 251}))
    assert caught.value.code == "EXP203"


def test_a_value_that_nests_without_end_is_refused() -> None:
    raw: list[object] = []
    for _ in range(5_000):
        raw = [raw]

    with pytest.raises(BudgetExceeded):
        compile_value(raw)


@given(st.text())
def test_dollars_and_braces_can_always_be_written(text: str) -> None:
    escaped = text.replace("$", "$$").replace("{{", '{{ "{{" }}')

    assert value(escaped) == text


@given(st.text(alphabet="${}x.[0]\"' |a(\\\n"))
def test_any_text_is_a_value_or_an_error_with_its_place(text: str) -> None:
    failure = refusal(lambda: value(text))

    assert failure is None or 0 <= failure.start <= failure.end <= len(text) + 1
