"""Document B's engine contract over gRPC, from the caller's side: as `EngineClient`, and a run's events beside it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import Message

from segue.client.engine import (
    ANSWER_SECONDS,
    ATTEMPTS,
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    EngineLog,
    EngineRun,
    EngineStep,
)
from segue.client.records import HostLostError
from segue.errors import InvalidInputError, NotFoundError, RequestError
from segue.wire import engine_pb2 as wire
from segue.wire.names import EXECUTE, GET_RUN, PROBLEM, PUSHBACK_MS, SERVICE, WATCH_RUN

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
QUIET_SECONDS: Final = 60.0
"""A watched run may say nothing for hours; that the engine is still there is asked by HTTP/2's own pings."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    # Asking again is ours: under the same key, and with our delays.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", int(FIRST_DELAY_SECONDS * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(FIRST_DELAY_SECONDS * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(LONGEST_DELAY_SECONDS * 1000)),
    ("grpc.keepalive_time_ms", int(QUIET_SECONDS * 1000)),
    ("grpc.keepalive_timeout_ms", 10_000),
)
_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
"""Codes after which the same call may do better, as do those that come with a pushback."""

R = TypeVar("R", bound=Message)
_Call: TypeAlias = Callable[..., Any]


class EngineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of an engine's run. `id`: where to go on after it; `end` holds the run's status when it is over."""

    id: str
    kind: Literal["log", "run", "end"]
    log: EngineLog | None = None
    run: EngineRun | None = None
    end: str | None = None


class _Problem(msgspec.Struct):
    status: int = 0
    title: str = ""
    detail: str = ""
    errors: list[dict[str, str]] = []


class GrpcEngineClient:
    """An engine at an address (`grpc://engine:8082`; `grpcs://` with TLS), with its token. Belongs to one event loop;
    `close` it.
    """

    def __init__(self, url: str, token: str | None = None, *, attempts: int = ATTEMPTS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """End kept connections. Safe to repeat."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

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
        request = wire.ExecuteRequest(
            run_id=run_id, dag=dag_message(dag), env_json=_json(env), inputs_json=_json(inputs),
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return (await self._ask(EXECUTE, request, wire.ExecuteResponse)).engine_run_id

    async def get_run(self, engine_run_id: str, *, attempts: int | None = None) -> EngineRun:
        """A run's status, steps and logs. Raises NotFoundError, HostLostError."""
        request = wire.GetRunRequest(engine_run_id=engine_run_id)
        return _run_of(await self._ask(GET_RUN, request, wire.Run, attempts=attempts))

    async def watch(self, engine_run_id: str, *, after: str = "", level: str = "debug") -> AsyncGenerator[EngineEvent]:
        """What happens in a run after an event, until it is over; the engine may go away and come back meanwhile.

        Raises NotFoundError, RequestError; HostLostError once the engine was asked in vain so many times in a row.
        """
        failed = 0
        while True:
            stream = self._call(WATCH_RUN, wire.RunEvent, is_stream=True)(
                wire.WatchRunRequest(engine_run_id=engine_run_id, after=after, level=level), metadata=self._metadata()
            )
            try:
                async for message in stream:
                    event, failed = cast("wire.RunEvent", message), 0
                    after = event.id
                    if event.WhichOneof("event") != "resume":
                        yield _event_of(event)
                    if event.WhichOneof("event") == "end":
                        return
                if after.endswith(".end"):
                    return
            except grpc.aio.AioRpcError as error:
                failed += 1
                if not _may_do_better(error) or failed >= self._attempts:
                    raise _error_of(error, self.url) from error
                await asyncio.sleep(_delay(error, failed))
            finally:
                stream.cancel()

    async def _ask(self, method: str, request: Message, answer: type[R], *, attempts: int | None = None) -> R:
        call = self._call(method, answer)
        most = attempts or self._attempts
        for number in range(1, most + 1):
            try:
                return cast("R", await call(request, metadata=self._metadata(), timeout=ANSWER_SECONDS))
            except grpc.aio.AioRpcError as error:
                if not _may_do_better(error) or number == most:
                    raise _error_of(error, self.url) from error
                await asyncio.sleep(_delay(error, number))
        raise RequestError("no attempt was made; a client tries at least once")

    def _call(self, method: str, answer: type[Message], *, is_stream: bool = False) -> _Call:
        if self._channel is None:
            kind, _, target = self.url.partition("://")
            if kind.lower() == "grpcs":
                self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        make: Any = self._channel.unary_stream if is_stream else self._channel.unary_unary
        return make(
            f"/{SERVICE}/{method}", request_serializer=_encoded, response_deserializer=answer.FromString
        )  # fmt: skip

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self._token is None else (("authorization", f"Bearer {self._token}"),)


def dag_message(dag: Mapping[str, Any]) -> wire.Dag:
    """A DAG `{nodes: [{id, type, config, deps, …}], …}` as it goes over the wire."""
    nodes = cast("Sequence[Mapping[str, Any]]", dag.get("nodes", ()))
    return wire.Dag(
        nodes=[
            wire.Node(
                id=node.get("id", ""), type=node.get("type", ""), config_json=_json(node.get("config")),
                deps=node.get("deps", ()), more_json=_json(_without(node, "id", "type", "config", "deps")),
            )
            for node in nodes
        ],
        more_json=_json(_without(dag, "nodes")),
    )  # fmt: skip


def _without(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _json(value: Mapping[str, Any] | None) -> str:
    return msgspec.json.encode(value).decode() if value else ""


def _run_of(run: wire.Run) -> EngineRun:
    return EngineRun(
        id=run.id, status=run.status,
        steps=[
            EngineStep(
                id=step.id, status=step.status, duration_ms=step.duration_ms if step.HasField("duration_ms") else None
            )
            for step in run.steps
        ],
        logs=[EngineLog(ts=line.ts, level=line.level, msg=line.msg) for line in run.logs],
    )  # fmt: skip


def _event_of(event: wire.RunEvent) -> EngineEvent:
    match event.WhichOneof("event"):
        case "log":
            line = EngineLog(ts=event.log.ts, level=event.log.level, msg=event.log.msg)
            return EngineEvent(id=event.id, kind="log", log=line)
        case "run":
            return EngineEvent(id=event.id, kind="run", run=_run_of(event.run))
        case _:
            return EngineEvent(id=event.id, kind="end", end=event.end)


def _trailing(error: grpc.aio.AioRpcError, name: str) -> str | bytes | None:
    return next((value for key, value in error.trailing_metadata() or () if key == name), None)


def _may_do_better(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in _AGAIN or _trailing(error, PUSHBACK_MS) is not None


def _delay(error: grpc.aio.AioRpcError, number: int) -> float:
    told = _trailing(error, PUSHBACK_MS)
    if isinstance(told, str) and told.isascii() and told.isdigit():
        return min(int(told) / 1000, LONGEST_DELAY_SECONDS)
    # Full jitter, so that many gateways do not come back at the same moment.
    return random.uniform(0, min(FIRST_DELAY_SECONDS * 2 ** (number - 1), LONGEST_DELAY_SECONDS))  # noqa: S311


def _error_of(error: grpc.aio.AioRpcError, url: str) -> RequestError | HostLostError:
    told, document = error.details() or error.code().name.lower(), _trailing(error, PROBLEM)
    problem = msgspec.json.decode(document, type=_Problem) if isinstance(document, bytes) else _Problem()
    message = f"the engine at {url} answered {problem.status or error.code().name}: {problem.detail or told}"
    if error.code() in _AGAIN:
        return HostLostError(message if problem.status else f"the engine at {url} does not answer: {told}")
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return NotFoundError(message)
    if problem.status == 422:
        return InvalidInputError(message, [(one.get("path", ""), one.get("message", "")) for one in problem.errors])
    return RequestError(message)


def _encoded(message: Message) -> bytes:
    return message.SerializeToString()
