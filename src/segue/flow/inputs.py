"""A run's inputs: defaults, validation, and values typed on a command line.

Validation is JSON Schema draft 2020-12 with formats on (`jsonschema_rs`); the validator is made once for each schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from segue.errors import InvalidInputError
from segue.flow.model import Flow, JsonValue, RawMap
from segue.flow.nearest import did_you_mean
from segue.flow.schemas import validator
from segue.flow.tree import INT64, MAX_DEPTH

MAX_DETAILS: Final = 50
_TRUE: Final = frozenset(("true", "yes", "on", "1"))
_FALSE: Final = frozenset(("false", "no", "off", "0"))


def resolve_inputs(flow: Flow, given: Mapping[str, JsonValue]) -> RawMap:
    """The inputs of a run: what was given, defaults put in, checked against what the flow declares.

    A flow that declares nothing takes any object. Raises InvalidInputError with one (path, sentence) pair a mistake,
    the nearest declared name for each unknown one. The given map is not changed.
    """
    inputs = dict(given)
    details = unfit_values(inputs)
    if not flow.inputs and not details:
        return inputs
    resolved = inputs if details else with_defaults(flow.inputs, inputs)
    details = details or check_value(flow.inputs, resolved)
    if details:
        count = "" if len(details) == 1 else f"{len(details)} mistakes; the first: "
        path, sentence = details[0]
        message = f"inputs of {flow.id}: {count}{f'{path}: ' if path else ''}{sentence}"
        raise InvalidInputError(message, details)
    return cast("RawMap", resolved)


def unfit_values(value: object) -> list[tuple[str, str]]:
    """One (path, sentence) pair for each thing within a value that no journal can keep: what is no JSON, numbers that
    are not finite or whose integer does not fit 64 bits; at most 50.
    """
    if _is_flat(value):
        return []
    found: list[tuple[str, str]] = []
    level: list[tuple[tuple[str, ...], object]] = [((), value)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[tuple[str, ...], object]] = []
        for path, one in level:
            if isinstance(one, dict):
                inner += [((*path, str(key)), child) for key, child in cast("dict[object, object]", one).items()]
            elif isinstance(one, list | tuple):
                inner += [((*path, str(at)), child) for at, child in enumerate(cast("list[object]", one))]
            elif (sentence := _unfit(one)) is not None:
                found.append((".".join(path), sentence))
        if not inner or len(found) >= MAX_DETAILS:
            return found[:MAX_DETAILS]
        level = inner
    return [(".".join(level[0][0][:1]), f"nests deeper than {MAX_DEPTH} levels")]


def _is_flat(value: object) -> bool:
    """Whether it is a map of texts and the like, as most inputs are: nothing to look for."""
    if type(value) is not dict:
        return False
    for one in cast("dict[object, object]", value).values():
        if one is not None and type(one) is not str and type(one) is not bool:
            return False
    return True


def _unfit(one: object) -> str | None:
    if isinstance(one, int) and not -INT64 <= one < INT64:
        return f"{str(one)[:30]} does not fit 64 bits; send it as text"
    if isinstance(one, float) and not math.isfinite(one):
        return f"{one} is not a finite number"
    if one is None or isinstance(one, str | int | float):
        return None
    return f"an object of type {type(one).__name__} is no JSON value"


def check_value(schema: RawMap, value: JsonValue) -> list[tuple[str, str]]:
    """One (path, sentence) pair for each way in which a value does not fit a schema; at most 50."""
    checked = validator(schema)
    if checked.is_valid(value):
        return []
    details: list[tuple[str, str]] = []
    errors: Iterable[Any] = checked.iter_errors(value)
    for error in errors:
        details += _sentences(schema, error)
        if len(details) >= MAX_DETAILS:
            break
    return details[:MAX_DETAILS]


def with_defaults(schema: RawMap, value: JsonValue) -> JsonValue:
    """The value with the schema's defaults for properties that are missing, inner objects included."""
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, dict):
        return value
    filled = dict(value)
    for name, property in properties.items():
        if not isinstance(property, dict):
            continue
        if name in filled:
            filled[name] = with_defaults(property, filled[name])
        elif "default" in property:
            filled[name] = property["default"]
    return filled


def parse_cli_value(text: str, schema: RawMap) -> JsonValue:
    """The value of `name=text` on a command line, by the declared type of that input.

    Text stays text where a string is declared; numbers, booleans, lists and objects are read as JSON (`yes`, `no`, and
    `a,b,c` for lists, too). Without a declared type, JSON if it is some, else text. What does not fit is left as
    text, for validation to explain.
    """
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
    if kinds and "string" in kinds:
        return None if "null" in kinds and text == "null" else text
    if "boolean" in kinds and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    parsed = _json(text)
    if "array" in kinds and not isinstance(parsed, list) and not text.lstrip().startswith("["):
        items = schema.get("items")
        inner = items if isinstance(items, dict) else {}
        return [parse_cli_value(part.strip(), inner) for part in text.split(",")] if text else []
    if kinds and "integer" in kinds and isinstance(parsed, float) and parsed.is_integer():
        return int(parsed)
    return parsed


def _json(text: str) -> JsonValue:
    """The text as JSON, or the text itself: infinity and not-a-number are no JSON."""
    try:
        return cast("JsonValue", json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _sentences(schema: RawMap, error: Any) -> list[tuple[str, str]]:
    path = [str(part) for part in error.instance_path]
    kind = type(error.kind).__name__.rpartition("_")[2]
    if kind == "Required":
        return [(".".join([*path, error.kind.property]), "is required")]
    if kind == "AdditionalProperties":
        known = _properties_at(schema, path)
        found: list[tuple[str, str]] = []
        for name in error.kind.unexpected:
            hint = did_you_mean(name, known) or (f"declared: {', '.join(known)}" if known else "none is declared")
            found.append((".".join([*path, name]), f"is not declared; {hint}"))
        return found
    if kind == "AnyOf" and (names := _one_of(error.kind.context)):
        return [(".".join(path), f"needs one of these: {', '.join(names)}")]
    return [(".".join(path), str(error.message).split("\n")[0][:300])]


def _one_of(branches: Iterable[Iterable[Any]]) -> list[str]:
    """The properties of which one is missing, if that is all that is wrong with every way to fit."""
    errors = [error for branch in branches for error in branch]
    if any(type(error.kind).__name__.rpartition("_")[2] != "Required" for error in errors):
        return []
    return list(dict.fromkeys(error.kind.property for error in errors))


def _properties_at(schema: RawMap, path: list[str]) -> list[str]:
    """Names of the properties declared for the object at a path."""
    at: JsonValue = schema
    for part in path:
        inner = at.get("properties") if isinstance(at, dict) else None
        if isinstance(inner, dict) and part in inner:
            at = inner[part]
        else:
            at = at.get("items") if isinstance(at, dict) else None
    properties = at.get("properties") if isinstance(at, dict) else None
    return list(properties) if isinstance(properties, dict) else []
