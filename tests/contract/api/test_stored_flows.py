"""Flows that a workspace keeps: drafts, versions, publishing, lists, and which flow an id means. Over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

HELLO = """\
# greets whoever comes
flow: hello
title: Say hello
description: Greets a person by name.
category: demo
tags: [greeting, demo]
inputs: {name: string}
steps:
  - greet: {set: {text: "hello {{ inputs.name }}"}}
outputs: {text: $greet.text}
"""


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


async def stored(served: Served, text: str = HELLO, **more: Any) -> dict[str, Any]:
    answer = await served.client.post("/api/v1/flows", json={"text": text, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def put(served: Served, id: str, text: str, tag: str | None, **more: Any) -> Any:
    headers = {} if tag is None else {"if-match": tag}
    return await served.client.put(f"/api/v1/flows/{id}/draft", json={"text": text, **more}, headers=headers)


async def published(served: Served, text: str = HELLO) -> dict[str, Any]:
    made = await stored(served, text)
    answer = await served.client.post(f"/api/v1/flows/{made['id']}/versions", json={"publish": True})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def run(served: Served, id: str, **body: Any) -> dict[str, Any]:
    answer = await served.client.post(f"/api/v1/flows/{id}/runs", json={"inputs": {"name": "Ada"}, **body})
    assert answer.status_code == 201, answer.text
    return await served.until(answer.json()["run_id"])


@pytest.mark.req("FLOW-6.create", "FLOW-6.read", "FLOW-6.etag")
async def test_a_flow_is_stored_as_it_was_written(served: Served) -> None:
    answer = await served.client.post("/api/v1/flows", json={"text": HELLO})
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (
        201, "/api/v1/flows/hello", '"1"',
    )  # fmt: skip
    item = answer.json()
    assert (item["origin"], item["state"], item["version"], item["revision"]) == ("stored", "live", None, 1)
    assert (item["name"], item["category"], item["tags"]) == ("Say hello", "demo", ["greeting", "demo"])
    assert (item["steps"], item["problems"], item["inputs"]["required"]) == (1, [], ["name"])
    shown = await served.client.get("/api/v1/flows/hello")
    assert (shown.json()["source"], shown.headers["etag"]) == (HELLO, '"1"')
    problem(await served.client.post("/api/v1/flows", json={"text": HELLO}), 409, "conflict")


@pytest.mark.req("FLOW-6.update", "FLOW-6.etag")
async def test_of_two_editors_one_is_told_that_the_draft_has_changed(served: Served) -> None:
    await stored(served)
    tag = (await served.client.get("/api/v1/flows/hello/draft")).headers["etag"]
    one, two = await asyncio.gather(
        put(served, "hello", HELLO.replace("hello {{", "hi {{"), tag),
        put(served, "hello", HELLO.replace("hello {{", "dear {{"), tag),
    )
    winner, loser = (one, two) if one.status_code == 200 else (two, one)
    assert (winner.status_code, winner.headers["etag"], winner.json()["revision"]) == (200, '"2"', 2)
    assert "revision 2" in problem(loser, 412, "stale")["detail"]
    kept = await served.get("/api/v1/flows/hello/draft")
    assert kept["text"] == winner.json()["text"]
    problem(await put(served, "hello", HELLO, None), 428, "precondition-required")
    problem(await put(served, "hello", HELLO, "3"), 400, "bad-body")
    problem(await put(served, "hello", HELLO, '"abc"'), 412, "stale")
    again = await put(served, "hello", winner.json()["text"], tag)
    assert (again.status_code, again.json()["revision"]) == (200, 2), "an answer may have been lost"
    assert (await put(served, "hello", HELLO, "*")).json()["revision"] == 3


@pytest.mark.req("FLOW-6.update")
async def test_a_draft_may_hold_anything_and_a_version_may_not(served: Served) -> None:
    await stored(served)
    torn = await put(served, "hello", "flow: [", '"1"')
    assert (torn.status_code, torn.json()["form"], torn.json()["problems"][0]["severity"]) == (200, None, "error")
    item = (await served.get("/api/v1/flows"))["flows"][0]
    assert (item["name"], item["tags"]) == ("Say hello", ["greeting", "demo"]), "as it was when it could be read"
    assert item["problems"]
    refused = await served.client.post("/api/v1/flows/hello/versions", json={"publish": True})
    assert problem(refused, 422, "invalid-flow")["problems"][0]["line"] == 1
    problem(await served.client.post("/api/v1/flows/hello/runs", json={"draft": True}), 422, "invalid-flow")
    other = await put(served, "hello", HELLO.replace("flow: hello", "flow: other"), '"2"')
    assert 'calls it "other"' in other.json()["problems"][0]["message"]


@pytest.mark.req("FLOW-7.publish", "FLOW-7.roll-back", "FLOW-7.running-keep")
async def test_runs_take_the_published_version_and_keep_it(served: Served) -> None:
    await stored(served)
    answer = await served.client.post("/api/v1/flows/hello/runs", json={"inputs": {"name": "Ada"}})
    assert "published" in problem(answer, 409, "conflict")["detail"]
    first = await served.client.post("/api/v1/flows/hello/versions", json={"message": "first", "publish": True})
    assert (first.status_code, first.json()["number"], first.json()["is_published"]) == (201, "1.0.0", True)
    old = await run(served, "hello")
    assert old["outputs"] == {"text": "hello Ada"}
    await put(served, "hello", HELLO.replace("hello {{", "hi {{"), '"1"')
    assert (await run(served, "hello"))["outputs"] == {"text": "hello Ada"}, "the draft is not published"
    assert (await run(served, "hello", draft=True))["outputs"] == {"text": "hi Ada"}
    second = await served.client.post("/api/v1/flows/hello/versions", json={"publish": True})
    assert second.json()["number"] == "1.0.1"
    assert (await run(served, "hello"))["outputs"] == {"text": "hi Ada"}
    assert (await run(served, "hello", version="1.0.0"))["outputs"] == {"text": "hello Ada"}
    rolled = await served.client.post("/api/v1/flows/hello/versions/1.0.0/publish")
    assert rolled.json()["is_published"] is True
    assert (await run(served, "hello"))["outputs"] == {"text": "hello Ada"}
    listed = (await served.get("/api/v1/flows/hello/versions"))["versions"]
    assert [(one["number"], one["is_published"], one["message"]) for one in listed] == [
        ("1.0.1", False, None), ("1.0.0", True, "first"),
    ]  # fmt: skip
    assert (await served.get("/api/v1/flows/hello/versions/1.0.0"))["source"] == HELLO
    replayed = await served.client.post(f"/api/v1/runs/{old['id']}/replay", json={"version": "1.0.1"})
    assert (await served.until(replayed.json()["run_id"]))["outputs"] == {"text": "hi Ada"}


@pytest.mark.req("FLOW-7.immutable", "FLOW-7.semantic-versions")
async def test_a_number_never_means_two_contents(served: Served) -> None:
    stated = HELLO + "version: 2.1.0\n"
    first = await published(served, stated)
    assert first["number"] == "2.1.0"
    again = await served.client.post("/api/v1/flows/hello/versions")
    assert (again.json()["number"], again.json()["digest"]) == ("2.1.0", first["digest"])
    await put(served, "hello", stated.replace("hello {{", "hi {{"), "*")
    refused = await served.client.post("/api/v1/flows/hello/versions")
    assert "other content" in problem(refused, 409, "conflict")["detail"] or "another content" in refused.text
    await put(served, "hello", HELLO.replace("hello {{", "hi {{"), "*")
    assert (await served.client.post("/api/v1/flows/hello/versions")).json()["number"] == "2.1.1"


@pytest.mark.req("FLOW-6.delete")
async def test_a_deleted_flow_frees_its_id_and_its_runs_stay(served: Served) -> None:
    await published(served)
    ended = await run(served, "hello")
    assert (await served.client.delete("/api/v1/flows/hello")).status_code == 204
    problem(await served.client.get("/api/v1/flows/hello"), 404, "not-found")
    problem(await served.client.post("/api/v1/flows/hello/runs"), 404, "not-found")
    assert (await served.show(ended["id"]))["outputs"] == {"text": "hello Ada"}
    replayed = await served.client.post(f"/api/v1/runs/{ended['id']}/replay", json={})
    assert (await served.until(replayed.json()["run_id"]))["status"] == "succeeded"
    assert [one["id"] for one in (await served.get("/api/v1/flows?state=deleted"))["flows"]] == ["hello"]
    await stored(served, HELLO.replace("Say hello", "Another"))
    problem(await served.client.post("/api/v1/flows/hello/restore"), 409, "conflict")
    await served.client.delete("/api/v1/flows/hello")
    back = await served.client.post("/api/v1/flows/hello/restore")
    assert (back.json()["name"], back.json()["version"]) == ("Another", None)


@pytest.mark.req("FLOW-6.archive")
async def test_an_archived_flow_starts_no_run_until_it_is_restored(served: Served) -> None:
    await published(served)
    assert (await served.client.post("/api/v1/flows/hello/archive")).json()["state"] == "archived"
    problem(await served.client.post("/api/v1/flows/hello/runs", json={"inputs": {"name": "A"}}), 409, "conflict")
    assert (await served.get("/api/v1/flows"))["flows"] == []
    assert len((await served.get("/api/v1/flows?state=archived"))["flows"]) == 1
    assert (await served.client.post("/api/v1/flows/hello/restore")).json()["state"] == "live"
    assert (await run(served, "hello"))["status"] == "succeeded"


@pytest.mark.req("FLOW-6.clone")
async def test_a_clone_has_a_name_of_its_own_and_the_same_text_otherwise(served: Served) -> None:
    await stored(served)
    ids = [(await served.client.post("/api/v1/flows/hello/clone")).json()["id"] for _ in range(2)]
    assert ids == ["hello-copy", "hello-copy-2"]
    copied = await served.get("/api/v1/flows/hello-copy")
    assert copied["source"] == HELLO.replace("flow: hello", "flow: hello-copy")
    named = await served.client.post("/api/v1/flows/hello/clone", json={"id": "greeting"})
    assert named.json()["id"] == "greeting"


@pytest.mark.req("FLOW-6.list", "FLOW-6.search", "FLOW-6.tags", "FLOW-6.categories")
async def test_lists_filter_search_and_go_on_by_cursor(served: Served) -> None:
    for number in range(5):
        text = HELLO.replace("flow: hello", f"flow: hello-{number}").replace("Say hello", f"Hello {number}")
        await stored(served, text.replace("demo]", "even]") if number % 2 == 0 else text)
    await stored(
        served, "flow: refund\ntitle: Zürich refund\nsteps:\n  - notify_customer: {http: {url: https://a.example}}\n"
    )
    names: list[str] = []
    cursor = ""
    while True:
        page = await served.get(f"/api/v1/flows?limit=2{cursor}")
        names += [one["name"] for one in page["flows"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names == ["Hello 0", "Hello 1", "Hello 2", "Hello 3", "Hello 4", "Zürich refund"]

    async def ids(query: str) -> list[str]:
        return [one["id"] for one in (await served.get(f"/api/v1/flows?{query}"))["flows"]]

    assert await ids("tag=even") == ["hello-0", "hello-2", "hello-4"]
    assert await ids("tag=even&tag=greeting&category=demo&sort=created") == ["hello-4", "hello-2", "hello-0"]
    assert await ids("q=zuri") == ["refund"]
    assert await ids("q=notify_cust") == ["refund"]
    assert await ids("q=http") == ["refund"]
    assert len(await ids("q=greets+person")) == 5
    assert await ids("q=%22%27%29+OR+%2A") == []
    assert await ids("q=hello+nothing") == []
    problem(await served.client.get("/api/v1/flows?cursor=abc"), 422, "invalid-input")
    tags = (await served.get("/api/v1/flow-tags"))["tags"]
    assert tags == [{"tag": "demo", "flows": 2}, {"tag": "even", "flows": 3}, {"tag": "greeting", "flows": 5}]
    retagged = await served.client.put("/api/v1/flows/refund/tags", json={"tags": ["money"]})
    assert "tags: [money]" in retagged.json()["text"]
    assert await ids("tag=money") == ["refund"]
    liked = await served.client.put("/api/v1/favourites", json={"flows": ["refund", "hello-1"]})
    assert liked.json() == {"flows": ["refund", "hello-1"]}
    shown = {one["id"]: one["is_favourite"] for one in (await served.get("/api/v1/flows"))["flows"]}
    assert [id for id, is_liked in shown.items() if is_liked] == ["hello-1", "refund"]


@pytest.mark.req("FLOW-2.graph", "BAR-6.drafts")
async def test_edits_change_the_text_where_they_must_and_nowhere_else(served: Served) -> None:
    await stored(served)
    edits = [
        {"op": "rename_step", "step": "greet", "to": "salute"},
        {"op": "set_position", "step": "salute", "x": 1, "y": 2},
    ]
    problem(
        await served.client.post("/api/v1/flows/hello/draft/edits", json={"edits": edits}), 428, "precondition-required"
    )
    made = await served.client.post(
        "/api/v1/flows/hello/draft/edits", json={"edits": edits}, headers={"if-match": '"1"'}
    )
    assert (made.status_code, made.headers["etag"]) == (200, '"2"')
    text = made.json()["text"]
    assert text.startswith("# greets whoever comes\n")
    assert "$salute.text" in text
    stale = await served.client.post(
        "/api/v1/flows/hello/draft/edits", json={"edits": edits[1:]}, headers={"if-match": '"1"'}
    )
    problem(stale, 412, "stale")
    wrong = await served.client.post(
        "/api/v1/flows/hello/draft/edits", json={"edits": [{"op": "fly"}]}, headers={"if-match": "*"}
    )
    assert problem(wrong, 422, "invalid-request")["errors"][0]["path"] == "edits.0"
    graph = await served.get("/api/v1/flows/hello/graph")
    assert (graph["revision"], graph["graph"]["nodes"][0]["id"]) == (2, "salute")
    moved = graph["graph"]
    moved["nodes"][0]["position"] = {"x": 5, "y": 6}
    drawn = await served.client.put("/api/v1/flows/hello/draft", json={"graph": moved}, headers={"if-match": '"2"'})
    assert drawn.status_code == 200, drawn.text
    assert "hello {{ inputs.name }}" in drawn.json()["text"]
    assert (await served.get("/api/v1/flows/hello/graph"))["graph"]["nodes"][0]["position"] == {"x": 5, "y": 6}


@pytest.mark.req("EXEC-7.stored", "OPS-5.definitions")
async def test_a_stored_flow_runs_another_one_by_its_name_and_sees_its_changes_at_once(served: Served) -> None:
    await published(served)
    parent = "flow: parent\nsteps:\n  - hello: {params: {name: Bo}}\noutputs: {said: $hello.text}\n"
    await published(served, parent)
    assert (await run(served, "parent", inputs={}))["outputs"] == {"said": "hello Bo"}
    await put(served, "hello", HELLO.replace("hello {{", "hi {{"), "*")
    await served.client.post("/api/v1/flows/hello/versions", json={"publish": True})
    assert (await run(served, "parent", inputs={}))["outputs"] == {"said": "hi Bo"}
    await served.client.delete("/api/v1/flows/hello")
    failed = await run(served, "parent", inputs={})
    assert failed["status"] == "failed"


@pytest.mark.req("FLOW-6.folders")
async def test_one_id_means_the_stored_flow_before_the_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(HELLO.replace("Say hello", "From the file"), "utf-8")
    (tmp_path / "only-here.yaml").write_text("flow: only-here\nsteps: [{log: x}]\n", "utf-8")
    async with serve(folders=(tmp_path,)) as served:
        assert (await served.get("/api/v1/flows/hello"))["origin"] == "folder"
        problem(await put(served, "hello", HELLO, "*"), 409, "conflict")
        problem(await served.client.delete("/api/v1/flows/hello"), 409, "conflict")
        await published(served)
        assert (await served.get("/api/v1/flows/hello"))["name"] == "Say hello"
        assert (await served.get("/api/v1/flows/hello.yaml"))["name"] == "From the file"
        listed = (await served.get("/api/v1/flows"))["flows"]
        assert [(one["id"], one["origin"]) for one in listed] == [
            ("hello.yaml", "folder"), ("only-here", "folder"), ("hello", "stored"),
        ]  # fmt: skip
        assert [one["id"] for one in (await served.get("/api/v1/flows?origin=stored"))["flows"]] == ["hello"]
        assert [one["id"] for one in (await served.get("/api/v1/flows?q=only"))["flows"]] == ["only-here"]
        first = await served.get("/api/v1/flows?limit=1&q=hello")
        rest = await served.get(f"/api/v1/flows?limit=1&q=hello&cursor={first['next_cursor']}")
        assert [first["flows"][0]["origin"], rest["flows"][0]["origin"], rest["next_cursor"]] == [
            "stored",
            "folder",
            None,
        ]
        cloned = await served.client.post("/api/v1/flows/only-here/clone", json={"id": "mine"})
        assert cloned.json()["origin"] == "stored"
        assert (await run(served, "only-here", inputs={}))["status"] == "succeeded"


@pytest.mark.req("FLOW-6.ids")
async def test_an_id_may_be_of_any_script_and_nothing_that_breaks_an_address(served: Served) -> None:
    text = HELLO.replace("flow: hello", "flow: grüße-崽")
    made = await served.client.post("/api/v1/flows", json={"text": text})
    assert (made.status_code, made.json()["id"]) == (201, "grüße-崽")
    found = await served.client.get(made.headers["location"])
    assert found.json()["source"] == text
    kept = await served.client.post("/api/v1/flows/grüße-崽/versions", json={"publish": True})
    assert (await served.client.get(kept.headers["location"])).json()["number"] == "1.0.0"
    exported = await served.client.get("/api/v1/flows/grüße-崽/export")
    assert (exported.text, "filename*=UTF-8''gr%C3%BC" in exported.headers["content-disposition"]) == (text, True)
    for id in ("a/b", "../x", "a b", "", "-a", "x" * 101):
        refused = await served.client.post("/api/v1/flows", json={"id": id, "text": HELLO})
        assert refused.status_code == 422, refused.text
