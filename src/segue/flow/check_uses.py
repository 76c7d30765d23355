"""Checks what steps use: adapters, actions, names, and whether parameters fit the action's JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

from segue.flow import codes
from segue.flow.bind import BUILT_IN, flow_of_name, resolve
from segue.flow.catalogue import ActionSpec, Catalogue, FlowSpec
from segue.flow.findings import Findings, is_dynamic
from segue.flow.model import JsonValue, Span, Step
from segue.flow.nearest import nearest, suggested
from segue.flow.problems import Patch
from segue.flow.schemas import validator
from segue.flow.scopes import Scopes

_NODE_TYPES: Final = (
    "RemoteWebhook", "LocalFlow", "DataMapper", "WaitForCallback", "Polling", "Parallel", "ErrorBoundary", "Condition",
    "start", "http", "http_request", "switch", "foreach", "repeat",
)  # fmt: skip
"""Types of canvas nodes that are no actions (`forms/nodes.py`)."""
_MAX_PARAM_PROBLEMS = 50


def check_uses(findings: Findings, scopes: Scopes, catalogue: Catalogue, *, runnable: bool) -> dict[str, ActionSpec]:
    """All of this module's checks. Gives the declared action of each step that has one, by the step's path."""
    specs: dict[str, ActionSpec] = {}
    for site in scopes.sites:
        step = site.step
        if step.poll is not None and step.poll.use is not None and resolve(step.poll.use, step.id, catalogue) is None:
            _unknown(findings, step, step.poll.use, catalogue, runnable=runnable)
        for one in step.fallback:
            if resolve(one.use, step.id, catalogue) is None:
                _unknown(findings, step, one.use, catalogue, runnable=runnable)
        if step.kind == "flow":
            _sub_flow(findings, step, catalogue, runnable=runnable)
        if step.use is None or step.kind not in ("call", "poll"):
            continue
        if step.kind == "call" and (flow := flow_of_name(step.use, catalogue)) is not None:
            _inputs(findings, step, flow, "params")
            continue
        name = resolve(step.use, step.id, catalogue)
        if name is None:
            _unknown(findings, step, step.use, catalogue, runnable=runnable)
            continue
        spec = None if name in BUILT_IN else catalogue.action(name)
        if spec is not None:
            specs[step.path] = spec
            if spec.params_schema is not None:
                _against(findings, step, spec.params_schema, step.params, Subject(spec.name, "parameter", "params"))
    return specs


def _sub_flow(findings: Findings, step: Step, catalogue: Catalogue, *, runnable: bool) -> None:
    """The flow that a step runs: whether there is one, and whether it takes what it is given."""
    name = step.params.get("flow")
    if not isinstance(name, str) or is_dynamic(name) or "base_url" in step.params:
        return
    flow = catalogue.flow(name)
    if flow is not None:
        _inputs(findings, step, flow, "params.inputs")
        return
    known = catalogue.flows()
    if known is None:
        return
    allowed = findings.flow.unbound == "allow"
    hint = findings.did_you_mean(name, known)
    node = findings.node(step, "params.flow")
    findings.add(
        codes.UNBOUND, f'there is no flow "{name[:60]}"', step=step, field="params.flow",
        severity="error" if runnable and not allowed else "warning",
        path=node.path() if node is not None else step.path,
        suggestion=hint or "name a flow by its id, or write `unbound: allow`",
        patch=None if hint is None else findings.replace(step, "params.flow", suggested(hint)),
    )  # fmt: skip


def _inputs(findings: Findings, step: Step, flow: FlowSpec, field: str) -> None:
    """What a step gives to another flow, against the inputs which that declares."""
    if not flow.inputs:
        return
    value = step.params if field == "params" else step.params.get("inputs")
    given = value if isinstance(value, dict) else {}
    if isinstance(value, str):
        return  # computed as a whole
    _against(findings, step, flow.inputs, given, Subject(f"the flow {flow.name}", "input", field))


def _unknown(findings: Findings, step: Step, use: str, catalogue: Catalogue, *, runnable: bool) -> None:
    allowed = findings.flow.unbound == "allow"
    adapter, dot, action = use.partition(".")
    if not dot:
        known = _known_names(findings, catalogue)
        hint = findings.did_you_mean(use, known)
        findings.add(
            codes.UNBOUND, f'nothing is known by the name "{use[:60]}"', step=step,
            severity="error" if runnable and not allowed else "warning",
            suggestion=hint or "define it under `definitions:`, or write `unbound: allow`",
            span=_span(findings, step, "use"), path=step.path, patch=_patch(findings, step, use, hint),
        )  # fmt: skip
        return
    severity = "warning" if allowed else "error"
    if adapter not in catalogue.adapters():
        hint = findings.did_you_mean(adapter, catalogue.adapters())
        message = f'unknown adapter "{adapter[:60]}"'
        patch = _patch(findings, step, adapter, hint)
        findings.add(
            codes.UNKNOWN_ADAPTER, message, step=step, severity=severity, suggestion=hint, patch=patch,
            span=_span(findings, step, "use"), path=step.path,
        )  # fmt: skip
        return
    actions = list(catalogue.actions(adapter))
    if action == "*":
        message = f"the adapter {adapter} has no default action, and none called {step.id}"
        hint = f"add `action:`, one of {', '.join(actions)}"
    else:
        message = f'the adapter {adapter} has no action "{action[:60]}"'
        hint = findings.did_you_mean(action, actions) or f"it has {', '.join(actions)}"
    patch = _patch(findings, step, action, hint)
    findings.add(
        codes.UNKNOWN_ACTION, message, step=step, severity=severity, suggestion=hint, patch=patch,
        span=_span(findings, step, "use.action", "use"), path=step.path,
    )  # fmt: skip


def _span(findings: Findings, step: Step, *fields: str) -> Span | None:
    """Where the first of the fields stands that the step's text has."""
    for field in fields:
        node = findings.node(step, field)
        if node is not None and findings.document is not None:
            return findings.document.span(node)
    return None


def _known_names(findings: Findings, catalogue: Catalogue) -> list[str]:
    known = [f"{adapter}.{action}" for adapter in catalogue.adapters() for action in catalogue.actions(adapter)]
    names = getattr(catalogue, "names", None)
    if callable(names):
        found: Any = names()
        known += [str(name) for name in found]
    known += catalogue.flows() or ()
    if findings.flow.form in ("graph", "dag", "definition"):
        known += _NODE_TYPES
    definitions = findings.document.root.get("definitions") if findings.document is not None else None
    if definitions is not None:
        known += list(definitions.entries or {})
    return known


def _patch(findings: Findings, step: Step, word: str, hint: str | None) -> Patch | None:
    """The edit that puts the suggested word in place of a wrong one that stands once in the step's text."""
    document = findings.document
    if hint is None or not hint.startswith("did you mean") or document is None:
        return None
    node = findings.node(step, "use.action") or findings.node(step, "use")
    places = [findings.node(step, "use"), node] if node is not None else []
    spans = [span for place in places if place is not None and (span := document.span(place)) is not None]
    for span in [*spans, *([step.span] if step.span is not None else [])]:
        text = (document.text or "")[span.start : span.end]
        if text.count(word) == 1:
            break
    else:
        return None
    start = span.start + text.index(word)
    return Patch(start=start, end=start + len(word), text=hint.split('"')[1])


class Subject(NamedTuple):
    """What takes values, in sentences: an action's parameters or a flow's inputs, and the field they stand under."""

    name: str
    word: str
    field: str


def _against(
    findings: Findings, step: Step, schema: dict[str, JsonValue], values: dict[str, JsonValue], subject: Subject
) -> None:
    """Static values against a schema; what is computed is known only at run time."""
    # The stubs of jsonschema_rs know no fields of an error's kind.
    found = cast("Iterable[Any]", validator(schema).iter_errors(values))
    known = _properties(schema)
    for count, error in enumerate(found):
        if count >= _MAX_PARAM_PROBLEMS:
            break
        path: list[str | int] = list(error.instance_path)
        kind = type(error.kind).__name__.rpartition("_")[2]
        if kind == "Required":
            name = str(error.kind.property)
            if not path and _is_closed(schema) and any(nearest(key, [name]) for key in values if key not in known):
                continue  # it is there, misspelt
            _report(findings, step, path, f"{subject.name} needs the {_word(subject, path)} `{name}`", subject)
        elif kind == "AdditionalProperties":
            _unknown_values(findings, step, schema, path, list(error.kind.unexpected), subject)
        elif not is_dynamic(_at(values, path)):
            _unfit(findings, step, path, error, subject)


def _properties(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _is_closed(schema: dict[str, JsonValue]) -> bool:
    return schema.get("additionalProperties") is False


def _word(subject: Subject, path: list[str | int]) -> str:
    return subject.word if not path else "field"


def _unknown_values(
    findings: Findings,
    step: Step,
    schema: dict[str, JsonValue],
    path: list[str | int],
    names: list[str],
    subject: Subject,
) -> None:
    known = list(_properties(schema)) if not path else []
    for name in names:
        message = f"{subject.name} has no {_word(subject, path)} `{name[:60]}`"
        hint = findings.did_you_mean(name, known)
        if hint is None and known:
            hint = f"it has {', '.join(known[:12])}"
        node = findings.node_at(step, subject.field, (*path, name))
        own = node if node is not None and node.key == name else None
        patch = None
        if hint is not None and hint.startswith("did you mean") and own is not None and own.key_start >= 0:
            patch = Patch(start=own.key_start, end=own.key_end, text=suggested(hint))
        document = findings.document
        span = document.key_span(own) if document is not None and own is not None else None
        _report(findings, step, [*path, name], message, subject, hint, patch, span)


def _unfit(findings: Findings, step: Step, path: list[str | int], error: Any, subject: Subject) -> None:
    """A value of the wrong kind, or outside the allowed ones."""
    kind = type(error.kind).__name__.rpartition("_")[2]
    where = ".".join(str(part) for part in path) or subject.word
    node = findings.node_at(step, subject.field, tuple(path))
    hint, patch, text = None, None, None
    value = node.scalar if node is not None else None
    message = f"{subject.name}: {where}: {error.message[:200]}"
    if kind == "Type":
        wanted = [str(one) for one in error.kind.types]
        message = f"{subject.name}: `{where}` is {_a(wanted)}, not {node.kind_name() if node is not None else 'this'}"
        text = _converted(value, wanted)
        hint = None if text is None else f"write {text}"
    elif kind == "Enum" and isinstance(value, str):
        allowed = [str(one) for one in error.kind.options]
        message = f'{subject.name}: `{where}` is one of {", ".join(allowed)}, not "{value[:40]}"'
        hint = findings.did_you_mean(value, allowed)
        text = None if hint is None else suggested(hint)
    elif kind == "Format":
        message = f"{subject.name}: `{where}` is no {error.kind.format}"
    if text is not None and node is not None and node.start >= 0 and node.style in ("", "'", '"'):
        patch = Patch(start=node.start, end=node.end, text=text)
    _report(findings, step, path, message, subject, hint, patch)


_KINDS: Final = {
    "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "a map", "null": "null",
}  # fmt: skip


def _a(kinds: list[str]) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)


def _converted(value: JsonValue, wanted: list[str]) -> str | None:
    """The scalar as it would be written to be of the wanted kind, if it can mean the same."""
    if isinstance(value, str):
        word = value.strip()
        if {"integer", "number"} & set(wanted) and re.match(r"-?\d{1,18}\Z", word):
            return word
        if "number" in wanted and re.match(r"-?\d{1,18}\.\d{1,15}\Z", word):
            return word
        if "boolean" in wanted:
            known = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
            return known.get(word.lower())
        if "array" in wanted and re.match(r"[\w.@-]+\Z", word):
            return f"[{word}]"
    elif "string" in wanted and isinstance(value, bool):
        return '"true"' if value else '"false"'
    elif "string" in wanted and isinstance(value, (int, float)):
        return f'"{value}"'
    return None


def _report(
    findings: Findings, step: Step, path: list[str | int], message: str, subject: Subject, hint: str | None = None,
    patch: Patch | None = None, span: Span | None = None,
) -> None:  # fmt: skip
    node = findings.node_at(step, subject.field, tuple(path))
    document = findings.document
    if span is None and document is not None and node is not None:
        span = document.span(node)
    place = node.path() if node is not None else step.path
    findings.add(
        codes.BAD_PARAMS, message, step=step, field=subject.field, span=span, path=place, suggestion=hint, patch=patch
    )


def _at(value: JsonValue, path: list[str | int]) -> JsonValue:
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value
