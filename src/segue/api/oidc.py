"""Signing in through an OpenID provider: there and back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from segue.access.identities import Identities
from segue.api.access import Access
from segue.api.documented import errors_of
from segue.api.errors import ForbiddenError, UnauthenticatedError
from segue.api.guard import cookies_of
from segue.api.identities import sign_in_browser
from segue.api.routing import Routes
from segue.errors import NotFoundError

COOKIE: Final = "segue_oidc"
COOKIE_SECONDS: Final = 600
_BACK: Final = "/api/v1/oidc/callback"
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Segue: signed in</title>'
    '<meta http-equiv="refresh" content="0;url=/"></head><body><p><a href="/">You are signed in: go on</a></p></body>'
    "</html>"
)
"""Not a redirect: the way here began at the provider, so the browser would not send the new cookie along."""


class SignInProvider(Protocol):
    """What signing in asks of a provider (`segue.access.oidc.OidcProvider`)."""

    @property
    def name(self) -> str:
        """What people know the provider by."""
        ...

    async def account_of(self, token: str) -> str | None:
        """See `segue.api.gate.BearerTokens`."""
        ...

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Where the browser is sent, and a value that it must bring back in a cookie."""
        ...

    async def finish(self, redirect_uri: str, *, state: str, code: str, issuer: str | None, browser: str | None) -> str:
        """The account of who came back."""
        ...


class OidcRoutes:
    """`/api/v1/oidc/{login,callback}`."""

    def __init__(self, access: Access, identities: Identities, provider: SignInProvider | None) -> None:
        self._access = access
        self._identities = identities
        self._provider = provider

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/oidc", tags=["access"])
        there: dict[int | str, dict[str, Any]] = {303: {"description": "To the provider"}, **errors_of(404, 429, 503)}
        back: dict[int | str, dict[str, Any]] = {
            200: {"description": "Signed in", "content": {"text/html": {}}}, **errors_of(401, 403, 404, 422, 429, 503),
        }  # fmt: skip
        router.add("/login", self.begin, needs=None, status_code=303, responses=there)
        router.add("/callback", self.finish, needs=None, responses=back)
        return router

    async def begin(self, request: Request) -> Response:
        """Go to the provider. It sends the browser back to `/api/v1/oidc/callback`."""
        url, browser = await self._known().begin(self._back(request))
        response = RedirectResponse(url, 303)
        # Lax, since the way back begins at the provider; it opens nothing but this one sign-in.
        response.set_cookie(
            COOKIE, browser, max_age=COOKIE_SECONDS, path="/api/v1/oidc/", httponly=True, samesite="lax",
            secure=self._access.has_tls or request.url.scheme == "https",
        )  # fmt: skip
        return response

    async def finish(
        self,
        request: Request,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4_000)] = "",
        iss: Annotated[str | None, Query(max_length=1_000)] = None,
        error: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        """Come back from the provider, signed in."""
        provider = self._known()
        if error is not None:
            raise UnauthenticatedError(f"the provider let nobody in: {error}")
        browser = cookies_of(request.headers).get(COOKIE)
        account_id = await provider.finish(self._back(request), state=state, code=code, issuer=iss, browser=browser)
        if await self._identities.by_account(account_id, None) is None:
            raise ForbiddenError("this account is disabled")
        response = HTMLResponse(_PAGE)
        await sign_in_browser(request, response, self._access, self._identities, account_id)
        response.delete_cookie(COOKIE, path="/api/v1/oidc/")
        return response

    def _known(self) -> SignInProvider:
        if self._provider is None:
            raise NotFoundError("this server knows no OpenID provider (SEGUE_OIDC_ISSUER)")
        return self._provider

    def _back(self, request: Request) -> str:
        return (self._access.public_url or f"{request.url.scheme}://{request.headers['host']}") + _BACK
