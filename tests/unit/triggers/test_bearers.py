"""Tokens and JSON Web Tokens: who is let in, and the ways in which keys are confused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from joserfc import jwt as josejwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from segue.errors import RequestError
from segue.triggers.auth import read_auth, with_places
from segue.triggers.bearers import JwtScheme, TokenScheme, verify_token
from segue.triggers.jwt import verify_jwt
from segue.triggers.signatures import Message, Secret

NOW = 1_700_000_000_000
SECONDS = NOW // 1000
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
JWKS = msgspec.json.encode(KeySet([KEY]).as_dict(private=False))
SHARED = OctKey.import_key("a-secret-that-is-long-enough-for-hs256")


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256") -> Message:
    token = josejwt.encode({"alg": algorithm, "kid": "one"}, claims, key, algorithms=[algorithm])
    return Message([("Authorization", f"Bearer {token}")], b"{}")


def claims(**more: object) -> dict[str, Any]:
    return {"iat": SECONDS, "exp": SECONDS + 60, "iss": "https://sender", "aud": ["segue"], "jti": "j-1", **more}


@pytest.mark.req("TRIG-1.token")
@pytest.mark.parametrize(
    ("scheme", "headers", "query", "reason"),
    [
        (TokenScheme(), [("authorization", "Bearer right")], [], "ok"),
        (TokenScheme(), [("authorization", "bearer old")], [], "ok"),
        (TokenScheme(), [("authorization", "Bearer gone")], [], "bad-signature"),
        (TokenScheme(), [("authorization", "Basic right")], [], "no-signature"),
        (TokenScheme(), [("authorization", "Bearer right")] * 2, [], "no-signature"),
        (TokenScheme(header="x-key", prefix=""), [("X-Key", "right")], [], "ok"),
        (TokenScheme(query="key"), [], [("key", "right")], "ok"),
        (TokenScheme(query="key"), [], [("key", "right"), ("key", "right")], "no-signature"),
        (TokenScheme(query="key"), [("authorization", "Bearer right")], [], "no-signature"),
    ],
)
def test_a_token_is_looked_for_where_the_flow_says(
    scheme: TokenScheme, headers: list[tuple[str, str]], query: list[tuple[str, str]], reason: str
) -> None:
    secrets = [Secret("right"), Secret("old", retire_at=NOW + 1), Secret("gone", retire_at=NOW)]

    assert verify_token(scheme, secrets, Message(headers, b"", query), NOW).reason == reason
    assert verify_token(scheme, [], Message(headers, b"", query), NOW).reason == "no-secret"


@pytest.mark.req("TRIG-1.jwt")
def test_a_web_token_of_the_issuers_keys_is_taken_with_its_id() -> None:
    scheme = JwtScheme(issuer="https://sender", audience="segue")

    verdict = verify_jwt(scheme, [], JWKS, signed(claims()), NOW)

    assert (verdict.reason, verdict.id) == ("ok", "jti:j-1")
    assert verify_jwt(scheme, [], JWKS, signed(claims(), OTHER), NOW).reason == "bad-signature"
    assert verify_jwt(scheme, [], JWKS, signed(claims(iss="https://else")), NOW).reason == "bad-signature"
    assert verify_jwt(scheme, [], JWKS, signed(claims(aud="else")), NOW).reason == "bad-signature"
    assert (
        verify_jwt(scheme, [], JWKS, Message([("authorization", "Bearer x.y.z")], b""), NOW).reason == "bad-signature"
    )
    assert verify_jwt(scheme, [], b"{}", signed(claims()), NOW).reason == "bad-signature"


@pytest.mark.req("TRIG-1.jwt")
def test_a_web_tokens_times_are_held_to() -> None:
    scheme = JwtScheme(tolerance_seconds=10)

    def reason(now: int, **more: object) -> str:
        return verify_jwt(scheme, [], JWKS, signed(claims(**more)), now * 1000).reason

    assert reason(SECONDS + 70) == "ok"
    assert reason(SECONDS + 71) == "too-old"
    assert reason(SECONDS - 11) == "too-new"
    assert reason(SECONDS, nbf=SECONDS + 11) == "too-new"
    assert reason(SECONDS, exp=None, iat=None) == "no-time"
    assert reason(SECONDS + 3_611, exp=None) == "too-old"


@pytest.mark.req("TRIG-1.jwt")
def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    public = KEY.as_pem(private=False)
    forged = signed(claims(), OctKey.import_key(msgspec.json.encode(KEY.as_dict(private=False))), "HS256")
    assert verify_jwt(JwtScheme(), [], JWKS, forged, NOW).reason == "bad-signature"
    assert verify_jwt(JwtScheme(), [Secret(public.decode())], JWKS, forged, NOW).reason == "bad-signature"
    shared = signed(claims(), SHARED, "HS256")
    assert verify_jwt(JwtScheme(), [Secret("a-secret-that-is-long-enough-for-hs256")], None, shared, NOW).accepted
    assert verify_jwt(JwtScheme(), [Secret("another-secret-of-some-length-here")], None, shared, NOW).reason == (
        "bad-signature"
    )
    octets = msgspec.json.encode(KeySet([SHARED]).as_dict(private=True))
    assert verify_jwt(JwtScheme(), [], octets, shared, NOW).reason == "bad-signature"
    assert verify_jwt(JwtScheme(), [], None, shared, NOW).reason == "no-secret"


@pytest.mark.req("TRIG-1.settings")
@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "strype"}, {"auth": {"type": "hmac", "heador": "x"}}, {"auth": "stripe", "secret": "whsec_plain"},
        {"auth": {"type": "hmac", "algorithm": "md5"}}, {"auth": {"type": "stripe", "tolerance": "soon"}},
        {"auth": {"type": "jwt", "jwks": "ftp://keys"}},
    ],
)  # fmt: skip
def test_settings_that_would_not_do_what_they_seem_to_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        read_auth(settings)


@pytest.mark.req("TRIG-1.settings")
def test_a_secret_of_the_flow_is_named_and_stands_where_the_flow_says() -> None:
    placed = with_places({"auth": {"type": "github", "secret": "$secrets.hook"}}, {"hook": {"from": "env:HOOK"}})

    auth = read_auth(placed)

    assert (auth.kind, auth.references, auth.needs_secret) == ("github", ("env:HOOK",), False)
    assert read_auth({}).kind == "token"
    assert not read_auth({}).is_named
    assert read_auth({"auth": "none"}).scheme is None
