"""Which workspaces rest: those that are archived, and those where flows and runs are switched off. Nothing begins there
by itself.
"""

from __future__ import annotations

from typing import Final

import msgspec

from segue.store.tables import Sql

SERVER: Final = ""
"""In place of a workspace: the whole server."""
ORCHESTRATOR: Final = "orchestrator"
"""The switch of flows, runs and triggers: whether they are offered at all."""


class Resting(msgspec.Struct, frozen=True):
    """The workspaces in which nothing begins by itself: archived, or with flows and runs switched off."""

    everywhere: bool
    workspaces: frozenset[str]

    def __contains__(self, workspace: str) -> bool:
        return self.everywhere or workspace in self.workspaces


def resting(sql: Sql) -> Resting:
    """Which workspaces rest now."""
    off = {row[0] for row in sql.rows("SELECT workspace FROM flag WHERE name = ? AND is_on = 0", ORCHESTRATOR)}
    archived = {row[0] for row in sql.rows("SELECT id FROM workspace WHERE archived_at IS NOT NULL")}
    return Resting(SERVER in off, frozenset(off | archived))
