"""Keys of issuers by their address: kept, asked for again, and not asked for too often."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from segue.errors import SecretUnavailableError, StepError
from segue.triggers.errors import TooOftenError
from segue.triggers.key_sets import FLOOR_MS, FRESH_MS, LAST_GOOD_MS, KeySets
from segue.triggers.rates import Rates

pytestmark = [pytest.mark.anyio]

URL = "https://issuer.example.com/keys"


class Issuer:
    """An issuer with a clock beside it."""

    def __init__(self) -> None:
        self.at = 1_800_000_000_000
        self.asked = 0
        self.answer: Any = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "abc"}]}
        self.sets = KeySets(self.fetch, lambda: self.at)

    async def fetch(self, url: str) -> object:
        assert url == URL
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def names(self) -> list[str]:
        return [key["kid"] for key in msgspec.json.decode(await self.sets.of(URL))["keys"]]


@pytest.mark.req("TRIG-1.issuer-keys")
async def test_a_key_set_is_had_once_for_many_and_again_when_it_is_old() -> None:
    issuer = Issuer()
    assert await asyncio.gather(*(issuer.names() for _ in range(20))) == [["one"]] * 20
    assert issuer.asked == 1
    issuer.at += FRESH_MS - 1
    await issuer.names()
    assert issuer.asked == 1
    issuer.at += 1
    issuer.answer = {"keys": [{"kty": "RSA", "kid": "two"}]}
    assert await issuer.names() == ["two"]


@pytest.mark.req("TRIG-1.issuer-keys")
async def test_made_up_names_of_keys_make_nobody_ask_the_issuer_more_than_seldom() -> None:
    issuer = Issuer()
    await issuer.names()
    assert await issuer.sets.newer(URL) is None
    issuer.at += FLOOR_MS
    issuer.answer = {"keys": [{"kty": "RSA", "kid": "two"}]}
    found = await asyncio.gather(*(issuer.sets.newer(URL) for _ in range(50)))
    assert [one for one in found if one is not None]
    assert issuer.asked == 2


@pytest.mark.req("TRIG-1.issuer-keys")
async def test_an_issuer_that_is_down_stops_its_webhooks_after_a_day_and_is_not_pestered() -> None:
    issuer = Issuer()
    await issuer.names()
    good = issuer.answer
    for broken in (StepError("refused", category="connection"), {"keys": []}, {"keys": "x"}, [], None):
        issuer.at += FRESH_MS
        issuer.answer = broken
        assert await issuer.names() == ["one"]
    asked = issuer.asked
    for _ in range(10):
        assert await issuer.names() == ["one"]
    assert issuer.asked == asked
    issuer.at += LAST_GOOD_MS
    with pytest.raises(SecretUnavailableError):
        await issuer.names()
    issuer.at += FLOOR_MS
    issuer.answer = good
    assert await issuer.names() == ["one"]


@pytest.mark.req("TRIG-1.issuer-keys")
async def test_shared_private_and_encryption_keys_of_a_set_are_left_out() -> None:
    issuer = Issuer()
    issuer.answer = {
        "keys": [
            {"kty": "oct", "kid": "shared", "k": "abc"}, {"kty": "RSA", "kid": "enc", "use": "enc"},
            {"kty": "EC", "kid": "private", "d": "x"}, {"kty": "RSA", "kid": "good", "use": "sig"}, 7,
        ]
    }  # fmt: skip
    assert await issuer.names() == ["good"]


@pytest.mark.req("TRIG-1.rate")
def test_a_rate_holds_for_any_stretch_of_its_length() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    for at in (0.0, 0.9):
        now[0] = at
        rates.take("a", (2, 1.0))
    now[0] = 0.95
    with pytest.raises(TooOftenError) as refused:
        rates.take("a", (2, 1.0))
    assert refused.value.retry_after_seconds == pytest.approx(0.05)
    rates.take("b", (2, 1.0))
    now[0] = 1.0
    rates.take("a", (2, 1.0))
    now[0] = 1.5
    with pytest.raises(TooOftenError):
        rates.take("a", (2, 1.0))
    rates.take("a", None)
    rates.take("a", (2, 1.0))
