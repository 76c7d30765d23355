"""Checks every expression and reference: that it compiles, and that what it names exists and can have run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from segue.expr import ExprError, Reference
from segue.flow import codes
from segue.flow.catalogue import ActionSpec
from segue.flow.document import Node
from segue.flow.expression_fixes import repaired
from segue.flow.expressions import Mode, references_of, scalars
from segue.flow.findings import Findings, is_dynamic
from segue.flow.model import JsonValue, Step
from segue.flow.problems import Patch
from segue.flow.scopes import Frame, Scopes, Site
from segue.flow.verbs import SCOPE_NAMES

_SENDING: Final = frozenset(("call", "flow", "http", "poll"))
"""Kinds of steps whose parameters go out and are not written down."""
_EXPRESSION_PARAMS: Final[dict[str, tuple[str, ...]]] = {
    "switch": ("on",), "foreach": ("items", "key", "aggregate", "limit"), "repeat": ("while", "until", "max"),
    "parallel": ("limit",), "wait": ("where",),
}  # fmt: skip
_CONDITION_PARAMS: Final = frozenset(("while", "until", "where"))
_OWN_NAMES: Final = {"aggregate": frozenset(("results",)), "where": frozenset(("event",))}
"""Names that only this expression sees."""
_BODY_PARAMS: Final = frozenset(("key", "while", "until"))
"""Expressions that are computed inside a loop's body, and see its steps."""
_PATCHED_CHARACTERS_MAX: Final = 1_000
"""In longer texts the place of a name is not looked for: each of thousands of names would be, in all of the text."""
_FOREIGN: Final = {
    "None": "null", "nil": "null", "NULL": "null", "Null": "null", "undefined": "null", "True": "true",
    "TRUE": "true", "False": "false", "FALSE": "false", "json": "data", "event": "trigger", "github": "trigger",
    "yes": "true", "no": "false", "workflow": "run", "params": "inputs", "variables": "vars", "context": "run",
}  # fmt: skip
"""Names of other languages and tools, and what stands for them here."""
_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_LOOSE: Final = re.compile(
    r"(?<!\$)\$(?:(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)|\{\s*(?P<braced>[A-Za-z_]\w*(?:\.\w+)*)\s*\})"
)
_HYPHENATED: Final = re.compile(r"\$(?P<root>[A-Za-z_]\w*)(?P<rest>(?:\.\w[\w-]*)+)")
_AT_THE_START: Final = frozenset(("trigger", "data", "env"))
"""What a trigger's own expressions see: there is no run yet."""
_HTTP_RESULT: Final = ("status", "headers", "body")


@dataclass(slots=True)
class _Place:
    """One value or expression, with what it can see."""

    step: Step | None
    field: str
    raw: JsonValue
    mode: Mode
    frame: Frame
    visible: int
    extra: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    """The names that are known here, if not all of those that always are."""


def check_values(findings: Findings, scopes: Scopes, specs: dict[str, ActionSpec]) -> None:
    """All of this module's checks."""
    checker = _Checker(findings, scopes, specs)
    for site in scopes.sites:
        for place in _places(site):
            checker.check(place)
    for place in _edge_places(scopes):
        checker.check(place)
    for place in _flow_places(findings, scopes):
        checker.check(place)


def _places(site: Site) -> Iterator[_Place]:
    """Every value and expression of a step."""
    step, frame, visible = site.step, site.frame, site.visible
    after = visible | 1 << site.number | site.exports | site.body
    if step.when is not None:
        yield _Place(step, "when", step.when, "condition", frame, visible)
    yield from _param_places(site)
    yield from _wait_places(site, after)
    if step.output is not None:
        yield _Place(step, "output", step.output, "value", frame, after)
    if step.has_default:
        yield _Place(step, "default", step.default, "value", frame, visible)
    for field, sharing in (("limits.key", step.limits), ("cache.key", step.cache)):
        if sharing is not None and sharing.key is not None:
            yield _Place(step, field, sharing.key, "expression", frame, visible)
    for number, fallback in enumerate(step.fallback):
        if fallback.params is not None and is_dynamic(fallback.params):
            yield _Place(step, f"fallback.{number}", fallback.params, "value", frame, visible)
    for block in step.blocks:
        if block.when is not None:
            yield _Place(step, f"{block.label}.when", block.when, "condition", frame, visible)
    for index, computed in site.thens.items():
        then = step.on_error[index].then
        yield _Place(step, f"on_error[{index}].then", then, "value", computed[0], computed[1])


def _wait_places(site: Site, after: int) -> Iterator[_Place]:
    """What polls and callbacks compute."""
    step, frame, visible = site.step, site.frame, site.visible
    if step.poll is not None:
        for name in ("success_condition", "failure_condition"):
            condition: str | None = getattr(step.poll, name)
            if condition is not None:
                yield _Place(step, f"poll.{name}", condition, "poll", frame, visible)
        if step.poll.params:
            yield _Place(step, "poll.params", step.poll.params, "value", frame, after)
    if step.callback is not None and step.callback.signature is not None:
        secret = f"$secrets.{step.callback.signature.secret}"
        yield _Place(step, "callback.signature.secret", secret, "value", frame, visible)
    if step.callback is not None and step.callback.correlate is not None:
        yield _Place(step, "callback.correlate", step.callback.correlate, "value", frame, after)


def _is_sent(step: Step, field: str) -> bool:
    """Whether a value goes to an action, or is what a signature is checked with."""
    return field in ("poll.params", "callback.signature.secret") or (field == "params" and step.kind in _SENDING)


def _param_places(site: Site) -> Iterator[_Place]:
    step, frame, visible = site.step, site.frame, site.visible
    params = step.params
    if step.kind == "branch":
        branches = params.get("branches")
        for index, branch in enumerate(branches if isinstance(branches, list) else ()):
            if isinstance(branch, dict) and isinstance(branch.get("when"), str):
                yield _Place(step, f"params.branches[{index}]", branch["when"], "condition", frame, visible)
        return
    special = _EXPRESSION_PARAMS.get(step.kind, ())
    for name in special:
        raw = params.get(name)
        if isinstance(raw, str):
            inside = name in _BODY_PARAMS and site.inner_frame is not None
            yield _Place(
                step, f"params.{name}", raw, "condition" if name in _CONDITION_PARAMS else "expression",
                site.inner_frame if inside and site.inner_frame is not None else frame,
                visible | site.body if inside else visible,
                _OWN_NAMES.get(name, frozenset()),
            )  # fmt: skip
    tolerate = params.get("tolerate") if step.kind == "foreach" else None
    if isinstance(tolerate, str) and tolerate not in ("all", "collect") and not tolerate.endswith("%"):
        yield _Place(step, "params.tolerate", tolerate, "expression", frame, visible)
    if special:
        params = {key: value for key, value in params.items() if key not in special}
    if is_dynamic(params):
        yield _Place(step, "params", params, "value", frame, visible)


def _edge_places(scopes: Scopes) -> Iterator[_Place]:
    """Conditions on edges see what has run when the edge's source has ended."""
    for block in scopes.blocks:
        steps = {step.id: step for step in block.steps}
        for edge in block.edges:
            if edge.when is not None and edge.source in steps:
                site = scopes.by_step[id(steps[edge.source])]
                after = site.visible | 1 << site.number | site.exports | site.body
                yield _Place(site.step, f"edge to {edge.target}", edge.when, "condition", site.frame, after)


def _flow_places(findings: Findings, scopes: Scopes) -> Iterator[_Place]:
    flow = findings.flow
    if flow.outputs is not None:
        yield _Place(None, "outputs", flow.outputs, "value", scopes.root, scopes.everything)
    for field in ("vars", "env"):
        if is_dynamic(getattr(flow, field)):
            yield _Place(None, field, getattr(flow, field), "value", scopes.root, 0)
    if flow.run_limits is not None and flow.run_limits.key is not None:
        yield _Place(None, "limits.key", flow.run_limits.key, "expression", scopes.root, 0)
    for number, trigger in enumerate(flow.triggers):
        field = f"triggers[{number}]"
        if trigger.when is not None:
            yield _Place(None, f"{field}.when", trigger.when, "condition", scopes.root, 0, only=_AT_THE_START)
        for name in ("inputs", "dedupe"):
            raw = trigger.settings.get(name)
            if is_dynamic(raw):
                yield _Place(None, f"{field}.{name}", raw, "value", scopes.root, 0, only=_AT_THE_START)


class _Checker:
    def __init__(self, findings: Findings, scopes: Scopes, specs: dict[str, ActionSpec]) -> None:
        self.findings = findings
        self.scopes = scopes
        self.specs = specs
        schema = findings.flow.inputs
        properties = schema.get("properties")
        closed = schema.get("additionalProperties") is False
        self.inputs: list[str] | None = list(properties) if isinstance(properties, dict) and closed else None
        self.variables = {*findings.flow.vars}
        for site in scopes.sites:
            if site.step.kind == "set":
                self.variables |= site.step.params.keys()
        self.all_names: dict[str, list[Site]] = {}
        for site in scopes.sites:
            self.all_names.setdefault(site.step.id, []).append(site)

    def check(self, place: _Place) -> None:
        try:
            references = references_of(place.raw, place.mode, is_checked=True)
        except ExprError as error:
            if place.mode == "value" and isinstance(place.raw, (dict, list)):
                self._one_by_one(place, error)
            else:
                self._not_compiled(place, error)
            return
        for reference in references:
            self._reference(place, reference)
        if place.mode == "value":
            for at, text in scalars(place.raw):
                if "$" in text and (" " in text or "${" in text):
                    self._not_replaced(place, at, text)
                elif "-" in text and (found := _HYPHENATED.fullmatch(text)) and self._is_name(found["root"], place):
                    self._hyphenated(place, at, found)

    def _not_replaced(self, place: _Place, at: tuple[str | int, ...], text: str) -> None:
        """References that stand inside of a text, where nothing puts a value in their place."""
        templates = [found.span() for found in _TEMPLATE.finditer(text)]
        for found in _LOOSE.finditer(text):
            name = found["name"] or found["braced"]
            root = name.partition(".")[0]
            inside = any(start <= found.start() < end for start, end in templates)
            if inside or found.group() == text.strip() == f"${name}" or not self._is_name(root, place):
                continue
            node, source = self._scalar(place, at)
            span = self.findings.span_inside(node, source, found.start(), found.end())
            written = f"{{{{ {name} }}}}"
            self.findings.add(
                codes.NOT_REPLACED, f"`{found.group()}` stays as it is inside of a text", step=place.step,
                field=place.field, span=span, path=node.path() if node is not None else None,
                suggestion=f"write {written}",
                patch=self.findings.whole_patch(span, found.group(), written),
            )  # fmt: skip

    def _hyphenated(self, place: _Place, at: tuple[str | int, ...], found: re.Match[str]) -> None:
        """A reference with a hyphen in a name, which makes it a text like any other."""
        parts = found["rest"][1:].split(".")
        written = f"${found['root']}" + "".join(f'["{one}"]' if "-" in one else f".{one}" for one in parts)
        node, source = self._scalar(place, at)
        self.findings.add(
            codes.NOT_REPLACED, f"`{found.string}` stays as it is, since a name with a hyphen stands in brackets",
            step=place.step, field=place.field, span=self.findings.span_inside(node, source, 0, len(found.string)),
            path=node.path() if node is not None else None, suggestion=f"write {written}",
        )  # fmt: skip

    def _is_name(self, root: str, place: _Place) -> bool:
        return root in SCOPE_NAMES or root in self.all_names or place.frame.binds(root)

    def _one_by_one(self, place: _Place, error: ExprError) -> None:
        """Check each scalar of a value by itself, since compiling the whole stops at the first mistake."""
        found_any = False
        for at, text in scalars(place.raw):
            try:
                references = references_of(text, "value", is_checked=True)
            except ExprError as own:
                own.path = (*at, *own.path)
                found_any = True
                self._not_compiled(place, own)
                continue
            for reference in references:
                self._reference(place, reference.inside(at))
        if not found_any:
            self._not_compiled(place, error)

    def _not_compiled(self, place: _Place, error: ExprError) -> None:
        node, source = self._scalar(place, error.path)
        span = self.findings.span_inside(node, source, error.start, error.end)
        fixed = repaired(source, error, lambda text: references_of(text, place.mode, is_checked=True))
        hint = error.suggestion if fixed is None else f"write `{fixed}`" if len(fixed) <= 100 else error.suggestion
        if place.mode == "poll" and fixed is None and source.lstrip().startswith("$") and "[" in source:
            hint = hint or "a JSONPath query looks like `$.items[?@.done]`, an expression like `$.status == 'done'`"
        self.findings.add(
            codes.EXPRESSION, error.message, step=place.step, field=place.field, span=span, reason=error.code,
            path=node.path() if node is not None else None, suggestion=hint,
            patch=None if fixed is None else self.findings.patch_inside(node, source, fixed),
        )  # fmt: skip

    def _scalar(self, place: _Place, at: tuple[str | int, ...]) -> tuple[Node | None, str]:
        """The node and the text that offsets of an expression count in."""
        value = place.raw
        for key in at:
            if isinstance(value, dict) and isinstance(key, str):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int):
                value = value[key]
        node = self.findings.node_at(place.step, place.field, at)
        return node, value if isinstance(value, str) else ""

    def _reference(self, place: _Place, reference: Reference) -> None:
        root, path = reference.root, reference.path
        if root == "$" or root in place.extra or place.frame.binds(root):
            return
        if place.only is not None and root in SCOPE_NAMES:
            if root not in place.only:
                message = f"`{root}` is not known before the run begins"
                hint = f"a trigger sees {', '.join(f'`{name}`' for name in sorted(place.only))}"
                self._report(codes.UNKNOWN_NAME, message, place, reference, root, hint)
        elif root in ("inputs", "input"):
            self._input(place, reference)
        elif root == "secrets":
            self._secret(place, reference)
        elif root == "steps":
            if path and isinstance(path[0], str):
                self._step(place, reference, path[0], path[1:], through_steps=True)
        elif root not in SCOPE_NAMES:
            self._step(place, reference, root, path, through_steps=False)
        else:
            self._scope_name(place, reference, root)

    def _scope_name(self, place: _Place, reference: Reference, root: str) -> None:
        """Names that mean something in some places only."""
        if root in ("item", "index"):
            if not place.frame.in_loop and place.step is not None:
                message = f"`{root}` is known inside `foreach` and `repeat` only"
                self._report(codes.UNKNOWN_NAME, message, place, reference, root, "name the step whose output is meant")
        elif root == "error":
            self._error(place, reference)
        elif root in ("vars", "env"):
            self._variable(place, reference)

    def _input(self, place: _Place, reference: Reference) -> None:
        name = reference.path[0] if reference.path else None
        if self.inputs is None or not isinstance(name, str) or name in self.inputs:
            return
        message = f'the flow declares no input "{name[:60]}"'
        self._report(
            codes.UNKNOWN_INPUT, message, place, reference, name, self.findings.did_you_mean(name, self.inputs)
        )

    def _secret(self, place: _Place, reference: Reference) -> None:
        name = reference.path[0] if reference.path else None
        known = self.findings.flow.secrets
        if isinstance(name, str) and name not in known:
            message = f'the secret "{name[:60]}" is not declared'
            self._report(codes.UNKNOWN_SECRET, message, place, reference, name, self.findings.did_you_mean(name, known))
        elif place.step is None or not _is_sent(place.step, place.field):
            message = "a secret is known only in what an action is sent; everything else is written down"
            hint = "use it in the parameters, headers or `auth` of the call that needs it"
            self._report(codes.UNKNOWN_NAME, message, place, reference, "secrets", hint)

    def _error(self, place: _Place, reference: Reference) -> None:
        own = self.scopes.by_step.get(id(place.step)) if place.step is not None else None
        has_edges = any(edge.label == "error" for block in self.scopes.blocks for edge in block.edges)
        if own is None or place.frame.in_handler or own.number in self.scopes.after_errors or has_edges:
            return
        message = "`error` is known in `on_error`, `catch` and `finally` only"
        self._report(
            codes.UNKNOWN_NAME, message, place, reference, "error", "handle the error in `on_error` of the step"
        )

    def _variable(self, place: _Place, reference: Reference) -> None:
        """A variable or environment value that is misspelt. Others may be given when a run starts."""
        flow = self.findings.flow
        known = {*flow.env} if reference.root == "env" else self.variables
        name = reference.path[0] if reference.path else None
        if not isinstance(name, str) or name in known or reference.guarded:
            return
        hint = self.findings.did_you_mean(name, sorted(known))
        if hint is not None:
            message = f"nothing sets `{reference.root}.{name[:60]}`"
            self._report(codes.UNKNOWN_NAME, message, place, reference, name, hint, severity="warning")

    def _step(
        self, place: _Place, reference: Reference, name: str, path: tuple[str | int, ...], *, through_steps: bool
    ) -> None:
        numbers = place.frame.lookup(name)
        seen = [number for number in numbers if place.visible >> number & 1]
        if seen:
            if len(seen) == 1:
                self._field(place, reference, self.scopes.sites[seen[0]].step, path)
            return
        others = self.all_names.get(name, [])
        if not others:
            self._unknown_name(place, reference, name, through_steps=through_steps)
            return
        if through_steps and any(place.frame.is_within(site.inner_frame) for site in others):
            return  # the turns of the loop around this place that have been made
        document = self.findings.document
        own = self.scopes.by_step.get(id(place.step)) if place.step is not None else None
        unsure = (document is not None and document.loose_ends) or (own is not None and own.number in self.scopes.stuck)
        if (unsure or others[0].number in self.scopes.stuck) and others[0].step is not place.step:
            return
        # The root's own results are all there once the run has ended, also those of steps that flow-level blocks name.
        patch = self._need(own, others[0])
        hint = None if patch is None else f"add {name} to `needs`"
        self._report(codes.NOT_YET, self._why_not(place, name, others[0]), place, reference, name, hint, patch=patch)

    def _need(self, own: Site | None, other: Site) -> Patch | None:
        """The edit that puts a step under the `needs` of another that stands beside it and does not come before it."""
        document = self.findings.document
        if own is None or document is None or own.block is not other.block or other.visible >> own.number & 1:
            return None
        step = document.at(own.step.path)
        needs = step.get("needs") if step is not None else None
        if needs is None or not needs.items or needs.items[-1].style != "":
            return None
        last = needs.items[-1]
        text = (document.text or "")[last.start : last.end]
        is_inline = (document.text or "")[last.end : needs.end].strip() == "]"
        return Patch(start=last.start, end=last.end, text=f"{text}, {other.step.id}") if is_inline else None

    def _why_not(self, place: _Place, name: str, site: Site) -> str:
        if place.step is not None and site.step is place.step:
            return f"{name} refers to its own output; use `self` or `$` in `output`"
        if place.step is None or (site.frame is not place.frame and site.number not in place.frame.lookup(name)):
            return f"{name} is inside another block ({site.step.path}) and cannot be seen from here"
        return f"{name} cannot have run here: it is not on the way to this step ({site.step.path})"

    def _unknown_name(self, place: _Place, reference: Reference, name: str, *, through_steps: bool) -> None:
        known = [site.step.id for site in self.scopes.sites if place.visible >> site.number & 1]
        if not through_steps:
            known += sorted(SCOPE_NAMES)
            if (meant := self._meant(name)) is not None:
                hint = f'did you mean "{meant}"?'
                self._report(codes.UNKNOWN_NAME, f'no step is called "{name[:60]}"', place, reference, name, hint)
                return
        hint = self.findings.did_you_mean(name, known)
        patch = None
        if hint is None and (patch := self._as_text(place, reference)) is not None:
            hint = f"write {patch.text} for a text"
        message = f'no step is called "{name[:60]}"'
        self._report(codes.UNKNOWN_NAME, message, place, reference, name, hint, patch=patch)

    def _as_text(self, place: _Place, reference: Reference) -> Patch | None:
        """The edit that puts quotes around a bare word that is compared with something."""
        node, source = self._scalar(place, reference.at)
        word = source[reference.start : reference.end]
        if not word.isidentifier() or re.search(r"[!=]=\s*\Z", source[: reference.start]) is None:
            return None
        return self.findings.patch_inside(node, source, f"{source[: reference.start]}'{word}'{source[reference.end :]}")

    def _meant(self, name: str) -> str | None:
        """What a name of other tools, or an input or variable without its map, is called here."""
        if self.inputs is not None and name in self.inputs:
            return f"inputs.{name}"
        if name in self.findings.flow.vars:
            return f"vars.{name}"
        if name in self.findings.flow.secrets:
            return f"secrets.{name}"
        return _FOREIGN.get(name)

    def _field(self, place: _Place, reference: Reference, step: Step, path: tuple[str | int, ...]) -> None:
        """Whether the first field is in the step's declared output; only where nothing else can become its output."""
        changed = step.output is not None or step.has_default or step.on_error or step.callback or step.poll
        if not path or not isinstance(path[0], str) or changed or reference.guarded:
            return
        name = path[0]
        if step.kind == "http":
            known, closed = list(_HTTP_RESULT), True
        elif (spec := self.specs.get(step.path)) is not None and spec.result_schema is not None:
            properties = spec.result_schema.get("properties")
            if not isinstance(properties, dict):
                return
            known = list(properties)
            closed = spec.result_schema.get("additionalProperties") is False
        else:
            return
        if name in known:
            return
        hint = self.findings.did_you_mean(name, known) or f"it has {', '.join(known)}"
        patch = None
        if name in ("outputs", "output") and len(path) > 1 and path[1] in known:
            node, source = self._scalar(place, reference.at)
            part = source[reference.start : reference.end].replace(f".{name}", "", 1)
            patch = self.findings.patch_inside(node, source, source[: reference.start] + part + source[reference.end :])
            hint = f"write {part}: a step's fields stand right below its name"
        self._report(
            codes.UNKNOWN_FIELD, f'the output of {step.id} has no field "{name[:60]}"', place, reference, name, hint,
            severity="error" if closed else "warning", patch=patch,
        )  # fmt: skip

    def _report(
        self, code: str, message: str, place: _Place, reference: Reference, word: str, hint: str | None,
        *, severity: Literal["error", "warning"] | None = None, patch: Patch | None = None,
    ) -> None:  # fmt: skip
        node, source = self._scalar(place, reference.at)
        span = self.findings.span_inside(node, source, reference.start, reference.end)
        document = self.findings.document
        is_short = span is not None and span.end - span.start <= _PATCHED_CHARACTERS_MAX
        is_slip = patch is None and hint is not None and hint.startswith("did you mean")
        if is_slip and is_short and span is not None and hint is not None and document is not None:
            text = (document.text or "")[span.start : span.end]
            if text.count(word) == 1:
                start = span.start + text.index(word)
                patch = Patch(start=start, end=start + len(word), text=hint.split('"')[1])
        self.findings.add(
            code, message, step=place.step, field=place.field, span=span, severity=severity,
            path=node.path() if node is not None else None, suggestion=hint, patch=patch,
        )  # fmt: skip
