"""Triggers as JSON Schema, from the same tables as their reader."""

from __future__ import annotations

from typing import Final

from segue.flow.model import JsonValue, RawMap
from segue.flow.trigger_keys import (
    ANSWERS,
    AUTH_ALIASES,
    AUTH_KEYS,
    AUTH_KINDS,
    AUTH_TYPE_KEYS,
    AUTH_WORDS,
    BODY_BYTES_MAX,
    CATCH_UP,
    CATCH_UP_MAX,
    ENCODINGS,
    ENDS,
    KEYS_OF,
    KIND_OF,
    MAIN_KEYS,
    OVERLAPS,
    PUBLIC_ALGORITHMS,
    SHARED_ALGORITHMS,
    WEBHOOK_METHODS,
)
from segue.flow.verbs import Key


def trigger_schema(rate_pattern: str) -> RawMap:
    """`trigger`, or one of `triggers`."""
    return {
        "anyOf": [
            {"type": "string", "pattern": r"^(manual|webhook|[\w-]+\.[\w.-]+)$", "examples": ["webhook.received"]},
            *(_of_kind(main, key, rate_pattern) for main, key in MAIN_KEYS.items()),
        ]
    }


def _ref(name: str) -> RawMap:
    return {"$ref": f"#/$defs/{name}"}


def _a_map(properties: RawMap, **more: JsonValue) -> RawMap:
    return {
        "type": "object", "properties": properties, "patternProperties": {"^x-": True}, "additionalProperties": False,
        **more,
    }  # fmt: skip


def _of_kind(main: str, own: Key, rate_pattern: str) -> RawMap:
    beside: RawMap = {}
    for key in KEYS_OF[KIND_OF[main]]:
        for spelling in (key.name, *key.also):
            beside[spelling] = {"description": key.doc, **_nullable(_value(key, rate_pattern))}
    plain = _MAIN[main]
    below: RawMap = {**beside}
    below[main] = plain
    if main == "cron":
        below["schedule"] = plain
    nested = _a_map(below) if main in ("webhook", "manual") else _a_map(below, minProperties=1)
    either: JsonValue = [plain, nested]
    value: RawMap = {"description": own.doc, "anyOf": either}
    properties: RawMap = {**beside}
    properties[main] = value
    return _a_map(properties, required=[main])


def _nullable(schema: RawMap) -> RawMap:
    """A key without a value is as if it were not there."""
    either: JsonValue = [schema, {"type": "null"}]
    return {"anyOf": either} if schema else schema


def _words(words: JsonValue) -> RawMap:
    return {"anyOf": [{"enum": words}, {"type": "array", "items": {"enum": words}, "minItems": 1}]}


def _value(key: Key, rate_pattern: str) -> RawMap:
    if key.name == "rate":
        return {"type": "string", "pattern": rate_pattern}
    if key.name in _VALUES:
        return _VALUES[key.name]
    by_type: dict[str, RawMap] = {
        "expression": _ref("expression"), "bool": {"type": "boolean"}, "duration": _ref("duration"),
        "names": _ref("names"), "name": _ref("text"), "text": _ref("text"), "map": {"type": ["object", "null"]},
    }  # fmt: skip
    return by_type.get(key.type, {})


_SECRET: Final[RawMap] = {
    "type": "string", "pattern": r"^(\$secrets\.[A-Za-z_]\w*$|env:|file:|secret:|connection:|vault:)",
}  # fmt: skip
_SECRETS: Final[RawMap] = {
    "anyOf": [_SECRET, {"type": "object", "required": ["from"]}, {"type": "array", "items": {}}]
}  # fmt: skip
_PLACE: Final[RawMap] = {
    "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
    "properties": {name: _ref("text") for name in ("header", "field", "query")},
}  # fmt: skip
_COMPUTED: Final[RawMap] = {"type": "string", "pattern": r"^\s*(\$|\{\{)"}
_KINDS: Final[RawMap] = {
    "type": "string",
    "pattern": f"^({'|'.join(''.join(f'[{x}{x.upper()}]' for x in word) for word in (*AUTH_KINDS, *AUTH_ALIASES))})$",
}
_AUTH_SETTINGS: Final[RawMap] = {
    key.name: {"enum": list(AUTH_WORDS[key.name])}
    if key.name in AUTH_WORDS
    else _words([*PUBLIC_ALGORITHMS, *SHARED_ALGORITHMS])
    if key.name == "algorithms"
    else {"type": ["object", "string"]}
    if key.name == "jwks"
    else _ref("duration" if key.type == "duration" else "text")
    for keys in AUTH_KEYS.values()
    for key in keys
}
_AUTH: Final[RawMap] = {
    "anyOf": [
        _KINDS,
        _a_map(
            {**dict.fromkeys(AUTH_TYPE_KEYS, _KINDS), "secret": _SECRETS, **_AUTH_SETTINGS},
            anyOf=[{"required": [word]} for word in AUTH_TYPE_KEYS],
        ),
    ]
}
_VALUES: Final[dict[str, RawMap]] = {
    "auth": _AUTH,
    "secret": _SECRETS,
    "path": {"type": "string", "pattern": r"^/?[A-Za-z0-9._~-]{1,100}/?$"},
    "methods": _words([spelling for word in WEBHOOK_METHODS for spelling in (word, word.lower())]),
    "respond": {"enum": list(ANSWERS)},
    "dedupe": {"anyOf": [_PLACE, _COMPUTED, {"const": False}]},
    "challenge": _PLACE,
    "max_bytes": {"type": "integer", "minimum": 1, "maximum": BODY_BYTES_MAX},
    "encodings": _words(list(ENCODINGS)),
    "catch_up": {
        "anyOf": [
            {"enum": list(CATCH_UP)}, {"type": "boolean"},
            {"type": "integer", "minimum": 0, "maximum": CATCH_UP_MAX},
        ]
    },
    "overlap": {"enum": list(OVERLAPS)},
    "on": _words(list(ENDS)),
    "inputs": {"anyOf": [{"type": "object"}, _COMPUTED]},
}  # fmt: skip
_MAIN: Final[dict[str, RawMap]] = {
    "webhook": {"enum": [None, True, "received"]},
    "manual": {"enum": [None, True, "received"]},
    "cron": {"type": "string", "examples": ["0 9 * * 1-5"]},
    "every": _ref("duration"),
    "at": {"type": "string", "examples": ["2027-01-01T09:00:00+01:00"]},
    "event": _ref("text"),
    "flow": _ref("text"),
}
"""What a trigger's own key holds, if its settings stand beside it."""
