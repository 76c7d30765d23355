"""The documents' own paths, where programs that were written after them meet what the documents leave open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from acceptance.api_support import Receiver, Served, problem, receiver, serve

pytestmark = pytest.mark.anyio
ROOT = "/api/v1/orchestrator"


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


@pytest.fixture
async def outside() -> AsyncGenerator[Receiver]:
    async with receiver() as found:
        yield found


async def connected(served: Served, provider: str, body: dict[str, str]) -> dict[str, Any]:
    answer = await served.client.post(f"{ROOT}/providers/{provider}/connect", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.req("API-2.providers", "ACC-4.connections")
@pytest.mark.parametrize(
    ("provider", "below", "asked", "header", "value"),
    [
        ("n8n", "", "/api/v1/workflows", "x-n8n-api-key", "key-7"),
        ("n8n", "/api/v1/", "/api/v1/workflows", "x-n8n-api-key", "key-7"),
        ("make", "/api/v2", "/api/v2/users/me", "authorization", "Token key-7"),
    ],
)
async def test_a_provider_is_asked_with_the_kept_credentials(
    served: Served, outside: Receiver, provider: str, below: str, asked: str, header: str, value: str
) -> None:
    kept = await connected(served, provider, {"baseUrl": outside.url + below, "apiKey": "key-7"})
    outside.answers[asked] = (200, b"{}")
    path = f"{ROOT}/providers/{provider}/test"
    good = await served.get(path)
    assert good == {
        "connectionId": kept["id"], "provider": provider, "name": provider, "success": True, "status": "ACTIVE",
        "message": None, "lastSync": good["lastSync"],
    }  # fmt: skip
    assert good["lastSync"]
    method, got, headers, _ = outside.got[-1]
    assert (method, got, headers[header]) == ("GET", asked, value)
    outside.answers[asked] = (401, b'{"message": "unauthorized"}')
    bad = (await served.client.post(path, json={"connectionId": kept["id"]})).json()
    assert (bad["success"], bad["status"]) == (False, "INACTIVE")
    assert bad["message"] == "auth: the address answered 401: it does not accept these credentials"
    shown = {one["id"]: one["status"] for one in await served.get(f"{ROOT}/providers")}
    assert shown[provider] == "INACTIVE"


@pytest.mark.req("API-2.providers")
async def test_one_of_several_connections_is_meant_by_its_id(served: Served, outside: Receiver) -> None:
    outside.answers["/old/api/v1/workflows"] = (200, b"{}")
    outside.answers["/new/api/v1/workflows"] = (500, b"{}")
    ids = [
        (await connected(served, "n8n", {"name": name, "baseUrl": f"{outside.url}/{name}", "apiKey": "k"}))["id"]
        for name in ("old", "new")
    ]
    path = f"{ROOT}/providers/n8n/test"
    assert [(await served.get(f"{path}?connection={one}"))["success"] for one in ids] == [True, False]
    assert (await served.client.post(path)).json()["connectionId"] == ids[1], "left out: the newest"
    problem(await served.client.get(f"{path}?connection=con_none"), 404, "not-found")
    problem(await served.client.get(f"{ROOT}/providers/make/test?connection={ids[0]}"), 404, "not-found")
    problem(await served.client.post(path, json={"apiKey": "k"}), 422, "invalid-request")
    problem(await served.client.get(f"{ROOT}/providers/other/test"), 404, "not-found")


@pytest.mark.req("API-2.providers")
async def test_a_test_says_what_is_missing(served: Served) -> None:
    found = problem(await served.client.get(f"{ROOT}/providers/zapier/test"), 404, "not-found")
    assert "/providers/zapier/connect" in found["detail"]
    await connected(served, "zapier", {"apiKey": "k"})
    found = problem(await served.client.get(f"{ROOT}/providers/zapier/test"), 501, "not-available")
    assert "no baseUrl" in found["detail"]
    (shown,) = await served.get(f"{ROOT}/connections")
    assert (shown["status"], shown["lastSync"]) == ("ACTIVE", None)


async def until_over(served: Served, run_id: str) -> dict[str, Any]:
    await served.until(run_id)
    return await served.get(f"/v1/runs/{run_id}")


@pytest.mark.req("API-3.optional", "API-4.optional")
async def test_what_document_b_calls_optional_may_be_null(served: Served) -> None:
    graph = {"nodes": [{"id": "n1", "type": "start"}], "edges": []}
    body = {"graph": graph, "inputs": None, "idempotencyKey": None}
    started = await served.client.post("/v1/runs", json=body)
    assert started.status_code == 201, started.text
    assert (await until_over(served, started.json()["runId"]))["status"] == "succeeded"
    body = {"runId": None, "dag": {"nodes": [{"id": "s1", "type": "start"}]}, "env": None, "inputs": None}
    accepted = await served.client.post("/v1/execute", json=body)
    assert accepted.status_code == 202, accepted.text
    assert (await until_over(served, accepted.json()["engineRunId"]))["status"] == "succeeded"
    problem(await served.client.post("/v1/runs", json={"graph": graph, "inputs": 7}), 422, "invalid-request")


@pytest.mark.req("API-3.run", "API-3.builder")
async def test_a_graph_as_a_canvas_keeps_it_runs_with_all_its_own_keys(served: Served, outside: Receiver) -> None:
    outside.answers["/ada"] = (200, b"{}")
    config = {"method": "GET", "url": f"{outside.url}/{{{{ inputs.who }}}}", "headers": {}}
    own = {"selected": True, "dragging": False, "width": 180, "height": 40, "positionAbsolute": {"x": 0, "y": 0}}
    graph = {
        "id": "wf-1", "name": "From a canvas", "version": "1.0", "viewport": {"x": 0, "y": 0, "zoom": 1},
        "nodes": [
            {"id": "n1", "type": "start", "position": {"x": 0, "y": 0}, "data": {"label": "Start"}, **own},
            {"id": "n 2", "type": "http", "position": {"x": 9, "y": 0}, "data": {"label": "Call", "config": config}},
        ],
        "edges": [
            {"id": "e1", "source": "n1", "target": "n 2", "sourceHandle": None, "type": "smoothstep", "animated": True}
        ],
    }  # fmt: skip
    started = await served.client.post("/v1/runs", json={"graph": graph, "inputs": {"who": "ada"}})
    assert started.status_code == 201, started.text
    run = await until_over(served, started.json()["runId"])
    assert [(one["id"], one["nodeId"], one["status"]) for one in run["steps"]] == [
        ("s1", "n1", "succeeded"),
        ("s2", "n 2", "succeeded"),
    ]
    assert "HTTP 200" in [line["msg"] for line in run["logs"]]
    assert outside.got[-1][1] == "/ada"
