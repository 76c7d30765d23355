"""Forms for people out of a JSON Schema: which fields they have, and the value that a filled-in form says.

What a browser sends is text; here it becomes what the schema means. What does not fit stays text, so that the schema's
own check tells the person what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import msgspec

from segue.flow.model import JsonValue, RawMap

DEPTH_MAX: Final = 6
FIELDS_MAX: Final = 200
Kind = Literal[
    "text", "textarea", "email", "url", "date", "time", "datetime", "number", "integer", "checkbox", "select",
    "several", "lines", "json", "group",
]  # fmt: skip
_FORMATS: Final[dict[str, Kind]] = {
    "email": "email", "uri": "url", "date": "date", "time": "time", "date-time": "datetime",
}  # fmt: skip
_TO_THE_MINUTE: Final = len("2030-01-31T09:00")
_LONG: Final = 200
"""Texts that may be longer than this get a field of several lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `name` is its path in the form, `key` what it is called in its object."""

    name: str
    key: str
    label: str
    kind: Kind
    required: bool = False
    hint: str | None = None
    default: JsonValue = None
    options: Sequence[JsonValue] = ()
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the HTML input: `min`, `max`, `maxlength`."""
    inner: Sequence[Field] = ()
    """Of a group."""

    def leaves(self) -> Iterator[Field]:
        """The fields that are filled in."""
        if self.kind == "group":
            for one in self.inner:
                yield from one.leaves()
        else:
            yield self


def fields_of(schema: RawMap | None, *, leave_out: frozenset[str] = frozenset()) -> list[Field] | None:
    """The fields of an object's schema; None if the schema is of something else, or there is none."""
    if schema is None:
        return None
    root = _resolved(schema, schema)
    if "properties" not in root and root.get("type") != "object":
        return None
    return _properties(root, schema, "", leave_out, 0)


def value_of(fields: Sequence[Field], form: Mapping[str, Sequence[str]]) -> RawMap:
    """The object that a form says. A field that was left empty is left out, unless it is a checkbox."""
    found: RawMap = {}
    for one in fields:
        if one.kind == "group":
            inner = value_of(one.inner, form)
            if inner or one.required:
                found[one.key] = inner
            continue
        value = _said(one, form.get(one.name, ()))
        if value is not None:
            found[one.key] = value
    return found


def _properties(schema: RawMap, root: RawMap, prefix: str, leave_out: frozenset[str], depth: int) -> list[Field]:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return []
    needed = set(required) if isinstance(required, list) else set[JsonValue]()
    return [
        _field(f"{prefix}{name}", name, _resolved(inner, root), root, name in needed, depth)
        for name, inner in list(properties.items())[:FIELDS_MAX]
        if name not in leave_out
    ]


def _field(path: str, name: str, schema: RawMap, root: RawMap, required: bool, depth: int) -> Field:
    title, hint = schema.get("title"), schema.get("description")
    label = title if isinstance(title, str) and title else name.replace("_", " ").capitalize()
    kind, options = _kind(schema, depth)
    inner = _properties(schema, root, f"{path}.", frozenset(), depth + 1) if kind == "group" else []
    if kind == "group" and not inner:
        kind = "json"
    return Field(
        name=path, key=name, label=label, kind=kind, required=required, hint=hint if isinstance(hint, str) else None,
        default=schema.get("default"), options=options, attributes=_attributes(schema, kind), inner=inner,
    )  # fmt: skip


def _kind(schema: RawMap, depth: int) -> tuple[Kind, Sequence[JsonValue]]:
    enum, of = schema.get("enum"), schema.get("type")
    if isinstance(of, list):
        of = next((one for one in of if one != "null"), None)
    if isinstance(enum, list):
        return "select", enum
    if of == "boolean":
        return "checkbox", ()
    if of in ("integer", "number"):
        return ("integer" if of == "integer" else "number"), ()
    if of == "object" or "properties" in schema:
        return ("group" if depth < DEPTH_MAX else "json"), ()
    if of == "array":
        return _kind_of_list(schema)
    if of == "string":
        return _kind_of_text(schema), ()
    return "json", ()


def _kind_of_list(schema: RawMap) -> tuple[Kind, Sequence[JsonValue]]:
    items = schema.get("items")
    if isinstance(items, dict) and isinstance(items.get("enum"), list):
        return "several", cast("list[JsonValue]", items["enum"])
    return ("lines" if isinstance(items, dict) and items.get("type") == "string" else "json"), ()


def _kind_of_text(schema: RawMap) -> Kind:
    known = _FORMATS.get(str(schema.get("format")))
    longest = schema.get("maxLength")
    return known or ("textarea" if isinstance(longest, int) and longest > _LONG else "text")


def _attributes(schema: RawMap, kind: Kind) -> dict[str, str]:
    found: dict[str, str] = {}
    if kind in ("number", "integer"):
        found["step"] = "any" if kind == "number" else "1"
        names = (("minimum", "min"), ("maximum", "max"))
    else:
        names = (
            (("minLength", "minlength"), ("maxLength", "maxlength")) if kind in ("text", "textarea", "email") else ()
        )
    for key, name in names:
        value = schema.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = str(value)
    return found


def _resolved(schema: JsonValue, root: RawMap) -> RawMap:
    """A schema, or the one within the same document that it refers to (RFC 6901)."""
    for _ in range(DEPTH_MAX):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: JsonValue = root
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found
    return {}


def _said(one: Field, given: Sequence[str]) -> JsonValue:
    if one.kind == "checkbox":
        return bool(given)
    texts = [text for text in given if text.strip()]
    if one.kind == "several":
        return [_option(one, text) for text in texts] or None
    if not texts:
        return None
    text = texts[0]
    match one.kind:
        case "select":
            return _option(one, text)
        case "integer" | "number":
            return _number(text)
        case "lines":
            return [line.strip() for line in text.splitlines() if line.strip()]
        case "datetime":
            # The field asks for UTC, and browsers send no zone.
            return f"{text}{':00' if len(text) == _TO_THE_MINUTE else ''}Z"
        case "json":
            return _parsed(text)
        case _:
            return text.replace("\r\n", "\n")


def _option(one: Field, text: str) -> JsonValue:
    """Options are sent by their place, so that numbers and texts are told apart."""
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    return one.options[place] if 0 <= place < len(one.options) else text


def _number(text: str) -> JsonValue:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if number - number == 0 else text


def _parsed(text: str) -> JsonValue:
    """JSON if it is some, else the text itself."""
    try:
        return cast("JsonValue", msgspec.json.decode(text))
    except (msgspec.MsgspecError, RecursionError):
        return text
