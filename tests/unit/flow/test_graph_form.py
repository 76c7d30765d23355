"""Canvas graphs of documents A and B, the engine contract and the typed steps of document B, as written there."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.flow.kit import edges_of, step_of

from segue.flow import ReadResult, StaticCatalogue, check_flow, read_document, read_flow
from segue.flow.model import Callback, Edge, Poll, Retry, Timeout


def node(id: str, type: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "position": {"x": 10, "y": 20}, "data": data or {}, **more}


def graph(nodes: list[dict[str, Any]], *edges: tuple[str, ...], **more: Any) -> ReadResult:
    drawn = [
        {"id": f"e{n}", "source": edge[0], "target": edge[1], **({"sourceHandle": edge[2]} if len(edge) > 2 else {})}
        for n, edge in enumerate(edges)
    ]
    return read_document({"nodes": nodes, "edges": drawn, "version": 1, **more})


def one_node(type: str, data: dict[str, Any]) -> Any:
    result = graph([node("n", type, data)])
    assert result.flow is not None
    assert not result.problems, [str(problem) for problem in result.problems]
    return result.flow.root.steps[0]


REMOTE_WEBHOOK = {
    "provider": "n8n",
    "workflowId": "123",
    "url": "https://...",
    "method": "POST",
    "headers": {},
    "bodyTemplate": "{{data}}",
    "timeout": 30000,
    "enablePolling": True,
    "pollingInterval": 2000,
    "maxPollingAttempts": 30,
    "retryAttempts": 3,
    "retryDelay": 1000,
}


@pytest.mark.req("FLOW-2.graph")
def test_document_b_graph_reads_as_written() -> None:
    result = read_flow("""{
      "nodes":[ { "id":"n1", "type":"start", "position":{"x": 1, "y": 2} },
                { "id":"n2", "type":"http",  "position":{"x": 3, "y": 4.5},
                  "data":{ "config":{
                    "method":"POST",
                    "url":"https://discord.com/api/webhooks/xxx/yyy",
                    "headers":{"Content-Type":"application/json"},
                    "json_body":{"content":"🎉 New Sale! A payment of $10.00 was just successfully processed."}
                  }}}
              ],
      "edges":[ { "id":"e1","source":"n1","target":"n2" } ]
    }""")
    flow = result.flow
    assert flow is not None
    assert result.problems == ()
    assert flow.form == "graph"
    assert [(step.id, step.kind) for step in flow.root.steps] == [("n1", "start"), ("n2", "http")]
    assert flow.root.steps[1].params == {
        "method": "POST", "url": "https://discord.com/api/webhooks/xxx/yyy",
        "headers": {"Content-Type": "application/json"},
        "json": {"content": "🎉 New Sale! A payment of $10.00 was just successfully processed."},
    }  # fmt: skip
    assert flow.root.edges == (Edge("n1", "n2"),)
    assert flow.layout == {"positions": {"n1": {"x": 1, "y": 2}, "n2": {"x": 3, "y": 4.5}}}
    assert flow.root.steps[1].span is not None
    assert check_flow(flow, StaticCatalogue(), runnable=True, document=result.document) == []


@pytest.mark.req("FLOW-3.definition_steps")
def test_document_b_stripe_to_discord_reads_as_written() -> None:
    result = read_flow("""{
      "name": "Stripe to Discord Bridge",
      "definition": {
        "steps": [
          {
            "type": "http_request_node",
            "config": {
              "method": "POST",
              "url": "https://discord.com/api/webhooks/xxx/yyy",
              "headers": { "Content-Type": "application/json" },
              "json_body": {
                "content": "🎉 New Sale! A payment of $10.00 was just successfully processed."
              }
            }
          }
        ]
      }
    }""")
    flow = result.flow
    assert flow is not None
    assert result.problems == ()
    assert (flow.id, flow.name, flow.form) == ("stripe-to-discord-bridge", "Stripe to Discord Bridge", "definition")
    (step,) = flow.root.steps
    assert (step.id, step.kind, step.params["method"]) == ("http_request_1", "http", "POST")
    assert check_flow(flow, StaticCatalogue(), runnable=True, document=result.document) == []


@pytest.mark.req("FLOW-3.definition_steps")
def test_typed_steps_are_a_sequence_and_may_be_mixed_with_other_forms() -> None:
    flow = read_flow("""
        steps:
          - {type: http_request_node, id: first, config: {url: "https://x", timeout: 500}, retry: 2}
          - {type: log_node, config: {message: hi}}
          - log: plain
          - {type: iam.revoke, name: last one, config: {id: 1}, needs: [first]}
    """).flow
    assert flow is not None
    assert [(step.id, step.kind) for step in flow.root.steps] == [
        ("first", "http"), ("log_1", "log"), ("log_2", "log"), ("iam_revoke_1", "call"),
    ]  # fmt: skip
    assert flow.root.steps[0].timeout == Timeout(attempt_seconds=0.5)
    assert flow.root.steps[0].retry == Retry(max_attempts=2)
    assert (flow.root.steps[3].params, flow.root.steps[3].title) == ({"id": 1}, "last one")
    assert edges_of(flow) == {
        ("first", "log_1", None), ("log_1", "log_2", None), ("first", "iam_revoke_1", None),
    }  # fmt: skip


@pytest.mark.req("FLOW-3.dag")
def test_document_b_engine_contract_reads_as_written() -> None:
    result = read_document({
        "runId": "run_abc",
        "dag": {
            "nodes": [
                {"id": "s1", "type": "start", "config": {}},
                {
                    "id": "s2", "type": "http_request_node",
                    "config": {"method": "POST", "url": "https://x", "headers": {"a": "b"}, "json_body": {"n": 1}},
                    "deps": ["s1"],
                },
            ]
        },
        "env": {},
    })  # fmt: skip
    flow = result.flow
    assert flow is not None
    assert result.problems == ()
    assert flow.form == "dag"
    assert [(step.id, step.kind) for step in flow.root.steps] == [("s1", "start"), ("s2", "http")]
    assert flow.root.edges == (Edge("s1", "s2"),)


@pytest.mark.req("FLOW-2.remote_webhook")
def test_document_a_remote_webhook_reads_as_written() -> None:
    step = one_node("RemoteWebhook", REMOTE_WEBHOOK)
    assert (step.kind, step.use) == ("call", "n8n.execute")
    assert step.params == {
        "url": "https://...", "method": "POST", "headers": {}, "json": "{{data}}", "workflowId": "123",
    }  # fmt: skip
    assert step.timeout == Timeout(attempt_seconds=30.0)
    assert step.retry == Retry(max_attempts=3, initial_delay_seconds=1.0)
    assert step.poll == Poll(interval_seconds=2.0, max_attempts=30)


@pytest.mark.req("FLOW-2.remote_webhook")
def test_a_remote_webhook_without_polling_is_a_request() -> None:
    step = one_node("RemoteWebhook", {**REMOTE_WEBHOOK, "enablePolling": False})
    assert (step.kind, step.use, step.poll) == ("http", None, None)
    assert step.params == {"url": "https://...", "method": "POST", "headers": {}, "json": "{{data}}"}
    step = one_node("RemoteWebhook", {"provider": "make", "scenarioId": 7, "url": ""})
    assert (step.kind, step.use, step.params) == ("call", "make.execute", {"scenarioId": 7})


def test_a_request_that_polls_names_what_it_asks() -> None:
    data = {"url": "https://x", "enablePolling": True, "statusUrl": "https://x/status", "successCondition": "$.done"}
    step = one_node("RemoteWebhook", data)
    assert step.kind == "http"
    assert step.poll == Poll(
        success_condition="$.done", use="http", params={"method": "GET", "url": "https://x/status"}
    )
    result = graph([node("n", "RemoteWebhook", {"url": "https://x", "enablePolling": True})])
    assert [problem.code for problem in result.problems] == ["FLW011"]


@pytest.mark.req("FLOW-2.nodes", "EXEC-8.mappings")
def test_document_a_other_nodes_read_as_written() -> None:
    step = one_node("LocalFlow", {"flowId": "abc-123", "baseURL": "http://localhost:3000"})
    assert (step.kind, step.params) == ("flow", {"flow": "abc-123", "base_url": "http://localhost:3000"})
    step = one_node("DataMapper", {
        "mappings": [
            {"from": "input.name", "to": "output.fullName"},
            {"from": "input.age", "to": "output.years"},
        ]
    })  # fmt: skip
    assert (step.kind, step.params) == ("map", {"value": {"fullName": "{{ data.name }}", "years": "{{ data.age }}"}})
    step = one_node("WaitForCallback", {"timeout": 60_000, "label": "Wait"})
    assert (step.kind, step.callback, step.title) == ("wait", Callback(expires_seconds=60.0), "Wait")
    step = one_node("Polling", {
        "url": "https://x/job", "interval": 2000, "maxAttempts": 5, "successCondition": "$.status == 'done'",
        "failureCondition": "$.status == 'failed'",
    })  # fmt: skip
    assert (step.kind, step.use, step.params) == ("poll", "http", {"url": "https://x/job", "method": "GET"})
    assert step.poll == Poll(
        success_condition="$.status == 'done'", failure_condition="$.status == 'failed'", interval_seconds=2.0,
        max_attempts=5,
    )  # fmt: skip


@pytest.mark.req("FLOW-2.policies")
def test_document_a_policies_read_as_written() -> None:
    step = one_node("http", {
        "url": "https://x",
        "retry": {"enabled": True, "maxAttempts": 4, "backoff": "linear", "initialDelay": 100, "maxDelay": 2000},
        "timeout": {"execution": 5000, "total": 60000, "onTimeout": "continue"},
    })  # fmt: skip
    assert step.retry == Retry(max_attempts=4, backoff="linear", initial_delay_seconds=0.1, max_delay_seconds=2.0)
    assert step.timeout == Timeout(attempt_seconds=5.0, total_seconds=60.0, on_timeout="continue")


@pytest.mark.req("FLOW-2.nodes")
@pytest.mark.parametrize(
    ("type", "data", "kind", "use", "params"),
    [
        ("log", {"message": "hi"}, "log", None, {"message": "hi", "level": "info"}),
        ("wait", {"value": "3h"}, "wait", None, {"duration": 10800.0}),
        ("wait", {"duration": 500}, "wait", None, {"duration": 0.5}),
        ("set", {"a": 1}, "set", None, {"a": 1}),
        ("return", {"value": "$data"}, "return", None, {"value": "$data"}),
        ("iam.verify_token", {"token": "x"}, "call", "iam.verify_token", {"token": "x"}),
        ("iam.verify_token", {"params": {"token": "x"}, "retry": 2}, "call", "iam.verify_token", {"token": "x"}),
        ("customNode", {"type": "log", "message": "hi"}, "log", None, {"message": "hi", "level": "info"}),
        ("action", {"call": "iam.revoke", "params": {"id": 1}}, "call", "iam.revoke", {"id": 1}),
        ("notify_admin", {"text": "x"}, "call", "notify_admin", {"text": "x"}),
        (
            "poll",
            {"url": "https://x", "success_condition": "$.a"},
            "poll",
            "http",
            {"url": "https://x", "method": "GET"},
        ),
    ],
)
def test_verbs_actions_and_names_are_node_types_too(
    type: str, data: dict[str, Any], kind: str, use: str | None, params: dict[str, Any]
) -> None:
    step = one_node(type, data)
    assert (step.kind, step.use, step.params) == (kind, use, params)


@pytest.mark.req("FLOW-2.acyclic", "EXEC-1.edges")
def test_any_shape_of_edges_is_kept() -> None:
    nodes = [node(id, "log", {"message": id}) for id in ("a-1", "b", "c", "d", "e")]
    result = graph(nodes, ("a-1", "c"), ("a-1", "d"), ("b", "d"), ("b", "c"), ("c", "e"), ("d", "e"), ("d", "e"))
    assert result.flow is not None
    assert edges_of(result.flow) == {
        ("a-1", "c", None), ("a-1", "d", None), ("b", "d", None), ("b", "c", None), ("c", "e", None), ("d", "e", None),
    }  # fmt: skip


@pytest.mark.req("EXEC-1.edges", "EXEC-2.branch")
def test_condition_nodes_choose_the_labels_of_their_edges() -> None:
    nodes = [node("if", "Condition", {"condition": "$data.n > 1"}), *(node(x, "log", {"message": x}) for x in "abc")]
    result = graph(nodes, ("if", "a", "true"), ("if", "b", "false"), ("if", "c", "else"), ("a", "c", "source-right"))
    assert result.flow is not None
    assert result.problems == ()
    assert step_of(result.flow, "if").params == {
        "branches": [{"label": "then", "when": "$data.n > 1"}, {"label": "else", "when": None}]
    }
    assert edges_of(result.flow) == {("if", "a", "then"), ("if", "b", "else"), ("if", "c", "else"), ("a", "c", None)}


@pytest.mark.req("FLOW-2.condition")
@pytest.mark.parametrize("type", ["Condition", "conditional_node", "if"])
@pytest.mark.parametrize("key", ["if", "condition", "when"])
def test_branches_that_stand_in_a_node_are_taken(type: str, key: str) -> None:
    branches = {"then": [{"a": {"set": {"x": 1}}}], "else": [{"b": {"set": {"x": 2}}}]}
    step = one_node(type, {key: "inputs.n > 2", **branches, "timeout": "5s"})
    assert (step.kind, [(one.label, one.when, one.steps[0].id) for one in step.blocks]) == (
        "conditional", [("then", "inputs.n > 2", "a"), ("else", None, "b")],
    )  # fmt: skip
    assert step.timeout == Timeout(attempt_seconds=5)


@pytest.mark.req("FLOW-2.condition")
def test_cases_that_stand_in_a_switch_node_are_taken() -> None:
    cases = {"cases": {"bug": [{"a": {"set": {"x": 1}}}]}, "default": [{"b": {"set": {"x": 2}}}]}
    step = one_node("switch", {"on": "inputs.kind", **cases})
    assert (step.kind, step.params, step.has_default) == ("switch", {"on": "inputs.kind"}, False)
    assert [(one.label, one.case, one.steps[0].id) for one in step.blocks] == [
        ("case:bug", "bug", "a"), ("default", None, "b"),
    ]  # fmt: skip


@pytest.mark.req("FLOW-2.approve")
@pytest.mark.parametrize("inside", [True, False])
def test_what_an_approval_decides_when_its_time_is_over_may_stand_beside_it(inside: bool) -> None:
    own = {"timeout": "2h", "on_timeout": "reject"}
    text = {"approve": {"to": "ann", **own}} if inside else {"approve": {"to": "ann"}, **own}
    flow = read_document({"flow": "f", "steps": [{"ask": text}]}).flow
    assert flow is not None
    step = one_node("approve", {"to": "ann", **own})
    for found in (flow.root.steps[0], step):
        assert found.callback is not None
        assert (found.callback.expires_seconds, found.callback.on_timeout, found.timeout) == (7200, "reject", None)


@pytest.mark.req("EXEC-2.switch")
def test_nodes_with_several_conditions_and_switches_choose_by_label() -> None:
    nodes = [
        node(
            "many",
            "Condition",
            {"branches": [{"label": "big", "when": "$data.n > 9"}, {"label": "small", "when": "$data.n > 1"}]},
        ),
        node("kind", "switch", {"on": "$data.kind", "cases": ["bug", {"value": 2}]}),
        *(node(x, "log", {"message": x}) for x in "abcd"),
    ]
    result = graph(
        nodes,
        ("many", "kind", "big"),
        ("many", "a", "else"),
        ("kind", "b", "bug"),
        ("kind", "c", "case:2"),
        ("kind", "d", "default"),
    )
    assert result.flow is not None
    assert result.problems == ()
    assert step_of(result.flow, "kind").params["branches"] == [
        {"label": "case:bug", "when": '($data.kind) == "bug"'},
        {"label": "case:2", "when": "($data.kind) == 2"},
        {"label": "default", "when": None},
    ]
    assert {edge[2] for edge in edges_of(result.flow)} == {"big", "else", "case:bug", "case:2", "default"}


@pytest.mark.req("FLOW-5.edges")
def test_an_edge_by_a_handle_that_is_not_there_is_refused() -> None:
    nodes = [node("if", "Condition", {"condition": "true"}), node("a", "log", {"message": "x"})]
    result = graph(nodes, ("if", "a", "maybe"), ("if", "nowhere"))
    assert [(problem.code, problem.path) for problem in result.problems] == [
        ("FLW029", "edges[0].sourceHandle"), ("FLW025", "edges[1].target"),
    ]  # fmt: skip


def test_edges_may_carry_conditions_and_error_handles() -> None:
    nodes = [node(x, "log", {"message": x}) for x in "abc"]
    value = {
        "nodes": nodes,
        "edges": [
            {"source": "a", "target": "b", "data": {"condition": "$a.message == 'x'"}},
            {"source": "a", "target": "c", "sourceHandle": "error"},
        ],
    }
    flow = read_document(value).flow
    assert flow is not None
    assert flow.root.edges == (Edge("a", "b", None, "$a.message == 'x'"), Edge("a", "c", "error"))


@pytest.mark.req("EXEC-6.boundary")
def test_error_boundaries_own_the_nodes_behind_their_body_and_error_handles() -> None:
    nodes = [
        node("start", "start"),
        node("guard", "ErrorBoundary"),
        node("x", "http", {"url": "https://x"}),
        node("y", "log", {"message": "y"}),
        node("oops", "log", {"message": "$error.message"}),
        node("after", "log", {"message": "z"}),
    ]
    edges = [
        ("start", "guard"), ("guard", "x", "body"), ("x", "y"), ("guard", "oops", "error"), ("guard", "after", "done"),
        ("y", "after"), ("oops", "after"),
    ]  # fmt: skip
    result = graph(nodes, *edges)
    assert result.flow is not None
    assert result.problems == ()
    guard = step_of(result.flow, "guard")
    assert guard.kind == "try"
    assert [(block.label, [step.id for step in block.steps]) for block in guard.blocks] == [
        ("do", ["x", "y"]), ("catch", ["oops"]),
    ]  # fmt: skip
    assert guard.blocks[0].edges == (Edge("x", "y"),)
    assert edges_of(result.flow) == {("start", "guard", None), ("guard", "after", None)}


@pytest.mark.req("EXEC-3.foreach")
def test_loops_own_the_nodes_behind_their_body_or_inside_them_also_nested() -> None:
    nodes = [
        node("each", "foreach", {"items": "$data.orders", "as": "order"}),
        node("again", "repeat", {"max": 3, "until": "$vars.ok"}),
        node("inner", "log", {"message": "{{ order }}"}, parentId="again"),
        node("tail", "log", {"message": "t"}),
        node("end", "log", {"message": "e"}),
    ]
    result = graph(nodes, ("each", "again", "body"), ("again", "tail"), ("tail", "each"), ("each", "end", "done"))
    assert result.flow is not None
    assert result.problems == ()
    each = step_of(result.flow, "each")
    assert each.params == {"items": "$data.orders", "as": "order"}
    assert [step.id for step in each.blocks[0].steps] == ["again", "tail"]
    assert [step.id for step in step_of(result.flow, "again").blocks[0].steps] == ["inner"]
    assert edges_of(result.flow) == {("each", "end", None)}
    assert check_flow(result.flow, StaticCatalogue(), runnable=True) == []


def test_an_edge_into_a_loop_from_outside_is_refused() -> None:
    nodes = [
        node("each", "foreach", {"items": "[1]"}),
        node("in", "log", {"message": "x"}),
        node("out", "log", {"message": "x"}),
    ]
    result = graph(nodes, ("each", "in", "body"), ("out", "in"))
    assert "FLW029" in {problem.code for problem in result.problems}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"nodes": [], "edges": []}, "FLW040"),
        ({"nodes": {}, "edges": []}, "FLW015"),
        ({"nodes": [{"type": "start"}], "edges": []}, "FLW011"),
        ({"nodes": [{"id": "a"}], "edges": []}, "FLW011"),
        ({"nodes": [node("a", "start"), node("a", "start")], "edges": []}, "FLW024"),
        ({"nodes": [node("a", "start")], "edges": [{"source": "a"}]}, "FLW011"),
        ({"nodes": [node("a", "start")], "edges": 3}, "FLW015"),
        ({"nodes": [3], "edges": []}, "FLW015"),
        ({"nodes": [node("a", "Condition", {})], "edges": []}, "FLW011"),
        ({"nodes": [node("a", "ErrorBoundary", {})], "edges": []}, "FLW044"),
        ({"dag": {"nodes": [{"id": "a", "type": "start", "deps": ["b"]}]}}, "FLW025"),
        ({"dag": {"nodes": []}}, "FLW040"),
        ({"definition": {"steps": []}}, "FLW040"),
    ],
)
def test_broken_graphs_end_in_problems(value: dict[str, Any], code: str) -> None:
    assert code in {problem.code for problem in read_document(value).problems}
