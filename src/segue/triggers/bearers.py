"""Senders that prove themselves without signing the body: a token of theirs, or a JSON Web Token (RFC 7519).

A token's holder may send any body, so these are weaker than a signature; they are for senders that offer nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from segue.triggers.signatures import Message, Secret, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScheme:
    """A token in a header, with `Bearer` or another word before it, or in the address's query."""

    header: str | None = "authorization"
    prefix: str = "Bearer "
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtScheme:
    """A JSON Web Token in a header. Its keys are a JWK set, or secrets that are shared (then HS256 and its kin)."""

    header: str = "authorization"
    prefix: str = "Bearer "
    issuer: str | None = None
    audience: str | None = None
    algorithms: tuple[str, ...] = ()
    """Empty: all of the family that the keys are of. The two families are never mixed."""
    tolerance_seconds: int = 60


def verify_token(scheme: TokenScheme, secrets: Sequence[Secret], message: Message, now_ms: int) -> Verdict:
    """Judge a message by its token."""
    active = [one.text for one in secrets if one.retire_at is None or now_ms < one.retire_at]
    if not active:
        return Verdict("no-secret")
    if scheme.query is not None:
        given = message.query(scheme.query)
    else:
        given = after_prefix(message, scheme.header or "authorization", scheme.prefix)
    if given is None:
        return Verdict("no-signature")
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
    holds = False
    for secret in active:
        holds |= hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), digest)
    return Verdict("ok") if holds else Verdict("bad-signature")


def after_prefix(message: Message, header: str, prefix: str) -> str | None:
    """What stands behind a word such as `Bearer` in a header; None if it is not there once."""
    value = message.header(header)
    if value is None or value[: len(prefix)].lower() != prefix.lower():
        return None
    return value[len(prefix) :].strip() or None
