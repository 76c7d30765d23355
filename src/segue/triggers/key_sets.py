"""The key sets of issuers of JSON Web Tokens that are had by an address (RFC 7517, section 5).

Issuers change their keys: a set is asked for again when it is old, and when a token names a key that it has not. That
second way is open to anybody who makes up names of keys, so it is taken seldom. An issuer that does not answer for a
while does not stop its webhooks: the last good set counts for a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, cast

import msgspec

from segue.errors import SegueError
from segue.triggers.errors import KeysUnavailableError

FRESH_MS: Final = 10 * 60_000
FLOOR_MS: Final = 30_000
"""How soon a set is asked for again at the earliest, whatever tokens come, and after a failure."""
LAST_GOOD_MS: Final = 24 * 3_600_000
KEYS_MAX: Final = 100
_log = logging.getLogger("segue.triggers")


class _Kept(NamedTuple):
    keys: bytes | None
    at: int
    """When they were had."""
    asked_at: int


class KeySets:
    """The key sets of one host. `fetch` gives the document at an address; it decides where the host may ask."""

    def __init__(self, fetch: Callable[[str], Awaitable[object]], now: Callable[[], int]) -> None:
        self._fetch = fetch
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def of(self, url: str) -> bytes:
        """The key set at an address, as JSON. Raises KeysUnavailableError."""
        kept = self._kept.get(url)
        if kept is None or kept.keys is None or self._now() - kept.at >= FRESH_MS:
            await self._ask(url)
        return self._good(url)

    async def newer(self, url: str) -> bytes | None:
        """The set asked for again, since a token names a key that it has not; None if it was just asked for."""
        before = self._kept.get(url)
        await self._ask(url)
        after = self._kept.get(url)
        return None if after is None or after == before or after.keys is None else after.keys

    def _good(self, url: str) -> bytes:
        kept = self._kept[url]
        if kept.keys is None or self._now() - kept.at >= LAST_GOOD_MS:
            raise KeysUnavailableError("the keys of the webhook's issuer cannot be had now")
        return kept.keys

    async def _ask(self, url: str) -> None:
        async with self._turns.setdefault(url, asyncio.Lock()):
            kept, now = self._kept.get(url), self._now()
            if kept is not None and now - kept.asked_at < FLOOR_MS:
                return
            try:
                keys = _checked(await self._fetch(url))
            except SegueError as error:
                _log.warning("the key set at %s cannot be had: %s", url, error.message)
                self._kept[url] = _Kept(None, 0, now) if kept is None else kept._replace(asked_at=now)
                return
            self._kept[url] = _Kept(keys, now, now)


def _checked(document: object) -> bytes:
    """Raises KeysUnavailableError for what is no set of public keys."""
    keys = cast("dict[str, object]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 0 < len(cast("list[object]", keys)) <= KEYS_MAX:
        raise KeysUnavailableError("the document is no JWK set: it has no list `keys`, or too long a one")
    every = [cast("dict[str, object]", one) for one in cast("list[object]", keys) if isinstance(one, dict)]
    public = [one for one in every if _is_public(one)]
    return msgspec.json.encode({"keys": public})


def _is_public(key: dict[str, object]) -> bool:
    """Shared secrets have no place in a document that anybody may read, and keys for encryption sign nothing."""
    return key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig" and "d" not in key
