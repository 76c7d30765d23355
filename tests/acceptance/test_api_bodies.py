"""Odd, broken and hostile requests get clear problems, and change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
import structlog.testing

from acceptance.api_support import Served, problem, serve

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
HELLO = """\
flow: hello
inputs: {name: string, email: {type: string, format: email, default: a@b.example}}
steps: [{log: hi}]
"""
LIMIT = 200_000


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serve(body_bytes_max=LIMIT) as found:
        yield found


async def _nothing_was_started(served: Served) -> None:
    assert (await served.get("/api/v1/runs"))["runs"] == []


@pytest.mark.req("API-1.errors", "ACC-7.bodies")
@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"", 400, "bad-body"),
        (b"{", 400, "bad-body"),
        (b"{'flow': 1}", 400, "bad-body"),
        (b"\xff\xfe", 400, "bad-body"),
        (b'{"inputs": {"a": NaN}}', 400, "bad-body"),
        (b'{"inputs": {"a": 1e999}}', 400, "bad-body"),
        (b'{"inputs": {"a": "\\ud800"}}', 400, "bad-body"),
        (b'{"flow": "x", "inputs": {"a": 9223372036854775808}}', 400, "bad-body"),
        (b'{"flow": "x", "inputs": {"a": %s}}' % (b"9" * 400), 400, "bad-body"),
        (b'{"flow": "x", "inputs": %s}' % (b'{"a":' * 200 + b"1" + b"}" * 200), 413, "too-large"),
        (b"[" * 100_000, 413, "too-large"),
        (b"[]", 422, "invalid-request"),
        (b"null", 422, "invalid-request"),
        (b'"flow"', 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"flow": "x", "flow_id": "y"}', 422, "invalid-request"),
        (b'{"flow": 7}', 422, "invalid-request"),
        (b'{"flow": "x", "inputs": []}', 422, "invalid-request"),
        (b'{"flow": "x", "input": {}}', 422, "invalid-request"),
        (b'{"flow": "x", "idempotency_key": ""}', 422, "invalid-request"),
        (b'{"flow": "x", "idempotency_key": 5}', 422, "invalid-request"),
        (b'{"flow": ""}', 422, "invalid-flow"),
        (b'{"flow": {}}', 422, "invalid-flow"),
        (b'{"flow": "flow: [}"}', 422, "invalid-flow"),
        (b'{"flow": "\\u0000"}', 422, "invalid-flow"),
        (b'{"flow_id": "nope"}', 404, "not-found"),
        (b'{"flow_id": "../../etc/passwd"}', 404, "not-found"),
    ],
)
async def test_a_start_that_cannot_be_used_says_why(served: Served, body: bytes, status: int, slug: str) -> None:
    problem(await served.client.post("/api/v1/runs", content=body, headers=JSON), status, slug)
    await _nothing_was_started(served)


@pytest.mark.req("API-1.errors")
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"[]", [("", "this is no JSON object")]),
        (b'{"flow": 7}', [("flow", "this is no text"), ("flow", "this is no JSON object")]),
        (b'{"flow": "x", "inputs": 3}', [("inputs", "this is no JSON object")]),
        (b'{"flow": "x", "input": {}}', [("input", 'is no field of this request; did you mean "inputs"?')]),
    ],
)
async def test_a_body_that_does_not_fit_is_told_in_words_of_json(
    served: Served, body: bytes, errors: list[tuple[str, str]]
) -> None:
    told = problem(await served.client.post("/api/v1/runs", content=body, headers=JSON), 422, "invalid-request")
    assert [(one["path"], one["message"]) for one in told["errors"]] == errors


@pytest.mark.req("API-1.errors")
async def test_a_body_of_another_content_type_is_refused(served: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        answer = await served.client.post("/api/v1/runs", content=b'{"flow": "x"}', headers={"content-type": kind})
        problem(answer, 415, "unsupported-type")


@pytest.mark.req("ACC-7.body-limit")
async def test_a_body_above_the_limit_is_refused_by_its_announced_length(served: Served) -> None:
    answer = await served.client.post("/api/v1/runs", content=b" " * (LIMIT + 1), headers=JSON)
    problem(answer, 413, "too-large")


@pytest.mark.req("ACC-7.body-limit")
async def test_a_body_above_the_limit_is_refused_as_it_comes(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 10_000 + 1):
            yield b" " * 10_000

    problem(await served.client.post("/api/v1/runs", content=chunks(), headers=JSON), 413, "too-large")
    async with served.anyone() as client:
        answer = await client.post("/api/v1/orchestrator/callback/x", content=chunks(), headers=JSON)
        problem(answer, 413, "too-large")


@pytest.mark.req("ACC-7.body-limit")
async def test_a_body_at_the_limit_is_read(served: Served) -> None:
    body = b'{"flow": "flow: a\\nsteps: [{log: hi}]"}'
    answer = await served.client.post("/api/v1/runs", content=body.ljust(LIMIT), headers=JSON)
    assert answer.status_code == 201


@pytest.mark.req("API-1.errors", "FLOW-5.all-at-once")
async def test_an_invalid_flow_brings_all_its_problems_with_places(served: Served) -> None:
    flow = "flow: a\nsteps:\n  - one: {http: {url: 5}}\n  - two: {nosuch: 1}\n  - three: {log: $nine.x}\n"
    answer = await served.client.post("/api/v1/runs", json={"flow": flow, "file": "a.yaml"})
    found = problem(answer, 422, "invalid-flow")
    problems = found["problems"]
    assert len([one for one in problems if one["severity"] == "error"]) >= 2
    for one in problems:
        assert one["code"].startswith("FLW")
        assert one["message"]
        assert one["line"] >= 3
        assert one["column"] >= 1
        assert one["file"] == "a.yaml"
    await _nothing_was_started(served)


@pytest.mark.req("FLOW-12.inputs-checked", "API-1.errors")
async def test_inputs_that_do_not_fit_are_told_one_by_one(served: Served) -> None:
    answer = await served.client.post("/api/v1/runs", json={"flow": HELLO, "inputs": {"nmae": "x", "email": "nobody"}})
    found = problem(answer, 422, "invalid-input")
    assert {error["path"] for error in found["errors"]} == {"name", "nmae", "email"}
    assert any("name" in error["message"] for error in found["errors"] if error["path"] == "nmae")
    await _nothing_was_started(served)


@pytest.mark.req("API-1.errors")
@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/api/v1/nope", 404, "not-found"),
        ("GET", "/api/v1/runs/", 404, "not-found"),
        ("DELETE", "/api/v1/runs", 405, "method-not-allowed"),
        ("GET", "/api/v1/runs/run_nope", 404, "not-found"),
        ("GET", "/api/v1/runs/run_nope/logs", 404, "not-found"),
        ("GET", "/api/v1/runs/run_nope/why", 404, "not-found"),
        ("GET", "/api/v1/runs/run_nope/callbacks", 404, "not-found"),
        ("GET", "/api/v1/runs/run_nope/events", 404, "not-found"),
        ("POST", "/api/v1/runs/run_nope/cancel", 404, "not-found"),
        ("POST", "/api/v1/runs/run_nope/pause", 404, "not-found"),
        ("POST", "/api/v1/runs/run_nope/resume", 404, "not-found"),
        ("GET", "/api/v1/flows/nope", 404, "not-found"),
        ("GET", "/v1/runs/run_nope", 404, "not-found"),
        ("GET", "/v1/runs/%00%ff", 404, "not-found"),
        ("GET", "/api/v1/runs?limit=0", 422, "invalid-request"),
        ("GET", "/api/v1/runs?limit=many", 422, "invalid-request"),
        ("GET", "/api/v1/runs?status=odd", 422, "invalid-request"),
        ("GET", "/api/v1/runs?cursor=odd", 400, "bad-request"),
        ("GET", "/api/v1/runs?limit=loud", 422, "invalid-request"),
    ],
)
async def test_every_error_is_a_problem_document(
    served: Served, method: str, path: str, status: int, slug: str
) -> None:
    problem(await served.client.request(method, path), status, slug)


@pytest.mark.req("API-1.request-ids")
async def test_a_request_id_is_taken_over_or_made(served: Served) -> None:
    given = await served.client.get("/api/v1/runs/x", headers={"x-request-id": "my.id-7"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "my.id-7"
    for odd in ("", "a" * 129, "a b", "<script>"):
        made = await served.client.get("/api/v1/runs/x", headers={"x-request-id": odd})
        assert made.headers["x-request-id"].startswith("req_")
    one, two = [await served.client.get("/health/live") for _ in range(2)]
    assert one.headers["x-request-id"] != two.headers["x-request-id"]


@pytest.mark.req("OBS-1.access-log")
async def test_each_request_is_one_log_line_without_query_and_token(served: Served) -> None:
    with structlog.testing.capture_logs() as lines:
        await served.client.get("/api/v1/runs?flow=secret-name", headers={"x-request-id": "abc"})
        await served.client.get("/?token=open-sesame")
        await served.client.post("/api/v1/orchestrator/callback/the-token-of-a-callback")
    found = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in found] == [
        ("GET", "/api/v1/runs", 200),
        ("GET", "/", 401),
        ("POST", "/api/v1/orchestrator/callback/***", 404),
    ]
    assert all(line["duration_ms"] >= 0 for line in found)
    assert "sesame" not in str(lines)
    assert "the-token" not in str(lines)
    assert "secret-name" not in str(lines)


@pytest.mark.req("API-1.errors")
async def test_a_mistake_of_our_own_tells_nothing_from_inside(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("the inner workings")

    monkeypatch.setattr(served.host.store, "get_run", broken)
    with structlog.testing.capture_logs() as lines:
        answer = await served.client.get("/api/v1/runs/x")
    found = problem(answer, 500, "internal")
    assert "inner" not in answer.text
    assert found["request_id"] in found["detail"]
    assert any(line["event"] == "request failed inside" and line["log_level"] == "error" for line in lines)


@pytest.mark.req("API-1.errors")
async def test_slowness_and_closing_are_told_as_such(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> None:
        raise TimeoutError("2 s were not enough")

    with monkeypatch.context() as patch:
        patch.setattr(served.host.store, "get_run", slow)
        problem(await served.client.get("/api/v1/runs/x"), 504, "timeout")
    await served.host.engine.close(grace_seconds=0)
    for answer in (
        await served.client.post("/api/v1/runs", json={"flow": HELLO}),
        await served.client.get("/api/v1/runs"),
    ):
        problem(answer, 503, "closing")
        assert int(answer.headers["retry-after"]) >= 1
    ready = await served.client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["engine"] == "failed"
    assert (await served.client.get("/health/live")).status_code == 200


@pytest.mark.req("ACC-7.bodies")
async def test_a_request_that_breaks_off_starts_nothing(served: Served) -> None:
    body = b'{"flow": "flow: a\\nsteps: [{log: hi}]"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    token = served.client.headers["authorization"]
    writer.write(
        f"POST /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 1}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    # Another request is answered after it, so it had its time.
    assert (await served.client.get("/health/ready")).status_code == 200
    await _nothing_was_started(served)
