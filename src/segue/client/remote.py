"""Speaking to a running host over its HTTP API, as the command line does when another process runs the database.

One `RemoteHost` belongs to one event loop. It never retries: a request that got no answer is `HostLostError`, and the
caller knows best whether asking again is right (starting a run is, under its idempotency key).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from segue.client.records import (
    AccessDeniedError,
    HostLostError,
    RemoteCallback,
    RunEvent,
    RunSummary,
    UnavailableError,
)
from segue.engine.log_lines import LogLine
from segue.engine.second_chances import NewRunOf, RolledBackTo
from segue.engine.views import RunView, UndoView
from segue.errors import (
    ConflictError,
    EngineError,
    GoneError,
    InvalidFlowError,
    InvalidInputError,
    JournalCorruptError,
    LimitReachedError,
    NotFoundError,
    RequestError,
    SegueError,
    StaleError,
)
from segue.flow.model import Span
from segue.flow.problems import Problem

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 45.0
"""A stream of events says something every 15 s; three times nothing means that its host is gone."""
EVENT_BYTES: Final = 64 * 1024 * 1024
"""The longest line of a stream of events: a run's view with all its steps is one."""
PAGE_MAX: Final = 200
LOG_LINES_MAX: Final = 10_000
_WAITING: Final = "waiting"

T = TypeVar("T")


class _Sent(msgspec.Struct):
    id: str


class _Refusal(msgspec.Struct):
    status: int


class _Started(msgspec.Struct):
    run_id: str


class _Runs(msgspec.Struct):
    runs: list[RunSummary]
    next_cursor: str | None = None


class _Lines(msgspec.Struct):
    lines: list[LogLine]


class _Callbacks(msgspec.Struct):
    callbacks: list[RemoteCallback]


class _Taken(msgspec.Struct, rename="camel"):
    run_id: str


class FlowProblem(msgspec.Struct):
    """A mistake in a flow, as a host tells it."""

    code: str
    severity: str
    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None


class _FieldError(msgspec.Struct):
    path: str
    message: str


class _Details(msgspec.Struct):
    """Problem details (RFC 9457) as this API writes them."""

    title: str = ""
    detail: str = ""
    type: str = ""
    problems: list[FlowProblem] = []
    errors: list[_FieldError] = []
    last_valid_event: int | None = None


class RemoteHost:
    """A host at an address (`http://127.0.0.1:8080`), with the token that it published. Use as a context manager, or
    `close` it.
    """

    def __init__(self, address: str, token: str, *, workspace: str | None = None) -> None:
        self.address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if workspace is not None:
            self._headers["X-Segue-Workspace"] = workspace
        self._session: aiohttp.ClientSession | None = None
        self._token = token

    def within(self, workspace: str) -> RemoteHost:
        """The same host, working in another workspace. A connection of its own, to be closed of its own."""
        return RemoteHost(self.address, self._token, workspace=workspace)

    async def __aenter__(self) -> RemoteHost:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End kept connections. Safe to repeat."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------ requests

    async def start(
        self,
        text: str,
        inputs: Mapping[str, Any],
        *,
        file: str | None = None,
        idempotency_key: str | None = None,
        start_at: str | None = None,
        start_in: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run of a flow's text; its id once it is kept. Raises InvalidFlowError, InvalidInputError,
        LimitReachedError.
        """
        body = {
            "flow": text, "inputs": dict(inputs), "file": file, "idempotency_key": idempotency_key,
            "start_at": start_at, "start_in": start_in, "labels": labels or None,
        }  # fmt: skip
        given = {name: value for name, value in body.items() if value is not None}
        return (await self.ask("POST", "/api/v1/runs", _Started, json=given)).run_id

    async def runs(
        self, *, statuses: tuple[str, ...] = (), flow: str | None = None, labels: tuple[tuple[str, str], ...] = (),
        begins: str | None = None, limit: int = 50, cursor: str | None = None,
    ) -> tuple[list[RunSummary], str | None]:  # fmt: skip
        """Newest first, and where the next page begins. `begins`: of the beginning of an id."""
        found: list[RunSummary] = []
        while True:
            query = [("status", status) for status in statuses] + [("limit", str(min(limit - len(found), PAGE_MAX)))]
            query += [
                (name, value)
                for name, value in (("flow", flow), ("q", begins), ("cursor", cursor))
                if value is not None
            ]
            query += [("label", f"{name}:{value}") for name, value in labels]
            page = await self.ask("GET", "/api/v1/runs", _Runs, query=query)
            found += page.runs
            cursor = page.next_cursor
            if cursor is None or len(found) >= limit:
                return found, cursor

    async def show(self, run_id: str, *, at: int | None = None) -> tuple[RunView, list[RemoteCallback]]:
        """The run, and what its waiting steps wait for; `at`: as of that event. Raises NotFoundError, ConflictError,
        JournalCorruptError for one that is set aside.
        """
        if at is not None:
            return await self.ask("GET", _run_path(run_id), RunView, query=[("at", str(at))]), []
        view = await self.ask("GET", _run_path(run_id), RunView)
        if not any(step.status == _WAITING for step in view.steps):
            return view, []
        return view, (await self.ask("GET", f"{_run_path(run_id)}/callbacks", _Callbacks)).callbacks

    async def logs(self, run_id: str) -> list[LogLine]:
        """The last 10,000 lines."""
        query = [("level", "debug"), ("limit", str(LOG_LINES_MAX))]
        return (await self.ask("GET", f"{_run_path(run_id)}/logs", _Lines, query=query)).lines

    async def act(self, run_id: str, action: str, reason: str | None, **further: bool) -> None:
        """`cancel`, `pause`, `resume`, `retry` or `undo`. Raises NotFoundError, ConflictError."""
        body = further if reason is None else {"reason": reason, **further}
        await self.ask("POST", f"{_run_path(run_id)}/{action}", msgspec.Raw, json=body)

    async def rewind(
        self, run_id: str, to: Sequence[str], reason: str | None = None, *, compensate: bool = False
    ) -> None:
        """See `Segue.rewind`."""
        body = {"to": list(to), "reason": reason, "compensate": compensate}
        await self.ask("POST", f"{_run_path(run_id)}/rewind", msgspec.Raw, json=body)

    async def rollback(self, run_id: str, reason: str | None = None) -> RolledBackTo:
        """See `Segue.rollback`."""
        return await self.ask("POST", f"{_run_path(run_id)}/rollback", RolledBackTo, json={"reason": reason})

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """See `Segue.replay` and `Segue.fork`; `body` as the API takes it, values of None left out."""
        sent = {name: value for name, value in body.items() if value is not None}
        return await self.ask("POST", f"{_run_path(run_id)}/{kind}", NewRunOf, json=sent)

    async def undo_preview(self, run_id: str) -> UndoView:
        """What undoing the run would do. Raises NotFoundError."""
        return await self.ask("GET", f"{_run_path(run_id)}/undo", UndoView)

    async def callback(self, token: str, payload: Any) -> str:
        """Deliver a signal; the run's id. Raises NotFoundError, ConflictError, GoneError."""
        path = f"/api/v1/orchestrator/callback/{quote(token, safe='')}"
        return (await self.ask("POST", path, _Taken, json=payload)).run_id

    async def publish(self, name: str, data: Any, id: str | None = None) -> str:
        """Send an event; its id. Raises RequestError."""
        body = {"event": name, "data": data, **({} if id is None else {"id": id})}
        return (await self.ask("POST", "/api/v1/events", _Sent, json=body)).id

    async def events(self, run_id: str) -> AsyncGenerator[str]:
        """The kinds of the run's events as they happen: `log`, `run`, and `end` as the last one."""
        async for event in self.follow(run_id):
            yield event.kind

    async def follow(self, run_id: str, after: str | None = None) -> AsyncGenerator[RunEvent]:
        """The run's events as they happen, those after an event's id if one is given; nothing if that was the end."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        url = f"{self.address}{_run_path(run_id)}/events"
        try:
            headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
            async with self._client().get(url, timeout=timeout, headers=headers, read_bufsize=EVENT_BYTES) as response:
                if response.status == 204:
                    return
                if response.status != 200:
                    raise error_of(response.status, await response.read(), self.address)
                fields: dict[str, bytes] = {}
                async for line in response.content:
                    name, _, value = line.rstrip(b"\r\n").partition(b":")
                    if name:
                        fields[name.decode("ascii", "replace")] = value.removeprefix(b" ")
                    elif fields.get("event") == b"refused":
                        told = fields.get("data", b"")
                        raise error_of(msgspec.json.decode(told, type=_Refusal).status, told, self.address)
                    elif "event" in fields and "data" in fields:
                        yield RunEvent(
                            kind=fields["event"].decode(), id=fields.get("id", b"").decode(),
                            data=msgspec.json.decode(fields["data"]),
                        )  # fmt: skip
                        fields = {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._lost(error) from error

    async def ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        json: object = msgspec.UNSET,
        archive: bytes | None = None,
        query: list[tuple[str, str]] | None = None,
    ) -> T:
        """One request, with JSON or a zip archive; `NoneType` for an answer without a body. Raises HostLostError,
        UnavailableError, AccessDeniedError, and what the host's code raised.
        """
        _, body = await self.send(method, path, json=json, archive=archive, query=query)
        try:
            return msgspec.json.decode(body or b"null", type=answer)
        except msgspec.MsgspecError as error:
            raise EngineError(
                f"the host at {self.address} answered {method} {path} with something else: {error}"
            ) from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: object = msgspec.UNSET,
        archive: bytes | None = None,
        query: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[str, bytes]:
        """One request; the answer's media type and content. Raises as `ask`."""
        data = archive if json is msgspec.UNSET else msgspec.json.encode(json)
        kind = "application/json" if archive is None else "application/zip"
        headers = {**({} if data is None else {"Content-Type": kind}), **(headers or {})}
        try:
            async with self._client().request(
                method, f"{self.address}{path}", data=data, headers=headers, params=query, allow_redirects=False
            ) as response:
                body = await response.read()
                status, kind = response.status, response.content_type
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(error) from error
        if status >= 300:
            raise error_of(status, body, self.address)
        return kind, body

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def _lost(self, error: BaseException) -> HostLostError:
        return HostLostError(f"the host at {self.address} does not answer: {error or type(error).__name__}")


def _run_path(run_id: str) -> str:
    """Ids come from people, who may type anything."""
    return f"/api/v1/runs/{quote(run_id, safe='')}"


_CLASSES: Final[dict[int, type[SegueError]]] = {
    404: NotFoundError, 409: ConflictError, 410: GoneError, 412: StaleError, 429: LimitReachedError,
}  # fmt: skip


def error_of(status: int, body: bytes, address: str) -> SegueError:
    """The error that an answer tells, as the class that the host's own code raised."""
    try:
        told = msgspec.json.decode(body, type=_Details)
    except msgspec.MsgspecError:
        told = _Details()
    message = told.detail or told.title or f"the host at {address} answered with status {status}"
    if told.problems:
        return InvalidFlowError(message, [problem_of(problem) for problem in told.problems])
    if told.errors:
        return InvalidInputError(message, [(one.path, one.message) for one in told.errors])
    if told.last_valid_event is not None:
        return JournalCorruptError(message, last_valid_seq=told.last_valid_event)
    if status == 503:
        is_closing = told.type.endswith(":closing")
        return HostLostError(f"the host at {address} is being stopped") if is_closing else UnavailableError(message)
    if status in (401, 403):
        return AccessDeniedError(message)
    found = _CLASSES.get(status) or (RequestError if status < 500 else EngineError)
    return found(message)


def problem_of(told: FlowProblem) -> Problem:
    """A mistake that a host told."""
    span = None if told.line is None else Span(0, 1, told.line, told.column or 1)
    return Problem(
        code=told.code,
        message=told.message,
        severity="error" if told.severity == "error" else "warning" if told.severity == "warning" else "note",
        path=told.path,
        file=told.file,
        span=span,
        suggestion=told.suggestion,
    )
