"""What keeps secret values unreadable in the journal: the port to the keys, and values on their way between runs.

A result, an input or an event that holds a secret stands in the database encrypted (`segue.expr.sealed`), so that the
run can go on after a crash and nobody can read it there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from segue.errors import EngineError, InvalidInputError
from segue.expr.sealed import Box, Sealer, holds_sealed, opened
from segue.flow.inputs import resolve_inputs
from segue.flow.model import Flow, JsonValue, RawMap

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Sealing(Protocol):
    """The keys that values are sealed with, one set a workspace."""

    @property
    def server_key(self) -> bytes | None:
        """What callback tokens and the keys of stored results are made with; None if this port does not keep it."""
        ...

    async def open(self) -> None:
        """Load what there is. Raises EngineError if a key that is needed is missing."""
        ...

    async def look(self) -> None:
        """The same for a process that only reads, and can do with less."""
        ...

    async def ready(self, workspace: str) -> None:
        """Returns when the workspace has a key, which is kept. Raises StoreUnavailableError."""
        ...

    def sealer(self, workspace: str) -> Sealer:
        """Seals and opens for one workspace. What needs a key that is not there raises EngineError."""
        ...


class LocalSealing:
    """Keys derived from one that the program holds: for engines that are built without the service's tables."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sealers: dict[str, _LocalSealer] = {}

    @property
    def server_key(self) -> bytes | None:
        """Not kept here."""
        return None

    async def open(self) -> None:
        """Nothing is to be loaded."""

    async def look(self) -> None:
        """Nothing is to be loaded."""

    async def ready(self, workspace: str) -> None:
        """Every workspace has its key."""

    def sealer(self, workspace: str) -> Sealer:
        """See `Sealing.sealer`."""
        found = self._sealers.get(workspace)
        if found is None:
            found = self._sealers[workspace] = _LocalSealer(self._key, workspace)
        return found


class _LocalSealer:
    def __init__(self, key: bytes, workspace: str) -> None:
        self._key = hmac.digest(key, b"segue values\0" + workspace.encode(), hashlib.sha256)

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - most runs hold no secret

        return AESGCM(self._key)

    def seal(self, plain: object) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, _encode(plain), None)).decode()

    def open(self, sealed: str) -> object:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            data = base64.b64decode(sealed)
            return _decode(self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None))
        except (InvalidTag, ValueError):
            raise EngineError("a sealed value cannot be decrypted: its key is another one, or it was changed") from None


def resolved(flow: Flow, inputs: Mapping[str, JsonValue], box: Box) -> RawMap:
    """Inputs as the flow takes them; those that came sealed are sealed again. Raises InvalidInputError, which does not
    quote them.
    """
    secret = frozenset(name for name, value in inputs.items() if holds_sealed(value))
    if not secret:
        return resolve_inputs(flow, cast("RawMap", inputs))
    try:
        found = resolve_inputs(flow, opened(dict(inputs)))
    except InvalidInputError as error:
        details = [(path, _told(path, sentence, secret)) for path, sentence in error.details]
        raise InvalidInputError("; ".join(f"{path}: {told}" for path, told in details), details) from None
    return {name: _again(value, inputs.get(name), box) if name in secret else value for name, value in found.items()}


def _told(path: str, sentence: str, secret: frozenset[str]) -> str:
    name = path.partition(".")[0].partition("[")[0]
    return "a value that is kept secret does not fit" if not name or name in secret else sentence


def _again(value: JsonValue, before: object, box: Box) -> JsonValue:
    """Sealed where it was before, as far as it has kept its shape; else as a whole."""
    if isinstance(value, dict) and type(before) is dict:
        old = cast("dict[str, object]", before)
        return {name: _again(one, old[name], box) if name in old else one for name, one in value.items()}
    items = cast("list[object]", before) if type(before) is list else None
    if isinstance(value, list) and items is not None and len(items) == len(value):
        return [_again(one, old, box) for one, old in zip(value, items, strict=True)]
    return box.mark(value) if holds_sealed(cast("object", before)) else value
