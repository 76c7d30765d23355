"""Sealing: bytes are encrypted with AES-256-GCM under the key ring and bound to the place that they are kept in.

A sealed text is `version (1) | key id (8) | salt (16) | nonce (12) | ciphertext | tag (16)`. Each has a key of its own,
derived from the ring's by HKDF-SHA256 with the salt (RFC 5869), so that no number of them wears a key out: random
nonces alone would allow 2**32 (NIST SP 800-38D, section 8.3). The context is authenticated: what was sealed for one
row does not open in another, nor an older version of a row in the place of a newer one.

The library is loaded with the first seal that is set or opened: an engine whose runs hold no secret starts without it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from segue.access.keyring import KEY_BYTES, KEY_ID_BYTES, Key, KeyRing
from segue.errors import EngineError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = b"\x01"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEY_ID_END: Final = 1 + KEY_ID_BYTES
_SALT_END: Final = _KEY_ID_END + _SALT_BYTES
_NONCE_END: Final = _SALT_END + _NONCE_BYTES
OVERHEAD_BYTES: Final = _NONCE_END + _TAG_BYTES
"""By how much a sealed text is longer than what is in it."""

_INFO: Final = b"segue seal 1"
_encode = msgspec.json.Encoder().encode


class UnsealError(EngineError):
    """What is sealed cannot be opened: its key is missing, or it was changed or moved."""


class Context(NamedTuple):
    """The place of a sealed value: what it is of (`secret`, `trigger`), its workspace, its row's id and version."""

    kind: str
    workspace: str
    id: str
    version: int = 1


class Vault:
    """Seals and opens with the keys of a ring. Safe to share between threads."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def seal(self, context: Context, plain: bytes) -> bytes:
        """The bytes, encrypted under the active key; to be opened with an equal context only."""
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        active = self.ring.active
        sealed = _cipher(active, salt).encrypt(nonce, plain, _bound(context))
        return b"".join((_VERSION, active.id, salt, nonce, sealed))

    def open(self, context: Context, sealed: bytes) -> bytes:
        """What was sealed. Raises UnsealError, which says whether a key is missing, and never shows what is inside."""
        key = self.key_of(context, sealed)
        salt, nonce = sealed[_KEY_ID_END:_SALT_END], sealed[_SALT_END:_NONCE_END]
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            return _cipher(key, salt).decrypt(nonce, sealed[_NONCE_END:], _bound(context))
        except InvalidTag:
            raise UnsealError(
                f"{_named(context)} cannot be decrypted: its bytes were changed, or moved from elsewhere"
            ) from None

    def key_of(self, context: Context, sealed: bytes) -> Key:
        """The key that a sealed text needs. Raises UnsealError if the ring does not have it."""
        key = self.ring.get(key_id_of(sealed))
        if key is None:
            raise UnsealError(
                f"{_named(context)} is encrypted with the key {key_id_of(sealed).hex()}, which is not in "
                "the key ring: add that key to SEGUE_KEYS or restore the key file that belongs to this database"
            )
        return key


def key_id_of(sealed: bytes) -> bytes:
    """Which key a sealed text needs. Raises UnsealError if it is no sealed text."""
    if len(sealed) < OVERHEAD_BYTES or sealed[:1] != _VERSION:
        raise UnsealError("these bytes are nothing that this version of Segue has sealed")
    return sealed[1:_KEY_ID_END]


def _named(context: Context) -> str:
    return f"the {context.kind} {context.id}" if context.id else f"a sealed {context.kind}"


def _bound(context: Context) -> bytes:
    return _encode(context)


def _cipher(key: Key, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(key.secret))
