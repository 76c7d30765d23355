"""Dry runs: real decisions, no call outside, and assumptions that say that they are some."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest

from segue.engine.dry_run import DryRun, PlannedStep, dry_run
from segue.errors import InvalidInputError
from unit.engine_dry.flows import REGISTRY, loaded, planned


def step(plan: DryRun, name: str) -> PlannedStep:
    return next(one for one in plan.steps if one.id == name)


NOTIFY = """
flow: notify
inputs: {amount: number}
secrets: {token: {from: env:NO_SUCH_VARIABLE}}
steps:
  - charge: {call: shop.charge, params: {amount: $inputs.amount, key: $secrets.token}}
  - if: $charge.paid
    then:
      - tell:
          http:
            url: "https://example.com/hook?token={{ secrets.token }}"
            headers: {authorization: "Bearer {{ secrets.token }}"}
            json: {id: $charge.id}
    else:
      - ask_again: {call: shop.charge, params: {amount: 1}}
outputs: {id: $charge.id, status: $tell.status}
"""


@pytest.mark.req("BAR-5.network", "FLOW-9.no-call")
def test_a_dry_run_opens_no_socket_and_calls_no_action(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    plan = planned(NOTIFY, {"amount": 3})
    assert (plan.ok, plan.status) == (True, "succeeded")
    assert step(plan, "tell").would == "would send POST https://example.com/hook?token=***"


@pytest.mark.req("FLOW-9.bindings", "BAR-5.effects")
def test_parameters_are_resolved_and_secrets_are_placeholders() -> None:
    plan = planned(NOTIFY, {"amount": 3})
    charge, tell = step(plan, "charge"), step(plan, "tell")
    assert charge.calls[0].params == {"amount": 3, "key": "***"}
    assert (charge.effect, tell.effect) == ("unsafe", "keyed")
    assert tell.calls[0].params == {
        "method": "POST", "url": "https://example.com/hook?token=***", "headers": {"authorization": "***"},
        "json": {"id": "sample"},
    }  # fmt: skip


@pytest.mark.req("FLOW-9.assumptions")
def test_what_hangs_on_a_sample_says_so() -> None:
    plan = planned(NOTIFY, {"amount": 3})
    assert step(plan, "charge").assumed == "assumes a sample answer made from its schema"
    assert step(plan, "conditional_1").assumes == ["charge"]
    assert step(plan, "tell").assumes == ["charge"]
    assert plan.outputs == {"id": "sample", "status": 200}
    assert plan.outputs_assume == ["charge", "tell"]
    mocked = planned(NOTIFY, {"amount": 3}, charge={"paid": True, "id": "c1"}, tell={"status": 204})
    assert (mocked.outputs, mocked.outputs_assume) == ({"id": "c1", "status": 204}, [])
    assert all(one.assumed is None and one.assumes == [] for one in mocked.steps)


@pytest.mark.req("FLOW-9.branches")
def test_the_branch_taken_has_its_reason_and_the_other_is_listed_as_not_reached() -> None:
    plan = planned(NOTIFY, {"amount": 3}, charge={"paid": False, "id": "c1"})
    assert step(plan, "conditional_1").reason == "took `else`: `then` did not hold"
    assert [one.id for one in plan.steps] == ["charge", "conditional_1", "ask_again"]
    assert [(one.id, one.would) for one in plan.not_reached] == [("tell", "would not run")]


@pytest.mark.req("BAR-5.waits")
def test_waits_of_months_pass_at_once_and_are_listed_with_their_length() -> None:
    text = """
flow: f
inputs: {pause: string}
steps:
  - rest: {wait: $inputs.pause}
  - until: {wait: {until: 'now() + duration("2h")'}}
"""
    plan = planned(text, {"pause": "60d"})
    assert (step(plan, "rest").would, step(plan, "rest").wait_seconds) == ("would wait 60d", 60 * 86_400)
    assert step(plan, "until").wait_seconds == 7200
    assert plan.took_seconds == 60 * 86_400 + 7200


@pytest.mark.req("BAR-5.callbacks")
def test_a_callback_is_answered_from_its_schema_and_without_one_said_to_be_waited_for() -> None:
    text = """
flow: f
steps:
  - decide: {wait: {callback: {expires: 1d, schema: {type: object, properties: {ok: {type: boolean}}}}}}
  - start: {call: shop.status, params: {id: 1}, wait: {callback: {expires: 2h}}}
outputs: {ok: $decide.ok, start: $start}
"""
    plan = planned(text)
    assert step(plan, "decide").would == "would wait for a callback, 1d at most"
    assert step(plan, "start").would == "would call shop.status, then would wait for a callback, 2h at most"
    assert plan.outputs == {"ok": True, "start": None}
    assert step(plan, "start").assumed == "assumes an empty answer"
    assert planned(text, start={"done": 1}).outputs == {"ok": True, "start": {"done": 1}}


@pytest.mark.req("BAR-5.polls")
def test_a_poll_without_a_mock_is_taken_to_get_what_it_waits_for() -> None:
    text = """
flow: f
steps:
  - job:
      poll: {call: shop.status, success_condition: "$.state == 'done' && $.ok", interval: 1h, max_attempts: 3}
outputs: $job
"""
    plan = planned(text)
    assert (plan.outputs, step(plan, "job").assumed) == (
        {"state": "done", "ok": True},
        "assumes the answer that it waits for",
    )
    mocked = planned(text, job=[{"state": "busy"}, {"state": "done", "ok": True}])
    assert (mocked.took_seconds, len(step(mocked, "job").calls)) == (3600, 2)
    stale = planned(text, job={"state": "busy"})
    assert (stale.ok, stale.error["code"] if stale.error else None) == (False, "poll_exhausted")


def test_a_request_that_is_asked_again_until_it_is_done_gets_what_it_waits_for() -> None:
    text = """
flow: f
steps:
  - job:
      http: {url: https://example.com/job}
      poll: {success_condition: "$.state == 'done'", interval: 1m}
outputs: $job
"""
    plan = planned(text)
    assert (plan.ok, plan.outputs) == (True, {"state": "done"})
    mocked = planned(text, job=[{"state": "busy"}, {"body": {"state": "done", "n": 2}}])
    assert (mocked.outputs, mocked.took_seconds) == ({"state": "done", "n": 2}, 60)


@pytest.mark.req("FLOW-9.unbound")
def test_an_unbound_step_passes_on_what_flowed_in() -> None:
    plan = planned("flow: f\nsteps:\n  - a: {set: {x: 1}}\n  - somebody_else\noutputs: $somebody_else\n")
    assert plan.outputs == {"x": 1}
    assert step(plan, "somebody_else").would.startswith("nothing is known by `somebody_else`")
    assert plan.outputs_assume == ["somebody_else"]


@pytest.mark.req("FLOW-9.problems")
def test_an_expression_that_fails_is_a_problem_with_its_place() -> None:
    text = """flow: f
inputs: {n: integer}
steps:
  - a: {set: {x: 1}}
  - b:
      when: 10 / $inputs.n > 1
      log: hi
"""
    plan = planned(text, {"n": 0})
    problem = plan.problems[0]
    assert (plan.ok, problem.severity, problem.step, problem.category) == (False, "error", "b", "expression")
    assert (problem.line, problem.column) == (6, 13)
    assert "when: " in problem.message
    assert [one.id for one in planned(text, {"n": 2}).steps] == ["a", "b"]


@pytest.mark.req("FLOW-9.params")
def test_parameters_that_do_not_fit_fail_the_step_unless_they_hang_on_an_assumption() -> None:
    text = "flow: f\ninputs: {n: any}\nsteps:\n  - pay: {call: shop.charge, params: {amount: $inputs.n}}\n"
    plan = planned(text, {"n": "three"})
    assert (plan.ok, plan.problems[0].category, plan.problems[0].line) == (False, "validation", 4)
    assert "shop.charge: amount" in plan.problems[0].message
    text = "flow: f\nsteps:\n  - ask: {call: shop.status}\n  - pay: {call: shop.charge, params: {amount: $ask.total}}\n"
    plan = planned(text)
    assert (plan.ok, plan.problems[0].severity, plan.problems[0].assumes) == (True, "warning", ["ask"])


def test_a_handled_failure_is_a_warning_and_the_run_ends_well() -> None:
    text = """
flow: f
steps:
  - pay:
      call: shop.charge
      params: {amount: 3}
      retry: {attempts: 3, jitter: none, initial_delay: 10s}
      on_error: [{note: {log: "no: {{ error.category }}"}}]
"""
    plan = planned(text, pay={"error": "timeout"})
    assert (plan.ok, plan.took_seconds, len(step(plan, "pay").calls)) == (True, 30, 3)
    assert [(one.severity, one.category) for one in plan.problems] == [("warning", "timeout")]
    assert step(plan, "pay.on_error.note").would == "would log (info): no: timeout"


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInputError):
        planned(NOTIFY, {"amount": "much"})


def test_an_approval_is_played_with_the_decision_of_its_mock() -> None:
    plan = planned("flow: f\nsteps:\n  - ok: {approve: {to: [group:finance]}}\n", ok={"approved": True})
    output = step(plan, "ok").output
    assert isinstance(output, dict)
    assert (plan.ok, output["approved"]) == (True, True)


@pytest.mark.req("BAR-5.deterministic")
def test_the_same_inputs_give_the_same_plan_to_the_byte() -> None:
    text = "flow: f\nsteps:\n  - a: {set: {id: '{{ uuid() }}', at: '{{ now() }}', x: '{{ random() }}'}}\noutputs: $a\n"
    assert msgspec.json.encode(planned(text)) == msgspec.json.encode(planned(text))


def test_of_a_large_loop_the_first_hundred_items_are_listed_and_the_others_counted() -> None:
    text = """
flow: f
inputs: {ids: {type: array}}
steps:
  - each: {foreach: {items: $inputs.ids, limit: 50, do: [{ask: {call: shop.status, params: {id: $item}}}]}}
outputs: {n: "{{ size($each) }}"}
"""
    plan = planned(text, {"ids": list(range(1000))})
    assert (plan.outputs, len(plan.steps), plan.not_listed) == ({"n": 1000}, 101, 900)


def test_a_chain_of_a_thousand_steps_that_read_each_other_is_planned() -> None:
    lines = ["flow: f", "steps:", "  - s0: {call: shop.status}"]
    lines += [f"  - s{number}: {{set: {{x: $s{number - 1}.x}}}}" for number in range(1, 900)]
    plan = planned("\n".join(lines) + "\n")
    assert step(plan, "s899").assumes == ["s0"]


SALE = """
flow: sale
trigger:
  webhook: {inputs: {amount: $data.amount, who: "{{ $data.customer.name | upper }}"}}
  when: $data.amount > 100
inputs: {amount: number, who: string}
secrets: {token: {from: env:NO_SUCH_VARIABLE}, key: {from: shop.api_key}}
steps:
  - tell: {http: {method: POST, url: "https://crm.example.com:8443/x?t={{ secrets.token }}", json: {who: $inputs.who}}}
  - each:
      foreach: "{{ range(150) }}"
      do: {charge: {call: shop.charge, params: {amount: $item, key: $secrets.token}}}
"""


@pytest.mark.req("FLOW-9.trigger", "BAR-5.trigger")
def test_the_trigger_is_played_with_its_condition_and_its_map_of_inputs() -> None:
    plan = planned_at(SALE, {"body": {"amount": 500, "customer": {"name": "ada"}}})

    assert plan.ok
    assert plan.inputs == {"amount": 500, "who": "ADA"}
    assert plan.beginning is not None
    assert (plan.beginning.kind, plan.beginning.begins, plan.beginning.line) == ("webhook", True, 4)


def test_an_event_that_the_trigger_passes_over_starts_no_run() -> None:
    plan = planned_at(SALE, {"body": {"amount": 5}})

    assert (plan.ok, plan.status, plan.steps) == (False, "not_started", [])
    assert plan.beginning is not None
    assert plan.beginning.reason == "the trigger's `when` does not hold: $data.amount > 100"


@pytest.mark.req("FLOW-9.permissions")
def test_a_plan_lists_what_must_be_there_for_a_real_run() -> None:
    needs = planned(SALE, {"amount": 1, "who": "x"}).needs

    assert [(one.name, one.source, one.steps) for one in needs.secrets] == [
        ("token", "env:NO_SUCH_VARIABLE", ["tell", "charge"]),
        ("key", "shop.api_key", []),
    ]
    assert needs.connections == ["shop"]
    assert needs.hosts == ["crm.example.com:8443"]
    assert needs.actions == ["http", "shop.charge"]
    assert needs.outside_calls == 151  # also those beyond the hundred that are listed
    assert needs.unsafe == ["charge"]


def test_samples_stand_in_for_required_inputs_that_are_missing() -> None:
    with pytest.raises(InvalidInputError):
        planned(SALE)
    flow, document = loaded(SALE)
    plan = dry_run(flow, {"who": "Ada"}, REGISTRY, document=document, samples=True)

    assert plan.sampled_inputs == ["amount"]
    assert plan.inputs["who"] == "Ada"
    assert isinstance(plan.inputs["amount"], int)


def planned_at(text: str, event: dict[str, Any]) -> DryRun:
    flow, document = loaded(text)
    return dry_run(flow, {}, REGISTRY, trigger=event, document=document)


def test_a_choice_is_shown_with_what_it_asks() -> None:
    plan = planned(NOTIFY, {"amount": 3})
    assert step(plan, "conditional_1").asks == ["`then` if $charge.paid"]

    switch = "flow: f\ninputs: {kind: string}\nsteps:\n  - switch: $inputs.kind\n    cases: {a: [one: {log: 1}]}\n"
    assert step(planned(switch, {"kind": "a"}), "switch_1").asks == ["looks at $inputs.kind"]
