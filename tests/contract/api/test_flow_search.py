"""Finding stored flows by their words, tags and categories. Over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve() as found:
        yield found


async def stored(served: Served, text: str) -> None:
    answer = await served.client.post("/api/v1/flows", json={"text": text})
    assert answer.status_code == 201, answer.text


async def found(served: Served, **query: Any) -> list[str]:
    """All pages of a list."""
    ids: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await served.client.get("/api/v1/flows", params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        ids += [one["id"] for one in answer.json()["flows"]]
        if answer.json()["next_cursor"] is None:
            return ids
        cursor = {"cursor": answer.json()["next_cursor"]}


@pytest.mark.req("FLOW-6.search")
async def test_words_are_found_in_all_that_a_flow_says(served: Served) -> None:
    await stored(served, "# a note on Quokkas\nflow: one\ntitle: Orders\nsteps:\n  - charge: {log: to the warehouse}\n")
    await stored(served, "flow: two\ndescription: about orders\ntags: [money]\nsteps:\n  - ship: {log: hi}\n")
    await stored(served, "flow: three\nsteps:\n  - {log: orders}\n")
    assert await found(served, q="orders") == ["one", "two", "three"]
    assert (await found(served, q="quokka"), await found(served, q="warehouse")) == (["one"], ["one"])
    assert (await found(served, q="money ship"), await found(served, q="charge")) == (["two"], ["one"])
    # A draft that cannot be read is found by its text as well.
    broken = {"text": "flow: one\nsteps: [\n# wombat\n"}
    await served.client.put("/api/v1/flows/one/draft", json=broken, headers={"if-match": "*"})
    assert (await found(served, q="wombat"), await found(served, q="quokka")) == (["one"], [])
    assert await found(served, q="Orders charge") == ["one"]


@pytest.mark.req("FLOW-6.search")
async def test_pages_of_a_search_go_on_behind_the_last_hit_whatever_changes_before_it(served: Served) -> None:
    for number in range(7):
        await stored(served, f"flow: f{number}\ntitle: parcel\nsteps: []\n")
    assert await found(served, q="parcel", limit=2) == [f"f{number}" for number in range(7)]
    first = (await served.client.get("/api/v1/flows", params={"q": "parcel", "limit": 3})).json()
    await served.client.delete("/api/v1/flows/f0")
    rest = await served.client.get("/api/v1/flows", params={"q": "parcel", "cursor": first["next_cursor"]})
    assert [one["id"] for one in rest.json()["flows"]][-1] == "f6"
    assert not {one["id"] for one in first["flows"]} & {one["id"] for one in rest.json()["flows"]}


@pytest.mark.req("FLOW-6.search")
@pytest.mark.parametrize(
    "query",
    ['"', "'", '""', "*", "a*b", "NEAR(a b)", "a AND", "OR", "NOT x", "(", "-a", "^a", "name:x", "text : y", "\\", "%",
     "_", "\x00", "a\x00b", "😀", "{}", "+", "a" * 200, " ", ";--", "\ud7ff"],
)  # fmt: skip
async def test_odd_characters_are_words_or_nothing(served: Served, query: str) -> None:
    await stored(served, "flow: one\nsteps: []\n")
    assert set(await found(served, q=query)) <= {"one"}


@pytest.mark.req("FLOW-6.search")
async def test_a_cursor_of_another_list_is_refused(served: Served) -> None:
    for number in range(3):
        await stored(served, f"flow: f{number}\nsteps: []\n")
    by_name = (await served.get("/api/v1/flows?limit=1"))["next_cursor"]
    problem(await served.client.get(f"/api/v1/flows?q=f&cursor={by_name}"), 422, "invalid-input")
    by_rank = (await served.get("/api/v1/flows?q=f&limit=1"))["next_cursor"]
    problem(await served.client.get(f"/api/v1/flows?cursor={by_rank}"), 422, "invalid-input")
    problem(await served.client.get("/api/v1/flows?q=f&cursor=WyJyZWxldmFuY2UiLDEsIngiXQ"), 422, "invalid-input")


@pytest.mark.req("FLOW-6.tags", "FLOW-6.categories")
async def test_a_tag_is_called_otherwise_in_all_drafts(served: Served) -> None:
    await stored(served, "flow: one\ncategory: shop\ntags: [old, x]  # kept\nsteps: []\n")
    await stored(served, "flow: two\ncategory: shop\ntags: [new, old]\nsteps: []\n")
    await stored(served, "flow: three\ncategory: other\ntags: [old]\nsteps: []\n")
    broken = {"text": "flow: three\ntags: [old\n"}
    await served.client.put("/api/v1/flows/three/draft", json=broken, headers={"if-match": "*"})
    answer = await served.client.put("/api/v1/flow-tags/old", json={"to": "new"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["renamed"], [one["flow"] for one in answer.json()["left"]]) == (["one", "two"], ["three"])
    assert (await served.get("/api/v1/flows/one"))["source"] == (
        "flow: one\ncategory: shop\ntags: [new, x]  # kept\nsteps: []\n"
    )
    assert (await served.get("/api/v1/flow-tags"))["tags"] == [
        {"tag": "new", "flows": 2}, {"tag": "old", "flows": 1}, {"tag": "x", "flows": 1},
    ]  # fmt: skip
    assert await found(served, tag=["new", "x"]) == ["one"]
    assert (await served.get("/api/v1/flow-categories"))["categories"] == [
        {"category": "other", "flows": 1}, {"category": "shop", "flows": 2},
    ]  # fmt: skip
    again = await served.client.put("/api/v1/flow-tags/none", json={"to": "new"})
    assert again.json() == {"renamed": [], "left": []}
    problem(await served.client.put("/api/v1/flow-tags/new", json={"to": ""}), 422, "invalid-request")


@pytest.mark.req("FLOW-6.tags", "ACC-3.isolation")
async def test_a_tag_of_another_workspace_stays_as_it_is(served: Served) -> None:
    text = "flow: one\ntags: [old]\nsteps: []\n"
    await stored(served, text)
    made = (await served.client.post("/api/v1/workspaces", json={"name": "Team"})).json()
    there = {"x-segue-workspace": made["id"]}
    renamed = await served.client.put("/api/v1/flow-tags/old", json={"to": "new"}, headers=there)
    assert renamed.json() == {"renamed": [], "left": []}
    assert (await served.client.get("/api/v1/flow-categories", headers=there)).json() == {"categories": []}
    assert (await served.get("/api/v1/flows/one"))["source"] == text
