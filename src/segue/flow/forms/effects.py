"""Finds modifiers that can have no effect: the author thinks that something is taken care of, and it is not."""

from __future__ import annotations

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.reader import Reader, first_of

_OF_TRIES = ("backoff", "initial_delay", "initialDelay", "delay", "delayMs", "max_delay", "maxDelay", "multiplier",
             "backoffMultiplier", "jitter", "max_time", "maxTime", "on", "retryableErrors", "retryable_errors",
             "not_on")  # fmt: skip


def check_effects(reader: Reader, entries: dict[str, Node]) -> None:
    """Report the modifiers of one step that do nothing without others."""
    on_timeout = first_of(entries, "on_timeout", "onTimeout")
    if on_timeout is not None:
        if "timeout" not in entries and "approve" not in entries and "wait" not in entries:
            _idle(reader, on_timeout, "without `timeout` it never runs out of time", "add `timeout: 30s`")
        elif on_timeout.text == "default" and "default" not in entries:
            message = "`on_timeout: default` needs `default`, the output if the time is over"
            hint = "add `default: …`; without it the output is null"
            reader.problem(
                codes.MISSING_KEY, on_timeout, message, at_key=True, suggestion=hint, severity="warning"
            )  # fmt: skip
    if (delay := entries.get("retryDelay")) is not None and not entries.keys() & {"retryAttempts", "retry"}:
        _idle(reader, delay, "without `retryAttempts` there is no second try", "add `retryAttempts: 3`")
    if (retry := entries.get("retry")) is not None and retry.entries:
        attempts = first_of(retry.entries, "attempts", "max_attempts", "maxAttempts")
        setting = first_of(retry.entries, *_OF_TRIES)
        if attempts is not None and attempts.scalar == 1 and setting is not None:
            _idle(reader, setting, "with one attempt there is no second try", "`attempts` counts all tries")


def _idle(reader: Reader, node: Node, why: str, hint: str) -> None:
    message = f"`{node.key}` has no effect: {why}"
    reader.problem(codes.CONFLICT, node, message, at_key=True, suggestion=hint, severity="warning")
