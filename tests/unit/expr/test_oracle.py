"""Google's own CEL engine as oracle: over generated expressions both give the same value, or both an error.

The generator stays where our language is CEL: it mixes no int with double in arithmetic (deviation 1), reads no missing
field or index and puts no null where a condition stands (deviation 2), and makes no text of doubles, whose form CEL
leaves to the implementation.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from segue.expr import Duration, ExprError, MappingScope, Timestamp, TypeValue, Uint, compile_expression
from segue.expr.timecalc import from_datetime

NAMES: dict[str, Any] = {
    "i": 7,
    "big": 2**63 - 1,
    "d": 2.5,
    "s": "héllo",
    "t": True,
    "nothing": None,
    "ints": [3, -1, 4, 1, -5],
    "words": ["a", "", "bé"],
    "m": {"a": 1, "b": {"c": [True, "x"]}},
}
ENGINE = cel.NewEnv(variables=dict.fromkeys(NAMES, cel.Type.DYN))
ERROR = object()


def theirs(source: str) -> object:
    try:
        found = ENGINE.compile(source, disable_check=True).eval(data=NAMES)
    except RuntimeError:
        return ERROR  # found by their parser
    if found.type() == cel.Type.ERROR:
        return ERROR
    return Uint(found.value()) if found.type() == cel.Type.UINT else plain(found.plain_value())


TYPES = {
    "NULL": "null_type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}


def plain(content: Any) -> object:
    """A value of theirs with our types. Inside of lists and maps they give uints as ints."""
    if isinstance(content, cel.Type):
        name = content.name().partition("<")[0]
        return TypeValue(TYPES.get(name, name.lower()))
    if isinstance(content, bytearray):
        return bytes(content)
    if isinstance(content, datetime):
        return from_datetime(content)
    if isinstance(content, timedelta):
        return Duration(content // timedelta(microseconds=1) * 1_000)
    if isinstance(content, list):
        return [plain(item) for item in content]
    if isinstance(content, dict):
        return {key: plain(item) for key, item in content.items()}
    return content


def ours(source: str) -> object:
    try:
        return compile_expression(source, late_functions=True).evaluate(MappingScope(NAMES))
    except ExprError:
        return ERROR


def agree(one: object, other: object) -> bool:
    if one is ERROR or other is ERROR:
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(agree(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, Timestamp | Duration) and isinstance(other, Timestamp | Duration):
        # Theirs comes through Python's datetime, which has no nanoseconds.
        return type(one) is type(other) and abs(one.nanos - other.nanos) < 1_000
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(agree(one[key], other[key]) for key in one)
    if isinstance(one, Uint) and type(other) is int:
        return int(one) == other
    return type(one) is type(other) and one == other


def joined(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: pattern.format(*found))


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Grammar:
    """Expressions by type, `depth` levels deep at most."""

    def __init__(self, depth: int) -> None:
        self.deeper = Grammar(depth - 1) if depth else None

    def choose(self, simple: st.SearchStrategy[str], *composed: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(simple, *composed)

    @property
    def whole(self) -> st.SearchStrategy[str]:
        simple = st.sampled_from(
            ["0", "1", "2", "-3", "i", "big", "9223372036854775807", "ints[1]", "m.a", "int('42')"]
        )
        below = self.deeper
        if below is None:
            return simple
        operator = st.sampled_from(["+", "-", "*", "/", "%"])
        return self.choose(
            simple,
            joined("({} {} {})", below.whole, operator, below.whole),
            joined("(-({}))", below.whole),
            joined("size({})", st.one_of(below.text, below.numbers)),
            joined("int({})", below.real),
            joined("({} ? {} : {})", below.truth, below.whole, below.whole),
        )

    @property
    def real(self) -> st.SearchStrategy[str]:
        simple = st.sampled_from(["0.0", "1.5", "-2.25", "d", "1e3", "(0.0 / 0.0)", "double('1e2')"])
        below = self.deeper
        if below is None:
            return simple
        return self.choose(
            simple,
            joined("({} {} {})", below.real, st.sampled_from(["+", "-", "*", "/"]), below.real),
            joined("(-({}))", below.real),
            joined("double({})", below.whole),
        )

    @property
    def text(self) -> st.SearchStrategy[str]:
        simple = st.text(alphabet="ab é'\\", max_size=4).map(quoted) | st.sampled_from(["s", "words[2]", "m.b.c[1]"])
        below = self.deeper
        if below is None:
            return simple
        return self.choose(simple, joined("({} + {})", below.text, below.text), joined("string({})", below.whole))

    @property
    def truth(self) -> st.SearchStrategy[str]:
        simple = st.sampled_from(["true", "false", "t", "has(m.a)", "has(m.zz)", "(1 / 0 > 0)", "m.b.c[0]"])
        below = self.deeper
        if below is None:
            return simple
        order = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
        number = st.one_of(below.whole, below.real)
        return self.choose(
            simple,
            joined("({} {} {})", below.truth, st.sampled_from(["&&", "||"]), below.truth),
            joined("!({})", below.truth),
            joined("({} {} {})", number, order, number),
            joined("({} {} {})", below.text, order, below.text),
            joined("({} {} {})", below.anything, st.sampled_from(["==", "!=", "<"]), below.anything),
            joined("({} in {})", below.anything, below.numbers),
            joined("({} in m)", below.text),
            joined("{}.{}({})", below.text, st.sampled_from(["startsWith", "endsWith", "contains"]), below.text),
            joined("{}.matches({})", below.text, st.sampled_from(["'a+b'", "'^.?$'", "'(a|é)*$'"])),
            joined("{}.{}(x, {})", below.numbers, st.sampled_from(["all", "exists", "exists_one"]), below.about_x),
        )

    @property
    def about_x(self) -> st.SearchStrategy[str]:
        return st.sampled_from(
            ["x > 0", "x % 2 == 1", "10 / x > 1", "x == 1", "x in [1, 3]", "[x].exists(y, y == x)", "x"]
        )

    @property
    def numbers(self) -> st.SearchStrategy[str]:
        simple = st.sampled_from(["ints", "[]", "[0, 1, 2]", "[1]"])
        below = self.deeper
        if below is None:
            return simple
        return self.choose(
            simple,
            joined("[{}, {}]", below.whole, below.whole),
            joined("({} + {})", below.numbers, below.numbers),
            joined("{}.filter(x, {})", below.numbers, below.about_x),
            joined("{}.map(x, {})", below.numbers, st.sampled_from(["x", "x * 2", "10 / x", "x + big"])),
            joined("{}.map(x, {}, x - 1)", below.numbers, below.about_x),
        )

    @property
    def anything(self) -> st.SearchStrategy[str]:
        simple = st.sampled_from(
            ["null", "nothing", "m", "words", "b'a'", "{'a': 1}", "{1: true}", "timestamp(0)", "type(i)", "7u"]
        )
        below = self.deeper
        if below is None:
            return simple
        return self.choose(
            simple,
            below.whole,
            below.real,
            below.text,
            below.truth,
            below.numbers,
            joined("[{}, {}]", below.anything, below.anything),
            joined("{{'k': {}}}", below.anything),
            joined("type({})", below.anything),
            joined("dyn({})", below.anything),
        )


@pytest.mark.req("FLOW-5.expressions")
@settings(max_examples=examples(400))
@given(Grammar(3).anything)
def test_generated_expressions_mean_what_they_mean_to_the_reference_engine(source: str) -> None:
    one, other = ours(source), theirs(source)

    assert agree(one, other), f"{source}: ours {one!r}, theirs {other!r}"


MOMENTS = st.integers(-62_135_510_400 * 10**6, 253_402_214_400 * 10**6).map(
    lambda micros: (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    )
)
SPANS = st.integers(-(10**9), 10**9).map(lambda seconds: f"{seconds}s") | st.sampled_from(
    ["1h30m", "-1.5s", "1ms", "2us", "3ns"]
)


@settings(max_examples=examples(200))
@given(
    MOMENTS,
    SPANS,
    st.sampled_from(["getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours",
                     "getMinutes", "getSeconds", "getMilliseconds"]),
    st.sampled_from(["", "'UTC'", "'+05:30'", "'-02:00'", "'America/New_York'"]),
)  # fmt: skip
def test_times_mean_what_they_mean_to_the_reference_engine(moment: str, span: str, accessor: str, zone: str) -> None:
    at, duration = f"timestamp('{moment}')", f"duration('{span}')"
    sources = [
        f"{at}.{accessor}({zone})",
        f"{at} + {duration}",
        f"{at} - {duration} < {at}",
        f"timestamp(string({at})) == {at}",  # theirs writes decimals in threes, ours no more than are needed
        f"string({at}).startsWith('{moment[:19]}')",
        f"int({at})",
        f"{duration}.getMinutes()",
        f"{duration}.getMilliseconds()",
        f"duration(string({duration})) == {duration}",
        f"{duration} - {duration} == duration('0s')",
    ]
    for source in sources:
        assert agree(ours(source), theirs(source)), f"{source}: ours {ours(source)!r}, theirs {theirs(source)!r}"
