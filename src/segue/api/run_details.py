"""More of runs than their own page: a step's data, the journal, sub-flows, two side by side, many at once."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import BulkAnswer, JournalPage, RunList, answer, run_item
from segue.api.bodies import CURSOR, BulkRuns, read_model
from segue.api.documented import answers_with, body_of
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.api.run_filters import run_filter
from segue.api.runs import LIST_MAX, state_of
from segue.engine import bulk
from segue.engine.host import Engine
from segue.engine.journal_view import journal_events
from segue.engine.run_compare import RunComparison, compare
from segue.engine.second_chances import Asked
from segue.engine.step_data import StepData, step_data
from segue.engine.views import view_of
from segue.errors import NotFoundError
from segue.store.port import RunFilter

EVENTS_MAX: Final = 1_000

Cursor = Annotated[str | None, Query(max_length=100, pattern=CURSOR)]


class RunDetailRoutes:
    """`/api/v1/runs/{id}/…` and `/api/v1/runs/bulk`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/runs", tags=["runs"])
        add = router.add
        add(
            "/bulk", self.bulk, method="POST", needs="run:update", each=True, extra=body_of(BulkRuns),
            responses=answers_with(200, BulkAnswer, 400, 413, 422, 503),
        )  # fmt: skip
        add("/{run_id}/children", self.children, needs="run:read", responses=answers_with(200, RunList, 400, 404, 422))
        add(
            "/{run_id}/journal", self.journal, needs="run:read", responses=answers_with(200, JournalPage, 404, 422, 500)
        )
        add("/{run_id}/steps/{address}", self.step, needs="run:read", responses=answers_with(200, StepData, 404, 500))
        add(
            "/{run_id}/compare/{other_id}", self.compare, needs="run:read",
            responses=answers_with(200, RunComparison, 404, 500),
        )  # fmt: skip
        return router

    async def step(self, run_id: str, address: str) -> Response:
        """One instance of a step: what came to it, what it was called with, what it gave. Secrets are masked."""
        record = await self._engine.record(run_id)
        return answer(step_data(await state_of(self._engine, record), address, self._engine.now()))

    async def journal(
        self,
        run_id: str,
        after: Annotated[int, Query(ge=-1, le=2**53, description="Only events after this number.")] = -1,
        limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = 200,
    ) -> Response:
        """The run's events in their order, with their data masked. `next_after` continues (null: the end)."""
        engine = self._engine
        record = await engine.record(run_id)
        rows = await engine.store.load_journal(record.key, after_seq=after, limit=limit + 1)
        # After the rows, so that it is past them.
        state = await state_of(engine, record)
        events = journal_events(state, rows[:limit])
        return answer(JournalPage(events=events, next_after=events[-1].seq if len(rows) > limit else None))

    async def children(
        self, run_id: str, request: Request, limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50, cursor: Cursor = None
    ) -> Response:
        """The runs of sub-flows that steps of this run have started, newest first: of the flows that you may see."""
        engine = self._engine
        record = await engine.record(run_id)
        where = RunFilter(
            workspace=record.workspace, parent_run_id=run_id, among=seen_flows(principal_of(request), "run:read")
        )
        page = await engine.store.list_runs(where, limit=limit, cursor=cursor)
        now = engine.now()
        return answer(RunList(runs=[run_item(one, now) for one in page.runs], next_cursor=page.cursor))

    async def compare(self, run_id: str, other_id: str, request: Request) -> Response:
        """Two runs side by side: the first step that differs, every field that does, and how long each took."""
        engine = self._engine
        ours, theirs = await engine.record(run_id), await engine.record(other_id)
        if theirs.workspace != principal_of(request).workspace:
            raise NotFoundError(f"no run has the id {other_id!r}")
        refuse_unless(principal_of(request), "run:read", theirs.flow_id)
        now = engine.now()
        a = view_of(await state_of(engine, ours), ours, now)
        b = view_of(await state_of(engine, theirs), theirs, now)
        return answer(compare(a, b, same_version=ours.flow_version == theirs.flow_version))

    async def bulk(self, request: Request) -> Response:
        """Cancel, retry, pause or resume all runs of a filter, so many a call; with `dry_run` they are only counted.
        Send `next_cursor` as `cursor` for the next ones. Safe to repeat.
        """
        body = await read_model(request, BulkRuns)
        principal, given = principal_of(request), body.where
        where = run_filter(
            principal.workspace, statuses=given.status, flow=given.flow, version=given.version, trigger=given.trigger,
            parent=given.parent, since=given.since, until=given.until, search=given.q,
            among=seen_flows(principal, "run:update", given.flow), labels=given.label,
        )  # fmt: skip
        if body.dry_run:
            number, more = await bulk.count(self._engine, body.action, where)
            return answer(BulkAnswer(action=body.action, dry_run=True, count=number, more=more))
        asked = Asked(by=principal.name, reason=body.reason)
        done = await bulk.tell_all(self._engine, body.action, where, asked, limit=body.limit, cursor=body.cursor)
        return answer(
            BulkAnswer(
                action=body.action, dry_run=False, count=len(done.outcomes), more=done.cursor is not None,
                outcomes=done.outcomes, next_cursor=done.cursor,
            )
        )  # fmt: skip
