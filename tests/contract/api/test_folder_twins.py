"""Flows of folders and stored ones side by side: who runs whom by name, and which of two with one id counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

GREET: Final = """\
flow: greet
title: {whose}
inputs: {{name: string}}
triggers: [{{event: {event}}}]
steps: [{{say: {{set: {{text: "{whose} {{{{ inputs.name }}}}"}}}}}}]
outputs: {{text: $say.text}}
"""
CALLER: Final = """\
flow: caller
steps:
  - greet: {params: {name: Ada}}
  - named: {flow: greet, inputs: {name: Bo}}
outputs: {bare: $greet.text, named: $named.text}
"""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    (tmp_path / "flows").mkdir()
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(tmp_path / "flows",)) as found:
        yield found


def file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "flows" / name).write_text(text, "utf-8")


async def store(served: Served, text: str, id: str, *, publish: bool = True) -> None:
    if (await served.client.get(f"/api/v1/flows/{id}/draft")).status_code == 200:
        put = await served.client.put(f"/api/v1/flows/{id}/draft", json={"text": text}, headers={"if-match": "*"})
        assert put.status_code == 200, put.text
    else:
        made = await served.client.post("/api/v1/flows", json={"text": text})
        assert made.status_code == 201, made.text
    if publish:
        kept = await served.client.post(f"/api/v1/flows/{id}/versions", json={"publish": True})
        assert kept.status_code == 201, kept.text


async def ran(served: Served, id: str, **inputs: Any) -> dict[str, Any]:
    answer = await served.client.post(f"/api/v1/flows/{id}/runs", json={"inputs": inputs})
    assert answer.status_code == 201, answer.text
    return (await served.until(answer.json()["run_id"]))["outputs"]


async def events(served: Served) -> list[str]:
    """What starts `greet` now."""
    found = (await served.get("/api/v1/triggers?flow=greet"))["triggers"]
    return sorted(one["settings"]["event"] for one in found if one["declared"])


@pytest.mark.req("FLOW-6.folders", "EXEC-7")
async def test_a_file_runs_a_stored_flow_by_its_bare_name_as_soon_as_it_is_published(
    served: Served, tmp_path: Path
) -> None:
    file(tmp_path, "caller.yaml", CALLER)
    shown = await served.get("/api/v1/flows/caller")
    assert [one["severity"] for one in shown["problems"]] == ["error"]
    await store(served, GREET.format(whose="stored", event="a"), "greet")
    assert (await served.get("/api/v1/flows/caller"))["problems"] == []
    assert await ran(served, "caller") == {"bare": "stored Ada", "named": "stored Bo"}
    assert (await served.client.delete("/api/v1/flows/greet")).status_code == 204
    assert (await served.get("/api/v1/flows/caller"))["problems"] != []


@pytest.mark.req("FLOW-6.folders", "EXEC-7")
async def test_a_file_knows_the_stored_flows_that_were_there_before_the_server(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    database = f"sqlite:///{tmp_path / 'x.db'}"
    async with serve(database) as served:
        await store(served, GREET.format(whose="stored", event="a"), "greet")
    file(tmp_path, "caller.yaml", CALLER)
    async with serve(database, folders=(tmp_path / "flows",)) as served:
        assert (await ran(served, "caller"))["bare"] == "stored Ada"


@pytest.mark.req("FLOW-6.folders", "EXEC-7")
async def test_a_stored_flow_runs_one_of_a_folder_by_its_bare_name(served: Served, tmp_path: Path) -> None:
    file(tmp_path, "greet.yaml", GREET.format(whose="file", event="a"))
    await store(served, CALLER, "caller")
    assert await ran(served, "caller") == {"bare": "file Ada", "named": "file Bo"}
    # The stored one goes before the file of the same name, for whoever names it.
    await store(served, GREET.format(whose="stored", event="b"), "greet")
    assert (await ran(served, "caller"))["named"] == "stored Bo"


@pytest.mark.req("FLOW-6.folders", "TRIG-1")
async def test_the_triggers_of_two_with_one_id_are_those_of_the_one_that_runs(served: Served, tmp_path: Path) -> None:
    file(tmp_path, "greet.yaml", GREET.format(whose="file", event="of.file"))
    await served.host.triggers.follow_folders()
    assert await events(served) == ["of.file"]

    # A draft takes nothing over.
    await store(served, GREET.format(whose="stored", event="of.stored"), "greet", publish=False)
    await served.host.triggers.follow_folders()
    assert await events(served) == ["of.file"]
    assert (await ran(served, "greet", name="Ada")) == {"text": "file Ada"}

    await store(served, GREET.format(whose="stored", event="of.stored"), "greet")
    assert await events(served) == ["of.stored"]
    await served.host.triggers.follow_folders()
    file(tmp_path, "greet.yaml", GREET.format(whose="changed file", event="of.changed"))
    await served.host.triggers.follow_folders()
    assert await events(served) == ["of.stored"]
    assert (await ran(served, "greet", name="Ada")) == {"text": "stored Ada"}

    # The file's are in force at once, not when it is changed next.
    assert (await served.client.post("/api/v1/flows/greet/archive")).status_code == 200
    assert await events(served) == ["of.changed"]
    assert (await ran(served, "greet", name="Ada")) == {"text": "changed file Ada"}
    sent = await served.client.post("/api/v1/events", json={"event": "of.changed", "data": {"name": "Bo"}})
    assert sent.status_code == 202
    shown = await served.get("/api/v1/flows/greet")
    assert (shown["origin"], shown["state"]) == ("folder", "live")
    listed = [(one["id"], one["origin"]) for one in (await served.get("/api/v1/flows"))["flows"]]
    away = [(one["id"], one["origin"]) for one in (await served.get("/api/v1/flows?state=archived"))["flows"]]
    assert (listed, away) == ([("greet", "folder")], [("greet", "stored")])
    # What was put away can be looked at all the same.
    assert "of.stored" in (await served.get("/api/v1/flows/greet/draft"))["text"]

    assert (await served.client.post("/api/v1/flows/greet/restore")).status_code == 200
    assert await events(served) == ["of.stored"]
    await served.client.delete("/api/v1/flows/greet")
    assert await events(served) == ["of.changed"]


@pytest.mark.req("FLOW-6.folders")
async def test_an_archived_flow_without_a_file_starts_nothing(served: Served) -> None:
    await store(served, GREET.format(whose="stored", event="a"), "greet")
    await served.client.post("/api/v1/flows/greet/archive")
    refused = await served.client.post("/api/v1/flows/greet/runs", json={"inputs": {"name": "x"}})
    assert "archived" in problem(refused, 409, "conflict")["detail"]
    assert (await served.get("/api/v1/flows/greet"))["state"] == "archived"
    assert await events(served) == []
