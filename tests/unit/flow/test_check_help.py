"""What the checker advises, and what it keeps silent about."""

from __future__ import annotations

import pytest
from tests.unit.flow.kit import one, pointed_at, problems_of

from segue.flow import ActionSpec, StaticCatalogue, check_flow, read_flow
from segue.flow.findings import Findings
from segue.flow.model import Block, Edge, Flow, JsonValue, Step


@pytest.mark.req("FLOW-5.suggestion")
@pytest.mark.parametrize(
    ("steps", "code", "advice"),
    [
        ("[{a: {log: $item}}]", "FLW031", "step"),
        ("[{a: {log: $error.code}}]", "FLW031", "`on_error`"),
        ("[{a: {log: x}}, {b: {log: x, needs: []}}, {c: {log: $b, needs: [a]}}]", "FLW032", "add b to `needs`"),
        ("[{a: {call: zebra}}]", "FLW014", "`unbound: allow`"),
        ("[{vars: {log: x}}]", "FLW023", "call it vars_step"),
        ("[{'my step': {log: x}}]", "FLW022", "call it my_step"),
        ("[{'1st': {log: x}}]", "FLW022", "call it step_1st"),
        ("[{a: {log: x}}, {b: {log: y, needs: [a], join: any}}]", "FLW045", "`needs`"),
        ("[{a: {poll: {call: stripe.refund, success_condition: '$.items[?@.done'}}}]", "FLW030", "`$.items[?@.done]`"),
        ("[{a: {log: x, when: inputs.state == open}}]", "FLW031", "write 'open' for a text"),
        ("[{a: {log: x, when: inputs.n = 1}}]", "FLW030", "`inputs.n == 1`"),
        ("[{a: {call: iam.verify_token, params: {token: 3}}}]", "FLW035", 'write "3"'),
        ("[{a: {call: iam.verify_token, params: {token: x, zebra: 1}}}]", "FLW035", "it has token, scopes"),
        ("[{a: {call: iam.zebra}}]", "FLW013", "it has verify_token, revoke"),
        ("[{a: {call: ai.classify}}, {b: {log: $a.zebra}}]", "FLW034", "it has category"),
    ],
)
def test_advice_names_what_to_write(steps: str, code: str, advice: str) -> None:
    problem = one(f"flow: x\nsteps: {steps}\n", code)
    assert problem.suggestion is not None
    assert advice in problem.suggestion


@pytest.mark.req("FLOW-5.suggestion")
def test_a_node_of_a_canvas_may_be_called_like_a_name_of_the_language_and_is_reached_otherwise() -> None:
    node = '{"id": "inputs", "type": "http", "data": {"url": "https://x.test"}}'
    problem = one(f'{{"flow": "x", "nodes": [{node}], "edges": []}}', "FLW023")
    assert (problem.severity, problem.suggestion) == ("warning", 'reach it as steps["inputs"]')
    assert problem.patch is None


@pytest.mark.req("FLOW-5.params")
def test_messages_tell_parameters_inputs_and_fields_apart() -> None:
    nested: JsonValue = {
        "type": "object",
        "properties": {"b": {"type": "integer"}},
        "required": ["b"],
        "additionalProperties": False,
    }
    catalogue = StaticCatalogue(
        [
            ActionSpec(
                name="x.do",
                params_schema={"type": "object", "properties": {"deep": nested, "any": {}}, "minProperties": 2},
            )
        ]
    )
    read = read_flow("flow: f\nsteps:\n  - a: {call: x.do, params: {deep: {c: 1}}}\n  - b: {call: x.do, params: {}}\n")
    assert read.flow is not None
    found = check_flow(read.flow, catalogue, runnable=False, document=read.document)
    said = {problem.message for problem in found}
    assert "x.do needs the field `b`" in said
    assert "x.do has no field `c`" in said
    assert any(message.startswith("x.do: parameter: ") for message in said)
    assert all(problem.suggestion is None for problem in found), "names of the parameters are no help one level down"


@pytest.mark.req("FLOW-5.false-alarms")
@pytest.mark.parametrize(
    "steps",
    [
        "[{a: {call: iam.revoke, output: '{{ [$, self.id] }}'}}, {b: {log: $a}}]",
        "[{a: {foreach: {items: [1], as: item, index: index, do: [{log: '{{ item }} {{ index }}'}]}}}]",
        "[{a: {log: x}}, {b: {log: y, needs: []}}, {c: {log: z, needs: [a, b], join: first}}]",
        "[{a: {log: x}}, {b: {log: y, needs: []}}, {c: {log: z, needs: [a, b], join: 2}}]",
        "[{a: {parallel: {branches: [{b: {log: x}}, {c: {log: x}}], join: 2}}}]",
        "[{a: {return: 1, when: inputs.n > 1}}, {b: {log: x}}]",
        "[{a: {return: 1, disabled: true}}, {b: {log: x}}]",
        "[{a: {fail: no, on_error: [{log: x}]}}, {b: {log: x}}]",
        "[{a: {switch: {on: $inputs.k, cases: {x: [{return: 1}], y: [{return: 2}]}}}}, {b: {log: x}}]",
        "[{a: {switch: {on: $inputs.k, cases: {x: [{log: 1}]}, default: [{return: 1}]}}}, {b: {log: x}}]",
        "[{a: {if: inputs.k, then: [{return: 1}]}}, {b: {log: x}}]",
        "[{a: {if: inputs.k, then: [{return: 1}], else: [{log: x}]}}, {b: {log: x}}]",
        "[{a: {parallel: [{b: {return: 1}}]}}, {c: {log: x}}]",
        "[{a: {set: {n: 1}}}, {b: {log: $vars.n}}]",
        "[{a: {set: {x: 1}, retry: 1}}]",
        "[{a: {call: iam.revoke, params: {base_url: x, connection: y}}}]",
        "[{a: {call: iam.revoke, compensate: [{b: {call: iam.revoke, finally: [{log: x}]}}]}}]",
        "[{a: {try: [{b: {log: x}}], catch: [{log: $error.code}], finally: [{log: '{{ error }}'}]}}]",
        "[{a: {call: iam.verify_token, params: {token: x}}}, {b: {log: '{{ has(a.nothing) }} {{ a.nothing ?? 1 }}'}}]",
    ],
)
def test_what_is_right_is_not_complained_about(steps: str) -> None:
    assert [str(problem) for problem in problems_of(f"flow: x\nsteps: {steps}\n", runnable=True)] == []


@pytest.mark.req("FLOW-5.places")
@pytest.mark.parametrize(
    ("text", "word"),
    [
        (r'"\x41 \u00e4 \U0001F600 \t\\ {{ nobody }}"', "nobody"),
        ("'it''s {{ nobody }}'", "nobody"),
        ("so {{ nobody }}", "nobody"),
        ("$nobody", "$nobody"),
        ("'{{ inputs.a + }}'", "}"),
    ],
    ids=["double", "single", "plain", "reference", "too-early"],
)
def test_a_name_is_pointed_at_behind_every_kind_of_escape(text: str, word: str) -> None:
    whole = (
        f"flow: x\nsteps:\n  - a: {{log: {text}}}\n"
        if "$" not in text
        else f"flow: x\nsteps:\n  - a:\n      log: {text}\n"
    )
    if text.startswith("so"):
        whole = f"flow: x\nsteps:\n  - a:\n      log: {text}\n"
    [problem] = problems_of(whole)
    assert pointed_at(whole, problem).strip() == word


@pytest.mark.req("FLOW-5.edges")
def test_a_stored_flow_whose_edges_lead_nowhere_is_refused() -> None:
    ends: dict[str, JsonValue] = {"branches": [{"label": "yes", "when": "true"}, {"label": "no", "when": None}]}
    steps = (
        Step(id="choose", kind="branch", path="steps.choose", params=ends), Step(id="a", kind="log", path="steps.a"),
        Step(id="plain", kind="log", path="steps.plain"),
    )  # fmt: skip
    edges = (
        Edge("choose", "a", label="yes"), Edge("choose", "a", label="yess"), Edge("choose", "a", label="error"),
        Edge("plain", "choos"), Edge("plain", "a", label="yes"),
    )  # fmt: skip
    flow = Flow(id="f", root=Block(label="root", steps=steps, edges=edges))
    found = [one for one in check_flow(flow, StaticCatalogue([]), runnable=True) if one.severity == "error"]
    assert [(one.code, one.path, one.suggestion) for one in found] == [
        ("FLW029", "steps.choose", 'did you mean "yes"?'), ("FLW025", "root", 'did you mean "choose"?'),
        ("FLW029", "steps.plain", None),
    ]  # fmt: skip
    assert "a leaves choose" in found[0].message


def test_problems_of_a_flow_without_text_have_paths_and_no_edits() -> None:
    """Findings without a document: nothing can be pointed at, and nothing is mended."""
    step = Step(id="a", kind="log", path="steps.a")
    findings = Findings(Flow(id="f", root=Block(label="root", steps=(step,))), None)
    findings.add("FLW016", "message", step=step, field="log")
    assert [(one.path, one.span, one.file) for one in findings.problems] == [("steps.a.log", None, None)]
    assert findings.replace(step, "log", "x") is None
    assert findings.rename(step, "b") is None
    assert findings.span_inside(None, "x", 0, 1) is None
    assert findings.patch_inside(None, "x", "y") is None
    assert findings.key_place(step, "log") == (None, "steps.a")
