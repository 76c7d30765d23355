"""A way round the router for the few requests that come by the thousand.

Matching a path against every route and solving a route's parameters is a good part of what starting a run costs (see
`python -m bench.api --only starts`). A request for one of these operations that brings no query goes straight to it:
behind the same guard, with the same permission, and with errors told in the same way. The router still has the
operation, for requests with a query and for the OpenAPI document. What lies below a public prefix (`/hooks/`) goes
straight to its one endpoint, too, which knows by itself whom it lets in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.api.errors import on_error
from segue.api.routing import refuse_unless_open
from segue.errors import SegueError

OUR_ERRORS: Final = (SegueError, HTTPException, TimeoutError)
"""What `on_error` tells; anything else is the guard's."""


class Hot(NamedTuple):
    """An operation that takes nothing but its request, and the permission without which it is not answered."""

    endpoint: Callable[[Request], Awaitable[Response]]
    needs: str
    each: bool = False
    """As of `Routes.add`."""


class HotPrefix(NamedTuple):
    """A public part of the addresses: `/hooks/`, and what answers below it. What the endpoint gives back as None is the
    router's.
    """

    prefix: str
    endpoint: Callable[[Request], Awaitable[Response | None]]


class HotRoutes:
    """The middleware right behind the guard. `routes` by method and path; `public` is below a prefix."""

    def __init__(self, app: ASGIApp, routes: Mapping[tuple[str, str], Hot], public: HotPrefix | None = None) -> None:
        self._app = app
        self._routes = routes
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        response = None
        if scope["type"] == "http":
            public, hot = self._public, None
            if not scope["query_string"]:
                hot = self._routes.get((scope["method"], scope["path"]))
            if hot is not None:
                response = await self._answer(hot, Request(scope, receive))
            elif public is not None and scope["path"].startswith(public.prefix):
                response = await _public_answer(public, Request(scope, receive))
        await (self._app if response is None else response)(scope, receive, send)

    async def _answer(self, hot: Hot, request: Request) -> Response:
        try:
            await refuse_unless_open(request, hot.needs, each=hot.each)
            return await hot.endpoint(request)
        except OUR_ERRORS as error:
            return await on_error(request, error)


async def _public_answer(public: HotPrefix, request: Request) -> Response | None:
    try:
        return await public.endpoint(request)
    except OUR_ERRORS as error:
        return await on_error(request, error)
