"""The values of keys as JSON Schema: what each `ValueType` means, and the keys that take less or more than their type.

Every schema here says what the reader takes, so that an editor marks what `segue check` would report. What an editor
cannot know (names, references, expressions) stays with `segue check`.
"""

from __future__ import annotations

from typing import Final

from segue.flow.http_params import METHODS
from segue.flow.model import Callback, JsonValue, Poll, RawMap, Retry
from segue.flow.schema_triggers import trigger_schema
from segue.flow.verbs import (
    CACHE_KEYS,
    CALLBACK_KEYS,
    FALLBACK_KEYS,
    FLOW_LIMIT_KEYS,
    HTTP_KEYS,
    LIMIT_KEYS,
    POLL_CALL_KEYS,
    POLL_KEYS,
    RETRY_KEYS,
    TIMEOUT_KEYS,
    Key,
    ValueType,
)
from segue.flow.yaml_source import read_source

_UNIT: Final = r"\d{1,12}(\.\d{1,9})?\s?(ms|sec|min|[smhdw])\s?"
_ISO: Final = r"P(\d{1,9}W)?(\d{1,9}D)?(T(\d{1,9}H)?(\d{1,9}M)?(\d{1,9}(\.\d{1,9})?S)?)?"
DURATION_PATTERN: Final = rf"^\s*(({_UNIT}){{1,7}}|{_ISO})\s*$"
_METHOD: Final = "^(" + "|".join("".join(f"[{x}{x.lower()}]" for x in word) for word in METHODS) + ")$"
_SEMVER: Final = r"^\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
_SHARE: Final = r"^\d{1,3}\s*%$"
_RATE: Final = r"^\s*\d{1,6}\s*(/|per )\s*(\d.*|ms|s|sec|second|m|min|minute|h|hour|d|day)\s*$"
_COMPUTED: Final = r"^\$|\{\{"
_NOT_YET: Final = " Read and checked, not run by this engine yet."


def ref(name: str) -> RawMap:
    """A reference to a part of the schema."""
    return {"$ref": f"#/$defs/{name}"}


def any_of(*schemas: JsonValue) -> RawMap:
    """Whatever one of the schemas takes."""
    return {"anyOf": list(schemas)}


def having(key: str, **more: JsonValue) -> RawMap:
    """A map that has the key."""
    return {"required": [key], **more}


def a_map(properties: RawMap, *, others: JsonValue = False, **more: JsonValue) -> RawMap:
    """A map of known keys; keys that begin with `x-` are free."""
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": True},
        "additionalProperties": others,
        **more,
    }


def keys_map(keys: dict[str, Key], **more: JsonValue) -> RawMap:
    """A map of the keys of one table, in all spellings."""
    return a_map({spelling: key_schema(key, spelling) for spelling, key in keys.items()}, **more)


def key_schema(key: Key, spelling: str | None = None, group: str = "") -> RawMap:
    """The value of a key with its sentence and its example."""
    text = key.doc if spelling in (None, key.name) else f"The same as `{key.name}`. {key.doc}"
    schema: RawMap = {"description": text if key.runs else text + _NOT_YET}
    if key.example:
        schema["examples"] = [example_value(key.example)]
    words = _WORDS.get(f"{group}.{key.name}", _WORDS.get(key.name) if key.type in ("text", "value") else None)
    taken = _TAKES.get(f"{group}.{key.name}", _TAKES.get(spelling or key.name, _TAKES.get(key.name)))
    if taken is not None:
        schema.update(taken)
    elif words is not None:
        schema["enum"] = list(words)
    else:
        schema.update(_type_schema(key, spelling or key.name))
    default = _DEFAULTS.get(f"{group}.{key.name}")
    if default is not None:
        schema["default"] = default
    return schema


def example_value(text: str) -> JsonValue:
    """An example of the tables as the value that it stands for."""
    document, problems = read_source(f"v: {text}")
    assert document is not None, text
    assert all(found.severity != "error" for found in problems), text
    node = document.root.get("v")
    return None if node is None else node.plain()


def _type_schema(key: Key, spelling: str) -> RawMap:
    if key.type == "duration":
        return ref("milliseconds") if spelling in MILLISECOND_KEYS else ref("duration")
    if key.type == "int":
        return {"type": "integer", "minimum": _LEAST.get(key.name, 0)}
    return _TYPES[key.type]


MILLISECOND_KEYS: Final = frozenset(
    ("initialDelay", "maxDelay", "delayMs", "retryDelay", "pollingInterval", "maxInterval", "expiresIn")
)
"""Camel-case keys of the older documents, under which bare numbers are milliseconds."""

_TYPES: Final[dict[ValueType, RawMap]] = {
    "expression": ref("expression"),
    "value": {},
    "values": ref("values"),
    "text": ref("text"),
    "name": ref("text"),
    "names": ref("names"),
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "duration": ref("duration"),
    "steps": ref("steps"),
    "schema": ref("schema"),
    "retry": ref("retry"),
    "timeout": ref("timeout"),
    "poll": ref("poll"),
    "wait": ref("wait"),
    "map": {"type": "object"},
    "list": {"type": "array"},
}

TYPE_NAMES: Final = (
    "string", "text", "str", "number", "float", "integer", "int", "boolean", "bool", "object", "map", "array", "list",
    "any", "null", "email", "date", "datetime", "date-time", "time", "uri", "url", "uuid",
    "password",
)  # fmt: skip
"""The types that the shorthand for schemas knows."""
FULL_SCHEMA_KEYS: Final = ("$schema", "properties", "$ref", "allOf", "anyOf", "oneOf")
"""A map with one of these is a JSON Schema, not the shorthand."""

_LEAST: Final = {
    "attempts": 1, "max_attempts": 1, "uses": 1, "limit": 1, "max": 1, "max_bytes": 1, "priority": -1_000_000,
    "fail_fast_priority": -1_000_000, "maxPollingAttempts": 1, "concurrency": 1, "steps": 1,
}  # fmt: skip

_WORDS: Final[dict[str, tuple[JsonValue, ...]]] = {
    "backoff": ("exponential", "linear", "constant", "fixed"),
    "on_timeout": ("fail", "continue", "default"),
    "approve.on_timeout": ("approve", "reject", "fail"),
    "idempotency": ("safe", "keyed", "unsafe"),
    "on_item_error": ("fail", "continue", "collect"),
    "fail": ("fast", "wait"),
    "level": ("debug", "info", "warn", "warning", "error"),
    "strategy": ("parallel", "sequential", "priority"),
    "unbound": ("refuse", "allow"),
    "on_full": ("queue", "skip", "replace", "reject"),
}
"""The words that a key takes, by the key's name, or `verb.key` where a verb has words of its own."""

_JOIN: Final = any_of({"enum": ["all", "any", "first"]}, {"type": "integer", "minimum": 1, "maximum": 10_000})
_COUNT: Final = any_of({"type": "integer", "minimum": 1}, ref("expression"))
_MAP_OR_COMPUTED: Final = any_of({"type": "object"}, ref("computed"))
_TAKES: Final[dict[str, RawMap]] = {
    "jitter": {"enum": ["full", "none", True, False]},
    "join": _JOIN,
    "method": any_of({"type": "string", "pattern": _METHOD}, ref("computed")),
    "headers": _MAP_OR_COMPUTED,
    "query": _MAP_OR_COMPUTED,
    "auth": _MAP_OR_COMPUTED,
    "http.form": _MAP_OR_COMPUTED,
    "multiplier": {"type": "number", "minimum": 1, "maximum": 100},
    "foreach.items": any_of(ref("expression"), {"type": ["array", "object"]}),
    "tolerate": any_of(
        {"type": "integer", "minimum": 0}, {"enum": ["all", "collect"]}, {"type": "string", "pattern": _SHARE},
        ref("computed"),
    ),
    "foreach.limit": _COUNT,
    "parallel.limit": _COUNT,
    "repeat.max": _COUNT,
    "catch": ref("catches"),
    "elif": any_of({"$ref": "#/$defs/elif"}, {"type": "array", "items": ref("elif")}),
    "cases": {"type": "object", "additionalProperties": ref("steps"), "minProperties": 1},
    "branches": any_of(
        {"type": "array", "items": ref("steps"), "minItems": 1},
        {"type": "object", "additionalProperties": ref("steps"), "minProperties": 1},
    ),
    "wait.callback": any_of(ref("callback"), {"type": "null"}, {"const": True}),
    "for": any_of(ref("duration"), ref("computed")),
    "duration": any_of(ref("duration"), ref("computed")),
    "enabled": {"type": "boolean"},
    "poll.http": ref("http"),
    "on_error": ref("handlers"),
    "mappings": ref("mappings"),
    "dsl": {"enum": [1, "1"]},
    "version": any_of({"type": "string", "pattern": _SEMVER}, {"type": "number"}),
    "labels": {"type": "object", "additionalProperties": ref("text")},
    "secrets": ref("secrets"),
    "definitions": {
        "type": "object",
        "additionalProperties": any_of(ref("body"), {"type": "array", "items": ref("step")}),
    },
    "defaults": ref("defaults"),
    "flow.limits": any_of(ref("flow_limits"), {"type": "null"}),
    "step.limits": any_of(ref("limits"), {"type": "null"}),
    "cache": any_of(ref("duration"), ref("cache"), {"enum": [False, None]}),
    "fallback": any_of(ref("fallback"), {"type": "array", "items": ref("fallback")}),
    "rate": {"type": "string", "pattern": _RATE},
    "trigger": any_of(ref("trigger"), {"type": "array", "items": ref("trigger")}),
    "flow.on_error": any_of({"enum": ["continue", "stop", "fail"]}, ref("steps")),
    "flow.tasks": {"type": "array", "items": ref("task"), "minItems": 1},
    "flow.nodes": {"type": "array", "items": ref("node"), "minItems": 1},
    "flow.edges": {"type": "array", "items": ref("edge")},
    "flow.vars": {"type": ["object", "null"]},
    "env": {"type": ["object", "null"]},
    "layout": {
        "type": ["object", "null"],
        "properties": {
            "positions": {
                "description": "Where each step's box stands on the canvas, by the step's name.",
                "type": ["object", "null"],
            },
            "ids": {
                "description": "By what a step without a name counts as (parallel_1), the id it is known by instead.",
                "type": ["object", "null"],
                "propertyNames": {"pattern": r"_[0-9]+$"},
                "additionalProperties": {"type": "string", "pattern": r"_[0-9]{1,9}$"},
            },
        },
    },
}  # fmt: skip
"""Keys that take less or more than their type says, by spelling, or `verb.key` (`flow.` for a flow's own keys)."""

_DEFAULTS: Final[dict[str, JsonValue]] = {
    "retry.backoff": Retry().backoff,
    "retry.attempts": 3,
    "retry.initial_delay": "1s",
    "retry.max_delay": "60s",
    "retry.multiplier": Retry().multiplier,
    "retry.jitter": Retry().jitter,
    "poll.interval": "2s",
    "poll.max_attempts": Poll().max_attempts,
    "callback.expires": "7d",
    "callback.uses": Callback().uses,
    "limits.on_full": "queue",
    "flow_limits.on_full": "queue",
    "parallel.join": "all",
    "parallel.fail": "fast",
    "foreach.limit": 10,
    "repeat.max": 100,
    "log.level": "info",
    "flow.strategy": "parallel",
    "flow.unbound": "refuse",
    "flow.fail_fast_priority": 10,
    "step.join": "all",
    "step.priority": 0,
}  # fmt: skip


def value_defs() -> RawMap:
    """The schemas of values by name, for `$defs`."""
    return {**_scalar_defs(), **_policy_defs(), **_part_defs()}


def _scalar_defs() -> RawMap:
    return {
        "text": {"type": ["string", "number", "boolean"]},
        "computed": {
            "type": "string",
            "pattern": _COMPUTED,
            "description": "A reference (`$step.field`) or a computation (`{{ … }}`).",
        },
        "expression": {
            "description": "A bare expression, such as `$order.total > 100 and $order.paid`.",
            "type": ["string", "number", "boolean"],
            "minLength": 1,
        },
        "names": any_of(ref("text"), {"type": "array", "items": ref("text")}),
        "values": {"description": "A map; strings may be references or computations.", "type": ["object", "null"]},
        "duration": {
            "description": "A length of time with its unit: `500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`, or ISO 8601.",
            "type": "string",
            "pattern": DURATION_PATTERN,
        },
        "milliseconds": any_of(ref("duration"), {"type": "number", "minimum": 0}),
        "schema": _schema(),
        "property": {
            "description": "A type (`?` behind it: may be left out), a JSON Schema, or a list of allowed values.",
            "anyOf": [
                {"type": "string", "pattern": rf"^({'|'.join(TYPE_NAMES)})(\[\])?\??$"},
                {"type": ["object", "array", "null"]},
            ],
        },
    }


def _schema() -> RawMap:
    full: list[JsonValue] = [having(key) for key in FULL_SCHEMA_KEYS]
    shorthand: RawMap = {"additionalProperties": ref("property"), "patternProperties": {"^x-": True}}
    return {
        "description": "A JSON Schema, a map of names to types or schemas, or a list of names.",
        "anyOf": [
            {"type": "null"},
            {"type": "array", "items": ref("text")},
            {"type": "object", "if": any_of(*full), "else": shorthand},
        ],
    }


def _policy_defs() -> RawMap:
    """What a step may carry: retry, timeout, poll and callback."""
    return {
        "retry": any_of(
            {"type": "integer", "minimum": 1, "maximum": 1_000, "description": "Tries in all."},
            {"type": ["boolean", "null"]},
            _grouped("retry", RETRY_KEYS),
        ),
        "timeout": any_of(ref("duration"), {"type": "null"}, _timeout()),
        "poll": _grouped("poll", {**POLL_KEYS, **POLL_CALL_KEYS}),
        "callback": _grouped("callback", CALLBACK_KEYS),
        "limits": _grouped("limits", LIMIT_KEYS),
        "flow_limits": _grouped("flow_limits", FLOW_LIMIT_KEYS),
        "cache": _grouped("cache", CACHE_KEYS, anyOf=[having("ttl"), having("for")]),
        "fallback": any_of(ref("text"), _grouped("fallback", FALLBACK_KEYS)),
        "request": _grouped("http", HTTP_KEYS, required=["url"]),
        "http": any_of({"type": "string", "minLength": 1, "examples": ["GET https://example.com"]}, ref("request")),
    }


def _timeout() -> RawMap:
    schema = _grouped("timeout", TIMEOUT_KEYS)
    # Beside document A's keys bare numbers are milliseconds.
    by_a: RawMap = {key: ref("milliseconds") for key in ("attempt", "execution", "total")}
    by_a |= {"on_timeout": _words("on_timeout"), "onTimeout": _words("on_timeout")}
    in_a: JsonValue = any_of({"required": ["execution"]}, {"required": ["onTimeout"]})
    return {"type": "object", "if": in_a, "then": a_map(by_a), "else": schema}


def _words(name: str) -> RawMap:
    return {"enum": list(_WORDS[name])}


def _grouped(group: str, keys: dict[str, Key], **more: JsonValue) -> RawMap:
    return a_map({spelling: key_schema(key, spelling, group) for spelling, key in keys.items()}, **more)


def _part_defs() -> RawMap:
    """Parts that several keys share."""
    return {
        "elif": a_map({"if": ref("expression"), "then": ref("steps")}, required=["if", "then"]),
        "mappings": {
            "type": "array",
            "items": a_map(
                {"from": ref("expression"), "to": {"type": "string", "minLength": 1}, "value": True}, required=["to"]
            ),
        },
        "handler": a_map(
            {
                "match": {"description": "Error categories that are handled.", **ref("names")},
                "do": ref("steps"),
                "steps": ref("steps"),
                "then": {
                    **any_of({"enum": ["continue", "fail", "retry"]}, ref("computed")), "default": "continue",
                },
            }
        ),
        "handlers": {
            "description": "Steps; or what is done for which errors.",
            "anyOf": [ref("steps"), ref("handler"), {"type": "array", "items": ref("handler")}, {"type": "null"}],
        },
        "catches": {
            "description": "Steps; or what is caught of which errors.",
            "anyOf": [ref("steps"), ref("caught"), {"type": "array", "items": ref("caught")}, {"type": "null"}],
        },
        "caught": a_map({"match": ref("names"), "do": ref("steps"), "steps": ref("steps")}),
        "secrets": any_of(
            {"type": "array", "items": ref("text")},
            {
                "type": "object",
                "additionalProperties": any_of(ref("source"), a_map({"from": ref("source")}, required=["from"])),
            },
        ),
        "source": {
            "description": "Where a secret comes from: `env:NAME`, `file:PATH`, `secret:NAME`, `connection:NAME.field` "
            "or `vault:…`.",
            "type": "string",
            "pattern": r"^(env|file|secret|connection|vault):.|\.",
        },
        "trigger": trigger_schema(_RATE),
    }  # fmt: skip
