"""Works out which steps each step can see: the ones that must have run, or been skipped, before it.

A *frame* is a region with names of its own: the root, a loop's body, a handler. Branches share the frame around them.
Each step has a number; what it sees is a bit mask of numbers, so that a flow of thousands of steps costs little.
"""

from __future__ import annotations

import msgspec

from segue.flow.model import Block, Edge, Flow, Step

TRANSPARENT = frozenset(("parallel", "conditional", "switch", "try"))
"""Kinds whose inner steps later steps see by name."""
_EXCLUSIVE = frozenset(("conditional", "switch"))


class Frame(msgspec.Struct, eq=False):
    """A region in which names are unique, or shared by exclusive branches only."""

    parent: Frame | None
    names: dict[str, list[int]] = msgspec.field(default_factory=dict[str, "list[int]"])
    is_loop: bool = False
    is_handler: bool = False
    bindings: frozenset[str] = frozenset()
    """Names that the region itself gives: a loop's `as` and `index`."""

    def lookup(self, name: str) -> list[int]:
        """Numbers of all steps of that name, innermost frame first."""
        found: list[int] = []
        frame: Frame | None = self
        while frame is not None:
            found += frame.names.get(name, [])
            frame = frame.parent
        return found

    def is_within(self, other: Frame | None) -> bool:
        """Whether this is the other frame, or lies in it."""
        frame: Frame | None = self
        while frame is not None and frame is not other:
            frame = frame.parent
        return frame is not None

    @property
    def in_loop(self) -> bool:
        """Whether `item` and `index` mean something here."""
        frame: Frame | None = self
        while frame is not None and not frame.is_loop:
            frame = frame.parent
        return frame is not None

    @property
    def in_handler(self) -> bool:
        """Whether `error` means something here, as in a handler or what it holds."""
        frame: Frame | None = self
        while frame is not None and not frame.is_handler:
            frame = frame.parent
        return frame is not None

    def binds(self, name: str) -> bool:
        """Whether this region or one around it gives the name a value of its own."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.bindings:
                return True
            frame = frame.parent
        return False


class Site(msgspec.Struct, eq=False):
    """A step in its place."""

    number: int
    step: Step
    block: Block
    frame: Frame
    visible: int
    """Mask of the steps that have run, or been skipped, when this one starts."""
    inner_frame: Frame | None = None
    """The frame of a loop's body."""
    exports: int = 0
    """Mask of inner steps that later steps see."""
    body: int = 0
    """Mask of the steps of a loop's body."""
    thens: dict[int, tuple[Frame, int]] = msgspec.field(default_factory=dict[int, "tuple[Frame, int]"])
    """By number of a handler whose `then` is computed: the frame of its steps, and what is visible after them."""
    choices: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    """Number of each choosing step around this one, and which of its branches this one is in."""


class Scopes(msgspec.Struct):
    """All sites of a flow, in document order, and what the check of shapes needs to know of its blocks."""

    sites: list[Site] = msgspec.field(default_factory=list["Site"])
    cycles: list[tuple[Block, list[str]]] = msgspec.field(default_factory=list["tuple[Block, list[str]]"])
    clashes: list[tuple[Site, Site]] = msgspec.field(default_factory=list["tuple[Site, Site]"])
    """Pairs of steps that share a name in one frame: the later one, the first one."""
    blocks: list[Block] = msgspec.field(default_factory=list[Block])
    root: Frame = msgspec.field(default_factory=lambda: Frame(None))
    everything: int = 0
    """Mask of all steps that flow-level values may refer to."""
    after_errors: set[int] = msgspec.field(default_factory=set[int])
    """Numbers of the steps in `catch` and `finally` of a `try`, where `error` means something."""
    stuck: set[int] = msgspec.field(default_factory=set[int])
    """Numbers of the steps in a circle or behind one: what they can see cannot be told."""
    by_step: dict[int, Site] = msgspec.field(default_factory=dict[int, Site])
    """Sites by `id()` of their step."""


def analyse(flow: Flow) -> Scopes:
    """The scopes of a flow."""
    scopes = Scopes()
    scopes.everything = _visit(scopes, flow.root, scopes.root, 0, {})
    for block in (flow.on_error_block, flow.finally_):
        if block is not None:
            _visit(scopes, block, Frame(scopes.root, is_handler=True), scopes.everything, {})
    return scopes


def _visit(scopes: Scopes, block: Block, frame: Frame, inherited: int, choices: dict[int, int]) -> int:
    """Visit a block's steps in an order in which each comes after what it depends on. Gives the mask of its exports."""
    scopes.blocks.append(block)
    sources: dict[str, list[str]] = {step.id: [] for step in block.steps}
    for edge in block.edges:
        if edge.source in sources and edge.target in sources:
            sources[edge.target].append(edge.source)
    order, stuck = _order(block, sources)
    if len(sources) == len(block.steps):  # two steps of one name look like a circle, and are reported as what they are
        scopes.cycles += [(block, cycle) for cycle in _cycles(stuck, sources)]
    seen: dict[str, int] = {}
    exported = 0
    in_circle = {id(step) for step in stuck}
    for step in (*order, *stuck):
        before = inherited
        for source in sources[step.id]:
            before |= seen.get(source, 0)
        first = len(scopes.sites)
        mask = _visit_step(scopes, block, step, frame, before, choices)
        if id(step) in in_circle:
            scopes.stuck |= set(range(first, len(scopes.sites)))
        exported |= mask
        seen[step.id] = seen.get(step.id, 0) | before | mask
    return exported


def _visit_step(scopes: Scopes, block: Block, step: Step, frame: Frame, visible: int, choices: dict[int, int]) -> int:
    number = len(scopes.sites)
    site = Site(number, step, block, frame, visible, choices=choices)
    scopes.sites.append(site)
    scopes.by_step[id(step)] = site
    _name(scopes, site)
    own = 1 << number
    exports = 0
    if step.kind in TRANSPARENT:
        done = 0
        for index, inner in enumerate(step.blocks):
            # A catch or finally block comes after the guarded steps; other branches do not see each other.
            before = visible | (done if step.kind == "try" else 0)
            inner_choices = {**choices, number: index} if step.kind in _EXCLUSIVE else choices
            first = len(scopes.sites)
            done |= _visit(scopes, inner, frame, before, inner_choices)
            if step.kind == "try" and inner.label.partition(":")[0] in ("catch", "finally"):
                scopes.after_errors |= set(range(first, len(scopes.sites)))
        exports = done
    else:
        bindings = frozenset(str(step.params[key]) for key in ("as", "index") if isinstance(step.params.get(key), str))
        for inner in step.blocks:
            site.inner_frame = Frame(frame, bindings=bindings, is_loop=True)
            site.body |= _visit(scopes, inner, site.inner_frame, visible, {})
    site.exports = exports
    after = visible | own | exports | site.body
    for index, handler in enumerate(step.on_error):
        inner_frame = Frame(frame, is_handler=True)
        handled = _visit(scopes, handler.block, inner_frame, after, {})
        if handler.then not in ("continue", "fail", "retry"):
            site.thens[index] = (inner_frame, after | handled)
    for inner in (step.finally_, step.compensate):
        if inner is not None:
            _visit(scopes, inner, Frame(frame, is_handler=True, bindings=frozenset(("output",))), after, {})
    return own | exports


def _name(scopes: Scopes, site: Site) -> None:
    same = site.frame.names.setdefault(site.step.id, [])
    for number in same:
        other = scopes.sites[number]
        is_exclusive = any(other.choices.get(key, branch) != branch for key, branch in site.choices.items())
        if not is_exclusive:
            scopes.clashes.append((site, other))
            break
    same.append(site.number)


def _order(block: Block, sources: dict[str, list[str]]) -> tuple[list[Step], list[Step]]:
    """Steps in an order that respects the edges, document order among equals; and those stuck in or behind a circle."""
    waiting = {id: len(found) for id, found in sources.items()}
    out: dict[str, list[str]] = {}
    for target, found in sources.items():
        for source in found:
            out.setdefault(source, []).append(target)
    steps: dict[str, list[Step]] = {}
    for step in block.steps:
        steps.setdefault(step.id, []).append(step)
    ready = [id for id, count in waiting.items() if count == 0]
    ready.reverse()
    order: list[Step] = []
    while ready:
        id = ready.pop()
        order += steps[id]
        for target in reversed(out.get(id, [])):
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    done = {step.id for step in order}
    return order, [step for step in block.steps if step.id not in done]


def _cycles(stuck: list[Step], sources: dict[str, list[str]]) -> list[list[str]]:
    """One circle for each group of steps that wait for each other."""
    left = {step.id for step in stuck}
    done: set[str] = set()
    found: list[list[str]] = []
    for step in stuck:
        walk: list[str] = []
        at: str | None = step.id
        while at is not None and at not in done:
            done.add(at)
            walk.append(at)
            at = next((source for source in sources[at] if source in left), None)
        if at is not None and at in walk:
            circle = walk[walk.index(at) :]
            circle.reverse()
            first = next(circle.index(other.id) for other in stuck if other.id in circle)
            found.append([*circle[first:], *circle[: first + 1]])
    return found


def in_edges(block: Block) -> dict[str, list[Edge]]:
    """The edges that lead to each step of the block."""
    found: dict[str, list[Edge]] = {step.id: [] for step in block.steps}
    for edge in block.edges:
        if edge.target in found:
            found[edge.target].append(edge)
    return found
