"""Routes that say what they need: each names the permission without which it is not answered, or that it is public.

The permission stands in the OpenAPI document as `x-segue-permission`, so that the test that walks all routes as
everyone, and the docs, come from the same place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from segue.access.identities import Identities
from segue.access.principal import PERMISSIONS, Principal
from segue.access.resting import ORCHESTRATOR
from segue.api.documented import PUBLIC
from segue.api.errors import FeatureOffError, ForbiddenError
from segue.api.repeats import WHY, key_refusals, once, with_key
from segue.engine.host import Engine
from segue.errors import NotFoundError

PERMISSION: Final = "x-segue-permission"
ANYBODY: Final = "identity"
"""In place of a permission: every identity may ask, since the answer is about that one itself."""
_SWITCHED: Final = ("flow:", "run:")


class Routes(APIRouter):
    """An `APIRouter` whose routes are all guarded."""

    def add(
        self,
        path: str,
        endpoint: Callable[..., Awaitable[Response]],
        *,
        needs: str | None,
        each: bool = False,
        method: str = "GET",
        extra: dict[str, Any] | None = None,
        repeats: str | None = None,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        """Add a route. `needs`: the permission, or `ANYBODY`; None if no identity is asked for. `each`: who has the
        permission for single flows only is let in, too; the route itself looks at each flow then. `extra`: more of the
        OpenAPI operation. A POST is carried out once for each `Idempotency-Key`, unless `repeats` says why that is not
        needed.

        A path with `{run_id}` is answered only for runs of the caller's workspace: of others it knows nothing (404).
        """
        if needs is None:
            described: dict[str, Any] = {**(extra or {}), **PUBLIC}
            dependencies = []
        else:
            assert needs == ANYBODY or needs in PERMISSIONS, needs
            described = {**(extra or {}), PERMISSION: needs}
            dependencies = [Depends(_guard(needs, each=each, runs="{run_id}" in self.prefix + path))]
        answers = responses or {}
        if method == "POST" and repeats is None:
            assert needs is not None, f"{path}: a key belongs to an identity; say what makes a second POST harmless"
            endpoint, described, answers = once(endpoint), with_key(described), key_refusals() | answers
        elif repeats is not None:
            described = {**described, WHY: repeats}
        self.add_api_route(
            path,
            endpoint,
            responses=answers,
            methods=[method],
            openapi_extra=described,
            dependencies=dependencies,
            **settings,
        )


def principal_of(request: Request) -> Principal:
    """Who asks. Only on routes that need a permission."""
    return cast("Principal", request.scope["segue.principal"])


def refuse_unless(principal: Principal, permission: str, flow_id: str | None = None) -> None:
    """Raises ForbiddenError unless the principal may do this."""
    if not principal.may(permission, flow_id):
        raise ForbiddenError(f"{principal.name} may not do this here; it needs the permission {permission}")


def seen_flows(principal: Principal, permission: str, flow_id: str | None = None) -> frozenset[str] | None:
    """The flows that a list is to be limited to; None: all. Raises ForbiddenError for a list of one flow that is not
    among them.
    """
    if flow_id is not None:
        refuse_unless(principal, permission, flow_id)
    return principal.flows_for(permission)


async def refuse_unless_open(
    request: Request, permission: str, flow_id: str | None = None, *, each: bool = False
) -> None:
    """What every route asks for first: that its part is switched on, and the permission, with `each` for any flow at
    all. Raises FeatureOffError, ForbiddenError.
    """
    if permission == ANYBODY:
        return
    principal = principal_of(request)
    if permission.startswith(_SWITCHED):
        await refuse_if_off(request.app.state.identities, principal.workspace)
    if not (each and principal.flows_for(permission)):
        refuse_unless(principal, permission, flow_id)


async def refuse_if_off(identities: Identities, workspace: str) -> None:
    """Raises FeatureOffError where flows and runs are switched off (ACC-9)."""
    if not await identities.is_on(workspace, ORCHESTRATOR):
        raise FeatureOffError("flows and runs are switched off here; whoever runs the server can switch them on again")


def _guard(permission: str, *, each: bool, runs: bool) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        principal = principal_of(request)
        flow_id: str | None = request.path_params.get("flow_id")
        if runs:
            run_id: str = request.path_params["run_id"]
            engine: Engine = request.app.state.engine
            record = await engine.record(run_id)
            if record.workspace != principal.workspace:
                raise NotFoundError(f"no run has the id {run_id!r}")
            flow_id = record.flow_id
        await refuse_unless_open(request, permission, flow_id, each=each)

    return check
