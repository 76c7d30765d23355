"""Looking at what came to webhooks."""

from __future__ import annotations

from segue.store.tables import Sql, Tables
from segue.triggers import deliveries
from segue.triggers.deliveries import Delivery
from segue.triggers.registry import Registry


class KeptDeliveries:
    """The deliveries of one host."""

    def __init__(self, tables: Tables, registry: Registry) -> None:
        self._tables = tables
        self._registry = registry

    async def page(
        self,
        workspace: str,
        *,
        trigger_id: str | None,
        verdict: str | None,
        before: str | None,
        limit: int,
        among: frozenset[str] | None = None,
    ) -> list[Delivery]:
        """Newest first; `among`: only those for these flows' triggers."""
        triggers: list[str | None] = [trigger_id]
        if among is not None and trigger_id is None:
            triggers = [row.id for flow_id in among for row in self._registry.of_flow(workspace, flow_id)]

        def find(sql: Sql) -> list[Delivery]:
            found: list[Delivery] = []
            # One list for each trigger, from its index: theirs may be rare among all of the workspace.
            for one in triggers:
                where = {"trigger_id": one, "verdict": verdict}
                found += deliveries.list_deliveries(sql, workspace, where, before=before, limit=limit)
            return sorted(found, key=lambda delivery: delivery.id, reverse=True)[:limit]

        return await self._tables.ask(find)

    async def one(self, workspace: str, id: str) -> Delivery:
        """Raises NotFoundError."""
        return await self._tables.ask(lambda sql: deliveries.get_delivery(sql, workspace, id))
