"""Ids, keys and tokens. Run ids are UUIDv7 (RFC 9562) in the letters of Crockford's base 32, so that they sort by time
and are easy to read.

The idempotency key and the callback token are functions of (run, step, generation): the same over retries and restarts,
so that nothing has to be kept for them, and new after a rewind.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
from typing import Final

import msgspec

WORKSPACE: Final = "default"
"""Where everything is that names no workspace."""

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in _CROCKFORD for second in _CROCKFORD]
"""Ten bits at a time: half the work of one letter at a time."""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_ENTROPY_BYTES: Final = 4096
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Entropy:
    """The operating system's random bytes, read in portions: each read hands Python's lock to another thread, which
    costs more than the bytes.
    """

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """`count` bytes that were not given before."""
        begin = self._at
        if begin + count > len(self._bytes):
            self._bytes = os.urandom(max(_ENTROPY_BYTES, count))
            begin = 0
        self._at = begin + count
        return self._bytes[begin : begin + count]


def new_run_id(now_ms: int, *, prefix: str = "run_", entropy: bytes | None = None) -> str:
    """`run_` and 26 characters. `entropy` (10 bytes) is for tests; otherwise the operating system's."""
    tail = int.from_bytes(entropy if entropy is not None else os.urandom(10), "big")
    number = (now_ms & 0xFFFF_FFFF_FFFF) << 80
    number |= 0x7 << 76 | (tail >> 62 & 0xFFF) << 64 | 0b10 << 62 | tail & 0x3FFF_FFFF_FFFF_FFFF
    number <<= 2  # 26 letters hold 130 bits
    return prefix + "".join([_PAIRS[number >> shift & 0x3FF] for shift in range(120, -10, -10)])


def new_seed(*, entropy: bytes | None = None) -> str:
    """The source of one run's random values: 16 bytes, hex. `entropy` as for `new_run_id`."""
    return (entropy if entropy is not None else os.urandom(16)).hex()


def call_id(workspace: str, run_id: str, step: str, generation: int) -> str:
    """What all attempts of one step instance have in common, and no others."""
    return f"{workspace}\n{run_id}\n{step}\n{generation}"


def idempotency_key(call: str) -> str:
    """What is sent as `Idempotency-Key` for a `call_id`: 43 characters."""
    return _url_safe(hashlib.sha256(call.encode()).digest())


def callback_token(server_key: bytes, run_id: str, step: str, generation: int) -> str:
    """The unguessable token of a step's callback: HMAC-SHA-256 under the server's key, 43 characters."""
    digest = hmac.new(server_key, f"callback\n{run_id}\n{step}\n{generation}".encode(), hashlib.sha256).digest()
    return _url_safe(digest)


def correlation(value: object) -> str | None:
    """What a callback is called by, as the database keeps it: JSON, the keys of maps in order."""
    return None if value is None else _encode_sorted(value).decode()


def token_hash(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def _url_safe(digest: bytes) -> str:
    """RFC 4648, section 5, without padding: 43 characters of 32 bytes."""
    return binascii.b2a_base64(digest, newline=False).translate(_URL_SAFE)[:-1].decode()
