"""The library's files, checking without running, and the published description of the interface."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from acceptance.api_support import Served, serve
from segue.engine.library import MAX_FILE_BYTES, MAX_FILES, FlowLibrary
from segue.errors import InvalidFlowError, NotFoundError
from segue.flow import StaticCatalogue

pytestmark = pytest.mark.anyio

GREET = """\
flow: greet
title: Greet a person
description: Says hello.
inputs: {name: string, email: {type: string, format: email, default: a@b.example}}
steps:
  - each: {foreach: {items: "[1]", do: [{say: {log: hello}}]}}
"""
BAD = "flow: bad\nsteps:\n  - one: {log: $two.x}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "flows"
    made.mkdir()
    (made / "a-greet.yaml").write_text(GREET, encoding="utf-8")
    (made / "b-bad.yml").write_text(BAD, encoding="utf-8")
    (made / "c-graph.json").write_text(
        '{"name": "Graph", "nodes": [{"id": "n", "type": "start"}], "edges": []}', "utf-8"
    )
    (made / "package.json").write_text('{"name": "no-flow", "scripts": {}}', encoding="utf-8")
    (made / ".hidden.yaml").write_text(GREET, encoding="utf-8")
    (made / "notes.txt").write_text("flow: x", encoding="utf-8")
    (made / "d-torn.yaml").write_text("flow: [", encoding="utf-8")
    return made


@pytest.fixture
async def served(folder: Path) -> AsyncGenerator[Served]:
    async with serve(folders=(folder,)) as found:
        yield found


@pytest.mark.req("API-1.flows", "FLOW-12.schemas")
async def test_flows_are_listed_with_schema_steps_and_problems(served: Served) -> None:
    flows = {flow["id"]: flow for flow in (await served.get("/api/v1/flows"))["flows"]}
    assert list(flows) == ["bad", "d-torn", "graph", "greet"]
    greet = flows["greet"]
    assert (greet["name"], greet["description"], greet["file"]) == ("Greet a person", "Says hello.", "a-greet.yaml")
    assert greet["steps"] == 2
    assert greet["problems"] == []
    assert greet["inputs"]["required"] == ["name"]
    assert greet["inputs"]["properties"]["email"]["format"] == "email"
    assert flows["bad"]["problems"][0]["line"] == 3
    assert flows["d-torn"]["problems"][0]["severity"] == "error"


@pytest.mark.req("API-1.flows")
async def test_one_flow_comes_with_its_text(served: Served, folder: Path) -> None:
    flow = await served.get("/api/v1/flows/greet")
    assert (flow["source"], flow["form"]) == (GREET, "yaml")
    assert (await served.get("/api/v1/flows/graph"))["form"] == "graph"
    torn = await served.get("/api/v1/flows/d-torn.yaml")
    assert (torn["source"], torn["form"]) == ("flow: [", None)
    (folder / "a-greet.yaml").write_text(GREET.replace("Says", "Shouts"), encoding="utf-8")
    assert (await served.get("/api/v1/flows/greet"))["description"] == "Shouts hello."
    (folder / "e-new.yaml").write_text("flow: brand-new\nsteps: [{log: x}]", encoding="utf-8")
    assert (await served.get("/api/v1/flows/brand-new"))["steps"] == 1


@pytest.mark.req("FLOW-5.without-execution", "API-1.check")
async def test_checking_tells_every_problem_and_runs_nothing(served: Served) -> None:
    good = await served.client.post("/api/v1/check", json={"flow": GREET})
    assert good.json() == {"ok": True, "problems": []}
    bad = (await served.client.post("/api/v1/check", json={"flow": BAD, "file": "bad.yml"})).json()
    assert bad["ok"] is False
    found = bad["problems"][0]
    assert (found["file"], found["line"], found["severity"]) == ("bad.yml", 3, "error")
    assert found["code"].startswith("FLW")
    parsed = await served.client.post("/api/v1/check", json={"flow": {"flow": "x", "steps": [{"a": {"log": "$b.c"}}]}})
    assert parsed.json()["ok"] is False
    assert (await served.get("/api/v1/runs"))["runs"] == []


# ---------------------------------------------------------------- the library itself


def _library(*folders: Path) -> FlowLibrary:
    return FlowLibrary(folders, StaticCatalogue())


def test_two_files_of_one_id_are_both_shown(folder: Path) -> None:
    (folder / "z-again.yaml").write_text(GREET.replace("Greet a person", "Again"), encoding="utf-8")
    library = _library(folder)
    assert [flow.id for flow in library.all()][-1] == "z-again.yaml"
    assert library.get("greet").file == "a-greet.yaml"
    assert library.get("z-again.yaml").flow is not None


def test_a_flow_that_moved_to_another_file_is_found_there(folder: Path) -> None:
    library = _library(folder)
    assert library.get("greet").file == "a-greet.yaml"
    (folder / "a-greet.yaml").rename(folder / "moved.yaml")
    assert library.get("greet").file == "moved.yaml"
    (folder / "moved.yaml").unlink()
    with pytest.raises(NotFoundError, match="greet"):
        library.get("greet")


def test_a_file_with_errors_does_not_run(folder: Path) -> None:
    with pytest.raises(InvalidFlowError) as found:
        _library(folder).get("bad").checked()
    assert found.value.problems


@pytest.mark.req("ACC-7.limits")
def test_files_that_cannot_be_read_are_listed_and_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"flow: big\n" + b"#" * MAX_FILE_BYTES)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x01flow: x")
    (tmp_path / "bomb.yaml").write_text(
        "a: &a [x,x]\n"
        + "".join(
            f"{c}: &{c} [*{p},*{p}]\n"
            for p, c in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
        )
        + "steps: *z\n",
        encoding="utf-8",
    )
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    flows = {flow.file: flow for flow in _library(tmp_path, tmp_path / "missing").all()}
    assert {"big.yaml", "bytes.yaml", "bomb.yaml", "deep.json"} <= set(flows)
    assert not {"folder.yaml", "dangling.yaml", "pipe.yaml"} & set(flows)
    assert not any(flow.runnable for flow in flows.values())
    assert all(flow.problems for flow in flows.values())


@pytest.mark.req("ACC-7.limits")
def test_no_more_than_a_thousand_files_are_looked_at(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 5):
        (tmp_path / f"{number:05}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "zzz.yaml").write_text(GREET, encoding="utf-8")
    assert _library(tmp_path).all() == []
    assert _library().all() == []


# ---------------------------------------------------------------- the description


@pytest.mark.req("API-1.openapi")
async def test_the_description_is_openapi_3_1_and_whole(served: Served) -> None:
    document = await served.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("title") == name or "title" not in schema, name
    references = list(_references(document))
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            answers = operation["responses"]  # what waits for an adapter says so, and nothing else
            assert "501" in answers or any(status[0] in "23" for status in answers), (method, path)


@pytest.mark.req("API-1.openapi")
async def test_answers_are_as_described(served: Served) -> None:
    document = await served.get("/openapi.json")
    run_id = await served.start(GREET, {"name": "Ada"})
    await served.until(run_id)
    for path, name in (
        (f"/api/v1/runs/{run_id}", "RunView"),
        ("/api/v1/runs", "RunList"),
        (f"/api/v1/runs/{run_id}/logs", "LogPage"),
        (f"/api/v1/runs/{run_id}/why", "Why"),
        (f"/api/v1/runs/{run_id}/callbacks", "CallbackList"),
        (f"/v1/runs/{run_id}", "GatewayRun"),
        ("/api/v1/flows", "FlowList"),
        ("/api/v1/flows/bad", "FlowDetail"),
        ("/health/ready", "Health"),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(await served.get(path), schema)
    refused = await served.client.post("/api/v1/runs", json={"flow": BAD})
    jsonschema.validate(
        refused.json(), {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    )


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for inner in value.values() for one in _references(inner)]
    return [one for inner in value for one in _references(inner)] if isinstance(value, list) else []
