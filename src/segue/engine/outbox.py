"""What a decision tells the world outside of its run, as rows of the very commit that keeps the decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from segue.engine.live_run import LiveRun
from segue.engine.parents import child_run_id, depth_of, parent_of
from segue.engine.reactions import RunEnd
from segue.kernel import events as ev
from segue.kernel.decide import Decision
from segue.store.port import Commit, EventRow, EventWait, Message

WatchesEnd: TypeAlias = Callable[[str, str], bool]
CANCEL: Final = "cancel"
"""To a sub-flow's run: nobody waits for it any more. Its data is the reason, as text."""
ENDED: Final = "ended"
"""To a run that waits for a sub-flow's run: it is over. Its data is an `Ended`."""
CHAIN: Final = "chain"
"""To those who listen to the ends of a flow's runs, under the run's own id. Its data is a `RunEnd`."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-flow's run is over. How it ended is in the event `seq` of its own journal."""

    run: str
    flow: str
    version: str | None
    seq: int
    step: int
    generation: int
    attempt: int


_encode = msgspec.json.Encoder().encode
decode_ended = msgspec.json.Decoder(Ended).decode
decode_end = msgspec.json.Decoder(RunEnd).decode
Kind = Literal["cancel", "ended", "chain"]
_ENDS: Final = (ev.RunSucceeded, ev.RunFailed, ev.RunCancelled, ev.RunTimedOut)


def fill(commit: Commit, run: LiveRun, decision: Decision, now: int, *, watches_end: WatchesEnd) -> None:
    """Add it to the commit. `watches_end`: whether anybody listens to the ends of a flow's runs."""
    messages: list[Message] = []
    outside, state = decision.outside, run.state
    if outside is not None:
        for child in outside.children_cancelled:
            to = child_run_id(state, child)
            reason = f"`{child.address}` of run {run.run_id} does not wait for it any more"
            messages.append(Message(f"{CANCEL}:{to}", to, CANCEL, now, reason.encode()))
        commit.events = [
            EventRow(one.id, run.workspace, one.name, one.at, run.run_id, ev.encode_value(one.data))
            for one in outside.emitted
        ]
        commit.waits_opened = [
            EventWait(run.key, one.id, one.generation, run.workspace, one.event or "", one.since or 0, now)
            for one in outside.waits_opened
        ]
        commit.waits_closed = outside.waits_closed
    if state.ended and (parent := parent_of(state)) is not None and parent.waits:
        flow = state.plan.flow
        told = Ended(
            run=run.run_id, flow=flow.id, version=flow.version, seq=state.seq - 1, step=parent.number,
            generation=parent.generation, attempt=parent.attempt,
        )  # fmt: skip
        messages.append(Message(f"{ENDED}:{run.run_id}:{state.seq}", parent.run, ENDED, now, _encode(told)))
    if state.ended and watches_end(run.workspace, state.plan.flow.id):
        messages += _told_end(run, decision, now)
    if messages:
        commit.messages = messages


def _told_end(run: LiveRun, decision: Decision, now: int) -> list[Message]:
    """One word for each end that the decision brings: what happens to a run that is over ends it no second time."""
    seq = next((row.seq for row in decision.rows if isinstance(row.event, _ENDS)), None)
    if seq is None:
        return []
    state = run.state
    flow = state.plan.flow
    end = RunEnd(
        run=run.run_id, workspace=run.workspace, flow=flow.id, version=flow.version, status=state.status.value, seq=seq,
        depth=depth_of(state),
    )  # fmt: skip
    return [Message(f"{CHAIN}:{run.run_id}:{seq}", run.run_id, CHAIN, now, _encode(end))]
