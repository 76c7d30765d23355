"""Every operation of the OpenAPI document, fed with what fits it and what does not: no status that it does not name, no
answer that is not what it describes, no mistake of ours.

`SEGUE_FUZZ=200` tries that many cases an operation; by default so few that all of them take about a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests import RequestException
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from acceptance.api_support import TOKEN, Served, problem, serve

CASES = int(os.environ.get("SEGUE_FUZZ", "3"))
CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
ANY_ROUTE = {"400", "401", "403", "404", "405", "408", "413", "415", "421", "422", "429", "503", "504"}
"""What every route may answer, whatever it is: documented once, in docs/api.md."""
FLOW = "flow: fuzz\nsteps:\n  - a: {log: hi}\n  - b: {wait: {callback: {expires: 1h}}}\n"


@dataclass
class Fuzzed:
    served: Served
    loop: asyncio.AbstractEventLoop
    run_id: str

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fuzzed]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    (folder / "fuzz.yaml").write_text(FLOW)
    begun: Future[Fuzzed] = Future()
    over: list[Any] = []

    async def main() -> None:
        ended = asyncio.Event()
        over.append((asyncio.get_running_loop(), ended))
        async with serve(f"sqlite:///{folder / 'runs.db'}", folders=(folder,)) as served:
            run_id = await served.start(FLOW)
            begun.set_result(Fuzzed(served, asyncio.get_running_loop(), run_id))
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    yield begun.result(20)
    loop, ended = over[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)
    assert not thread.is_alive()


def operations(document: Any) -> list[Any]:
    for path in document["paths"].values():
        for operation in path.values():
            # It is for generated clients, and would let any status pass.
            del operation["responses"]["default"]
    schema = schemathesis.openapi.from_dict(document)
    found: list[Any] = list(schema.get_all_operations())
    return [one.ok() for one in found]


def property_of(operation: Any, fuzzed: Fuzzed) -> Any:
    """What holds of an operation, whatever it is sent."""
    documented = set(operation.definition.raw["responses"])
    ids = {"run_id": fuzzed.run_id, "flow_id": "fuzz", "other_id": fuzzed.run_id, "flow": "fuzz"}

    @settings(
        max_examples=CASES, deadline=None, database=None, derandomize=True, print_blob=False, phases=(Phase.generate,),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )  # fmt: skip
    @given(case=operation.as_strategy(), known=st.booleans())
    def holds(case: Any, known: bool) -> None:
        given = case.path_parameters or {}
        if known:
            case.path_parameters = {name: ids.get(name, value) for name, value in given.items()}
        query = case.query or {}
        if isinstance(query.get("wait"), int | float) and 0.2 < query["wait"] <= 300:
            case.query = {**query, "wait": 0.2}  # what fits is waited for; how long is shown elsewhere
        headers = {"authorization": f"Bearer {TOKEN}", "origin": fuzzed.served.url}
        response = case.call(base_url=fuzzed.served.url, headers=headers, timeout=20)
        status = str(response.status_code)
        assert response.status_code < 500 or status in documented | {"503", "504"}, response.text
        if status in ANY_ROUTE and status not in documented:
            assert response.headers["content-type"][0].startswith("application/problem+json"), status
            return
        case.validate_response(response, checks=CHECKS)

    return holds


@pytest.mark.slow
@pytest.mark.req("API-1.openapi", "DEV-3.fuzz", "ACC-7.bodies")
def test_every_operation_answers_as_it_is_described(fuzzed: Fuzzed) -> None:
    document = fuzzed.do(fuzzed.served.get("/openapi.json"))
    failures: list[str] = []
    tried = 0
    for operation in operations(document):
        if operation.path.endswith("/events") and operation.method.upper() == "GET":
            continue  # it goes on until its run is over; test_api_events reads it
        tried += 1
        try:
            property_of(operation, fuzzed)()
        except (Failure, FailureGroup, AssertionError, RequestException) as error:
            failures += [f"{operation.label}: {one!r}"[:1_500] for one in getattr(error, "exceptions", [error])]
    assert tried > 40
    assert failures == [], "\n\n".join(failures)


BROKEN = {
    "no JSON": b"{",
    "not UTF-8": b'{"flow": "\xff"}',
    "a number too large": b'{"flow": "a", "inputs": {"n": 99999999999999999999}}',
    "nested": b'{"inputs": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "NUL": b'{"flow": "a\\u0000b", "inputs": {"\\u0000": "\\u0000"}}',
    "a lone surrogate": b'{"flow": "\\ud800"}',
}


@pytest.mark.req("API-1.errors", "ACC-7.bodies")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_bodies_are_told_clearly_on_every_route_that_takes_one(fuzzed: Fuzzed, name: str) -> None:
    document = fuzzed.do(fuzzed.served.get("/openapi.json"))
    routes = [
        (method, path)
        for path, found in document["paths"].items()
        for method, operation in found.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {}) and "{token}" not in path
    ]
    assert len(routes) > 20

    async def send(method: str, path: str) -> Any:
        filled = path.replace("{run_id}", fuzzed.run_id).replace("{flow_id}", "fuzz")
        return await fuzzed.served.client.request(
            method.upper(), filled, content=BROKEN[name], headers={"content-type": "application/json"}
        )

    for method, path in routes:
        answer = fuzzed.do(send(method, path))
        if answer.status_code >= 400:
            assert answer.status_code < 500 or answer.status_code == 501, f"{method} {path}: {answer.text}"
            problem(answer, answer.status_code, answer.json()["type"].rpartition(":")[2])


@pytest.mark.req("ACC-7.limits")
def test_a_body_that_comes_too_slowly_or_is_cut_off_changes_nothing(
    fuzzed: Fuzzed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.api.guard.BODY_SECONDS_MAX", 0.3)
    head = (
        f"POST /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{fuzzed.served.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    before = fuzzed.do(fuzzed.served.get("/api/v1/runs?limit=200"))["runs"]
    with socket.create_connection(("127.0.0.1", fuzzed.served.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(4_000).partition(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", fuzzed.served.port), timeout=10) as connection:
        connection.sendall(head.encode())
    after = fuzzed.do(fuzzed.served.get("/api/v1/runs?limit=200"))["runs"]
    assert [one["id"] for one in after] == [one["id"] for one in before]


@pytest.mark.req("FLOW-8.notation")
@pytest.mark.parametrize(
    ("text", "kind"),
    [("{flow: braces, steps: [{a: {log: hi}}]}", "application/json"), ("steps: [", "application/yaml")],
)
def test_what_is_exported_as_json_is_json(fuzzed: Fuzzed, text: str, kind: str) -> None:
    """Found by fuzzing: YAML in braces, and a text that holds no flow, were sent as JSON."""

    async def export() -> Any:
        made = await fuzzed.served.client.post("/api/v1/flows", json={"id": f"x{abs(hash(text))}", "text": text})
        assert made.status_code == 201, made.text
        return await fuzzed.served.client.get(f"/api/v1/flows/{made.json()['id']}/export?format=json")

    answer = fuzzed.do(export())
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    if kind == "application/json":
        assert answer.json()["steps"]
