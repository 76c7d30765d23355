"""Document A's providers and connections.

Connections are the workspace's own, kept encrypted. Webhooks of Make and Zapier are called by runs, so that each call
is kept and logged. A test asks the provider with the kept credentials. What needs a provider's adapter says that it
is missing (501).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.access.connections import Connection
from segue.access.credentials import Credentials
from segue.api.answers import CallbackTaken, answer
from segue.api.bodies import read_model
from segue.api.compat.bodies import ChooseConnection, ConnectProvider, ExecuteWebhook, ProviderCallback
from segue.api.compat.orchestrator_runs import ROOT
from segue.api.compat.records import RUN_WORDS, Executed, Provider, ProviderConnection, ProviderTest
from segue.api.documented import answers_with, body_of, errors_of, list_of
from segue.api.errors import NotAvailableError
from segue.api.live import Streams
from segue.api.noted_callbacks import NotedCallbacks
from segue.api.repeats import CHANGES_NOTHING, WITH_THE_RUN, idempotency_key, with_key
from segue.api.responses import WAIT_SECONDS_MAX, in_time
from segue.api.routing import Routes, principal_of, refuse_unless
from segue.api.starts import Starter
from segue.engine.host import Engine
from segue.engine.versions import Version
from segue.engine.views import rfc3339
from segue.errors import NotFoundError
from segue.observe.masking import DEFAULT_MASKER

PROVIDERS: Final = (
    Provider(
        id="n8n", name="n8n", status="INACTIVE", capabilities=["list", "preview", "execute", "poll"],
        credentials=["baseUrl", "apiKey"],
    ),
    Provider(
        id="make", name="Make", status="INACTIVE", capabilities=["list", "preview", "execute"],
        credentials=["apiKey", "baseUrl"],
    ),
    Provider(
        id="zapier", name="Zapier", status="INACTIVE", capabilities=["execute", "callback"], credentials=["apiKey"],
    ),
)  # fmt: skip
_BY_ID: Final = {provider.id: provider for provider in PROVIDERS}
PAGE: Final = 100
WAIT_SECONDS: Final = 30.0
"""How long a call of a webhook is waited for where the caller does not say."""

_WEBHOOK: Final[dict[str, Any]] = {
    "flow": "provider-webhook",
    "title": "A provider's webhook",
    "inputs": {"provider": {"type": "string"}, "url": {"type": "string"}, "data": {}},
    "steps": [{"send": {"http": {"method": "POST", "url": "$inputs.url", "json": "$inputs.data"}}}],
    "outputs": {"status": "$send.status", "body": "$send.body"},
}
Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the answer of the webhook.")]


class ProviderRoutes:
    """`/api/v1/orchestrator/providers/…` and `/connections`."""

    def __init__(self, engine: Engine, starter: Starter, credentials: Credentials, noted: NotedCallbacks) -> None:
        self._engine = engine
        self._noted = noted
        self._starter = starter
        self._credentials = credentials
        self._connections = credentials.connections

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["document A"])
        providers = f"{ROOT}/providers"
        router.add(providers, self.index, needs="connection:read", responses=list_of(Provider))
        for provider in ("make", "zapier"):
            router.add(
                f"{providers}/{provider}/execute", self.execute(provider), method="POST", needs="connection:execute",
                extra=with_key(body_of(ExecuteWebhook)), repeats=WITH_THE_RUN,
                responses={
                    **answers_with(200, Executed, 400, 409, 413, 415, 422, 503),
                    **answers_with(202, Executed, description="It has not answered yet"),
                },
            )  # fmt: skip
        router.add(
            f"{providers}/zapier/callback", self.callback, method="POST", needs="run:update",
            extra=body_of(ProviderCallback),
            responses=answers_with(200, CallbackTaken, 400, 403, 404, 409, 410, 413, 415, 422),
        )  # fmt: skip
        router.add(
            f"{providers}/{{provider}}/connect", self.connect, method="POST", needs="connection:create",
            status_code=201, extra=body_of(ConnectProvider),
            responses=answers_with(201, ProviderConnection, 400, 404, 409, 413, 415, 422, description="Kept"),
        )  # fmt: skip
        router.add(f"{ROOT}/connections", self.all, needs="connection:read", responses=list_of(ProviderConnection))
        gone: dict[int | str, Any] = {204: {"description": "Forgotten"}, **errors_of(404)}
        for path in (f"{ROOT}/connections/{{connection_id}}", f"{providers}/{{provider}}/disconnect/{{connection_id}}"):
            router.add(
                path, self.disconnect, method="DELETE", needs="connection:delete", status_code=204, responses=gone
            )
        chosen = body_of(ChooseConnection, required=False)
        tested = answers_with(200, ProviderTest, 400, 404, 413, 415, 422, 501)
        for method, test, further in (("GET", self.test, {}), ("POST", self.test_one, chosen)):
            router.add(
                f"{providers}/{{provider}}/test", test, method=method, needs="connection:execute", extra=further,
                responses=tested,
            )  # fmt: skip
        for method, path, needs, missing in LATER:
            router.add(
                f"{ROOT}{path}", _not_available(missing), method=method, needs=needs, status_code=501,
                responses=errors_of(404, 501), repeats=CHANGES_NOTHING,
            )  # fmt: skip
        return router

    async def index(self, request: Request) -> Response:
        """The outside systems that flows can speak to; ACTIVE with a connection whose last check was fine."""
        found = await self._of(principal_of(request).workspace)
        active = {one.adapter for one in found if one.status != "failing"}
        return answer(
            [msgspec.structs.replace(one, status="ACTIVE" if one.id in active else one.status) for one in PROVIDERS]
        )

    async def connect(self, provider: str, request: Request) -> Response:
        """Keep a provider's credentials, encrypted; they are never shown again."""
        _refuse_unknown(provider)
        body = await read_model(request, ConnectProvider)
        principal = principal_of(request)
        fields = {} if body.base_url is None else {"base_url": body.base_url}
        kept = await self._connections.create(
            principal.workspace, body.name or provider, provider, fields, {"api_key": body.api_key}, by=principal.name
        )
        return answer(_shown(kept), 201)

    async def test(
        self, provider: str, request: Request, connection: Annotated[str | None, Query(max_length=100)] = None
    ) -> Response:
        """Ask the provider with the kept credentials. `connection`: the id of one of several, else the newest."""
        return await self._tested(provider, connection, request)

    async def test_one(self, provider: str, request: Request) -> Response:
        """The same; `{connectionId}` says which of several connections is meant."""
        body = await read_model(request, ChooseConnection, optional=True)
        return await self._tested(provider, body.connection_id, request)

    async def _tested(self, provider: str, connection_id: str | None, request: Request) -> Response:
        _refuse_unknown(provider)
        workspace = principal_of(request).workspace
        kept = [one for one in await self._of(workspace) if one.adapter == provider]
        kept = [one for one in kept if connection_id in (None, one.id)]
        if not kept:
            raise NotFoundError(f"no such connection to {provider}; make one: POST {ROOT}/providers/{provider}/connect")
        found = max(kept, key=lambda one: (one.created_at, one.id))
        if not found.fields.get("base_url"):
            raise NotAvailableError(
                f"the connection {found.name!r} has no baseUrl, so there is nothing to ask; give it one, or try the"
                " webhook itself"
            )
        checked = await self._credentials.check(workspace, found.name)
        shown = _shown(checked)
        return answer(
            ProviderTest(
                connection_id=shown.id, provider=provider, name=shown.name, success=checked.status == "ok",
                status=shown.status, message=checked.check_message, last_sync=shown.last_sync,
            )
        )  # fmt: skip

    async def all(self, request: Request) -> Response:
        """The workspace's connections to providers, without credentials."""
        return answer([_shown(one) for one in await self._of(principal_of(request).workspace)])

    async def disconnect(self, connection_id: str, request: Request) -> Response:
        """Forget a connection and its credentials."""
        workspace, provider = principal_of(request).workspace, request.path_params.get("provider")
        found = next((one for one in await self._of(workspace) if one.id == connection_id), None)
        if found is None or provider not in (None, found.adapter):
            raise NotFoundError(f"no connection has the id {connection_id[:100]!r}")
        await self._connections.delete(workspace, found.name)
        return Response(status_code=204)

    async def _of(self, workspace: str) -> list[Connection]:
        found: list[Connection] = []
        while page := await self._connections.all(workspace, after=found[-1].name if found else "", limit=PAGE):
            found += page
        return [one for one in found if one.adapter in _BY_ID]

    def execute(self, provider: str) -> Any:
        """The operation that calls a webhook of a provider."""

        async def execute(request: Request, wait: Wait = WAIT_SECONDS) -> Response:
            """Call a webhook: `{webhookUrl, data}`. The call is a run of its own: `executionId` is its id."""
            body = await read_model(request, ExecuteWebhook)
            principal = principal_of(request)

            async def version() -> Version:
                return await self._starter.sent(_WEBHOOK, principal.workspace)

            started = await self._starter.start(
                version, {"provider": provider, "url": body.webhook_url, "data": body.data},
                workspace=principal.workspace, key=idempotency_key(request.headers, None),
                trigger={"kind": "api", "door": f"provider.{provider}"},
                request=["provider", provider, body.webhook_url, body.data],
            )  # fmt: skip
            return await self._executed(started.run_id, wait, request.app.state.streams)

        return execute

    async def _executed(self, run_id: str, wait: float, streams: Streams) -> Response:
        state = await in_time(streams, self._engine.wait(run_id), wait)
        if state is None:
            record = await self._engine.record(run_id)
            return answer(Executed(execution_id=run_id, status=RUN_WORDS.get(record.status, "FAILED")), 202)
        error = None
        if state.error is not None:
            error = {"category": state.error.category, "message": DEFAULT_MASKER.mask_text(state.error.message)}
        data: Any = DEFAULT_MASKER.mask_json(state.outputs)
        return answer(
            Executed(execution_id=run_id, status=RUN_WORDS.get(state.status.value, "FAILED"), data=data, error=error)
        )

    async def callback(self, request: Request) -> Response:
        """A zap's answer to a step that waits: `{token, data}`, with the token of the step's callback."""
        body = await read_model(request, ProviderCallback)
        _, record = await self._engine.find_callback(body.token)
        if record.workspace != principal_of(request).workspace:
            raise NotFoundError("no callback has this token")
        refuse_unless(principal_of(request), "run:update", record.flow_id)
        run_id = await self._noted.give(
            body.token, body.data, sender=principal_of(request).name, raw=await request.body(), headers=request.headers
        )
        return answer(CallbackTaken(run_id=run_id))


LATER: Final = (
    ("GET", "/providers/{provider}/workflows", "connection:read", "the provider's adapter"),
    ("GET", "/providers/{provider}/workflows/{workflow_id}/preview", "connection:read", "the provider's adapter"),
    ("POST", "/providers/n8n/workflows/{workflow_id}/execute", "connection:execute", "the provider's adapter"),
    ("GET", "/providers/make/scenarios", "connection:read", "the provider's adapter"),
    ("GET", "/providers/make/scenarios/{scenario_id}/metadata", "connection:read", "the provider's adapter"),
)
"""Method, path, permission and what this server has not got for it."""


def _refuse_unknown(provider: str | None) -> None:
    if provider is not None and provider not in _BY_ID:
        raise NotFoundError(f"no provider is called {provider[:100]!r}; there are {', '.join(_BY_ID)}")


def _shown(of: Connection) -> ProviderConnection:
    return ProviderConnection(
        id=of.id, provider=of.adapter, name=of.name, status="INACTIVE" if of.status == "failing" else "ACTIVE",
        workspace_id=of.workspace, last_sync=rfc3339(of.checked_at), created_date=rfc3339(of.created_at) or "",
        updated_date=rfc3339(of.updated_at) or "",
    )  # fmt: skip


def _not_available(missing: str) -> Any:
    async def not_available(request: Request) -> Response:
        """Not part of this server yet: the answer says what is missing (501)."""
        _refuse_unknown(request.path_params.get("provider"))
        raise NotAvailableError(
            f"this server has not got {missing} yet, which alone can read the provider's lists; test the connection,"
            " call the provider's webhook, or use an http step with the connection"
        )

    return not_available
