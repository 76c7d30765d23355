"""What a new run keeps of an old one: the recorded outcomes of its steps, by address.

A run that is replayed or forked is a new run, and the old one stays as it is. The new run's first event carries what it
keeps (`RunAccepted.kept`); when such a step becomes ready it ends at once as it had ended then, and nothing outside is
called. A composite that had ended comes with the steps in it, so that later steps find their names; one in which
something is run again is opened anew, and the steps in it that are kept stand in the record under their own addresses.

Addresses lead from one version of a flow to another. What has no place in the new version is told, not dropped quietly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from segue.errors import NotFoundError, RequestError
from segue.flow.model import JsonValue
from segue.kernel.events import Kept, KeptBlock, Origin
from segue.kernel.plan import COMPOSITE_KINDS, NodePlan, Plan
from segue.kernel.rewind import MODIFIER_ROLES, RewindPlan
from segue.kernel.state import MAKERS, BlockState, RunState, StepState, set_by
from segue.kernel.status import STEP_FAILED, STEP_SETTLED, StepStatus

ENDS_RUN: Final = frozenset({"return", "stop"})
_INDEX = re.compile(r'\[(?:\d+|"(?:[^"\\]|\\.)*")\]')


class NotKept(msgspec.Struct, frozen=True):
    """A step whose recorded outcome has no place in the new run, and why."""

    step: str
    why: str


# ---------------------------------------------------------------- recording


def record(state: RunState, plan: RewindPlan) -> dict[str, Kept]:
    """What of `state` a new run keeps, if `plan` is not kept. An empty plan keeps all that has settled."""
    found: dict[str, Kept] = {}
    sets = _sets(state)
    left = {id(block) for block in plan.left}
    blocks = [top for top in state.tops if id(top) not in left]
    while blocks:
        for step in blocks.pop().nodes:
            if step.id in plan.anew or (step.dead and not step.continued):
                continue
            if _is_open(step, plan):
                if (kept := _open(step, sets, left)) is not None:
                    found[step.address] = kept
                blocks += [child for child in step.children or () if id(child) not in left]
            elif step.plan.kind in ENDS_RUN:
                found[step.address] = Kept(kind=step.plan.kind, status="open")
            elif step.status in STEP_SETTLED and step.status is not StepStatus.CANCELLED:
                found[step.address] = _settled(step, sets)
    return found


def _sets(state: RunState) -> dict[int, list[StepState]]:
    """The `set` steps that ended well, by the number of each step around them."""
    found: dict[int, list[StepState]] = {}
    for step in state.standing:
        if step.plan.kind == "set" and step.status is StepStatus.SUCCEEDED:
            owner = step.block.owner
            while owner is not None:
                found.setdefault(owner.id, []).append(step)
                owner = owner.block.owner
    return found


def _is_open(step: StepState, plan: RewindPlan) -> bool:
    """Whether something in the step is run again, or has not ended."""
    if step.id in plan.again:
        return True
    return bool(step.children) and (step.status not in STEP_SETTLED or step.status is StepStatus.CANCELLED)


def _open(step: StepState, sets: dict[int, list[StepState]], left: set[int]) -> Kept | None:
    kind, error = step.plan.kind, step.error
    roles = [child.plan.role for child in step.children or () if id(child) not in left]
    if step.concluding is not None and "finally" in roles:
        return _with_blocks(step, Kept(kind=kind, status="concluding", held=step.concluding), sets)
    if step.handling is not None and "handler" in roles and error is not None:
        return _with_blocks(step, Kept(kind=kind, status="failing", error=error), sets)
    if kind in COMPOSITE_KINDS:
        return Kept(kind=kind, status="open", items=step.items)
    return None


def _with_blocks(step: StepState, kept: Kept, sets: dict[int, list[StepState]]) -> Kept:
    """The record with what stands in the step's blocks, which have all come to their end."""
    children = [child for child in step.children or () if child.plan.role not in MODIFIER_ROLES]
    inside = [one for one in sets.get(step.id, ()) if not _stands_in(one, step, children)]
    results = step.results or {}
    return msgspec.structs.replace(
        kept, items=step.items, keys=step.keys, tolerated=step.tolerated,
        collected={index: results[index] for index in step.tolerated or () if index in results},
        blocks=[_block(child, sets) for child in children],
        sets=[(one.settled_seq, set_by(one)) for one in inside],
    )  # fmt: skip


def _settled(step: StepState, sets: dict[int, list[StepState]]) -> Kept:
    edges = None
    if step.edges_live is not None:
        names = step.block.plan.nodes
        edges = [
            (names[edge.target].step.id, edge.label, number in step.edges_live)
            for number, edge in enumerate(step.plan.out)
        ]
    failed = step.status in STEP_FAILED
    kept = Kept(
        kind=step.plan.kind, status="failed" if failed else step.status.value, output=step.output, error=step.error,  # pyright: ignore[reportArgumentType]
        reason=step.reason, edges=edges, edges_reason=step.edges_reason, order=step.settled_seq,
        continued=step.continued, dead=step.dead, deadline=step.status is StepStatus.TIMED_OUT,
        made=step.answer if step.plan.kind in MAKERS else None,
    )  # fmt: skip
    return _with_blocks(step, kept, sets)


def _stands_in(step: StepState, owner: StepState, blocks: list[BlockState]) -> bool:
    """Whether the step is, or is inside, a step of one of these blocks of `owner`."""
    block = step.block
    while block.owner is not None and block.owner is not owner:
        block = block.owner.block
    return any(block is one for one in blocks)


def _block(block: BlockState, sets: dict[int, list[StepState]]) -> KeptBlock:
    steps = {step.plan.step.id: _settled(step, sets) for step in block.nodes if step.status in STEP_SETTLED}
    return KeptBlock(
        label=block.plan.label, role=block.plan.role, index=block.index, failure=block.failure, steps=steps
    )  # fmt: skip


# ---------------------------------------------------------------- another version, other data


def fit(kept: dict[str, Kept], plan: Plan) -> tuple[dict[str, Kept], list[NotKept]]:
    """The part of a record that has a place in `plan`, and what has none."""
    places: dict[str, list[NodePlan]] = {}
    for node in plan.nodes:
        places.setdefault(_place(node), []).append(node)
    found: dict[str, Kept] = {}
    dropped: list[NotKept] = []
    for address, one in kept.items():
        nodes = places.get(_INDEX.sub("[]", address), [])
        node = next((node for node in nodes if node.kind == one.kind), None)
        if node is None:
            why = f"it is a `{nodes[0].kind}` step there" if nodes else "there is no such step"
            dropped.append(NotKept(address, f"{why} in the version that is run; it was a `{one.kind}` step"))
        elif one.blocks and not _same_inside(node, one):
            dropped.append(
                NotKept(address, "the steps in it are others in the version that is run; its output is kept")
            )
            found[address] = msgspec.structs.replace(one, blocks=[])
        else:
            found[address] = one
    return found, dropped


def _place(node: NodePlan) -> str:
    """The node's address without the numbers of items and turns."""
    return _prefix(node) + node.address


def _prefix(node: NodePlan) -> str:
    block, owner = node.block, node.block.owner
    if owner is None:
        return "" if block.role == "root" else f"{block.label}."
    if block.frame is owner.block.frame:
        return _prefix(owner)
    if block.role == "body":
        return f"{_place(owner)}[]."
    return f"{_place(owner)}.{'on_error' if block.role == 'handler' else block.role}."


def _same_inside(node: NodePlan, kept: Kept) -> bool:
    blocks = {(block.label, block.role): block for block in node.blocks}
    for one in kept.blocks:
        block = blocks.get((one.label, one.role))
        inside = {} if block is None else {inner.step.id: inner for inner in block.nodes}
        for name, inner in one.steps.items():
            if name not in inside or inside[name].kind != inner.kind or not _same_inside(inside[name], inner):
                return False
    return True


def replaced(kept: dict[str, Kept], outputs: dict[str, JsonValue]) -> dict[str, Kept]:
    """The record with other outputs. Raises NotFoundError for a step that is not kept, RequestError for one whose
    output is not its own.
    """
    found = dict(kept)
    for address, output in outputs.items():
        one = found.get(address)
        if one is None:
            around = next(
                (outer for outer, step in kept.items() if step.blocks and _is_inside(address, outer, step)), None
            )
            if around is not None:
                raise RequestError(
                    f"`{address}` stands in `{around}`, which is kept as a whole: replace that one's output"
                )
            raise NotFoundError(f"the new run keeps no output of `{address}` that could be replaced")
        if one.status not in ("succeeded", "recovered"):
            raise RequestError(f"`{address}` has no output that could be replaced: it is kept as {one.status}")
        found[address] = msgspec.structs.replace(one, output=output, made=None)
    return found


def _is_inside(address: str, outer: str, kept: Kept) -> bool:
    return address.startswith((f"{outer}[", f"{outer}.")) or address in set(_names(kept))


def _names(kept: Kept) -> Iterator[str]:
    for block in kept.blocks:
        for name, inner in block.steps.items():
            yield name
            yield from _names(inner)


def origin_told(origin: Origin) -> str:
    """Where a run comes from, in words."""
    if origin.kind == "fork":
        return f"forked from run {origin.run_id} as of its event {origin.event}"
    to = ", ".join(f"`{step}`" for step in origin.to)
    return f"replays run {origin.run_id}" + (f" from {to}" if to else "")
