"""The HTTP application of one host: all routes, behind the guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import segue
from segue.access.accounts import Accounts
from segue.access.identities import Identities
from segue.access.kept_answers import KeptAnswers
from segue.access.limits import Rate
from segue.api.access import Access
from segue.api.callback_desk import CallbackDeskRoutes
from segue.api.callbacks import CallbackRoutes
from segue.api.compat.contract import EngineContract
from segue.api.compat.gateway import GatewayRoutes
from segue.api.compat.orchestrator import OrchestratorRoutes
from segue.api.compat.orchestrator_runs import OrchestratorRunRoutes
from segue.api.compat.providers import ProviderRoutes
from segue.api.credentials import CredentialRoutes
from segue.api.documented import document
from segue.api.errors import InvalidRequestError, on_error
from segue.api.flow_routes import flow_routes
from segue.api.gate import Gate
from segue.api.guard import BODY_BYTES_MAX, HOOK_PREFIX, Guard
from segue.api.health import HealthRoutes
from segue.api.hooks import HookRoutes
from segue.api.hot import Hot, HotPrefix, HotRoutes
from segue.api.identities import IdentityRoutes
from segue.api.live import Streams
from segue.api.live_runs import LiveRuns
from segue.api.noted_callbacks import NotedCallbacks
from segue.api.oidc import OidcRoutes, SignInProvider
from segue.api.page import PageRoutes
from segue.api.repeats import Once
from segue.api.run_details import RunDetailRoutes
from segue.api.runs import RunRoutes
from segue.api.schedules import ScheduleRoutes
from segue.api.second_chances import SecondChanceRoutes
from segue.api.services import Services
from segue.api.signals import SignalRoutes
from segue.api.sockets import SocketRoutes
from segue.api.standing import Standings
from segue.api.starts import Starter
from segue.api.triggers import TriggerRoutes
from segue.api.workspaces import WorkspaceRoutes
from segue.engine.callback_history import CallbackHistory
from segue.engine.host import Engine
from segue.errors import SegueError
from segue.flows.shelf import Shelf

NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's own, of which it asks at each request whether somebody configured it: 3 % of a start."""


def create_app(
    services: Services,
    access: Access,
    *,
    body_bytes_max: int = BODY_BYTES_MAX,
    provider: Callable[[Accounts], SignInProvider] | None = None,
    identity_rate: Rate | None = None,
    address_rate: Rate | None = None,
) -> FastAPI:
    """The application over a host that its caller opens and closes.

    Serve it without the web server's own access log: that one writes whole addresses, tokens included, and this
    application writes its own. When the server is told to stop, call `stop_streams` so that it need not wait for
    readers of live events. `provider` makes the OpenID provider that vouches for people and programs. The
    rates: how often one identity, and one address without an identity, may ask; None: `segue.api.gate` says.
    """
    app = FastAPI(
        title="Segue", version=segue.__version__, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False, telemetry=NO_TELEMETRY,
    )  # fmt: skip
    engine, library = services.engine, services.library
    starter = Starter(engine, services.flows, services.stored, library)
    shelf = Shelf(services.flows, library)
    history = CallbackHistory(services.tables, engine.versions, engine.now)
    noted = NotedCallbacks(engine, history)
    app.state.engine = engine
    identities = Identities(services.tables, engine.now)
    app.state.identities = identities
    app.state.once = Once(KeptAnswers(services.tables, services.vault, engine.now))
    identities.on_change(services.triggers.workspaces_changed)
    vouching = None if provider is None else provider(identities.accounts)
    gate = Gate(access, identities, provider=vouching, identity_rate=identity_rate, address_rate=address_rate)
    streams = app.state.streams = Streams(engine, Standings(gate, identities))
    hooks = HookRoutes(services.triggers)
    runs = RunRoutes(engine, starter, streams, services.tables)
    gateway = GatewayRoutes(EngineContract(engine, starter), starter, services.engine_elsewhere)
    for routes in (
        runs,
        RunDetailRoutes(engine),
        SecondChanceRoutes(engine, starter),
        *flow_routes(shelf, services),
        SocketRoutes(engine, streams, LiveRuns(engine, streams, services.tables)),
        CallbackRoutes(engine, noted),
        hooks,
        TriggerRoutes(services.triggers),
        ScheduleRoutes(services.triggers),
        CredentialRoutes(services.credentials),
        CallbackDeskRoutes(engine, history, noted),
        SignalRoutes(engine, noted),
        ProviderRoutes(engine, starter, services.credentials, noted),
        OrchestratorRunRoutes(engine, starter, services.tables),
        OrchestratorRoutes(shelf),
        gateway,
        HealthRoutes(services.health),
        IdentityRoutes(access, identities, engine.now, None if vouching is None else vouching.name),
        OidcRoutes(access, identities, vouching),
        WorkspaceRoutes(access, identities),
        PageRoutes(gate, identities),
    ):
        app.include_router(routes.router())

    hot = {
        ("POST", "/api/v1/runs"): Hot(runs.start, "run:create", each=True),
        ("POST", "/v1/runs"): Hot(gateway.start, "run:create"),
    }
    app.add_middleware(HotRoutes, routes=hot, public=HotPrefix(HOOK_PREFIX, hooks.hot))
    return _finished(app, engine, gate, body_bytes_max, hooks.bytes_at)


def create_engine_app(services: Services, access: Access, *, body_bytes_max: int = BODY_BYTES_MAX) -> FastAPI:
    """Document B's engine alone: `POST /v1/execute`, `GET /v1/runs/{id}`, health."""
    app = FastAPI(
        title="Segue engine", version=segue.__version__, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False, telemetry=NO_TELEMETRY,
    )  # fmt: skip
    engine = services.engine
    starter = Starter(engine, services.flows, services.stored, services.library)
    identities = Identities(services.tables, engine.now)
    gate, contract = Gate(access, identities), EngineContract(engine, starter)
    app.state.engine, app.state.identities = engine, identities
    app.state.streams = Streams(engine, Standings(gate, identities))
    app.state.gate, app.state.contract = gate, contract
    app.include_router(GatewayRoutes(contract, starter).router(engine_only=True))
    app.include_router(HealthRoutes(services.health).router())
    return _finished(app, engine, gate, body_bytes_max)


def _finished(
    app: FastAPI,
    engine: Engine,
    gate: Gate,
    body_bytes_max: int,
    hook_bytes: Callable[[str], int] = lambda _: BODY_BYTES_MAX,
) -> FastAPI:
    async def openapi() -> dict[str, Any]:
        return document(app)

    app.add_api_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    for error in (SegueError, HTTPException, TimeoutError):
        app.add_exception_handler(error, on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_query)
    app.add_middleware(
        Guard, gate=gate, closing=lambda: engine.closing, body_bytes_max=body_bytes_max, hook_bytes=hook_bytes
    )
    return app


def stop_streams(app: FastAPI) -> None:
    """End all live streams of an application from `create_app`; their readers come back to the next server."""
    streams: Streams = app.state.streams
    streams.stop()


async def _on_invalid_query(request: Request, error: Exception) -> Response:
    """FastAPI's own finding about a query or header, as a problem of ours."""
    assert isinstance(error, RequestValidationError)
    found = [(".".join(str(part) for part in one["loc"][1:]), str(one["msg"])) for one in error.errors()]
    path, sentence = found[0]
    return await on_error(request, InvalidRequestError(f"{path}: {sentence}", found))
