"""The engine contract over gRPC: the same runs, identities, limits, keys and refusals as over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest

from acceptance.api_support import TOKEN, Served, serve
from segue.api.compat.contract import EngineContract
from segue.api.gate import Gate
from segue.api.grpc_door import GrpcDoor
from segue.api.starts import Starter
from segue.client import engine_grpc
from segue.client.engine_grpc import GrpcEngineClient, dag_message
from segue.client.records import HostLostError
from segue.errors import InvalidInputError, NotFoundError, RequestError
from segue.wire import engine_pb2 as wire
from segue.wire.names import SERVICE

pytestmark = pytest.mark.anyio
START = {"nodes": [{"id": "a", "type": "start", "config": {}}]}
WAITS = {"nodes": [{"id": "w", "type": "wait", "config": {"callback": {"expires": "1h"}}}]}


@dataclass
class Engine:
    served: Served
    door: GrpcDoor
    port: int
    client: GrpcEngineClient

    async def until_over(self, run_id: str) -> Any:
        await self.served.until(run_id)
        return await self.client.get_run(run_id)


async def open_door(served: Served, port: int = 0) -> tuple[GrpcDoor, int]:
    host = served.host
    starter = Starter(host.engine, host.flows, host.stored, host.served)
    gate = Gate(served.access, served.identities)
    door = GrpcDoor(EngineContract(host.engine, starter), gate, served.identities, served.app.state.streams)
    return door, await door.open("127.0.0.1", port)


@pytest.fixture
async def engine() -> AsyncGenerator[Engine]:
    async with served_engine() as found:
        yield found


@asynccontextmanager
async def served_engine() -> AsyncGenerator[Engine]:
    async with serve() as served:
        door, port = await open_door(served)
        client = GrpcEngineClient(f"grpc://127.0.0.1:{port}", TOKEN, attempts=3)
        try:
            yield Engine(served, door, port, client)
        finally:
            await client.close()
            await door.close(0)


async def call(port: int, method: str, request: Any, answer: Any, *metadata: tuple[str, str]) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/{method}", request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )  # fmt: skip
        return await ask(request, metadata=metadata, timeout=10)


def problem_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    found = dict(error.trailing_metadata() or ())
    return msgspec.json.decode(found["problem-bin"])


@pytest.mark.req("API-4.grpc")
async def test_a_dag_is_run_and_told_as_over_http(engine: Engine) -> None:
    dag = {
        "nodes": [
            {"id": "a", "type": "start", "config": {}},
            {"id": "b", "type": "set", "config": {"big": 9_007_199_254_740_993, "part": 1.0}, "deps": ["a"]},
        ]
    }
    run_id = await engine.client.execute(dag, run_id="mine", idempotency_key="k", env={"TIER": "x"}, inputs={})
    assert run_id.startswith("eng_")
    run = await engine.until_over(run_id)
    told = await engine.served.get(f"/v1/runs/{run_id}")
    assert run.status == told["status"] == "succeeded", run.logs
    assert [(one.id, one.status, one.duration_ms) for one in run.steps] == [
        (one["id"], one["status"], one["durationMs"]) for one in told["steps"]
    ]
    assert [(one.ts, one.level, one.msg) for one in run.logs] == [
        (one["ts"], one["level"], one["msg"]) for one in told["logs"]
    ]
    step = await engine.served.get(f"/api/v1/runs/{run_id}/steps/b")
    # 2^53 + 1 is no floating-point number: integers of 64 bits come through as they are.
    assert step["output"]["big"] == 9_007_199_254_740_993


@pytest.mark.req("API-4.grpc", "API-4.idempotent")
async def test_a_key_counts_over_both_doors(engine: Engine) -> None:
    first = await engine.client.execute(START, run_id="r", idempotency_key="one-key")
    assert await engine.client.execute(START, run_id="r", idempotency_key="one-key") == first
    body = {"runId": "r", "dag": START, "env": {}, "inputs": {}}
    over_http = await engine.served.client.post("/v1/execute", json=body, headers={"idempotency-key": "one-key"})
    assert over_http.json() == {"engineRunId": first}
    with pytest.raises(InvalidInputError, match="used for another request"):
        await engine.client.execute(START, run_id="other", idempotency_key="one-key")
    by_metadata = wire.ExecuteRequest(run_id="r", dag=dag_message(START))
    found = await call(
        engine.port, "Execute", by_metadata, wire.ExecuteResponse, ("authorization", f"Bearer {TOKEN}"),
        ("idempotency-key", "one-key"),
    )  # fmt: skip
    assert found.engine_run_id == first


@pytest.mark.req("API-4.grpc", "API-4.token", "ACC-1.keys")
async def test_who_may_not_is_told_so(engine: Engine) -> None:
    run_id = await engine.client.execute(START, run_id="r", idempotency_key="k")
    asked = wire.GetRunRequest(engine_run_id=run_id)

    async def refused(*metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(engine.port, "GetRun", asked, wire.Run, *metadata)
        return error.value

    for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "Basic x"),)):
        error = await refused(*metadata)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert problem_of(error)["type"] == "urn:segue:problem:unauthenticated"
    made = await engine.served.client.post("/api/v1/workspaces", json={"name": "Elsewhere"})
    assert made.status_code == 201, made.text
    elsewhere = ("x-segue-workspace", made.json()["id"])
    error = await refused(("authorization", f"Bearer {TOKEN}"), elsewhere)
    assert error.code() is grpc.StatusCode.NOT_FOUND, "a run of another workspace is as unknown as none"
    scopes = {"name": "starts only", "permissions": ["run:create"]}
    key = await engine.served.client.post("/api/v1/keys", json=scopes)
    assert key.status_code == 201, key.text
    error = await refused(("authorization", f"Bearer {key.json()['token']}"))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def broken() -> dict[str, tuple[wire.ExecuteRequest, grpc.StatusCode, str]]:
    argument = grpc.StatusCode.INVALID_ARGUMENT
    deep = '{"a": ' + "[" * 200 + "]" * 200 + "}"
    node = wire.Node(id="a", type="start")
    return {
        "no DAG": (wire.ExecuteRequest(), argument, "invalid-flow"),
        "broken JSON": (wire.ExecuteRequest(env_json="{"), argument, "bad-body"),
        "a list": (wire.ExecuteRequest(inputs_json="[]"), argument, "bad-body"),
        "too deep": (wire.ExecuteRequest(inputs_json=deep), grpc.StatusCode.RESOURCE_EXHAUSTED, "too-large"),
        "a huge number": (wire.ExecuteRequest(inputs_json='{"n": 99999999999999999999}'), argument, "bad-body"),
        "a config": (
            wire.ExecuteRequest(dag=wire.Dag(nodes=[wire.Node(id="a", type="start", config_json="7")])), argument,
            "bad-body",
        ),
        "a kind that is none": (
            wire.ExecuteRequest(dag=wire.Dag(nodes=[wire.Node(id="a", type="nonsense")])), argument, "invalid-flow",
        ),
        "a dependency that is none": (
            wire.ExecuteRequest(dag=wire.Dag(nodes=[wire.Node(id="a", type="start", deps=["z"])])), argument,
            "invalid-flow",
        ),
        "a long key": (
            wire.ExecuteRequest(dag=wire.Dag(nodes=[node]), idempotency_key="k" * 256), argument, "invalid-request",
        ),
    }  # fmt: skip


@pytest.mark.req("API-4.grpc", "API-1.errors")
@pytest.mark.parametrize("name", broken())
async def test_what_cannot_be_run_is_refused_with_its_problem(engine: Engine, name: str) -> None:
    request, code, slug = broken()[name]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(
            engine.port, "Execute", request, wire.ExecuteResponse, ("authorization", f"Bearer {TOKEN}")
        )  # fmt: skip
    assert error.value.code() is code, error.value.details()
    found = problem_of(error.value)
    assert found["type"] == f"urn:segue:problem:{slug}", found
    assert found["detail"] == error.value.details()
    assert dict(error.value.initial_metadata() or ())["x-request-id"] == found["request_id"]


@pytest.mark.req("API-4.grpc", "ACC-7.limits")
async def test_a_request_that_is_too_large_is_refused(engine: Engine) -> None:
    with pytest.raises(RequestError, match="RESOURCE_EXHAUSTED"):
        await engine.client.execute(START, run_id="r", idempotency_key="k", inputs={"a": "x" * 11_000_000})


@pytest.mark.req("API-4.grpc")
async def test_an_unknown_run_is_not_found_and_not_asked_for_again(engine: Engine) -> None:
    with pytest.raises(NotFoundError, match="eng_unknown"):
        await engine.client.get_run("eng_unknown")


@pytest.mark.req("API-4.grpc", "API-6.resume")
async def test_a_run_is_watched_over_a_restart_of_the_door_without_loss_or_repetition(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_grpc, "LONGEST_DELAY_SECONDS", 0.05)
    client = GrpcEngineClient(engine.client.url, TOKEN, attempts=200)
    run_id = await engine.client.execute(WAITS, run_id="r", idempotency_key="k")
    await engine.served.until(run_id, "waiting")
    seen: list[Any] = []
    watching = asyncio.Event()

    async def watch() -> None:
        async for event in client.watch(run_id):
            seen.append(event)
            if event.kind == "run":
                watching.set()

    task = asyncio.create_task(watch())
    try:
        async with asyncio.timeout(20):
            await watching.wait()
            before = len(seen)
            await engine.door.close(0)
            door, _ = await open_door(engine.served, engine.port)
            url = await engine.served.callback_url(run_id)
            assert (await engine.served.client.post(url, json={"ok": True})).status_code == 200
            await task
            await door.close(0)
    finally:
        await client.close()
    assert seen[-1].kind == "end"
    assert seen[-1].end == "succeeded"
    assert len(seen) > before
    lines = [event.log.msg for event in seen if event.kind == "log"]
    told = await engine.served.get(f"/api/v1/runs/{run_id}/logs")
    assert lines == [line["msg"] for line in told["lines"]]
    ids = [event.id for event in seen]
    assert ids[-1].endswith(".end")


@pytest.mark.req("API-4.grpc", "API-6.resume")
async def test_a_finished_run_is_told_whole_and_ends_and_rubbish_is_refused(engine: Engine) -> None:
    run_id = await engine.client.execute(START, run_id="r", idempotency_key="k")
    await engine.served.until(run_id)
    async with asyncio.timeout(10):
        kinds = [event.kind async for event in engine.client.watch(run_id)]
        last = [event.id async for event in engine.client.watch(run_id)][-1]
        again = [event.kind async for event in engine.client.watch(run_id, after=last)]
        for after, level in (("rubbish", "info"), ("", "loud")):
            with pytest.raises(InvalidInputError):
                await anext(engine.client.watch(run_id, after=after, level=level))
        with pytest.raises(NotFoundError):
            await anext(engine.client.watch("eng_unknown"))
    assert kinds.count("end") == 1
    assert kinds[-1] == "end"
    assert again == []


@pytest.mark.req("API-4.grpc", "API-4.retries")
async def test_an_engine_that_is_not_there_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_grpc, "FIRST_DELAY_SECONDS", 0.0)
    client = GrpcEngineClient("grpc://127.0.0.1:1", attempts=2)
    with pytest.raises(HostLostError, match="does not answer"):
        await client.get_run("eng_1")
    await client.close()


@pytest.mark.req("API-4.grpc")
async def test_a_port_that_is_taken_is_said(engine: Engine) -> None:
    with pytest.raises(RequestError, match=f"port {engine.port}"):
        await open_door(engine.served, engine.port)


@pytest.mark.req("API-4.grpc", "ACC-1.keys")
async def test_a_stream_ends_with_the_key_that_allowed_it(engine: Engine) -> None:
    made = (
        await engine.served.client.post("/api/v1/keys", json={"name": "watcher", "permissions": ["run:read"]})
    ).json()
    run_id = await engine.client.execute(WAITS, run_id="r", idempotency_key="k")
    await engine.served.until(run_id, "waiting")
    client = GrpcEngineClient(engine.client.url, made["token"], attempts=1)

    async def watch() -> None:
        async for event in client.watch(run_id):
            if event.kind == "run":
                gone = await engine.served.client.delete(f"/api/v1/keys/{made['key']['id']}")
                assert gone.status_code < 300, gone.text

    try:
        with pytest.raises(RequestError, match="answered 401"):
            await asyncio.wait_for(watch(), 10)
    finally:
        await client.close()
