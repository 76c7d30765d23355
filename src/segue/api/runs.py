"""Runs: start, list, show, logs, reasons, callbacks, live events, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from fastapi import Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from segue.api.answers import (
    LogPage,
    RunList,
    StartedRun,
    StepWhy,
    Why,
    answer,
    run_item,
)
from segue.api.answers import RunState as RunStateAnswer
from segue.api.bodies import CURSOR, Cancellation, Reason, RunFlow, StartRun, read_model
from segue.api.documented import answers_with, body_of, event_stream
from segue.api.errors import InvalidRequestError, QuarantinedError
from segue.api.live import WORKSPACE, Streams, stream
from segue.api.repeats import WITH_THE_RUN, idempotency_key, with_key
from segue.api.responses import WAIT_SECONDS_MAX, response_of
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.api.run_feed import Position
from segue.api.run_filters import SEARCH_LENGTH_MAX, WORDS, run_filter
from segue.api.starts import Starter
from segue.engine.host import Engine
from segue.engine.later import begins_at
from segue.engine.log_lines import LogLine, log_lines
from segue.engine.versions import Version
from segue.engine.views import RunView, UndoView, undo_view, view_of
from segue.errors import JournalCorruptError, NotFoundError
from segue.kernel.compensation import undo_preview
from segue.kernel.state import RunState
from segue.kernel.status import RunStatus
from segue.observe.masking import DEFAULT_MASKER
from segue.store.port import LogRow, RunRecord
from segue.store.run_notes import NO_NOTES, checked_notes, read_notes
from segue.store.tables import Tables

LIST_MAX: Final = 200
LOG_LINES_MAX: Final = 10_000
LOG_LINES_READ_MAX: Final = 200_000
_LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_SEARCH: Final = "The beginning of a run's id (`run_` and at least 8 letters), or else a text in its error."

Wait = Annotated[
    float | None, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the run's own answer.")
]
Level = Literal["debug", "info", "warning", "error"]


class RunRoutes:
    """`/api/v1/runs`."""

    def __init__(self, engine: Engine, starter: Starter, streams: Streams, tables: Tables) -> None:
        self._tables = tables
        self._engine = engine
        self._starter = starter
        self._streams = streams

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["runs"])

        def add(
            path: str, endpoint: Callable[..., Awaitable[Response]], needs: str = "run:read", **settings: Any
        ) -> None:
            router.add(f"/api/v1/runs{path}", endpoint, needs=needs, **settings)

        add(
            "", self.start, method="POST", needs="run:create", each=True, status_code=201,
            extra=with_key(body_of(StartRun)), repeats=WITH_THE_RUN,
            responses={
                **answers_with(201, StartedRun, 400, 404, 409, 413, 422, 503, description="Accepted and kept"),
                **answers_with(200, StartedRun, description="This key had started it before"),
                **answers_with(202, StartedRun, description="With `wait`: it has given no answer in time"),
            },
        )  # fmt: skip
        router.add(
            "/api/v1/flows/{flow_id}/runs", self.start_named, method="POST", needs="flow:execute", status_code=201,
            extra=with_key(body_of(RunFlow, required=False)), repeats=WITH_THE_RUN,
            responses={
                **answers_with(201, StartedRun, 400, 404, 409, 413, 422, 503, description="Accepted and kept"),
                **answers_with(200, StartedRun, description="This key had started it before"),
                **answers_with(202, StartedRun, description="With `wait`: it has given no answer in time"),
            },
        )  # fmt: skip
        add("", self.index, each=True, responses=answers_with(200, RunList, 400, 422))
        add("/{run_id}", self.show, responses=answers_with(200, RunView, 404, 409, 422, 500))
        add("/{run_id}/logs", self.logs, responses=answers_with(200, LogPage, 404, 422))
        add("/{run_id}/why", self.why, responses=answers_with(200, Why, 404))
        add(
            "/{run_id}/events", self.events,
            responses={
                200: {
                    "description": "`log`, `run` and one `end` event, or `refused`",
                    "content": {"text/event-stream": event_stream()},
                },
                204: {"description": "Everything has been sent"},
            },
        )  # fmt: skip
        told = answers_with(202, RunStateAnswer, 404, 409)
        bodies = (("cancel", self.cancel, Cancellation), ("pause", self.pause, Reason), ("undo", self.undo, Reason))
        for name, tell, body in bodies:
            add(
                f"/{{run_id}}/{name}", tell, method="POST", needs="run:update", status_code=202, responses=told,
                extra=body_of(body, required=False),
            )  # fmt: skip
        add("/{run_id}/undo", self.undo_preview, responses=answers_with(200, UndoView, 404, 500))
        add("/{run_id}/resume", self.resume, method="POST", needs="run:update", status_code=202, responses=told)
        return router

    async def start(self, request: Request, wait: Wait = None) -> Response:
        """Start a run. With an idempotency key (in the body or as a header) the same request starts it only once. With
        `wait`, the answer is the run's own (`respond`), its end if it gives none, or 202 if neither comes in time.
        """
        body = await read_model(request, StartRun)
        if (body.flow is None) == (body.flow_id is None):
            message = "send either `flow` (text or document) or `flow_id` (a flow of the workspace)"
            raise InvalidRequestError(message, [("flow", message)])
        key = idempotency_key(request.headers, body.idempotency_key)
        principal = principal_of(request)
        # A flow that is sent along may be any: for that the permission must be for all.
        refuse_unless(principal, "run:create", body.flow_id)

        async def version() -> Version:
            if body.flow is None:
                return await self._starter.named(
                    body.flow_id or "", principal.workspace, version=body.version, draft=body.draft
                )
            return await self._starter.sent(body.flow, principal.workspace, file=body.file)

        later = (body.start_at, body.start_in)
        started = await self._starter.start(
            version, body.inputs, workspace=principal.workspace, key=key,
            trigger={"kind": "manual" if principal.is_browser else "api"},
            request=["runs", body.flow, body.flow_id, body.file, body.inputs, *filter(None, later), *_chosen(body)],
            at=begins_at(*later, self._engine.now()), notes=checked_notes(body.labels, body.metadata),
        )  # fmt: skip
        return await self._answer(started, wait)

    async def start_named(self, flow_id: str, request: Request, wait: Wait = None) -> Response:
        """Run a flow of the workspace; as `POST /api/v1/runs` with its `flow_id`."""
        principal = principal_of(request)
        body = await read_model(request, RunFlow, optional=True)
        key = idempotency_key(request.headers, body.idempotency_key)

        async def version() -> Version:
            return await self._starter.named(flow_id, principal.workspace, version=body.version, draft=body.draft)

        started = await self._starter.start(
            version, body.inputs, workspace=principal.workspace, key=key,
            trigger={"kind": "manual" if principal.is_browser else "api"},
            request=["runs", None, flow_id, None, body.inputs, *_chosen(body)],
            notes=checked_notes(body.labels, body.metadata),
        )  # fmt: skip
        return await self._answer(started, wait)

    async def _answer(self, started: StartedRun, wait: float | None) -> Response:
        if wait is not None:
            return await response_of(self._streams, self._engine, started, wait, 200)
        status = 200 if started.repeated else 201
        return answer(started, status, {"location": f"/api/v1/runs/{started.run_id}"})

    async def index(
        self,
        request: Request,
        status: Annotated[list[str] | None, Query(description=f"Only these: {WORDS}.")] = None,
        flow: Annotated[str | None, Query(description="Only runs of this flow.", max_length=300)] = None,
        version: Annotated[str | None, Query(description="Only of this version of `flow`.", max_length=300)] = None,
        trigger: Annotated[
            str | None, Query(description="Only started by this: api, manual, …", max_length=100)
        ] = None,
        parent: Annotated[str | None, Query(description="Only started by steps of this run.", max_length=100)] = None,
        since: Annotated[str | None, Query(description="RFC 3339: accepted then or later.", max_length=60)] = None,
        until: Annotated[str | None, Query(description="RFC 3339: accepted before that.", max_length=60)] = None,
        q: Annotated[str | None, Query(description=_SEARCH, max_length=SEARCH_LENGTH_MAX)] = None,
        label: Annotated[list[str] | None, Query(description="`name:value`; repeated: with all of them.")] = None,
        sort: Annotated[Literal["created_at", "-created_at"], Query(description="`-`: newest first.")] = "-created_at",
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=100, pattern=CURSOR)] = None,
    ) -> Response:
        """Runs that fit all of the filters, newest first: of the flows that you may see. A page costs the same, however
        many there are.
        """
        principal = principal_of(request)
        where = run_filter(
            principal.workspace, among=seen_flows(principal, "run:read", flow), statuses=status or (), flow=flow,
            version=version, trigger=trigger, parent=parent, since=since, until=until, search=q,
            oldest_first=sort == "created_at", labels=label or (),
        )  # fmt: skip
        page = await self._engine.store.list_runs(where, limit=limit, cursor=cursor)
        now, ids = self._engine.now(), [record.run_id for record in page.runs]
        notes = await self._tables.ask(lambda sql: read_notes(sql, ids))
        items = [run_item(record, now, notes.get(record.run_id, NO_NOTES)) for record in page.runs]
        return answer(RunList(runs=items, next_cursor=page.cursor))

    async def show(
        self,
        run_id: str,
        at: Annotated[int | None, Query(ge=0, le=2**53, description="As of this event; left out: now.")] = None,
    ) -> Response:
        """A run with all its steps, and why each is as it is: now, or as of one of its events."""
        if at is None:
            return answer(await self._with_notes(await view_now(self._engine, run_id)))
        record = await self._engine.record(run_id)
        state, moment = await self._engine.second_chances.as_of(record, at)
        return answer(await self._with_notes(view_of(state, record, moment, as_of=True)))

    async def _with_notes(self, view: RunView) -> RunView:
        found = (await self._tables.ask(lambda sql: read_notes(sql, [view.id]))).get(view.id)
        if found is None:
            return view
        metadata = cast("dict[str, Any]", DEFAULT_MASKER.mask_json(found.metadata))
        return msgspec.structs.replace(view, labels=found.labels, metadata=metadata)

    async def logs(
        self,
        run_id: str,
        level: Annotated[Level, Query(description="This level and graver ones.")] = "debug",
        step: Annotated[str | None, Query(description="Only this step, with the steps within it.")] = None,
        limit: Annotated[int, Query(ge=1, le=LOG_LINES_MAX)] = 1_000,
    ) -> Response:
        """The run's log: its events in words and what its steps wrote."""
        lines = await logs_of(self._engine, await self._engine.record(run_id))
        found = [line for line in lines if least_level(line, level) and (step is None or within(line, step))]
        return answer(LogPage(lines=found[-limit:]))

    async def why(self, run_id: str, step: str | None = None) -> Response:
        """Why the run and its steps are as they are, in a sentence each, and what helps."""
        view = await view_now(self._engine, run_id)
        steps = [one for one in view.steps if step is None or step in (one.id, one.name)]
        if step is not None and not steps:
            raise NotFoundError(f"run {run_id} has no step {step!r}")
        return answer(
            Why(
                id=view.id, status=view.status, sentence=view.reason, code=view.reason_code, action=view.action,
                steps=[
                    StepWhy(id=one.id, status=one.status, sentence=one.reason, code=one.reason_code, action=one.action)
                    for one in steps
                ],
            )
        )  # fmt: skip

    async def events(
        self,
        run_id: str,
        request: Request,
        level: Annotated[Level, Query(description="Only log lines of this level and graver ones.")] = "debug",
        last_event_id: Annotated[str | None, Header()] = None,
        workspace: Annotated[str | None, Query(description=WORKSPACE, max_length=100)] = None,
    ) -> Response:
        """The run as it happens, by Server-Sent Events: `log` (a line), `run` (the run with its steps) and, when it is
        over, `end`. Send `Last-Event-ID` to go on after an event. Who may read no more is told so by `refused`, a
        problem document, as the last event.
        """
        del workspace  # the guard has chosen by it
        record = await self._engine.record(run_id)
        known = Position.parse(last_event_id)
        if known.is_end:
            return Response(status_code=204)
        self._streams.refuse_if_full()
        content = stream(self._streams, record, known, level, request)
        return StreamingResponse(content, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def cancel(self, run_id: str, request: Request) -> Response:
        """Cancel the run: what runs is told to stop; `finally` steps and compensations run, unless that is forced."""
        body = await read_model(request, Cancellation, optional=True)
        return await self._told(run_id, self._engine.cancel(run_id, body.reason, force=body.force))

    async def undo(self, run_id: str, request: Request) -> Response:
        """Undo a run that is over: the `compensate` steps of what it did run, the last one first."""
        body = await read_model(request, Reason, optional=True)
        return await self._told(run_id, self._engine.undo(run_id, body.reason))

    async def undo_preview(self, run_id: str) -> Response:
        """What undoing the run would do, and what it could not."""
        record = await self._engine.record(run_id)
        return answer(undo_view(undo_preview(await state_of(self._engine, record))))

    async def pause(self, run_id: str, request: Request) -> Response:
        """Begin nothing new until the run is resumed; attempts in flight end and are kept."""
        body = await read_model(request, Reason, optional=True)
        return await self._told(run_id, self._engine.pause(run_id, body.reason))

    async def resume(self, run_id: str) -> Response:
        """Go on with a paused run."""
        return await self._told(run_id, self._engine.resume(run_id))

    async def _told(self, run_id: str, telling: Awaitable[None]) -> Response:
        await telling
        record = await self._engine.record(run_id)
        return answer(RunStateAnswer(run_id=run_id, status=record.status), 202)


def _chosen(body: StartRun | RunFlow) -> list[str]:
    """What of the flow is to run, as far as a request says it."""
    return [*([f"version {body.version}"] if body.version else []), *(["draft"] if body.draft else [])]


async def state_of(engine: Engine, record: RunRecord) -> RunState:
    """The run's state as committed. Raises QuarantinedError for a run that is set aside."""
    try:
        state = await engine.state(record)
    except JournalCorruptError as error:
        raise QuarantinedError(str(error), run_id=record.run_id, last_valid_event=error.last_valid_seq) from error
    if record.status == RunStatus.QUARANTINED:
        message = f"run {record.run_id} is quarantined: {record.error or 'its journal does not fold'}"
        raise QuarantinedError(message, run_id=record.run_id, last_valid_event=state.seq - 1)
    return state


async def view_now(engine: Engine, run_id: str) -> RunView:
    """The run as it stands. Raises NotFoundError, QuarantinedError."""
    record = await engine.record(run_id)
    return view_of(await state_of(engine, record), record, engine.now())


async def logs_of(engine: Engine, record: RunRecord, state: RunState | None = None) -> list[LogLine]:
    """All lines of a run's log, up to 200,000 of its steps' own. Raises QuarantinedError."""
    state = state or await state_of(engine, record)
    rows = await engine.store.load_journal(record.key)
    logs: list[tuple[int, LogRow]] = []
    while len(logs) < LOG_LINES_READ_MAX:
        more = await engine.store.load_logs(record.key, after=logs[-1][0] if logs else 0)
        logs += more
        if not more:
            break
    # The journal may have grown since the state was read.
    return log_lines(state, [row for row in rows if row.seq < state.seq], logs)


def least_level(line: LogLine, level: Level) -> bool:
    """Whether a line is of this level or a graver one."""
    return _LEVELS.get(line.level, 1) >= _LEVELS[level]


def within(line: LogLine, step: str) -> bool:
    """Whether a line is of the step or of one within it."""
    return line.step is not None and (line.step == step or line.step.startswith((f"{step}.", f"{step}[")))
