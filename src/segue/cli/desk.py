"""The ways to a database's runs: through this process (hosting or only reading), or through the host that runs it.

Commands speak to a `Desk` and need not know which it is. A host that goes away while it is spoken to is
`HostLostError`; whoever got it may open another way, since nothing that was kept is lost with a host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from segue.client.records import RunSummary
from segue.engine.log_lines import LogLine
from segue.engine.second_chances import NewRunOf, RolledBackTo
from segue.engine.views import RunView, UndoView
from segue.errors import NotFoundError, RequestError
from segue.kernel.status import RUN_ENDED, RunStatus

LAST = "last"
WHO = "the command line"
"""Who the journal says it was."""
ENDED = frozenset(status.value for status in RUN_ENDED) | {RunStatus.QUARANTINED.value}
SEARCHED_RUNS = 10_000
"""How many of the newest runs are looked at for an abbreviated id."""
LOOK_AGAIN_SECONDS = 0.3
"""How often a database that another process writes is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackLink:
    """Where a waiting step's signal is to be sent."""

    step: str
    token: str
    url: str | None
    """None while no HTTP door is open; `segue callback TOKEN` reaches the step anyway."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as it stood at one moment."""

    view: RunView
    callbacks: tuple[CallbackLink, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.view.status in ENDED


class Changes(Protocol):
    """News of one run."""

    async def wait(self) -> None:
        """Until something may have happened since the last call; the first one returns at once."""
        ...

    async def pause(self, seconds: float) -> None:
        """This long, or less if the run ends meanwhile."""
        ...

    async def close(self) -> None:
        """Hear no more."""
        ...


class Desk(Protocol):
    """What commands ask for. All raise NotFoundError, ConflictError, … of `segue.errors`, and HostLostError."""

    async def page(
        self, *, statuses: tuple[str, ...] = (), flow: str | None = None, labels: tuple[tuple[str, str], ...] = (),
        limit: int = 50, cursor: str | None = None,
    ) -> tuple[list[RunSummary], str | None]:  # fmt: skip
        """Runs, newest first, and where the next page begins."""
        ...

    async def has(self, run_id: str) -> bool:
        """Whether there is such a run."""
        ...

    async def show(self, run_id: str, at: int | None = None) -> Snapshot:
        """The run as it stands; `at`: as of that event."""
        ...

    async def logs(self, run_id: str) -> list[LogLine]:
        """All lines so far."""
        ...

    def changes(self, run_id: str) -> Changes:
        """News of a run."""
        ...

    async def cancel(self, run_id: str, reason: str | None, *, force: bool = False) -> None:
        """Begin nothing more of it, and cut off what is in flight."""
        ...

    async def undo(self, run_id: str, reason: str | None) -> None:
        """Undo a run that is over."""
        ...

    async def undo_preview(self, run_id: str) -> UndoView:
        """What that would do."""
        ...

    async def pause(self, run_id: str, reason: str | None) -> None:
        """Begin no new step of it."""
        ...

    async def resume(self, run_id: str) -> None:
        """Let a paused run go on."""
        ...

    async def rewind(self, run_id: str, to: Sequence[str], reason: str | None, *, compensate: bool) -> None:
        """Go back to these steps."""
        ...

    async def retry(self, run_id: str, reason: str | None) -> None:
        """Go on with a run that failed or was cut off."""
        ...

    async def rollback(self, run_id: str, reason: str | None) -> RolledBackTo:
        """Go on from the last valid event."""
        ...

    async def new_run_of(self, run_id: str, kind: Literal["replay", "fork"], body: Mapping[str, Any]) -> NewRunOf:
        """Start a run from another one; `body` as the API takes it."""
        ...

    async def callback(self, token: str, payload: Any) -> str:
        """Deliver a signal; the run's id."""
        ...

    async def publish(self, name: str, data: Any, id: str | None) -> str:
        """Send an event; its id."""
        ...


async def find_run(desk: Desk, given: str) -> str:
    """The id that a RUN argument means: a whole id, `last`, or what begins or ends just one id.

    Raises NotFoundError, and RequestError if several runs fit.
    """
    if not given:
        raise RequestError("RUN is empty; `segue runs` lists the runs")
    if given == LAST:
        newest, _ = await desk.page(limit=1)
        if not newest:
            raise NotFoundError("there are no runs in this database yet")
        return newest[0].id
    if await desk.has(given):
        return given
    fitting: list[str] = []
    cursor: str | None = None
    for _ in range(SEARCHED_RUNS // 1000):
        page, cursor = await desk.page(limit=1000, cursor=cursor)
        fitting += [one.id for one in page if _fits(one.id, given)]
        if cursor is None:
            break
    if not fitting:
        raise NotFoundError(f"no run has the id {given!r}, nor one that begins or ends so; `segue runs` lists them")
    if len(fitting) > 1:
        shown = ", ".join(fitting[:5]) + (f" and {len(fitting) - 5} more" if fitting[5:] else "")
        raise RequestError(f"{given!r} fits {len(fitting)} runs: {shown}; write more of the id")
    return fitting[0]


def _fits(run_id: str, given: str) -> bool:
    return run_id.startswith((given, f"run_{given}")) or run_id.endswith(given)
