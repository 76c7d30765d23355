"""Triggers follow what is published: after every change, and after a crash in between.

A flow's row remembers which version's triggers are in force. Whoever publishes, archives, deletes or restores a flow
settles what differs then; what a process that ended has left undone is settled at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from segue.errors import ConflictError, RequestError
from segue.flow import Flow
from segue.flows import rows
from segue.store.tables import Tables

AT_ONCE: Final = 100
_log = logging.getLogger("segue.flows")
Follow: TypeAlias = Callable[[str, Flow], Awaitable[None]]
Retire: TypeAlias = Callable[[str, str], Awaitable[None]]


class Settling:
    """Tells who has triggers in force of the flows whose triggers are not those of their published version."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._turn = asyncio.Lock()
        self._follow: Follow = _nothing
        self._retire: Retire = _nothing

    def reacts(self, follow: Follow, retire: Retire) -> None:
        """`follow` puts the triggers of a workspace's flow in force, `retire` lets those of an id rest. Both must be
        safe to repeat.
        """
        self._follow, self._retire = follow, retire

    async def settle(self, mine: tuple[str, str] | None = None) -> None:
        """Have the triggers of every flow be those of its published version.

        Triggers that cannot be had (their place is taken) hold nobody else up: they are left out, with a warning, until
        the flow is published again. Raises ConflictError for those of the caller's own flow, `mine`: workspace and id.
        """
        refused: RequestError | None = None
        async with self._turn:
            while found := await self._tables.ask(lambda sql: rows.unsettled(sql, AT_ONCE)):
                for key, workspace, id, version, flow in found:
                    try:
                        await (self._retire(workspace, id) if flow is None else self._follow(workspace, flow))
                    except RequestError as error:
                        _log.warning("the triggers of the flow %s (%s) are not in force: %s", id, workspace, error)
                        refused = error if (workspace, id) == mine else refused
                    await self._tables.change(partial(rows.set_followed, key=key, version=version))
        if refused is not None and mine is not None:
            raise ConflictError(
                f"the flow {mine[1]!r} is as it was asked for, but its triggers are not in force: {refused.message}"
            ) from refused


async def _nothing(workspace: str, what: object) -> None:
    """Nobody has triggers here."""
