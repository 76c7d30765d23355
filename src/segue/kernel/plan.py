"""The plan: a flow version compiled for running. Immutable, shared by all its runs.

Blocks and free graphs become the same thing: a `BlockPlan` is a small graph of `NodePlan`s with explicit edges, and a
composite step (parallel, conditional, foreach, …) owns blocks that are opened when it runs. Everything that an event
needs is looked up by number: a node's out-edges, its in-degree, its blocks, so that one event costs O(its out-edges).

A *frame* is a region in which names are unique: the root, a loop's body, a handler. Blocks that are not frames
(branches of parallel, conditional, switch, try) share the frame around them, so that later steps see into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import msgspec

from segue.errors import InvalidFlowError
from segue.expr import (
    Condition,
    ExprError,
    Program,
    Query,
    Value,
    compile_condition,
    compile_expression,
    compile_poll_condition,
    compile_value,
)
from segue.flow.declared import declared_names
from segue.flow.model import Block, Flow, JsonValue, Step
from segue.flow.problems import Problem

ACTION_KINDS = frozenset({"call", "http", "poll", "flow"})
COMPOSITE_KINDS = frozenset({"parallel", "conditional", "switch", "foreach", "repeat", "try"})
WAIT_KINDS = frozenset({"wait", "approve"})

THEN_WORDS = frozenset({"continue", "fail", "retry"})
_PROGRAMS = {
    "switch": ("on",), "foreach": ("items", "key", "aggregate", "limit"), "repeat": ("max",), "parallel": ("limit",),
}  # fmt: skip
"""Parameters that are bare expressions, by kind."""

BlockRole = Literal[
    "root", "branch", "body", "handler", "catch", "finally", "compensate", "flow_on_error", "flow_finally"
]


class EdgePlan(msgspec.Struct, eq=False):
    """An edge to the node with number `target` in the same block."""

    target: int
    label: str | None
    when: Condition | None


class FallbackPlan(msgspec.Struct, eq=False):
    """An action that is called when the one before has failed for good. `params` None: with the step's own."""

    use: str
    params: Value | None


class NodePlan(msgspec.Struct, eq=False):
    """A step, compiled. `index` counts through the whole plan, `local` within its block."""

    index: int
    local: int
    step: Step
    kind: str
    block: BlockPlan
    address: str = ""
    """Its name within its frame: the id, or `owner.label.id` where the id is not unique."""
    full_name: str = ""
    """Its address with those of all steps around it, unique in the plan: `each/enrich`."""
    out: tuple[EdgePlan, ...] = ()
    in_degree: int = 0
    sources: tuple[int, ...] = ()
    """The nodes of its block that an edge leads from to it, in the block's order."""
    is_action: bool = False
    is_chooser: bool = False
    """Which of its out-edges live is decided (and journaled) when it has ended."""
    has_error_edge: bool = False
    params: Value | None = None
    poll_params: Value | None = None
    """What the job is asked with; `$` is the answer of the call that started it."""
    uses_secrets: bool = False
    when: Condition | None = None
    output: Value | None = None
    default: Value | None = None
    correlate: Value | None = None
    """What the step calls its callback."""
    blocks: tuple[BlockPlan, ...] = ()
    handlers: tuple[BlockPlan, ...] = ()
    """One a handler, in the order of `step.on_error`."""
    thens: tuple[Value | None, ...] = ()
    """What follows on each handler, where that is computed."""
    final: BlockPlan | None = None
    """Its `finally`, as a modifier or as that of `try`."""
    compensation: BlockPlan | None = None
    losers: tuple[int, ...] = ()
    """Of a join that takes the first: nodes of the block that lead to it alone, the nearest first."""
    conditions: dict[str, Condition | Query] = msgspec.field(default_factory=dict)
    """By parameter name: while, until, where, success, failure."""
    programs: dict[str, Program | Value] = msgspec.field(default_factory=dict)
    """By parameter name: on, items, key, aggregate, limit, tolerate, max, limits.key, cache.key."""
    fallbacks: tuple[FallbackPlan, ...] = ()
    choices: tuple[tuple[str, Condition | None], ...] = ()
    """For `branch`: (label, condition) pairs; a condition of None is the else."""


class BlockPlan(msgspec.Struct, eq=False):
    """A block, compiled. `entries` have no in-edge, `sinks` no out-edge."""

    index: int
    label: str
    role: BlockRole
    owner: NodePlan | None
    frame: FramePlan
    nodes: tuple[NodePlan, ...] = ()
    entries: tuple[int, ...] = ()
    sinks: tuple[int, ...] = ()
    when: Condition | None = None
    case: object = None


class FramePlan(msgspec.Struct, eq=False):
    """Names of one region: each to the nodes that may bear it (exclusive branches may share a name)."""

    parent: FramePlan | None
    names: dict[str, list[NodePlan]] = msgspec.field(default_factory=dict)


class Plan(msgspec.Struct, eq=False):
    """A compiled flow version."""

    flow: Flow
    root: BlockPlan
    blocks: tuple[BlockPlan, ...]
    nodes: tuple[NodePlan, ...]
    outputs: Value | None
    vars: Value
    limited: dict[str, NodePlan] = msgspec.field(default_factory=dict)
    """Steps with limits of their own, by full name."""
    limit_key: Program | Value | None = None
    """What the flow's runs are counted by."""
    flow_handlers: BlockPlan | None = None
    flow_finally: BlockPlan | None = None
    binding_names: frozenset[str] = frozenset()
    """Names that blocks bind (item, index, error, a loop's own `as`)."""
    declared: tuple[str, ...] = ()
    """Names of fields that the flow says are secret, besides its `secrets`."""


def compile_plan(flow: Flow) -> Plan:
    """Compile a checked flow. Raises InvalidFlowError if an expression does not compile."""
    return _Compiler(flow).compile()


class _Compiler:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.blocks: list[BlockPlan] = []
        self.nodes: list[NodePlan] = []
        self.problems: list[Problem] = []
        self.bindings = {"item", "index", "error", "results"}

    def compile(self) -> Plan:
        flow = self.flow
        frame = FramePlan(None)
        root = self.block(flow.root, "root", None, frame)
        handlers = flow.on_error_block and self.block(flow.on_error_block, "flow_on_error", None, FramePlan(frame))
        final = flow.finally_ and self.block(flow.finally_, "flow_finally", None, FramePlan(frame))
        limits = flow.run_limits
        outputs = None if flow.outputs is None else self.value(flow.outputs, "outputs")
        plan = Plan(
            flow=flow, root=root, blocks=tuple(self.blocks), nodes=tuple(self.nodes), outputs=outputs,
            vars=self.value(flow.vars, "vars"), flow_handlers=handlers or None, flow_finally=final or None,
            binding_names=frozenset(self.bindings),
            limited={node.full_name: node for node in self.nodes if node.is_action and node.step.limits is not None},
            limit_key=None if limits is None or limits.key is None else self.program(limits.key, "limits.key"),
            declared=declared_names(flow),
        )  # fmt: skip
        if self.problems:
            raise InvalidFlowError(f"flow {flow.id!r} cannot be run: {self.problems[0]}", self.problems)
        return plan

    def block(self, block: Block, role: BlockRole, owner: NodePlan | None, frame: FramePlan) -> BlockPlan:
        plan = BlockPlan(len(self.blocks), block.label, role, owner, frame, case=block.case)
        self.blocks.append(plan)
        if block.when is not None:
            plan.when = self.condition(block.when, owner.step.path if owner else "")
        made = [self.node(step, local, plan) for local, step in enumerate(block.steps)]
        plan.nodes = tuple(made)
        local_of = {step.id: local for local, step in enumerate(block.steps)}
        out: list[list[EdgePlan]] = [[] for _ in made]
        into: list[list[int]] = [[] for _ in made]
        for edge in block.edges:
            source, target = local_of.get(edge.source), local_of.get(edge.target)
            if source is None or target is None:
                self.problem("PLN002", f"edge {edge.source} → {edge.target} has an end that is no step", block.label)
                continue
            when = None if edge.when is None else self.condition(edge.when, f"{edge.source} → {edge.target}")
            out[source].append(EdgePlan(target, edge.label, when))
            made[target].in_degree += 1
            into[target].append(source)
        for node, edges in zip(made, out, strict=True):
            node.out = tuple(edges)
            node.sources = tuple(sorted(set(into[node.local])))
            node.has_error_edge = any(edge.label == "error" for edge in edges)
            node.is_chooser = node.kind == "branch" or node.has_error_edge or any(edge.when for edge in edges)
        plan.entries = tuple(node.local for node in made if node.in_degree == 0)
        plan.sinks = tuple(node.local for node in made if not node.out)
        for node in made:
            if node.step.join == "first" and node.in_degree > 1:
                node.losers = _leading_only_to(node, made)
        return plan

    def node(self, step: Step, local: int, block: BlockPlan) -> NodePlan:
        node = NodePlan(len(self.nodes), local, step, step.kind, block, is_action=step.kind in ACTION_KINDS)
        self.nodes.append(node)
        same = block.frame.names.setdefault(step.id, [])
        owner = block.owner
        node.address = f"{owner.address}.{block.label}.{step.id}" if same and owner is not None else step.id
        same.append(node)
        node.full_name = node.address if owner is None else f"{owner.full_name}/{block.label}.{node.address}"
        if step.when is not None:
            node.when = self.condition(step.when, step.path)
        if step.output is not None:
            node.output = self.value(step.output, step.path, at_hand=True)
        if step.has_default:
            node.default = self.value(step.default, step.path)
        if step.callback is not None and step.callback.correlate is not None:
            node.correlate = self.value(step.callback.correlate, step.path)
        self.kind_parts(node)
        inner = tuple(self.inner(node, inner) for inner in step.blocks)
        node.blocks = tuple(one for one in inner if one.role != "finally")
        node.handlers = tuple(
            self.block(handler.block, "handler", node, FramePlan(block.frame)) for handler in step.on_error
        )
        node.thens = tuple(
            None if handler.then in THEN_WORDS else self.value(handler.then, step.path) for handler in step.on_error
        )
        node.final = next((one for one in inner if one.role == "finally"), None)
        if step.finally_ is not None:
            node.final = self.block(step.finally_, "finally", node, FramePlan(block.frame))
        if step.compensate is not None:
            node.compensation = self.block(step.compensate, "compensate", node, FramePlan(block.frame))
        if node.final is not None or node.compensation is not None:
            self.bindings.add("output")
        return node

    def inner(self, node: NodePlan, block: Block) -> BlockPlan:
        frame = node.block.frame
        if node.kind in ("foreach", "repeat"):
            return self.block(block, "body", node, FramePlan(frame))
        if node.kind != "try":
            return self.block(block, "branch", node, frame)
        role: BlockRole = "catch" if block.label.startswith("catch") else "branch"
        return self.block(block, "finally" if block.label == "finally" else role, node, frame)

    def kind_parts(self, node: NodePlan) -> None:
        step, params, path = node.step, dict(node.step.params), node.step.path
        self.computed_params(node, params)
        for name in {"repeat": ("while", "until"), "wait": ("where",)}.get(node.kind, ()):
            raw = params.pop(name, None)
            if raw is not None:
                node.conditions[name] = self.condition(raw, path)
        if step.poll is not None:
            node.poll_params = self.value(step.poll.params, path)
            for name, raw in (("success", step.poll.success_condition), ("failure", step.poll.failure_condition)):
                if raw is not None:
                    node.conditions[name] = self.poll_condition(raw, path)
        self.sharing(node)
        if node.kind == "branch":
            node.choices = tuple(self.choices(params.pop("branches", None), path))
        for name in ("as", "index"):
            chosen = params.get(name)
            if node.kind == "foreach" and isinstance(chosen, str):
                self.bindings.add(chosen)
        node.params = self.value(params, path)
        asked = () if node.poll_params is None else node.poll_params.references
        tried = (
            one for fallback in node.fallbacks if fallback.params is not None for one in fallback.params.references
        )
        node.uses_secrets = any(one.root == "secrets" for one in (*node.params.references, *asked, *tried))

    def sharing(self, node: NodePlan) -> None:
        step, path = node.step, node.step.path
        for name, shared in (("limits.key", step.limits), ("cache.key", step.cache)):
            if shared is not None and shared.key is not None:
                node.programs[name] = self.program(shared.key, path)
        node.fallbacks = tuple(
            FallbackPlan(one.use, None if one.params is None else self.value(one.params, path)) for one in step.fallback
        )

    def computed_params(self, node: NodePlan, params: dict[str, JsonValue]) -> None:
        """Move the parameters that are bare expressions from `params` to the node's programs."""
        computed = [*_PROGRAMS.get(node.kind, ())]
        tolerate = params.get("tolerate") if node.kind == "foreach" else None
        if isinstance(tolerate, str) and tolerate not in ("all", "collect") and not tolerate.endswith("%"):
            computed.append("tolerate")
        for name in computed:
            raw = params.pop(name, None)
            if raw is not None:
                node.programs[name] = self.program(raw, node.step.path)

    def choices(self, raw: object, path: str) -> Iterator[tuple[str, Condition | None]]:
        for choice in cast("list[dict[str, object]]", raw) if isinstance(raw, list) else ():
            when = choice.get("when")
            yield str(choice.get("label")), None if when is None else self.condition(when, path)

    def condition(self, raw: object, path: str) -> Condition:
        try:
            return compile_condition(raw)
        except ExprError as error:
            self.problem("PLN003", f"{error} in {raw!r}", path)
            return compile_condition(False)

    def poll_condition(self, raw: str, path: str) -> Condition | Query:
        try:
            return compile_poll_condition(raw)
        except ExprError as error:
            self.problem("PLN003", f"{error} in {raw!r}", path)
            return compile_condition(False)

    def program(self, raw: object, path: str) -> Program | Value:
        """A bare expression; a list, number or other literal stands for itself."""
        try:
            if isinstance(raw, str):
                text = raw.strip()
                if text.startswith("{{") and text.endswith("}}"):
                    text = text[2:-2]
                return compile_expression(text)
            return compile_value(raw)
        except ExprError as error:
            self.problem("PLN003", f"{error} in {raw!r}", path)
            return compile_expression("null")

    def value(self, raw: object, path: str, *, at_hand: bool = False) -> Value:
        try:
            return compile_value(raw, at_hand=at_hand)
        except ExprError as error:
            self.problem("PLN003", f"{error} in {raw!r}", path)
            return compile_value(None)

    def problem(self, code: str, message: str, path: str) -> None:
        self.problems.append(Problem(code=code, message=message, path=path))


def _leading_only_to(join: NodePlan, nodes: list[NodePlan]) -> tuple[int, ...]:
    """Nodes from which every path comes to `join`, the nearest to it first."""
    found: dict[int, None] = {}
    is_changed = True
    while is_changed:
        is_changed = False
        for node in reversed(nodes):
            targets = [edge.target for edge in node.out]
            if node.local not in found and targets and all(one == join.local or one in found for one in targets):
                found[node.local] = None
                is_changed = True
    return tuple(found)
