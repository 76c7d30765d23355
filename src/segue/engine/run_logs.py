"""Log lines of steps: gathered for a moment, kept with the run's next commit or by themselves."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from segue.engine.clock import Clock
from segue.engine.live_run import LiveRun
from segue.engine.port import LogLevel
from segue.engine.residents import Residents
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.store.port import LogRow, Store

FLUSH_SECONDS: Final = 0.2


class RunLogs:
    """Writes the log lines of all runs of one host."""

    def __init__(self, store: Store, clock: Clock, residents: Residents) -> None:
        self._store = store
        self._clock = clock
        self._residents = residents
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._gathers = True

    def open(self) -> None:
        """Lines written in other threads are handed to this loop."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def stop_gathering(self) -> None:
        """The host closes and will flush each run itself."""
        self._gathers = False

    def write(self, run: LiveRun, step: str, level: LogLevel, message: str, data: dict[str, JsonValue]) -> None:
        """Keep a line, already masked. From any thread."""
        assert self._loop is not None
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.write, run, step, level, message, data)
            return
        run.logs.append(LogRow(self._clock.now(), level, step, message, ev.encode_data(data)))
        if run.log_timer is None and self._gathers:
            run.log_timer = self._loop.call_later(FLUSH_SECONDS, self.flush, run)

    def flush(self, run: LiveRun) -> None:
        """Hand the gathered lines to the store."""
        if run.log_timer is not None:
            run.log_timer.cancel()
            run.log_timer = None
        if run.logs:
            rows, run.logs = run.logs, []
            self._store.log(run.key, rows)
            self._residents.notify(run.run_id)
