"""Poll conditions: expressions, and JSONPath queries."""

from __future__ import annotations

import pytest

from segue.expr import Condition, ExprError, MappingScope, Query, compile_poll_condition

ANSWER = {
    "status": "done",
    "done": 0,
    "none": None,
    "no": False,
    "items": [{"id": 1, "done": False}, {"id": 2, "done": True, "name": "abc"}],
    "wanted": 2,
}


def holds(source: str, answer: object = ANSWER) -> bool:
    return compile_poll_condition(source).evaluate(MappingScope({"$": answer}))[0]


@pytest.mark.req("TIME-3.condition-jsonpath")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("$.items[?@.done]", True),
        ("$.items[?@.id == 2]", True),
        ("$.items[?@.id == $.wanted]", True),
        ("$.items[?@.id > 2]", False),
        ("$.items[*].done", True),
        ("$..name", True),
        ("$.items[?match(@.name, 'a.*')]", True),
        ("$.items[?search(@.name, '^b')]", False),
        ("$.items[?match(@.name, '(')]", False),
        ("$.none", False),
        ("$.no", False),
        ("$.nowhere", False),
        ("$['status']", True),
        ("$", True),
    ],
)
def test_a_query_holds_if_it_selects_a_node_that_is_not_false_or_null(source: str, expected: bool) -> None:
    assert isinstance(compile_poll_condition(source), Query)
    assert holds(source) is expected


@pytest.mark.req("TIME-3.condition-jsonpath")
def test_a_bare_path_is_read_as_a_query_so_that_zero_and_text_hold() -> None:
    assert holds("$.done")
    assert holds("$.status")


@pytest.mark.req("TIME-3.condition-expression")
def test_what_is_no_query_is_an_expression_with_the_answer_as_dollar() -> None:
    assert isinstance(compile_poll_condition("$.status == 'done'"), Condition)
    assert holds("$.status == 'done'")
    assert not holds("$.status == 'done' && $.wanted > 2")
    assert holds("$.items.exists(i, i.done)")


@pytest.mark.req("TIME-3.condition-jsonpath")
def test_an_answer_without_fields_selects_nothing_and_the_reason_says_so() -> None:
    met, why = compile_poll_condition("$.a").evaluate(MappingScope({"$": "just text"}))
    assert (met, why) == (False, "`$.a` selects nothing: the answer is no map or list")


@pytest.mark.req("ACC-7.expressions-are-bounded")
@pytest.mark.parametrize(
    "source", ["$..a..b", "$.items[?$..a]", "$.items[?@..a]", "$.items[?$.items[*]]", "$..*[?$.items[?@.x]]"]
)
def test_a_query_whose_cost_grows_with_a_power_of_the_answer_is_refused(source: str) -> None:
    with pytest.raises(ExprError) as caught:
        compile_poll_condition(source)
    assert caught.value.suggestion is not None


@pytest.mark.req("FLOW-5.expressions")
@pytest.mark.parametrize("source", ["$.a.", "$.items[?", "1 +", ""])
def test_what_is_neither_tells_the_expression_s_mistake(source: str) -> None:
    with pytest.raises(ExprError):
        compile_poll_condition(source)


@pytest.mark.req("ACC-7.expressions-are-bounded")
def test_a_regular_expression_of_a_query_cannot_run_away() -> None:
    answer = {"items": [{"name": "a" * 20_000}]}
    assert not holds("$.items[?match(@.name, '(a+)+b')]", answer)
