"""One word for many runs: cancel, retry, pause or resume all that a filter finds, a page at a time.

A call takes the runs of one page, oldest first, and its cursor leads to the next, so it is bounded however many there
are. Repeating a call is safe: a run that is already what was asked for is told as unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from segue.engine.second_chances import Asked
from segue.errors import ConflictError, SegueError
from segue.kernel.status import RunStatus
from segue.observe.masking import DEFAULT_MASKER
from segue.store.port import RunFilter, RunRecord

if TYPE_CHECKING:
    from segue.engine.host import Engine

BulkAction = Literal["cancel", "retry", "pause", "resume"]
COUNTED_MAX: Final = 10_000
PAGE: Final = 1_000
_UNDER_WAY: Final = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED)
MEANT: Final[dict[str, tuple[str, ...]]] = {
    "cancel": _UNDER_WAY,
    "retry": (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELLED),
    "pause": (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING),
    "resume": (RunStatus.PAUSED,),
}
"""The statuses of runs that an action is meant for, where the filter names none."""
_REACHED: Final[dict[str, tuple[str, ...]]] = {
    "cancel": (RunStatus.CANCELLED,), "retry": (*_UNDER_WAY, RunStatus.SUCCEEDED), "pause": (RunStatus.PAUSED,),
    "resume": (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING),
}  # fmt: skip
"""The statuses of runs that are already what an action asks for."""


class BulkOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run: `done`, `unchanged` (it was so already), or `refused` with the reason."""

    run_id: str
    outcome: Literal["done", "unchanged", "refused"]
    status: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkDone:
    """The outcomes of one call, and where the next one goes on (None: there are no more)."""

    outcomes: list[BulkOutcome]
    cursor: str | None


async def count(engine: Engine, action: BulkAction, where: RunFilter) -> tuple[int, bool]:
    """How many runs an action would be told to, and whether there are more than were counted (10,000)."""
    found, cursor, where = 0, None, meant_for(action, where)
    while found < COUNTED_MAX:
        page = await engine.store.list_runs(where, limit=PAGE, cursor=cursor)
        found, cursor = found + len(page.runs), page.cursor
        if cursor is None:
            return found, False
    return found, True


async def tell_all(
    engine: Engine, action: BulkAction, where: RunFilter, asked: Asked, *, limit: int, cursor: str | None
) -> BulkDone:
    """Tell an action to the runs of one page. What one run refuses stops none of the others."""
    page = await engine.store.list_runs(meant_for(action, where), limit=limit, cursor=cursor)
    outcomes = [await _tell(engine, action, record, asked) for record in page.runs]
    return BulkDone(outcomes=outcomes, cursor=page.cursor)


def meant_for(action: BulkAction, where: RunFilter) -> RunFilter:
    """The filter in the order that bulk operations go, with the action's own statuses if it names none."""
    return msgspec.structs.replace(where, statuses=where.statuses or MEANT[action], oldest_first=True)


async def _tell(engine: Engine, action: BulkAction, record: RunRecord, asked: Asked) -> BulkOutcome:
    if record.status in _REACHED[action]:
        return BulkOutcome(run_id=record.run_id, outcome="unchanged", status=record.status)
    try:
        if action == "cancel":
            await engine.cancel(record.run_id, asked.reason)
        elif action == "pause":
            await engine.pause(record.run_id, asked.reason)
        elif action == "resume":
            await engine.resume(record.run_id)
        else:
            await engine.second_chances.retry(record.run_id, asked)
    except ConflictError as error:
        now = await engine.record(record.run_id)
        if now.status in _REACHED[action]:  # it came about meanwhile
            return BulkOutcome(run_id=record.run_id, outcome="unchanged", status=now.status)
        return _refused(now, error)
    except SegueError as error:
        if engine.closing:
            raise
        return _refused(record, error)
    now = await engine.record(record.run_id)
    return BulkOutcome(run_id=record.run_id, outcome="done", status=now.status)


def _refused(record: RunRecord, error: SegueError) -> BulkOutcome:
    reason = DEFAULT_MASKER.mask_text(str(error))
    return BulkOutcome(run_id=record.run_id, outcome="refused", status=record.status, reason=reason)
