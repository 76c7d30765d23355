"""What goes wrong in a flow is told with its category, its code and a message that says where and what is needed."""

from __future__ import annotations

import pytest

from segue.flow.model import Handler, Limits, Step
from unit.kernel.builders import Play, callback, conditional, flow, foreach, parallel, repeat, seq, step, switch

pytestmark = pytest.mark.req("BAR-4.code")

FAILURES: list[tuple[Step, str, str, str | None, str]] = [
    (step("a", when="1 / 0"), "a", "expression", "EXP105", "when: EXP105 division by zero (at 0)"),
    (
        step("a", limits=Limits(concurrency=1, key="1 / 0")),
        "a",
        "expression",
        "EXP105",
        "limits.key: EXP105 division by zero (at 0)",
    ),
    (
        step("s", "set", params={"n": "{{ 1 / 0 }}"}),
        "s",
        "expression",
        "EXP105",
        "params.n: EXP105 division by zero (at 3)",
    ),
    (
        step("e", "emit", params={"event": " "}),
        "e",
        "validation",
        "event_name",
        "an event's name is a text of 1 to 200 characters",
    ),
    (
        step("e", "emit", params={"event": 5}),
        "e",
        "validation",
        "event_name",
        "an event's name is a text of 1 to 200 characters",
    ),
    (
        step("e", "emit", params={"event": "x" * 201}),
        "e",
        "validation",
        "event_name",
        "an event's name is a text of 1 to 200 characters",
    ),
    (
        step("e", "emit", params={"event": "big", "data": "x" * 262_143}),
        "e",
        "validation",
        "event_too_large",
        "data: 262,145 bytes as JSON are more than 262,144",
    ),
    (
        step("e", "respond", params={"status": 199}),
        "e",
        "validation",
        "response_status",
        "status: a number from 200 to 599 is needed, not 199",
    ),
    (
        step("e", "respond", params={"status": 600}),
        "e",
        "validation",
        "response_status",
        "status: a number from 200 to 599 is needed, not 600",
    ),
    (
        step("e", "respond", params={"status": True}),
        "e",
        "validation",
        "response_status",
        "status: a number from 200 to 599 is needed, not True",
    ),
    (
        step("e", "respond", params={"status": "200"}),
        "e",
        "validation",
        "response_status",
        "status: a number from 200 to 599 is needed, not '200'",
    ),
    (
        step("e", "respond", params={"headers": ["a"]}),
        "e",
        "validation",
        "response_headers",
        "headers: a map of names and texts is needed",
    ),
    (
        step("e", "respond", params={"headers": {"a": None}}),
        "e",
        "validation",
        "response_headers",
        "headers: a text is needed, not None",
    ),
    (
        step("e", "respond", params={"headers": {"a": True}}),
        "e",
        "validation",
        "response_headers",
        "headers: a text is needed, not True",
    ),
    (
        step("w", "wait", params={"event": ""}),
        "w",
        "validation",
        "event_name",
        "an event's name is a text of 1 to 200 characters",
    ),
    (
        step("w", "wait", params={"event": "paid", "buffer": "soon"}),
        "w",
        "expression",
        "invalid_duration",
        "buffer: 'soon' is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        step("w", "wait", params={"duration": "soon"}),
        "w",
        "expression",
        "invalid_duration",
        "'soon' is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        step("w", "wait", params={"until": "tomorrow"}),
        "w",
        "expression",
        "invalid_duration",
        "'tomorrow' is no moment; write a date and time with its zone, such as 2026-01-31T09:00:00+01:00",
    ),
    (
        step("w", "wait", params={"duration": -1}),
        "w",
        "expression",
        "invalid_duration",
        "-1 is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        step("w", "wait", params={"duration": float("inf")}),
        "w",
        "expression",
        "invalid_duration",
        "'Infinity' is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        step("k", "approve", params={"remind": "soon"}, callback=callback(expires_seconds=60.0)),
        "k",
        "expression",
        "invalid_duration",
        "remind: 'soon' is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        step("w", "wait", callback=callback(expires_seconds=60.0, correlate="{{ 1 / 0 }}")),
        "w",
        "expression",
        "EXP105",
        "correlate: EXP105 division by zero (at 3)",
    ),
    (foreach("each", "5", step("x")), "each", "expression", None, "items: a list or a map is needed, not 5"),
    (
        foreach("each", "[1]", step("x"), limit=0),
        "each",
        "expression",
        None,
        "limit: a whole number above 0 is needed, not 0",
    ),
    (
        foreach("each", "[1]", step("x"), limit="'two'"),
        "each",
        "expression",
        None,
        'limit: a whole number above 0 is needed, not "two"',
    ),
    (
        foreach("each", "[1]", step("x"), limit="true"),
        "each",
        "expression",
        None,
        "limit: a whole number above 0 is needed, not true",
    ),
    (
        foreach("each", "[1, 1]", step("x"), key="item"),
        "each",
        "validation",
        "duplicate_key",
        'key: items 0 and 1 are both "1"',
    ),
    (
        foreach("each", "[1, true]", step("x"), key="item"),
        "each",
        "expression",
        None,
        "key: item 1 has true, and a text or a whole number is needed",
    ),
    (
        foreach("each", "[1, 2]", step("s", "set", params={"n": 1}), aggregate="1 / 0"),
        "each",
        "expression",
        "EXP105",
        "aggregate: EXP105 division by zero (at 0)",
    ),
    (
        foreach("each", "[1]", step("f", "fail"), tolerate="'some'"),
        "each",
        "expression",
        None,
        'tolerate: a number, a share (`10%`), `all` or `collect`, not "some"',
    ),
    (
        foreach("each", "[1]", step("f", "fail"), tolerate="-1"),
        "each",
        "expression",
        None,
        "tolerate: a number, a share (`10%`), `all` or `collect`, not -1",
    ),
    (
        foreach("each", "[1]", step("f", "fail"), tolerate="true"),
        "each",
        "expression",
        None,
        "tolerate: a number, a share (`10%`), `all` or `collect`, not true",
    ),
    (
        foreach("each", "[1]", step("f", "fail"), tolerate="'x%'"),
        "each",
        "expression",
        None,
        'tolerate: a number, a share (`10%`), `all` or `collect`, not "x%"',
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), max=2, until="false"),
        "loop",
        "timeout",
        "repeat_exhausted",
        "2 turns were made and the loop's condition did not end it",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), max=2, while_="true"),
        "loop",
        "timeout",
        "repeat_exhausted",
        "2 turns were made and the loop's condition did not end it",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), max=0),
        "loop",
        "expression",
        None,
        "max: a whole number above 0 is needed, not 0",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), until="1 / 0"),
        "loop",
        "expression",
        "EXP105",
        "until: EXP105 division by zero (at 0)",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), while_="1 / 0"),
        "loop",
        "expression",
        "EXP105",
        "while: EXP105 division by zero (at 0)",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), until="false", every="soon"),
        "loop",
        "expression",
        "invalid_duration",
        "'soon' is no duration; write a number with its unit, such as 30s, 5m, 2h, 7d or PT30S",
    ),
    (
        repeat("loop", step("s", "set", params={"n": 1}), until="false", within="0s"),
        "loop",
        "timeout",
        "repeat_exhausted",
        "the loop's condition did not end it within 0s",
    ),
    (conditional("c", ("1 / 0", [step("x")])), "c", "expression", "EXP105", "then: EXP105 division by zero (at 0)"),
    (switch("s", "1 / 0", {1: [step("one")]}), "s", "expression", "EXP105", "on: EXP105 division by zero (at 0)"),
    (step("f", "fail"), "f", "validation", None, "the flow's `fail` step was reached"),
    (step("f", "fail", params={"code": "E1"}), "f", "validation", "E1", "E1"),
    (step("f", "fail", params={"message": "not so", "category": "auth", "code": 7}), "f", "auth", "7", "not so"),
    (
        step(
            "f",
            "fail",
            on_error=(Handler(block=seq(step("s", "set", params={"n": 1}), label="on_error"), then="{{ 'perhaps' }}"),),
        ),
        "f",
        "expression",
        None,
        'then: continue, fail or retry is needed, not "perhaps"',
    ),
    (
        step("m", "map", params={"value": 1}, output="{{ 1 / 0 }}"),
        "m",
        "expression",
        "EXP105",
        "output: EXP105 division by zero (at 3)",
    ),
    (
        step("f", "fail", has_default=True, default="{{ 1 / 0 }}"),
        "f",
        "expression",
        "EXP105",
        "default: EXP105 division by zero (at 3)",
    ),
    (
        step("r", "return", params={"value": "{{ 1 / 0 }}"}),
        "r",
        "expression",
        "EXP105",
        "params.value: EXP105 division by zero (at 3)",
    ),
    (
        parallel("p", {"a": [step("f", "fail")], "b": [step("g", "fail")]}, fail="wait"),
        "p",
        "validation",
        None,
        "2 of 2 branches failed, 0 ended well: the flow's `fail` step was reached",
    ),
    (
        parallel("p", {"a": [step("f", "fail")], "b": [step("x")]}),
        "f",
        "validation",
        None,
        "the flow's `fail` step was reached",
    ),
    (
        parallel("p", {"a": [step("f", "fail")], "b": [step("g", "fail")], "c": [step("s", "set")]}, join=2),
        "p",
        "validation",
        None,
        "2 of 3 branches failed, too many for 2 to end well: the flow's `fail` step was reached",
    ),
    (
        parallel(
            "p", {"a": [step("f", "fail")], "b": [step("g", "fail")], "c": [step("s", "set")]}, join=2, fail="wait"
        ),
        "p",
        "validation",
        None,
        "2 of 3 branches failed, 1 ended well: the flow's `fail` step was reached",
    ),
    (
        foreach("each", "[1, 2, 3]", step("f", "fail"), tolerate=1),
        "each",
        "validation",
        None,
        "2 of 3 items failed, 1 are tolerated: the flow's `fail` step was reached",
    ),
    (
        foreach("each", "[1, 2, 3]", step("f", "fail"), tolerate="50%"),
        "each",
        "validation",
        None,
        "2 of 3 items failed, 1 are tolerated: the flow's `fail` step was reached",
    ),
]
"""A step that cannot end well, and: the step that failed, category, code, message."""


@pytest.mark.parametrize(("one", "where", "category", "code", "message"), FAILURES)
def test_a_failure_says_where_and_what(one: Step, where: str, category: str, code: str | None, message: str) -> None:
    play = Play(flow(one), check=one.limits is None)
    error = play.state.error
    assert error is not None
    assert (error.step, error.category, error.code, error.message) == (where, category, code, message)
    assert play.why() == f"failed: `{where}` failed with {category}: {message}"
