"""Passwords: which are taken, and how they are kept and checked (argon2id, RFC 9106).

The rules are those of NIST SP 800-63B, section 5.1.1.2: length counts, composition does not, and what everybody tries
first is refused. Hashing takes a tenth of a second and 64 MiB on purpose, so it runs in a thread, a few at a time.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterable
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from segue.access.errors import WeakPasswordError

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 256
DIFFERENT_MIN: Final = 5
AT_ONCE_MAX: Final = 4
"""How many passwords are hashed at one time: 256 MiB of memory."""
_TRIED_FIRST: Final = (
    "password", "passwort", "qwertyuiop", "qwertzuiop", "asdfghjkl", "letmein", "welcome", "iloveyou", "administrator",
    "changeme", "trustno1", "correcthorsebatterystaple", "1234567890", "0987654321", "abcdefghijkl", "segue",
)  # fmt: skip


class Passwords:
    """Hashes and checks passwords. Belongs to one event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """`hasher`: other costs than argon2-cffi's defaults, which are RFC 9106's second recommendation."""
        self._hasher = hasher or PasswordHasher()
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)
        self._nobody: str | None = None

    async def hashed(self, password: str) -> str:
        """What is kept of a password."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, _normal(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether it is this password. Takes as long if there is none, so that an answer's time tells nothing."""
        if self._nobody is None:
            self._nobody = await self.hashed("nobody has this password")
        async with self._turn:
            fits = await asyncio.to_thread(self._fits, kept or self._nobody, _normal(password))
        return fits and kept is not None

    def _fits(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


def check_password(password: str, about: Iterable[str]) -> None:
    """Raises WeakPasswordError for one that is too short, too long, or among the first that others would try.

    `about`: what others know of the person (name, e-mail address).
    """
    normal = _normal(password)
    folded = normal.casefold()
    if len(normal) < LENGTH_MIN:
        fault = f"use at least {LENGTH_MIN} characters; several words are easy to remember"
    elif len(normal) > LENGTH_MAX:
        fault = f"use at most {LENGTH_MAX} characters"
    elif len(set(folded)) < DIFFERENT_MIN:
        fault = "it repeats too few characters"
    elif _is_little_more_than(folded, [*_TRIED_FIRST, *_parts(about)]):
        fault = "it is little more than a word that others try first, or your own name or address"
    else:
        return
    raise WeakPasswordError(f"this password is not taken: {fault}")


def _is_little_more_than(password: str, words: list[str]) -> bool:
    """Whether too little is left of a password without these words."""
    rest = password
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != password and len(rest) < LENGTH_MIN // 2


def _parts(about: Iterable[str]) -> list[str]:
    whole = [text.casefold() for text in about]
    parts = [part for text in whole for part in text.replace("@", " ").replace(".", " ").split()]
    return [word for word in (*whole, *parts) if len(word) > 3]


def _normal(password: str) -> str:
    """The same password from every keyboard (RFC 8265, section 4.2: NFC)."""
    return unicodedata.normalize("NFC", password)
