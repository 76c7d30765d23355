"""What a workspace's flows are, as lists: by filter, by tag and category, by who runs whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from segue.flow.catalogue import FlowSpec
from segue.flows import listing, rows
from segue.flows.reading import names_in, names_in_text
from segue.flows.records import FlowFilter, FlowInfo, FlowPage
from segue.store.tables import Sql, Tables

PAGE: Final = 200


class FlowLists:
    """The lists of the flows of all workspaces of one database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def list(
        self, workspace: str, where: FlowFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> FlowPage:
        """Flows of a workspace, a page of them. Raises InvalidInputError for a cursor of another list."""
        chosen = where or FlowFilter()
        return await self._tables.ask(lambda sql: listing.page(sql, workspace, chosen, limit=limit, cursor=cursor))

    async def all(self, workspace: str, where: FlowFilter | None = None) -> Sequence[FlowInfo]:
        """Every flow of a workspace that fits."""
        found: list[FlowInfo] = []
        cursor: str | None = None
        while True:
            page = await self.list(workspace, where, limit=PAGE, cursor=cursor)
            found += page.flows
            cursor = page.cursor
            if cursor is None:
                return found

    async def tags(self, workspace: str, among: frozenset[str] | None = None) -> list[tuple[str, int]]:
        """The tags of the workspace's live flows, and how many bear each; `among`: only of these flows."""
        return await self._tables.ask(lambda sql: listing.tags(sql, workspace, among))

    async def categories(self, workspace: str, among: frozenset[str] | None = None) -> list[tuple[str, int]]:
        """The categories of the workspace's live flows, and how many are in each; `among`: only of these flows."""
        return await self._tables.ask(lambda sql: listing.categories(sql, workspace, among))

    async def favourites(self, workspace: str, owner: str) -> list[str]:
        """Ids of the flows that somebody wants to see first, in that one's order."""
        return await self._tables.ask(lambda sql: listing.favourites(sql, workspace, owner))

    async def put_favourites(self, workspace: str, owner: str, ids: Sequence[str]) -> None:
        """Set them."""
        await self._tables.change(lambda sql: listing.put_favourites(sql, workspace, owner, ids))

    async def ids(self, workspace: str) -> frozenset[str]:
        """The ids of all flows that are not deleted."""
        return await self._tables.ask(lambda sql: listing.ids(sql, workspace))

    async def live_ids(self, workspace: str) -> frozenset[str]:
        """The ids of the flows that are neither archived nor deleted."""
        return await self._tables.ask(lambda sql: listing.ids(sql, workspace, live=True))

    async def running(self, workspace: str) -> Mapping[str, FlowSpec]:
        """What others may know of the flows that can run: those that are live and published, by id."""
        found = await self._tables.ask(lambda sql: rows.inputs_of_published(sql, workspace))
        return {id: FlowSpec(name=id, inputs=inputs) for id, inputs in found.items()}

    async def callers(self, workspace: str, id: str) -> list[str]:
        """Ids of the live flows whose published version or draft names this one, at most 200."""

        def ask(sql: Sql) -> list[tuple[str, bytes | None, str]]:
            return rows.naming(sql, workspace, id)

        found: list[str] = []
        for other, model, draft in await self._tables.ask(ask):
            runs = model is not None and id in names_in(rows.model_of(model))
            if runs or id in names_in_text(draft):
                found.append(other)
        return sorted(found)
