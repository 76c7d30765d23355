"""Flows as people write them: document C's examples as written there, and every shorthand of the language."""

from __future__ import annotations

import pytest
from tests.unit.flow.kit import codes_of, edges_of, one, pointed_at, problems_of, read, read_well, step_of

from segue.flow.model import Callback, Poll, Retry, Timeout

DOCUMENT_C = """\
flow: customer-support
trigger: webhook.received
steps:
  - authenticate_user:
      adapter: iam
      action: verify_token
  - load_prompt:
      adapter: prompt_service
      action: get_template
      params:
        templateId: "support-agent-v1"
  - send_to_retell:
      adapter: retell
      action: start_call
"""


@pytest.mark.req("FLOW-1.sequence", "FLOW-1.trigger")
def test_document_c_first_flow_reads_as_written() -> None:
    flow = read_well(DOCUMENT_C)
    assert flow.id == "customer-support"
    assert [(trigger.kind, trigger.settings) for trigger in flow.triggers] == [("webhook", {})]
    assert [(step.id, step.kind, step.use) for step in flow.root.steps] == [
        ("authenticate_user", "call", "iam.verify_token"),
        ("load_prompt", "call", "prompt_service.get_template"),
        ("send_to_retell", "call", "retell.start_call"),
    ]
    assert flow.root.steps[1].params == {"templateId": "support-agent-v1"}
    assert edges_of(flow) == {("authenticate_user", "load_prompt", None), ("load_prompt", "send_to_retell", None)}


@pytest.mark.req("FLOW-1.sequence", "FLOW-1.shorthand")
def test_document_c_sequence_reads_as_written() -> None:
    flow = read_well("""
        flow: onboarding
        steps:
          - step1: authenticate
          - step2: create_account
          - step3: send_welcome_email
    """)
    assert [(step.id, step.use) for step in flow.root.steps] == [
        ("step1", "authenticate"), ("step2", "create_account"), ("step3", "send_welcome_email"),
    ]  # fmt: skip
    assert edges_of(flow) == {("step1", "step2", None), ("step2", "step3", None)}


@pytest.mark.req("FLOW-1.parallel", "FLOW-1.shorthand")
def test_document_c_parallel_reads_as_written() -> None:
    flow = read_well("""
        flow: multi-channel-notify
        steps:
          - parallel:
              - send_email
              - send_sms
              - update_crm
    """)
    (step,) = flow.root.steps
    assert (step.id, step.kind, step.params) == ("parallel_1", "parallel", {"join": "all", "fail": "fast"})
    assert [block.label for block in step.blocks] == ["send_email", "send_sms", "update_crm"]
    assert [block.steps[0].use for block in step.blocks] == ["send_email", "send_sms", "update_crm"]


@pytest.mark.req("FLOW-1.conditional", "FLOW-1.references")
def test_document_c_conditional_reads_as_written() -> None:
    flow = read_well("""
        flow: support-routing
        steps:
          - classify_issue:
              adapter: ai
          - conditional:
              if: $classify_issue.category == 'billing'
              then:
                - route_to_finance
              else:
                - route_to_support
    """)
    classify, choice = flow.root.steps
    assert (classify.id, classify.use) == ("classify_issue", "ai.*")
    assert [(block.label, block.when, block.steps[0].use) for block in choice.blocks] == [
        ("then", "$classify_issue.category == 'billing'", "route_to_finance"),
        ("else", None, "route_to_support"),
    ]


@pytest.mark.req("FLOW-1.retry", "FLOW-1.on_error")
def test_document_c_error_handling_reads_as_written() -> None:
    flow = read_well("""
        flow: payment-processing
        steps:
          - charge_card:
              adapter: stripe
              retry:
                attempts: 3
                backoff: exponential
              on_error:
                - log_failure
                - notify_admin
                - fallback_to_manual
    """)
    (step,) = flow.root.steps
    assert step.retry == Retry(max_attempts=3, backoff="exponential")
    (handler,) = step.on_error
    assert handler.then == "continue"
    assert handler.match == ()
    assert [inner.use for inner in handler.block.steps] == ["log_failure", "notify_admin", "fallback_to_manual"]
    assert len(handler.block.edges) == 2


@pytest.mark.req("FLOW-1.shorthand")
@pytest.mark.parametrize(
    ("written", "id", "kind", "use"),
    [
        ("- route_to_finance", "route_to_finance", "call", "route_to_finance"),
        ("- iam.verify_token", "verify_token", "call", "iam.verify_token"),
        ("- step1: authenticate", "step1", "call", "authenticate"),
        ("- step1: iam.verify_token", "step1", "call", "iam.verify_token"),
        ("- charge_card:", "charge_card", "call", "charge_card"),
        ("- charge_card: {retry: 3}", "charge_card", "call", "charge_card"),
        ("- a: {call: iam.revoke}", "a", "call", "iam.revoke"),
        ("- a: {use: log_it}", "a", "call", "log_it"),
        ("- call: iam.revoke", "revoke", "call", "iam.revoke"),
        ("- {name: verify, call: iam.revoke}", "verify", "call", "iam.revoke"),
        ("- {id: verify, name: Verify it, call: iam.revoke}", "verify", "call", "iam.revoke"),
        ("- {adapter: iam, action: revoke}", "revoke", "call", "iam.revoke"),
        ("- adapter: iam\n  name: verify\n  action: revoke", "verify", "call", "iam.revoke"),
        ("- charge_card:\n  adapter: stripe", "charge_card", "call", "stripe.*"),
        ("- step1: authenticate\n  when: $inputs.x", "step1", "call", "authenticate"),
        ("- python: score_lead", "score_lead", "call", "score_lead"),
        ("- a: {python: {function: score_lead, params: {x: 1}}}", "a", "call", "score_lead"),
        ("- log: hello", "log_1", "log", None),
        ("- stop", "stop_1", "stop", None),
        ("- return: $inputs.x", "return_1", "return", None),
        ("- a: {wait: 3h}", "a", "wait", None),
        ("- if: $inputs.x\n  then: [a]", "conditional_1", "conditional", None),
    ],
)
def test_every_spelling_of_a_step_gives_its_id_verb_and_use(written: str, id: str, kind: str, use: str | None) -> None:
    (step,) = read_well("flow: x\nsteps:\n" + written).root.steps
    assert (step.id, step.kind, step.use) == (id, kind, use)


def test_anonymous_steps_are_numbered_past_names_that_are_taken() -> None:
    flow = read_well("""
        flow: x
        definitions: {note: [{log: a}, {log: b}]}
        steps:
          - log_1: {log: mine}
          - log: first
          - parallel: [a, b]
          - parallel: [c, d]
    """)
    assert [step.id for step in flow.root.steps] == ["log_1", "log_2", "parallel_1", "parallel_2"]


def test_needs_takes_the_place_of_the_edge_from_the_step_before() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a
          - b: {log: b, needs: []}
          - c: {log: c, needs: [a, b]}
          - d: {log: d, needs: a, join: any}
          - e
    """)
    assert edges_of(flow) == {("a", "c", None), ("b", "c", None), ("a", "d", None), ("d", "e", None)}
    assert step_of(flow, "d").join == "any"


@pytest.mark.req("EXEC-1.join")
def test_parallel_takes_named_branches_and_settings() -> None:
    flow = read_well("""
        flow: x
        steps:
          - fan:
              parallel:
                branches: {left: [a, b], right: {log: r}}
                join: 1
                limit: 2
                fail: wait
          - parallel: {x: [c], y: d}
          - race: [e, [f, g]]
    """)
    fan = step_of(flow, "fan")
    assert fan.params == {"join": 1, "limit": 2, "fail": "wait"}
    assert [(block.label, [step.id for step in block.steps]) for block in fan.blocks] == [
        ("left", ["a", "b"]), ("right", ["log_1"]),
    ]  # fmt: skip
    assert [block.label for block in step_of(flow, "parallel_1").blocks] == ["x", "y"]
    race = step_of(flow, "race_1")
    assert race.params["join"] == "first"
    assert [block.label for block in race.blocks] == ["e", "branch_2"]


@pytest.mark.req("EXEC-2.switch")
def test_conditions_and_switches_take_every_spelling() -> None:
    flow = read_well("""
        flow: x
        steps:
          - choose:
              conditional:
                if: "{{ inputs.a }}"
                then: a
                elif:
                  - {if: inputs.b, then: [b]}
                  - {if: true, then: {log: c}}
                else: [d]
          - switch: {on: $inputs.kind, cases: {1: [one], "2": [two], bug: three}, default: four}
          - switch: $inputs.kind
            cases: {x: [five]}
    """)
    choose = step_of(flow, "choose")
    assert [(block.label, block.when) for block in choose.blocks] == [
        ("then", "inputs.a"), ("elif:1", "inputs.b"), ("elif:2", "true"), ("else", None),
    ]  # fmt: skip
    switch = step_of(flow, "switch_1")
    assert switch.params == {"on": "$inputs.kind"}
    assert [(block.label, block.case) for block in switch.blocks] == [
        ("case:1", 1), ("case:2", "2"), ("case:bug", "bug"), ("default", None),
    ]  # fmt: skip
    assert [block.label for block in step_of(flow, "switch_2").blocks] == ["case:x"]


@pytest.mark.req("EXEC-3.foreach")
def test_foreach_stands_nested_or_on_one_level() -> None:
    flow = read_well("""
        flow: x
        steps:
          - each:
              foreach:
                {items: $inputs.orders, as: order, index: n, limit: 5, tolerate: 10%, do: [a], aggregate: size(results)}
          - foreach: [1, two, $inputs.x]
            on_item_error: continue
            do: {log: $item}
    """)
    each = step_of(flow, "each")
    assert each.params == {
        "items": "$inputs.orders",
        "as": "order",
        "index": "n",
        "limit": 5,
        "tolerate": "10%",
        "aggregate": "size(results)",
    }
    assert [(block.label, block.steps[0].id) for block in each.blocks] == [("do", "a")]
    other = step_of(flow, "foreach_1")
    assert other.params == {"items": '[1, "two", $inputs.x]', "tolerate": "all"}


@pytest.mark.req("EXEC-4.bound")
def test_repeat_reads_its_bounds_and_refuses_to_have_none() -> None:
    flow = read_well("flow: x\nsteps: [{repeat: {until: $vars.done, max: 20, every: 10s, within: 1h, do: [a]}}]")
    assert flow.root.steps[0].params == {"until": "$vars.done", "every": 10.0, "within": 3600.0, "max": 20}
    assert "FLW011" in codes_of("flow: x\nsteps: [{repeat: {do: [a]}}]")


def test_waits_for_times_and_callbacks() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a: {wait: 1h30m}
          - b: {wait: $inputs.delay}
          - c: {wait: {for: PT5M}}
          - d: {wait: {until: 2030-01-01T00:00:00Z}}
          - e: {wait: {until: $inputs.due}}
          - f: {wait: {callback: {expires: 1h, uses: 2, schema: {paid: boolean}, correlate: $inputs.id}}}
          - g: {call: iam.revoke, wait: {callback: {expires: 2d}}}
    """)
    assert [step_of(flow, id).params for id in "abcde"] == [
        {"duration": 5400.0}, {"duration": "$inputs.delay"}, {"duration": 300.0},
        {"until": "2030-01-01T00:00:00Z"}, {"until": "{{ $inputs.due }}"},
    ]  # fmt: skip
    callback = step_of(flow, "f").callback
    assert isinstance(callback, Callback)
    assert (callback.expires_seconds, callback.uses, callback.correlate) == (3600.0, 2, "$inputs.id")
    assert callback.schema is not None
    assert callback.schema["properties"] == {"paid": {"type": "boolean"}}
    composite = step_of(flow, "g")
    assert (composite.kind, composite.use) == ("call", "iam.revoke")
    assert composite.callback == Callback(expires_seconds=172_800.0)


@pytest.mark.req("PROV-9.spellings")
def test_http_takes_a_map_or_a_line() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a: {http: GET https://example.com/a}
          - b: {http: https://example.com/b}
          - c: {http: {url: https://example.com/c, json_body: {n: 1}, headers: {X-A: b}, query: {q: 2}}, timeout: 5s}
          - d: {http: {method: put, url: https://example.com/d, body: text}}
    """)
    assert step_of(flow, "a").params == {"method": "GET", "url": "https://example.com/a"}
    assert step_of(flow, "b").params == {"method": "GET", "url": "https://example.com/b"}
    assert step_of(flow, "c").params == {
        "url": "https://example.com/c", "json": {"n": 1}, "headers": {"X-A": "b"}, "query": {"q": 2}, "method": "POST",
    }  # fmt: skip
    assert step_of(flow, "c").timeout == Timeout(attempt_seconds=5.0)
    assert step_of(flow, "d").params == {"method": "PUT", "url": "https://example.com/d", "body": "text"}


def test_poll_calls_an_action_or_an_address_until_a_condition_holds() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a:
              poll:
                url: https://example.com/job
                interval: 500ms
                max_attempts: 4
                success_condition: $.status == 'done'
                failure_condition: $.status == 'failed'
          - b: {poll: {call: iam.revoke, params: {id: 1}, success_condition: $.ok}}
          - c: {call: iam.revoke, poll: {success_condition: $.ok, interval: 2s}}
    """)
    a = step_of(flow, "a")
    assert (a.kind, a.use, a.params) == ("poll", "http", {"method": "GET", "url": "https://example.com/job"})
    assert a.poll == Poll(
        success_condition="$.status == 'done'",
        failure_condition="$.status == 'failed'",
        interval_seconds=0.5,
        max_attempts=4,
    )
    assert (step_of(flow, "b").use, step_of(flow, "b").params) == ("iam.revoke", {"id": 1})
    assert (step_of(flow, "c").kind, step_of(flow, "c").poll) == ("call", Poll(success_condition="$.ok"))


@pytest.mark.req("EXEC-8.mappings")
def test_map_makes_one_object_of_document_a_mappings() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a:
              map:
                mappings:
                  - { "from": "input.name", "to": "output.fullName" }
                  - { "from": "$input.age * 2", "to": "output.more.years" }
                  - { "from": "inputs.id", "to": "id" }
          - b: {map: {total: $a.more.years}}
    """)
    assert step_of(flow, "a").params == {
        "value": {
            "fullName": "{{ data.name }}", "more": {"years": "{{ $data.age * 2 }}"}, "id": "{{ inputs.id }}",
        }
    }  # fmt: skip
    assert step_of(flow, "b").params == {"value": {"total": "$a.more.years"}}


@pytest.mark.req("EXEC-6.boundary")
def test_try_guards_steps() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a: {try: {do: [charge], catch: [refund], finally: [close], match: [http.5xx]}}
          - try: [b]
            catch: {log: $error.message}
    """)
    assert [block.label for block in step_of(flow, "a").blocks] == ["do", "catch", "finally"]
    assert step_of(flow, "a").blocks[1].match == ("http.5xx",)
    assert [block.label for block in step_of(flow, "try_1").blocks] == ["do", "catch"]
    assert step_of(flow, "try_1").finally_ is None


@pytest.mark.req("FLOW-1.on_error")
def test_handlers_take_lists_maps_and_lists_of_maps() -> None:
    flow = read_well("""
        flow: x
        steps:
          - a: {call: iam.revoke, on_error: notify}
          - b: {call: iam.revoke, on_error: {match: http.404, do: [{log: gone}], then: fail}}
          - c: {call: iam.revoke, on_error: [{match: [timeout], do: [x]}, {do: [y], then: retry}]}
    """)
    assert [(handler.match, handler.then) for handler in step_of(flow, "b").on_error] == [(("http.404",), "fail")]
    assert [(handler.match, handler.then) for handler in step_of(flow, "c").on_error] == [
        (("timeout",), "continue"), ((), "retry"),
    ]  # fmt: skip
    assert step_of(flow, "a").on_error[0].block.steps[0].use == "notify"


def test_definitions_are_put_in_where_they_are_used() -> None:
    flow = read_well("""
        flow: x
        definitions:
          charge: {call: stripe.charge_card, params: {amount: 1, currency: eur}, retry: 2}
          careful: {use: charge, timeout: 5s}
          both: [charge, {log: done}]
        defaults: {timeout: 30s}
        steps:
          - first: charge
          - careful: {params: {amount: 2}, retry: 5}
          - both
          - call: charge
    """)
    first, careful, both, called = flow.root.steps
    assert (first.id, first.use, first.retry) == ("first", "stripe.charge_card", Retry(max_attempts=2))
    assert first.timeout == Timeout(attempt_seconds=30.0)
    assert (careful.id, careful.use) == ("careful", "stripe.charge_card")
    assert careful.params == {"amount": 2, "currency": "eur"}
    assert (careful.retry, careful.timeout) == (Retry(max_attempts=5), Timeout(attempt_seconds=5.0))
    assert both.kind == "try"
    assert [step.kind for step in both.blocks[0].steps] == ["call", "log"]
    assert (called.id, called.use) == ("charge", "stripe.charge_card")


def test_definitions_that_nobody_uses_are_checked_too() -> None:
    text = "flow: x\ndefinitions: {a: {log: hi, retyr: 3}}\nsteps: [{log: hi}]"
    problem = one(text, "FLW010")
    assert problem.path == "definitions.a.retyr"
    assert problem.suggestion == 'did you mean "retry"?'


def test_definitions_cannot_grow_without_bound() -> None:
    lines = ["flow: x", "definitions:", "  d0: [{log: a}, {log: b}]"]
    lines += [f"  d{n}: [{', '.join([f'd{n - 1}'] * 8)}]" for n in range(1, 9)]
    assert "FLW037" in codes_of("\n".join([*lines, "steps: [d8]"]))


@pytest.mark.req("FLOW-1.retry")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("retry: 3", Retry(max_attempts=3)),
        ("retry: {attempts: 3, backoff: exponential}", Retry(max_attempts=3)),
        (
            "retry: {attempts: 5, backoff: linear, initial_delay: 500ms, max_delay: 10s, jitter: none, max_time: 1m}",
            Retry(max_attempts=5, backoff="linear", initial_delay_seconds=0.5, max_delay_seconds=10.0, jitter="none",
                  max_time_seconds=60.0),
        ),
        ("retry: {attempts: 2, on: [timeout, http.5xx], not_on: http.501}",
         Retry(max_attempts=2, on=("timeout", "http.5xx"), not_on=("http.501",))),
        # Document A, RetryConfig: milliseconds.
        ("retry: {enabled: true, maxAttempts: 4, backoff: exponential, initialDelay: 1000, maxDelay: 30000}",
         Retry(max_attempts=4, initial_delay_seconds=1.0, max_delay_seconds=30.0)),
        ("retry: {enabled: false, maxAttempts: 4}", None),
        ("retryAttempts: 3, retryDelay: 1000", Retry(max_attempts=3, initial_delay_seconds=1.0)),
        # Document D, RetryConfig: counts retries, milliseconds.
        ("retry: {maxRetries: 3, delayMs: 200, backoffMultiplier: 3, retryableErrors: [timeout]}",
         Retry(max_attempts=4, initial_delay_seconds=0.2, multiplier=3.0, on=("timeout",))),
        ("retry: {maxRetries: 0, delayMs: 1}", Retry(max_attempts=1, initial_delay_seconds=0.001)),
    ],
)  # fmt: skip
def test_every_spelling_of_retry_means_what_its_document_says(written: str, meant: Retry | None) -> None:
    flow = read_well(f"flow: x\nsteps:\n  - a: {{call: iam.revoke, {written}}}")
    assert flow.root.steps[0].retry == meant


@pytest.mark.req("EXEC-9.timeouts")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("timeout: 30s", Timeout(attempt_seconds=30.0)),
        ("timeout: {attempt: 5s, total: 1m}", Timeout(attempt_seconds=5.0, total_seconds=60.0)),
        ("timeout: 30s, on_timeout: continue", Timeout(attempt_seconds=30.0, on_timeout="continue")),
        ("timeout: {execution: 30000, total: 60000, onTimeout: default}",
         Timeout(attempt_seconds=30.0, total_seconds=60.0, on_timeout="default")),
    ],
)  # fmt: skip
def test_every_spelling_of_a_timeout(written: str, meant: Timeout) -> None:
    assert read_well(f"flow: x\nsteps:\n  - a: {{call: iam.revoke, {written}}}").root.steps[0].timeout == meant


def test_the_header_is_read() -> None:
    flow = read_well("""
        dsl: 1
        name: Customer Support!
        version: 1.2.0
        tags: [a, b]
        labels: {team: x}
        inputs: [a, b]
        vars: {n: 1}
        secrets: {token: {from: env:TOKEN}, other: file:/run/secret}
        limits: {steps: 4, concurrency: 20}
        strategy: priority
        fail_fast_priority: 5
        timeout: 1h
        unbound: allow
        on_error: continue
        finally: [{log: bye}]
        triggers:
          - {cron: "0 9 * * 1-5", timezone: Europe/Berlin}
          - {event: order.created, when: $.total > 3}
          - {flow: other, on: succeeded}
          - manual
          - {webhook: {path: /x}}
        x-anything: {free: true}
        steps: [{log: hi}]
    """)
    assert (flow.id, flow.version, flow.tags, flow.labels) == ("customer-support", "1.2.0", ("a", "b"), {"team": "x"})
    assert flow.inputs["required"] == ["a", "b"]
    assert flow.secrets == {"token": {"from": "env:TOKEN"}, "other": {"from": "file:/run/secret"}}
    assert (flow.concurrency, flow.strategy, flow.fail_fast_priority) == (4, "priority", 5)
    assert (flow.timeout_seconds, flow.unbound, flow.on_error) == (3600.0, "allow", "continue")
    assert [trigger.kind for trigger in flow.triggers] == ["cron", "event", "flow", "manual", "webhook"]
    assert flow.triggers[1].when == "$.total > 3"
    assert flow.finally_ is not None


def test_a_flow_without_a_name_takes_its_file_stem() -> None:
    flow = read("steps: [{log: hi}]").flow
    assert flow is not None
    assert flow.id == "flow"


@pytest.mark.req("FLOW-5.all_at_once", "FLOW-5.place", "FLOW-5.suggestion")
def test_all_mistakes_are_found_at_once_with_place_and_suggestion() -> None:
    text = """\
flow: x
stpes: []
steps:
  - a: {call: iam.revoke, retyr: 3}
  - b: {call: iam.revoke, timeout: 30}
  - c: {call: iam.revoke, log: hi}
  - d: {when: $a.x ==, log: hi}
  - e: {http: {ulr: "https://x"}}
"""
    found = {(problem.code, pointed_at(text, problem)) for problem in problems_of(text)}
    assert found >= {
        ("FLW010", "stpes"), ("FLW010", "retyr"), ("FLW019", "30"), ("FLW017", "log"), ("FLW010", "ulr"),
        ("FLW030", "="),
    }  # fmt: skip
    suggestions = {problem.suggestion for problem in problems_of(text)}
    assert suggestions >= {
        '"steps" is there already; is one of them too many?',
        'did you mean "retry"?',
        'did you mean "url"?',
    }


@pytest.mark.req("FLOW-1.shorthand", "EXEC-7.no_wait")
def test_a_sub_flow_says_beside_its_name_that_it_is_not_waited_for() -> None:
    flow = read_well("""
        flow: order
        steps:
          - flow: order
            wait: false
          - named: {flow: order, inputs: {a: 1}, wait: false}
    """)
    first, named = flow.root.steps
    assert (first.kind, first.params) == ("flow", {"flow": "order", "wait": False})
    assert (named.kind, named.params) == ("flow", {"flow": "order", "inputs": {"a": 1}, "wait": False})


@pytest.mark.req("FLOW-5.suggestion")
def test_the_fields_that_a_form_cannot_have_are_named() -> None:
    (problem,) = problems_of("""
        flow: order
        steps:
          - ask: {approve: {to: [group:finance], form: {approved: boolean, note: string}}}
    """)
    assert "`approved`" in problem.message
    assert "decisions" not in problem.message


@pytest.mark.req("EXEC-6.try", "TIME-1.block")
@pytest.mark.parametrize("modifier", ["retry: 3", "timeout: 30s", "when: $inputs.a", "on_error: [{log: failed}]"])
def test_a_try_may_be_there_for_what_holds_for_its_steps_together(modifier: str) -> None:
    flow = read_well(f"""
        flow: order
        inputs: {{a: boolean}}
        steps:
          - both:
              try: [{{log: one}}, {{log: two}}]
              {modifier}
    """)
    assert [step.kind for step in flow.root.steps[0].blocks[0].steps] == ["log", "log"]
