"""Messages between runs: delivered after the sender's commit, taken with the receiver's, again after a crash.

A message is a row until the commit of what it means for its receiver deletes it. So it takes effect once, whatever
stops in between: a host that starts finds those that were not taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, repeat
from typing import Final

from segue.engine.committing import Committing, commit_and_wait
from segue.engine.declared import sealed_content
from segue.engine.loading import Loading
from segue.engine.outbox import CANCEL, CHAIN, Ended, decode_end, decode_ended
from segue.engine.reactions import Listeners
from segue.errors import ConflictError, SegueError, StoreUnavailableError
from segue.flow.model import JsonValue
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.state import RunState
from segue.kernel.status import RUN_ENDED, RunStatus
from segue.store.port import Commit, JournalRow, Message, Store

DELAYS_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_log = logging.getLogger("segue.engine")


class Mailbox:
    """Delivers the messages of one host's runs."""

    def __init__(
        self,
        store: Store,
        loading: Loading,
        committing: Committing,
        in_background: Callable[[Awaitable[None]], None],
        listeners: Listeners,
    ) -> None:
        self._store = store
        self._loading = loading
        self._committing = committing
        self._in_background = in_background
        self._listeners = listeners
        self.delivers = True

    async def open(self) -> set[str]:
        """Deliver what an earlier host kept and did not deliver; ids of the runs that it was for."""
        after = 0
        receivers: set[str] = set()
        while found := await self._store.messages(after=after):
            await asyncio.gather(*(self._deliver(message) for _, message in found))
            receivers.update(message.run_id for _, message in found)
            after = found[-1][0]
        return receivers

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages that are kept."""
        if self.delivers:
            for message in messages:
                self._in_background(self._deliver(message))

    async def _deliver(self, message: Message) -> None:
        for delay in chain(DELAYS_SECONDS, repeat(DELAYS_SECONDS[-1])):
            try:
                return await self._hand_over(message)
            except StoreUnavailableError as error:
                _log.warning("message %s: the store is unavailable: %s", message.id, error)
            except SegueError as error:
                # Its receiver is set aside. The message waits for it, like everything else of it.
                return _log.error("message %s cannot be delivered: %s", message.id, error)
            await asyncio.sleep(delay)
        return None

    async def _hand_over(self, message: Message) -> None:
        if message.kind == CHAIN:
            await self._listeners.run_ended(decode_end(message.data))
            return await self._take(message)
        record = await self._store.get_run(message.run_id)
        if record is None or record.status in RUN_ENDED:
            return await self._take(message)
        if record.status == RunStatus.QUARANTINED:
            return None
        told = None if message.kind == CANCEL else decode_ended(message.data)
        last = None if told is None else await self._last_row(told)
        # From here to the word nothing is waited for: a run at rest may be let go at any time.
        run = await self._loading.loaded(record)
        given = inp.CancelRun(message.data.decode()) if told is None else _ended(told, last, run.state)
        taken = [message.id]
        try:
            await self._committing.feed_and_wait(run, given, taken)
        except ConflictError:
            _log.debug("run %s is past the message %s", run.run_id, message.id)
        if taken:  # it meant nothing to the receiver
            await self._take(message)
        self._committing.rest(run)
        return None

    async def _last_row(self, told: Ended) -> JournalRow | None:
        """The event with which a sub-flow's run ended."""
        record = await self._store.get_run(told.run)
        rows = [] if record is None else await self._store.load_journal(record.key, after_seq=told.seq - 1, limit=1)
        return rows[0] if rows else None

    async def _take(self, message: Message) -> None:
        await commit_and_wait(self._store, Commit(run_key=0, rows=(), messages_taken=(message.id,)))


def _ended(told: Ended, last: JournalRow | None, parent: RunState) -> inp.ChildEnded:
    """How a sub-flow's run ended, as its parent is told."""
    given = inp.ChildEnded(told.step, told.generation, told.attempt, told.run, told.flow, told.version)
    event = None if last is None else ev.decode(last.kind, last.data, parent.box)
    if isinstance(event, ev.RunSucceeded):
        given.output = sealed_content(event.outputs, parent.plan, parent.box)
    else:
        given.failure = _failure_of(event, told.run, told.flow)
    return given


def _failure_of(event: ev.Event | None, run: str, flow: str) -> ev.Failure:
    """A child's error as its parent's: the category is kept, the child is named."""
    details: JsonValue = {"run": run, "flow": flow}
    if isinstance(event, ev.RunFailed | ev.RunTimedOut):
        error = event.error
        how = "timed out" if isinstance(event, ev.RunTimedOut) else "failed"
        where = f"`{error.step}`: " if error.step else ""
        return ev.Failure(
            category=error.category, code=error.code, status=error.status,
            message=f"the flow {flow} {how} (run {run}): {where}{error.message}", details=details,
        )  # fmt: skip
    if isinstance(event, ev.RunCancelled):
        why = f": {event.reason}" if event.reason else ""
        message = f"the flow {flow} was cancelled (run {run}){why}"
        return ev.Failure(category="cancelled", code="sub_flow_cancelled", message=message, details=details)
    message = f"how the flow {flow} ended (run {run}) is not in the database any more"
    return ev.Failure(category="internal", code="sub_flow_gone", message=message, details=details)
