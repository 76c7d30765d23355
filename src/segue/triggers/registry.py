"""All triggers of a database: kept in its tables, held in memory, since every webhook and every end of a run asks.

One process hosts a database, so what is in memory is what is kept. Triggers that a flow declares follow the flow each
time it is registered; those made over the API belong to nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from segue.errors import ConflictError, NotFoundError
from segue.flow.model import Flow, JsonValue, RawMap, Trigger
from segue.store.tables import Sql, Tables
from segue.triggers.records import (
    Kind,
    Origin,
    TriggerRow,
    all_triggers,
    delete_trigger,
    get_trigger,
    new_id,
    put_trigger,
)
from segue.triggers.schedule_rows import put_due

_RULE: Final = ("cron", "every", "at", "timezone", "from", "until")
"""The settings that say when a schedule is due."""
RANDOM_LETTERS: Final = 22
"""132 bits of the unguessable part of an address."""


class Registry:
    """The triggers. `changed` is called after each change, with the trigger's id."""

    def __init__(self, tables: Tables, now: Callable[[], int], server_key: Callable[[], bytes]) -> None:
        self._tables = tables
        self._now = now
        self._key = server_key
        self._by_id: dict[str, TriggerRow] = {}
        self._by_flow: dict[tuple[str, str], dict[str, TriggerRow]] = {}
        self._by_subject: dict[tuple[str, str, str], dict[str, TriggerRow]] = {}
        self.changed: Callable[[str], None] = lambda _: None

    async def load(self) -> None:
        """Read what is kept. Raises StoreUnavailableError."""
        for mine in (self._by_id, self._by_flow, self._by_subject):
            mine.clear()
        for row in await self._tables.ask(all_triggers):
            self._remember(row)

    # ------------------------------------------------------------ asking

    def get(self, id: str, workspace: str) -> TriggerRow:
        """Raises NotFoundError, also for another workspace's."""
        found = self._by_id.get(id)
        if found is None or found.workspace != workspace:
            raise NotFoundError(f"no trigger has the id {id!r}")
        return found

    def find(self, id: str) -> TriggerRow | None:
        """The trigger of an id, of any workspace."""
        return self._by_id.get(id)

    def of_flow(self, workspace: str, flow_id: str) -> list[TriggerRow]:
        """A flow's triggers."""
        return list(self._by_flow.get((workspace, flow_id), {}).values())

    def live(self, kind: Kind, workspace: str, subject: str) -> list[TriggerRow]:
        """The triggers that start runs at an event of this name, or at the end of this flow's runs."""
        return [row for row in self._by_subject.get((kind, workspace, subject), {}).values() if row.is_live]

    def all(self, kind: Kind | None = None) -> list[TriggerRow]:
        """Every trigger of every workspace, oldest first."""
        return [row for row in self._by_id.values() if kind in (None, row.kind)]

    def page(
        self,
        workspace: str,
        *,
        flow_id: str | None,
        kind: str | None,
        after: str | None,
        limit: int,
        among: frozenset[str] | None = None,
    ) -> list[TriggerRow]:
        """A workspace's triggers, newest first, after the one with the id `after`; `among`: only of these flows."""
        rows = self.of_flow(workspace, flow_id) if flow_id is not None else list(self._by_id.values())
        found = sorted(
            (
                row
                for row in rows
                if row.workspace == workspace
                and kind in (None, row.kind)
                and (after is None or row.id < after)
                and (among is None or row.flow_id in among)
            ),
            key=lambda row: row.id,
            reverse=True,
        )
        return found[:limit]

    # ------------------------------------------------------------ addresses

    def random_part(self, row: TriggerRow) -> str:
        """The unguessable part of a webhook's address: made anew whenever it is shown, never kept."""
        digest = hmac.new(self._key(), f"hook\n{row.id}\n{row.generation}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).decode()[:RANDOM_LETTERS]

    def webhooks_at(self, workspace: str, flow_id: str, random: str | None) -> list[TriggerRow]:
        """The webhooks of a flow that an address may mean; with the unguessable part, the one that it is of."""
        hooks = [row for row in self.of_flow(workspace, flow_id) if row.kind == "webhook" and row.declared]
        if random is None:
            return hooks
        return [row for row in hooks if hmac.compare_digest(self.random_part(row).encode(), random.encode())]

    # ------------------------------------------------------------ changing

    async def follow(self, workspace: str, flow: Flow, origin: Origin) -> None:
        """Have the flow's triggers as it declares them now; what it names no more rests. Safe to repeat."""
        declared = named_triggers(flow)
        mine = {row.name: row for row in self.of_flow(workspace, flow.id) if row.origin != "api"}
        now = self._now()
        wanted: list[TriggerRow] = []
        for name, trigger in declared.items():
            known = mine.get(name)
            made = _as_row(workspace, flow, name, trigger, origin, now, known)
            if known is None or msgspec.structs.replace(made, updated_at=known.updated_at) != known:
                wanted.append(made)
        for row in self.of_flow(workspace, flow.id):
            if row.origin == "api" and not row.declared:  # the flow was gone and is back
                wanted.append(msgspec.structs.replace(row, declared=True, updated_at=now))
        for name, row in mine.items():
            if name not in declared and row.declared:
                wanted.append(msgspec.structs.replace(row, declared=False, updated_at=now))
        if wanted:
            await self._keep(wanted)

    async def retire(self, workspace: str, flow_id: str) -> None:
        """The flow is gone: its triggers rest, those too that were made beside it."""
        now = self._now()
        resting = [
            msgspec.structs.replace(row, declared=False, updated_at=now)
            for row in self.of_flow(workspace, flow_id)
            if row.declared
        ]
        if resting:
            await self._keep(resting)

    async def retire_others(self, origin: Origin, present: Iterable[tuple[str, str]]) -> None:
        """Rest the triggers of the flows of an origin that are not among these (workspace, flow id) any more."""
        there = set(present)
        gone = {
            (row.workspace, row.flow_id)
            for row in self._by_id.values()
            if row.origin == origin and row.declared and (row.workspace, row.flow_id) not in there
        }
        for workspace, flow_id in gone:
            await self.retire(workspace, flow_id)

    async def create(
        self, workspace: str, flow_id: str, kind: Kind, settings: RawMap, *, name: str | None, condition: str | None
    ) -> TriggerRow:
        """A trigger that no flow declares. Raises ConflictError if the flow has one of this name."""
        names = {row.name for row in self.of_flow(workspace, flow_id)}
        if name in names:
            raise ConflictError(f"the flow {flow_id} has a trigger {name!r} already")
        now = self._now()
        chosen = name or _free_name(kind, names)
        row = TriggerRow(
            id=new_id(now, "trg_"), workspace=workspace, flow_id=flow_id, name=chosen, kind=kind, origin="api",
            settings=settings, condition=condition, subject=_subject(kind, settings), created_at=now, updated_at=now,
        )  # fmt: skip
        await self._keep([row])
        return row

    async def change(self, row: TriggerRow, **fields: object) -> TriggerRow:
        """The trigger with other fields, as it is kept then."""

        def do(sql: Sql) -> TriggerRow:
            current = get_trigger(sql, row.id)
            made = msgspec.structs.replace(current, **fields, updated_at=self._now())
            put_trigger(sql, made)
            _plan_anew(sql, current, made)
            return made

        made = await self._tables.change(do)
        self._remember(made)
        self.changed(made.id)
        return made

    async def delete(self, row: TriggerRow) -> None:
        """Raises ConflictError for one that its flow declares: it would come back."""
        if row.origin != "api" and row.declared:
            raise ConflictError(f"the flow {row.flow_id} declares this trigger: take it out there, or disable it")
        await self._tables.change(lambda sql: delete_trigger(sql, row.id))
        self._forget(row.id)
        self.changed(row.id)

    async def refresh(self, id: str) -> TriggerRow | None:
        """Read one again, with what it did last."""
        try:
            row = await self._tables.ask(lambda sql: get_trigger(sql, id))
        except NotFoundError:
            return None
        self._remember(row)
        return row

    async def _keep(self, rows: list[TriggerRow]) -> None:
        known = [self._by_id.get(row.id) for row in rows]

        def do(sql: Sql) -> None:
            for before, row in zip(known, rows, strict=True):
                put_trigger(sql, row)
                _plan_anew(sql, before, row)

        await self._tables.change(do)
        for row in rows:
            self._remember(row)
            self.changed(row.id)

    def _remember(self, row: TriggerRow) -> None:
        self._forget(row.id)
        self._by_id[row.id] = row
        self._by_flow.setdefault((row.workspace, row.flow_id), {})[row.id] = row
        self._by_subject.setdefault((row.kind, row.workspace, row.subject), {})[row.id] = row

    def _forget(self, id: str) -> None:
        row = self._by_id.pop(id, None)
        if row is not None:
            self._by_flow[row.workspace, row.flow_id].pop(id, None)
            self._by_subject[row.kind, row.workspace, row.subject].pop(id, None)


def _plan_anew(sql: Sql, before: TriggerRow | None, row: TriggerRow) -> None:
    """Forget when a schedule was due next if that was by another rule, or before a pause: whoever starts runs by the
    clock plans it anew, also the next host if none runs now.
    """
    if row.kind != "cron" or before is None:
        return
    if before.is_live != row.is_live or any(before.settings.get(key) != row.settings.get(key) for key in _RULE):
        put_due(sql, row.id, None)


def named_triggers(flow: Flow) -> dict[str, Trigger]:
    """What a flow declares, each under its name: its own, or its kind with a number behind the second."""
    found: dict[str, Trigger] = {}
    for trigger in flow.triggers:
        written = trigger.settings.get("name", trigger.settings.get("id"))
        name = str(written) if written is not None and str(written) not in found else _free_name(trigger.kind, found)
        found[name] = trigger
    return found


def trigger_of(row: TriggerRow) -> Trigger:
    """The row as the flow language has it."""
    return Trigger(kind=row.kind, settings=row.settings, when=row.condition)


def _as_row(
    workspace: str, flow: Flow, name: str, trigger: Trigger, origin: Origin, now: int, known: TriggerRow | None
) -> TriggerRow:
    settings = dict(trigger.settings)
    if trigger.kind == "webhook":
        from segue.triggers.auth import with_places  # noqa: PLC0415 - a program without webhooks starts without them

        settings = with_places(trigger.settings, flow.secrets)
    # A flow that says `enabled` decides; else people do.
    enabled = settings.get("enabled", True if known is None else known.enabled) is not False
    return TriggerRow(
        id=new_id(now, "trg_") if known is None else known.id, workspace=workspace, flow_id=flow.id, name=name,
        kind=trigger.kind, origin=origin, settings=settings, condition=trigger.when,
        subject=_subject(trigger.kind, settings), generation=1 if known is None else known.generation, enabled=enabled,
        capture=0 if known is None else known.capture, created_at=now if known is None else known.created_at,
        updated_at=now, fired_at=None if known is None else known.fired_at,
        fired_count=0 if known is None else known.fired_count,
        last_run_id=None if known is None else known.last_run_id,
        last_error=None if known is None else known.last_error,
    )  # fmt: skip


def _subject(kind: Kind, settings: Mapping[str, JsonValue]) -> str:
    return str(settings.get(kind, "")).strip() if kind in ("event", "flow") else ""


def _free_name(kind: str, taken: Iterable[str]) -> str:
    used = set(taken)
    number = 1
    while (name := kind if number == 1 else f"{kind}_{number}") in used:
        number += 1
    return name
