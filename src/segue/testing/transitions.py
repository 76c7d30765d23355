"""Which transitions of the two state tables (`segue.kernel.status`) a set of runs has taken, counted from journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from segue.kernel import events as ev
from segue.kernel.apply import apply
from segue.kernel.plan import Plan
from segue.kernel.state import RunState
from segue.kernel.status import RUN_TRANSITIONS, STEP_TRANSITIONS


class Transition(NamedTuple):
    """An event in a state of a run or a step."""

    of: str
    """`run` or `step`."""
    status: str
    event: str


ALL_TRANSITIONS = frozenset(
    Transition(of, status.value, event.__name__)
    for of, table in (("run", RUN_TRANSITIONS), ("step", STEP_TRANSITIONS))
    for status, events in table.items()
    for event in events
)


class TransitionsTaken:
    """Counts; add as many journals as there are."""

    def __init__(self) -> None:
        self.counts: Counter[Transition] = Counter()

    def add(self, plan: Plan, run_id: str, rows: Iterable[tuple[int, int, int, int, bytes]]) -> None:
        """Count the events of one run's journal. Raises JournalCorruptError if it does not fold."""
        state = RunState(plan, run_id)
        for seq, kind, number, at, data in rows:
            event = ev.decode(kind, data)
            name = type(event).__name__
            if number >= 0:
                self.counts[Transition("step", state.nodes[number].status.value, name)] += 1
            elif seq:
                self.counts[Transition("run", state.kept_status.value, name)] += 1
            apply(state, number, event, at)

    def missing(self) -> list[Transition]:
        """What none of the runs did."""
        return sorted(ALL_TRANSITIONS - self.counts.keys())

    def table(self) -> str:
        """One line a transition, with its count."""
        width = max(len(one.event) for one in ALL_TRANSITIONS)
        lines = [
            f"{one.of:4}  {one.status:15}  {one.event:{width}}  {self.counts[one]:>9,}"
            for one in sorted(ALL_TRANSITIONS)
        ]
        return "\n".join(lines)
