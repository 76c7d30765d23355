"""Triggers follow what is published: after every change, and after a crash in between.

A flow's row remembers which version's triggers are in force. Whoever publishes, archives, deletes or restores a flow
settles what differs then; what a process that ended has left undone is settled at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from segue.flow import Flow
from segue.flows import rows
from segue.store.tables import Tables

AT_ONCE: Final = 100
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

    async def settle(self) -> None:
        """Have the triggers of every flow be those of its published version."""
        async with self._turn:
            while found := await self._tables.ask(lambda sql: rows.unsettled(sql, AT_ONCE)):
                for key, workspace, id, version, flow in found:
                    if flow is None:
                        await self._retire(workspace, id)
                    else:
                        await self._follow(workspace, flow)
                    await self._tables.change(partial(rows.set_followed, key=key, version=version))


async def _nothing(workspace: str, what: object) -> None:
    """Nobody has triggers here."""
