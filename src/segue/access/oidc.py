"""People and programs that an OpenID provider vouches for (OpenID Connect Core 1.0, Discovery 1.0, RFC 7636, RFC 9068).

Signing in is the code flow with PKCE. Programs may send the provider's JWT access tokens. Both are checked here: the
signature with a key of the provider's set and an algorithm of ours, issuer, audience, times; an ID token is no access
token. Who somebody is, issuer and subject say together; an e-mail address never does. All that is asked of the provider
goes through the host's guarded client: its egress rules, one request each, bounded in size and time.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import httpx2
import msgspec
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from segue.access.accounts import Accounts
from segue.access.errors import ProviderUnavailableError, TokenRefusedError
from segue.access.oidc_transport import GuardedTransport
from segue.access.principal import ROLES
from segue.access.tokens import digest_of, new_token
from segue.errors import RequestError, StepError
from segue.net.messages import HttpRequest

if TYPE_CHECKING:
    from segue.net.client import HttpClient

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""Never `none`, and none with a shared secret: a public key would be taken for one."""
LEEWAY_SECONDS: Final = 60
METADATA_SECONDS: Final = 3_600.0
KEYS_SECONDS: Final = 600.0
KEYS_COOL_DOWN_SECONDS: Final = 30.0
"""A token with an unknown key id makes the set be read anew, but not more often than this."""
LOGIN_SECONDS: Final = 600.0
REMEMBERED_SECONDS: Final = 60.0
LOGINS_MAX: Final = 1_000
REMEMBERED_MAX: Final = 10_000
ANSWER_BYTES_MAX: Final = 1024 * 1024
HTTP_SECONDS: Final = 10.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """One provider."""

    issuer: str
    client_id: str
    client_secret: str | None = None
    name: str = "OpenID"
    audience: str | None = None
    """What access tokens of programs must be for; None: none are taken."""
    role_claim: str = "roles"
    """Where the roles stand in a token: a name, or names joined by dots (`realm_access.roles`)."""
    roles: Mapping[str, str]
    """The provider's role to ours in the default workspace; the first that somebody has counts."""
    default_role: str | None = None
    """For who has none of these; None: let in only if somebody here has made them a member."""

    @staticmethod
    def of_environment(environment: Mapping[str, str]) -> OidcSettings | None:
        """From `SEGUE_OIDC_ISSUER`, `…_CLIENT_ID`, `…_CLIENT_SECRET`, `…_NAME`, `…_AUDIENCE`, `…_ROLE_CLAIM`, `…_ROLES`
        (`admins=owner,devs=editor`) and `…_DEFAULT_ROLE`. None without an issuer; raises RequestError.
        """

        def given(name: str) -> str | None:
            return environment.get(f"SEGUE_OIDC_{name}") or None

        issuer, client_id = given("ISSUER"), given("CLIENT_ID")
        if issuer is None:
            return None
        if client_id is None:
            raise RequestError("SEGUE_OIDC_ISSUER is set without SEGUE_OIDC_CLIENT_ID")
        try:
            _refuse_plain(issuer, issuer)
        except ProviderUnavailableError as error:
            raise RequestError(f"SEGUE_OIDC_ISSUER: {error.message}") from error
        pairs = [one.partition("=") for one in (given("ROLES") or "").split(",") if one.strip()]
        default = given("DEFAULT_ROLE")
        if any(role not in ROLES for role in (*(ours.strip() for _, _, ours in pairs), default or "viewer")):
            raise RequestError(
                "SEGUE_OIDC_ROLES is written as their-role=owner,other-role=viewer, SEGUE_OIDC_DEFAULT_ROLE as viewer; "
                f"the roles are {', '.join(ROLES)}"
            )
        return OidcSettings(
            issuer=issuer, client_id=client_id, client_secret=given("CLIENT_SECRET"), name=given("NAME") or "OpenID",
            audience=given("AUDIENCE"), role_claim=given("ROLE_CLAIM") or "roles",
            roles={theirs.strip(): ours.strip() for theirs, _, ours in pairs}, default_role=default,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Login:
    nonce: str
    verifier: str
    browser: bytes
    until: float


class OidcProvider:
    """One provider, as this server knows it. Belongs to one event loop."""

    def __init__(
        self,
        settings: OidcSettings,
        accounts: Accounts,
        client: Callable[[], HttpClient],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`client` is asked for at each request: it judges where the request goes. `clock`: seconds, for what is
        remembered; `now`: seconds since the epoch, for the times in tokens.
        """
        self.settings = settings
        self._http = client
        self._accounts = accounts
        self._clock = clock
        self._now = now
        self._metadata: tuple[dict[str, Any], float] | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    @property
    def name(self) -> str:
        """What people know the provider by."""
        return self.settings.name

    # ------------------------------------------------------------ signing in

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Where the browser is sent, and a value that it must bring back in a cookie."""
        metadata = await self._read_metadata()
        state, nonce, verifier, browser = new_token(), new_token(), secrets.token_urlsafe(48), new_token()
        client = self._client(redirect_uri)
        try:
            made = client.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        finally:
            await client.aclose()
        self._logins[state] = _Login(nonce, verifier, digest_of(browser), self._clock() + LOGIN_SECONDS)
        if len(self._logins) > LOGINS_MAX:
            self._logins.popitem(last=False)
        return str(made[0]), browser

    async def finish(self, redirect_uri: str, *, state: str, code: str, issuer: str | None, browser: str | None) -> str:
        """The account of who came back. Raises TokenRefusedError, ProviderUnavailableError. A code is used once."""
        login = self._logins.pop(state, None)
        if login is None or login.until < self._clock() or digest_of(browser or "") != login.browser:
            raise TokenRefusedError("this sign-in was begun in another browser, or too long ago; begin it anew")
        if issuer not in (None, self.settings.issuer):
            raise TokenRefusedError("the answer comes from another provider than the one that was asked (RFC 9207)")
        metadata = await self._read_metadata()
        client = self._client(redirect_uri)
        try:
            token = await client.fetch_token(
                metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=login.verifier
            )
        except OAuthError as error:
            raise TokenRefusedError(f"the provider did not take the code: {error.error}") from error
        except (StepError, httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailableError("the provider's token endpoint does not answer as it should") from error
        finally:
            await client.aclose()
        claims = await self.claims_of(str(cast("dict[str, Any]", token).get("id_token", "")), self.settings.client_id)
        if not secrets.compare_digest(str(claims.get("nonce", "")), login.nonce):
            raise TokenRefusedError("the ID token was not made for this sign-in")
        return await self._account(claims)

    def _client(self, redirect_uri: str) -> Any:
        return AsyncOAuth2Client(
            self.settings.client_id, self.settings.client_secret, redirect_uri=redirect_uri,
            scope="openid profile email", code_challenge_method="S256", follow_redirects=False, trust_env=False,
            timeout=HTTP_SECONDS,
            transport=GuardedTransport(
                self._http, timeout_seconds=HTTP_SECONDS, answer_bytes_max=ANSWER_BYTES_MAX
            ),
            token_endpoint_auth_method="client_secret_basic" if self.settings.client_secret else "none",
        )  # fmt: skip

    # ------------------------------------------------------------ tokens

    async def account_of(self, token: str) -> str | None:
        """See `segue.api.gate.BearerTokens`. Raises ProviderUnavailableError if its keys cannot be read."""
        if self.settings.audience is None or token.count(".") != 2:
            return None
        digest, now = digest_of(token), self._clock()
        known = self._known.get(digest)
        if known is not None and known[1] > now:
            return known[0]
        try:
            claims = await self.claims_of(token, self.settings.audience)
            if "nonce" in claims or "at_hash" in claims or claims.get("token_use") == "id":
                raise TokenRefusedError("this is an ID token, not an access token")
            account_id = await self._account(claims)
        except TokenRefusedError:
            return None
        left = float(claims["exp"]) + LEEWAY_SECONDS - self._now()
        self._known[digest] = (account_id, now + min(REMEMBERED_SECONDS, left))
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return account_id

    async def claims_of(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a signed token that holds. Raises TokenRefusedError, ProviderUnavailableError."""
        rules = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            decoded = await self._decoded(token)
            rules.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenRefusedError(f"the token does not hold: {type(error).__name__}") from error
        return decoded.claims

    async def _decoded(self, token: str) -> jwt.Token:
        keys = await self._read_keys()
        try:
            return jwt.decode(token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            # It may be signed with a key that the provider has had since.
            fresh = await self._read_keys(anew=True)
            if fresh is keys:
                raise
            return jwt.decode(token, fresh, algorithms=ALGORITHMS)

    async def _account(self, claims: Mapping[str, Any]) -> str:
        settings, subject = self.settings, str(claims["sub"])
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is False:
            email = f"{hashlib.sha256(subject.encode()).hexdigest()[:24]}@{urlsplit(settings.issuer).hostname}.invalid"
        theirs = _at(claims, settings.role_claim)
        listed = cast("list[object]", theirs) if isinstance(theirs, list) else []
        names = theirs.split() if isinstance(theirs, str) else listed
        role = next((ours for name, ours in settings.roles.items() if name in names), settings.default_role)
        name = claims.get("name") or claims.get("preferred_username") or email
        account_id = await self._accounts.of_provider(settings.issuer, subject, email, str(name)[:100], role)
        if account_id is None:
            raise TokenRefusedError("nobody has let this person in here")
        return account_id

    # ------------------------------------------------------------ what the provider says of itself

    async def answers(self) -> None:
        """Ask the provider, whatever is kept of it. Raises ProviderUnavailableError."""
        await self._get(self._metadata_url)

    @property
    def _metadata_url(self) -> str:
        return f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"

    async def _read_metadata(self) -> dict[str, Any]:
        kept = self._metadata
        if kept is not None and kept[1] > self._clock():
            return kept[0]
        issuer = self.settings.issuer
        try:
            found = await self._get(self._metadata_url)
            if found.get("issuer") != issuer:
                raise ProviderUnavailableError(f"the provider calls itself {found.get('issuer')!r}, not {issuer!r}")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                _refuse_plain(str(found.get(name, "")), issuer)
        except ProviderUnavailableError:
            if kept is None:
                raise
            found = kept[0]
        self._metadata = (found, self._clock() + METADATA_SECONDS)
        return found

    async def _read_keys(self, *, anew: bool = False) -> KeySet:
        kept, now = self._keys, self._clock()
        if kept is not None and now - kept[1] < (KEYS_COOL_DOWN_SECONDS if anew else KEYS_SECONDS):
            return kept[0]
        try:
            keys = KeySet.import_key_set(cast("Any", await self._get(str((await self._read_metadata())["jwks_uri"]))))
        except (ProviderUnavailableError, JoseError, ValueError, KeyError) as error:
            if kept is None:
                raise ProviderUnavailableError("the provider's keys cannot be read") from error
            keys = kept[0]
        self._keys = (keys, now)
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        asked = HttpRequest(
            url=url, headers={"accept": "application/json"}, follow_redirects=False, timeout_seconds=HTTP_SECONDS,
            max_body_bytes=ANSWER_BYTES_MAX,
        )  # fmt: skip
        try:
            answer = await self._http().request(asked)
        except StepError as error:
            raise ProviderUnavailableError(f"{url} cannot be asked: {error.message}") from error
        if answer.status != HTTPStatus.OK:
            raise ProviderUnavailableError(f"{url} answers with status {answer.status}")
        try:
            return msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ProviderUnavailableError(f"{url} does not answer with a JSON object") from error


def _refuse_plain(url: str, issuer: str) -> None:
    """Only https; on this machine http, too, for trying things. Raises ProviderUnavailableError."""
    parts = urlsplit(url)
    is_near = parts.hostname in _LOOPBACK and urlsplit(issuer).hostname in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
        raise ProviderUnavailableError(f"the provider's address {url[:200]!r} is not https")


def _at(claims: Mapping[str, Any], path: str) -> Any:
    value: Any = claims.get(path)
    if value is not None:
        return value
    value = claims
    for name in path.split("."):
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value
