"""Health: is the process alive, and can it work?"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.responses import Response

from segue.api.answers import Health, answer
from segue.api.documented import answers_with
from segue.api.routing import Routes
from segue.engine.host import Engine
from segue.errors import SegueError

STORE_SECONDS: Final = 2.0


class HealthRoutes:
    """`/health`: needs no identity and tells nothing but states."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/health", tags=["health"])
        router.add("/live", self.live, needs=None, responses=answers_with(200, Health))
        router.add(
            "/ready", self.ready, needs=None,
            responses={**answers_with(200, Health), **answers_with(503, Health, description="Not ready")},
        )  # fmt: skip
        return router

    async def live(self) -> Response:
        """The process answers."""
        return answer(Health(status="live"))

    async def ready(self) -> Response:
        """The database answers and runs are taken; 503 if not."""
        checks = {"engine": "closing" if self._engine.closing else "ok", "store": await self._store()}
        is_ready = all(state == "ok" for state in checks.values())
        return answer(Health(status="ready" if is_ready else "not ready", checks=checks), 200 if is_ready else 503)

    async def _store(self) -> str:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._engine.store.next_wake_at()
        except TimeoutError:
            return f"does not answer within {STORE_SECONDS:g} s"
        except SegueError:
            return "unavailable"
        return "ok"
