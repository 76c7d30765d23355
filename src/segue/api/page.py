"""The page at `/`, its files, and the links that open it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import segue
from segue.access.identities import Identities
from segue.api.access import cookie_name
from segue.api.answers import Link, answer
from segue.api.documented import answers_with
from segue.api.errors import ForbiddenError
from segue.api.gate import Gate
from segue.api.guard import cookies_of
from segue.api.routing import Routes, principal_of
from segue.errors import NotFoundError

STATIC: Final = Path(segue.__file__).parent / "web" / "static"
MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PAGE_HEADERS: Final = {"cache-control": "no-cache"}


class PageRoutes:
    """`/`, `/login`, `/setup`, `/assets/…` and `/api/v1/links`. The files are read once."""

    def __init__(self, gate: Gate, identities: Identities, static: Path = STATIC) -> None:
        self._gate = gate
        self._access = gate.access
        self._identities = identities
        self._files = {
            path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
            for path in sorted(static.iterdir())
            if path.suffix in MEDIA_TYPES
        }

    def router(self) -> Routes:
        """The routes."""
        router = Routes()
        router.add("/", self.index, needs=None, include_in_schema=False)
        router.add("/login", self.login, needs=None, include_in_schema=False)
        router.add("/setup", self.setup, needs=None, include_in_schema=False)
        router.add("/assets/{name}", self.asset, needs=None, include_in_schema=False)
        router.add(
            "/api/v1/links", self.link, method="POST", needs="workspace:admin", status_code=201, tags=["access"],
            responses=answers_with(201, Link, 401),
        )  # fmt: skip
        return router

    async def index(self, request: Request, token: str | None = None) -> Response:
        """The page for a browser that has a session. A link's token makes one, once."""
        host = request.headers.get("host", "")
        cookie, has_session = cookie_name(host), await self._gate.has_session(cookies_of(request.headers), host)
        if token is not None:
            value = None if has_session else self._access.open_session(token)
            if has_session or value is not None:
                response = RedirectResponse("/", 303)
                if value is not None:
                    response.set_cookie(
                        cookie, value, httponly=True, samesite="strict", secure=request.url.scheme == "https"
                    )
                return response
        if has_session:
            return self._file("index.html")
        return self._file("login.html" if await self._identities.accounts.exists_owner() else "closed.html", 401)

    async def login(self) -> Response:
        """Where people sign in."""
        return self._file("login.html")

    async def setup(self) -> Response:
        """Where a one-time link leads: the first owner, or a new password."""
        return self._file("setup.html")

    async def asset(self, name: str) -> Response:
        """A file of the page; none of them holds data."""
        if name not in self._files or name.endswith(".html"):
            raise NotFoundError(f"the page has no file {name[:100]!r}")
        return self._file(name)

    async def link(self, request: Request) -> Response:
        """A further address that opens the page once, in one browser, within ten minutes. For the server's own token:
        whoever opens it may do all that the token may.
        """
        if principal_of(request).kind != "server":
            raise ForbiddenError("only the server's own token makes such addresses; others invite people by `/users`")
        return answer(Link(url_path=f"/?token={self._access.new_link_token()}"), 201)

    def _file(self, name: str, status: int = 200) -> Response:
        content, media_type = self._files[name]
        return Response(content, status, _PAGE_HEADERS, media_type=media_type)
