"""Starts runs by the clock: one alarm for all schedules, and one commit for each due time and its run.

That a due time starts one run and no second rests on its row: it is kept with the run, under the schedule's id and the
due time, together with the time that comes next. A host that dies in between has kept all of it or nothing. What was
missed while no host ran, or while the machine slept, is found by comparing the next time with the clock, so that it
does not matter why it was missed. In a workspace that rests (archived, or switched off) due times stay as they are:
once it is open again they are found in the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from segue.access.resting import Resting, resting
from segue.engine.clock import Handle
from segue.engine.host import Engine
from segue.engine.ids import new_run_id
from segue.errors import ConflictError, NotFoundError, RequestError, SegueError, StoreUnavailableError
from segue.flow.model import RawMap
from segue.kernel.status import RUN_ENDED
from segue.store.tables import Sql, Tables
from segue.triggers import schedule_rows as rows
from segue.triggers.errors import FlowUnusableError, RestingError
from segue.triggers.records import TriggerRow, note_fired
from segue.triggers.registry import Registry
from segue.triggers.schedule_rows import Fire, Outcome
from segue.triggers.starting import Starter
from segue.triggers.times import ON_TIME_MS, Rule, last_until, next_after, read_rule

QUEUED_MAX: Final = 100
"""Due times of one schedule that wait for its earlier runs; what is due beyond is skipped."""
AGAIN_MS: Final = 1_000
"""How soon it is tried again when the store does not answer."""
RESTING_MS: Final = 5_000
"""How soon it is looked again whether a workspace still rests, if nobody says that it does not."""
NOTHING_RESTS: Final = Resting(everywhere=False, workspaces=frozenset())
_log = logging.getLogger("segue.triggers")


class NotBegunError(RequestError):
    """The schedule's `when` does not hold."""


class Scheduler:
    """The schedules of one host."""

    def __init__(self, engine: Engine, tables: Tables, registry: Registry, starter: Starter) -> None:
        self._engine = engine
        self._tables = tables
        self._registry = registry
        self._starter = starter
        self._due: dict[str, int] = {}
        self._known: dict[str, tuple[RawMap, bool]] = {}
        """What each due time was computed from."""
        self._changed: set[str] = set()
        self._awake = asyncio.Event()
        self._alarm: Handle | None = None
        self._working: asyncio.Task[None] | None = None
        self._draining: dict[str, asyncio.Task[None]] = {}
        self._reopened = asyncio.Event()

    # ------------------------------------------------------------ life

    async def begin(self) -> None:
        """Start what is due from now on, and what was missed as each schedule says. Raises StoreUnavailableError."""
        self._due = await self._tables.ask(rows.all_due)
        self._known = {row.id: (row.settings, row.is_live) for row in self._registry.all("cron")}
        self._changed = {id for id, (_, is_live) in self._known.items() if is_live != (id in self._due)}
        self._changed |= self._due.keys() - self._known.keys()
        for id in await self._tables.ask(rows.with_queue):
            self._drain(id)
        self._awake.set()
        self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Start nothing more. Safe to repeat."""
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = [task for task in (self._working, *self._draining.values()) if task is not None]
        self._working, self._alarm = None, None
        self._draining.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_working(self) -> bool | None:
        """Whether what is due is started; None if this host starts nothing by the clock."""
        return None if self._working is None else not self._working.done()

    def changed(self, id: str) -> None:
        """A trigger was made, changed or deleted."""
        row = self._registry.find(id)
        now = None if row is None or row.kind != "cron" else (row.settings, row.is_live)
        if now == self._known.get(id):
            return
        if now is None:
            self._known.pop(id, None)
        else:
            self._known[id] = now
        self._changed.add(id)
        self._awake.set()

    def look(self) -> None:
        """A workspace may have been opened again."""
        self._awake.set()
        self._reopened.set()
        self._reopened = asyncio.Event()

    def next_at(self, id: str) -> int | None:
        """When a schedule is due next, before jitter."""
        return self._due.get(id)

    # ------------------------------------------------------------ the one alarm

    async def _work(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self._plan_changed()
                due = await self._fire_due(self._engine.now())
            except StoreUnavailableError as error:
                _log.warning("schedules: the store is unavailable: %s", error)
                due = self._engine.now() + AGAIN_MS
            except SegueError:
                _log.exception("schedules: a due time could not be dealt with")
                due = self._engine.now() + AGAIN_MS
            self._set_alarm(due)

    async def _fire_due(self, now: int) -> int | None:
        """Deal with all that is due; when something is due next."""
        ready = [id for id in self._due if self._begins_at(id) <= now]
        closed = await self._tables.ask(resting) if ready else NOTHING_RESTS
        asleep: set[str] = set()
        for id in ready:
            row = self._registry.find(id)
            try:
                if row is not None and row.workspace in closed:
                    asleep.add(id)
                else:
                    await self._fire(id, now)
            except RestingError:  # closed meanwhile
                asleep.add(id)
        coming = [self._begins_at(id) for id in self._due if id not in asleep]
        return min([*coming, *([now + RESTING_MS] if asleep else [])], default=None)

    def _set_alarm(self, due: int | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if due is None else self._engine.call_at(due, self._awake.set)

    def _begins_at(self, id: str) -> int:
        due, row = self._due[id], self._registry.find(id)
        rule = None if row is None else self.rule_of(row)
        return due if rule is None else due + rule.jitter_of(id, due)

    def rule_of(self, row: TriggerRow) -> Rule | None:
        """When it is due; None: its settings are no schedule (its flow is checked, so this is an older version's)."""
        try:
            return read_rule(row.settings, row.created_at)
        except RequestError:
            return None

    async def _plan_changed(self) -> None:
        for id in sorted(self._changed):
            row = self._registry.find(id)
            rule = None if row is None or row.kind != "cron" or not row.is_live else self.rule_of(row)
            # A schedule that begins, or that goes on after a pause, makes up for nothing.
            due = None if rule is None else next_after(rule, self._engine.now())
            await self._tables.change(lambda sql, id=id, due=due: rows.put_due(sql, id, due))
            self._remember(id, due)
            self._changed.discard(id)

    def _remember(self, id: str, due: int | None) -> None:
        if due is None:
            self._due.pop(id, None)
        else:
            self._due[id] = due

    # ------------------------------------------------------------ a due time

    async def _fire(self, id: str, now: int) -> None:
        row, due = self._registry.find(id), self._due[id]
        rule = None if row is None else self.rule_of(row)
        if row is None or rule is None:
            await self._tables.change(lambda sql: rows.put_due(sql, id, None))
            self._due.pop(id, None)
            return
        # An on-time one counts whatever the policy says.
        latest = last_until(rule, due, now - rule.jitter_of(id, due), max(rule.catch_up, 1))
        chosen = [at for at in latest if rule.catch_up or now - at <= ON_TIME_MS + rule.jitter_ms]
        after = next_after(rule, latest[-1] if latest else due)
        if not chosen or chosen[0] != due:
            await self._note_missed(row, due, chosen[0] if chosen else after, now)
        for place, at in enumerate(chosen):
            following = chosen[place + 1] if place + 1 < len(chosen) else after
            await self._deal_with(row, rule, at, following)
            self._remember(id, following)

    async def _note_missed(self, row: TriggerRow, due: int, following: int | None, now: int) -> None:
        message = "no host ran when it was due, or its workspace rested, and the schedule does not make up for it"

        def do(sql: Sql) -> None:
            rows.put_fire(sql, row.id, row.workspace, Fire(due, now, "missed", None, message))
            rows.put_due(sql, row.id, following)

        await self._keep(do)
        self._remember(row.id, following)

    async def _deal_with(self, row: TriggerRow, rule: Rule, due: int, following: int | None) -> None:
        """Start the run of one due time, or note why not; `following` is the next one."""
        earlier, now = None if rule.overlap == "allow" else await self._under_way(row.id), self._engine.now()

        def note(outcome: Outcome, error: str | None = None) -> Callable[[Sql], None]:
            def do(sql: Sql) -> None:
                rows.put_fire(sql, row.id, row.workspace, Fire(due, now, outcome, None, error))
                rows.put_due(sql, row.id, following)
                if error is not None and outcome == "failed":
                    note_fired(sql, row.id, due, None, error)

            return do

        waiting = await self._tables.ask(lambda sql: rows.queued(sql, row.id)) if rule.overlap == "queue" else []
        # Behind those that wait, also when nothing is under way just now: none overtakes another.
        if (earlier is not None or waiting) and rule.overlap == "queue" and len(waiting) < QUEUED_MAX:
            await self._keep(note("queued"))
            self._drain(row.id)
            return
        if waiting or (earlier is not None and rule.overlap in ("skip", "queue")):
            why = f"{len(waiting)} earlier due times wait" if waiting else f"run {earlier} is still under way"
            await self._keep(note("skipped", why))
            return
        if earlier is not None:
            await self._cancel(earlier, row)

        def kept(sql: Sql, run_id: str) -> None:
            rows.put_fire(sql, row.id, row.workspace, Fire(due, now, "started", run_id, None))
            rows.put_due(sql, row.id, following)
            note_fired(sql, row.id, now, run_id)

        try:
            await self._start(row, due, kept)
        except ConflictError:
            # It was started before: only the next time has to be known.
            await self._tables.change(lambda sql: rows.put_due(sql, row.id, following))
        except NotBegunError as error:
            await self._keep(note("skipped", error.message))
        except (RequestError, FlowUnusableError) as error:
            _log.warning("schedule %s of %s: not started: %s", row.id, row.flow_id, error.message)
            await self._keep(note("failed", error.message))

    async def _start(self, row: TriggerRow, due: int, kept: Callable[[Sql, str], None]) -> str:
        when = datetime.fromtimestamp(due / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        event: RawMap = {"kind": "cron", "name": row.name, "schedule": row.id, "due": when, "body": None}
        ready = await self._starter.ready(row, event)
        if ready.version is None:
            raise NotBegunError(ready.reason or "the schedule's `when` does not hold")
        run_id = new_run_id(self._engine.now())
        return await self._starter.start(row, ready, event, run_id=run_id, also=lambda sql: kept(sql, run_id))

    async def _keep(self, do: Callable[[Sql], None]) -> None:
        try:
            await self._tables.change(do)
        except ConflictError:
            _log.info("schedules: a due time had been dealt with before")

    async def _under_way(self, id: str) -> str | None:
        run_id = await self._tables.ask(lambda sql: rows.last_run(sql, id))
        record = None if run_id is None else await self._engine.store.get_run(run_id)
        return None if record is None or record.status in RUN_ENDED else record.run_id

    async def _cancel(self, run_id: str, row: TriggerRow) -> None:
        try:
            await self._engine.cancel(run_id, f"the schedule {row.name} of {row.flow_id} is due again")
        except (ConflictError, NotFoundError):
            return  # it ended meanwhile

    # ------------------------------------------------------------ due times that wait

    def _drain(self, id: str) -> None:
        if id not in self._draining:
            task = self._draining[id] = asyncio.create_task(self._drain_all(id))
            task.add_done_callback(lambda _: self._draining.pop(id, None))

    async def _drain_all(self, id: str) -> None:
        """Start what waits, each when the run before it is over."""
        while True:
            reopened = self._reopened  # taken before the look, so that a word that comes meanwhile is heard
            try:
                waiting = await self._tables.ask(lambda sql: rows.queued(sql, id))
                row = self._registry.find(id)
                if not waiting or row is None:
                    return
                earlier = await self._under_way(id)
                if earlier is not None:
                    await self._engine.wait(earlier)
                elif row.workspace in await self._tables.ask(resting):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reopened.wait(), RESTING_MS / 1000)
                else:
                    await self._start_queued(row, waiting[0])
            except StoreUnavailableError:
                await asyncio.sleep(AGAIN_MS / 1000)

    async def _start_queued(self, row: TriggerRow, due: int) -> None:
        now = self._engine.now()

        def kept(sql: Sql, run_id: str) -> None:
            rows.take_queued(sql, row.id, Fire(due, now, "started", run_id, None))
            note_fired(sql, row.id, now, run_id)

        try:
            await self._start(row, due, kept)
        except RestingError:
            return  # it waits on
        except (RequestError, FlowUnusableError) as error:
            outcome: Outcome = "skipped" if isinstance(error, NotBegunError) else "failed"
            failed = Fire(due, now, outcome, None, error.message)
            await self._keep(lambda sql: rows.take_queued(sql, row.id, failed))

    # ------------------------------------------------------------ a person's word

    async def run_now(self, row: TriggerRow) -> str:
        """Start a run beside those by the clock; its id. Raises what starting raises."""
        due = self._engine.now()

        def kept(sql: Sql, run_id: str) -> None:
            rows.put_fire(sql, row.id, row.workspace, Fire(due, due, "manual", run_id, None))
            note_fired(sql, row.id, due, run_id)

        return await self._start(row, due, kept)

    async def fires(self, row: TriggerRow, limit: int) -> list[Fire]:
        """What became of the last due times, newest first."""
        return await self._tables.ask(lambda sql: rows.last_fires(sql, row.id, limit))
