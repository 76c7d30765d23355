"""Document B's engine contract, from the caller's side: hand a DAG to an engine elsewhere and follow it to its end.

`EngineClient` speaks to one engine, with timeouts, retries and idempotency keys. `REMOTE_RUN` is the flow that a
gateway runs for each graph that it hands over: it is durable itself, so a gateway that dies goes on with the same run
of the engine, and an engine that dies is asked again until it is back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from urllib.parse import quote

import msgspec

from segue.client.records import HostLostError
from segue.engine.port import Action, AttemptContext
from segue.errors import InvalidInputError, NotFoundError, RequestError, StepError

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
ATTEMPTS: Final = 5
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 5.0
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may do better."""
_EXECUTE: Final = "engine.execute"
_STATUS: Final = "engine.status"

REMOTE_RUN: Final[dict[str, Any]] = {
    "flow": "remote-run",
    "title": "A graph that another engine runs",
    "inputs": {"dag": {"type": "object"}, "env": {"type": "object"}, "inputs": {"type": "object"}},
    "steps": [
        {
            "accept": {
                "call": _EXECUTE,
                "params": {"dag": "$inputs.dag", "env": "$inputs.env", "inputs": "$inputs.inputs"},
                "retry": {"attempts": 100, "initial_delay": "1s", "max_delay": "30s"},
            }
        },
        {
            "finish": {
                "poll": {
                    "call": _STATUS,
                    "params": {"run": "$accept.engine_run_id"},
                    "interval": "1s",
                    "max_attempts": 1_000_000,
                    "success_condition": "$.status == 'succeeded'",
                    "failure_condition": "$.status == 'failed'",
                }
            }
        },
    ],
    "outputs": {"engine_run_id": "$accept.engine_run_id", "status": "$finish.status"},
}
"""The graph comes as an input, so that what looks like an expression in it is left to the engine."""

if TYPE_CHECKING:
    from aiohttp import ClientSession

T = TypeVar("T")


class EngineStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A step of an engine's run."""

    id: str
    status: str
    duration_ms: int | None = None


class EngineLog(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an engine's run."""

    ts: str = ""
    level: str = "info"
    msg: str = ""


class EngineRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of an engine. `status`: queued, running, succeeded or failed."""

    id: str
    status: str
    steps: list[EngineStep] = []
    logs: list[EngineLog] = []


class EngineElsewhere(Protocol):
    """An engine that runs what this process hands over: `EngineClient` over HTTP, `GrpcEngineClient` over gRPC."""

    url: str

    async def close(self) -> None:
        """End kept connections. Safe to repeat."""
        ...

    async def execute(
        self,
        dag: Mapping[str, Any],
        *,
        run_id: str,
        idempotency_key: str,
        env: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> str:
        """Hand over a DAG; the engine's own id of the run. Asking again under the same key gives the same run.

        Raises RequestError, InvalidInputError for a DAG that the engine refuses; HostLostError if it does not answer.
        """
        ...

    async def get_run(self, engine_run_id: str, *, attempts: int | None = None) -> EngineRun:
        """A run's status, steps and logs. Raises NotFoundError, HostLostError."""
        ...


class _Accepted(msgspec.Struct, rename="camel"):
    engine_run_id: str


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""


class EngineClient:
    """An engine at an address (`http://engine:8081`), with its token. Belongs to one event loop; `close` it."""

    def __init__(self, url: str, token: str | None = None, *, attempts: int = ATTEMPTS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """End kept connections. Safe to repeat."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def execute(
        self,
        dag: Mapping[str, Any],
        *,
        run_id: str,
        idempotency_key: str,
        env: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> str:
        """Hand over a DAG; the engine's own id of the run. Asking again under the same key gives the same run.

        Raises RequestError, InvalidInputError for a DAG that the engine refuses; HostLostError if it does not answer.
        """
        body = {"runId": run_id, "dag": dag, "env": env or {}, "inputs": inputs or {}}
        accepted = await self._ask("POST", "/v1/execute", _Accepted, body=body, key=idempotency_key)
        return accepted.engine_run_id

    async def get_run(self, engine_run_id: str, *, attempts: int | None = None) -> EngineRun:
        """A run's status, steps and logs. Raises NotFoundError, HostLostError."""
        path = f"/v1/runs/{quote(engine_run_id, safe='')}"
        return await self._ask("GET", path, EngineRun, attempts=attempts)

    async def _ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: object = None,
        key: str | None = None,
        attempts: int | None = None,
    ) -> T:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if key is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key, "x-idempotency-key": key}
        data, left = None if body is None else msgspec.json.encode(body), attempts or self._attempts
        # Loading it takes a while, which a host without an engine elsewhere need not wait for.
        from aiohttp import ClientError  # noqa: PLC0415

        delay = FIRST_DELAY_SECONDS
        while True:
            left -= 1
            try:
                status, content, after = await self._send(method, path, data, headers)
            except (ClientError, TimeoutError) as error:
                if left <= 0:
                    message = f"the engine at {self.url} does not answer: {error or type(error).__name__}"
                    raise HostLostError(message) from error
                after = None
            else:
                if status < 300:
                    return self._read(content, answer, method, path)
                if status not in _AGAIN or left <= 0:
                    raise _error_of(status, content, self.url)
            # Full jitter, so that many gateways do not come back at the same moment.
            await asyncio.sleep(after if after is not None else random.uniform(0, delay))  # noqa: S311
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def _send(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, float | None]:
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout  # noqa: PLC0415

            timeout = ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
            self._session = ClientSession(timeout=timeout, trust_env=False)
        url = f"{self.url}{path}"
        async with self._session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            after = response.headers.get("Retry-After", "")
            seconds = min(float(after), LONGEST_DELAY_SECONDS) if after.isascii() and after.isdigit() else None
            return response.status, await response.read(), seconds

    def _read(self, content: bytes, answer: type[T], method: str, path: str) -> T:
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.MsgspecError as error:
            raise RequestError(
                f"the engine at {self.url} answered {method} {path} with something else: {error}"
            ) from error


def _error_of(status: int, content: bytes, url: str) -> RequestError | HostLostError:
    try:
        told = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        told = _Problem()
    message = f"the engine at {url} answered {status}: {told.detail or told.title or 'nothing more'}"
    if status >= 500:
        return HostLostError(message)
    if status == 404:
        return NotFoundError(message)
    return InvalidInputError(message, []) if status == 422 else RequestError(message)


def engine_at(url: str, token: str | None = None) -> EngineElsewhere:
    """The engine at an address: `http://…`, `https://…`, `grpc://host:port`, or `grpcs://host:port` with TLS.

    Raises RequestError for another kind of address, or if what gRPC needs is not installed.
    """
    kind = url.partition("://")[0].lower()
    if kind in ("http", "https"):
        return EngineClient(url, token)
    if kind not in ("grpc", "grpcs"):
        raise RequestError(f"{url!r} is no address of an engine; it begins with http://, https://, grpc:// or grpcs://")
    try:
        from segue.client.engine_grpc import GrpcEngineClient  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RequestError(f"{url}: {error.name} is missing; install segue[grpc]") from error
    return GrpcEngineClient(url, token)


def engine_actions(client: EngineElsewhere) -> tuple[Action, Action]:
    """The two actions of `REMOTE_RUN`."""

    async def execute(params: dict[str, Any], context: AttemptContext) -> Any:
        try:
            engine_run_id = await client.execute(
                params["dag"], run_id=context.run_id, idempotency_key=context.idempotency_key, env=params.get("env"),
                inputs=params.get("inputs"),
            )  # fmt: skip
        except HostLostError as error:
            raise StepError(str(error), category="connection") from error
        except RequestError as error:
            raise StepError(str(error), category="validation") from error
        context.log("info", f"the engine at {client.url} runs it as {engine_run_id}")
        return {"engine_run_id": engine_run_id}

    async def status(params: dict[str, Any], _context: AttemptContext) -> Any:
        try:
            return {"status": (await client.get_run(params["run"], attempts=1)).status}
        except HostLostError:
            # It is asked again at the next poll, for as long as it takes.
            return {"status": "unreachable"}
        except NotFoundError as error:
            raise StepError(f"the engine has lost the run: {error}", category="adapter.lost") from error

    return (
        Action(name=_EXECUTE, run=execute, effect="keyed", description="Hand a DAG to the engine."),
        Action(name=_STATUS, run=status, effect="safe", description="Ask the engine for a run's status."),
    )


def compile_dag(graph: Mapping[str, Any]) -> dict[str, Any]:
    """A canvas graph `{nodes, edges}` as the engine's DAG `{nodes: [{id, type, config, deps}]}`, in an order in which
    every node comes after what it depends on. Raises InvalidInputError for what the contract cannot say.
    """
    if "nodes" not in graph:
        graph = _graph_of_steps(graph)
    nodes = {str(node["id"]): node for node in _maps(graph.get("nodes")) if "id" in node}
    deps: dict[str, list[str]] = {id: [] for id in nodes}
    for edge in _maps(graph.get("edges")):
        source, target = str(edge.get("source")), str(edge.get("target"))
        extra = sorted(set(edge) - {"id", "source", "target", "type", "animated", "style", "selected"})
        if any(edge[name] not in (None, "", {}) for name in extra):
            message = (
                f"the edge from {source!r} to {target!r} has {extra[0]!r}; an engine's DAG knows dependencies only"
            )
            raise InvalidInputError(message, [("graph.edges", message)])
        if source in nodes and target in nodes and source not in deps[target]:
            deps[target].append(source)
    done: dict[str, dict[str, Any]] = {}
    while len(done) < len(nodes):
        ready = [id for id in nodes if id not in done and all(one in done for one in deps[id])]
        if not ready:
            raise InvalidInputError("the graph has a cycle", [("graph.edges", "the graph has a cycle")])
        for id in ready:
            done[id] = _dag_node(id, nodes[id], deps[id])
    return {"nodes": list(done.values())}


def _graph_of_steps(document: Mapping[str, Any]) -> dict[str, Any]:
    """Document B's `{definition: {steps: [{type, config}]}}`: one step after the other."""
    definition = cast("Mapping[str, Any]", document.get("definition") or document)
    steps = [{"id": f"s{number}", **one} for number, one in enumerate(_maps(definition.get("steps")), start=1)]
    if not steps:
        message = "an engine takes nodes and edges, or definition.steps"
        raise InvalidInputError(message, [("graph", message)])
    edges = [{"source": one["id"], "target": other["id"]} for one, other in pairwise(steps)]
    return {"nodes": steps, "edges": edges}


def _dag_node(id: str, node: Mapping[str, Any], deps: list[str]) -> dict[str, Any]:
    data = cast("Mapping[str, Any]", node.get("data") or {})
    config: object = node.get("config") or data.get("config") or {}
    kind = "http_request_node" if node.get("type") == "http" else node.get("type")
    found: dict[str, Any] = {"id": id, "type": kind, "config": config}
    return {**found, "deps": deps} if deps else found


def _maps(value: object) -> Sequence[Mapping[str, Any]]:
    given = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Mapping[str, Any]", one) for one in given if isinstance(one, dict)]
