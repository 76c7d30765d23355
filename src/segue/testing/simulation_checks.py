"""What must hold while whole hosts are simulated, and at the end: looked at through what the store keeps.

`segue.testing.invariants` says what must hold of one run; this is about runs beside each other, and the world outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from segue.engine.host import Engine
from segue.engine.ids import call_id, idempotency_key
from segue.engine.live_run import LiveRun
from segue.engine.parents import child_run_id, parent_of
from segue.flow.model import Flow
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.apply import fold
from segue.kernel.children import child_of, is_waited_for
from segue.kernel.plan import Plan, compile_plan
from segue.kernel.slots import name_of
from segue.kernel.state import RunState, StepState, kept_of
from segue.kernel.status import StepStatus
from segue.store.port import Commit, JournalRow, LimitGroup, RunRecord
from segue.store.rules import UNDER_WAY_STATUSES
from segue.store.tables import Sql
from segue.testing.invariants import InvariantError, check_attempt, check_fold, check_growth, check_reason
from segue.testing.memory_store import MemoryStore
from segue.testing.random_flows import EVENTS
from segue.testing.simulated_world import Call, Outside

_GOING_BACK: Final = (ev.Rewound.KIND, ev.UndoRequested.KIND)


class NotingStore(MemoryStore):
    """Tells what is kept, and shows it at once."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def _apply(self, commit: Commit) -> BaseException | None:
        error = super()._apply(commit)
        events = " ".join(f"{row.seq}:{ev.BY_KIND[row.kind].__name__}@{row.step}" for row in commit.rows)
        self._note(f"commit {commit.run_key} [{events}] {type(error).__name__ if error else 'kept'}")
        return error

    def mend(self) -> None:
        """No commit fails any more."""
        self._failures.clear()

    def journal(self, key: int) -> list[JournalRow]:
        """What is kept of a run now."""
        return list(self._journals.get(key, ()))

    def run_keys(self) -> Iterable[int]:
        """All runs."""
        return list(self._runs)

    def version_of(self, key: int) -> tuple[int, bytes, str]:
        """Version key, model and run id of a run."""
        run = self._runs[key]
        return run.flow_version, self._flow_versions[run.flow_version].model, run.run_id

    def has_event(self, id: str) -> bool:
        """Whether an event is kept."""
        return id in self._events

    def records(self) -> list[RunRecord]:
        """The rows of all runs."""
        return list(self._runs.values())

    def key_of(self, run_id: str) -> int | None:
        """The key of a run that is kept."""
        return self._run_keys_by_id.get(run_id)


class Watch:
    """Looks at a simulation from outside. `broken` is the first thing that was found out of turn, within a call."""

    def __init__(self, store: NotingStore, outside: Outside, note: Callable[[str], None]) -> None:
        self._store = store
        self._outside = outside
        self._note = note
        self._plans: dict[int, Plan] = {}
        self._seen: dict[int, list[JournalRow]] = {}
        self.accepted: dict[str, None] = {}
        """Ids of the runs that somebody was told of, or that are kept."""
        self.broken: InvariantError | None = None

    @property
    def events(self) -> int:
        """How many have been seen, of all runs."""
        return sum(len(rows) for rows in self._seen.values())

    def found(self, error: InvariantError) -> None:
        """Note what broke; the first one is told."""
        self.broken = self.broken or error

    def check(self, engine: Engine) -> None:
        """After each act. Raises InvariantError."""
        if self.broken is not None:
            raise self.broken
        self._check_slots()
        for key in self._store.run_keys():
            rows, before = self._store.journal(key), self._seen.get(key, [])
            check_growth(str(key), before, rows)
            if len(rows) == len(before):
                continue
            self._seen[key] = rows
            kept = self.kept(key)
            self.accepted.setdefault(kept.run_id)
            check_reason(kept, engine.now())
            self._check_effects(kept)
        for run in engine.residents:
            if not run.pending and not run.committing and run.lost is None:
                check_fold(self.kept(run.key), run.state)

    def _check_slots(self) -> None:
        """Never more runs of a flow under way than its limits allow, whatever fails; but who goes back to a run that
        is over does not wait for a slot.
        """
        under_way: dict[LimitGroup, int] = {}
        for run in self._store.records():
            group = run.limit_group
            if any(row.kind in _GOING_BACK for row in self._store.journal(run.key)):
                continue
            limits = self._plan_of(run.key).flow.run_limits
            if group is None or limits is None or run.status not in UNDER_WAY_STATUSES:
                continue
            under_way[group] = under_way.get(group, 0) + 1
            if limits.concurrency is not None and under_way[group] > limits.concurrency:
                raise InvariantError(f"{under_way[group]} runs of {group} are under way, {limits.concurrency} may be")

    def kept(self, key: int) -> RunState:
        """The state that a host would find after a crash now."""
        return fold(self._plan_of(key), self._store.version_of(key)[2], self._store.journal(key))

    def _plan_of(self, key: int) -> Plan:
        version, model, _ = self._store.version_of(key)
        plan = self._plans.get(version)
        if plan is None:
            plan = self._plans[version] = compile_plan(msgspec.json.decode(model, type=Flow))
        return plan

    def check_call(self, call: Call) -> None:
        """Before a call does anything."""
        try:
            key = self._store.key_of(call.run_id)
            if key is None:
                raise InvariantError(f"{call.step} of {call.run_id} is called, but the run is not kept")
            step = check_attempt(self.kept(key), call.step, call.attempt)
            self._check_call_slots(call, step)
            for earlier in self._outside.calls:
                if earlier.key != call.key:
                    continue
                if earlier.attempt == call.attempt:
                    raise InvariantError(f"attempt {call.attempt} of {call.step} of {call.run_id} is made twice")
                if earlier.is_over:
                    continue
                if earlier.line is call.line:
                    raise InvariantError(f"{call.step} of {call.run_id} is called while it is being called")
                # A handler that says `then: retry` has seen the unknown outcome and decided.
                if call.is_unsafe and step.handling is None:
                    raise InvariantError(f"unsafe {call.step} of {call.run_id} is repeated after a crash")
        except InvariantError as error:
            self.found(error)
            raise
        self._note(f"call {call.step} of {key} attempt {call.attempt}")

    def _check_call_slots(self, call: Call, step: StepState) -> None:
        """Never more attempts of a step in flight than its limits allow."""
        limits = step.plan.step.limits
        if limits is None:
            return
        call.slots = name_of("default", self._plan_of(self._store.key_of(call.run_id) or 0).flow.id, step)
        others = [one for one in self._outside.calls if one.slots == call.slots and one.line is call.line]
        in_flight = 1 + sum(1 for one in others if not one.is_over)
        if limits.concurrency is not None and in_flight > limits.concurrency:
            raise InvariantError(f"{in_flight} attempts of {call.slots} are in flight, {limits.concurrency} may be")

    def _check_effects(self, kept: RunState) -> None:
        """What a step gives is what the outside did for it, once."""
        for one in kept.nodes:
            output = one.output
            if (
                one.cached_from is not None
                or one.fallback
                or one.plan.step.use == "sim.safe"
                or not one.plan.is_action
                or one.status is not StepStatus.SUCCEEDED
            ):
                continue
            is_kept = kept.keeping is not None and kept_of(kept.keeping, one) is not None
            if one.plan.kind == "flow" or is_kept:
                continue  # what it gives is the other run's
            if isinstance(output, dict) and "effect" in output:
                made = self._outside.effects.get(_key_of(kept, one))
                if made != output:
                    raise InvariantError(f"{one.address} of {kept.run_id} gives {output!r:.100}, not what was done")

    async def check_families(self) -> None:
        """Each step that gives a sub-flow's outputs had the run that gives them; nothing between runs is left."""
        states = {state.run_id: state for state in map(self.kept, self._store.run_keys())}
        for state in states.values():
            for one in state.nodes:
                if one.plan.kind != "flow" or one.status is not StepStatus.SUCCEEDED:
                    continue
                child = states.get(child_run_id(state, child_of(one)))
                if child is None:
                    raise InvariantError(f"{one.address} of {state.run_id} ended well, but its sub-flow never ran")
                if child.reopened:
                    continue  # it was taken back, and ended anew for nobody
                given = child.outputs if is_waited_for(one) else {"run_id": child.run_id}
                if one.output != given:
                    raise InvariantError(
                        f"{one.address} of {state.run_id} gives {one.output!r:.100}, not {given!r:.100}"
                    )
            parent = parent_of(state)
            if parent is not None and parent.run not in states:
                raise InvariantError(f"run {state.run_id} has no parent: {parent.run} is not kept")
        store = self._store
        left = [*await store.messages(), *await store.events_open()]
        for name in EVENTS:
            left += await store.event_waits("default", name)
        if left:
            raise InvariantError(f"all runs are over, but these are left: {left}")


def check_feeds(engine: Engine, tell: Callable[[InvariantError], None]) -> None:
    """A word to an object that was let go would be decided on beside the next one that is loaded."""
    committing, residents = engine.committing, engine.residents
    feed = committing.feed

    def checked(
        run: LiveRun,
        given: inp.Input,
        ack: asyncio.Future[None] | None = None,
        taken: list[str] | None = None,
        also: Callable[[Sql], None] | None = None,
    ) -> None:
        if not run.state.ended and residents.by_key.get(run.key) is not run:
            tell(InvariantError(f"{type(given).__name__} is told to an object of run {run.run_id} that was let go"))
        feed(run, given, ack, taken, also)

    committing.feed = checked


def _key_of(state: RunState, step: StepState) -> str:
    return idempotency_key(call_id("default", state.run_id, step.address, step.generation))
