"""Following a run: snapshots as often as they are worth it, until the run is over or at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from segue.cli.desk import Desk, Snapshot

INTERVAL_SECONDS = 0.1
COST_SHARE = 10
"""Looking at a run of many steps takes time that its steps would rather have: at most a tenth of it."""
REST_SECONDS = 30
"""A wait that is longer lets the host go; the engine lets go of such runs, too."""

_WAITS = ("waiting", "retrying")


async def follow(
    desk: Desk,
    run_id: str,
    seen: Callable[[Snapshot], None],
    *,
    until: Callable[[Snapshot], bool] = lambda snapshot: snapshot.ended,
) -> Snapshot:
    """Call `seen` with each snapshot of the run, and return the first that `until` holds for. Raises HostLostError."""
    loop = asyncio.get_running_loop()
    changes = desk.changes(run_id)
    try:
        await changes.wait()
        while True:
            began = loop.time()
            snapshot = await desk.show(run_id)
            seen(snapshot)
            if until(snapshot):
                return snapshot
            cost = loop.time() - began
            await changes.wait()
            left = max(INTERVAL_SECONDS, COST_SHARE * cost) - (loop.time() - began)
            if left > 0:
                await changes.pause(left)
    finally:
        await changes.close()


async def follow_to_rest(desk: Desk, run_id: str, seen: Callable[[Snapshot], None]) -> Snapshot:
    """Follow a run until it is over, or it and the runs of the sub-flows that it waits for are at rest. Raises
    HostLostError.
    """
    while True:
        snapshot = await follow(desk, run_id, seen, until=is_at_rest)
        if snapshot.ended or snapshot.view.status == "paused":
            return snapshot
        waited_for = [step.child for step in snapshot.view.steps if step.status == "waiting" and step.child is not None]
        rested = [await follow_to_rest(desk, child, _nobody_sees) for child in waited_for]
        if not any(child.ended and child.view.status != "quarantined" for child in rested):
            return snapshot
        await asyncio.sleep(INTERVAL_SECONDS)  # it is about to be told of the end


def _nobody_sees(_: Snapshot) -> None:
    """Of a sub-flow's run, only how it stands in the end is asked."""


def is_at_rest(snapshot: Snapshot) -> bool:
    """Whether the run is over, paused, or waits for something that is not due soon."""
    view = snapshot.view
    if snapshot.ended or view.status == "paused":
        return True
    if view.status != "waiting":
        return False
    dues = [step.until for step in view.steps if step.status in _WAITS and step.until is not None]
    now = datetime.now(UTC)
    return all((datetime.fromisoformat(due) - now).total_seconds() > REST_SECONDS for due in dues)
