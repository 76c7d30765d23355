"""Who asks: the server's own token, a key, a provider's token, or a browser with a session; and how often one may.

A wrong token is never overlooked for a right cookie. The workspace is the one of the key, or what `X-Segue-Workspace`
names; one that the caller does not belong to is as unknown as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

from segue.access.identities import Identities
from segue.access.limits import Buckets, Rate, counted_as
from segue.access.principal import DEFAULT_WORKSPACE, ROLES, Principal
from segue.access.tokens import KEY_PREFIX
from segue.api.access import LOOPBACK_NAMES, Access, cookie_name
from segue.api.errors import UnauthenticatedError

WORKSPACE_HEADER: Final = "x-segue-workspace"
IDENTITY_RATE: Final = Rate(200, 1_000)
"""Of one key or person."""
ADDRESS_RATE: Final = Rate(50, 500)
"""Of requests without an identity (callbacks, signing in) from one address elsewhere."""
TOKEN_LENGTH_MAX: Final = 8_192

_SERVER: Final = Principal("server", "server", "the API", DEFAULT_WORKSPACE, ROLES["owner"])
_PAGE: Final = Principal("server", "server", "a person", DEFAULT_WORKSPACE, ROLES["owner"], is_browser=True)


class BearerTokens(Protocol):
    """Tokens that somebody else made, such as an OpenID provider."""

    async def account_of(self, token: str) -> str | None:
        """Whose token it is, after every check; None if it is none of theirs."""
        ...


class Gate:
    """The identities of one server process. Belongs to one event loop."""

    def __init__(
        self,
        access: Access,
        identities: Identities,
        *,
        provider: BearerTokens | None = None,
        identity_rate: Rate | None = None,
        address_rate: Rate | None = None,
    ) -> None:
        """Without an `address_rate`, programs of this machine are not counted: they are whoever runs the server."""
        self.access = access
        self._identities = identities
        self._provider = provider
        self._by_identity = Buckets(identity_rate or IDENTITY_RATE, label="identity")
        self._by_address = Buckets(address_rate or ADDRESS_RATE, label="address")
        self._counts_this_machine = address_rate is not None or access.public_url is not None

    def admit_anyone(self, address: str) -> None:
        """Raises TooManyRequestsError."""
        if self._counts_this_machine or address not in LOOPBACK_NAMES:
            self._by_address.take(counted_as(address))

    def rate_fields(self, principal: Principal | None, address: str) -> dict[str, str]:
        """The header fields for who was counted by `identify` or `admit_anyone`; none for who is not counted."""
        if principal is not None:
            return {} if principal.kind == "server" else self._by_identity.fields(principal.id)
        if not self._counts_this_machine and address in LOOPBACK_NAMES:
            return {}
        return self._by_address.fields(counted_as(address))

    async def identify(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Principal:
        """Who sent these headers (lower-case names). Raises UnauthenticatedError; NotFoundError for a workspace that is
        not the caller's; TooManyRequestsError.
        """
        try:
            principal = await self.again(headers, cookies)
        except UnauthenticatedError:
            self.admit_anyone(address)
            raise
        if principal.kind != "server":
            self._by_identity.take(principal.id)
        return principal

    async def again(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Principal:
        """As `identify`, without counting it as a request: for who was let in and stays."""
        workspace = headers.get(WORKSPACE_HEADER)
        given = headers.get("authorization")
        if given is None:
            principal = await self._cookie(cookies.get(cookie_name(headers.get("host", ""))), workspace)
            message = "send a key or the server's token in the Authorization header, as Bearer, or sign in"
        else:
            kind, _, token = given.partition(" ")
            principal = await self._bearer(token.strip(), workspace) if kind.lower() == "bearer" else None
            message = (
                "the token is unknown, revoked or expired; a key begins with sgk_, and the server's own token is "
                "printed when it starts"
            )
        if principal is None:
            raise UnauthenticatedError(message)
        return principal

    async def has_session(self, cookies: Mapping[str, str], host: str) -> bool:
        """Whether a browser has signed in."""
        return await self._cookie(cookies.get(cookie_name(host)), None) is not None

    async def _bearer(self, token: str, workspace: str | None) -> Principal | None:
        if len(token) > TOKEN_LENGTH_MAX:
            return None
        if token.startswith(KEY_PREFIX):
            return await self._identities.by_key(token, workspace)
        if self.access.is_server_token(token):
            return await self._within(_SERVER, workspace)
        account = None if self._provider is None else await self._provider.account_of(token)
        return None if account is None else await self._identities.by_account(account, workspace)

    async def _cookie(self, value: str | None, workspace: str | None) -> Principal | None:
        if value is None:
            return None
        if self.access.has_session(value):
            return await self._within(_PAGE, workspace)
        return await self._identities.by_session(value, workspace)

    async def _within(self, principal: Principal, workspace: str | None) -> Principal:
        if workspace is None or workspace == principal.workspace:
            return principal
        if not await self._identities.has_workspace(workspace):
            await self._identities.workspaces.get_open(workspace)
        return replace(principal, workspace=workspace)
