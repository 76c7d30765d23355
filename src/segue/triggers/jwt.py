"""Senders that prove themselves by a JSON Web Token (RFC 7519). A module of its own: few webhooks load its library."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from segue.flow.trigger_keys import PUBLIC_ALGORITHMS, SHARED_ALGORITHMS
from segue.triggers.bearers import JwtScheme, after_prefix
from segue.triggers.signatures import Message, Secret, Verdict

_decode_keys: Final = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode
JWT_AGE_SECONDS: Final = 3_600
"""How long a token without `exp` counts after its `iat`."""


def verify_jwt(
    scheme: JwtScheme, secrets: Sequence[Secret], keys: bytes | None, message: Message, now_ms: int
) -> Verdict:
    """Judge a message by its JSON Web Token. `keys`: the JWK set as JSON, if the scheme has public keys."""
    token = after_prefix(message, scheme.header, scheme.prefix)
    if token is None:
        return Verdict("no-signature")
    active = [one.text for one in secrets if one.retire_at is None or now_ms < one.retire_at]
    if keys is None and not active:
        return Verdict("no-secret")
    claims = _public_claims(scheme, keys, token) if keys is not None else _shared_claims(scheme, active, token)
    if claims is None:
        return Verdict("bad-signature")
    return _judged(scheme, claims, now_ms // 1000)


def _public_claims(scheme: JwtScheme, keys: bytes, token: str) -> dict[str, Any] | None:
    try:
        found = KeySet.import_key_set(msgspec.json.decode(keys))
    except (JoseError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
    if any(isinstance(key, OctKey) for key in found.keys):
        return None
    wanted = [name for name in scheme.algorithms or PUBLIC_ALGORITHMS if name in PUBLIC_ALGORITHMS]
    if _key_id(token) is not None:
        return _claims_of(token, found, wanted)
    # A token that names no key may be of any of them.
    claims = (_claims_of(token, KeySet([key]), wanted) for key in found.keys)
    return next((one for one in claims if one is not None), None)


def names_unknown_key(scheme: JwtScheme, keys: bytes, message: Message) -> bool:
    """Whether the token names a key (`kid`) that is not in the set."""
    token = after_prefix(message, scheme.header, scheme.prefix)
    id = None if token is None else _key_id(token)
    return id is not None and id not in {key.get("kid") for key in _decode_keys(keys).get("keys", [])}


def _key_id(token: str) -> str | None:
    try:
        header = msgspec.json.decode(urlsafe_b64decode(token.partition(".")[0] + "=="))
    except (ValueError, msgspec.DecodeError):
        return None
    id: object = cast("dict[str, object]", header).get("kid") if isinstance(header, dict) else None
    return id if isinstance(id, str) else None


def _shared_claims(scheme: JwtScheme, secrets: Sequence[str], token: str) -> dict[str, Any] | None:
    wanted = [name for name in scheme.algorithms or SHARED_ALGORITHMS if name in SHARED_ALGORITHMS]
    for secret in secrets:
        claims = _claims_of(token, OctKey.import_key(secret.encode()), wanted)
        if claims is not None:
            return claims
    return None


def _claims_of(token: str, keys: KeySet | OctKey, algorithms: Sequence[str]) -> dict[str, Any] | None:
    try:
        found = jws.deserialize_compact(token.encode(), keys, algorithms=list(algorithms))
        claims = msgspec.json.decode(found.payload)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else None


def _judged(scheme: JwtScheme, claims: dict[str, Any], now: int) -> Verdict:
    """The claims of RFC 7519, section 4.1: a token that never ends is taken for an hour after it was issued."""
    issued, until, begins = (_seconds(claims.get(name)) for name in ("iat", "exp", "nbf"))
    tolerance = scheme.tolerance_seconds
    if until is None and issued is None:
        return Verdict("no-time")
    last = until if until is not None else (issued or 0) + JWT_AGE_SECONDS
    if now > last + tolerance:
        return Verdict("too-old")
    if any(moment is not None and moment > now + tolerance for moment in (issued, begins)):
        return Verdict("too-new")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if scheme.issuer is not None and claims.get("iss") != scheme.issuer:
        return Verdict("bad-signature")
    if scheme.audience is not None and scheme.audience not in audiences:
        return Verdict("bad-signature")
    id = claims.get("jti")
    return Verdict("ok", f"jti:{id}" if isinstance(id, str) and id else None)


def _seconds(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
