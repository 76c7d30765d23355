"""Reads what a flow says about itself: id, inputs, outputs, triggers, limits, handlers. The same for every form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node
from segue.flow.inputs_schema import schema_of_value
from segue.flow.model import Block, JsonValue
from segue.flow.nearest import nearest
from segue.flow.policies import read_timeout
from segue.flow.reader import Reader, first_of
from segue.flow.sharing import read_flow_limits

_SEMVER = re.compile(r"\d+(?:\.\d+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?\Z")
_SOURCE: Final = re.compile(r"(?:env|file|secret|connection|vault):.|connection\.?.")
_STRATEGIES: Final = {"parallel": "parallel", "sequential": "sequential", "priority": "priority"}


def read_header(
    reader: Reader, entries: dict[str, Node], read_block: Callable[[Reader, Node, str, str], Block]
) -> dict[str, Any]:
    """The fields of `Flow` but its root and form, from the document's top level."""
    fields: dict[str, Any] = {"id": _flow_id(reader, entries)}
    fields.update(_labels(reader, entries))
    fields.update(_data(reader, entries))
    fields.update(_policies(reader, entries))
    fields.update(_flow_handlers(reader, entries, read_block))
    return {key: value for key, value in fields.items() if value is not None}


def _labels(reader: Reader, entries: dict[str, Node]) -> dict[str, Any]:
    """What people call the flow and sort it by."""
    fields: dict[str, Any] = {}
    for key in ("name", "title", "description", "category", "owner"):
        if (node := entries.get(key)) and not node.is_null:
            fields[key] = reader.text(node, key)
    if (node := entries.get("version")) and not node.is_null:
        fields["version"] = _version(reader, node)
    for key in ("tags", "masking"):
        if node := entries.get(key):
            fields[key] = reader.names(node, key)
    if node := entries.get("labels"):
        labels = reader.map_of(node, "labels") or {}
        fields["labels"] = {name: reader.text(child, name) or "" for name, child in labels.items()}
    return fields


def _data(reader: Reader, entries: dict[str, Node]) -> dict[str, Any]:
    """What flows in and out, and what starts runs."""
    fields: dict[str, Any] = {}
    if node := entries.get("inputs"):
        fields["inputs"] = schema_of_value(reader, node, "inputs")
    if node := entries.get("outputs"):
        fields["outputs"] = node.plain()
        reader.place("", "outputs", node)
    for key, spellings in (("vars", ("vars", "variables")), ("env", ("env",)), ("layout", ("layout",))):
        if node := first_of(entries, *spellings):
            fields[key] = reader.raw_map(node, key)
            reader.place("", key, node)
    if node := entries.get("secrets"):
        fields["secrets"] = _secrets(reader, node)
    if node := first_of(entries, "triggers", "trigger"):
        from segue.flow.forms.triggers import read_triggers  # noqa: PLC0415 - most flows run by hand have none

        fields["triggers"] = read_triggers(reader, node)
        if "trigger" in entries and "triggers" in entries:
            reader.problem(codes.CONFLICT, entries["trigger"], "`trigger` says the same as `triggers`", at_key=True)
    return fields


def slug(text: str) -> str:
    """An id from a name: lower-case words joined by hyphens."""
    return re.sub(r"[^\w]+", "-", text.strip().lower()).strip("-_")[:100]


def _flow_id(reader: Reader, entries: dict[str, Node]) -> str:
    """`flow`, else the slug of `name` or `title`, else the file's stem."""
    node = first_of(entries, "flow", "id")
    if node is not None and not node.is_null:
        found = reader.name(node, "flow")
        if found is not None:
            return found.strip()
    for key in ("name", "title"):
        node = entries.get(key)
        if node is not None and node.text and slug(node.text):
            return slug(node.text)
    stem = re.split(r"[\\/]", reader.document.file or "")[-1]
    for suffix in (".yaml", ".yml", ".json", ".flow"):
        stem = stem.removesuffix(suffix)
    return slug(stem) or "flow"


def _version(reader: Reader, node: Node) -> str | None:
    text = reader.text(node, "version")
    if text is not None and _SEMVER.match(text) is None:
        bare = text.strip().lstrip("vV=").strip()
        is_near = _SEMVER.match(bare) is not None
        hint = f"write {bare}" if is_near else "write major.minor.patch, such as 1.2.0"
        patch = reader.word_patch(node, bare) if is_near else None
        message = f'version: "{text[:40]}" is no semantic version'
        reader.problem(codes.NOT_ALLOWED, node, message, suggestion=hint, patch=patch)
        return None
    return text


def _policies(reader: Reader, entries: dict[str, Node]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if node := entries.get("strategy"):
        fields["strategy"] = reader.choice(node, "strategy", _STRATEGIES)
    if node := entries.get("fail_fast_priority"):
        fields["fail_fast_priority"] = reader.integer(node, "fail_fast_priority", minimum=-1_000_000)
    if node := entries.get("priority"):
        fields["priority"] = reader.integer(node, "priority", minimum=-1_000_000)
    if node := entries.get("unbound"):
        fields["unbound"] = reader.choice(node, "unbound", {"refuse": "refuse", "allow": "allow"})
    if (node := entries.get("timeout")) and not node.is_null:
        timeout = read_timeout(reader, node)
        if timeout is not None:
            fields["timeout_seconds"] = timeout.total_seconds or timeout.attempt_seconds
    if node := entries.get("limits"):
        fields["limits"] = reader.raw_map(node, "limits")
        fields["run_limits"], fields["concurrency"] = read_flow_limits(reader, node)
    if (node := entries.get("dsl")) and node.scalar not in (1, "1", 1.0):
        reader.problem(codes.NOT_ALLOWED, node, f"this reads version 1 of the language, not {node.kind_name()}")
    return fields


def _flow_handlers(
    reader: Reader, entries: dict[str, Node], read_block: Callable[[Reader, Node, str, str], Block]
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    node = first_of(entries, "on_error", "onError")
    if node is not None and not node.is_null:
        word = {"continue": "continue", "stop": "stop", "fail": "stop"}.get(node.text or "")
        near = nearest(node.text, ("continue", "stop")) if node.text and node.text not in reader.definitions else None
        if word is None and near is not None:
            message = f'on_error is continue, stop or steps, not "{node.text}"'
            patch = reader.word_patch(node, near)
            reader.problem(codes.NOT_ALLOWED, node, message, suggestion=f'did you mean "{near}"?', patch=patch)
        elif word is not None:
            fields["on_error"] = word
        else:
            fields["on_error_block"] = read_block(reader, node, "on_error", "on_error")
    node = entries.get("finally")
    if node is not None and not node.is_null:
        fields["finally_"] = read_block(reader, node, "finally", "finally")
    return fields


def _secrets(reader: Reader, node: Node) -> dict[str, JsonValue]:
    """`{name: {from: env:NAME}}`; `name: env:NAME` is short for it. A plain value is refused: files hold no secrets."""
    found: dict[str, JsonValue] = {}
    if node.items is not None:
        return {name: {"from": f"env:{name}"} for name in reader.names(node, "secrets")}
    for name, child in (reader.map_of(node, "secrets") or {}).items():
        source = child.text if child.text is not None else None
        if child.entries is not None:
            if "from" in child.entries:
                reader.check_keys(child.entries, ("from",), f"the secret {name}")
            inner = child.entries.get("from")
            source = None if inner is None else reader.text(inner, "from")
        if source is not None and (named := re.match(r"\$\{?\{?\s*(?:env\.)?([A-Za-z_]\w*)\s*\}?\}?\Z", source)):
            hint = f"write env:{named[1]}"
            patch = reader.word_patch(child, f"env:{named[1]}")
            message = f"the secret {name} is a reference; secrets say where they come from"
            reader.problem(codes.NOT_ALLOWED, child, message, suggestion=hint, patch=patch)
            source = f"env:{named[1]}"
        if source is None or (_SOURCE.match(source) is None and "." not in source):
            hint = "write `{from: env:NAME}`, `file:PATH`, `secret:NAME`, `connection:NAME.field` or `vault:…`"
            reader.problem(
                codes.NOT_ALLOWED, child, f"the secret {name} does not say where it comes from", suggestion=hint
            )
            continue
        found[name] = {"from": source}
    return found
