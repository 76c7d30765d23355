"""Several people and programs at one flow: who is told what, and that no version is lost or made twice. Over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

TEXT: Final = "flow: f\nsteps:\n  - a: {{set: {{x: {0}}}}}\noutputs: {{x: $a.x}}\n"


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        assert (await found.client.post("/api/v1/flows", json={"text": TEXT.format(0)})).status_code == 201
        yield found


async def put(served: Served, text: str, tag: str = "*") -> Any:
    return await served.client.put("/api/v1/flows/f/draft", json={"text": text}, headers={"if-match": tag})


async def save(served: Served, **body: Any) -> Any:
    return await served.client.post("/api/v1/flows/f/versions", json=body)


async def publish(served: Served, number: str) -> None:
    answer = await served.client.post(f"/api/v1/flows/f/versions/{number}/publish")
    assert answer.status_code == 200, answer.text


async def gives(served: Served) -> Any:
    started = await served.client.post("/api/v1/flows/f/runs", json={})
    return (await served.until(started.json()["run_id"]))["outputs"]["x"]


@pytest.mark.req("FLOW-6.etag")
async def test_who_comes_second_is_told_the_current_tag(served: Served) -> None:
    assert (await put(served, TEXT.format(1), '"1"')).headers["etag"] == '"2"'
    late = await put(served, TEXT.format(2), '"1"')
    assert "written by" in problem(late, 412, "stale")["detail"]
    assert late.headers["etag"] == '"2"'
    assert (await put(served, TEXT.format(2), late.headers["etag"])).status_code == 200
    edits = {"edits": [{"op": "rename_step", "step": "a", "to": "b"}]}
    edited = await served.client.post("/api/v1/flows/f/draft/edits", json=edits, headers={"if-match": '"2"'})
    assert (problem(edited, 412, "stale")["status"], edited.headers["etag"]) == (412, '"3"')
    step = {"body": "log: hi"}
    await served.client.put("/api/v1/steps/greet", json=step, headers={"if-match": "*"})
    stale = await served.client.put("/api/v1/steps/greet", json={"body": "log: ho"}, headers={"if-match": '"7"'})
    assert (stale.status_code, stale.headers["etag"]) == (412, '"1"')


@pytest.mark.req("FLOW-6.etag", "FLOW-7.immutable")
async def test_a_version_is_what_the_one_who_saved_it_had_seen(served: Served) -> None:
    await put(served, TEXT.format(1))
    headers = {"if-match": '"1"'}
    stale = await served.client.post("/api/v1/flows/f/versions", json={"publish": True}, headers=headers)
    assert (problem(stale, 412, "stale")["status"], stale.headers["etag"]) == (412, '"2"')
    assert (await served.get("/api/v1/flows/f/versions"))["versions"] == []


@pytest.mark.req("FLOW-7.edits")
async def test_edits_of_a_draft_that_cannot_be_read_say_what_is_wrong_with_it(served: Served) -> None:
    await put(served, "flow: f\nsteps:\n  - a: [\n")
    edits = {"edits": [{"op": "rename_step", "step": "a", "to": "b"}]}
    refused = await served.client.post("/api/v1/flows/f/draft/edits", json=edits, headers={"if-match": "*"})
    assert problem(refused, 422, "invalid-flow")["problems"][0]["line"] == 4
    assert problem(await served.client.get("/api/v1/flows/f/graph"), 422, "invalid-flow")["problems"]
    assert (await served.get("/api/v1/flows/f/draft"))["revision"] == 2


@settings(max_examples=6, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=8))
@pytest.mark.req("FLOW-7.immutable")
def test_versions_saved_at_the_same_time_have_numbers_of_their_own(values: list[int]) -> None:
    async def work() -> None:
        async with serve() as served:
            await served.client.post("/api/v1/flows", json={"text": TEXT.format(0)})

            async def one(value: int) -> None:
                await put(served, TEXT.format(value))
                answer = await save(served, publish=value % 2 == 0)
                assert answer.status_code in (201, 412), answer.text

            await asyncio.gather(*(one(value) for value in values))
            await save(served)
            found = (await served.get("/api/v1/flows/f/versions"))["versions"]
            numbers = [one["number"] for one in found]
            assert numbers == [f"1.0.{number}" for number in reversed(range(len(found)))]
            texts = [(await served.get(f"/api/v1/flows/f/versions/{number}"))["source"] for number in numbers]
            assert all(first != second for first, second in pairwise(texts))
            assert texts[0] == (await served.get("/api/v1/flows/f/draft"))["text"]
            assert sum(one["is_published"] for one in found) <= 1

    asyncio.run(work())


@pytest.mark.req("FLOW-7.rollback")
async def test_after_a_roll_back_the_next_version_goes_on_from_the_highest(served: Served) -> None:
    await save(served, publish=True)
    await put(served, TEXT.format(1))
    assert (await save(served, publish=True)).json()["number"] == "1.0.1"
    await publish(served, "1.0.0")
    assert await gives(served) == 0
    assert (await served.get("/api/v1/flows/f"))["is_changed"]
    # The same content is the version that there is.
    again = (await save(served, publish=True)).json()
    assert (again["number"], await gives(served)) == ("1.0.1", 1)
    await publish(served, "1.0.0")
    await put(served, TEXT.format(2))
    assert (await save(served, publish=True)).json()["number"] == "1.0.2"
    assert await gives(served) == 2
    assert [one["is_published"] for one in (await served.get("/api/v1/flows/f/versions"))["versions"]] == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.req("FLOW-7.running", "FLOW-6.archive")
async def test_runs_of_an_archived_and_of_a_deleted_flow_go_on(served: Served) -> None:
    await put(served, "flow: f\nsteps:\n  - ask: {wait: {callback: {expires: 1h}}}\noutputs: {got: $ask.x}\n")
    await save(served, publish=True)
    first = (await served.client.post("/api/v1/flows/f/runs", json={})).json()["run_id"]
    second = (await served.client.post("/api/v1/flows/f/runs", json={})).json()["run_id"]
    urls = [await served.callback_url(first), await served.callback_url(second)]
    await served.client.post("/api/v1/flows/f/archive")
    assert (await served.client.post(urls[0], json={"x": 1})).status_code == 200
    assert (await served.until(first))["outputs"] == {"got": 1}
    await served.client.delete("/api/v1/flows/f")
    assert (await served.client.post(urls[1], json={"x": 2})).status_code == 200
    assert (await served.until(second))["outputs"] == {"got": 2}
    restored = await served.client.post("/api/v1/flows/f/restore")
    assert (restored.status_code, restored.json()["version"]) == (200, "1.0.0")


@pytest.mark.req("FLOW-6.delete", "EXEC-7")
async def test_who_deletes_a_flow_is_told_who_runs_it(served: Served) -> None:
    await save(served, publish=True)
    parent = "flow: parent\nsteps:\n  - f\n"
    await served.client.post("/api/v1/flows", json={"text": parent})
    await served.client.post("/api/v1/flows", json={"text": "flow: other\nsteps:\n  - x: {flow: f}\n"})
    await served.client.post("/api/v1/flows", json={"text": "flow: mentions\nsteps:\n  - log: about f\n"})
    assert (await served.get("/api/v1/flows/f/callers"))["flows"] == ["other", "parent"]
    refused = await served.client.delete("/api/v1/flows/f?unused=true")
    assert "other, parent" in problem(refused, 409, "conflict")["detail"]
    archived = await served.client.post("/api/v1/flows/f/archive")
    assert archived.headers["segue-called-by"] == "other, parent"
    deleted = await served.client.delete("/api/v1/flows/f")
    assert (deleted.status_code, deleted.headers["segue-called-by"]) == (204, "other, parent")
    assert "segue-called-by" not in (await served.client.delete("/api/v1/flows/parent?unused=true")).headers
