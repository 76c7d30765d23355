"""Document A: every route that it writes down, walked; and what its bodies and status words say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from acceptance.api_support import Served, problem, receiver, serve

pytestmark = pytest.mark.anyio
ROOT = "/api/v1/orchestrator"


class Written(NamedTuple):
    method: str
    path: str
    """With the ids that the test fills in."""
    body: Any
    status: int
    means: str


DEFINITION = {
    "nodes": [
        {"id": "start", "type": "start", "position": {"x": 0, "y": 0}, "data": {}},
        {"id": "map", "type": "set", "position": {"x": 200, "y": 0}, "data": {"config": {"said": "$inputs.said"}}},
        {"id": "ask", "type": "wait", "data": {"config": {"callback": {"expires": "1h"}}}},
    ],
    "edges": [{"id": "e1", "source": "start", "target": "map"}, {"id": "e2", "source": "map", "target": "ask"}],
    "version": 1,
}
LATER = "not there yet: the provider's adapter"
TABLE = [
    Written("GET", "", None, 200, "list flows"),
    Written("POST", "", {"name": "Other one", "definition": DEFINITION}, 201, "create a flow"),
    Written("GET", "/{flow}", None, 200, "one flow"),
    Written("PUT", "/{flow}", {"name": "Renamed", "definition": DEFINITION}, 200, "save a flow"),
    Written("POST", "/{flow}/run", {"inputs": {"said": "hi"}}, 201, "start a run"),
    Written("GET", "/{flow}/runs", None, 200, "the flow's runs"),
    Written("GET", "/{flow}/runs/{run}", None, 200, "a run with logs"),
    Written("GET", "/runs/{run}/logs", None, 200, "a run's log"),
    Written("GET", "/runs/{run}/nodes/map/data", None, 200, "what went into a node and came out"),
    Written("POST", "/callback/{run}", {"ok": True}, 200, "answer the run's one callback, by its id"),
    Written("POST", "/callback/{token}", {"ok": True}, 200, "answer a callback, by its token"),
    Written("POST", "/{flow}/runs/{waiting}/cancel", None, 200, "cancel a run"),
    Written("POST", "/{flow}/runs/{waiting}/retry", None, 200, "go on with a run that did not end well"),
    Written("GET", "/providers", None, 200, "the providers"),
    Written("POST", "/providers/n8n/connect", {"baseUrl": "https://n8n.example", "apiKey": "k"}, 201, "connect"),
    Written("GET", "/providers/n8n/test?connection={n8n}", None, 200, "ask with the kept credentials"),
    Written("POST", "/providers/n8n/test", {"connectionId": "{n8n}"}, 200, "ask with the kept credentials"),
    Written("DELETE", "/providers/make/disconnect/{connection}", None, 204, "disconnect"),
    Written("GET", "/connections", None, 200, "connections"),
    Written("DELETE", "/connections/{connection}", None, 204, "disconnect"),
    Written("GET", "/providers/n8n/workflows", None, 501, LATER),
    Written("GET", "/providers/n8n/workflows/7/preview", None, 501, LATER),
    Written("POST", "/providers/n8n/workflows/7/execute", {}, 501, LATER),
    Written("GET", "/providers/make/scenarios", None, 501, LATER),
    Written("GET", "/providers/make/scenarios/7/metadata", None, 501, LATER),
    Written("POST", "/providers/make/execute", {"webhookUrl": "{outside}/make", "data": 1}, 200, "call a webhook"),
    Written("POST", "/providers/zapier/execute", {"webhookUrl": "{outside}/zap", "data": 1}, 200, "call a webhook"),
    Written("POST", "/providers/zapier/callback", {"token": "{token}", "data": 1}, 200, "a zap answers a step"),
    Written("DELETE", "/{flow}", None, 204, "delete a flow"),
]


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve("memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


async def post(served: Served, path: str, body: Any, expect: int = 201) -> Any:
    answer = await served.client.post(f"{ROOT}{path}", json=body)
    assert answer.status_code == expect, answer.text
    return answer.json()


async def flow_and_runs(served: Served) -> dict[str, str]:
    flow = (await post(served, "", {"name": "Ask somebody", "definition": DEFINITION}))["id"]
    ids = {"flow": flow}
    for name in ("run", "waiting", "other"):
        ids[name] = (await post(served, f"/{flow}/run", {"inputs": {"said": "hello"}}))["id"]
        await served.until(ids[name], "waiting")
    ids["connection"] = (await post(served, "/providers/make/connect", {"apiKey": "k"}))["id"]
    ids["token"] = (await served.get(f"{ROOT}/{flow}/runs/{ids['other']}"))["correlationToken"]
    return ids


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**ids) if "{" in value else value
    return {key: filled(inner, ids) for key, inner in value.items()} if isinstance(value, dict) else value


@pytest.mark.req("API-2.every-route", "API-2.status-words")
@pytest.mark.parametrize("written", TABLE, ids=[f"{one.method} {one.path or '/'}" for one in TABLE])
async def test_every_route_of_document_a_does_what_it_says(written: Written) -> None:
    async with serve() as served, receiver() as outside:
        ids = {**await flow_and_runs(served), "outside": outside.url}
        credentials = {"baseUrl": outside.url, "apiKey": "k"}
        ids["n8n"] = (await post(served, "/providers/n8n/connect", {**credentials, "name": "outside"}))["id"]
        outside.answers["/zap"] = (200, b'{"taken": true}')
        if written.path.endswith("/retry"):
            await post(served, f"/{ids['flow']}/runs/{ids['waiting']}/cancel", None, 200)
        body = {} if written.body is None else {"json": filled(written.body, ids)}
        answer = await served.client.request(written.method, ROOT + filled(written.path, ids), **body)
        assert answer.status_code == written.status, answer.text
        if written.status == 501:
            assert "has not got" in problem(answer, 501, "not-available")["detail"]


@pytest.mark.req("API-2.every-route")
async def test_the_table_holds_every_route_that_is_served() -> None:
    async with serve() as served:
        document = await served.get("/openapi.json")
    served_routes = {
        (method.upper(), path.removeprefix(ROOT))
        for path, operations in document["paths"].items()
        if path.startswith(ROOT)
        for method in operations
    }

    def shape(path: str) -> str:
        parts = path.partition("?")[0].strip("/").split("/")
        named = {"n8n", "7", "map"} | ({"make"} if "disconnect" in parts else set())
        return "/".join("{}" if part[:1] == "{" or part in named else part for part in parts)

    assert {(one.method, shape(one.path)) for one in TABLE} >= {
        (method, shape(path)) for method, path in served_routes if (method, path) != ("GET", "/callback/{token}")
    }


@pytest.mark.req("API-2.bodies")
async def test_a_flow_is_kept_and_told_as_document_a_writes_it(served: Served) -> None:
    text = '{"nodes": [{"id": "a", "type": "set", "data": {"config": {"x": 1}}}], "edges": [], "version": 2}'
    made = await post(served, "", {"name": "My flow", "description": "It does things", "definition": text})
    assert set(made) == {"id", "name", "description", "definition", "workspaceId", "createdDate", "updatedDate"}
    assert (made["id"], made["name"], made["description"]) == ("my-flow", "My flow", "It does things")
    assert [node["id"] for node in made["definition"]["nodes"]] == ["a"]
    second = await post(served, "", {"name": "My flow"})
    assert second["id"] == "my-flow-2"
    listed = (await served.client.get(ROOT)).json()
    assert [one["id"] for one in listed] == ["my-flow", "my-flow-2"]
    path = f"{ROOT}/my-flow"
    tag = (await served.client.get(path)).headers["etag"]
    renamed = await served.client.put(path, json={"name": "Better name"}, headers={"if-match": tag})
    assert renamed.status_code == 200, renamed.text
    assert (renamed.json()["name"], renamed.json()["definition"]) == ("Better name", made["definition"])
    stale = await served.client.put(path, json={"name": "Worse name"}, headers={"if-match": tag})
    assert stale.status_code == 412
    problem(await served.client.put(path, json={"definition": "{"}), 422, "invalid-request")
    problem(await served.client.post(ROOT, json={"definition": {}}), 422, "invalid-request")
    assert (await served.client.delete(path)).status_code == 204
    problem(await served.client.get(path), 404, "not-found")


@pytest.mark.req("API-2.bodies", "API-1.location")
@pytest.mark.parametrize("path", [ROOT, "/api/v1/flows"])
async def test_a_name_of_any_letters_has_an_address(served: Served, path: str) -> None:
    made = await served.client.post(path, json={"name": "Zahlung an Ōsaka 支払い"})
    assert made.status_code == 201, made.text
    assert made.headers["location"].isascii()
    found = await served.client.get(made.headers["location"])
    assert (found.status_code, found.json()["id"]) == (200, made.json()["id"])


@pytest.mark.req("API-2.status-words", "API-2.bodies")
async def test_a_run_is_told_in_document_as_words(served: Served) -> None:
    ids = await flow_and_runs(served)
    flow, run = ids["flow"], ids["run"]
    waiting = await served.get(f"{ROOT}/{flow}/runs/{run}")
    assert (waiting["status"], waiting["orchestratorId"], waiting["inputs"]) == ("WAITING", flow, {"said": "hello"})
    assert waiting["correlationToken"]
    assert waiting["logs"]
    done = await post(served, f"/callback/{run}", {"ok": True}, 200)
    assert done == {"runId": run, "status": "accepted"}
    await served.until(run)
    ended = await served.get(f"{ROOT}/{flow}/runs/{run}")
    assert (ended["status"], ended["correlationToken"]) == ("COMPLETED", None)
    assert ended["finishedAt"]
    data = await served.get(f"{ROOT}/runs/{run}/nodes/map/data")
    assert (data["nodeId"], data["input"], data["output"]) == ("map", {"said": "hello"}, {"said": "hello"})
    logs = await served.get(f"{ROOT}/runs/{run}/logs?level=info")
    assert {"timestamp", "level", "message", "runId", "nodeId", "data"} == set(logs[0])
    cancelled = await post(served, f"/{flow}/runs/{ids['waiting']}/cancel", None, 200)
    assert cancelled["status"] == "FAILED"
    rows = (await served.client.get(f"{ROOT}/{flow}/runs?status=FAILED,COMPLETED")).json()
    assert {one["id"] for one in rows} == {run, ids["waiting"]}
    page = await served.client.get(f"{ROOT}/{flow}/runs?limit=2")
    rest = await served.client.get(f"{ROOT}/{flow}/runs?limit=2&cursor={page.headers['x-next-cursor']}")
    assert (len(page.json()), len(rest.json()), "x-next-cursor" in rest.headers) == (2, 1, False)
    problem(await served.client.get(f"{ROOT}/{flow}/runs?status=fine"), 422, "invalid-request")
    problem(await served.client.get(f"{ROOT}/other/runs/{run}"), 404, "not-found")
    problem(await served.client.post(f"{ROOT}/callback/{run}", json=1), 409, "conflict")
    async with served.anyone() as stranger:
        problem(await stranger.post(f"{ROOT}/callback/{ids['other']}", json=1), 401, "unauthenticated")


@pytest.mark.req("API-2.providers", "EXEC-9.remote-webhook")
async def test_a_webhook_is_called_by_a_run_that_can_be_looked_at(served: Served) -> None:
    async with receiver() as outside:
        outside.answers["/hook"] = (200, b'{"taken": true}')
        body = {"webhookUrl": f"{outside.url}/hook", "data": {"name": "{{ inputs.url }}"}}
        told = await post(served, "/providers/zapier/execute", body, 200)
        assert told["status"] == "COMPLETED"
        assert told["data"]["body"] == {"taken": True}
        assert outside.got[0][3] == b'{"name":"{{ inputs.url }}"}'
        assert (await served.show(told["executionId"]))["status"] == "succeeded"
        refused = await post(served, "/providers/make/execute", {"webhookUrl": "nonsense", "data": 1}, 200)
        assert refused["status"] == "FAILED"
        assert refused["error"]


@pytest.mark.req("API-2.connections", "ACC-4.canary")
async def test_a_connection_is_kept_and_its_credentials_are_never_shown(served: Served) -> None:
    body = {"baseUrl": "https://n8n.example", "apiKey": "canary-7d1f0a", "name": "main-n8n"}
    kept = await post(served, "/providers/n8n/connect", body)
    assert (kept["provider"], kept["name"], kept["status"]) == ("n8n", "main-n8n", "ACTIVE")
    listed = (await served.client.get(f"{ROOT}/connections")).json()
    assert listed == [kept]
    providers = {one["id"]: one["status"] for one in (await served.client.get(f"{ROOT}/providers")).json()}
    assert providers == {"n8n": "ACTIVE", "make": "INACTIVE", "zapier": "INACTIVE"}
    assert "canary-7d1f0a" not in str([kept, listed])
    problem(await served.client.post(f"{ROOT}/providers/n8n/connect", json=body), 409, "conflict")
    problem(await served.client.post(f"{ROOT}/providers/other/connect", json=body), 404, "not-found")
    problem(await served.client.delete(f"{ROOT}/providers/make/disconnect/{kept['id']}"), 404, "not-found")
    assert (await served.client.delete(f"{ROOT}/connections/{kept['id']}")).status_code == 204
    assert (await served.client.get(f"{ROOT}/connections")).json() == []


@pytest.mark.req("API-5.execute", "API-5.wait")
@pytest.mark.parametrize("path", ["/flows/{}/execute", "/api/v1/flows/{}/execute"])
async def test_document_c_executes_a_flow_and_waits_if_asked(tmp_path: Path, path: str) -> None:
    (tmp_path / "greet.yaml").write_text(
        "flow: greet\ninputs: {name: string}\nsteps:\n  - a: {set: {x: 'hi {{ inputs.name }}'}}\noutputs: $a.x\n"
    )
    async with serve(folders=(tmp_path,)) as served:
        where = path.format("greet")
        started = await served.client.post(where, json={"inputs": {"name": "Ada"}})
        assert started.status_code == 202
        assert (await served.until(started.json()["run_id"]))["outputs"] == "hi Ada"
        waited: httpx2.Response = await served.client.post(f"{where}?wait=10", json={"inputs": {"name": "Bob"}})
        assert (waited.status_code, waited.json()["outputs"]) == (200, "hi Bob")
        keyed = [
            await served.client.post(where, json={"inputs": {"name": "C"}}, headers={"idempotency-key": "k"})
            for _ in range(2)
        ]
        assert keyed[0].json()["run_id"] == keyed[1].json()["run_id"]
        problem(await served.client.post(path.format("none"), json={}), 404, "not-found")
        problem(await served.client.post(where, json={}), 422, "invalid-input")
