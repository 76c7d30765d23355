"""Differences, dry runs, tests, saved steps, templates, export and import of stored flows. Over HTTP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from acceptance.api_support import Served, problem, serve
from segue.flows.templates import built_in

pytestmark = pytest.mark.anyio

ORDER = """\
flow: order
inputs: {amount: number}
steps:
  - check: {set: {ok: "{{ inputs.amount > 0 }}"}}
  - charge: {http: {method: POST, url: https://pay.example/charge, json: {amount: $inputs.amount}}}
  - tell: {log: "charged {{ inputs.amount }}"}
outputs: {ok: $check.ok}
tests:
  - name: it is charged
    inputs: {amount: 5}
    mocks: {charge: {status: 201}}
    expect: {outputs: {ok: true}, calls: {charge: 1}}
  - name: it is wrong on purpose
    inputs: {amount: 5}
    mocks: {charge: {status: 201}}
    expect: {outputs: {ok: false}}
"""


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


async def stored(served: Served, text: str, *, publish: bool = False) -> str:
    made = await served.client.post("/api/v1/flows", json={"text": text})
    assert made.status_code == 201, made.text
    id = str(made.json()["id"])
    if publish:
        answer = await served.client.post(f"/api/v1/flows/{id}/versions", json={"publish": True})
        assert answer.status_code == 201, answer.text
    return id


async def send(served: Served, method: str, path: str, **more: Any) -> Any:
    answer = await served.client.request(method, path, **more)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


@pytest.mark.req("FLOW-7.diff")
async def test_a_difference_names_what_was_done_to_which_step(served: Served) -> None:
    await stored(served, ORDER, publish=True)
    changed = ORDER.replace("  - check:", "  - look_up: {log: hi}\n  - check:").replace("charged {{", "took {{")
    changed = changed.replace("inputs: {amount: number}\nsteps", "inputs: {amount: integer}\nsteps")
    await send(served, "PUT", "/api/v1/flows/order/draft", json={"text": changed}, headers={"if-match": "*"})
    found = await served.get("/api/v1/flows/order/diff")
    assert "+  - look_up: {log: hi}" in found["text"]
    assert found["text"].startswith("--- order 1.0.0\n+++ order draft\n")
    assert (found["added"], found["removed"], found["moved"], found["flow"]) == (["look_up"], [], [], ["inputs"])
    assert found["changed"] == [{"step": "tell", "fields": ["params"]}]
    assert found["rewired"] == []
    await send(
        served, "PUT", "/api/v1/flows/order/draft", json={"text": f"# a note\n{ORDER}"}, headers={"if-match": "*"}
    )
    noted = await served.get("/api/v1/flows/order/diff?from=1.0.0&to=draft")
    assert (noted["is_same"], "+# a note" in noted["text"]) == (True, True)
    problem(await served.client.get("/api/v1/flows/order/diff?from=9.9.9"), 404, "not-found")


@pytest.mark.req("FLOW-9.api", "BAR-5.api")
async def test_a_dry_run_over_the_api_sends_nothing(served: Served) -> None:
    await stored(served, ORDER)
    found = await send(served, "POST", "/api/v1/flows/order/plan", json={"inputs": {"amount": 7}})
    assert (found["ok"], found["status"], found["needs"]["outside_calls"]) == (True, "succeeded", 1)
    charge = next(step for step in found["steps"] if step["id"] == "charge")
    assert charge["would"] == "would send POST https://pay.example/charge"
    problem(await served.client.post("/api/v1/flows/order/plan", json={}), 422, "invalid-input")
    failing = {"inputs": {"amount": 7}, "mocks": {"charge": {"error": {"category": "http.500"}}}}
    assert (await send(served, "POST", "/api/v1/flows/order/plan", json=failing))["status"] == "failed"
    odd = await served.client.post("/api/v1/flows/order/plan", json={"mocks": {"charge": {"error": 5}}})
    assert odd.status_code in (400, 422), odd.text
    assert (await served.get("/api/v1/runs"))["runs"] == []


@pytest.mark.req("FLOW-10.api")
async def test_the_tests_of_a_flow_run_over_the_api(served: Served) -> None:
    await stored(served, ORDER)
    found = await send(served, "POST", "/api/v1/flows/order/tests")
    assert [(one["name"], one["passed"]) for one in found["results"]["tests"]] == [
        ("it is charged", True), ("it is wrong on purpose", False),
    ]  # fmt: skip
    assert found["results"]["passed"] is False
    assert found["results"]["coverage"]["steps"] == 3
    one = await send(served, "POST", "/api/v1/flows/order/tests", json={"name": "charged"})
    assert one["results"]["passed"] is True
    problem(await served.client.post("/api/v1/flows/order/tests", json={"name": "none"}), 404, "not-found")


@pytest.mark.req("EXEC-13.by-name", "EXEC-13.versions")
async def test_a_saved_step_is_used_by_its_name_and_versions_keep_it(served: Served) -> None:
    body = "set: {text: hello}\n"
    made = await served.client.put("/api/v1/steps/greeting", json={"body": body, "description": "Says hello."})
    assert (made.status_code, made.headers["etag"], made.json()["revision"]) == (200, '"1"', 1)
    flow = "flow: user\nsteps: [greeting]\noutputs: {said: $greeting.text}\n"
    await stored(served, flow, publish=True)

    async def said() -> Any:
        run = await send(served, "POST", "/api/v1/flows/user/runs")
        return (await served.until(run["run_id"]))["outputs"]

    assert await said() == {"said": "hello"}
    stale = await served.client.put("/api/v1/steps/greeting", json={"body": body}, headers={"if-match": '"7"'})
    problem(stale, 412, "stale")
    await send(
        served, "PUT", "/api/v1/steps/greeting", json={"body": {"set": {"text": "hi"}}}, headers={"if-match": '"1"'}
    )
    assert await said() == {"said": "hello"}, "a version is what it was"
    await send(served, "POST", "/api/v1/flows/user/versions", json={"publish": True})
    assert await said() == {"said": "hi"}
    run = await served.start(flow)
    assert (await served.until(run))["outputs"] == {"said": "hi"}, "a flow that is sent along knows it, too"
    refused = await served.client.put("/api/v1/steps/odd", json={"body": "nonsense: 1"})
    assert problem(refused, 422, "invalid-flow")["problems"]
    problem(await served.client.put("/api/v1/steps/a-b", json={"body": body}), 422, "invalid-input")
    assert [one["name"] for one in (await served.get("/api/v1/steps"))["steps"]] == ["greeting"]
    await send(served, "DELETE", "/api/v1/steps/greeting")
    problem(await served.client.get("/api/v1/steps/greeting"), 404, "not-found")
    assert await said() == {"said": "hi"}
    unbound = await served.client.post("/api/v1/check", json={"flow": flow})
    assert unbound.json()["ok"] is False


@pytest.mark.req("FLOW-11.gallery", "FLOW-11.stripe-discord", "FLOW-11.instantiate")
@pytest.mark.parametrize("id", sorted(built_in()))
async def test_every_built_in_template_makes_a_flow_that_can_be_published(served: Served, id: str) -> None:
    schema = (await served.get(f"/api/v1/templates/{id}"))["parameters"]
    given = {
        name: "https://a.example/x" if "format" in schema["properties"][name] else "user:ada"
        for name in schema["required"]
    }
    made = await send(served, "POST", f"/api/v1/templates/{id}/flows", json={"id": "mine", "parameters": given})
    assert (made["id"], made["problems"]) == ("mine", [])
    assert "<<" not in (await served.get("/api/v1/flows/mine"))["source"]
    await send(served, "POST", "/api/v1/flows/mine/versions", json={"publish": True})


@pytest.mark.req("FLOW-11.own", "FLOW-11.instantiate")
async def test_a_template_of_ones_own_takes_parameters_as_values(served: Served) -> None:
    text = "flow: <<id>>\nsteps:\n  - say: {log: 'dear <<who>>'}\n  - more: {set: {list: <<items>>}}\n"
    schema = {
        "type": "object", "required": ["who"],
        "properties": {"id": {"type": "string"}, "who": {"type": "string"}, "items": {"type": "array", "default": [1]}},
    }  # fmt: skip
    body = {"id": "dear", "name": "Dear", "parameters": schema, "text": text}
    await send(served, "POST", "/api/v1/templates", json=body)
    problem(await served.client.post("/api/v1/templates", json=body), 409, "conflict")
    assert [one["id"] for one in (await served.get("/api/v1/templates"))["templates"]] == [*sorted(built_in()), "dear"]
    hostile = "Ada\n  - evil: {log: x}\n# '"
    made = await send(
        served, "POST", "/api/v1/templates/dear/flows", json={"id": "letter", "parameters": {"who": hostile}}
    )
    assert (made["steps"], made["problems"]) == (2, [])
    refused = await served.client.post("/api/v1/templates/dear/flows", json={"parameters": {"who": 5}})
    assert problem(refused, 422, "invalid-input")["errors"][0]["path"] == "who"
    odd = {**body, "id": "odd", "text": "flow: x\nsteps: [{log: <<other>>}]"}
    problem(await served.client.post("/api/v1/templates", json=odd), 422, "invalid-input")
    await send(served, "DELETE", "/api/v1/templates/dear")
    problem(await served.client.delete("/api/v1/templates/approval"), 404, "not-found")


@pytest.mark.req("FLOW-8.export", "FLOW-8.no-secrets", "FLOW-8.stable")
async def test_exports_are_the_texts_without_secrets_and_the_same_each_time(served: Served) -> None:
    secret = "canary-9f3b1c7e"
    text = ORDER.replace("json: {amount", f"headers: {{authorization: 'Bearer {secret}'}}, json: {{amount")
    await stored(served, text)
    await stored(served, "flow: other\nsecrets: {key: {from: env:KEY}}\nsteps:\n  - a: {log: hi}\n")
    exported = await served.client.get("/api/v1/flows/order/export")
    assert exported.text == text.replace(f"'Bearer {secret}'", '"***"')
    assert exported.headers["content-type"].startswith("application/yaml")
    other = await served.client.get("/api/v1/flows/other/export?format=json")
    assert other.json()["secrets"] == {"key": {"from": "env:KEY"}}
    first, again = [await served.client.get("/api/v1/flow-export") for _ in range(2)]
    assert first.content == again.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.namelist() == ["order.yaml", "other.yaml", "REPLACED.txt"]
        assert b"order.yaml: steps[" in archive.read("REPLACED.txt")
        assert secret.encode() not in archive.read("order.yaml")
    assert zipfile.ZipFile(
        io.BytesIO((await served.client.get("/api/v1/flow-export?id=other")).content)
    ).namelist() == ["other.yaml"]
    problem(await served.client.get("/api/v1/flow-export?id=none"), 404, "not-found")


@pytest.mark.req("FLOW-8.import", "FLOW-8.archive")
async def test_an_import_reports_each_file_and_changes_all_or_nothing(served: Served) -> None:
    caller = {"name": "b.yaml", "text": "flow: b\nsteps: [a]\n"}
    called = {"name": "c.yaml", "text": "flow: a\nsteps: [{log: x}]\n"}
    broken = {"name": "d.yaml", "text": "flow: d\nsteps: [{nonsense: 1}]\n"}

    async def take(*files: dict[str, str], query: str = "") -> Any:
        return await send(served, "POST", f"/api/v1/flow-import?publish=true{query}", json={"files": list(files)})

    rehearsed = await take(caller, called, query="&dry_run=true")
    assert [(one["file"], one["outcome"]) for one in rehearsed["files"]] == [("b.yaml", "new"), ("c.yaml", "new")]
    assert (rehearsed["ok"], rehearsed["applied"]) == (True, False)
    assert (await served.get("/api/v1/flows"))["flows"] == []
    refused = await take(caller, called, broken)
    assert (refused["ok"], refused["applied"], refused["files"][-1]["outcome"]) == (False, False, "invalid")
    assert refused["files"][-1]["problems"][0]["line"] == 2
    assert (await served.get("/api/v1/flows"))["flows"] == []
    done = await take(caller, called)
    assert [(one["flow"], one["version"]) for one in done["files"]] == [("b", "1.0.0"), ("a", "1.0.0")]
    again = await take(caller, called)
    assert [one["outcome"] for one in again["files"]] == ["unchanged", "unchanged"]
    assert [one["number"] for one in (await served.get("/api/v1/flows/a/versions"))["versions"]] == ["1.0.0"]
    pruned = await take({**called, "text": "flow: a\nsteps: [{log: y}]\n"}, query="&prune=true")
    assert [(one["flow"], one["outcome"]) for one in pruned["files"]] == [("a", "changed"), ("b", "removed")]
    assert "-steps: [{log: x}]" in pruned["files"][0]["diff"]
    drafts = await send(served, "POST", "/api/v1/flow-import", json={"files": [broken]})
    assert (drafts["ok"], drafts["applied"], drafts["files"][0]["outcome"]) == (True, True, "new")
    packed = (await served.client.get("/api/v1/flow-export")).content
    back = await send(
        served, "POST", "/api/v1/flow-import", content=packed, headers={"content-type": "application/zip"}
    )
    assert [one["outcome"] for one in back["files"]] == ["unchanged", "unchanged"]
    torn = await served.client.post(
        "/api/v1/flow-import", content=packed[:50], headers={"content-type": "application/zip"}
    )
    problem(torn, 422, "invalid-input")


@pytest.mark.req("FLOW-8.no-secrets", "FLOW-8.report")
async def test_an_export_tells_what_it_replaced_and_an_import_what_is_missing(served: Served) -> None:
    secret = "a-value-that-is-kept-17"
    assert (await served.client.put("/api/v1/secrets/own", json={"value": secret})).is_success
    connection = {
        "name": "shop",
        "adapter": "http",
        "fields": {"base_url": "https://x.test"},
        "secret_fields": {"token": "t0ken-of-shop"},
    }
    assert (await served.client.post("/api/v1/connections", json=connection)).status_code == 201
    text = (
        "flow: uses\nsecrets: {own: secret:own, gone: secret:gone, shop: shop.token, lost: shop.nothing, "
        "away: other.token}\n"
        f"steps:\n  - a: {{set: {{x: 'a {secret} b', y: t0ken-of-shop}}}}\n"
    )
    await stored(served, text)
    exported = await served.client.get("/api/v1/flows/uses/export")
    assert secret not in exported.text
    assert "t0ken" not in exported.text
    assert exported.headers["segue-replaced"] == "2"
    told = await served.get("/api/v1/flows/uses/export?report=true")
    assert told["text"] == exported.text
    assert [(one["path"], one["why"]) for one in told["replaced"]] == [
        (f"steps[0].a.set.{name}", "it is a secret of this workspace") for name in "xy"
    ]
    taken = await send(
        served, "POST", "/api/v1/flow-import?dry_run=true", json={"files": [{"name": "u.yaml", "text": exported.text}]}
    )
    assert taken["missing"] == [
        {"source": source, "flows": ["uses"]} for source in ("other.token", "secret:gone", "shop.nothing")
    ]
    assert taken["files"][0]["masked"] == ["steps[0].a.set.x", "steps[0].a.set.y"]
    # A template that is made of the flow gives nothing away either.
    made = await send(served, "POST", "/api/v1/templates", json={"id": "t", "name": "T", "flow_id": "uses"})
    assert secret not in made["text"]


@pytest.mark.req("FLOW-10.api", "FLOW-9.unsaved")
async def test_files_of_tests_and_texts_that_are_not_saved_are_rehearsed(served: Served) -> None:
    text = "flow: sums\ninputs: {n: integer}\nsteps:\n  - a: {set: {x: '{{ inputs.n + 1 }}'}}\noutputs: {x: $a.x}\n"
    await stored(served, text)
    tests = "tests:\n  - {name: one more, inputs: {n: 1}, expect: {outputs: {x: 2}}}\n"
    body: dict[str, Any] = {"files": [{"name": "sums.test.yaml", "text": tests}]}
    done = await send(served, "POST", "/api/v1/flows/sums/tests", json=body)
    assert (done["ok"], done["tests"], done["passed"], done["skipped"]) == (True, 1, 1, 0)
    assert (done["results"]["tests"][0]["name"], done["results"]["tests"][0]["file"]) == ("one more", "sums.test.yaml")
    unsaved = text.replace("+ 1", "+ 2") + "tests: [{name: own, inputs: {n: 1}, expect: {outputs: {x: 3}}}]\n"
    both = await send(served, "POST", "/api/v1/flows/sums/tests", json={**body, "text": unsaved})
    assert [(one["name"], one["passed"]) for one in both["results"]["tests"]] == [("own", True), ("one more", False)]
    assert (both["ok"], both["passed"]) == (False, 1)
    twice = {"files": [body["files"][0], {**body["files"][0], "name": "again.test.yaml"}]}
    refused = problem(await served.client.post("/api/v1/flows/sums/tests", json=twice), 422, "invalid-flow")
    assert refused["problems"][0]["file"] == "again.test.yaml"
    broken = {"files": [{"name": "b.test.yaml", "text": "tests: [\n"}]}
    problem(await served.client.post("/api/v1/flows/sums/tests", json=broken), 422, "invalid-flow")
    problem(await served.client.post("/api/v1/flows/sums/tests"), 404, "not-found")
    planned = await send(served, "POST", "/api/v1/flows/sums/plan", json={"text": unsaved, "inputs": {"n": 1}})
    assert planned["outputs"] == {"x": 3}
    await send(served, "POST", "/api/v1/flows/sums/versions", json={})
    of_version = await send(served, "POST", "/api/v1/flows/sums/tests", json={**body, "version": "1.0.0"})
    assert of_version["ok"]
    two = {"text": unsaved, "version": "1.0.0"}
    problem(await served.client.post("/api/v1/flows/sums/plan", json=two), 422, "invalid-request")
    assert (await served.get("/api/v1/flows/sums"))["source"] == text
