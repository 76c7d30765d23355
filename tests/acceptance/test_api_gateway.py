"""Document B: its example in both forms, through its own two contracts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Receiver, Served, problem, receiver, serve

pytestmark = pytest.mark.anyio

MESSAGE = "🎉 New Sale! A payment of $10.00 was just successfully processed."
SECRET = "Bearer sk-live-0123456789abcdef"


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


@pytest.fixture
async def discord() -> AsyncGenerator[Receiver]:
    async with receiver() as found:
        yield found


def _config(url: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": f"{url}/api/webhooks/xxx/yyy",
        "headers": {"Content-Type": "application/json", "Authorization": SECRET},
        "json_body": {"content": MESSAGE},
    }


def _definition(url: str) -> dict[str, Any]:
    steps = [{"type": "http_request_node", "config": _config(url)}]
    return {"name": "Stripe to Discord Bridge", "definition": {"steps": steps}}


def _graph(url: str) -> dict[str, Any]:
    return {
        "nodes": [
            {"id": "n1", "type": "start", "position": {"x": 0, "y": 0}},
            {"id": "n2", "type": "http", "position": {"x": 240, "y": 0}, "data": {"config": _config(url)}},
        ],
        "edges": [{"id": "e1", "source": "n1", "target": "n2"}],
    }


def _dag(url: str) -> dict[str, Any]:
    return {
        "nodes": [
            {"id": "s1", "type": "start", "config": {}},
            {"id": "s2", "type": "http_request_node", "config": _config(url), "deps": ["s1"]},
        ]
    }


async def _ended(served: Served, run_id: str) -> dict[str, Any]:
    """Asks as document B's builder does, until the run is over."""
    async with asyncio.timeout(20):
        while True:
            run = await served.get(f"/v1/runs/{run_id}")
            assert set(run) == {"id", "status", "steps", "logs"}
            if run["status"] not in ("queued", "running"):
                return run
            await asyncio.sleep(0.01)


def _was_sent_once(discord: Receiver) -> None:
    import json

    assert len(discord.got) == 1
    method, path, headers, body = discord.got[0]
    assert (method, path) == ("POST", "/api/webhooks/xxx/yyy")
    assert headers["authorization"] == SECRET
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"]
    assert json.loads(body) == {"content": MESSAGE}


async def _tells_no_secret(served: Served, run_id: str) -> None:
    for path in (f"/v1/runs/{run_id}", *(f"/api/v1/runs/{run_id}{end}" for end in ("", "/logs", "/why", "/events"))):
        answer = await served.client.get(path)
        assert answer.status_code == 200
        assert "sk-live" not in answer.text, path


@pytest.mark.req("API-3.run", "FLOW-3.definition", "ACC-5.headers")
@pytest.mark.parametrize("wrapped", [False, True], ids=["whole", "under graph"])
async def test_the_definition_of_the_example_runs(served: Served, discord: Receiver, wrapped: bool) -> None:
    flow = _definition(discord.url)
    answer = await served.client.post("/v1/runs", json={"graph": flow, "inputs": {}} if wrapped else flow)
    assert answer.status_code == 201, answer.text
    assert list(answer.json()) == ["runId"]
    run_id = answer.json()["runId"]
    assert run_id.startswith("run_")
    run = await _ended(served, run_id)
    assert run["status"] == "succeeded"
    assert [step["id"] for step in run["steps"]] == ["s1"]
    assert run["steps"][0]["nodeId"]
    _was_sent_once(discord)
    assert ("info", "HTTP 204") in [(line["level"], line["msg"]) for line in run["logs"]]
    assert all(set(line) == {"ts", "level", "msg"} for line in run["logs"])
    await _tells_no_secret(served, run_id)
    assert (await served.show(run_id))["flow"] == "stripe-to-discord-bridge"


@pytest.mark.req("API-3.run", "FLOW-2.graph")
async def test_the_graph_of_the_example_runs(served: Served, discord: Receiver) -> None:
    body = {"graph": _graph(discord.url), "inputs": {}, "idempotencyKey": "3f1d1e0e-0f5c-4e0e-9a34-000000000001"}
    answer = await served.client.post("/v1/runs", json=body)
    run_id = answer.json()["runId"]
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    run = await _ended(served, run_id)
    assert run["status"] == "succeeded"
    assert [(step["id"], step["nodeId"], step["status"]) for step in run["steps"]] == [
        ("s1", "n1", "succeeded"),
        ("s2", "n2", "succeeded"),
    ]
    assert all(step["durationMs"] >= 0 for step in run["steps"])
    assert "HTTP 204" in [line["msg"] for line in run["logs"]]
    # The builder's user clicks twice.
    again = await served.client.post("/v1/runs", json=body)
    assert (again.status_code, again.json()) == (201, {"runId": run_id})
    _was_sent_once(discord)
    other = {**body, "inputs": {"x": 1}}
    problem(await served.client.post("/v1/runs", json=other), 422, "idempotency-key-reused")
    await _tells_no_secret(served, run_id)


@pytest.mark.req("API-4.execute")
async def test_the_engine_executes_a_dag(served: Served, discord: Receiver) -> None:
    body = {"runId": "run_abc", "dag": _dag(discord.url), "env": {}}
    headers = {"x-idempotency-key": "dag-1"}
    answer = await served.client.post("/v1/execute", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert list(answer.json()) == ["engineRunId"]
    run_id = answer.json()["engineRunId"]
    assert run_id.startswith("eng_")
    run = await _ended(served, run_id)
    assert run["id"] == run_id
    assert run["status"] == "succeeded"
    assert [(step["id"], step["status"]) for step in run["steps"]] == [("s1", "succeeded"), ("s2", "succeeded")]
    assert all("nodeId" not in step for step in run["steps"])
    assert "HTTP 204" in [line["msg"] for line in run["logs"]]
    again = await served.client.post("/v1/execute", json=body, headers=headers)
    assert again.json() == {"engineRunId": run_id}
    _was_sent_once(discord)
    await _tells_no_secret(served, run_id)


@pytest.mark.req("API-4.env")
async def test_the_env_of_an_execution_is_its_own(served: Served, discord: Receiver) -> None:
    node = {
        "id": "call", "type": "http_request_node",
        "config": {"method": "POST", "url": f"{discord.url}/x", "json_body": {"stage": "{{ env.STAGE }}"}},
    }  # fmt: skip
    for stage in ("test", "live"):
        body = {"dag": {"nodes": [node]}, "env": {"STAGE": stage}}
        answer = await served.client.post("/v1/execute", json=body)
        assert (await _ended(served, answer.json()["engineRunId"]))["status"] == "succeeded"
    assert [got[3] for got in discord.got] == [b'{"stage":"test"}', b'{"stage":"live"}']


@pytest.mark.req("API-3.statuses")
async def test_the_words_of_document_b_are_used(served: Served) -> None:
    waiting = {"nodes": [{"id": "w", "type": "WaitForCallback", "data": {}}], "edges": []}
    run_id = (await served.client.post("/v1/runs", json={"graph": waiting})).json()["runId"]
    await served.until(run_id, "waiting")
    run = await served.get(f"/v1/runs/{run_id}")
    assert run["status"] == "running"
    assert run["steps"] == [{"id": "s1", "nodeId": "w", "status": "running"}]
    await served.client.post(f"/api/v1/runs/{run_id}/pause")
    assert (await served.get(f"/v1/runs/{run_id}"))["status"] == "running"
    await served.client.post(f"/api/v1/runs/{run_id}/cancel")
    run = await served.get(f"/v1/runs/{run_id}")
    assert (run["status"], run["steps"][0]["status"]) == ("failed", "failed")
    assert "warn" in {line["level"] for line in run["logs"]}
    assert "warning" not in {line["level"] for line in run["logs"]}


@pytest.mark.req("API-3.failure")
async def test_a_refused_request_fails_the_run_with_its_status_in_the_log(served: Served, discord: Receiver) -> None:
    discord.answers["/api/webhooks/xxx/yyy"] = (404, b'{"message": "Unknown Webhook"}')
    run_id = (await served.client.post("/v1/runs", json=_definition(discord.url))).json()["runId"]
    run = await _ended(served, run_id)
    assert run["status"] == "failed"
    assert run["steps"][0]["status"] == "failed"
    assert ("warn", "HTTP 404") in [(line["level"], line["msg"]) for line in run["logs"]]
    await _tells_no_secret(served, run_id)


@pytest.mark.req("API-3.invalid", "FLOW-5.all-at-once")
@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({}, "invalid-request"),
        ({"inputs": {}}, "invalid-request"),
        ({"graph": "nodes"}, "invalid-request"),
        ({"graph": {"nodes": []}, "extra": 1}, "invalid-request"),
        ({"graph": {"nodes": [], "edges": []}}, "invalid-flow"),
        ({"graph": {"nodes": [{"id": "a", "type": "http", "data": {"config": {}}}], "edges": []}}, "invalid-flow"),
        (
            {"graph": {"nodes": [{"id": "a", "type": "start"}], "edges": [{"source": "a", "target": "b"}]}},
            "invalid-flow",
        ),
        ({"name": "x", "definition": {"steps": []}}, "invalid-flow"),
    ],
)
async def test_a_graph_that_cannot_run_is_refused_with_reasons(served: Served, body: dict[str, Any], slug: str) -> None:
    found = problem(await served.client.post("/v1/runs", json=body), 422, slug)
    assert found.get("problems") or found.get("errors")
    assert (await served.get("/api/v1/runs"))["runs"] == []


@pytest.mark.req("API-4.invalid")
@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({}, "invalid-request"),
        ({"dag": []}, "invalid-request"),
        ({"dag": {"nodes": [7]}}, "invalid-request"),
        ({"dag": {"nodes": []}}, "invalid-flow"),
        ({"dag": {"nodes": [{"id": "a", "type": "start", "deps": ["zz"]}]}}, "invalid-flow"),
        ({"dag": {"nodes": [{"id": "a", "type": "start"}]}, "run_id": "x"}, "invalid-request"),
    ],
)
async def test_a_dag_that_cannot_run_is_refused_with_reasons(served: Served, body: dict[str, Any], slug: str) -> None:
    problem(await served.client.post("/v1/execute", json=body), 422, slug)
    assert (await served.get("/api/v1/runs"))["runs"] == []


@pytest.mark.req("API-4.exactly")
async def test_a_dag_of_document_b_needs_no_run_id_of_its_own(served: Served) -> None:
    answer = await served.client.post("/v1/execute", json={"dag": {"nodes": [{"id": "s1", "type": "start"}]}})
    assert (await _ended(served, answer.json()["engineRunId"]))["status"] == "succeeded"
