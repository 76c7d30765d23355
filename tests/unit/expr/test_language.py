"""Syntax, meaning and errors of expressions: what CEL leaves open, and what our four deviations add."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from segue.expr import (
    CODES,
    Duration,
    ExprError,
    ExprEvalError,
    ExprSyntaxError,
    MappingScope,
    Timestamp,
    Uint,
    UnknownName,
    compile_expression,
    evaluate_case,
    to_json,
)


def value(source: str, **names: object) -> Any:
    return compile_expression(source).evaluate(MappingScope(names))


def failure(source: str, **names: object) -> ExprError:
    with pytest.raises(ExprError) as caught:
        value(source, **names)
    return caught.value


# Deviation 1: int and double mix


@pytest.mark.req("FLOW-5.expressions")
@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$total * 1.5", 15.0),
        ("10 / 4.0", 2.5),
        ("7u + 0.5", 7.5),
        ("1 - 0.5", 0.5),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
    ],
)
def test_int_with_double_computes_as_double_and_int_with_int_truncates(source: str, result: object) -> None:
    found = value(source, total=10)

    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    "source", ["1u + 1", "5.5 % 2", "'1' + 1", "null + 1", "true + true", "[1] * 2", "-'a'", "-1u"]
)
def test_other_types_do_not_mix(source: str) -> None:
    assert failure(source).code == "EXP102"


@pytest.mark.parametrize(
    "source", ["9223372036854775807 + 1", "-9223372036854775808 - 1", "5000000000 * 5000000000", "-($n)", "0u - 1u"]
)
def test_an_overflow_is_an_error(source: str) -> None:
    assert failure(source, n=-(2**63)).code == "EXP104"


# Deviation 2: null


@pytest.mark.parametrize(
    "source",
    ["$x.missing", "$x.missing.deeper[0].still", "$x['no']", "$list[9]", "$list[-1]", "$x[null]", "null.a", "null[0]",
     "$x.missing.upper()", "$x.missing | trim | upper", "$x.missing.map(i, i)", "$x.none.all(i, i)", "{1: 2}[1.5]"],
)  # fmt: skip
def test_what_is_missing_is_null_and_null_propagates(source: str) -> None:
    assert value(source, x={"none": None}, list=[1]) is None


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$x.a ?? 'b'", "b"),
        ("$x.a ?? $x.b ?? 3", 3),
        ("false ?? true", False),
        ("$x.n ?? 0 > 5", False),
        ("$x.n ?? 1 + 1", 2),
        ("has($x.none)", True),
        ("has($x.a)", False),
        ("has($x.a.b)", False),
        ("has($list[0]) and not has($list[1])", True),
        ("$x.a == null", True),
        ("null == false", False),
        ("!null", True),
        ("null && true", False),
        ("null || true", True),
        ("$x.a ? 1 : 2", 2),
        ("[1, null, true].filter(i, i == true ? true : null)", [True]),
        ("[null].exists(i, i)", False),
    ],
)
def test_null_has_a_default_can_be_told_from_a_missing_field_and_counts_as_false(source: str, result: object) -> None:
    assert value(source, x={"none": None}, list=[None]) == result


@pytest.mark.parametrize("source", ["null < 1", "$x.a >= 'b'", "null < null", "1 in null"])
def test_an_order_with_null_is_an_error_with_a_way_out(source: str) -> None:
    assert "??" in (failure(source, x={}).suggestion or "")


@pytest.mark.parametrize(
    "source", ["$n.field", "$s.field", "$list.field", "$n[0]", "$list['a']", "$list[1.5]", "$x[[1]]"]
)
def test_a_field_of_something_that_has_none_is_an_error(source: str) -> None:
    assert failure(source, n=1, s="text", list=[1], x={}).code == "EXP108"


# Deviation 3: names and words


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$x.a and x.a", True),
        ("not $x.a or $x.b", False),
        ("not $x.n == 2", True),
        ("!$x.a == false", True),
        ("1 not in [2, 3]", True),
        ("not not true", True),
        ("$.status == 'done'", True),
        ("$['status'] + '!'", "done!"),
        ("$loop + $in + $type", 6),
        ("$x.loop.and.in.true", "fields may have any name"),
        ("$x.`a-b`", "quoted"),
        ("type + 1 == 4 ? 1 : 2", None),
    ],
)
def test_names_may_have_a_dollar_and_operators_may_be_words(source: str, result: object) -> None:
    fields = {"a": True, "b": False, "n": 1, "a-b": "quoted"}
    names = {
        "x": {**fields, "loop": {"and": {"in": {"true": "fields may have any name"}}}},
        "$": {"status": "done"},
        "loop": 1,
        "in": 2,
        "type": 3,
    }
    if result is None:
        assert failure(source, **names).code == "EXP102"  # a bare `type` is CEL's type, only `$type` is the name
    else:
        assert value(source, **names) == result


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("[1, 2].map(x, x * 10)", [10, 20]),
        ("[1, 2].map($x, $x * 10)", [10, 20]),
        ("$x + [1].map(x, x + [5].map(x, x)[0])[0]", 106),
        ("[[1, 2], [3]].map(row, row.map(i, i * row.size()))", [[2, 4], [3]]),
        ("[3, 4].transformList(i, v, v > 3, [i, v])", [[1, 4]]),
        ("{'a': 1}.transformList(k, v, k + string(v))", ["a1"]),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 2)", {"b": 4}),
        ("['x', 'y'].transformMap(i, v, v)", {0: "x", 1: "y"}),
        ("[1, 2, 3].map(i, i > 1, i * 2)", [4, 6]),
        ("[5, 6].exists(i, v, i == 1 && v == 6)", True),
        ("{'a': 1}.all(k, v, k == 'a' && v == 1)", True),
        ("[1, 1, 2].existsOne(i, v, v == 2)", True),
        ("[1, 2] | filter(i, i > 1)", [2]),
        ("{true: 'x'}.map(k, k)", [True]),
        ("{'a': [1].map(list, list + 1)}", {"a": [2]}),
    ],
)
def test_macros_bind_names_that_shadow_those_outside(source: str, result: object) -> None:
    assert value(source, x=100) == result


# Deviation 4: pipes


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("' a ' | trim | upper", "A"),
        ("'a' + 'b' | upper", "AB"),
        ("$none ?? 'b' | upper", "B"),
        ("[1, 2] | size > 1 and [1] | size == 1", True),
        ("'a' == 'A' | lower", True),
        ("'a,b' | split(',') | join('-')", "a-b"),
        ("true ? 'a' : 'b' | upper", "a"),
        ("b'hi' | base64.encode", "aGk="),
        ("2.5 | math.round", 3.0),
    ],
)
def test_a_pipe_binds_tighter_than_comparisons_and_looser_than_sums(source: str, result: object) -> None:
    assert value(source, none=None) == result


# Literals


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (r"'\x41\u00e9\U0001F431\101\?\`'", "Aé🐱A?`"),
        (r"b'\xff\377\x00é'", b"\xff\xff\x00\xc3\xa9"),
        (r"r'\d' + R'''a'b'''", r"\da'b"),
        (r"rb'\x' + bR'\y'", rb"\x\y"),
        ("'''two\nlines'''", "two\nlines"),
        ("'a // b' // a comment", "a // b"),
        ("[1, 2,] == [1, 2]", True),
        ("{'a': 1,}.a", 1),
        ("0xFF + 0X1", 256),
        ("0xFFu", Uint(255)),
        ("18446744073709551615u", Uint(2**64 - 1)),
        ("-9223372036854775808", -(2**63)),
        (".5 + 1e-1", 0.6),
        ("1-1", 0),
        ("- 1", -1),
        ("--1", 1),
        ("{1: 'i', true: 'b'}[true]", "b"),
        ("{1: 'i'}[1.0] + {1: 'i'}[1u]", "ii"),
        ("type(1.0) == double && type(null) == null_type && type(int) == type", True),
        ("type(duration('1s')) == google.protobuf.Duration", True),
        ("[[1, 2.0], {'a': true}] == [[1.0, 2], {'a': true}]", True),
        ("[true] == [1] || true in [1] || 1 in [true]", False),
    ],
)
def test_literals_mean_what_cel_says(source: str, result: object) -> None:
    found = value(source)

    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("source", "code", "start"),
    [
        ("", "EXP006", 0),
        ("1 +", "EXP006", 3),
        ("1 = 1", "EXP001", 2),
        ("a & b", "EXP001", 2),
        ("'open", "EXP002", 0),
        ("'a\nb'", "EXP002", 0),
        (r"'a\q'", "EXP003", 2),
        (r"'\ud800'", "EXP003", 1),
        (r"b'\u0041'", "EXP003", 2),
        (r"'\x4'", "EXP003", 1),
        ("9223372036854775808", "EXP004", 0),
        ("18446744073709551616u", "EXP004", 0),
        ("-(9223372036854775808)", "EXP004", 2),
        ("12ab", "EXP004", 0),
        ("(1", "EXP006", 2),
        ("[1 2]", "EXP005", 3),
        ("{a 1}", "EXP005", 3),
        ("$x.1", "EXP005", 2),
        ("$x $y", "EXP005", 3),
        ("import", "EXP005", 0),
        ("true ? 1", "EXP006", 8),
        ("$x | 5", "EXP005", 5),
        ("1 not 2", "EXP005", 6),
        ("uper('a')", "EXP007", 0),
        ("'a'.uper()", "EXP007", 0),
        ("upper()", "EXP008", 0),
        ("upper('a', 'b')", "EXP008", 0),
        ("math.abs(1, 2)", "EXP008", 0),
        ("[1].map(1, 2)", "EXP009", 8),
        ("[1].map(x)", "EXP009", 7),
        ("[1].all(x, x, true)", "EXP009", 7),
        ("has(1)", "EXP009", 0),
        ("has($x)", "EXP009", 0),
    ],
)
def test_a_mistake_in_the_source_is_found_before_anything_runs_and_has_its_place(
    source: str, code: str, start: int
) -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        compile_expression(source)

    assert caught.value.code == code
    assert caught.value.start == start
    assert caught.value.start <= caught.value.end <= len(source) + 1
    assert code in str(caught.value)


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        ("a = 1", "`==`"),
        ("a & b", "`&&`"),
        ("a AND b", "`and`"),
        ("NOT a", "`not`"),
        ("uper('a')", "`upper`"),
        ("loop == 1", "`$loop`"),
        ("a | | b", "`or`"),
        ("[1].map(1, 2)", ".map(item"),
    ],
)
def test_a_mistake_comes_with_what_was_probably_meant(source: str, suggestion: str) -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        compile_expression(source)

    assert suggestion in (caught.value.suggestion or "")


@pytest.mark.parametrize(
    ("source", "code", "place"),
    [
        ("1 + $ordr.total", "EXP101", "$ordr"),
        ("1 + ('a' - 1)", "EXP102", "'a' - 1"),
        ("true && (1 < 'a')", "EXP102", "1 < 'a'"),
        ("1 + upper(2)", "EXP103", "2"),
        ("2 * (1 / 0)", "EXP105", "1 / 0"),
        ("'x' + string(int('abc'))", "EXP106", "int('abc')"),
        ("[$order.total.cents]", "EXP108", "$order.total.cents"),
        ("[1].all(x, x.y)", "EXP108", "x.y"),
        ("'a'.matches('(')", "EXP110", "'a'.matches('(')"),
        ("{'a': 1, 'a': 2}", "EXP111", "'a'"),
        ("{1.5: 1}", "EXP111", "1.5"),
        ("1 ? 2 : 3", "EXP102", "1"),
        ("now()", "EXP107", "now()"),
    ],
)
def test_an_error_of_the_evaluation_points_at_its_cause(source: str, code: str, place: str) -> None:
    found = failure(source, order={"total": 5})

    assert isinstance(found, ExprEvalError)
    assert found.code == code
    assert source[found.start : found.end] == place


def test_an_unknown_name_is_an_error_that_names_the_nearest_known_one() -> None:
    assert failure("$ordr.total", order={}, data={}).suggestion == "did you mean `$order`?"


def test_a_scope_without_a_list_of_its_names_gives_no_suggestion() -> None:
    class Empty:
        def lookup(self, name: str, /) -> object:
            raise UnknownName(name)

    with pytest.raises(ExprEvalError) as caught:
        compile_expression("$a").evaluate(Empty())

    assert caught.value.code == "EXP101"
    assert caught.value.suggestion is None


def test_messages_name_no_values() -> None:
    secret = "hunter2-and-more"
    sources = [
        *("int($s)", "$s + 1", "$s.f", "timestamp($s)", "$s < 1", "parseJson($s)", "'a'.matches('(' + $s)"),
        *("[$s] | sum", "duration($s)", "bool($s)", "date('2025-01-31T00:00:00Z', $s)", "base64Decode($s + '*')"),
        *("-$s", "$s ? 1 : 2", "{[$s]: 1}", "hmac('a', 'b', $s)", "'%y'.format([$s])"),
        "format(timestamp(0), $s + '%Q')",
    ]

    for source in sources:
        found = failure(source, s=secret)
        assert secret not in str(found) + repr(found) + repr(found.__cause__)


def test_every_code_that_is_raised_is_listed() -> None:
    assert all(code.startswith("EXP") and meaning for code, meaning in CODES.items())
    assert {failure(source).code for source in ["$a", "1 / 0", "1 +", "'", "f()"]} <= CODES.keys()


# Values from outside


def test_mappings_and_tuples_are_read_as_maps_and_lists() -> None:
    frozen: Mapping[str, object] = MappingProxyType({"a": (1, 2, {"b": 3})})

    assert value("$x.a[2].b + $x.a.size()", x=frozen) == 6
    assert value("$x.a.map(i, i)[0]", x=frozen) == 1
    assert value("'a' in $x && has($x.a) && $x == {'a': [1, 2, {'b': 3}]}", x=frozen) is True
    assert value("$x | keys", x=frozen) == ["a"]
    assert to_json(frozen) == {"a": [1, 2, {"b": 3}]}


def test_numbers_of_json_beyond_64_bits_pass_but_are_not_computed_with() -> None:
    assert value("$n", n=10**30) == 10**30
    assert value("$n > 1", n=10**30) is True
    assert failure("$n + 1", n=10**30).code == "EXP104"
    assert failure("$n * 1.5", n=10**400).code == "EXP104"
    assert value("$n == 1.5", n=10**400) is False


@pytest.mark.req("EXEC-8.expressions")
def test_results_become_json() -> None:
    source = (
        "{'t': timestamp('2025-01-31T09:30:15.5Z'), 'd': duration('-1.5s'), 'b': b'hi', 'u': 7u, 'n': 0.0/0.0, "
        "'i': -1.0/0.0, 'y': type(1), 1: [true], true: null}"
    )

    assert to_json(value(source)) == {
        "t": "2025-01-31T09:30:15.5Z",
        "d": "-1.5s",
        "b": "aGk=",
        "u": 7,
        "n": "NaN",
        "i": "-Infinity",
        "y": "int",
        "1": [True],
        "true": None,
    }
    assert type(to_json(Uint(7))) is int
    plain = {"a": [1, {"b": None}], "c": "x"}
    assert to_json(plain) is plain


def test_a_foreign_object_is_refused_where_it_would_become_json() -> None:
    with pytest.raises(ExprEvalError):
        to_json({"a": object()})


def test_times_are_exact_to_the_nanosecond() -> None:
    source = "timestamp('1969-12-31T23:59:59.999999999Z') + duration('1ns')"

    assert value(source) == Timestamp(0)
    assert value("duration('1h') - duration('1ns')") == Duration(3_600 * 10**9 - 1)
    assert value("string(timestamp('2025-01-31T09:30:15.000000001+01:00'))") == "2025-01-31T08:30:15.000000001Z"


# References


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("$a.b[0]['c d'].e", ['$a.b[0]["c d"].e']),
        ("a.b + $.x", ["$a.b", "$.x"]),
        ("$a.list.map(i, i.x + $b.y)", ["$a.list", "$b.y"]),
        ("$a[$b.k].c", ["$a", "$b.k"]),
        ("$a.f.upper().size()", ["$a.f"]),
        ("math.abs($math.x)", ["$math.x"]),
        ("type($type) == int && $int.x", ["$type", "$int.x"]),
        ("[1].map(a, a.b) == $a", ["$a"]),
        ("{$k.x: $v.y}", ["$k.x", "$v.y"]),
        ("1 + 1", []),
    ],
)
def test_references_are_known_before_anything_runs(source: str, found: list[str]) -> None:
    references = compile_expression(source).references

    assert [reference.text for reference in references] == found
    for reference in references:
        assert reference.root.strip("$") in source[reference.start : reference.end]


def test_a_reference_says_whether_its_absence_was_reckoned_with() -> None:
    references = compile_expression("has($a.b) ? $a.c ?? $a.d : $a.e | default(1)").references

    assert [(reference.text, reference.guarded) for reference in references] == [
        ("$a.b", True),
        ("$a.c", True),
        ("$a.d", False),
        ("$a.e", True),
    ]


# Cases


def test_a_case_gives_a_value_or_an_error_as_json() -> None:
    assert evaluate_case("x + 1", {"x": 1}) == {"value": 2}
    assert evaluate_case("timestamp(0)", {}) == {"value": "1970-01-01T00:00:00Z"}
    assert evaluate_case("nosuch(1) || true", {}) == {"value": True}
    assert evaluate_case("1 / 0", {}) == {
        "error": {"code": "EXP105", "message": "division by zero", "start": 0, "end": 5, "suggestion": None}
    }
    assert evaluate_case("upper(", {})["error"]["code"] == "EXP006"  # pyright: ignore[reportIndexIssue]
