"""Tests of flows: mocks, expectations, differences, and mistakes in tests at their place."""

from __future__ import annotations

import pytest

from segue.engine.flow_test_run import TestResult
from segue.engine.matching import compare
from unit.engine_dry.flows import problems_of, results_of

PAY = """
flow: pay
inputs: {amount: {type: number, minimum: 0}, note: string?}
steps:
  - charge:
      call: shop.charge
      params: {amount: $inputs.amount}
      retry: {attempts: 3, jitter: none, initial_delay: 10s}
      on_error:
        - note: {log: {level: warning, message: "no: {{ error.category }}"}}
        - none: {set: {paid: false, id: none}}
  - route:
      if: $charge.paid
      then:
        - tell: {http: {url: https://example.com/hook, json: {id: $charge.id, token: abc}}}
      else:
        - bill: {log: "bill {{ inputs.amount }}"}
outputs: {id: $charge.id, paid: $charge.paid}
tests:
"""


def only(tests: str, flow: str = PAY) -> TestResult:
    results = results_of(flow + tests)
    assert len(results.tests) == 1
    return results.tests[0]


def differences(result: TestResult) -> list[tuple[str, object, object]]:
    return [(one.what, one.expected, one.actual) for one in result.differences]


@pytest.mark.req("FLOW-10.pass")
def test_a_test_passes_when_all_is_as_expected() -> None:
    result = only("""
  - name: paid
    inputs: {amount: 3}
    mocks:
      charge: {paid: true, id: "{{ 'c' + string(inputs.amount) }}"}
      tell: {status: 204}
    expect:
      status: succeeded
      outputs: {id: c3}
      steps:
        charge: {status: succeeded, output: {paid: true}, attempts: 1}
        route: {reason: took `then`}
        bill: skipped
      calls: {charge: 1, tell: [{method: POST, json: {id: c3, token: abc}}]}
      not_called: [bill]
      that: [$outputs.paid, "size($outputs) == 2", "$tell.status == 204"]
""")
    assert (result.passed, result.differences, result.assumed) == (True, [], [])


@pytest.mark.req("FLOW-10.diff")
def test_each_difference_says_what_was_expected_and_what_was_there() -> None:
    result = only("""
  - name: wrong
    inputs: {amount: 3}
    mocks: {charge: {paid: true, id: c1}, tell: {status: 204}}
    expect:
      status: failed
      outputs: {id: c2, lost: 1}
      steps: {tell: skipped, bill: succeeded, charge: {attempts: 2}}
      calls: {tell: {times: 1, with: {json: {id: c9, token: xyz}}}, charge: 2}
      not_called: [tell]
      logs: [bill]
      that: ["$outputs.id == 'c3'"]
      took: 5s
""")
    assert not result.passed
    assert differences(result) == [
        ("status", "failed", "succeeded"),
        ("outputs.id", "c2", "c1"),
        ("outputs.lost", 1, None),
        ("steps.tell.status", "skipped", "succeeded"),
        ("steps.bill.status", "succeeded", "not reached"),
        ("steps.charge.attempts", 2, 1),
        ("calls.tell[0].json.id", "c9", "c1"),
        ("calls.tell[0].json.token", "***", "***"),
        ("calls.charge", 2, 1),
        ("not_called.tell", 0, 1),
        ("logs[0]", {"message": "bill"}, []),
        ("that", "$outputs.id == 'c3'", False),
        ("took", "5s", "0s"),
    ]
    assert result.differences[-2].why == '$outputs.id is "c1"'


@pytest.mark.req("FLOW-10.sequence")
def test_a_list_of_answers_is_one_for_each_attempt_in_virtual_time() -> None:
    result = only("""
  - name: third time
    inputs: {amount: 3}
    mocks: {charge: [{error: timeout}, {error: {category: http.503, message: busy}}, {paid: true, id: c1}]}
    expect: {steps: {charge: {status: succeeded, attempts: 3}}, calls: {charge: 3}, took: 30s}
""")
    assert result.differences == []
    assert result.assumed == ["tell"]


@pytest.mark.req("FLOW-10.errors")
def test_an_error_is_handled_and_the_handlers_log_is_seen() -> None:
    result = only("""
  - name: declined
    inputs: {amount: 3}
    mocks: {charge: {error: {category: adapter.card_declined, message: no money}}}
    expect:
      outputs: {paid: false}
      steps: {charge: {status: recovered, error: {category: adapter.card_declined, message: money}}}
      logs: ["bill 3", {level: warn, message: adapter.card_declined}]
""")
    assert result.differences == []


def test_an_expected_error_is_compared_by_family_and_by_a_part_of_its_message() -> None:
    flow = "flow: f\nsteps:\n  - get: {http: {url: 'https://example.com'}}\ntests:\n"
    assert only("  - {mocks: {get: {status: 502}}, expect: {error: http.5xx}}\n", flow).passed
    result = only("  - {mocks: {get: {status: 429}}, expect: {error: {category: http.4xx, step: get}}}\n", flow)
    assert differences(result) == [("error.category", "http.4xx", "rate_limit")]


@pytest.mark.req("FLOW-10.callbacks")
def test_a_callback_comes_late_or_never() -> None:
    flow = """
flow: f
steps:
  - decide:
      wait: {callback: {expires: 1d, on_timeout: continue, schema: {ok: integer}}}
outputs: {ok: $decide.ok}
tests:
"""
    assert only(
        "  - {mocks: {decide: {output: {ok: 1}, after: 3h}}, expect: {outputs: {ok: 1}, took: 3h}}\n", flow
    ).passed
    late = only("  - {mocks: {decide: {no_answer: true}}, expect: {steps: {decide: recovered}, took: 1d}}\n", flow)
    assert late.differences == []
    unfit = only("  - {mocks: {decide: {wrong: 1}}}\n", flow)
    assert (unfit.passed, unfit.status) == (False, "error")
    assert "does not fit the callback's schema" in (unfit.error or "")


def test_a_call_that_never_answers_ends_by_its_time_limit_or_is_said_to_wait() -> None:
    flow = "flow: f\nsteps:\n  - get: {http: {url: 'https://example.com'}%s}\ntests:\n"
    limited = flow % ", timeout: 30s"
    assert only("  - {mocks: {get: {no_answer: true}}, expect: {error: timeout, took: 30s}}\n", limited).passed
    result = only("  - {mocks: {get: {no_answer: true}}}\n", flow % "")
    assert [(one.actual, one.why) for one in result.differences] == [("waiting", "still waits: get")]


@pytest.mark.req("FLOW-10.loops")
def test_answers_of_a_loop_are_given_in_order_or_by_the_instances_address() -> None:
    flow = """
flow: f
inputs: {ids: {type: array}}
steps:
  - each: {foreach: {items: $inputs.ids, as: id, do: [{get: {call: shop.status, params: {id: $id}}}]}}
outputs: $each
tests:
"""
    by_order = (
        "  - {inputs: {ids: [1, 2, 3]}, mocks: {get: [{s: a}, {s: b}]}, expect: {outputs: [{s: a}, {s: b}, {s: b}]}}\n"
    )
    assert only(by_order, flow).differences == []
    by_address = """
  - inputs: {ids: [1, 2]}
    mocks: {get: {echo: $id}, "each[1].get": {error: internal}}
    expect:
      error: {category: internal, step: "each[1].get"}
      steps: {"each[0].get": {output: {echo: 1}}}
      calls: {get: [{id: 1}, {id: 2}]}
"""
    assert only(by_address, flow).differences == []


def test_inputs_come_from_the_triggers_body_and_the_moment_is_the_tests_own() -> None:
    flow = """
flow: f
inputs: {who: string}
steps:
  - a: {set: {at: "{{ now() }}", who: $inputs.who, header: $trigger.headers.x}}
outputs: $a
tests:
"""
    result = only(
        """
  - trigger: {headers: {x: y}, body: {who: Ada, more: 1}}
    now: 2030-02-03T04:05:06Z
    expect: {outputs: {who: Ada, header: y}, that: ["timestamp($outputs.at).getFullYear() == 2030"]}
""",
        flow,
    )
    assert result.differences == []


@pytest.mark.parametrize(
    ("mock", "said"),
    [("{id: 7}", "under `body`"), ("{status: ok}", "a number"), ("text", "under `body`"), ("$nothing", "nothing")],
)
def test_a_mock_that_no_http_answer_could_be_is_refused(mock: str, said: str) -> None:
    flow = "flow: f\nsteps:\n  - get: {http: {url: 'https://example.com'}}\ntests:\n"
    result = only(f"  - {{mocks: {{get: {mock}}}}}\n", flow)
    assert (result.passed, result.status) == (False, "error")
    assert (result.error or "").startswith("the mock of get: ")
    assert said in (result.error or "")


@pytest.mark.req("FLOW-10.trigger")
def test_the_trigger_decides_whether_a_test_has_a_run_and_with_which_inputs() -> None:
    flow = """
flow: f
trigger: {webhook: {inputs: {who: $data.customer}}, when: $data.amount > 10}
inputs: {who: string}
steps:
  - a: {set: {who: $inputs.who}}
outputs: $a
tests:
"""
    started = "  - {trigger: {body: {customer: Ada, amount: 11}}, expect: {outputs: {who: Ada}}}\n"
    passed_over = "  - {trigger: {body: {amount: 9}}, expect: {status: not_started}}\n"
    wrong = "  - {trigger: {body: {amount: 9}}}\n"

    assert only(started, flow).differences == []
    assert only(passed_over, flow).passed
    failed = only(wrong, flow)
    assert (failed.passed, failed.status) == (False, "not_started")
    assert failed.differences[0].why == "the trigger's `when` does not hold: $data.amount > 10"


def test_refused_inputs_fail_a_test_unless_it_expects_them() -> None:
    result = only("  - {inputs: {amount: -1}}\n")
    assert differences(result) == [("status", "succeeded", "refused")]
    assert only("  - {inputs: {amount: -1}, expect: {status: refused, error: {message: minimum}}}\n").passed


def test_exact_forbids_further_fields_and_lists_have_the_same_length() -> None:
    assert list(compare("x", {"a": 1}, {"a": 1, "b": 2})) == []
    assert [one.what for one in compare("x", {"a": 1}, {"a": 1, "b": 2}, exact=True)] == ["x.b"]
    assert [one.what for one in compare("x", [1], [1, 2])] == ["x"]
    assert [one.what for one in compare("x", {"a": [True]}, {"a": [1]})] == ["x.a[0]"]
    assert list(compare("x", 1, 1.0)) == []


def test_a_mock_that_does_not_fit_the_declared_result_is_noted() -> None:
    result = only("  - {inputs: {amount: 1}, mocks: {charge: {paid: false}}}\n")
    assert result.notes == ["charge: its mock does not fit the declared result of shop.charge at `id`: is required"]


def test_tests_may_be_a_map_by_name_and_the_seed_is_the_tests_name() -> None:
    flow = "flow: f\nsteps:\n  - a: {set: {id: '{{ uuid() }}'}}\noutputs: $a\ntests:\n"
    results = results_of(flow + '  one: {}\n  two: {expect: {that: ["size($outputs.id) == 36"]}}\n')
    assert [(one.name, one.passed) for one in results.tests] == [("one", True), ("two", True)]


@pytest.mark.req("FLOW-10.places")
@pytest.mark.parametrize(
    ("test", "code", "message", "suggestion", "place"),
    [
        ("{mocks: {chrge: 1}}", "FLW025", 'the flow has no step "chrge"', 'did you mean "charge"?', (20, 14)),
        ("{mocks: {bill: 1}}", "FLW016", "the step bill (log) calls nothing outside", "leave the mock out", (20, 14)),
        ("{mocks: {route: 1}}", "FLW016", "the step route", "mock the calls inside it", (20, 14)),
        ("{mocks: {charge: {error: tmeout}}}", "FLW016", "is no category", 'did you mean "timeout"?', (20, 30)),
        (
            "{mocks: {charge: {error: {categry: x}}}}",
            "FLW016",
            'no key "categry"',
            'did you mean "category"?',
            (20, 40),
        ),
        ("{mocks: {charge: [1, {output: 1, after: 3}]}}", "FLW016", "`after` is a duration", None, (20, 45)),
        ("{mocks: {charge: []}}", "FLW016", "write `{output: []}`", None, (20, 22)),
        ("{expects: {}}", "FLW010", 'a test has no key "expects"', 'did you mean "expect"?', (20, 6)),
        ("{expect: {status: succeded}}", "FLW016", "status is one of", 'did you mean "succeeded"?', (20, 23)),
        ("{expect: {steps: {tel: skipped}}}", "FLW025", 'no step "tel"', 'did you mean "tell"?', (20, 23)),
        ("{expect: {not_called: [bil]}}", "FLW025", 'no step "bil"', 'did you mean "bill"?', (20, 28)),
        ("{expect: {calls: {tell: many}}}", "FLW015", "the number of calls is a whole number", None, (20, 29)),
        ("{expect: {that: ['$outputs.']}}", "FLW030", "that: ", None, (20, 22)),
        ("{now: yesterday}", "FLW016", "is no moment", None, (20, 11)),
        ("3", "FLW015", "a test is a map", None, (20, 5)),
    ],
)
def test_a_mistake_in_a_test_is_told_with_its_place_and_the_nearest_name(
    test: str, code: str, message: str, suggestion: str | None, place: tuple[int, int]
) -> None:
    found = problems_of(f"{PAY}  - {test}\n")
    assert [one.code for one in found] == [code]
    span = found[0].span
    assert message in found[0].message
    assert suggestion is None or found[0].suggestion == suggestion
    assert span is not None
    assert (span.line, span.column) == place


def test_two_tests_of_one_name_are_told() -> None:
    found = problems_of(f"{PAY}  - {{name: a}}\n  - {{name: a}}\n")
    assert [one.code for one in found] == ["FLW002"]
