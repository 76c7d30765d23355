"""The engine contract over gRPC: the same runs, identities, limits and answers as over HTTP (`segue.api.compat`).

Errors are the table of `segue.api.errors` in gRPC's codes; the problem document goes along in the trailing metadata.
What is there against pages of other origins has no place here: no page can speak gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import Message
from starlette.datastructures import Headers

from segue.access.identities import Identities
from segue.access.principal import Principal
from segue.api.answers import GatewayRun
from segue.api.bodies import fitted, parse_json
from segue.api.compat.bodies import Execute
from segue.api.compat.contract import EngineContract, log_in_words, run_in_words
from segue.api.errors import BadBodyError, ClosingError, InvalidRequestError, details_of
from segue.api.gate import Gate
from segue.api.guard import BODY_BYTES_MAX
from segue.api.live import Streams, may_read
from segue.api.routing import refuse_if_off, refuse_unless
from segue.api.run_feed import LEVELS, Position, Told
from segue.engine.log_lines import LogLine
from segue.engine.views import RunView
from segue.errors import NotFoundError, RequestError
from segue.observe.logs import get_logger, log_context, new_request_id
from segue.store.port import RunRecord
from segue.wire import engine_pb2 as wire
from segue.wire.names import EXECUTE, GET_RUN, PROBLEM, PUSHBACK_MS, SERVICE, WATCH_RUN

CALLS_MAX: Final = 2_500
"""At once: the streams that a server keeps (`live.STREAMS_MAX`), and some hundreds of calls beside them."""
METADATA_BYTES_MAX: Final = 16 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", BODY_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    # Two servers must never share a port without knowing.
    ("grpc.so_reuseport", 0),
    # A caller that is gone without a word is noticed, and its stream is ended.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)
CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the status that HTTP would give; everything else is INTERNAL."""

_log = get_logger("segue.api.access")
T = TypeVar("T")
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class GrpcDoor:
    """One gRPC server. Belongs to one event loop; `open` and `close` it."""

    def __init__(self, contract: EngineContract, gate: Gate, identities: Identities, streams: Streams) -> None:
        self._contract = contract
        self._gate = gate
        self._identities = identities
        self._streams = streams
        self._server: grpc.aio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Serve at an address of this machine; the port, which is any free one for 0. Raises RequestError if it is
        taken.
        """
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=CALLS_MAX)
        server.add_generic_rpc_handlers([
            grpc.method_handlers_generic_handler(SERVICE, {
                EXECUTE: _unary(self._execute, wire.ExecuteRequest),
                GET_RUN: _unary(self._get_run, wire.GetRunRequest),
                WATCH_RUN: grpc.unary_stream_rpc_method_handler(
                    self._watch_run, wire.WatchRunRequest.FromString, _encoded
                ),
            })
        ])  # fmt: skip
        try:
            bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise RequestError(f"gRPC cannot be served at port {port}; is it taken? name another one") from error
        await server.start()
        self._server = server
        return bound

    async def close(self, grace_seconds: float) -> None:
        """Take no more calls, and let those that are being answered end. Safe to repeat."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
            self._server = None

    # ------------------------------------------------------------ methods

    async def _execute(self, request: wire.ExecuteRequest, context: Context) -> wire.ExecuteResponse:
        async def work(principal: Principal) -> wire.ExecuteResponse:
            refuse_unless(principal, "run:create")
            headers = headers_of(context)
            body = fitted(Execute, execute_body(request))
            # A caller that goes away cancels its call, not what the engine is about to keep.
            kept = asyncio.create_task(self._contract.execute(body, headers, principal.workspace))
            started = await asyncio.shield(kept)
            return wire.ExecuteResponse(engine_run_id=started.engine_run_id)

        return await self._answered(EXECUTE, context, work)

    async def _get_run(self, request: wire.GetRunRequest, context: Context) -> wire.Run:
        async def work(principal: Principal) -> wire.Run:
            record = await self._record(request.engine_run_id, principal)
            return _run(await self._contract.run(record.run_id))

        return await self._answered(GET_RUN, context, work)

    async def _watch_run(self, request: wire.WatchRunRequest, context: Context) -> AsyncIterator[wire.RunEvent]:
        async def begin(principal: Principal) -> tuple[RunRecord, Position, str, Principal]:
            record = await self._record(request.engine_run_id, principal)
            level = request.level or "debug"
            if level not in LEVELS:
                message = f"{level[:50]!r} is no level; use one of {', '.join(LEVELS)}"
                raise InvalidRequestError(message, [("level", message)])
            self._streams.refuse_if_full()
            return record, _position(request.after), level, principal

        record, known, level, principal = await self._answered(WATCH_RUN, context, begin)
        if known.is_end:
            return
        scope = {"segue.headers": Headers(headers_of(context)), "segue.principal": principal}
        async with self._streams.standings.hold(scope, may_read(record.flow_id)) as standing:
            last = known
            async with aclosing(self._streams.watch(record, known, level, standing)) as batches:
                async for told in _each(batches):
                    last = told.position
                    yield _event(told)
                    if told.kind in ("end", "resume"):
                        return
            if standing.refusal is not None and not self._streams.over:
                await _refuse(context, standing.refusal, WATCH_RUN, new_request_id())
        yield wire.RunEvent(id=str(last), resume="the server is being stopped")

    # ------------------------------------------------------------ what every call passes

    async def _answered(self, name: str, context: Context, work: Callable[[Principal], Awaitable[T]]) -> T:
        begun, request_id = time.perf_counter(), new_request_id()
        with log_context(request_id=request_id):
            try:
                await context.send_initial_metadata((("x-request-id", request_id),))
                return await work(await self._identified(context))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - the last net: every call gets an answer
                await _refuse(context, error, name, request_id)
            finally:
                code = cast("grpc.StatusCode | None", context.code()) or grpc.StatusCode.OK
                took_ms = round((time.perf_counter() - begun) * 1000, 1)
                _log.info("call", path=f"/{SERVICE}/{name}", code=code.name.lower(), duration_ms=took_ms)

    async def _identified(self, context: Context) -> Principal:
        if self._contract.engine.closing:
            raise ClosingError("the server is being stopped; what it has accepted is kept. Ask again in a moment")
        principal = await self._gate.identify(headers_of(context), {}, _address_of(context.peer()))
        await refuse_if_off(self._identities, principal.workspace)
        return principal

    async def _record(self, run_id: str, principal: Principal) -> RunRecord:
        record = await self._contract.engine.record(run_id)
        if record.workspace != principal.workspace:
            raise NotFoundError(f"no run has the id {run_id!r}")
        refuse_unless(principal, "run:read", record.flow_id)
        return record


def headers_of(context: Context) -> dict[str, str]:
    """The call's metadata as headers, of which the last of a name counts; binary ones are not for us."""
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}


def execute_body(request: wire.ExecuteRequest) -> dict[str, Any]:
    """The request as the body that HTTP takes. Raises BadBodyError, TooLargeError for JSON that is none."""
    body: dict[str, Any] = {"dag": {**_object("dag.more_json", request.dag.more_json), "nodes": []}}
    for number, node in enumerate(request.dag.nodes):
        at = f"dag.nodes.{number}"
        given = {"id": node.id, "type": node.type, "deps": list(node.deps)}
        told = {**_object(f"{at}.more_json", node.more_json), "config": _object(f"{at}.config_json", node.config_json)}
        body["dag"]["nodes"].append({**told, **{name: value for name, value in given.items() if value}})
    body |= {"env": _object("env_json", request.env_json), "inputs": _object("inputs_json", request.inputs_json)}
    named = {"runId": request.run_id, "idempotencyKey": request.idempotency_key}
    return {**body, **{name: value for name, value in named.items() if value}}


def _object(path: str, text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = parse_json(text.encode())
    except BadBodyError as error:
        raise BadBodyError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise BadBodyError(f"{path}: this is no JSON object")
    return cast("dict[str, Any]", value)


def _position(after: str) -> Position:
    try:
        return Position.parse(after)
    except InvalidRequestError:
        message = "`after` is no id of this stream's events; leave it out to begin anew"
        raise InvalidRequestError(message, [("after", message)]) from None


async def _each(batches: AsyncGenerator[list[Told]]) -> AsyncGenerator[Told]:
    async for batch in batches:
        for told in batch:
            yield told


def _event(told: Told) -> wire.RunEvent:
    id = str(told.position)
    match told.kind:
        case "log":
            line = log_in_words(msgspec.json.decode(told.data, type=LogLine))
            return wire.RunEvent(id=id, log=wire.LogLine(ts=line.ts, level=line.level, msg=line.msg))
        case "run":
            view = msgspec.json.decode(told.data, type=RunView)
            return wire.RunEvent(id=id, run=_run(run_in_words(view, [])))
        case "end":
            return wire.RunEvent(id=id, end=msgspec.json.decode(told.data, type=dict[str, str])["status"])
        case _:
            return wire.RunEvent(id=id, resume=msgspec.json.decode(told.data, type=dict[str, str])["reason"])


def _run(run: GatewayRun) -> wire.Run:
    return wire.Run(
        id=run.id, status=run.status,
        steps=[wire.Step(id=step.id, status=step.status, duration_ms=step.duration_ms) for step in run.steps],
        logs=[wire.LogLine(ts=line.ts, level=line.level, msg=line.msg) for line in run.logs],
    )  # fmt: skip


async def _refuse(context: Context, error: Exception, name: str, request_id: str) -> NoReturn:
    """End the call with the error as gRPC tells it."""
    path = f"/{SERVICE}/{name}"
    details, headers = details_of(error, instance=path, request_id=request_id)
    code = CODES.get(details.status, grpc.StatusCode.INTERNAL)
    if code is grpc.StatusCode.INTERNAL:
        _log.exception("call failed inside", path=path)
    trailing: list[tuple[str, str | bytes]] = [(PROBLEM, msgspec.json.encode(details))]
    if "retry-after" in headers:
        trailing.append((PUSHBACK_MS, str(int(headers["retry-after"]) * 1000)))
    await context.abort(code, details.detail or details.title, tuple(trailing))


def _unary(behavior: Callable[[Q, Context], Awaitable[A]], request: type[Q]) -> grpc.RpcMethodHandler[Q, A]:
    handler: Any = grpc.unary_unary_rpc_method_handler(cast("Any", behavior), request.FromString, _encoded)
    return handler


def _encoded(message: Message) -> bytes:
    return message.SerializeToString()


def _address_of(peer: str) -> str:
    """`127.0.0.1` of `ipv4:127.0.0.1:51234` (gRPC's naming of peers); IPv6 comes percent-encoded in brackets."""
    return peer.partition(":")[2].rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
