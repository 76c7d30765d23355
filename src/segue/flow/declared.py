"""What of a flow's data is secret because the flow says so: fields that `masking` names, and those that a schema (of
the inputs, of a callback) calls a password.

A schema says so by `format: password` (OpenAPI 3.1), `writeOnly: true` (JSON Schema draft 2020-12, section 9.4 of its
validation vocabulary), or our own `secret: true`. What is secret is so by its name: in the inputs as well as in the
webhook's body that they came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from segue.flow.model import Flow, JsonValue, walk_flow

DEPTH_MAX: Final = 32


def declared_names(flow: Flow) -> tuple[str, ...]:
    """The names of fields that are secret, those of `masking` first."""
    callbacks = [step.callback.schema for step in walk_flow(flow) if step.callback is not None]
    found = [name for schema in (flow.inputs, *callbacks) for name in _secret_names(schema)]
    return tuple(dict.fromkeys((*flow.masking, *found)))


def _secret_names(schema: JsonValue, name: str = "", depth: int = 0) -> Iterator[str]:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return
    if schema.get("format") == "password" or schema.get("writeOnly") is True or schema.get("secret") is True:
        if name:
            yield name
        return
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for inner_name, inner in properties.items():
            yield from _secret_names(inner, inner_name, depth + 1)
    yield from _secret_names(schema.get("items"), name, depth + 1)
    for word in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(word)
        for inner in branches if isinstance(branches, list) else ():
            yield from _secret_names(inner, name, depth + 1)
