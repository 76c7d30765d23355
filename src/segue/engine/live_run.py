"""A run in memory: its state, what of it is still being committed, its attempts in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from segue.errors import SegueError
from segue.kernel import inputs as inp
from segue.kernel.decide import Decision
from segue.kernel.state import RunState
from segue.store.port import LimitGroup, LogRow, NewRun
from segue.store.tables import Sql


class Undecided(msgspec.Struct, eq=False):
    """An input whose commit is under way. `ack` is its caller outside, if it has one."""

    given: inp.Input
    decision: Decision
    ack: asyncio.Future[None] | None
    attempts: Sequence[int] = ()
    """The numbers of the attempts in `decision.start`; later decisions count the steps' own on."""
    judged: SegueError | None = None
    """The answer that the caller will get if what it is judged by is kept."""
    followers: list[Undecided] = []
    """Inputs that changed nothing on top of this decision: true only if it is kept."""

    def answer(self, error: SegueError | None) -> None:
        """Tell all callers: `error` says that the decision was not kept."""
        for one in (self, *self.followers):
            if one.ack is not None and not one.ack.done():
                found = error or one.judged
                one.ack.set_result(None) if found is None else one.ack.set_exception(found)


class LiveRun:
    """A run that this host drives now. Its `state` is ahead of the journal by what `pending` holds."""

    __slots__ = (
        "also", "committing", "interrupted", "key", "limit_key", "log_timer", "logs", "lost", "new_run", "pending",
        "run_id", "state", "status", "tasks", "timer_due", "wake_at", "workspace",
    )  # fmt: skip

    def __init__(self, key: int, run_id: str, workspace: str, state: RunState) -> None:
        self.key = key
        self.run_id = run_id
        self.workspace = workspace
        self.state = state
        self.status: str | None = None
        """As in the run's row; None: not known, so that the next commit writes the row."""
        self.wake_at: int | None = None
        self.timer_due: int | None = None
        self.new_run: NewRun | None = None
        self.also: Callable[[Sql], None] | None = None
        """What the run's first commit keeps of the service's tables."""
        self.limit_key: str | None = None
        self.pending: deque[Undecided] = deque()
        self.committing = 0
        self.interrupted: dict[int, int] = {}
        """It was loaded while paused, with attempts that another host had in flight."""
        self.lost: BaseException | None = None
        """A commit failed: nothing decided since is true, until the state is folded again."""
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.logs: list[LogRow] = []
        self.log_timer: asyncio.TimerHandle | None = None

    @property
    def limit_group(self) -> LimitGroup | None:
        """The runs that it is counted with under its flow's limits; None: its flow has none."""
        if self.limit_key is None:
            return None
        return LimitGroup(self.workspace, self.state.plan.flow.id, self.limit_key)

    def follow(self, given: inp.Input, ack: asyncio.Future[None] | None, judged: SegueError | None = None) -> None:
        """Settle an input that changed nothing, once what it was judged by is kept; if that is lost, it is not."""
        follower = Undecided(given, Decision(), ack, judged=judged)
        if self.pending:
            self.pending[-1].followers.append(follower)
        else:
            follower.answer(None)
