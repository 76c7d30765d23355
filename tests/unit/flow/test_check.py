"""The checker finds what cannot work before anything runs, and does not cry wolf."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.flow.kit import CATALOGUE, codes_of, one, pointed_at, problems_of, read, read_well

from segue.errors import InvalidFlowError
from segue.flow import Flow, StaticCatalogue, check_flow, load_flow
from segue.flow.catalogue import ActionSpec

LANGUAGE_EXAMPLE = """\
dsl: 1
flow: customer-support
trigger: webhook.received
inputs: {message: string, email: {type: string, format: email}}
limits: {concurrency: 20, key: $inputs.email, on_full: queue}
steps:
  - verify: {adapter: iam, action: verify_token, params: {token: $trigger.headers.authorization}}
  - classify_issue:
      call: ai.classify
      params: {text: $inputs.message, labels: [billing, technical, other]}
      retry: {attempts: 3, backoff: exponential}
      on_error: [log_failure, notify_admin, fallback_to_manual]   # names: definitions or saved steps
  - conditional:
      if: $classify_issue.category == 'billing'
      then:
        - refund: {approve: {to: [group:finance], form: {amount: number}, timeout: 2d, on_timeout: reject}}
        - route_to_finance
      else: [route_to_support]
  - parallel: [send_email, send_sms, update_crm]
  - call_back: {call: stripe.refund, params: {to: $update_crm.phone}, wait: {callback: {expires: 1h}}}
outputs: {category: $classify_issue.category}
finally: [close_session]
"""


@pytest.mark.req("FLOW-5.unbound")
def test_the_languages_own_example_has_only_names_to_bind() -> None:
    found = problems_of(LANGUAGE_EXAMPLE)
    assert {(problem.code, problem.severity) for problem in found} == {("FLW014", "warning")}
    assert len(found) == 9
    strict = problems_of(LANGUAGE_EXAMPLE, runnable=True)
    assert {problem.code for problem in strict if problem.severity == "error"} == {"FLW014"}
    allowed = problems_of(LANGUAGE_EXAMPLE + "unbound: allow\n", runnable=True)
    assert not [problem for problem in allowed if problem.severity == "error"]


@pytest.mark.req("FLOW-5.adapters", "FLOW-5.suggestion", "FLOW-5.place")
def test_an_unknown_adapter_is_pointed_at_with_the_nearest_name() -> None:
    text = "flow: x\nsteps:\n  - classify:\n      adapter: ia\n      action: classify\n"
    problem = one(text, "FLW012")
    assert pointed_at(text, problem) == "ia"
    assert str(problem) == ('FLW012 steps[0].classify: unknown adapter "ia"; did you mean "iam"? (flow.yaml:4:16)')


@pytest.mark.req("FLOW-5.actions")
def test_an_adapter_alone_means_the_action_called_like_the_step_or_its_default() -> None:
    flow = load_flow(
        "flow: x\nsteps: [{classify: {adapter: ai}}, {charge_card: {adapter: stripe}}, a: score_lead]", CATALOGUE
    )
    assert [step.use for step in flow.root.steps] == ["ai.classify", "stripe.charge_card", "score_lead"]
    problem = one("flow: x\nsteps: [{pay: {adapter: stripe}}]", "FLW013")
    assert problem.suggestion == "add `action:`, one of charge_card, refund"
    chosen = StaticCatalogue([ActionSpec(name="mail.a"), ActionSpec(name="mail.b")], default_actions={"mail": "b"})
    assert load_flow("flow: x\nsteps: [{pay: {adapter: mail}}]", chosen).root.steps[0].use == "mail.b"


@pytest.mark.req("FLOW-5.params")
def test_static_parameters_are_checked_and_computed_ones_are_not() -> None:
    text = """
        flow: x
        steps:
          - a: {call: iam.verify_token, params: {token: 3, scopes: [x, 4], tokn: y}}
          - b: {call: iam.verify_token, params: {token: $inputs.t, scopes: "{{ [inputs.s] }}"}}
          - c: {call: iam.verify_token, params: {scopes: [$inputs.s]}}
    """
    found = [problem for problem in problems_of(text) if problem.code == "FLW035"]
    assert [(problem.path, pointed_at(text, problem)) for problem in found] == [
        ("steps[0].a.params.token", "3"), ("steps[0].a.params.scopes[1]", "4"), ("steps[0].a.params.tokn", "tokn"),
        ("steps[2].c.params", "{scopes: [$inputs.s]}"),
    ]  # fmt: skip
    assert found[2].suggestion == 'did you mean "token"?'


VISIBLE = """
    flow: x
    inputs: {n: integer}
    secrets: {key: env:KEY}
    steps:
      - a: {set: {x: 1}}
      - fan:
          parallel: [p1, [p2, {p3: {log: $p2.x}}]]
      - if: $a.x == 1
        then: [{same: {set: {v: 1}}}]
        else: [{same: {set: {v: 2}}}]
      - after: {log: "{{ p1.x }} {{ p3.x }} {{ same.v }} {{ steps.p1.x }} {{ steps['fan'] }}"}
      - each:
          foreach:
            {items: $a.x, as: order, index: n, aggregate: results.size(), do: [
              {inner: {log: $order.id}}, {log: "{{ inner }} {{ item }} {{ index }} {{ n }}"}]}
      - again: {repeat: {until: $page.body.done, max: 3, do: [{page: {http: GET https://x}}]}}
      - reach: {log: "{{ steps.each[3].inner }} {{ self }} {{ attempt }} {{ run.id }}"}
      - guard:
          try: [{risky: {log: x}}]
          catch: [{log: "{{ risky }} {{ error.message }}"}]
          finally: [{log: "{{ risky }}"}]
      - last:
          http: {url: "https://x/{{ risky }}", headers: {key: $secrets.key}}
          on_error: [{note: {log: "{{ error.code }} {{ a.x }} {{ data }}"}}, {log: "{{ note }}"}]
          finally: [{log: $a.x}]
          output: $.body
          when: inputs.n > 3 and $a.x != null
    outputs: {all: [$after, $each, $p1, $same]}
    finally: [{log: $last}]
"""


@pytest.mark.req("FLOW-5.references")
def test_every_name_that_is_visible_may_be_referred_to() -> None:
    assert codes_of(VISIBLE) == {"FLW014"}


@pytest.mark.req("FLOW-5.references")
@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("[{a: {log: $b.x}}, {b: {log: x}}]", "FLW032"),
        ("[{a: {log: $a.x}}]", "FLW032"),
        ("[{parallel: [{a: {log: x}}, {b: {log: $a.x}}]}]", "FLW032"),
        ("[{if: true, then: [{a: {log: x}}], else: [{b: {log: $a.x}}]}]", "FLW032"),
        ("[{foreach: [1], do: [{a: {log: x}}]}, {b: {log: $a.x}}]", "FLW032"),
        ("[{repeat: {max: 2, do: [{a: {log: x}}]}}, {b: {log: $steps.a.x}}]", "FLW032"),
        ("[{x: {log: x, on_error: [{a: {log: y}}]}}, {b: {log: $a}}]", "FLW032"),
        ("[{a: {log: x, needs: []}}, {b: {log: $a, needs: []}}]", "FLW032"),
        ("[{try: [{a: {log: $b}}], catch: [{b: {log: x}}]}]", "FLW032"),
        ("[{a: {log: $nobody.x}}]", "FLW031"),
        ("[{a: {log: '{{ nobody.x }}'}}]", "FLW031"),
        ("[{a: {log: x, when: nobody}}]", "FLW031"),
        ("[{a: {log: $steps.nobody}}]", "FLW031"),
        ("[{switch: $nobody, cases: {a: [x]}}]", "FLW031"),
        ("[{foreach: $nobody, do: [x]}]", "FLW031"),
        ("[{foreach: {items: [1], as: order, do: [x]}}, {a: {log: $order}}]", "FLW031"),
        ("[{repeat: {until: nobody, do: [x]}}]", "FLW031"),
        ("[{a: {http: {url: $nobody}}}]", "FLW031"),
        ("[{a: {map: {mappings: [{from: nobody.x, to: y}]}}}]", "FLW031"),
        ("[{a: {log: x, output: $nobody}}]", "FLW031"),
        ("[{a: {log: x, default: $nobody}}]", "FLW031"),
        ("[{a: {wait: {until: nobody.x}}}]", "FLW031"),
        ("[{a: {log: $inputs.nobody}}]", "FLW033"),
    ],
)
def test_names_that_are_not_visible_are_found_wherever_they_stand(steps: str, code: str) -> None:
    assert code in codes_of(f"flow: x\ninputs: {{n: integer}}\nsteps: {steps}")


@pytest.mark.req("FLOW-5.references", "FLOW-5.place")
def test_references_and_expressions_are_pointed_at_exactly() -> None:
    text = """
        flow: x
        inputs: {email: string}
        steps:
          - classify: {log: x}
          - a: {log: "é: {{ clasify.x }} \\t{{ inputs.emial }}"}
          - b: {log: 'it''s {{ 1 + }} x', when: $classify.x and and true}
          - c: {log: {{ nobody + 1 }}}
          - d:
              log: |
                first {{ 2 + }}
    """
    found = [(p.code, pointed_at(text, p)) for p in problems_of(text) if p.code not in ("FLW004", "FLW014")]
    assert found == [
        ("FLW031", "clasify.x"), ("FLW033", "inputs.emial"), ("FLW030", "}"), ("FLW030", "and"), ("FLW031", "nobody"),
        ("FLW030", "|\n        first {{ 2 + }}\n"),
    ]  # fmt: skip


@pytest.mark.req("FLOW-5.fields")
def test_fields_are_checked_against_declared_results() -> None:
    verify = "a: {call: iam.verify_token, params: {token: x}}"
    text = f"flow: x\nsteps: [{{{verify}}}, {{b: {{log: $a.usr}}}}, {{c: {{log: $a.user.any}}}}]"
    problem = one(text, "FLW034")
    assert (problem.severity, problem.suggestion) == ("error", 'did you mean "user"?')
    # An open result may have more fields; handlers and defaults may give another output.
    assert one("flow: x\nsteps: [{a: {call: ai.classify}}, {b: {log: $a.categry}}]", "FLW034").severity == "warning"
    for more in ("on_error: [x]", "default: {}", "output: $.body", "wait: {callback: {}}"):
        text = (
            f"flow: x\nsteps: [{{a: {{call: iam.verify_token, params: {{token: x}}, {more}}}}}, {{b: {{log: $a.usr}}}}]"
        )
        assert "FLW034" not in codes_of(text)


@pytest.mark.req("FLOW-5.cycles")
def test_cycles_are_shown_whole() -> None:
    steps = "[{a: {log: x, needs: [c]}}, {b: {log: x, needs: [a]}}, {c: {log: x, needs: [b]}}, {d: {log: x}}]"
    text = f"flow: x\nsteps: {steps}"
    problem = one(text, "FLW026")
    assert "a → b → c → a" in problem.message
    assert "FLW026" in codes_of("flow: x\nsteps: [{a: {log: x, needs: [a]}}]")


@pytest.mark.req("FLOW-5.names")
@pytest.mark.parametrize(("name", "better"), [("a-b", "a_b"), ("1st", "step_1st"), ("מזל", "step")])
def test_a_name_that_expressions_cannot_use_is_mended_into_one_that_they_can(name: str, better: str) -> None:
    problem = one(f"flow: x\nsteps: [{{'{name}': {{log: x}}}}]", "FLW022")
    assert problem.suggestion == f"call it {better}"


@pytest.mark.req("FLOW-5.duplicate_ids")
def test_exclusive_branches_may_share_a_name_and_others_may_not() -> None:
    assert "FLW024" not in codes_of("flow: x\nsteps: [{if: true, then: [{a: {log: x}}], else: [{a: {log: y}}]}]")
    assert "FLW024" not in codes_of("flow: x\nsteps: [{switch: {on: 1, cases: {1: [a], 2: [a]}, default: [a]}}]")
    assert "FLW024" not in codes_of("flow: x\nsteps: [a, {foreach: [1], do: [a]}, {b: {log: x, on_error: [a]}}]")
    for steps in (
        "[a, a]",
        "[{parallel: [a, a]}]",
        "[a, {if: true, then: [a]}]",
        "[{try: [a], catch: [a]}]",
        "[{foreach: [1], do: [a, a]}]",
    ):
        assert "FLW024" in codes_of(f"flow: x\nsteps: {steps}"), steps


@pytest.mark.req("FLOW-5.unreachable")
def test_steps_behind_an_end_are_found() -> None:
    assert "FLW027" in codes_of("flow: x\nsteps: [{return: 1}, {log: x}]")
    assert "FLW027" in codes_of("flow: x\nsteps: [{if: true, then: [{fail: x}], else: [stop]}, {log: x}]")
    assert "FLW027" not in codes_of("flow: x\nsteps: [{if: true, then: [{fail: x}]}, {log: x}]")
    assert "FLW027" not in codes_of("flow: x\nsteps: [{a: {return: 1, when: inputs.x}}, {log: x}]")
    assert "FLW027" not in codes_of("flow: x\nsteps: [{log: x}, {return: 1}]")


@pytest.mark.req("FLOW-5.size")
def test_size_is_warned_about_and_limited() -> None:
    text = "flow: x\nsteps:\n" + "".join(f"  - {{log: {n}}}\n" for n in range(51))
    assert one(text, "FLW036").severity == "warning"
    result = read(text)
    assert result.flow is not None
    found = check_flow(result.flow, CATALOGUE, runnable=True, max_steps=50)
    assert [problem.code for problem in found] == ["FLW037"]


def test_a_stored_flow_is_checked_without_its_text() -> None:
    flow = read_well("flow: x\nsteps: [{a: {log: $b}}, {b: {http: {url: $c.x, json: {deep: ['{{ 1 + }}']}}}}]")
    stored = msgspec.json.decode(msgspec.json.encode(flow), type=Flow)
    assert stored == flow
    found = check_flow(stored, CATALOGUE, runnable=True)
    assert [(problem.code, problem.path) for problem in found] == [
        ("FLW032", "steps[0].a.params"), ("FLW031", "steps[1].b.params"), ("FLW030", "steps[1].b.params"),
    ]  # fmt: skip
    assert all(problem.span is not None for problem in found)


@pytest.mark.req("FLOW-5.all_at_once")
def test_loading_raises_once_with_every_problem() -> None:
    with pytest.raises(InvalidFlowError) as raised:
        load_flow("flow: x\nsteps: [{a: {call: nope.x, retyr: 3}}, {b: {log: $z}}]", CATALOGUE, file="f.yaml")
    assert {problem.code for problem in raised.value.problems} == {"FLW010", "FLW012", "FLW031"}
    assert raised.value.message.startswith("f.yaml has 3 errors; the first: FLW010")
    with pytest.raises(InvalidFlowError):
        load_flow("", CATALOGUE)


def test_loading_binds_names_and_marks_those_that_stay_unbound() -> None:
    flow = load_flow({"flow": "x", "unbound": "allow", "steps": ["nobody", {"b": "iam.revoke"}]}, CATALOGUE)
    assert [(step.use, step.unbound) for step in flow.root.steps] == [("nobody", True), ("iam.revoke", False)]


def test_a_wide_and_a_long_flow_are_checked_in_linear_time() -> None:
    steps = "".join(
        f"  - s{n}: {{set: {{x: $s{n - 1}.x}}}}\n" if n else "  - s0: {set: {x: 1}}\n" for n in range(1_500)
    )
    assert codes_of("flow: x\nsteps:\n" + steps) == {"FLW036"}


@pytest.mark.parametrize(
    "text",
    [
        "flow: x\nbudget: {usd: 1}\nsteps: [{log: x}]",
        "flow: x\nsteps: [{flow: {flow: y, baseURL: 'https://x'}}]",
        "flow: x\nsteps: [{a: {wait: 1s, cache: {for: 1h}}}]",
        "flow: x\nsteps: [{a: {wait: 1s, limits: {concurrency: 1}}}]",
    ],
)
def test_what_the_engine_cannot_run_is_refused_only_when_it_shall_run(text: str) -> None:
    assert codes_of(text, runnable=True) == {"FLW038"}
    assert codes_of(text) == set()


def test_poll_conditions_may_be_json_path_queries() -> None:
    poll = "flow: x\nsteps: [{a: {poll: {url: 'https://x', success_condition: '%s'}}}]"
    assert codes_of(poll % "$.items[?@.done]", runnable=True) == set()
    assert codes_of(poll % "$.items[?@.done", runnable=True) == {"FLW030"}


@pytest.mark.req("FLOW-5.scopes")
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("{{ steps.turns[index - 1].a.n }}", set[str]()), ("{{ size(steps.turns) }}", set[str]()),
        ("$turns", {"FLW032"}), ("$steps.later", {"FLW032"}), ("$steps.b", {"FLW032"}),
    ],
)  # fmt: skip
def test_a_turn_sees_the_turns_before_it(value: str, found: set[str]) -> None:
    text = f"""
      steps:
        - turns:
            repeat:
              max: 3
              do: [{{a: {{set: {{n: 1}}}}}}, {{b: {{if: "true", then: [{{c: {{set: {{x: "{value}"}}}}}}]}}}}]
        - later: {{log: x}}
    """
    assert codes_of(text) == found
