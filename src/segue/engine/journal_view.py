"""A run's journal as people and programs may read it: its events by name, with their data masked."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from segue.engine.views import masker_of, rfc3339
from segue.kernel import events as ev
from segue.kernel.state import RunState
from segue.store.port import JournalRow

_HIDDEN: Final = frozenset({"seed"})
"""Whoever knows a run's seed can tell its random values and uuids beforehand."""


class JournalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run. `at` is RFC 3339 (UTC); `step` the address of the step that it speaks of."""

    seq: int
    at: str
    kind: str
    step: str | None = None
    data: dict[str, Any] = {}


def journal_events(state: RunState, rows: list[JournalRow]) -> list[JournalEvent]:
    """The events of these rows. `state` must be past them, for it names the steps."""
    masker = masker_of(state)
    found: list[JournalEvent] = []
    for row in rows:
        event = ev.decode(row.kind, row.data)
        data = cast("dict[str, Any]", msgspec.to_builtins(event, enc_hook=str))
        shown = {name: value for name, value in data.items() if name not in _HIDDEN}
        found.append(
            JournalEvent(
                seq=row.seq, at=rfc3339(row.at) or "", kind=type(event).__name__,
                step=state.nodes[row.step].address if 0 <= row.step < len(state.nodes) else None,
                data=cast("dict[str, Any]", masker.mask_json(shown)),
            )
        )  # fmt: skip
    return found
