"""The one verifier of signed webhooks: a scheme's record, the active secrets and the raw bytes in; a verdict out.

Rules that hold for every scheme: the bytes are those that came, before any parser; a header that comes twice or is not
exactly of its form is refused; all signatures of the header are tried against all active secrets and compared in
constant time; the time of signing may be off by the tolerance in either direction. Why something was refused is for
our own log and the delivery's record, never for the sender.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from segue.errors import RequestError
from segue.triggers.schemes import Encoding, KeyForm, Moment, Proof, Scheme, Source, TimeUnit

Reason = Literal[
    "ok", "no-secret", "no-signature", "bad-format", "no-time", "too-old", "too-new", "no-id", "bad-signature",
]  # fmt: skip
"""Why a message was taken or refused; kept with the delivery, never told to the sender."""
PARTS_MAX: Final = 32
"""Signatures in one header: a sender that is rolling its secret sends two."""
HEADER_MAX: Final = 8_192
ID_MAX: Final = 300
_HASHES: Final = {"hmac-sha1": hashlib.sha1, "hmac-sha256": hashlib.sha256, "hmac-sha512": hashlib.sha512}
_SIZES: Final = {"hmac-sha1": 20, "hmac-sha256": 32, "hmac-sha512": 64, "ed25519": 64}
_HEX: Final = re.compile(r"(?:(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+)\Z")
"""In small letters or in capitals; nobody writes both."""
_TIME: Final = re.compile(r"[0-9]{1,16}\Z")
_TEMPLATE: Final = re.compile(r"\{(body|time|id)\}")
_WHSEC_BYTES: Final = (24, 64)
_UNITS_MS: Final = {"s": 1000, "ms": 1}


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's text. It counts until `retire_at` (ms since the epoch), so that an old and a new one overlap."""

    text: str
    retire_at: int | None = None

    def __repr__(self) -> str:
        return "Secret(***)"


class Message:
    """A request as it came: its headers, the body's raw bytes, the address's query. `read` gives the body's JSON, or
    raises RequestError; left out, it is decoded here.
    """

    def __init__(
        self,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        query: Sequence[tuple[str, str]] = (),
        read: Callable[[], object] | None = None,
    ) -> None:
        self._headers: dict[str, str | None] = {}
        for name, value in headers:
            key = name.lower()
            self._headers[key] = None if key in self._headers else value
        self.body = body
        self._query = query
        self._read = read or self._decoded
        self._fields: object = None

    def header(self, name: str) -> str | None:
        """The header's value; None if it is missing, is there more than once, or is too long."""
        value = self._headers.get(name)
        return value if value is None or len(value) <= HEADER_MAX else None

    def has(self, name: str) -> bool:
        """Whether the header came at all."""
        return name in self._headers

    def query(self, name: str) -> str | None:
        """The parameter's value; None if it is missing or there more than once."""
        values = [value for key, value in self._query if key == name]
        return values[0] if len(values) == 1 else None

    def field(self, path: str) -> object:
        """A field of a JSON body; None if there is none, or if the body is no JSON."""
        if self._fields is None:
            try:
                self._fields = self._read()
            except RequestError:
                self._fields = ()
        found = self._fields
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return found  # pyright: ignore[reportUnknownVariableType]

    def _decoded(self) -> object:
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError("the body is no JSON") from error

    def word(self, source: Source | None) -> str | None:
        """What stands at a source, as text of 1 to 300 characters; None otherwise."""
        if source is None:
            return None
        if source.header is not None:
            found = self.header(source.header)
        else:
            found = self.query(source.query) if source.query is not None else self.field(source.field or "")
        text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        return text if 0 < len(text) <= ID_MAX else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the message is from one who knows the secret. `id`: what a repeated delivery has in common with it."""

    reason: Reason
    id: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether it may be acted upon."""
        return self.reason == "ok"


def verify(scheme: Scheme, secrets: Sequence[Secret], message: Message, now_ms: int) -> Verdict:
    """Judge a message by a scheme, at a time of ours (ms since the epoch). Never raises for what was sent."""
    active = [one.text for one in secrets if one.retire_at is None or now_ms < one.retire_at]
    if not active:
        return Verdict("no-secret")
    given = message.header(scheme.header)
    if given is None:
        return Verdict("bad-format" if message.has(scheme.header) else "no-signature")
    parts = [given] if scheme.separator is None else given.split(scheme.separator)
    if len(parts) > PARTS_MAX:
        return Verdict("bad-format")
    at, moment = "", scheme.time
    if moment is not None and moment.field is None:
        found = _time_of(moment, parts, message)
        if found is None:
            return Verdict("no-time")
        at = found
    id = message.word(scheme.id) if scheme.id is not None and scheme.id.header is not None else None
    if id is None and "{id}" in scheme.signed:
        return Verdict("no-id")
    candidates = _candidates(scheme, parts)
    if not candidates:
        return Verdict("bad-format")
    signed = _signed(scheme.signed, body=message.body, time=at.encode(), id=(id or "").encode())
    if not _is_signed(candidates, active, signed):
        return Verdict("bad-signature")
    # Only now is the body read: before, nobody had said that it is the sender's.
    wrong = None if moment is None else _untimely(moment, at or _time_of(moment, parts, message), now_ms)
    if wrong is not None:
        return Verdict(wrong)
    id = id or message.word(scheme.id)
    if id is None:
        # By what the texts of the header mean: the same signature in capitals is the same delivery.
        proofs = b"".join(sorted(raw for _, raw in candidates))
        id = "sha256:" + hashlib.sha256(at.encode() + b"\n" + proofs + message.body).hexdigest()
    return Verdict("ok", id)


def _time_of(moment: Moment, parts: Sequence[str], message: Message) -> str | None:
    """The time as it is written; None if it is not there once, in its form."""
    if moment.header is not None:
        found = message.header(moment.header)
    elif moment.prefix is not None:
        times = [part.removeprefix(moment.prefix) for part in parts if part.startswith(moment.prefix)]
        found = times[0] if len(times) == 1 else None
    else:
        value = message.field(moment.field or "")
        found = value if isinstance(value, str) else None
    return found if found is not None and _moment_ms(moment.unit, found) is not None else None


def _moment_ms(unit: TimeUnit, text: str) -> int | None:
    if unit != "rfc3339":
        return int(text) * _UNITS_MS[unit] if _TIME.match(text) else None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else round(at.timestamp() * 1000)


def _untimely(moment: Moment, text: str | None, now_ms: int) -> Reason | None:
    """What is wrong with the time of signing; None: nothing."""
    at = None if text is None else _moment_ms(moment.unit, text)
    if at is None:
        return "no-time"
    tolerance = moment.tolerance_seconds * 1000
    if moment.unit == "s":  # its sender has cut up to a second off
        now_ms = now_ms // 1000 * 1000
    if now_ms - at > tolerance:
        return "too-old"
    return "too-new" if at - now_ms > tolerance else None


def _candidates(scheme: Scheme, parts: Sequence[str]) -> list[tuple[Proof, bytes]]:
    """The signatures of the header that are exactly of their form."""
    found: list[tuple[Proof, bytes]] = []
    for part in parts:
        proof = next((proof for proof in scheme.proofs if part.startswith(proof.prefix)), None)
        raw = None if proof is None else _bytes_of(part.removeprefix(proof.prefix), proof.encoding)
        if proof is not None and raw is not None and len(raw) == _SIZES[proof.algorithm]:
            found.append((proof, raw))
    return found


def _bytes_of(text: str, encoding: Encoding) -> bytes | None:
    if encoding == "hex":
        return bytes.fromhex(text) if _HEX.match(text) else None
    if encoding == "base64url":
        return _url_safe(text)
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Base64 has several texts for the same bytes when the last letter has bits to spare; one of them is the right one.
    return raw if base64.b64encode(raw).decode() == text else None


def _url_safe(text: str) -> bytes | None:
    """RFC 4648, section 5, with or without padding, of which there is one right text each."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    exact = base64.urlsafe_b64encode(raw).decode()
    return raw if text in (exact, exact.rstrip("=")) else None


def _signed(template: str, **values: bytes) -> bytes:
    pieces: list[bytes] = []
    end = 0
    for found in _TEMPLATE.finditer(template):
        pieces += (template[end : found.start()].encode(), values[found[1]])
        end = found.end()
    pieces.append(template[end:].encode())
    return b"".join(pieces)


def _is_signed(candidates: Sequence[tuple[Proof, bytes]], secrets: Sequence[str], signed: bytes) -> bool:
    """Whether one of the signatures is made with one of the secrets. All are looked at, whichever fits."""
    holds = False
    for proof, sent in candidates:
        for secret in secrets:
            key = key_bytes(proof.key, secret)
            if key is None:
                continue
            if proof.algorithm == "ed25519":
                holds |= _is_ed25519(key, sent, signed)
            else:
                holds |= hmac.compare_digest(hmac.new(key, signed, _HASHES[proof.algorithm]).digest(), sent)
    return holds


def _is_ed25519(key: bytes, sent: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(sent, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def key_bytes(form: KeyForm, secret: str) -> bytes | None:
    """A secret's text as the key's bytes; None if it is not of this form."""
    match form:
        case "text":
            return secret.encode() or None
        case "hex":
            return _bytes_of(secret.lower(), "hex")
        case "base64":
            return _loose_base64(secret)
        case "whsec":
            key = _loose_base64(secret.removeprefix("whsec_"))
            least, most = _WHSEC_BYTES
            return key if key is not None and least <= len(key) <= most else None
        case "public":
            return _public_key(secret)


def _loose_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _public_key(text: str) -> bytes | None:
    text = text.strip()
    if text.startswith("-----BEGIN"):
        # Reading PEM takes a third of the time that all of Segue takes to load.
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            return None
        return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
    # 32 bytes: RFC 8032, section 5.1.5.
    raw = bytes.fromhex(text) if len(text) == 64 and _HEX.match(text.lower()) else None
    raw = raw or _loose_base64(text.removeprefix("whpk_"))
    return raw if raw is not None and len(raw) == 32 else None
