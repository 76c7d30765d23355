"""Signing in and out, oneself, one's sessions and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.access.errors import PasswordRefusedError, WeakPasswordError
from segue.access.identities import Identities
from segue.access.keys import check_permissions
from segue.access.limits import Attempts
from segue.access.principal import Principal
from segue.access.sessions import ABSOLUTE_MS
from segue.access.workspaces import FLAGS
from segue.api.access import Access, cookie_name
from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.errors import ForbiddenError, InvalidRequestError, UnauthenticatedError
from segue.api.guard import cookies_of
from segue.api.identity_answers import KeyList, Me, NewKey, SessionList, Ways, key_of, session_of
from segue.api.identity_bodies import CreateKey, NewPassword, SetUp, SignIn
from segue.api.routing import ANYBODY, Routes, principal_of, refuse_unless
from segue.engine.later import begins_at
from segue.errors import NotFoundError

LIST_MAX: Final = 200
_NOTHING: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "Done"}}


class IdentityRoutes:
    """`/api/v1/{setup,login,logout,me,sessions,keys}`."""

    def __init__(self, access: Access, identities: Identities, now: Callable[[], int], provider: str | None) -> None:
        """`provider`: the name of an OpenID provider whose sign-in this server offers."""
        self._access = access
        self._identities = identities
        self._now = now
        self._provider = provider
        self._attempts = Attempts()

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["access"])
        add = router.add
        add("/login", self.ways, needs=None, responses=answers_with(200, Ways))
        add(
            "/login", self.sign_in, method="POST", needs=None, status_code=200,
            repeats="it opens one more session, for who has the password", extra=body_of(SignIn),
            responses=answers_with(200, Me, 400, 401, 403, 413, 415, 422, 429),
        )  # fmt: skip
        add(
            "/setup", self.set_up, method="POST", needs=None, status_code=200, repeats="its link works once",
            extra=body_of(SetUp),
            responses=answers_with(200, Me, 400, 403, 404, 409, 410, 413, 415, 422, 429),
        )  # fmt: skip
        add("/logout", self.sign_out, method="POST", needs=ANYBODY, status_code=204, responses=_NOTHING)
        add("/me", self.me, needs=ANYBODY, responses=answers_with(200, Me))
        add(
            "/me/password", self.change_password, method="POST", needs=ANYBODY, status_code=204,
            extra=body_of(NewPassword), responses=_NOTHING | errors_of(400, 403, 413, 415, 422, 429),
        )  # fmt: skip
        add("/sessions", self.sessions, needs=ANYBODY, responses=answers_with(200, SessionList, 403))
        add(
            "/sessions", self.end_sessions, method="DELETE", needs=ANYBODY, status_code=204,
            responses=_NOTHING | errors_of(403, 422),
        )  # fmt: skip
        add(
            "/sessions/{session_id}", self.end_session, method="DELETE", needs=ANYBODY, status_code=204,
            responses=_NOTHING | errors_of(403, 404),
        )  # fmt: skip
        add("/keys", self.keys, needs="workspace:read", responses=answers_with(200, KeyList, 422))
        add(
            "/keys", self.create_key, method="POST", needs="workspace:read", status_code=201, extra=body_of(CreateKey),
            responses=answers_with(201, NewKey, 400, 403, 413, 415, 422),
        )  # fmt: skip
        add(
            "/keys/{key_id}", self.revoke_key, method="DELETE", needs="workspace:read", status_code=204,
            responses=_NOTHING | errors_of(404),
        )  # fmt: skip
        return router

    async def ways(self) -> Response:
        """How people sign in here."""
        return answer(
            Ways(
                has_owner=await self._identities.accounts.exists_owner(), provider=self._provider,
                provider_path=None if self._provider is None else "/api/v1/oidc/login",
            )
        )  # fmt: skip

    async def sign_in(self, request: Request) -> Response:
        """Sign in with e-mail address and password: the answer sets the session's cookie. An unknown address is
        answered as a wrong password, after the same time.
        """
        self._access.check_same_origin("GET", request.headers)
        body = await read_model(request, SignIn)
        address, email = str(request.scope["segue.address"]), body.email.strip().lower()
        self._attempts.begin(address, email)
        account_id = await self._identities.accounts.sign_in(email, body.password)
        if account_id is None:
            self._attempts.failed(address, email)
            raise UnauthenticatedError("address or password is wrong")
        self._attempts.succeeded(address, email)
        return await self._signed_in(request, account_id)

    async def set_up(self, request: Request) -> Response:
        """Use a one-time link: make the owner of a new server (with address and name), or set a password. Signs in."""
        self._access.check_same_origin("GET", request.headers)
        body = await read_model(request, SetUp)
        self._attempts.begin(str(request.scope["segue.address"]), "")
        accounts = self._identities.accounts
        if self._access.is_setup(body.token):
            if body.email is None or body.name is None:
                missing = "email" if body.email is None else "name"
                raise InvalidRequestError("the owner has an address and a name", [(missing, "is required")])
            account = await accounts.make_owner(body.email, body.name, body.password)
            self._access.close_setup()
        else:
            account = await accounts.use_link(body.token, body.password)
        return await self._signed_in(request, account.id)

    async def sign_out(self, request: Request) -> Response:
        """End this browser's session."""
        value = _cookie(request)
        if value is not None:
            self._access.close_session(value)
            await self._identities.sessions.close(value)
        return self._signed_out(request)

    async def me(self, request: Request) -> Response:
        """Who you are here."""
        return answer(await self._me(principal_of(request)))

    async def change_password(self, request: Request) -> Response:
        """Change your own password. All your sessions end."""
        account_id = _person(principal_of(request))
        body = await read_model(request, NewPassword)
        address = str(request.scope["segue.address"])
        self._attempts.begin(address, account_id)
        try:
            await self._identities.accounts.change_password(account_id, body.old_password, body.password)
        except WeakPasswordError:
            raise
        except PasswordRefusedError:
            self._attempts.failed(address, account_id)
            raise
        return Response(status_code=204)

    async def sessions(self, request: Request) -> Response:
        """The browsers in which you have signed in."""
        sessions, value = self._identities.sessions, _cookie(request)
        found = await sessions.list_of(_person(principal_of(request)))
        current = None if value is None else await sessions.id_of(value)
        return answer(SessionList(sessions=[session_of(one, current) for one in found]))

    async def end_sessions(
        self,
        request: Request,
        others: Annotated[bool, Query(description="Stay signed in here; sign out everywhere else.")] = False,
    ) -> Response:
        """Sign out everywhere: all your sessions end, this one too, and with them their open streams."""
        account_id = _person(principal_of(request))
        await self._identities.sessions.close_all(account_id, but=_cookie(request) if others else None)
        return Response(status_code=204) if others else self._signed_out(request)

    async def end_session(self, session_id: str, request: Request) -> Response:
        """Sign one of your browsers out."""
        await self._identities.sessions.revoke(_person(principal_of(request)), session_id)
        return Response(status_code=204)

    async def keys(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        """Your keys; all of the workspace's for who may manage it."""
        principal = principal_of(request)
        page = await self._identities.keys.page(principal.workspace, _only(principal), limit, cursor)
        return answer(KeyList(keys=[key_of(key) for key in page.items], next_cursor=page.cursor))

    async def create_key(self, request: Request) -> Response:
        """Make a key for a program. Its text is in this answer and nowhere else. It can do no more than you can."""
        principal = principal_of(request)
        body = await read_model(request, CreateKey)
        refuse_stronger(principal, body.permissions)
        if body.for_workspace:
            refuse_unless(principal, "workspace:admin")
        elif principal.kind == "key":
            raise ForbiddenError("a key makes keys only for the workspace (`for_workspace`)")
        account_id = None if body.for_workspace or principal.kind == "server" else principal.id
        expires_at = begins_at(body.expires_at, body.expires_in, self._now(), what="the key expires")
        if expires_at is None and (body.expires_at or body.expires_in) is not None:
            raise InvalidRequestError("the key would have expired already", [("expires_at", "lies in the past")])
        key, token = await self._identities.keys.create(
            principal.workspace, body.name, body.permissions, account_id=account_id, flows=body.flows,
            expires_at=expires_at,
        )  # fmt: skip
        return answer(NewKey(key=key_of(key), token=token), 201)

    async def revoke_key(self, key_id: str, request: Request) -> Response:
        """Let a key in no more, from the next request on."""
        principal = principal_of(request)
        await self._identities.keys.revoke(principal.workspace, key_id, _only(principal))
        return Response(status_code=204)

    def _signed_out(self, request: Request) -> Response:
        response = Response(status_code=204)
        response.delete_cookie(
            cookie_name(request.headers.get("host", "")), httponly=True, samesite="strict",
            secure=self._access.has_tls or request.url.scheme == "https",
        )  # fmt: skip
        return response

    async def _signed_in(self, request: Request, account_id: str) -> Response:
        principal = await self._identities.by_account(account_id, None)
        if principal is None:
            raise NotFoundError("this account is disabled")
        response = answer(await self._me(principal))
        await sign_in_browser(request, response, self._access, self._identities, account_id)
        return response

    async def _me(self, principal: Principal) -> Me:
        flags = {name: await self._identities.is_on(principal.workspace, name) for name in FLAGS}
        return Me(
            kind=principal.kind, id=principal.id, name=principal.name, workspace=principal.workspace,
            permissions=sorted(principal.permissions),
            grants={flow: sorted(given) for flow, given in sorted(principal.grants.items())}, flags=flags,
        )  # fmt: skip


async def sign_in_browser(
    request: Request, response: Response, access: Access, identities: Identities, account_id: str
) -> None:
    """Open a session, and put its cookie into a response."""
    value = await identities.sessions.open(
        account_id, str(request.scope["segue.address"]), request.headers.get("user-agent", "")
    )
    response.set_cookie(
        cookie_name(request.headers.get("host", "")), value, max_age=ABSOLUTE_MS // 1000, httponly=True,
        samesite="strict", secure=access.has_tls or request.url.scheme == "https",
    )  # fmt: skip


def refuse_stronger(principal: Principal, permissions: Iterable[str]) -> None:
    """Nobody gives away what they may not do. Raises ForbiddenError; InvalidInputError for what is no permission."""
    for one in permissions:
        if not principal.may(one):
            check_permissions([one])
            raise ForbiddenError(f"{principal.name} may not give {one[:50]} away without having it")


def _cookie(request: Request) -> str | None:
    return cookies_of(request.headers).get(cookie_name(request.headers.get("host", "")))


def _person(principal: Principal) -> str:
    if principal.kind != "user":
        raise ForbiddenError("only a person who has signed in has sessions and a password")
    return principal.id


def _only(principal: Principal) -> str | None:
    """Whose keys one sees: all of the workspace, or one's own."""
    return None if principal.may("workspace:admin") else principal.id
