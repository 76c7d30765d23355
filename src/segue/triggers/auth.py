"""What a webhook asks of its senders: the settings `auth`, `secret` and `provider` of a trigger, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, cast

import msgspec

from segue.errors import RequestError
from segue.flow.model import JsonValue, RawMap
from segue.flow.nearest import did_you_mean
from segue.flow.trigger_keys import AUTH_ALIASES, AUTH_KEYS, AUTH_KINDS, AUTH_TYPE_KEYS, SECRET_PLACES
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.triggers.bearers import JwtScheme, TokenScheme
from segue.triggers.schemes import HMAC, SCHEMES, HmacSettings, Scheme, hmac_scheme
from segue.triggers.signatures import Message

AnyScheme: TypeAlias = Scheme | TokenScheme | JwtScheme
_COMMON: Final = frozenset((*AUTH_TYPE_KEYS, "secret"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How senders prove themselves. `scheme` None: they need not (`auth: none`)."""

    kind: str
    scheme: AnyScheme | None
    is_named: bool = True
    """Whether the flow says so; only then the address may be without its unguessable part."""
    references: tuple[str, ...] = ()
    """Where the secrets stand: `env:NAME`, `file:PATH`. Empty: the trigger has its own, generated or given."""
    jwks: bytes | None = None
    """The JWK set of a JSON Web Token's issuer, as JSON."""
    jwks_url: str | None = None
    """Where that set is had."""

    @property
    def needs_secret(self) -> bool:
        """Whether a secret must be generated or given for it."""
        return self.scheme is not None and not self.references and self.jwks is None and self.jwks_url is None

    @property
    def generates(self) -> Literal["whsec", "text"] | None:
        """The form of a secret that is made here; None: the sender makes it, and it is to be given."""
        if self.kind in ("standard", "stripe"):
            return "whsec"
        return None if self.kind in ("highlevel", "shopify", "slack", "retell") else "text"

    @property
    def secret_headers(self) -> frozenset[str]:
        """Headers that hold a proof, and so are neither kept nor shown."""
        scheme = self.scheme
        return frozenset() if scheme is None or scheme.header is None else frozenset((scheme.header,))

    def event_of(self, message: Message) -> str | None:
        """What the sender calls the kind of its message."""
        if isinstance(self.scheme, Scheme):
            return message.word(self.scheme.event)
        return message.word(HMAC.event)


def read_auth(settings: Mapping[str, JsonValue]) -> Auth:
    """What the settings of a webhook trigger ask for. Raises RequestError."""
    written = settings.get("auth", settings.get("provider"))
    if written is None:
        references = _references(settings.get("secret"))
        return Auth(kind="token", scheme=TokenScheme(), is_named=False, references=references)
    options: RawMap = {}
    if isinstance(written, dict):
        options = {key: value for key, value in written.items() if value is not None}
        written = next((options[key] for key in AUTH_TYPE_KEYS if key in options), None)
    kind = AUTH_ALIASES.get(str(written).lower(), str(written).lower())
    if kind not in AUTH_KINDS:
        hint = did_you_mean(kind, AUTH_KINDS)
        known = hint or f"known: {', '.join(AUTH_KINDS)}"
        raise RequestError(f"a webhook's `auth` is one of the known kinds, not {str(written)[:60]!r}; {known}")
    unknown = sorted(options.keys() - _COMMON - {key.name for key in AUTH_KEYS[kind]})
    if unknown:
        raise RequestError(f"`auth: {kind}` has no setting {unknown[0]!r}")
    references = _references(options.get("secret", settings.get("secret")))
    jwks = options.get("jwks")
    if jwks is not None and not isinstance(jwks, dict) and not str(jwks).startswith(("https://", "http://")):
        raise RequestError("`jwks` is the issuer's JWK set (a map with the list `keys`), or its https address")
    return Auth(
        kind=kind, scheme=_scheme(kind, options), references=references,
        jwks=msgspec.json.encode(jwks) if isinstance(jwks, dict) else None,
        jwks_url=str(jwks) if jwks is not None and not isinstance(jwks, dict) else None,
    )  # fmt: skip


def _scheme(kind: str, options: RawMap) -> AnyScheme | None:
    given = {key: value for key, value in options.items() if key not in _COMMON and key != "jwks"}
    tolerance = given.pop("tolerance", None)
    seconds = None
    if tolerance is not None:
        try:
            seconds = milliseconds_of(tolerance) // 1000
        except InvalidDuration as error:
            raise RequestError(f"`tolerance` of a webhook's `auth`: {error}") from error
        given["tolerance_seconds"] = seconds
    if kind == "none":
        return None
    if kind in ("hmac", "token", "jwt"):
        records = {"hmac": HmacSettings, "token": TokenScheme, "jwt": JwtScheme}
        try:
            made = msgspec.convert(given, records[kind])
        except msgspec.ValidationError as error:
            raise RequestError(f"`auth: {kind}`: {error}") from error
        if isinstance(made, HmacSettings):
            return hmac_scheme(made)
        if isinstance(made, TokenScheme) and "header" in given and "prefix" not in given:
            made = replace(made, prefix="")
        return made if made.header is None else replace(made, header=made.header.lower())
    scheme = SCHEMES[kind]
    if seconds is not None and scheme.time is not None:
        return replace(scheme, time=replace(scheme.time, tolerance_seconds=seconds))
    return scheme


def _references(written: JsonValue) -> tuple[str, ...]:
    """Where the secrets stand; a secret's own text is refused, since a flow is read by many."""
    if written is None:
        return ()
    found: list[str] = []
    for one in written if isinstance(written, list) else [written]:
        text = str(cast("RawMap", one).get("from") if isinstance(one, dict) else one)
        if not text.startswith(SECRET_PLACES):
            raise RequestError(
                "a webhook's `secret` names a secret of the flow (`$secrets.name`) or where it stands (secret:NAME, "
                "env:NAME, file:PATH); leave it out to have one generated"
            )
        found.append(text)
    return tuple(found)


def with_places(settings: Mapping[str, JsonValue], secrets: Mapping[str, JsonValue]) -> RawMap:
    """The settings with the places of the flow's `secrets` put in where they name one, so that they stand alone."""

    def place(written: JsonValue) -> JsonValue:
        if isinstance(written, list):
            return [place(one) for one in written]
        name = str(written).removeprefix("$secrets.")
        declared = secrets.get(name)
        return str(declared.get("from")) if isinstance(declared, dict) else written

    made = {key: place(value) if key == "secret" else value for key, value in settings.items()}
    auth = made.get("auth")
    if isinstance(auth, dict) and "secret" in auth:
        made["auth"] = {**auth, "secret": place(auth["secret"])}
    return made
