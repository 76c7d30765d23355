"""Document D's task lists: dependencies, priorities, conditional tasks, fan-out, retries."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.flow.kit import edges_of, step_of

from segue.flow import ReadResult, StaticCatalogue, check_flow, read_document
from segue.flow.forms.tasks import results_as_steps
from segue.flow.model import Edge, Retry


def task(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "name": id, "agent_type": "mail", "action": "send", "parameters": {}, **more}


def tasks(*items: dict[str, Any], **more: Any) -> ReadResult:
    return read_document({"name": "Nightly", "definition": {"tasks": list(items), **more}})


def well(*items: dict[str, Any], **more: Any) -> Any:
    result = tasks(*items, **more)
    assert result.flow is not None
    assert result.problems == (), [str(problem) for problem in result.problems]
    return result.flow


@pytest.mark.req("FLOW-3.tasks")
def test_document_d_tasks_read_as_written() -> None:
    flow = well(
        {
            "id": "t1",
            "name": "First",
            "priority": 1,
            "agent_type": "browser",
            "action": "open",
            "parameters": {"url": "x"},
        },
        {
            "id": "t2",
            "name": "t2",
            "priority": 10,
            "dependencies": ["t1"],
            "agent_type": "mail",
            "action": "send",
            "parameters": {},
        },
        {
            "id": "t3",
            "name": "t3",
            "priority": 5,
            "dependencies": [],
            "agent_type": "mail",
            "action": "send",
            "parameters": {},
        },
        variables={"n": 3},
        on_error="continue",
    )
    assert (flow.id, flow.form, flow.vars, flow.on_error) == ("nightly", "tasks", {"n": 3}, "continue")
    first = flow.root.steps[0]
    assert (first.id, first.use, first.params, first.priority, first.title) == (
        "t1",
        "browser.open",
        {"url": "x"},
        1,
        "First",
    )
    assert edges_of(flow) == {("t1", "t2", None)}


@pytest.mark.req("FLOW-3.tasks")
def test_task_lists_stand_at_the_top_as_well() -> None:
    result = read_document({"flow": "x", "tasks": [task("a"), task("b", dependencies=["a"])], "variables": {}})
    assert result.flow is not None
    assert result.problems == ()
    assert edges_of(result.flow) == {("a", "b", None)}


@pytest.mark.req("FLOW-3.conditional_tasks")
def test_conditional_tasks_take_in_the_tasks_they_name() -> None:
    flow = well(
        task("t1"),
        {
            "id": "c",
            "condition": "results.t1.ok == true && vars.n > 2",
            "thenTasks": ["t2", "t3"],
            "elseTasks": ["t4"],
            "dependencies": ["t1"],
        },
        task("t2"),
        task("t3"),
        task("t4", dependencies=["t0"]),
        task("t0"),
        task("t5", dependencies=["t3"]),
    )
    choice = step_of(flow, "c")
    assert [(block.label, block.when, [step.id for step in block.steps]) for block in choice.blocks] == [
        ("then", "t1.ok == true && vars.n > 2", ["t2", "t3"]), ("else", None, ["t4"]),
    ]  # fmt: skip
    assert choice.blocks[0].edges == (Edge("t2", "t3"),)
    assert [step.id for step in flow.root.steps] == ["t1", "c", "t0", "t5"]
    assert edges_of(flow) == {("t1", "c", None), ("t0", "c", None), ("c", "t5", None)}
    catalogue = StaticCatalogue(())
    assert {problem.code for problem in check_flow(flow, catalogue, runnable=False)} == {"FLW012"}


@pytest.mark.req("FLOW-3.fan_out")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("results.t1 + results.t2.n", "t1 + t2.n"), ("has(results.t1) and $results.t1[0]", "has(steps.t1) and $t1[0]"),
        ("results['a-1'].n", "steps['a-1'].n"), ("size(results)", "size(steps)"), ("results .t1", "t1"),
    ],
)  # fmt: skip
def test_results_are_what_tasks_gave(written: str, read: str) -> None:
    assert results_as_steps(written) == read


@pytest.mark.req("FLOW-3.fan_out", "EXEC-3.foreach")
def test_fan_out_is_a_loop_over_its_input() -> None:
    flow = well(
        {
            "id": "f",
            "inputData": "$vars.urls",
            "taskTemplate": {"agent_type": "web", "action": "get", "parameters": {"k": 1}},
        },
        {
            "id": "g",
            "inputData": [1, 2],
            "taskTemplate": {"agent_type": "web", "action": "get"},
            "aggregator": "size(results)",
            "concurrency": 2,
        },
    )
    f, g = flow.root.steps
    assert (f.kind, f.params) == ("foreach", {"items": "$vars.urls", "limit": 5, "tolerate": "all"})
    assert (f.blocks[0].steps[0].use, f.blocks[0].steps[0].params) == ("web.get", {"k": 1, "input": "$item"})
    assert g.params == {"items": "[1, 2]", "limit": 2, "tolerate": "all", "aggregate": "size(results)"}


@pytest.mark.req("FLOW-3.tasks")
def test_document_d_retries_count_retries_and_milliseconds() -> None:
    config = {"maxRetries": 3, "delayMs": 250, "backoffMultiplier": 2, "retryableErrors": ["timeout"]}
    flow = well(task("a", retry=config))
    assert flow.root.steps[0].retry == Retry(max_attempts=4, initial_delay_seconds=0.25, on=("timeout",))


def test_parameters_may_refer_to_results() -> None:
    flow = well(
        task("a"),
        task(
            "b", dependencies=["a"], parameters={"x": "$results.a.id", "y": ["{{ results.a.n + 1 }}"], "z": "results"}
        ),
    )
    assert step_of(flow, "b").params == {"x": "$a.id", "y": ["{{ a.n + 1 }}"], "z": "results"}


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([task("a"), task("a")], "FLW024"),
        ([task("a", dependencies=["b"])], "FLW025"),
        ([{"id": "c", "condition": "true", "thenTasks": ["nowhere"]}], "FLW025"),
        ([{"id": "c", "condition": "true", "thenTasks": ["a"], "elseTasks": ["a"]}, task("a")], "FLW024"),
        ([{"id": "c", "condition": "true", "thenTasks": ["c"]}], "FLW025"),
        (
            [
                {"id": "c", "condition": "true", "thenTasks": ["d"]},
                {"id": "d", "condition": "true", "thenTasks": ["c"]},
            ],
            "FLW024",
        ),
        ([{"agent_type": "x"}], "FLW011"),
        ([{"id": "a", "action": "x"}], "FLW011"),
        ([task("a", paramters={})], "FLW010"),
        ([{"id": "f", "taskTemplate": {"agent_type": "x"}}], "FLW011"),
        ([3], "FLW015"),
        ([], "FLW040"),
    ],
)
def test_broken_task_lists_end_in_problems(items: list[Any], code: str) -> None:
    assert code in {problem.code for problem in tasks(*items).problems}


def test_tasks_that_wait_for_each_other_are_a_cycle() -> None:
    result = tasks(task("a", dependencies=["b"]), task("b", dependencies=["a"]))
    assert result.flow is not None
    found = [
        problem for problem in check_flow(result.flow, StaticCatalogue(), runnable=False) if problem.code == "FLW026"
    ]
    assert len(found) == 1
    assert "a → b → a" in found[0].message or "b → a → b" in found[0].message
