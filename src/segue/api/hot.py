"""A way round the router for the few requests that come by the thousand.

Matching a path against every route and solving a route's parameters is a good part of what starting a run costs (see
`python -m bench.api --only starts`). A request for one of these operations that brings no query goes straight to it:
behind the same guard, with the same permission, and with errors told in the same way. The router still has the
operation, for requests with a query and for the OpenAPI document.
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


class HotRoutes:
    """The middleware right behind the guard. `routes` by method and path."""

    def __init__(self, app: ASGIApp, routes: Mapping[tuple[str, str], Hot]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        hot = None
        if scope["type"] == "http" and not scope["query_string"]:
            hot = self._routes.get((scope["method"], scope["path"]))
        if hot is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await refuse_unless_open(request, hot.needs, each=hot.each)
            response = await hot.endpoint(request)
        except OUR_ERRORS as error:
            response = await on_error(request, error)
        await response(scope, receive, send)
