"""The client of an engine elsewhere: what it tries again, under which key, and what it makes of a graph."""

from __future__ import annotations

import pytest

from acceptance.api_support import receiver
from segue.client import engine as module
from segue.client.engine import EngineClient, compile_dag
from segue.client.records import HostLostError
from segue.errors import InvalidInputError, NotFoundError, RequestError

pytestmark = pytest.mark.anyio


@pytest.mark.req("API-4.retries", "API-4.idempotent")
async def test_a_request_is_sent_again_under_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_SECONDS", 0.0)
    async with receiver() as outside:
        client = EngineClient(outside.url, "secret", attempts=3)
        try:
            outside.answers["/v1/execute"] = (503, b'{"detail": "later"}')
            with pytest.raises(HostLostError, match="later"):
                await client.execute({"nodes": []}, run_id="run_1", idempotency_key="k-1")
            assert len(outside.got) == 3
            assert {headers["idempotency-key"] for _, _, headers, _ in outside.got} == {"k-1"}
            assert {headers["x-idempotency-key"] for _, _, headers, _ in outside.got} == {"k-1"}
            assert {headers["authorization"] for _, _, headers, _ in outside.got} == {"Bearer secret"}
            outside.answers["/v1/execute"] = (202, b'{"engineRunId": "eng_1"}')
            assert await client.execute({"nodes": []}, run_id="run_1", idempotency_key="k-1") == "eng_1"
            outside.answers["/v1/runs/eng_1"] = (200, b'{"id": "eng_1", "status": "running", "steps": []}')
            assert (await client.get_run("eng_1")).status == "running"
        finally:
            await client.close()


@pytest.mark.req("API-4.retries")
@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFoundError), (422, InvalidInputError), (400, RequestError), (401, RequestError)]
)
async def test_what_the_engine_refuses_is_not_sent_again(status: int, error: type[Exception]) -> None:
    async with receiver() as outside:
        client = EngineClient(outside.url)
        outside.answers["/v1/runs/eng_1"] = (status, b'{"detail": "no"}')
        with pytest.raises(error, match="no"):
            await client.get_run("eng_1")
        assert len(outside.got) == 1
        await client.close()


@pytest.mark.req("API-4.retries")
async def test_an_engine_that_is_not_there_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_SECONDS", 0.0)
    client = EngineClient("http://127.0.0.1:1", attempts=2)
    with pytest.raises(HostLostError, match="does not answer"):
        await client.get_run("eng_1")
    await client.close()


@pytest.mark.req("API-4.compile")
def test_a_graph_becomes_a_dag_in_the_order_of_its_dependencies() -> None:
    graph = {
        "nodes": [
            {"id": "b", "type": "http", "data": {"config": {"url": "https://x.example"}}},
            {"id": "a", "type": "start", "data": {}},
        ],
        "edges": [{"id": "e", "source": "a", "target": "b", "label": ""}],
    }
    assert compile_dag(graph) == {
        "nodes": [
            {"id": "a", "type": "start", "config": {}},
            {"id": "b", "type": "http_request_node", "config": {"url": "https://x.example"}, "deps": ["a"]},
        ]
    }
    steps = {"name": "x", "definition": {"steps": [{"type": "start"}, {"type": "http_request_node", "config": {}}]}}
    assert [node.get("deps") for node in compile_dag(steps)["nodes"]] == [None, ["s1"]]


@pytest.mark.req("API-4.compile")
@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ([{"source": "a", "target": "b"}, {"source": "b", "target": "a"}], "cycle"),
        ([{"source": "a", "target": "b", "condition": "$a.ok"}], "dependencies only"),
    ],
)
def test_what_a_dag_cannot_say_is_refused(edges: list[dict[str, str]], told: str) -> None:
    nodes = [{"id": name, "type": "start"} for name in ("a", "b")]
    with pytest.raises(InvalidInputError, match=told):
        compile_dag({"nodes": nodes, "edges": edges})
