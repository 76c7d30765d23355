"""Health: is the process alive, can it work, and how does what it depends on stand?"""

from __future__ import annotations

from starlette.responses import Response

from segue.api.answers import Health, answer
from segue.api.documented import answers_with
from segue.api.routing import ANYBODY, Routes
from segue.observe.health import HealthChecks, HealthReport


class HealthRoutes:
    """`/health`: `live` and `ready` need no identity and tell nothing but states."""

    def __init__(self, health: HealthChecks) -> None:
        self._health = health

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/health", tags=["health"])
        router.add("/live", self.live, needs=None, responses=answers_with(200, Health))
        router.add(
            "/ready", self.ready, needs=None,
            responses={**answers_with(200, Health), **answers_with(503, Health, description="Not ready")},
        )  # fmt: skip
        router.add("/details", self.details, needs=ANYBODY, responses=answers_with(200, HealthReport, 503))
        return router

    async def live(self) -> Response:
        """The process answers."""
        return answer(Health(status="live"))

    async def ready(self) -> Response:
        """Every critical check holds: the database takes commits, and runs are taken. 503 if one does not."""
        report = await self._health.report(critical_only=True)
        is_ready = report.status != "failed"
        checks = {one.name: one.state for one in report.checks}
        return answer(Health(status="ready" if is_ready else "not ready", checks=checks), 200 if is_ready else 503)

    async def details(self) -> Response:
        """How each thing stands that this server depends on: its state, since when, how long the check took, and a
        sentence. A check is made at most once a second.
        """
        return answer(await self._health.report())
