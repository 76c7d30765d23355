"""CEL's extension libraries under their own names, and names that CEL resolves in a way of its own.

Our own cases; what they hold to is the public suite's files `string_ext math_ext bindings_ext optionals macros2
network_ext namespace` (github.com/google/cel-spec) and, for sets and lists, cel-go's `ext/`.
"""

from __future__ import annotations

import pytest

from segue.expr import compile_expression, evaluate_case

ORDER = {"items": [{"sku": "b", "n": 2}, {"sku": "a", "n": 5}], "note": None, "customer": {"name": "Ada"}}

GIVEN = {
    "cel.bind(total, order.items.map(i, i.n), total[0] + total[1])": 7,
    "cel.bind(x, 1, cel.bind(y, x + 1, [x, y])) + [3]": [1, 2, 3],
    "[1, 2].map(n, cel.bind(n, n * 10, n))": [10, 20],
    "cel.bind(order, 5, order + .order.items.size())": 7,
    "order.?customer.?name.orValue('nobody')": "Ada",
    "order.?client.name.orValue('nobody')": "nobody",
    "order.?note.hasValue()": True,
    "order.?note.orValue('none')": None,
    "order.items[?7].hasValue()": False,
    "order[?'items'][0].sku.value()": "b",
    "{'known': 1, ?'name': order.?customer.name, ?'phone': order.?customer.phone}": {"known": 1, "name": "Ada"},
    "[?order.?nothing, 1, ?optional.of(2)]": [1, 2],
    "order.?items.optMap(all, all.size()).orValue(0)": 2,
    "order.?customer.optFlatMap(c, c.?phone).or(optional.of('-')).value()": "-",
    "optional.of(1) == optional.of(1.0) && optional.of(null) != optional.none()": True,
    "optional.ofNonZeroValue(0.0).hasValue() || optional.ofNonZeroValue({}).hasValue()": False,
    "[optional.of([1]), optional.of([1])] | unique | size": 1,
    "optional.none()": None,
    "type(order.?nothing) == optional_type": True,
    "order.items.sortBy(item, item.sku).map(item, item.n)": [5, 2],
    "[{'a': 1}, {'a': 0}].sortBy('a')[0].a": 0,
    "{'one': 1, 'two': 2}.transformMapEntry(k, v, v > 1, {v: k})": {"2": "two"},
    "sets.contains([1, [2]], [[2.0]]) && !sets.contains([], [1]) && sets.contains([1], [])": True,
    "sets.equivalent([1, 1u, 1.0], [1]) && !sets.equivalent([1], [1, 2])": True,
    "sets.intersects([[1]], [[1, 2], [1]]) && !sets.intersects([], [])": True,
    "math.bitAnd(-1, 255) == 255 && math.bitXor(5u, 1u) == 4u && math.bitOr(4, -2) == -2": True,
    "[math.bitNot(0), math.bitShiftLeft(1, 63), math.bitShiftRight(-1, 63), math.bitShiftLeft(3u, 64)]": [
        -1, -(2**63), 1, 0,
    ],
    r"""strings.quote("a\tb'c\"d\\") """: r'''"a\tb'c\"d\\"''',
    "'%s'.format([{'b': [1.0, null, b'x'], 'a': duration('90s'), true: 'y'}])": "{a: 90s, b: [1, null, x], true: y}",
    "'%d %d'.format([0.0 / 0.0, 1.0 / 0.0])": "NaN Infinity",
    "cidr('10.0.0.0/8').containsIP(ip('10.255.0.1')) && !cidr('10.0.0.0/8').containsIP('::1')": True,
    "cidr('2001:db8::/32').ip() == ip('2001:DB8:0::') && type(ip('::1')) == net.IP": True,
    "[isIP('1.2.3'), isIP('fe80::1%eth0'), isCIDR('10.0.0.0/33'), isCIDR('10.0.0.0/255.0.0.0')]": [False] * 4,
    "'at ' + string(cidr('10.1.2.3/8').masked())": "at 10.0.0.0/8",
}  # fmt: skip


@pytest.mark.req("FLOW-5.extensions")
@pytest.mark.parametrize("source", GIVEN)
def test_an_extension_gives_what_it_gives_in_cel(source: str) -> None:
    assert evaluate_case(source, {"order": ORDER}) == {"value": GIVEN[source]}


REFUSED = {
    "cel.bind(1, 2, 3)": "EXP009",
    "cel.bind(x, 2)": "EXP009",
    "cel.bind(x, 1, y)": "EXP101",
    "optional.none().value()": "EXP106",
    "[?1]": "EXP102",
    "{?'a': 1}": "EXP102",
    "[1].optMap(x, x)": "EXP102",
    "optional.of(1).optFlatMap(x, x)": "EXP102",
    "optional.of(1) ? 1 : 2": "EXP102",
    "optional.unwrap([1])": "EXP103",
    "'text'.?field": "EXP108",
    "[1, 2].sortBy(x, {})": "EXP102",
    "[1, 2].sortBy(1, 2)": "EXP008",
    "{'a': 1}.transformMapEntry(k, v, v)": "EXP102",
    "{'a': 1, 'b': 1}.transformMapEntry(k, v, {v: k})": "EXP111",
    "math.bitAnd(1, 1u)": "EXP103",
    "math.bitShiftLeft(1, -1)": "EXP106",
    "ip('::ffff:10.0.0.1')": "EXP106",
    "cidr('10.0.0.0/')": "EXP106",
    "ip('1' + '1'.repeat(1000))": "EXP106",
    "ip('10.0.0.1') < ip('10.0.0.2')": "EXP102",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_an_extension_does_not_take_is_an_error_with_its_code(source: str) -> None:
    answer = evaluate_case(source, {})
    found = answer.get("error")

    assert isinstance(found, dict), answer
    assert found["code"] == REFUSED[source]
    assert found["start"] >= 0


def test_a_binding_with_a_qualified_name_is_read_by_that_name_and_the_longest_wins() -> None:
    bindings = {"a.b": {"c": "shorter", "d": 1}, "a.b.c": "longest", "x": {"y": 1}, "x.z": 2}

    assert evaluate_case("[a.b.c, a.b.d, x.y, x.z]", bindings) == {"value": ["longest", 1, 1, 2]}
    assert bindings["a.b"] == {"c": "shorter", "d": 1}


def test_a_leading_dot_passes_the_variables_of_macros_by() -> None:
    assert evaluate_case("['inner'].map(y, [y, .y, .y.size()])", {"y": "outer"}) == {"value": [["inner", "outer", 5]]}


def test_what_an_optional_field_is_read_from_is_a_guarded_reference() -> None:
    program = compile_expression("$order.customer.?name.first ?? cel.bind(a, $order.note, a + $b + .a)")

    found = [(reference.text, reference.guarded) for reference in program.references]
    assert found == [("$order.customer", True), ("$order.note", False), ("$b", False), ("$a", False)]


def test_an_exponential_value_inside_of_optionals_stays_within_the_budget() -> None:
    doubling = "optional.of([1])" + "".join(f".optMap(x{n}, [x{n}, x{n}])" for n in range(40))

    for source in (doubling, f"{doubling} == {doubling}", f"toJson({doubling})", f"'%s'.format([{doubling}])"):
        answer = evaluate_case(source, {}).get("error")
        assert isinstance(answer, dict)
        assert answer["code"] in ("EXP201", "EXP203")
