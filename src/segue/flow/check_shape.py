"""Checks how steps hang together: names, edges, circles, joins, what can be reached, how many there are."""

from __future__ import annotations

import re
from typing import Final

from segue.flow import codes
from segue.flow.findings import Findings
from segue.flow.model import Block, Flow, Step, walk
from segue.flow.problems import Patch
from segue.flow.scopes import Scopes, Site, in_edges
from segue.flow.verbs import FLOW_KEYS, SCOPE_NAMES, VERBS

SIZE_WARNING: Final = 50
"""From document C: flows of business users have at most 50 steps."""
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_FREE_NAMES: Final = frozenset(("graph", "dag", "tasks"))
"""Forms whose ids come from canvases and other systems: any shape, reached as `steps["a-1"]`."""
_ENDINGS: Final = frozenset(("return", "fail", "stop"))
_NEEDS_VERB: Final = {verb.kind: verb for verb in VERBS.values() if not verb.runs}


def check_shape(findings: Findings, scopes: Scopes, *, runnable: bool, count: int) -> None:
    """All of this module's checks."""
    _size(findings, count)
    for site in scopes.sites:
        _name(findings, site)
        _joins(findings, site)
        _cleaning_up(findings, site.step)
        if runnable:
            _can_run(findings, site.step)
    if runnable:
        _flow_can_run(findings)
    for site, other in scopes.clashes:
        line = f" (line {other.step.span.line})" if other.step.span is not None else ""
        message = f'the name "{site.step.id}" is taken by {other.step.path}{line}'
        findings.add(
            codes.DUPLICATE_STEP, message, step=site.step, span=findings.name_span(site.step),
            patch=_other_name(findings, site, scopes),
        )  # fmt: skip
    for block, cycle in scopes.cycles:
        step = next(step for step in block.steps if step.id == cycle[0])
        is_own = len(cycle) == 2
        message = f"{cycle[0]} waits for itself" if is_own else f"steps wait for each other: {' → '.join(cycle)}"
        findings.add(codes.CYCLE, message, step=step, span=findings.name_span(step))
    for block in scopes.blocks:
        _edges(findings, block)
    _reachable(findings, findings.flow, scopes)


def _size(findings: Findings, count: int) -> None:
    if count > SIZE_WARNING:
        message = f"the flow has {count} steps; more than {SIZE_WARNING} are hard to follow"
        findings.add(codes.MANY_STEPS, message, path="steps")


def _name(findings: Findings, site: Site) -> None:
    step = site.step
    if step.id in SCOPE_NAMES:
        is_free = findings.flow.form in _FREE_NAMES
        findings.add(
            codes.RESERVED_NAME, f'"{step.id}" always means something else in expressions', step=step,
            severity="warning" if is_free else "error", span=findings.name_span(step),
            suggestion=f'reach it as steps["{step.id}"]' if is_free else f"call it {step.id}_step",
            patch=None if is_free else findings.rename(step, f"{step.id}_step"),
        )  # fmt: skip
    elif _NAME.match(step.id) is None and findings.flow.form not in _FREE_NAMES:
        better = re.sub(r"\W+", "_", step.id, flags=re.ASCII).strip("_") or "step"
        better = f"step_{better}" if better[0].isdigit() else better
        findings.add(
            codes.BAD_NAME, f'"{step.id[:60]}" is no name that expressions can use', step=step,
            suggestion=f"call it {better[:60]}", span=findings.name_span(step), patch=findings.rename(step, better),
        )  # fmt: skip
    for key in ("as", "index"):
        name = step.params.get(key)
        if step.kind == "foreach" and isinstance(name, str) and name in SCOPE_NAMES - {"item", "index"}:
            message = f'`{key}: {name}`: "{name}" always means something else'
            findings.add(codes.RESERVED_NAME, message, step=step, field=f"params.{key}")


def _other_name(findings: Findings, site: Site, scopes: Scopes) -> Patch | None:
    """A number behind the name of the later of two steps, if nothing refers to either of them."""
    taken = {other.step.id for other in scopes.sites}
    number = next(number for number in range(2, len(taken) + 3) if f"{site.step.id}_{number}" not in taken)
    return findings.rename(site.step, f"{site.step.id}_{number}", times=2)


def _joins(findings: Findings, site: Site) -> None:
    step = site.step
    inputs = {edge.source for edge in site.block.edges if edge.target == step.id} if isinstance(step.join, int) else ()
    if isinstance(step.join, int) and step.join > len(inputs):
        message = f"it waits for {step.join} inputs, but {len(inputs)} lead to it"
        findings.add(codes.ENDLESS_JOIN, message, step=step, field="join", patch=findings.replace(step, "join", "all"))
    elif step.join in ("any", "first") and findings.node(step, "join") is not None:
        count = len({edge.source for edge in site.block.edges if edge.target == step.id})
        if count < 2:
            span, path = findings.key_place(step, "join")
            findings.add(
                codes.CONFLICT, f"`join` has no effect: {'1 step leads' if count else 'no step leads'} here", step=step,
                span=span, path=path, severity="warning", suggestion="name several steps under `needs`",
            )  # fmt: skip
    wanted = step.params.get("join")
    if step.kind == "parallel" and isinstance(wanted, int) and wanted > len(step.blocks):
        message = f"it waits for {wanted} branches, but has {len(step.blocks)}"
        patch = findings.replace(step, "params.join", "all")
        findings.add(codes.ENDLESS_JOIN, message, step=step, field="params.join", patch=patch)


_CALLS = ("call", "http", "poll")
"""Kinds whose attempts are calls of an action of this host."""
_TRIED = (
    "call", "http", "poll", "flow", "parallel", "conditional", "switch", "foreach", "repeat", "try", "wait", "approve",
)  # fmt: skip
"""Kinds that are tried again: calls, other flows, blocks as a whole, waits. What only computes gives the same again."""


def _cleaning_up(findings: Findings, step: Step) -> None:
    """A step's own `finally` and `compensate` cannot end the run, and undoing is not itself undone."""
    for what, block in (("finally", step.finally_), ("compensate", step.compensate)):
        for inner in [] if block is None else walk(block):
            if inner.kind in ("return", "stop"):
                message = f"`{inner.kind}` ends the run, which the `{what}` of {step.id} cannot"
                findings.add(codes.NOT_ALLOWED, message, step=inner)
            if what == "compensate" and inner.compensate is not None:
                message = f"it undoes {step.id}, and what undoes a step is not itself undone"
                findings.add(codes.NOT_ALLOWED, message, step=inner, field="compensate")


def _can_run(findings: Findings, step: Step) -> None:
    verb = _NEEDS_VERB.get(step.kind)
    if verb is not None:
        findings.add(codes.CANNOT_RUN, f"the engine cannot run `{verb.name}` yet", step=step)
    if step.kind == "flow" and "base_url" in step.params:
        findings.add(codes.CANNOT_RUN, "the engine cannot run `flow.baseURL` yet", step=step)
    if step.retry is not None and step.retry.max_attempts > 1 and step.kind not in _TRIED:
        span, path = findings.key_place(step, "retry")
        findings.add(
            codes.CONFLICT, f"`retry` has no effect: `{step.kind}` gives the same each time", step=step, span=span,
            path=path, severity="warning", suggestion="leave it out",
        )  # fmt: skip
    _shares(findings, step)
    for key in step.extras:
        span, path = findings.key_place(step, key)
        findings.add(codes.CANNOT_RUN, f"the engine cannot run `{key}` yet", step=step, span=span, path=path)


def _shares(findings: Findings, step: Step) -> None:
    """What a call shares with other calls has no meaning where nothing is called."""
    for key in () if step.kind in _CALLS else ("limits", "cache", "fallback", "runs_on"):
        if not getattr(step, key):
            continue
        span, path = findings.key_place(step, key)
        if step.kind in _TRIED:
            message = f"the engine cannot run `{key}` on `{step.kind}` yet"
            findings.add(codes.CANNOT_RUN, message, step=step, span=span, path=path)
        else:
            findings.add(
                codes.CONFLICT, f"`{key}` has no effect: `{step.kind}` calls nothing", step=step, span=span, path=path,
                severity="warning", suggestion="leave it out",
            )  # fmt: skip


def _flow_can_run(findings: Findings) -> None:
    """Keys of the flow that only its text holds, since no engine would read them from the model yet."""
    root = findings.document.root if findings.document is not None else None
    for key, node in ((root.entries if root is not None else None) or {}).items():
        row = FLOW_KEYS.get(key)
        if row is not None and not row.runs and findings.document is not None:
            span = findings.document.key_span(node)
            findings.add(codes.CANNOT_RUN, f"the engine cannot run `{key}` yet", path=key, span=span)


def _edges(findings: Findings, block: Block) -> None:
    known = {step.id: step for step in block.steps}
    for edge in block.edges:
        for end in (edge.source, edge.target):
            if end not in known:
                message = f'an edge ends at "{end[:60]}", which is no step of this block'
                findings.add(
                    codes.UNKNOWN_STEP, message, path=block.label, suggestion=findings.did_you_mean(end, known)
                )
        source = known.get(edge.source)
        if edge.label is None or edge.label == "error" or source is None:
            continue
        labels = branch_labels(source)
        if edge.label not in labels:
            hint = findings.did_you_mean(edge.label, labels) or (f"it has {', '.join(labels)}" if labels else None)
            message = f'the edge to {edge.target} leaves {edge.source} by "{edge.label}", which it does not have'
            findings.add(codes.BAD_EDGE, message, step=source, suggestion=hint)


def branch_labels(step: Step) -> tuple[str, ...]:
    """The labels that a step can choose for its out-edges."""
    branches = step.params.get("branches") if step.kind == "branch" else None
    if not isinstance(branches, list):
        return ()
    return tuple(str(branch.get("label")) for branch in branches if isinstance(branch, dict))


def _reachable(findings: Findings, flow: Flow, scopes: Scopes) -> None:
    for block in scopes.blocks:
        for step, source in _after_the_end(block):
            message = f"it comes after {source.id}, which ends the run"
            findings.add(codes.UNREACHABLE, message, step=step, span=findings.name_span(step))
    if findings.document is not None and findings.document.loose_ends:
        return  # what is connected to what is not known
    targets = {edge.target for edge in flow.root.edges}
    starts = [step.id for step in flow.root.steps if step.kind == "start" and step.id not in targets]
    if flow.form not in ("graph", "dag") or not starts:
        return
    out: dict[str, list[str]] = {}
    for edge in flow.root.edges:
        out.setdefault(edge.source, []).append(edge.target)
    reached: set[str] = set()
    while starts:
        id = starts.pop()
        if id not in reached:
            reached.add(id)
            starts += out.get(id, [])
    in_cycle = {id for _, cycle in scopes.cycles for id in cycle}
    for step in flow.root.steps:
        if step.id not in reached and step.id not in in_cycle:
            message = f"{step.id} is not connected to the start"
            findings.add(codes.UNREACHABLE, message, step=step, span=findings.name_span(step))


def _after_the_end(block: Block) -> list[tuple[Step, Step]]:
    """Steps all of whose paths lead through a step that ends the run, with such a step."""
    steps = {step.id: step for step in block.steps}
    inputs = in_edges(block)
    dead: dict[str, Step] = {}
    found: list[tuple[Step, Step]] = []
    is_changed = bool(block.edges) and any(_ends(step) for step in block.steps)
    while is_changed:
        is_changed = False
        for step in block.steps:
            sources = [edge.source for edge in inputs[step.id] if edge.source in steps]
            ends = [dead.get(id) or steps[id] for id in sources if id in dead or _ends(steps[id])]
            if step.id not in dead and sources and len(ends) == len(sources):
                dead[step.id] = ends[0]
                found.append((step, ends[0]))
                is_changed = True
    return found


def _ends(step: Step) -> bool:
    """Whether the run always ends with this step."""
    if step.when is not None or step.disabled or step.on_error:
        return False
    if step.kind in _ENDINGS:
        return True
    if step.kind == "conditional":
        return any(block.label == "else" for block in step.blocks) and all(_block_ends(block) for block in step.blocks)
    if step.kind == "switch":
        return any(block.label == "default" for block in step.blocks) and all(
            _block_ends(block) for block in step.blocks
        )
    return False


def _block_ends(block: Block) -> bool:
    """Whether every path through a block ends the run."""
    sources = {edge.source for edge in block.edges}
    sinks = [step for step in block.steps if step.id not in sources]
    dead = {step.id for step, _ in _after_the_end(block)}
    return bool(sinks) and all(_ends(step) or step.id in dead for step in sinks)
