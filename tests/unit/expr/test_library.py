"""Every function of the library: its own example, its types, and the edges that an example does not show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.expr.support import FixedImpure, refusal

from segue.expr import (
    CODES,
    Budget,
    ExprEvalError,
    FunctionDoc,
    MappingScope,
    Timestamp,
    compile_expression,
    functions,
    to_json,
)
from segue.expr.library import FUNCTIONS


def value(source: str, impure: FixedImpure | None = None, **names: object) -> Any:
    return to_json(compile_expression(source).evaluate(MappingScope(names), impure))


def error(source: str, **names: object) -> str:
    with pytest.raises(ExprEvalError) as caught:
        compile_expression(source).evaluate(MappingScope(names))
    return caught.value.code


@pytest.mark.req("EXEC-8.expressions")
@pytest.mark.parametrize("about", functions(), ids=lambda about: about.name)
def test_the_example_of_a_function_gives_what_its_documentation_says(about: FunctionDoc, impure: FixedImpure) -> None:
    result = value(about.example, impure)

    assert result == about.result
    assert type(result) is type(about.result)
    assert about.name.rpartition(".")[2] in about.example or about.doc.startswith("The same as")


@pytest.mark.parametrize("about", functions(), ids=lambda about: about.name)
def test_the_documentation_of_a_function_is_whole(about: FunctionDoc) -> None:
    assert about.signature.startswith(about.name + "(")
    assert about.doc.endswith(".")
    assert about.impure == (about.name in {"now", "uuid", "random"})


def test_names_are_unique_over_all_groups() -> None:
    names = [about.name for about in functions()]

    assert len(names) == len(set(names)) >= 60


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "%", "\\", "a{9}", "(", "2025-01-31T09:30:00Z", "1h", "UTC", "a.b", "\ud800", "é" * 40])
    | st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
SPECIAL = st.sampled_from(["b'\\xff\\x00'", "7u", "timestamp(0)", "duration('-1.5s')", "type(1)", "{true: 1, 2: 3}"])


@pytest.mark.req("ACC-7.expressions")
@given(data=st.data())
def test_no_arguments_make_a_function_fail_in_a_way_that_is_not_typed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FUNCTIONS)))
    function = FUNCTIONS[name]
    count = data.draw(st.integers(function.required, len(function.params) + 2 * function.variadic))
    arguments = [data.draw(SPECIAL | st.just(f"$x{position}")) for position in range(count)]
    names = {f"x{position}": data.draw(JSON) for position in range(count)}
    source = f"{name}({', '.join(arguments)})"
    if name in ("and", "in", "not", "or"):  # a word of the language is a function behind a dot only
        source = f"({arguments[0]}).{name}({', '.join(arguments[1:])})"
    program = compile_expression(source, budget=Budget(nodes=5_000, output_bytes=20_000))

    failure = refusal(lambda: to_json(program.evaluate(MappingScope(names), FixedImpure())))

    assert failure is None or failure.code in CODES


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("'a,b,c,d'.split(',', 2)", ["a", "b,c,d"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("''.split(',')", [""]),
        ("'a,b'.split(',', 0)", []),
        ("'ab'.replace('', '-')", "-a-b-"),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("'hello'.indexOf('l', 3)", 3),
        ("[1, 2.0, '2'].indexOf(2)", 1),
        ("'hello'.lastIndexOf('l', 2)", 2),
        ("'abc'.slice(-2)", "bc"),
        ("[1, 2, 3] | slice(1, 99)", [2, 3]),
        ("'x'.padStart(1)", "x"),
        ("'long text'.truncate(4, '...')", "l..."),
        ("'a b'.urlEncode().urlDecode()", "a b"),
        (
            "'%d%% of %s, %x, %X, %o, %b, %e'.format([5, [1, 2], 255, 'hi', 8, true, 12.5])",
            "5% of [1, 2], ff, 6869, 10, 1, 1.250000e+01",
        ),
        ("'%.2f'.format([2])", "2.00"),
    ],
)
def test_edges_of_text_functions(source: str, result: object) -> None:
    assert value(source) == result


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("['b', 'a'] | sort", ["a", "b"]),
        ("[2, 1.5, 1] | sort", [1, 1.5, 2]),
        ("[true, false] | sort", [False, True]),
        ("[duration('2s'), duration('1s')] | sort", ["1s", "2s"]),
        ("[{'a': {'b': 2}}, {'a': {'b': 1}}] | sortBy('a.b') | pluck('a.b')", [1, 2]),
        ("[1, true, '1', 1.0, [1], [1.0], {'a': 1}, {'a': 1}] | unique", [1, True, "1", [1], {"a": 1}]),
        ("[[1], [[2]]] | flatten", [1, [2]]),
        ("[] | sum", 0),
        ("[1, 2.5] | sum", 3.5),
        ("[duration('1s'), duration('2s')] | sum", "3s"),
        ("[] | avg", None),
        ("[] | max", None),
        ("['b', 'a'] | min", "a"),
        ("range(3)", [0, 1, 2]),
        ("range(3, 0, -1)", [3, 2, 1]),
        ("range(-1)", []),
        ("[{'k': 1}, {}] | groupBy('k') | keys", ["1", ""]),
        (
            "{'a': {'x': 1}, 'b': 1} | deepMerge({'a': {'x': 2, 'y': 3}, 'b': {'z': 1}})",
            {"a": {"x": 2, "y": 3}, "b": {"z": 1}},
        ),
        ("{'a': [{'b': 5}]} | get('a.0.b')", 5),
        ("{true: 'x', 1: 'y'} | entries | pluck('key')", [True, 1]),
        ("{true: 'x', 1: 'y'} | pick(true)", {"true": "x"}),
    ],
)
def test_edges_of_list_and_map_functions(source: str, result: object) -> None:
    assert value(source) == result


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("[1, 'a'] | sort", "EXP102"),
        ("[null] | max", "EXP102"),
        ("['a', 'b'] | sum", "EXP102"),
        ("[9223372036854775807, 1] | sum", "EXP104"),
        ("'abc'.substring(2, 1)", "EXP106"),
        ("'abc'.charAt(4)", "EXP106"),
        ("{'a': 1} | get('a.b.c', 'none')", "EXP108"),
        ("range(1, 2, 0)", "EXP106"),
        ("[1] | chunk(0)", "EXP106"),
        ("upper(5)", "EXP103"),
        ("upper(null)", "EXP103"),
        ("'a'.find('(')", "EXP110"),
        ("'a'.find('(?=a)')", "EXP110"),
        ("parseJson('{')", "EXP106"),
        ("parseJson('NaN')", "EXP106"),
        ("base64Decode('***')", "EXP106"),
        ("hmac('a', 'b', 'crc32')", "EXP106"),
        ("date('yesterday')", "EXP106"),
        ("date('2025-01-31T00:00:00Z', 'Mars/Olympus')", "EXP112"),
        ("startOf('2025-01-31T00:00:00Z', 'fortnight')", "EXP106"),
        ("'%d'.format(['x'])", "EXP103"),
        ("'%s'.format([])", "EXP106"),
        ("pow(2, 63)", "EXP104"),
        ("abs(-9223372036854775807 - 1)", "EXP104"),
        ("round(1e300)", "EXP104"),
        ("uuid()", "EXP107"),
    ],
)
def test_what_a_function_does_not_take_is_an_error_with_its_code(source: str, code: str) -> None:
    assert error(source) == code


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(2.675, 2)", 2.68),
        ("round(1234.5, -2)", 1200.0),
        ("round(0.49999999999999994)", 0),
        ("floor(7)", 7),
        ("ceil(-0.5)", 0),
        ("pow(2, -1)", 0.5),
        ("pow(-1, 9223372036854775807)", -1),
        ("math.greatest([1, 2.5])", 2.5),
        ("sign(-0.5)", -1.0),
    ],
)
def test_numbers_are_rounded_as_people_round(source: str, result: object) -> None:
    assert value(source) == result
    assert type(value(source)) is type(result)


@pytest.mark.parametrize(
    ("pattern", "result"),
    [
        ("%Y-%m-%d %H:%M:%S", "2025-01-31 10:30:15"),
        ("%A, %e %B %Y, %I:%M %p", "Friday, 31 January 2025, 10:30 AM"),
        ("%a %b %y day %j week %V %z %L %f %%", "Fri Jan 25 day 031 week 05 +0100 250 250000 %"),
    ],
)
def test_times_are_written_in_a_pattern_and_a_zone(pattern: str, result: str) -> None:
    assert value("format($at, $pattern, 'Europe/Berlin')", at="2025-01-31T09:30:15.250Z", pattern=pattern) == result


def test_times_are_read_by_a_pattern_with_an_offset_or_in_a_zone() -> None:
    assert value("parseTime('31 Jan 2025 09:30:05 PM +0200', '%d %b %Y %I:%M:%S %p %z')") == "2025-01-31T19:30:05Z"
    assert value("parseTime('2025-07-01', '%F', 'America/New_York')") == "2025-07-01T04:00:00Z"
    assert error("parseTime('x', '%Y')") == "EXP106"
    assert error("parseTime('2025 2025', '%Y %Y')") == "EXP106"
    assert error("parseTime('2025-02-30', '%F')") == "EXP112"


@pytest.mark.parametrize(
    ("unit", "result"),
    [
        ("year", "2024-12-31T23:00:00Z"),
        ("month", "2025-02-28T23:00:00Z"),
        ("week", "2025-03-23T23:00:00Z"),
        ("day", "2025-03-29T23:00:00Z"),
        ("hour", "2025-03-30T10:00:00Z"),
        ("second", "2025-03-30T10:30:15Z"),
    ],
)
def test_the_start_of_a_unit_heeds_the_zone_on_the_day_that_clocks_change(unit: str, result: str) -> None:
    assert value("startOf($at, $unit, 'Europe/Berlin')", at="2025-03-30T10:30:15.5Z", unit=unit) == result


def test_groups_of_a_pattern_are_put_into_the_replacement() -> None:
    assert value(r"regexReplace('é1é2', '([0-9])', r'<\1>')") == "é<1>é<2>"
    assert value(r"regexReplace('ab', '', '-')") == "-a-b-"
    assert error(r"regexReplace('ab', 'a', r'\1')") == "EXP106"


@pytest.mark.parametrize("call", ["trim($x.name)", "$x.name.trim()", "$x.name | trim", "$x.name | trim()"])
def test_a_function_is_called_in_every_style(call: str) -> None:
    assert value(call, x={"name": " ada "}) == "ada"


def test_impure_functions_come_from_the_provider_and_are_stated_before(impure: FixedImpure) -> None:
    program = compile_expression("[string(now()), uuid(), random()]")

    assert program.impure == {"now", "uuid", "random"}
    assert program.evaluate(MappingScope({}), impure) == [
        "2025-01-31T09:30:00Z",
        "0190f5a0-7c1e-7aaa-8000-0123456789ab",
        0.25,
    ]
    assert impure.asked == ["now", "uuid", "random"]
    assert compile_expression("now() + duration('1s')").evaluate(MappingScope({}), impure) == Timestamp(
        1738315801 * 10**9
    )
    assert compile_expression("1 + 1").impure == frozenset()
