"""What whoever runs the server says about all of its triggers, by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from segue.errors import RequestError
from segue.flow.trigger_keys import BODY_BYTES, BODY_BYTES_MAX
from segue.kernel.durations import InvalidDuration, milliseconds_of
from segue.triggers.deliveries import KEPT_MS

BODY_VARIABLE: Final = "SEGUE_WEBHOOK_MAX_BYTES"
KEPT_VARIABLE: Final = "SEGUE_DELIVERIES_KEPT"
KEPT_LEAST_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerLimits:
    """`body_bytes`: the largest body of a webhook that says nothing of it. `kept_ms`: how long deliveries and what
    became of due times are kept, in milliseconds.
    """

    body_bytes: int = BODY_BYTES
    kept_ms: int = KEPT_MS


DEFAULT_LIMITS: Final = TriggerLimits()


def limits_of(environment: Mapping[str, str]) -> TriggerLimits:
    """Raises RequestError for a setting that says nothing sensible."""
    limits = DEFAULT_LIMITS
    if text := environment.get(BODY_VARIABLE):
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= BODY_BYTES_MAX:
            raise RequestError(f"{BODY_VARIABLE}={text[:40]!r}: write a number of bytes, up to {BODY_BYTES_MAX:,}")
        limits = TriggerLimits(body_bytes=int(text), kept_ms=limits.kept_ms)
    if text := environment.get(KEPT_VARIABLE):
        try:
            kept = milliseconds_of(text)
        except InvalidDuration as error:
            raise RequestError(f"{KEPT_VARIABLE}: {error}") from error
        if kept < KEPT_LEAST_MS:
            raise RequestError(f"{KEPT_VARIABLE}={text[:40]!r}: keep deliveries for a minute at least")
        limits = TriggerLimits(body_bytes=limits.body_bytes, kept_ms=kept)
    return limits
