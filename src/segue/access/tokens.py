"""Random tokens: what a session's cookie, a key of a program and a one-time link consist of."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

TOKEN_BYTES: Final = 32
KEY_PREFIX: Final = "sgk_"
"""Keys of programs begin with it, so that people and scanners of leaked secrets know one when they see it."""
SHOWN_LENGTH: Final = 12
"""How much of a key lists show, so that people can tell theirs apart: 48 of its 256 bits."""


def new_token(prefix: str = "") -> str:
    """A token of 256 random bits, in letters that need no escaping."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """What is kept of a token: SHA-256. It needs no salt and no slow hash, since nobody can try 2**256 tokens."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
