"""A model as new text: what is written reads as the model it was written from, and looks as a person would write it."""

from __future__ import annotations

import random
from pathlib import Path
from textwrap import dedent
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.flow_edit.strategies import readable_texts
from tests.unit.flow_edit.test_laws import LAW, SEEDS

from segue.errors import RequestError
from segue.flow import Block, Edge, Flow, Step, read_document, read_flow
from segue.flow.edit import same_flow, write_flow
from segue.flow.model import (
    Cache,
    Callback,
    Fallback,
    Handler,
    JsonValue,
    Limits,
    Poll,
    RawMap,
    Retry,
    Signature,
    Timeout,
)
from segue.flow.read import ReadResult
from segue.testing.random_flows import FlowMaker

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def model(text: str) -> Flow:
    read = read_flow(dedent(text).lstrip("\n"))
    assert read.flow is not None
    assert not read.has_errors, [str(problem) for problem in read.problems]
    return read.flow


def written(flow: Flow) -> str:
    """The text of a flow, which is read as that flow."""
    text = write_flow(flow)
    read = read_flow(text)
    assert not read.has_errors, [str(problem) for problem in read.problems]
    assert read.flow is not None
    assert same_flow(read.flow, flow)
    return text


# -- how it looks


@pytest.mark.req("FLOW-8.write", "FLOW-4.write")
def test_a_flow_is_written_as_one_would_write_it() -> None:
    text = """\
        dsl: 1
        flow: support
        title: Support
        tags: [a, b]
        trigger: webhook.received
        inputs:
          message: string
          email: {type: string, format: email}
          note: string?
          tries: {type: integer, default: 3}
        limits: {steps: 20}
        definitions: {close: [{log: closing}, iam.log_out]}
        steps:
          - verify: {call: iam.verify_token, params: {token: $trigger.headers.authorization}}
          - classify: {adapter: ai, retry: 3, on_error: [notify_admin]}
          - if: $classify.category == 'billing'
            then: [route_to_finance]
            else: [{route_to_support: support.route}]
          - parallel: [send_email, send_sms]
          - parallel: {branches: {left: [a, b], right: [c]}, join: any}
          - race: [{http: GET https://example.com/a}, {http: GET https://example.com/b}]
          - each: {foreach: {items: $inputs.list, as: order, do: [enrich]}}
          - pause: {wait: 3h, needs: verify}
          - call_back: {call: retell.start_call, wait: {callback: {expires: 1h}}}
          - status:
              poll: {call: shop.status, success_condition: $.state == 'done', interval: 5s}
              needs: [pause, call_back]
          - done: {use: close}
        outputs: {category: $classify.category}
        finally: [close_session]
        layout:
          positions:
            verify: {x: 1, y: 2}
    """
    as_read = dedent(text).replace("{close: [", "{done: [").replace("  - done: {use: close}", "  - done")
    assert written(model(text)) == as_read


@pytest.mark.req("FLOW-8.write")
def test_unnamed_steps_stay_unnamed_and_keep_their_ids() -> None:
    flow = model("steps:\n  - parallel: [a, b]\n  - log: x\nlayout: {ids: {parallel_1: parallel_7}}\n")
    assert written(flow) == (
        "dsl: 1\nflow: flow\nsteps:\n  - parallel: [a, b]\n  - log: x\nlayout:\n  ids: {parallel_1: parallel_7}\n"
    )
    assert "log_1:" in written(model("steps:\n  - log: x\n  - log_2: {log: y}\n  - log_4: {log: z}\n").__class__(
        id="f", root=Block(label="root", steps=(
            Step(id="log_1", kind="log", path="", params={"message": {"log_1": 1}, "level": "info"}),
        )),
    ))  # fmt: skip


@pytest.mark.req("FLOW-8.write", "FLOW-2.write")
def test_what_only_a_graph_can_say_is_written_as_a_graph() -> None:
    branches: list[Any] = [{"label": "then", "when": "$x"}, {"label": "else", "when": None}]
    steps = (
        Step(id="begin-1", kind="start", path=""),
        Step(id="ask", kind="branch", path="", params={"branches": branches}),
        Step(id="yes", kind="call", path="", use="a.b", params={"k": 1}),
    )  # fmt: skip
    edges = (Edge("begin-1", "ask"), Edge("ask", "yes", "then"), Edge("begin-1", "yes", "error", "1 < 2"))
    flow = Flow(id="g", root=Block(label="root", steps=steps, edges=edges), layout={"positions": {"ask": {"x": 1}}})
    text = written(flow)
    assert "type: condition" in text
    assert "sourceHandle: then" in text
    assert "position: {x: 1}" in text


# -- the law


@pytest.mark.req("FLOW-4.write", "FLOW-8.write")
@LAW
@given(readable_texts())
def test_every_flow_that_was_read_can_be_written(text: str) -> None:
    read = read_flow(text)
    assert read.flow is not None
    again = written(read.flow)
    assert write_flow(read_again(again)) == again


def read_again(text: str) -> Flow:
    flow = read_flow(text).flow
    assert flow is not None
    return flow


@pytest.mark.req("FLOW-8.write", "BAR-13.examples")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_every_example_can_be_written(path: Path) -> None:
    if path.suffix not in (".yaml", ".json"):
        return
    read = read_flow(path.read_text(), file=path.name)
    assert read.flow is not None
    written(read.flow)


def tasks(rng: random.Random) -> dict[str, Any]:
    """A task list as document D has it: dependencies, conditional tasks, fan-outs, ids of any shape."""
    ids = [rng.choice(("t", "task-", "step ")) + str(number) for number in range(rng.randrange(1, 8))]
    items: list[dict[str, Any]] = []
    free = [*ids]
    for number, id in enumerate(ids):
        item: dict[str, Any] = {"id": id, "dependencies": [other for other in ids[:number] if rng.random() < 0.4]}
        kind = rng.random()
        later = [other for other in ids[number + 1 :] if other in free]
        if kind < 0.2 and later:
            chosen = rng.sample(later, rng.randrange(1, len(later) + 1))
            free = [other for other in free if other not in chosen]
            item |= {"condition": "results.x.ok", "thenTasks": chosen}
        elif kind < 0.4:
            item |= {"inputData": "[1, 2]", "taskTemplate": {"agent_type": "mail", "action": "send"}}
        else:
            item |= {"agent_type": "crm", "action": rng.choice(("find", "save")), "parameters": {"n": rng.randrange(9)}}
        if rng.random() < 0.3:
            item["priority"] = rng.randrange(20)
        items.append(item)
    return {"tasks": items, "variables": {"a": 1}, "on_error": rng.choice(("continue", "stop"))}


def dag(rng: random.Random) -> dict[str, Any]:
    ids = [f"n{number}" if rng.random() < 0.7 else f"n-{number}" for number in range(rng.randrange(1, 7))]
    nodes = [
        {"id": id, "type": rng.choice(("http", "log")), "config": {"url": "https://example.com", "message": "m"},
         "deps": [other for other in ids[:number] if rng.random() < 0.4]}
        for number, id in enumerate(ids)
    ]  # fmt: skip
    for node in nodes:
        node["config"] = {"url": "https://example.com"} if node["type"] == "http" else {"message": "m"}
    return {"dag": {"nodes": nodes}}


def graph(rng: random.Random) -> dict[str, Any]:
    """A canvas graph with choices, loops drawn as containers, and edges that carry conditions."""
    nodes: list[dict[str, Any]] = [{"id": "start", "type": "start", "position": {"x": 0, "y": 0}}]
    edges: list[dict[str, Any]] = []
    for number in range(rng.randrange(1, 8)):
        kind = rng.choice(("http", "Condition", "DataMapper", "log", "crm.find", "WaitForCallback", "Polling"))
        data: dict[str, Any] = {
            "http": {"url": "https://example.com", "timeout": 500}, "Condition": {"condition": "$data.ok"},
            "DataMapper": {"a": "$data.b"}, "log": {"message": "m"}, "crm.find": {"id": 7},
            "WaitForCallback": {"timeout": 60_000},
            "Polling": {"url": "https://example.com", "successCondition": "$.done", "pollingInterval": 100},
        }[kind]  # fmt: skip
        source = rng.choice(nodes)
        edge: dict[str, Any] = {"source": source["id"], "target": f"n{number}"}
        if source["type"] == "Condition":
            edge["sourceHandle"] = rng.choice(("then", "else", "true", "error"))
        elif rng.random() < 0.2:
            edge["when"] = "$data.n > 3"
        nodes.append({"id": f"n{number}", "type": kind, "data": {"label": f"N {number}", **data}})
        edges.append(edge)
    return {"nodes": nodes, "edges": edges, "viewport": {"x": 1}}


@pytest.mark.req("FLOW-8.write", "FLOW-3.write", "FLOW-2.write")
@LAW
@given(st.sampled_from((tasks, dag, graph)), SEEDS)
def test_task_lists_dags_and_graphs_can_be_written(make: Any, seed: int) -> None:
    read: ReadResult = read_document(make(random.Random(seed)))
    if read.flow is None or read.has_errors:
        raise AssertionError([str(problem) for problem in read.problems])
    if any(not block.steps for step in read.flow.root.steps for block in step.blocks):
        with pytest.raises(RequestError, match="no steps"):
            write_flow(read.flow)
        return
    written(read.flow)


class Speaker:
    """Makes a random model one that a text can say: no empty blocks, values as a reading gives them."""

    def __init__(self) -> None:
        self.count = 0

    def flow(self, flow: Flow) -> Flow:
        fields: dict[str, Any] = {"root": self.block(flow.root, is_root=True)}
        if flow.on_error_block is not None:
            fields |= {"on_error_block": self.block(flow.on_error_block), "on_error": "stop"}
        if flow.finally_ is not None:
            fields["finally_"] = self.block(flow.finally_)
        fields["run_limits"] = None  # read from `limits`, which the drawn flows leave out
        if flow.concurrency is not None:
            fields["limits"] = {"steps": flow.concurrency}
        return msgspec.structs.replace(flow, **fields)

    def block(self, block: Block, *, is_root: bool = False) -> Block:
        steps = tuple(self.step(step, is_root=is_root) for step in block.steps)
        if not steps:
            self.count += 1
            steps = (Step(id=f"filled{self.count}", kind="stop", path=""),)
        kinds = {step.id: step.kind for step in steps}
        edges: dict[tuple[str, str], Edge] = {}
        for edge in block.edges:
            label = edge.label if is_root else None
            if is_root and kinds[edge.source] == "branch" and label is None:
                label = "no"
            edges[edge.source, edge.target] = Edge(edge.source, edge.target, label, edge.when if is_root else None)
        return msgspec.structs.replace(block, steps=steps, edges=tuple(edges.values()))

    def step(self, step: Step, *, is_root: bool) -> Step:
        fields: dict[str, Any] = {"blocks": tuple(self.block(block) for block in step.blocks)}
        fields["on_error"] = tuple(
            msgspec.structs.replace(handler, block=self.block(handler.block)) for handler in step.on_error
        )
        for name in ("finally_", "compensate"):
            if (block := getattr(step, name)) is not None:
                fields[name] = self.block(block)
        if step.limits is not None:  # three in twenty seconds is no exact length each
            fields["limits"] = msgspec.structs.replace(step.limits, rate_seconds=1.0)
        if step.kind == "try":
            fields["finally_"] = None  # written beside a `try`, it is that of the `try`
        if step.timeout == Timeout():
            fields["timeout"] = None
        if step.kind == "branch" and not is_root:
            return msgspec.structs.replace(step, kind="set", params={"x": 1}, **fields)
        if step.kind == "parallel":
            fields["join"] = "all"  # beside `parallel`, `join` is that of its branches
        if step.kind == "parallel" and not step.blocks:
            fields["blocks"] = (self.block(Block(label="b0")),)
        return msgspec.structs.replace(step, params=_params(step), **fields)


def _params(step: Step) -> RawMap:
    params = step.params
    if step.kind == "branch":
        return {"branches": [*cast("list[JsonValue]", params["branches"])[:1], {"label": "no", "when": None}]}
    if step.kind == "wait" and "duration" in params:
        return {"duration": {"1s": 1.0, "20s": 20.0, "5m": 300.0, "9h": 32_400.0}[str(params["duration"])]}
    if step.kind == "wait" and step.callback is not None:
        return {"callback": True}
    if step.kind == "repeat":
        times = {
            key: {"2s": 2.0, "2m": 120.0, "3m": 180.0}[str(params[key])] for key in ("every", "within") if key in params
        }
        return {**params, **times}
    if step.kind in ("map", "return"):
        return {"value": params["value"]}
    if step.kind == "log":
        return {"message": params["message"], "level": "info"}
    if step.kind == "fail":
        return {"message": params["message"], "code": "x"}
    return params


@pytest.mark.req("FLOW-8.write")
@LAW
@given(SEEDS)
def test_random_models_can_be_written(seed: int) -> None:
    written(Speaker().flow(FlowMaker(random.Random(seed)).flow("random")))


@pytest.mark.req("FLOW-8.write", "FLOW-4.refused")
def test_what_no_text_says_is_refused_with_its_reason() -> None:
    reasons: set[str] = set()
    for seed in range(examples(60)):
        flow = FlowMaker(random.Random(seed)).flow("raw")
        try:
            text = write_flow(flow)
        except RequestError as error:
            reasons.add(error.message.removeprefix("the flow raw cannot be written as text: "))
        else:
            assert same_flow(read_again(text), flow)
    assert any("no steps" in reason for reason in reasons)
    assert all(reason for reason in reasons)
    for step, reason in (
        (Step(id="a", kind="parallel", path=""), "no branches"),
        (Step(id="a", kind="conditional", path=""), "no condition"),
        (Step(id="a", kind="call", use="x", path="", retry=Retry(on=())), "retry"),
        (Step(id="a", kind="call", use="x", path="", timeout=Timeout(attempt_seconds=1e-12)), "no duration"),
        (Step(id="a", kind="log", params={"message": "\ud800", "level": "info"}, path=""), "surrogate"),
    ):
        with pytest.raises(RequestError, match=reason):
            write_flow(Flow(id="f", root=Block(label="root", steps=(step,))))


@pytest.mark.req("FLOW-8.write")
def test_every_policy_is_written() -> None:
    retry = Retry(max_attempts=4, backoff="linear", initial_delay_seconds=0.25, on=("timeout",), not_on=("dns",))
    policies: dict[str, Any] = {
        "when": "$b", "join": 2, "priority": 3, "idempotency": "safe", "at_most_once": True, "disabled": True,
        "retry": msgspec.structs.replace(retry, max_time_seconds=90.5), "output": "$.x", "title": "T", "notes": "a\nb",
        "timeout": Timeout(attempt_seconds=1.5, total_seconds=60.0, on_timeout="default"), "has_default": True,
        "mock": [1], "has_mock": True,
        "poll": Poll(success_condition="$.ok", use="http", params={"method": "GET", "url": "https://x.org/a b"}),
        "callback": Callback(
            uses=2, form={"type": "object", "properties": {"n": {}}, "additionalProperties": False},
            signature=Signature(secret="x", algorithm="sha1", prefix="sha1="),
        ),
        "on_error": (Handler(block=Block(label="on_error"), match=("timeout",), then="retry"),),
        "cache": Cache(seconds=3600.0), "limits": Limits(concurrency=2, on_full="skip"),
        "fallback": (Fallback(use="z"),),
        "compensate": Block(label="compensate", steps=(Step(id="undo", kind="call", use="undo", path=""),)),
    }  # fmt: skip
    step = Step(id="a", kind="call", use="x.y", path="", **policies)
    text = written(Flow(id="f", root=Block(label="root", steps=(step,))))
    assert "initial_delay: 250ms" in text
    assert "timeout: {attempt: 1500ms, total: 1m}" in text
