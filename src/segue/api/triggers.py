"""Triggers of a workspace's flows, and what came to its webhooks."""

from __future__ import annotations

from typing import Annotated, Final, cast

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import StartedRun, answer
from segue.api.bodies import read_content, read_model
from segue.api.documented import answers_with, body_of
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.api.trigger_answers import (
    ChangeTrigger,
    CreateTrigger,
    DeliveryList,
    DeliveryView,
    FireTrigger,
    NewSecret,
    PutSecret,
    StartCapture,
    TriggerCreated,
    TriggerList,
    TriggerView,
    WebhookTaken,
    delivery_item,
    delivery_view,
    trigger_view,
)
from segue.engine.views import rfc3339
from segue.errors import InvalidFlowError, NotFoundError, RequestError
from segue.flow.forms.triggers import problems_of_settings
from segue.flow.model import RawMap, Trigger
from segue.flow.starting import refuse_uncomputable
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.triggers.deliveries import Verdict
from segue.triggers.errors import FlowUnusableError
from segue.triggers.records import Kind, TriggerRow
from segue.triggers.secrets import OVERLAP_MS
from segue.triggers.service import Triggers
from segue.triggers.webhook_settings import read_webhook_settings

LIMIT: Final = 50
LIMIT_MAX: Final = 500
CREATED: Final = ("webhook", "event", "flow")
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=100, description="Where the page before ended.")]
FlowId = Annotated[str | None, Query(max_length=300, description="Only of this flow.")]
KindQuery = Annotated[Kind | None, Query(description="webhook, cron, event, flow or manual.")]
TriggerId = Annotated[str | None, Query(max_length=100, description="Only of this trigger.")]
VerdictQuery = Annotated[Verdict | None, Query(description="accepted, ignored, refused, captured, replayed.")]


class TriggerRoutes:
    """`/api/v1/triggers` and `/api/v1/deliveries`."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["triggers"])
        add = router.add
        one, bad = "/triggers/{trigger_id}", (400, 404, 413, 415, 422)
        add("/triggers", self.index, needs="flow:read", each=True, responses=answers_with(200, TriggerList, 422))
        add(
            "/triggers", self.create, method="POST", needs="flow:update", each=True, status_code=201,
            extra=body_of(CreateTrigger), responses=answers_with(201, TriggerCreated, 409, *bad, description="Created"),
        )  # fmt: skip
        add(one, self.show, needs="flow:read", each=True, responses=answers_with(200, TriggerView, 404))
        add(
            one, self.change, method="PATCH", needs="flow:update", each=True, extra=body_of(ChangeTrigger),
            responses=answers_with(200, TriggerView, *bad),
        )  # fmt: skip
        add(
            one, self.delete, method="DELETE", needs="flow:update", each=True, status_code=204,
            responses=answers_with(404, TriggerView, 404, 409) | {204: {"description": "Deleted"}},
        )  # fmt: skip
        add(
            one + "/secrets", self.put_secret, method="POST", needs="flow:update", each=True, status_code=201,
            extra=body_of(PutSecret, required=False), responses=answers_with(201, NewSecret, *bad, description="Kept"),
        )  # fmt: skip
        add(
            one + "/address", self.new_address, method="POST", needs="flow:update", each=True,
            responses=answers_with(200, TriggerView, 400, 404),
        )  # fmt: skip
        add(
            one + "/capture", self.capture, method="POST", needs="flow:update", each=True,
            extra=body_of(StartCapture, required=False), responses=answers_with(200, TriggerView, *bad),
        )  # fmt: skip
        add(
            one + "/fire", self.fire, method="POST", needs="run:create", each=True, status_code=201,
            extra=body_of(FireTrigger, required=False),
            responses=answers_with(201, StartedRun, 409, 429, 503, *bad, description="Started"),
        )  # fmt: skip
        add(
            "/deliveries",
            self.deliveries,
            needs="flow:read",
            each=True,
            responses=answers_with(200, DeliveryList, 404, 422),
        )
        add(
            "/deliveries/{delivery_id}",
            self.delivery,
            needs="run:read",
            each=True,
            responses=answers_with(200, DeliveryView, 404),
        )
        add(
            "/deliveries/{delivery_id}/replay", self.replay, method="POST", needs="run:create", each=True,
            status_code=201,
            responses=answers_with(201, WebhookTaken, 400, 404, 409, 422, 429, 503, description="Started"),
        )  # fmt: skip
        return router

    # ------------------------------------------------------------ triggers

    async def index(
        self, request: Request, flow: FlowId = None, kind: KindQuery = None, limit: Limit = LIMIT, cursor: Cursor = None
    ) -> Response:
        """What starts runs, newest first: of the flows that you may see."""
        principal = principal_of(request)
        rows = self._triggers.registry.page(
            principal.workspace, flow_id=flow, kind=kind, after=cursor, limit=limit + 1,
            among=seen_flows(principal, "flow:read", flow),
        )  # fmt: skip
        fresh = [await self._triggers.registry.refresh(row.id) or row for row in rows[:limit]]
        more = len(rows) > limit
        return answer(
            TriggerList(
                triggers=[self._view(row, request) for row in fresh], next_cursor=fresh[-1].id if more else None
            )
        )

    async def create(self, request: Request) -> Response:
        """Make a trigger beside those that the flow declares. A webhook's generated secret is shown in this answer and
        never again.
        """
        body = await read_model(request, CreateTrigger)
        refuse_unless(principal_of(request), "flow:update", body.flow)
        workspace = principal_of(request).workspace
        if body.kind not in CREATED:
            raise RequestError(f"a trigger made here is of the kind {', '.join(CREATED)}; for times make a schedule")
        if body.kind != "webhook" and not str(body.settings.get(body.kind, "")).strip():
            raise RequestError(f"settings.{body.kind} is missing: which {body.kind} is waited for")
        trigger = checked_trigger(body.kind, body.settings, body.when)
        settings = trigger.settings
        auth = read_webhook_settings(settings).auth if body.kind == "webhook" else None
        if auth is not None and auth.needs_secret and auth.generates is None and body.secret is None:
            raise RequestError(f"a {auth.kind} secret or key is made by the sender: send it as `secret`")
        await require_flow(self._triggers, workspace, body.flow)
        row = await self._triggers.registry.create(
            workspace, body.flow, cast("Kind", body.kind), settings, name=body.name, condition=trigger.when
        )
        secret = None
        if auth is not None and auth.needs_secret:
            made = await self._triggers.secrets.put(row, body.secret, auth)
            secret = made if body.secret is None else None
        return answer(TriggerCreated(trigger=self._view(row, request), secret=secret), 201)

    async def show(self, trigger_id: str, request: Request) -> Response:
        """One trigger, with the webhook's address for those who may change the flow."""
        row = await self._fresh(trigger_id, request)
        return answer(self._view(row, request))

    async def change(self, trigger_id: str, request: Request) -> Response:
        """Switch it on or off."""
        body = await read_model(request, ChangeTrigger)
        row = self._row(trigger_id, request)
        return answer(self._view(await self._triggers.registry.change(row, enabled=body.enabled), request))

    async def delete(self, trigger_id: str, request: Request) -> Response:
        """Delete one that no flow declares; its deliveries stay."""
        await self._triggers.registry.delete(self._row(trigger_id, request))
        return Response(status_code=204)

    async def put_secret(self, trigger_id: str, request: Request) -> Response:
        """Give a webhook a new secret, or have one generated. Older ones count for a while, so that the sender can be
        changed in between.
        """
        body = await read_model(request, PutSecret, optional=True)
        row = self._webhook(trigger_id, request)
        auth = read_webhook_settings(row.settings).auth
        if not auth.needs_secret:
            raise RequestError("this webhook keeps no secret of its own: its settings say where it stands, if anywhere")
        overlap = OVERLAP_MS if body.overlap is None else _milliseconds(body.overlap)
        made = await self._triggers.secrets.put(row, body.secret, auth, overlap_ms=overlap)
        until = rfc3339(self._triggers.engine.now() + overlap) or ""
        return answer(NewSecret(secret=made if body.secret is None else None, others_retire_at=until), 201)

    async def new_address(self, trigger_id: str, request: Request) -> Response:
        """Give a webhook another address; the old one ends at once."""
        row = self._webhook(trigger_id, request)
        changed = await self._triggers.registry.change(row, generation=row.generation + 1)
        return answer(self._view(changed, request))

    async def fire(self, trigger_id: str, request: Request) -> Response:
        """Start a run as if the trigger had: to try a flow, or to make up for what never came. A condition that does
        not hold is a conflict. It may rest.
        """
        body = await read_model(request, FireTrigger, optional=True)
        row = self._row(trigger_id, request, "run:create")
        run_id = await self._triggers.fire(row, body.data, dict(body.headers))
        record = await self._triggers.engine.record(run_id)
        return answer(StartedRun(run_id=run_id, status=record.status), 201)

    async def capture(self, trigger_id: str, request: Request) -> Response:
        """Have the next deliveries kept without starting runs, to look at while a flow is built."""
        body = await read_model(request, StartCapture, optional=True)
        row = self._webhook(trigger_id, request)
        return answer(self._view(await self._triggers.registry.change(row, capture=body.count), request))

    # ------------------------------------------------------------ deliveries

    async def deliveries(
        self,
        request: Request,
        trigger: TriggerId = None,
        verdict: VerdictQuery = None,
        limit: Limit = LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """What came to webhooks of the flows that you may see, newest first: the refused ones too, with the reason."""
        principal = principal_of(request)
        workspace, among = principal.workspace, seen_flows(principal, "flow:read")
        if trigger is not None:
            among = seen_flows(principal, "flow:read", self._triggers.registry.get(trigger, workspace).flow_id)
        found = await self._triggers.deliveries.page(
            workspace, trigger_id=trigger, verdict=verdict, before=cursor, limit=limit + 1, among=among
        )
        items = [delivery_item(one) for one in found[:limit]]
        return answer(DeliveryList(deliveries=items, next_cursor=items[-1].id if len(found) > limit else None))

    async def delivery(self, delivery_id: str, request: Request) -> Response:
        """One delivery, as it came but without what proves the sender."""
        principal = principal_of(request)
        found = await self._triggers.deliveries.one(principal.workspace, delivery_id)
        refuse_unless(principal, "run:read", found.flow_id)
        return answer(delivery_view(found))

    async def replay(self, delivery_id: str, request: Request) -> Response:
        """Start a new run with what came then. The new delivery names the old one."""
        principal = principal_of(request)
        found = await self._triggers.deliveries.one(principal.workspace, delivery_id)
        refuse_unless(principal, "run:create", found.flow_id)
        taken = await self._triggers.intake.replay(principal.workspace, delivery_id, read_content)
        return answer(WebhookTaken(delivery_id=taken.delivery_id, run_id=taken.run_id), 201)

    # ------------------------------------------------------------ helpers

    def _row(self, id: str, request: Request, needs: str | None = None) -> TriggerRow:
        principal = principal_of(request)
        row = self._triggers.registry.get(id, principal.workspace)
        refuse_unless(principal, needs or ("flow:read" if request.method == "GET" else "flow:update"), row.flow_id)
        return row

    async def _fresh(self, id: str, request: Request) -> TriggerRow:
        row = await self._triggers.registry.refresh(self._row(id, request).id)
        if row is None:
            raise NotFoundError(f"no trigger has the id {id!r}")
        return row

    def _webhook(self, id: str, request: Request) -> TriggerRow:
        row = self._row(id, request)
        if row.kind != "webhook":
            raise RequestError(f"the trigger {id} is no webhook")
        return row

    def _view(self, row: TriggerRow, request: Request) -> TriggerView:
        if row.kind != "webhook":
            return trigger_view(row, auth=None, address=None)
        principal = principal_of(request)
        address = None
        if principal.may("flow:update", row.flow_id):
            address = self._triggers.address_of(row, str(request.base_url))
        try:
            auth = read_webhook_settings(row.settings).auth.kind
        except RequestError:
            auth = None
        return trigger_view(row, auth=auth, address=address)


def checked_trigger(kind: str, settings: RawMap, when: str | None) -> Trigger:
    """The trigger as a flow would have it. Raises InvalidFlowError with everything that is wrong."""
    trigger, problems = problems_of_settings(kind, settings if when is None else {**settings, "when": when})
    if problems or trigger is None:
        first = problems[0].message if problems else "this is no trigger"
        raise InvalidFlowError(f"the trigger's settings do not fit: {first}", problems)
    refuse_uncomputable(trigger)
    return trigger


async def require_flow(triggers: Triggers, workspace: str, flow_id: str) -> None:
    """Raises NotFoundError unless the workspace has a flow of this id that can run."""
    try:
        await triggers.starter.version(workspace, flow_id)
    except FlowUnusableError as error:
        raise NotFoundError(error.message) from error


def _milliseconds(text: str) -> int:
    try:
        return milliseconds_of(text)
    except InvalidDuration as error:
        raise RequestError(f"overlap: {error}") from error
