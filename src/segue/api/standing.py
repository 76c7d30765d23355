"""The right of an open stream: looked at again while the stream goes on, so that it ends with what allowed it.

A request is judged once, a stream lives on. Each change of anybody's rights in this process has all streams looked at
at once; what ends by itself (a key or a session that expires), or was changed by another process, is found by looking
every few seconds: once for each identity, however many streams it has open, and never once a line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from segue.access.identities import Identities
from segue.access.principal import Principal
from segue.api.errors import ForbiddenError, ProblemDetails, details_of
from segue.api.gate import Gate
from segue.api.guard import cookies_of
from segue.api.routing import refuse_if_off
from segue.errors import EngineError, RequestError
from segue.observe.logs import get_logger

LOOK_SECONDS: Final = 2.0
_log = get_logger("segue.api.access")


class Standing:
    """One open stream's right. `refusal`: why it has none any more."""

    def __init__(self, headers: Headers, principal: Principal, right: Callable[[Principal], object]) -> None:
        self.headers = headers
        self.principal = principal
        self.refusal: RequestError | None = None
        self.wakes: set[asyncio.Event] = set()
        """Set when the refusal comes."""
        self._right = right

    @property
    def identity(self) -> tuple[str | None, ...]:
        """What the request proved itself with: the same for all streams of one browser or program."""
        return tuple(self.headers.get(name) for name in ("authorization", "cookie", "x-segue-workspace", "host"))

    def judge(self, found: Principal | RequestError) -> None:
        """Go on with the rights as they are now, or end."""
        try:
            if isinstance(found, RequestError):
                raise found
            if found.workspace != self.principal.workspace:
                raise ForbiddenError("you do not belong to this workspace any more")
            self._right(found)
        except RequestError as error:
            self.refusal = error
            for event in self.wakes:
                event.set()
        else:
            self.principal = found

    def problem(self, scope: Scope) -> ProblemDetails:
        """The refusal in the words that the next request is answered with."""
        assert self.refusal is not None
        return details_of(self.refusal, instance=scope["segue.shown_path"], request_id=scope["segue.request_id"])[0]


class Standings:
    """The rights of all open streams of one server process. Belongs to one event loop."""

    def __init__(self, gate: Gate, identities: Identities) -> None:
        self._gate = gate
        self._identities = identities
        self._held: dict[Standing, None] = {}
        self._noticed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        identities.on_change(self._noticed.set)

    @property
    def watched(self) -> int:
        """How many streams are open."""
        return len(self._held)

    @asynccontextmanager
    async def hold(self, scope: Scope, right: Callable[[Principal], object]) -> AsyncGenerator[Standing]:
        """Have a stream's right looked after as long as it is open. `right` raises ForbiddenError if it is gone."""
        standing = Standing(scope["segue.headers"], scope["segue.principal"], right)
        self._held[standing] = None
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield standing
        finally:
            del self._held[standing]
            if not self._held:
                looking, self._looking = self._looking, None
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._noticed.wait()
            self._noticed.clear()
            try:
                await self._look_at_all()
            except EngineError as error:
                # The store does not answer: nobody's rights are known to be gone, and nothing can be read anyway.
                _log.warning("the rights of open streams could not be looked at", error=error.message)

    async def _look_at_all(self) -> None:
        known: dict[tuple[str | None, ...], Principal | RequestError] = {}
        for standing in list(self._held):
            if standing.refusal is not None:
                continue
            identity = standing.identity
            if identity not in known:
                known[identity] = await self._now(standing)
            standing.judge(known[identity])

    async def _now(self, standing: Standing) -> Principal | RequestError:
        try:
            principal = await self._gate.again(standing.headers, cookies_of(standing.headers))
            await refuse_if_off(self._identities, principal.workspace)
        except RequestError as error:
            return error
        return principal
