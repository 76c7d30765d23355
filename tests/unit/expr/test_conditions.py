"""Conditions: a boolean, or null with the reason why it counts as false."""

from __future__ import annotations

import pytest
from tests.unit.expr.support import FixedImpure

from segue.expr import BudgetExceeded, ExprEvalError, ExprSyntaxError, MappingScope, compile_condition

SCOPE = MappingScope(
    {
        "x": {"category": "billing", "n": 5, "yes": True, "no": False, "none": None, "items": [{"ok": None}]},
        "$": {"done": True},
    }
)


@pytest.mark.req("FLOW-5.expressions")
@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$x.category == 'billing'", True),
        ("x.n > 10", False),
        ("$x.yes", True),
        ("{{ $x.yes and $x.n == 5 }}", True),
        ("  ${{ $x.no }} ", False),
        ("$.done", True),
        ("{'a': true}.a", True),
        (True, True),
        (False, False),
    ],
)
def test_a_condition_is_true_or_false(source: object, result: bool) -> None:
    assert compile_condition(source).evaluate(SCOPE) == (result, None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("$x.vip", "`$x.vip` was null"),
        ("$x.none.deeper[0]", "`$x.none.deeper[0]` was null"),
        ("$x.vip and $x.yes", "`$x.vip` was null"),
        ("$x.yes and $x.vip", "`$x.vip` was null"),
        ("$x.vip or $x.gold", "`$x.vip`, `$x.gold` were null"),
        ("$x.vip.startsWith('a')", "`$x.vip` was null"),
        ("$x.vip ? true : false", "`$x.vip` was null"),
        ("$x.items.exists(item, item.ok)", "the condition met a null"),
        ("null", "the condition was null"),
    ],
)
def test_null_counts_as_false_and_the_reason_names_it(source: str, reason: str) -> None:
    assert compile_condition(source).evaluate(SCOPE) == (False, reason)


@pytest.mark.parametrize("source", ["not $x.vip", "$x.vip or $x.yes", "$x.vip == null", "($x.vip ?? true)"])
def test_a_condition_that_holds_has_no_reason(source: str) -> None:
    assert compile_condition(source).evaluate(SCOPE) == (True, None)


@pytest.mark.parametrize("source", ["$x.n", "$x.category", "'true'", "[]", "1.0", "$x"])
def test_any_other_type_is_an_error(source: str) -> None:
    with pytest.raises(ExprEvalError) as caught:
        compile_condition(source).evaluate(SCOPE)

    assert caught.value.code == "EXP109"
    assert (caught.value.start, caught.value.end) == (0, len(source))


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", "EXP006"),
        ("{{ true }} and true", "EXP005"),
        ("{{ true", "EXP011"),
        (1, "EXP010"),
        (None, "EXP010"),
        ({"if": True}, "EXP010"),
    ],
)
def test_what_is_no_condition_is_refused_before_anything_runs(source: object, code: str) -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        compile_condition(source)

    assert caught.value.code == code


def test_an_expression_in_braces_reports_offsets_of_the_whole_text() -> None:
    with pytest.raises(ExprEvalError) as caught:
        compile_condition("{{ 1 < 'a' }}").evaluate(SCOPE)

    assert (caught.value.start, caught.value.end) == (3, 10)


def test_a_condition_states_its_references_and_impure_functions(impure: FixedImpure) -> None:
    condition = compile_condition("$x.n > 3 and now() > timestamp(0)")

    assert [reference.text for reference in condition.references] == ["$x.n"]
    assert condition.impure == {"now"}
    assert condition.evaluate(SCOPE, impure) == (True, None)
    assert compile_condition(True).references == ()


def test_a_condition_of_great_length_is_refused() -> None:
    with pytest.raises(BudgetExceeded) as caught:
        compile_condition("true" + " " * 70_000)

    assert caught.value.code == "EXP204"
