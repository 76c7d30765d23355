"""Schedules: the triggers of the kind `cron`, those that flows declare and those that are made here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import StartedRun, answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.api.trigger_answers import (
    ChangeSchedule,
    CreateSchedule,
    FireList,
    FireView,
    NextTimes,
    ScheduleList,
    ScheduleView,
)
from segue.api.triggers import LIMIT, Cursor, FlowId, Limit, checked_trigger, require_flow
from segue.engine.views import rfc3339
from segue.errors import NotFoundError, RequestError
from segue.flow.model import RawMap
from segue.observe.masking import DEFAULT_MASKER
from segue.triggers.records import TriggerRow
from segue.triggers.service import Triggers
from segue.triggers.times import next_after, read_rule, times_after

NEXT: Final = 5
NEXT_MAX: Final = 100
FIRES_MAX: Final = 500
_SETTINGS: Final = (
    "cron", "every", "at", "timezone", "inputs", "catch_up", "overlap", "jitter", "from_", "until",
)  # fmt: skip
Count = Annotated[int, Query(ge=1, le=NEXT_MAX, description="How many.")]
FireCount = Annotated[int, Query(ge=1, le=FIRES_MAX, description="How many at most.")]


class ScheduleRoutes:
    """`/api/v1/schedules`."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["schedules"])
        add = router.add
        one, bad = "/schedules/{schedule_id}", (400, 404, 413, 415, 422)
        add("/schedules", self.index, needs="flow:read", each=True, responses=answers_with(200, ScheduleList, 422))
        add(
            "/schedules", self.create, method="POST", needs="flow:update", each=True, status_code=201,
            extra=body_of(CreateSchedule), responses=answers_with(201, ScheduleView, 409, *bad, description="Created"),
        )  # fmt: skip
        add(one, self.show, needs="flow:read", each=True, responses=answers_with(200, ScheduleView, 404))
        add(
            one, self.change, method="PATCH", needs="flow:update", each=True, extra=body_of(ChangeSchedule),
            responses=answers_with(200, ScheduleView, *bad),
        )  # fmt: skip
        add(
            one, self.delete, method="DELETE", needs="flow:update", each=True, status_code=204,
            responses=answers_with(404, ScheduleView, 404, 409) | {204: {"description": "Deleted"}},
        )  # fmt: skip
        add(
            one + "/next",
            self.coming,
            needs="flow:read",
            each=True,
            responses=answers_with(200, NextTimes, 400, 404, 422),
        )
        add(one + "/fires", self.fires, needs="flow:read", each=True, responses=answers_with(200, FireList, 404, 422))
        add(
            one + "/run", self.run, method="POST", needs="run:create", each=True, status_code=201,
            responses=answers_with(201, StartedRun, 400, 404, 409, 422, 429, 503, description="Started"),
        )  # fmt: skip
        return router

    async def index(
        self, request: Request, flow: FlowId = None, limit: Limit = LIMIT, cursor: Cursor = None
    ) -> Response:
        """The schedules of the flows that you may see, newest first."""
        principal = principal_of(request)
        rows = self._triggers.registry.page(
            principal.workspace, flow_id=flow, kind="cron", after=cursor, limit=limit + 1,
            among=seen_flows(principal, "flow:read", flow),
        )  # fmt: skip
        views = [self._view(await self._triggers.registry.refresh(row.id) or row) for row in rows[:limit]]
        return answer(ScheduleList(schedules=views, next_cursor=views[-1].id if len(rows) > limit else None))

    async def create(self, request: Request) -> Response:
        """Make a schedule beside those that the flow declares."""
        body = await read_model(request, CreateSchedule)
        refuse_unless(principal_of(request), "flow:update", body.flow)
        workspace = principal_of(request).workspace
        given: RawMap = {name.strip("_"): value for name in _SETTINGS if (value := getattr(body, name)) is not None}
        if not given.keys() & {"cron", "every", "at"}:
            raise RequestError("a schedule says either `cron`, `every` or `at`")
        settings = checked_trigger("cron", given, body.when).settings
        now = self._triggers.engine.now()
        if next_after(read_rule(settings, now), now) is None:
            raise RequestError("the schedule would never be due: its time has passed, or `until` comes before it")
        await require_flow(self._triggers, workspace, body.flow)
        row = await self._triggers.registry.create(
            workspace, body.flow, "cron", settings, name=body.name, condition=body.when
        )
        return answer(self._view(row), 201)

    async def show(self, schedule_id: str, request: Request) -> Response:
        """One schedule."""
        row = self._row(schedule_id, request)
        return answer(self._view(await self._triggers.registry.refresh(row.id) or row))

    async def change(self, schedule_id: str, request: Request) -> Response:
        """Pause it, or let it go on. What was due during the pause is not made up for."""
        body = await read_model(request, ChangeSchedule)
        row = self._row(schedule_id, request)
        return answer(self._view(await self._triggers.registry.change(row, enabled=not body.paused)))

    async def delete(self, schedule_id: str, request: Request) -> Response:
        """Delete one that no flow declares."""
        await self._triggers.registry.delete(self._row(schedule_id, request))
        return Response(status_code=204)

    async def coming(self, schedule_id: str, request: Request, count: Count = NEXT) -> Response:
        """The next times, whether or not it is paused."""
        row = self._row(schedule_id, request)
        rule = read_rule(row.settings, row.created_at)
        found = [at for at, _ in zip(times_after(rule, self._triggers.engine.now()), range(count), strict=False)]
        local = [datetime.fromtimestamp(at / 1000, rule.zone).isoformat(timespec="seconds") for at in found]
        return answer(NextTimes(times=local, utc=[_utc(at) for at in found]))

    async def fires(self, schedule_id: str, request: Request, limit: FireCount = LIMIT) -> Response:
        """What became of the last due times."""
        row = self._row(schedule_id, request)
        found = await self._triggers.scheduler.fires(row, limit)
        return answer(
            FireList(
                fires=[
                    FireView(
                        due=_utc(one.due), at=_utc(one.at), outcome=one.outcome, run_id=one.run_id,
                        error=None if one.error is None else DEFAULT_MASKER.mask_text(one.error),
                    )
                    for one in found
                ]
            )
        )  # fmt: skip

    async def run(self, schedule_id: str, request: Request) -> Response:
        """Start a run now, beside those by the clock."""
        run_id = await self._triggers.scheduler.run_now(self._row(schedule_id, request))
        record = await self._triggers.engine.record(run_id)
        return answer(StartedRun(run_id=run_id, status=record.status), 201)

    def _row(self, id: str, request: Request) -> TriggerRow:
        principal = principal_of(request)
        row = self._triggers.registry.get(id, principal.workspace)
        if row.kind != "cron":
            raise NotFoundError(f"no schedule has the id {id!r}")
        changes = "run:create" if request.url.path.endswith("/run") else "flow:update"
        refuse_unless(principal, "flow:read" if request.method == "GET" else changes, row.flow_id)
        return row

    def _view(self, row: TriggerRow) -> ScheduleView:
        try:
            rule = read_rule(row.settings, row.created_at)
            says, due = rule.says, next(iter(times_after(rule, self._triggers.engine.now())), None)
        except RequestError as error:
            says, due = error.message, None
        due = (self._triggers.scheduler.next_at(row.id) or due) if row.is_live else None
        return ScheduleView(
            id=row.id, flow=row.flow_id, name=row.name, origin=row.origin, paused=not row.enabled,
            declared=row.declared, settings=row.settings, says=says, next_at=None if due is None else _utc(due),
            fired_at=rfc3339(row.fired_at), last_run_id=row.last_run_id,
            last_error=None if row.last_error is None else DEFAULT_MASKER.mask_text(row.last_error),
        )  # fmt: skip


def _utc(at: int) -> str:
    return rfc3339(at) or ""
