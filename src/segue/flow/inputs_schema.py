"""The shorthand for schemas, and its normal form: one JSON Schema (draft 2020-12).

`{message: string, email: {type: string, format: email}, amount: {type: number, default: 3}}` declares three properties.
A property is required unless it has a default, `required: false`, or a type that ends in `?`.
"""

from __future__ import annotations

from typing import Final

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.model import JsonValue, RawMap
from segue.flow.nearest import nearest, suggested
from segue.flow.reader import Reader

_TYPES: Final = {
    "string": {"type": "string"},
    "text": {"type": "string"},
    "str": {"type": "string"},
    "password": {"type": "string", "format": "password"},
    "number": {"type": "number"},
    "float": {"type": "number"},
    "integer": {"type": "integer"},
    "int": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
    "map": {"type": "object"},
    "array": {"type": "array"},
    "list": {"type": "array"},
    "any": {},
    "null": {"type": "null"},
    "email": {"type": "string", "format": "email"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "date-time": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "uri": {"type": "string", "format": "uri"},
    "url": {"type": "string", "format": "uri"},
    "uuid": {"type": "string", "format": "uuid"},
}
_SCHEMA_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))
_WORDS: Final = (
    "type", "format", "default", "required", "description", "title", "enum", "const", "examples", "pattern",
    "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "items",
    "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "properties", "additionalProperties",
    "patternProperties", "propertyNames", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not", "if",
    "then", "else", "$ref", "$defs", "$schema", "$id", "$comment", "readOnly", "writeOnly", "deprecated",
    "contentEncoding", "contentMediaType", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "secret",
)  # fmt: skip
"""Words of JSON Schema (draft 2020-12)."""
_SCHEMA_MARKS = frozenset(("$schema", "properties", "$ref", "allOf", "anyOf", "oneOf"))


def schema_of_value(reader: Reader, node: Node, what: str) -> RawMap:
    """The schema of a map of properties, or a full JSON Schema as it is. Nothing declared: an empty schema."""
    if node.is_null:
        return {}
    if node.items is not None:
        return _from_list(reader, node, what)
    if node.text is not None and node.text.isidentifier():
        patch = reader.value_patch(node, f"[{node.text}]")
        hint = f"write `[{node.text}]` for one without a type"
        reader.problem(codes.WRONG_TYPE, node, f"{what} is a map, not {node.kind_name()}", suggestion=hint, patch=patch)
        return _object({node.text: {}}, [node.text])
    entries = reader.map_of(node, what)
    if entries is None:
        return {}
    if any(key in entries for key in _SCHEMA_MARKS) and _looks_full(entries):
        return _checked(reader, node, {key: child.plain() for key, child in entries.items()}, what)
    properties: RawMap = {}
    required: list[JsonValue] = []
    for name, child in entries.items():
        if name.startswith("x-"):
            continue
        schema, is_required = _property(reader, child, f"{what}.{name}")
        properties[name] = schema
        if is_required:
            required.append(name)
    return _object(properties, required)


def _looks_full(entries: dict[str, Node]) -> bool:
    """A full schema says `type: object` or has a map of properties; an input may be called `properties`, too."""
    kind = entries.get("type")
    properties = entries.get("properties")
    return (kind is not None and kind.text == "object") or properties is None or properties.entries is not None


def _object(properties: RawMap, required: list[JsonValue]) -> RawMap:
    schema: RawMap = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return schema


def _from_list(reader: Reader, node: Node, what: str) -> RawMap:
    """`[message, email]`: names without types."""
    for child in node.items or []:
        if child.entries is not None:
            hint = f"write a map: `{what}: {{email: string}}`"
            reader.wrong_type(child, f"an item of a list of {what}", "a name", hint)
            return {}
    names = reader.names(node, what)
    return _object({name: {} for name in names}, list(names))


def _property(reader: Reader, node: Node, what: str) -> tuple[RawMap, bool]:
    if node.is_null:
        return {}, True
    if node.text is not None:
        return _named_type(reader, node, node.text)
    if node.items is not None:
        return {"enum": [child.plain() for child in node.items]}, True
    if node.entries is None:
        reader.wrong_type(node, what, "a type or a schema")
        return {}, False
    entries = _known_words(reader, node.entries, what)
    schema: RawMap = {key: child.plain() for key, child in entries.items()}
    is_required = "default" not in schema
    if isinstance(schema.get("required"), bool):
        is_required = bool(schema.pop("required"))
    kind = node.entries.get("type")
    if kind is not None and kind.text is not None and kind.text not in _SCHEMA_TYPES:
        named, needed = _named_type(reader, kind, kind.text)
        del schema["type"]
        schema = {**named, **schema}
        is_required = is_required and needed
    return _checked(reader, node, schema, what), is_required


def _known_words(reader: Reader, entries: dict[str, Node], what: str) -> dict[str, Node]:
    """A schema's entries; JSON Schema lets unknown words pass, so those that are near a known one are reported."""
    odd = {key: child for key, child in entries.items() if key not in _WORDS and nearest(key, _WORDS) is not None}
    if not odd:
        return entries
    return {**{key: child for key, child in entries.items() if key not in odd}, **reader.check_keys(odd, _WORDS, what)}


def _named_type(reader: Reader, node: Node, written: str) -> tuple[RawMap, bool]:
    """`string`, `string?`, `string[]`, `email`, …"""
    name, optional = (written[:-1], True) if written.endswith("?") else (written, False)
    inner = name.removesuffix("[]")
    found = _TYPES.get(inner)
    if found is None:
        hint = reader.did_you_mean(inner, _TYPES)
        patch = None if hint is None else reader.word_patch(node, written.replace(inner, suggested(hint), 1))
        hint = hint or f"types: {', '.join(_TYPES)}"
        reader.problem(codes.BAD_SCHEMA, node, f'"{written[:40]}" is no type', suggestion=hint, patch=patch)
        return {}, not optional
    schema: RawMap = {**found}
    return ({"type": "array", "items": schema} if name.endswith("[]") else schema), not optional


def _checked(reader: Reader, node: Node, schema: RawMap, what: str) -> RawMap:
    """The schema if it is a valid one, else an empty one and a problem."""
    import jsonschema_rs  # noqa: PLC0415 - most schemas are shorthand and need no meta-schema

    try:
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        message = str(getattr(error, "message", error)).split("\n")[0]
        at = node
        for key in getattr(error, "instance_path", ()):
            child = at.items[key] if isinstance(key, int) and at.items is not None else at.get(str(key))
            if child is None:
                break
            at = child
        reader.problem(codes.BAD_SCHEMA, at, f"{what} is no JSON Schema: {message[:160]}")
        return {}
    _check_default(reader, node, schema, what)
    return schema


def _check_default(reader: Reader, node: Node, schema: RawMap, what: str) -> None:
    """A default has to fit its own schema: nobody would notice before the first run that relies on it."""
    import jsonschema_rs  # noqa: PLC0415 - see `_checked`

    default = node.get("default")
    if default is None or default.is_null:
        return
    error = next(jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(default.plain()), None)
    if error is not None:
        reader.problem(codes.BAD_SCHEMA, default, f"the default of {what} does not fit: {error.message[:160]}")
