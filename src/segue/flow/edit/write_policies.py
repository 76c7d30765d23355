"""Policies of the model as the language writes them: durations, retries, timeouts, polls, callbacks, schemas."""

from __future__ import annotations

from typing import cast

import msgspec

from segue.errors import RequestError
from segue.flow.durations import format_duration, parse_duration
from segue.flow.model import Cache, Callback, Fallback, JsonValue, Limits, Poll, RawMap, Retry, Step, Timeout

_RETRY = Retry()
_POLL = Poll()
_CALLBACK = Callback()


def duration_text(seconds: float) -> str:
    """The shortest spelling that is read as exactly these seconds. Raises RequestError if there is none."""
    for text in (format_duration(seconds), f"{seconds!r}s", f"{seconds:.9f}s"):
        if parse_duration(text) == seconds:
            return text
    raise RequestError(f"{seconds!r} seconds are no duration that a flow can write; use whole milliseconds")


def expression_value(text: str) -> JsonValue:
    """A bare expression; a literal truth value without quotes."""
    return {"true": True, "false": False}.get(text, text)


def retry_value(retry: Retry) -> JsonValue:
    """`3`, or the map form with what differs from the defaults."""
    value: RawMap = {"attempts": retry.max_attempts}
    for name, key in (("backoff", "backoff"), ("multiplier", "multiplier"), ("jitter", "jitter")):
        if getattr(retry, name) != getattr(_RETRY, name):
            value[key] = getattr(retry, name)
    for name, key in (
        ("initial_delay_seconds", "initial_delay"),
        ("max_delay_seconds", "max_delay"),
        ("max_time_seconds", "max_time"),
    ):
        seconds: float | None = getattr(retry, name)
        if seconds is not None and seconds != getattr(_RETRY, name):
            value[key] = duration_text(seconds)
    if retry.on is not None:
        value["on"] = [*retry.on]
    if retry.not_on:
        value["not_on"] = [*retry.not_on]
    return retry.max_attempts if len(value) == 1 else value


def timeout_entries(timeout: Timeout) -> RawMap:
    """The keys `timeout` and `on_timeout` of a step."""
    attempt, total = timeout.attempt_seconds, timeout.total_seconds
    entries: RawMap = {}
    if attempt is not None and total is None:
        entries["timeout"] = duration_text(attempt)
    elif total is not None:
        first: RawMap = {} if attempt is None else {"attempt": duration_text(attempt)}
        entries["timeout"] = {**first, "total": duration_text(total)}
    if timeout.on_timeout != "fail" or not entries:
        entries["on_timeout"] = timeout.on_timeout
    return entries


def poll_value(poll: Poll) -> RawMap:
    """What a poll waits for and how often it asks; what it calls is the caller's to add."""
    value: RawMap = {}
    for name in ("success_condition", "failure_condition"):
        condition: str | None = getattr(poll, name)
        if condition is not None:
            value[name] = expression_value(condition)
    if poll.interval_seconds != _POLL.interval_seconds:
        value["interval"] = duration_text(poll.interval_seconds)
    if poll.multiplier != _POLL.multiplier:
        value["multiplier"] = poll.multiplier
    if poll.max_interval_seconds is not None:
        value["max_interval"] = duration_text(poll.max_interval_seconds)
    if poll.max_attempts != _POLL.max_attempts:
        value["max_attempts"] = poll.max_attempts
    return value


def call_entries(use: str, params: RawMap) -> RawMap:
    """What is called: `call: adapter.action`, or `adapter:` where the action is its default; with `params`."""
    adapter = use.removesuffix(".*")
    entries: RawMap = {"adapter": adapter} if adapter != use and "." not in adapter else {"call": use}
    if params:
        entries["params"] = params
    return entries


def limits_value(limits: Limits) -> RawMap:
    """The map of what differs from the defaults."""
    value: RawMap = {}
    if limits.concurrency is not None:
        value["concurrency"] = limits.concurrency
    if limits.rate_count is not None:
        value["rate"] = f"{limits.rate_count}/{duration_text(limits.rate_seconds)}"
    if limits.key is not None:
        value["key"] = expression_value(limits.key)
    if limits.on_full != "queue":
        value["on_full"] = limits.on_full
    return value


def cache_value(cache: Cache) -> JsonValue:
    """`1h`, or the map form with a key."""
    ttl = duration_text(cache.seconds)
    return ttl if cache.key is None else {"ttl": ttl, "key": expression_value(cache.key)}


def fallback_value(fallbacks: tuple[Fallback, ...]) -> JsonValue:
    """Names, and calls with parameters of their own."""
    return [one.use if one.params is None else {"call": one.use, "params": one.params} for one in fallbacks]


def sharing_entries(step: Step) -> RawMap:
    """The keys `limits`, `cache`, `fallback` and `runs_on`."""
    entries: RawMap = {}
    if step.limits is not None:
        entries["limits"] = limits_value(step.limits)
    if step.cache is not None:
        entries["cache"] = cache_value(step.cache)
    if step.fallback:
        entries["fallback"] = fallback_value(step.fallback)
    if step.runs_on:
        entries["runs_on"] = [*step.runs_on]
    return entries


def http_value(params: RawMap) -> JsonValue:
    """`GET https://…`, or the map form without the method that it has anyway."""
    url = params.get("url")
    if set(params) == {"method", "url"} and isinstance(url, str) and url and not any(char.isspace() for char in url):
        return f"{params['method']} {url}"
    has_body = any(key in params for key in ("json", "body", "form", "multipart"))
    usual = "POST" if has_body else "GET"
    method: RawMap = {} if params.get("method") == usual else {"method": params.get("method")}
    return {**method, **{key: value for key, value in params.items() if key != "method"}}


def callback_value(callback: Callback) -> RawMap:
    """What signal is waited for."""
    value: RawMap = {}
    if callback.expires_seconds != _CALLBACK.expires_seconds:
        value["expires"] = duration_text(callback.expires_seconds)
    if callback.uses != _CALLBACK.uses:
        value["uses"] = callback.uses
    for name in ("schema", "form"):
        schema: RawMap | None = getattr(callback, name)
        if schema is not None:
            value[name] = schema_value(schema)
    if callback.correlate is not None:
        value["correlate"] = callback.correlate
    if callback.on_timeout != _CALLBACK.on_timeout:
        value["on_timeout"] = callback.on_timeout
    if callback.signature is not None:
        value["signature"] = {
            **cast("RawMap", msgspec.to_builtins(callback.signature)), "secret": f"$secrets.{callback.signature.secret}"
        }  # fmt: skip
    return value


def approval_value(params: RawMap, callback: Callback) -> RawMap:
    """Who is asked, for what, and for how long."""
    value: RawMap = {**params}
    if isinstance(remind := params.get("remind"), int | float):
        value["remind"] = duration_text(remind)
    if callback.form is not None:
        value["form"] = schema_value(callback.form)
    if callback.uses != _CALLBACK.uses:
        value["need"] = callback.uses
    if callback.expires_seconds != _CALLBACK.expires_seconds:
        value["timeout"] = duration_text(callback.expires_seconds)
    if callback.on_timeout != _CALLBACK.on_timeout:
        value["on_timeout"] = callback.on_timeout
    return value


def schema_value(schema: RawMap) -> JsonValue:
    """The shorthand of a schema, if it says all that the schema says; else the schema."""
    properties = schema.get("properties")
    required = schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return schema
    if set(schema) - {"required"} != {"type", "properties", "additionalProperties"} or schema["type"] != "object":
        return schema
    is_in_order = required == [name for name in properties if name in required] and schema.get("required") != []
    if schema["additionalProperties"] is not False or not is_in_order:
        return schema
    if any(name.startswith("x-") or name in _SCHEMA_MARKS for name in properties):
        return schema
    return {name: _property_value(child, is_required=name in required) for name, child in properties.items()}


_SCHEMA_MARKS = frozenset(("$schema", "properties", "$ref", "allOf", "anyOf", "oneOf"))
_PLAIN_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))


def _property_value(schema: JsonValue, *, is_required: bool) -> JsonValue:
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if schema == {}:
        return "any" if is_required else "any?"
    if isinstance(kind, str) and kind in _PLAIN_TYPES and len(schema) == 1:
        return kind if is_required else f"{kind}?"
    is_told = "default" not in schema
    return schema if is_told == is_required else {**schema, "required": is_required}
