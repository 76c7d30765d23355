"""The runs in memory, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from segue.engine.live_run import LiveRun
from segue.errors import SegueError
from segue.kernel.state import RunState


class Residents:
    """Which runs are in memory; callers that wait for a run's end; watchers that follow what happens to one."""

    def __init__(self) -> None:
        self.by_key: dict[int, LiveRun] = {}
        self.by_id: dict[str, LiveRun] = {}
        self.watchers: dict[str, set[asyncio.Event]] = {}
        self.watchers_of_all: list[Callable[[str], None]] = []
        self._waiters: dict[str, list[asyncio.Future[RunState]]] = {}
        self._callers: dict[str, list[asyncio.Future[RunState]]] = {}

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(self.by_key.values())

    def __len__(self) -> int:
        return len(self.by_key)

    def __contains__(self, run: LiveRun) -> bool:
        """Whether it is this very object: a run that rested and came back is another."""
        return self.by_key.get(run.key) is run

    def add(self, run: LiveRun) -> None:
        """Keep it in memory from now on."""
        self.by_key[run.key] = run
        self.by_id[run.run_id] = run

    def remove(self, run: LiveRun) -> None:
        """Let go of it. Safe to repeat."""
        self.by_key.pop(run.key, None)
        self.by_id.pop(run.run_id, None)

    # ------------------------------------------------------------ waiting for the end

    def enrol(self, run_id: str) -> asyncio.Future[RunState]:
        """A future for the run's end; give it back with `withdraw`."""
        waiter: asyncio.Future[RunState] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(run_id, []).append(waiter)
        return waiter

    def withdraw(self, run_id: str, waiter: asyncio.Future[RunState]) -> None:
        """Undo `enrol`."""
        waiters = self._waiters.get(run_id)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[run_id]

    def tell_end(self, run: LiveRun) -> None:
        """The run is over: its state goes to all that wait for it."""
        for waiter in self._waiters.get(run.run_id, ()):
            if not waiter.done():
                waiter.set_result(run.state)
        self.tell_response(run)

    def call(self, run_id: str) -> asyncio.Future[RunState]:
        """A future for the run's answer to its caller, or its end if it gives none; give it back with `hang_up`."""
        caller: asyncio.Future[RunState] = asyncio.get_running_loop().create_future()
        self._callers.setdefault(run_id, []).append(caller)
        return caller

    def hang_up(self, run_id: str, caller: asyncio.Future[RunState]) -> None:
        """Undo `call`."""
        callers = self._callers.get(run_id)
        if callers is not None and caller in callers:
            callers.remove(caller)
            if not callers:
                del self._callers[run_id]

    def tell_response(self, run: LiveRun) -> None:
        """The run has answered its caller, and the answer is kept."""
        for caller in self._callers.get(run.run_id, ()):
            if not caller.done():
                caller.set_result(run.state)

    def tell_error(self, run_id: str, error: SegueError) -> None:
        """Its end will not come, and why."""
        for waiter in (*self._waiters.get(run_id, ()), *self._callers.get(run_id, ())):
            if not waiter.done():
                waiter.set_exception(error)

    @property
    def waited_for(self) -> int:
        """How many runs somebody waits for."""
        return len(self._waiters)

    def dismiss(self, error: SegueError) -> None:
        """The host closes: tell all who wait, wake all who watch."""
        for run_id in [*self._waiters, *self._callers]:
            self.tell_error(run_id, error)
        for run_id in list(self.watchers):
            self.notify(run_id)

    # ------------------------------------------------------------ watching

    def watch(self, run_id: str, event: asyncio.Event) -> None:
        """Have `event` set whenever something of the run is committed, until `unwatch`."""
        self.watchers.setdefault(run_id, set()).add(event)

    def unwatch(self, run_id: str, event: asyncio.Event) -> None:
        """Undo `watch`."""
        events = self.watchers.get(run_id)
        if events is not None:
            events.discard(event)
            if not events:
                del self.watchers[run_id]

    def tell_all(self, told: Callable[[str], None]) -> None:
        """Have the id of each run of which something is committed told from now on; `told` does next to nothing."""
        self.watchers_of_all.append(told)

    def notify(self, run_id: str) -> None:
        """Something of the run was committed."""
        for event in self.watchers.get(run_id, ()):
            event.set()
        for told in self.watchers_of_all:
            told(run_id)
