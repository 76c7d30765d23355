"""Reads what every step may carry: retry, timeout, poll and callback policies, in all their spellings.

Document A's and D's keys count and measure as those documents do: `maxRetries` counts tries after the first,
`retryDelay`, `initialDelay`, `delayMs`, `maxDelay` and `pollingInterval` are milliseconds when they are bare numbers.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, cast

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.inputs_schema import schema_of_value
from segue.flow.model import Callback, Poll, Retry, Signature, Timeout
from segue.flow.nearest import suggested
from segue.flow.reader import Reader
from segue.flow.verbs import (
    CALLBACK_KEYS,
    POLL_CALL_KEYS,
    POLL_KEYS,
    RETRY_KEYS,
    SIGNATURE_KEYS,
    TIMEOUT_KEYS,
)

MAX_ATTEMPTS: Final = 1_000
CATEGORIES: Final = (
    "timeout", "connection", "dns", "tls", "rate_limit", "http", "auth", "validation", "expression", "cancelled",
    "unknown_outcome", "adapter", "internal",
)  # fmt: skip
"""Categories of errors; `http` and `adapter` have kinds of their own behind a dot."""
_CATEGORY = re.compile(rf"(?:\*|{'|'.join(CATEGORIES)}|http\.[1-5](?:\d\d|xx)|adapter\.[\w.-]+)\Z")
_BACKOFFS: Final = {"exponential": "exponential", "linear": "linear", "constant": "constant", "fixed": "constant"}
_JITTERS: Final = {"full": "full", "none": "none"}
_ON_TIMEOUT: Final = {"fail": "fail", "continue": "continue", "default": "default"}
_ALGORITHMS: Final = {"sha256": "sha256", "sha512": "sha512", "sha1": "sha1"}
_ENCODINGS: Final = {"hex": "hex", "base64": "base64"}
_SECRET: Final = re.compile(r"\$secrets\.(?P<name>[A-Za-z_]\w*)\Z")
OnTimeout = Literal["fail", "continue", "default"]

_MS_KEYS = frozenset(("initialDelay", "maxDelay", "delayMs", "retryDelay", "pollingInterval", "maxInterval"))
_A_TIMEOUT_KEYS = frozenset(("execution", "onTimeout"))


def read_retry(reader: Reader, node: Node) -> Retry | None:
    """`retry: 3`, or the map form; None if there is nothing to retry."""
    if isinstance(node.scalar, bool) or node.is_null:
        return Retry(max_attempts=3) if node.scalar is True else None
    if isinstance(node.scalar, int):
        attempts = reader.integer(node, "retry", minimum=1, maximum=MAX_ATTEMPTS)
        return None if attempts is None else Retry(max_attempts=attempts)
    if node.entries is None:
        reader.no_number(node, "retry", "a number of attempts or a map")
        return None
    entries = node.entries
    entries = reader.check_keys(entries, RETRY_KEYS, "retry")
    enabled = entries.get("enabled")
    if enabled is not None and reader.boolean(enabled, "enabled") is False:
        return None
    fields = _retry_fields(reader, entries)
    if "max_attempts" not in fields:
        fields["max_attempts"] = 3
    return Retry(**fields)


def _retry_fields(reader: Reader, entries: dict[str, Node]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    attempts = _one(reader, entries, "attempts", "max_attempts", "maxAttempts")
    retries = _one(reader, entries, "maxRetries", "max_retries")
    if attempts is not None and retries is not None:
        reader.problem(codes.CONFLICT, retries, "`attempts` and `maxRetries` both say how often", at_key=True)
    if attempts is not None:
        fields["max_attempts"] = reader.integer(attempts, "attempts", minimum=1, maximum=MAX_ATTEMPTS)
    elif retries is not None:
        count = reader.integer(retries, "maxRetries", minimum=0, maximum=MAX_ATTEMPTS - 1)
        fields["max_attempts"] = None if count is None else count + 1
    if backoff := entries.get("backoff"):
        fields["backoff"] = reader.choice(backoff, "backoff", _BACKOFFS)
    if jitter := entries.get("jitter"):
        if isinstance(jitter.scalar, bool):
            fields["jitter"] = "full" if jitter.scalar else "none"
        else:
            fields["jitter"] = reader.choice(jitter, "jitter", _JITTERS)
    if multiplier := _one(reader, entries, "multiplier", "backoffMultiplier"):
        fields["multiplier"] = reader.number(multiplier, "multiplier", minimum=1, maximum=100)
    for field, spellings in (
        ("initial_delay_seconds", ("initial_delay", "initialDelay", "delay", "delayMs")),
        ("max_delay_seconds", ("max_delay", "maxDelay")),
        ("max_time_seconds", ("max_time", "maxTime")),
    ):
        if found := _one(reader, entries, *spellings):
            fields[field] = read_duration(reader, found)
    if on := _one(reader, entries, "on", "retryableErrors", "retryable_errors"):
        # An empty list of retryable errors means all of them in document D, which is what None is nearest to.
        read = read_categories if on.key == "on" else Reader.names
        fields["on"] = read(reader, on, "on") or None
    if not_on := entries.get("not_on"):
        fields["not_on"] = read_categories(reader, not_on, "not_on")
    return {key: value for key, value in fields.items() if value is not None}


def read_categories(reader: Reader, node: Node, what: str) -> tuple[str, ...]:
    """Names of error categories; what no error can have is reported."""
    names = reader.names(node, what)
    for child in [node] if node.items is None else node.items:
        name = str(child.scalar)
        if child.is_null or child.entries is not None or _CATEGORY.match(name) or child.items is not None:
            continue
        status = re.match(r"(?:http[_ ]?)?([1-5](?:\d\d|xx))\Z", name)
        hint = f'did you mean "http.{status[1]}"?' if status else reader.did_you_mean(name, CATEGORIES)
        patch = None if hint is None else reader.word_patch(child, suggested(hint))
        hint = hint or f"they are {', '.join(CATEGORIES)}, http.404, http.5xx and such, adapter.…"
        message = f'{what}: no error has the category "{name[:40]}"'
        reader.problem(codes.NOT_ALLOWED, child, message, suggestion=hint, patch=patch)
    return names


def read_duration(reader: Reader, node: Node, *, minimum: float = 0.0) -> float | None:
    """A duration under its own key; the documents' camel-case keys take bare milliseconds."""
    key = str(node.key)
    return reader.duration(node, key, minimum=minimum, milliseconds=key in _MS_KEYS)


def read_timeout(reader: Reader, node: Node) -> Timeout | None:
    """`timeout: 30s` (per attempt), or `{attempt, total, on_timeout}`, or document A's `{execution, total,
    onTimeout}`.
    """
    if node.entries is None:
        seconds = reader.duration(node, "timeout", minimum=0.001)
        return None if seconds is None else Timeout(attempt_seconds=seconds)
    entries = node.entries
    entries = reader.check_keys(entries, TIMEOUT_KEYS, "timeout")
    is_document_a = any(key in entries for key in _A_TIMEOUT_KEYS)
    fields: dict[str, Any] = {}
    for field, spellings in (("attempt_seconds", ("attempt", "execution")), ("total_seconds", ("total",))):
        if found := _one(reader, entries, *spellings):
            fields[field] = reader.duration(found, str(found.key), minimum=0.001, milliseconds=is_document_a)
    if on_timeout := _one(reader, entries, "on_timeout", "onTimeout"):
        fields["on_timeout"] = reader.choice(on_timeout, "on_timeout", _ON_TIMEOUT)
    return Timeout(**{key: value for key, value in fields.items() if value is not None})


def read_on_timeout(reader: Reader, node: Node) -> OnTimeout | None:
    """What a step that ran out of time does."""
    return cast("OnTimeout | None", reader.choice(node, "on_timeout", _ON_TIMEOUT))


def read_poll(reader: Reader, node: Node, path: str, *, known: frozenset[str] = frozenset()) -> Poll:
    """The conditions and the pace of a poll. `known` are further keys that the caller reads itself."""
    entries = reader.map_of(node, "poll")
    if entries is None:
        return Poll()
    entries = reader.check_keys(entries, {*POLL_KEYS, *POLL_CALL_KEYS, *known}, "poll")
    fields: dict[str, Any] = {}
    for field, spellings in (
        ("success_condition", ("success_condition", "successCondition", "until")),
        ("failure_condition", ("failure_condition", "failureCondition")),
    ):
        if found := _one(reader, entries, *spellings):
            fields[field] = reader.expression(found, str(found.key))
            reader.place(path, f"poll.{field}", found)
    for field, spellings in (
        ("interval_seconds", ("interval", "pollingInterval")),
        ("max_interval_seconds", ("max_interval", "maxInterval")),
    ):
        if found := _one(reader, entries, *spellings):
            fields[field] = read_duration(reader, found, minimum=0.001)
    if multiplier := entries.get("multiplier"):
        fields["multiplier"] = reader.number(multiplier, "multiplier", minimum=1, maximum=100)
    if attempts := _one(reader, entries, "max_attempts", "maxAttempts", "maxPollingAttempts", "attempts"):
        fields["max_attempts"] = reader.integer(attempts, "max_attempts", minimum=1, maximum=1_000_000)
    return Poll(**{key: value for key, value in fields.items() if value is not None})


def read_callback(reader: Reader, node: Node, path: str, *, known: frozenset[str] = frozenset()) -> Callback:
    """What outside signal is waited for; nothing means the defaults."""
    if node.is_null or node.scalar is True:
        return Callback()
    entries = reader.map_of(node, "callback")
    if entries is None:
        return Callback()
    entries = reader.check_keys(entries, {*CALLBACK_KEYS, *known}, "callback")
    fields: dict[str, Any] = {}
    if expires := _one(reader, entries, "expires", "expiresIn", "timeout"):
        in_ms = str(expires.key) == "expiresIn"
        fields["expires_seconds"] = reader.duration(expires, str(expires.key), minimum=1, milliseconds=in_ms)
    if uses := entries.get("uses"):
        fields["uses"] = reader.integer(uses, "uses", minimum=1)
    for field in ("schema", "form"):
        if found := entries.get(field):
            fields[field] = schema_of_value(reader, found, field)
    if signature := entries.get("signature"):
        fields["signature"] = _signature(reader, signature, path)
    if correlate := entries.get("correlate"):
        fields["correlate"] = correlate.plain()
        reader.place(path, "callback.correlate", correlate)
    if on_timeout := _one(reader, entries, "on_timeout", "onTimeout"):
        fields["on_timeout"] = reader.choice(on_timeout, "on_timeout", _ON_TIMEOUT)
    return Callback(**{key: value for key, value in fields.items() if value is not None})


def _signature(reader: Reader, node: Node, path: str) -> Signature | None:
    """How the sender signs: the secret, and where the digest stands."""
    entries = reader.map_of(node, "signature")
    if entries is None:
        return None
    reader.check_keys(entries, SIGNATURE_KEYS, "signature")
    secret = entries.get("secret")
    if secret is None:
        reader.missing(node, "signature", "secret")
        return None
    name = _SECRET.match(secret.text or "")
    if name is None:
        hint = "write `secret: $secrets.NAME`, and declare NAME under `secrets:`"
        reader.problem(codes.WRONG_TYPE, secret, "a signature's secret is one of the flow's secrets", suggestion=hint)
        return None
    reader.place(path, "callback.signature.secret", secret)
    fields: dict[str, Any] = {"secret": name["name"]}
    if header := entries.get("header"):
        fields["header"] = (reader.name(header, "header") or "").lower() or None
    if prefix := entries.get("prefix"):
        fields["prefix"] = reader.text(prefix, "prefix")
    for field, words in (("algorithm", _ALGORITHMS), ("encoding", _ENCODINGS)):
        if found := entries.get(field):
            fields[field] = reader.choice(found, field, words)
    return Signature(**{key: value for key, value in fields.items() if value is not None})


def _one(reader: Reader, entries: dict[str, Node], *spellings: str) -> Node | None:
    """The value under whichever spelling is there; two of them are a conflict."""
    found: Node | None = None
    for key in spellings:
        node = entries.get(key)
        if node is None:
            continue
        if found is not None:
            reader.problem(codes.CONFLICT, node, f"`{key}` says the same as `{found.key}`", at_key=True)
            break
        found = node
    return found
