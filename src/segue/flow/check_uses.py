"""Checks what steps use: adapters, actions, names, and whether parameters fit the action's JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from segue.flow import codes
from segue.flow.bind import BUILT_IN, resolve
from segue.flow.catalogue import ActionSpec, Catalogue
from segue.flow.findings import Findings, is_dynamic
from segue.flow.model import JsonValue, Span, Step
from segue.flow.problems import Patch
from segue.flow.schemas import validator
from segue.flow.scopes import Scopes

_MAX_PARAM_PROBLEMS = 50


def check_uses(findings: Findings, scopes: Scopes, catalogue: Catalogue, *, runnable: bool) -> dict[str, ActionSpec]:
    """All of this module's checks. Gives the declared action of each step that has one, by the step's path."""
    specs: dict[str, ActionSpec] = {}
    for site in scopes.sites:
        step = site.step
        if step.poll is not None and step.poll.use is not None and resolve(step.poll.use, step.id, catalogue) is None:
            _unknown(findings, step, step.poll.use, catalogue, runnable=runnable)
        if step.use is None or step.kind not in ("call", "poll"):
            continue
        name = resolve(step.use, step.id, catalogue)
        if name is None:
            _unknown(findings, step, step.use, catalogue, runnable=runnable)
            continue
        spec = None if name in BUILT_IN else catalogue.action(name)
        if spec is not None:
            specs[step.path] = spec
            if spec.params_schema is not None:
                _params(findings, step, spec.name, spec.params_schema)
    return specs


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
    definitions = findings.document.root.get("definitions") if findings.document is not None else None
    if definitions is not None:
        known += list(definitions.entries or {})
    return known


def _patch(findings: Findings, step: Step, word: str, hint: str | None) -> Patch | None:
    """The edit that puts the suggested word in place of a wrong one that stands once in the step's text."""
    document = findings.document
    if hint is None or not hint.startswith("did you mean") or step.span is None or document is None:
        return None
    text = (document.text or "")[step.span.start : step.span.end]
    if text.count(word) != 1:
        return None
    start = step.span.start + text.index(word)
    return Patch(start=start, end=start + len(word), text=hint.split('"')[1])


def _params(findings: Findings, step: Step, action: str, schema: dict[str, JsonValue]) -> None:
    """Static parameters against the schema; what is computed is known only at run time."""
    # The stubs of jsonschema_rs know no fields of an error's kind.
    found = cast("Iterable[Any]", validator(schema).iter_errors(step.params))
    for count, error in enumerate(found):
        if count >= _MAX_PARAM_PROBLEMS:
            break
        path: list[str | int] = list(error.instance_path)
        kind = type(error.kind).__name__.rpartition("_")[2]
        if kind == "Required":
            message, hint = f"{action} needs the parameter `{error.kind.property}`", None
        elif kind == "AdditionalProperties":
            _unknown_params(findings, step, action, schema, path, list(error.kind.unexpected))
            continue
        elif is_dynamic(_at(step.params, path)):
            continue
        else:
            where = ".".join(str(part) for part in path) or "params"
            message, hint = f"{action}: {where}: {error.message[:200]}", None
        _report(findings, step, path, message, hint)


def _unknown_params(
    findings: Findings, step: Step, action: str, schema: dict[str, JsonValue], path: list[str | int], names: list[str]
) -> None:
    properties = schema.get("properties") if not path else None
    known = list(properties) if isinstance(properties, dict) else []
    for name in names:
        message = f"{action} has no parameter `{name[:60]}`"
        _report(findings, step, [*path, name], message, findings.did_you_mean(name, known))


def _report(findings: Findings, step: Step, path: list[str | int], message: str, hint: str | None) -> None:
    node = findings.node_at(step, "params", tuple(path))
    document = findings.document
    span = document.span(node) if document is not None and node is not None else None
    place = node.path() if node is not None else None
    findings.add(codes.BAD_PARAMS, message, step=step, field="params", span=span, path=place, suggestion=hint)


def _at(value: JsonValue, path: list[str | int]) -> JsonValue:
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value
