"""Going back: which steps a rewind takes back, and what the state is after it.

Taken back is what depends on what is taken back, not what came after it in time. From each chosen step the search goes
*downstream* (all that follows from it along edges) and *outward*: the block that it stands in is open again, so the
step that owns the block runs again, what follows from that step is taken back, its own block is open again, and so on
to the top. In a block that is open again nothing may be left that only its end explains: steps that were cancelled, and
the step whose failure closed it, begin anew as well, or, if they are composites, go on where they stopped. So does what
was compensated: its effect is no more. All else that ended keeps its result.

Three things can happen to a step. It *begins anew*: a fresh instance with the same number takes its place, so that
nothing told of the old one (a late result, a callback, a timer) fits it. It *runs again*: a copy takes its place that
holds the blocks that are kept. Or it stays, the very same. Blocks that are not kept are left behind with all that is in
them: their numbers are never given again and no name leads to them.

`plan_rewind` says what is to happen, from the state alone; `segue.kernel.rewind_booking` does it. So a fold takes back
what the decision took back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from segue.errors import ConflictError, NotFoundError
from segue.kernel.state import BlockState, RunState, StepState
from segue.kernel.status import STEP_FAILED, STEP_SETTLED, RunStatus, StepStatus

_NAMES_SHOWN = 5
MODIFIER_ROLES = frozenset({"handler", "finally", "compensate"})
"""Blocks that are no part of what a step does, but of what follows on it."""


class RewindPlan(msgspec.Struct):
    """What a rewind does. Steps are those of before."""

    anew: dict[int, StepState] = msgspec.field(default_factory=dict[int, StepState])
    """Steps that begin anew, by number."""
    again: dict[int, tuple[StepState, list[BlockState]]] = msgspec.field(
        default_factory=dict[int, tuple[StepState, list[BlockState]]]
    )
    """Steps that run again, since a block of theirs is open again: the step and those blocks."""
    between_turns: dict[int, StepState] = msgspec.field(default_factory=dict[int, StepState])
    """Loops that were cancelled while they waited for their next turn."""
    opened: list[BlockState] = msgspec.field(default_factory=list[BlockState])
    """Blocks that are open again."""
    left: list[BlockState] = msgspec.field(default_factory=list[BlockState])
    """Blocks that are left behind."""


# ---------------------------------------------------------------- which steps


def steps_at(state: RunState, addresses: Sequence[str]) -> list[StepState]:
    """The steps with these addresses. Raises NotFoundError, ConflictError for one that the run has not reached."""
    newest = {step.address: step for step in state.standing if has_name(step)}
    missing = [address for address in addresses if address not in newest]
    if not missing and addresses:
        return [newest[address] for address in dict.fromkeys(addresses)]
    shown = ", ".join(list(newest)[:_NAMES_SHOWN]) + (" …" if len(newest) > _NAMES_SHOWN else "")
    if not addresses:
        raise ConflictError(f"say to which step run {state.run_id} is to be rewound: {shown}")
    if any(node.step.id == missing[0].rpartition(".")[2] for node in state.plan.nodes):
        raise ConflictError(f"run {state.run_id} has not reached `{missing[0]}`; it can be rewound to {shown}")
    raise NotFoundError(f"run {state.run_id} has no step `{missing[0]}`; it can be rewound to {shown}")


def has_name(step: StepState) -> bool:
    """Whether its address leads to it, rather than to an instance of a later try, or to none any more."""
    while step.block.owner is not None:
        owner = step.block.owner
        if not any(child is step.block for child in owner.children or ()):
            return False
        step = owner
    return True


def steps_to_retry(state: RunState) -> list[StepState]:
    """The innermost steps whose failure stopped the run, or where it was cut off; none if it stopped between steps.

    Raises ConflictError if there is nothing to retry.
    """
    stopped = state.status in (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT)
    found = stopped_at(state)
    if not stopped:
        found = [step for step in found if _failed(step)]
    if found or stopped:
        return found
    if state.ended:
        raise ConflictError(f"run {state.run_id} ended well; rewind it to a step to run that again")
    raise ConflictError(f"run {state.run_id} is {state.status}, and no step of it has failed for good")


def stopped_at(state: RunState) -> list[StepState]:
    """The innermost steps that failed, or were cut off, in the block where the run stopped."""
    return list(_innermost(_stopped_in(state)))


def _stopped_in(state: RunState) -> BlockState:
    """The top block that did not come to its end: the steps, or, if those ended well, the flow's `finally`."""
    for top in state.tops:
        if top.plan.role != "flow_on_error" and (top.remaining or any(map(_failed, top.nodes))):
            return top
    if state.root is None:
        raise ConflictError(f"run {state.run_id} has not begun")
    return state.root


def _innermost(block: BlockState) -> Iterator[StepState]:
    failed = [step for step in block.nodes if _failed(step)]
    for step in failed or [step for step in block.nodes if _was_cut_off(step)]:
        inside = [one for inner in _resumable(step) for one in _innermost(inner)]
        yield from inside or ([] if _is_between_turns(step) else [step])


def taken_back(plan: RewindPlan) -> Iterator[StepState]:
    """All steps whose attempts, callbacks and timers mean nothing any more."""
    yield from plan.anew.values()
    yield from (step for step, _ in plan.again.values() if step.plan.is_action)
    blocks = list(plan.left)
    while blocks:
        for step in blocks.pop().nodes:
            yield step
            blocks += step.children or ()


def waiting_again(state: RunState, plan: RewindPlan) -> list[StepState]:
    """Steps whose callback is open again, since their handlers run again and then try them again."""
    return [state.nodes[number] for number in plan.again if state.nodes[number].callback]


# ---------------------------------------------------------------- what depends on them


def plan_rewind(state: RunState, to: Sequence[StepState]) -> RewindPlan:
    """What going back to these steps takes back; without steps the run goes on where it stopped."""
    search = _Search(state)
    compensated = _compensated(state)
    about_to = [one for one in state.standing if one.undone == "running" and one not in compensated]
    search.stop_undoing([*about_to, *(one for one in compensated if not has_name(one))])
    for step in [*to, *filter(has_name, compensated)]:
        search.anew(step)
        search.open(step.block)
    if not to:
        search.open_top(_stopped_in(state))
    search.run()
    return search.result()


def plan_fork(state: RunState) -> RewindPlan:
    """What of the run a fork does not keep although it had settled: what was undone, and all that depends on it."""
    undone = [one for one in _compensated(state) if has_name(one)]
    return plan_rewind(state, undone) if undone else RewindPlan()


def _compensated(state: RunState) -> list[StepState]:
    """Steps whose effect is no more, or may be no more: of what undoes them an attempt has been made."""
    return [
        one for one in state.standing if one.undone == "done" or (one.undone == "running" and _is_being_undone(one))
    ]


def _is_being_undone(step: StepState) -> bool:
    blocks = [block for block in step.children or () if block.plan.role == "compensate"][-1:]
    while blocks:
        for inner in blocks.pop().nodes:
            if inner.attempt:
                return True
            blocks += inner.children or ()
    return False


class _Search:
    """The closure of what is taken back, found with lists of what is still to be looked at."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._found = RewindPlan()
        self._opened: dict[int, BlockState] = {}
        self._anew: list[StepState] = []
        self._open: list[BlockState] = []
        self._is_left: dict[int, bool] = {}
        self._first = len(state.tops)
        self._left: list[BlockState] = []

    def anew(self, step: StepState) -> None:
        """The step is to begin anew."""
        if step.id not in self._found.anew:
            self._found.anew[step.id] = step
            self._anew.append(step)

    def open(self, block: BlockState) -> None:
        """The block is open again."""
        if id(block) not in self._opened:
            self._opened[id(block)] = block
            self._open.append(block)

    def open_top(self, top: BlockState) -> None:
        """The block where the run goes on; one whose steps have all ended only tells its end again."""
        self._first = self._state.tops.index(top)
        if top.remaining:
            self.open(top)

    def stop_undoing(self, steps: list[StepState]) -> None:
        """What undoes these steps is cut off with the end that asked for it: of those of earlier tries of a block, and
        of one that has not been called yet.
        """
        self._left = [one for step in steps for one in step.children or () if one.plan.role == "compensate"]

    def run(self) -> None:
        """Until nothing more follows."""
        while self._anew or self._open:
            if self._anew:
                self._downstream(self._anew.pop())
            else:
                # The inner ones first: what was chosen inside a step goes before what would be resumed in it.
                self._open.sort(key=_depth)
                self._outward(self._open.pop())

    def _downstream(self, step: StepState) -> None:
        nodes = step.block.nodes
        if step.status in STEP_SETTLED:
            for edge in step.plan.out:
                self.anew(nodes[edge.target])
        for local in step.plan.losers:  # a join that takes the first path: all of them are in the race again
            if nodes[local].dead:
                self.anew(nodes[local])

    def _outward(self, block: BlockState) -> None:
        for step in block.nodes:
            if step.status is StepStatus.PENDING:
                self.anew(step)
            elif _was_cut_off(step) or (_failed(step) and not step.continued):
                self._resume(step)
        owner = block.owner
        if owner is not None:
            self._run_again(owner, block)

    def _resume(self, step: StepState) -> None:
        """A step that was cut off, or whose failure closed its block: it goes on where it stopped, if it can."""
        if step.id in self._found.anew or step.id in self._found.again:
            return
        inner = _resumable(step)
        if inner:
            for block in inner:
                self.open(block)
        elif _is_between_turns(step):
            self._found.between_turns[step.id] = step
            self._found.again.setdefault(step.id, (step, []))
        else:
            self.anew(step)

    def _run_again(self, owner: StepState, block: BlockState) -> None:
        if (block.plan.role == "finally" and owner.concluding is None) or block.plan.role == "compensate":
            self.anew(owner)  # it was cancelled, or undone, and has no result that these steps could end with
        else:
            entry = self._found.again.get(owner.id)
            if entry is None:
                entry = self._found.again[owner.id] = (owner, [])
                self._downstream(owner)
                if block.plan.role not in MODIFIER_ROLES and owner.plan.kind in ("foreach", "parallel"):
                    for sibling in _stopped_blocks(owner):
                        self.open(sibling)
            entry[1].append(block)
        self.open(owner.block)

    # ------------------------------------------------------------ what of it still stands

    def result(self) -> RewindPlan:
        """All that was found, without what stands in blocks that are left behind."""
        found = self._found
        tops = self._state.tops
        first = min((place for place, top in enumerate(tops) if id(top) in self._opened), default=self._first)
        left = self._left + tops[first + 1 :]
        for number, (owner, blocks) in found.again.items():
            if number not in found.anew:
                left += _superseded(owner, blocks)
        for step in found.anew.values():
            left += step.children or ()
        self._is_left = {id(block): True for block in left}
        found.anew = {number: step for number, step in found.anew.items() if not self._gone(step.block)}
        found.again = {
            number: entry
            for number, entry in found.again.items()
            if number not in found.anew and not self._gone(entry[0].block)
        }
        found.between_turns = {number: step for number, step in found.between_turns.items() if number in found.again}
        found.opened = [block for block in self._opened.values() if not self._gone(block)]
        found.opened.sort(key=lambda block: block.nodes[0].id)
        # What undoes a step of an earlier try is reached from no block that is left.
        found.left = [one for one in left if one.owner is None or not self._gone(one.owner.block) or one in self._left]
        return found

    def _gone(self, block: BlockState) -> bool:
        """Whether the block, or one around it, is left behind."""
        known = self._is_left.get(id(block))
        if known is None:
            known = block.owner is not None and self._gone(block.owner.block)
            self._is_left[id(block)] = known
        return known


def _superseded(owner: StepState, opened: list[BlockState]) -> list[BlockState]:
    """Blocks of a step that runs again that followed from what is taken back in it."""
    children = owner.children or []
    places = [place for place, child in enumerate(children) if any(child is block for block in opened)]
    bodies = [place for place in places if children[place].plan.role not in MODIFIER_ROLES]
    if not places:
        return []
    if not bodies:
        return children[min(places) + 1 :]
    if owner.plan.kind in ("try", "repeat"):
        return children[min(bodies) + 1 :]
    return [child for child in children if child.plan.role in MODIFIER_ROLES]


def _depth(block: BlockState) -> int:
    depth = 0
    while block.owner is not None:
        block, depth = block.owner.block, depth + 1
    return depth


def _failed(step: StepState) -> bool:
    return step.status in STEP_FAILED


def _was_cut_off(step: StepState) -> bool:
    """It was cancelled with its block, rather than alone (the loser of a join that took the first path)."""
    return step.status is StepStatus.CANCELLED and not step.dead


def _had_failed(step: StepState) -> bool:
    """Its blocks' failures made it fail, whatever became of that then."""
    return _failed(step) or step.status is StepStatus.RECOVERED or step.handling is not None or step.error is not None


def _is_between_turns(step: StepState) -> bool:
    turns = sum(1 for child in step.children or () if child.plan.role == "body")
    return step.plan.kind == "repeat" and step.status is StepStatus.CANCELLED and 0 < turns == step.next_item


def _stopped_blocks(owner: StepState) -> list[BlockState]:
    """Of a fan-out: blocks that were cancelled, and those whose failure made it fail."""
    failed, tolerated = _had_failed(owner), owner.tolerated or ()
    return [
        child
        for child in owner.children or ()
        if child.closed
        and child.remaining
        and child.plan.role not in MODIFIER_ROLES
        and (child.failure is None or (failed and not (owner.plan.kind == "foreach" and child.index in tolerated)))
    ]


def _resumable(step: StepState) -> list[BlockState]:
    """The blocks in which a step that failed or was cancelled can go on. Empty: it must begin anew."""
    children = step.children or []
    handlers = [child for child in children if child.plan.role == "handler"]
    if handlers and step.status is StepStatus.CANCELLED and handlers[-1].closed and handlers[-1].remaining:
        return handlers[-1:]
    kind = step.plan.kind
    if kind in ("foreach", "parallel"):
        return _stopped_blocks(step)
    bodies = [child for child in children if child.plan.role not in MODIFIER_ROLES]
    if kind not in ("conditional", "switch", "repeat", "try") or not bodies:
        return []
    last = bodies[-1]
    if kind == "try" and _had_failed(step) and last.failure is None:
        failed = [child for child in bodies if child.failure is not None and child.remaining]
        return failed[-1:] if not last.remaining else [last]
    return [last] if last.closed and last.remaining else []
