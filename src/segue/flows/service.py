"""The service of stored flows: create, draft, version, publish, delete. What a door calls.

A flow's id is what its text calls it, and stays. Its draft may hold anything; a version only what can run. Every change
is one transaction, and every change of a draft names the revision that it was made for, so that nobody overwrites what
they have not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from segue.errors import ConflictError
from segue.flow import Catalogue, Flow
from segue.flow.catalogue import FlowSpec
from segue.flow.model import RawMap
from segue.flows import rows
from segue.flows.contents import digest_of, kept_as, refuse_stale
from segue.flows.flow_lists import FlowLists
from segue.flows.names import id_of, refuse_bad_id
from segue.flows.numbers import next_number
from segue.flows.reading import ReadText, Specs, TextReader
from segue.flows.records import Author, Draft, FlowInfo, StoredVersion, VersionInfo
from segue.flows.saved_steps import SavedSteps
from segue.flows.settling import Follow, Retire, Settling
from segue.store.tables import Sql, Tables

if TYPE_CHECKING:
    from segue.flow.edit import Edit, Graph


class StoredFlows(FlowLists):
    """The flows of all workspaces of one database. Belongs to one event loop.

    `changed` is told (workspace, id) after every change, so that nobody goes on with what they knew.
    """

    def __init__(self, tables: Tables, catalogue: Catalogue, now: Callable[[], int], saved: SavedSteps) -> None:
        super().__init__(tables)
        self.saved = saved
        self._now = now
        self._reader = TextReader(catalogue, saved.nodes, self._specs)
        self._listeners: list[Callable[[str, str], None]] = []
        self._settling = Settling(tables)

    def on_change(self, listener: Callable[[str, str], None]) -> None:
        """Call this with (workspace, id) after every change of a flow."""
        self._listeners.append(listener)

    def reacts(self, follow: Follow, retire: Retire) -> None:
        """See `Settling.reacts`."""
        self._settling.reacts(follow, retire)

    async def settle(self, mine: tuple[str, str] | None = None) -> None:
        """See `Settling.settle`."""
        await self._settling.settle(mine)

    # ------------------------------------------------------------ looking

    async def find(self, workspace: str, id: str) -> FlowInfo | None:
        """The flow, archived ones too; None if there is none."""
        return await self._tables.ask(lambda sql: rows.find(sql, workspace, id))

    async def get(self, workspace: str, id: str) -> FlowInfo:
        """As `find`. Raises NotFoundError."""
        return await self._tables.ask(lambda sql: rows.get(sql, workspace, id))

    async def was_deleted(self, workspace: str, id: str) -> bool:
        """Whether there was a flow of this id, and there is none now."""
        return await self._tables.ask(
            lambda sql: rows.find(sql, workspace, id) is None and rows.find_deleted(sql, workspace, id) is not None
        )

    async def check(self, workspace: str, id: str, text: str, *, known: Specs = MappingProxyType({})) -> ReadText:
        """A text as it would be understood here, and everything that is wrong with it. Nothing is kept. `known`: flows
        that are about to be stored, too.
        """
        return await self._reader.read(workspace, id, text, known=known)

    async def draft_text(self, workspace: str, id: str) -> str:
        """The draft as it was written, unchecked. Raises NotFoundError."""
        return (await self._draft(workspace, id))[1]

    async def check_draft(self, workspace: str, id: str) -> ReadText:
        """The draft, as it is understood now. Raises NotFoundError."""
        return await self._reader.read(workspace, id, (await self._draft(workspace, id))[1])

    async def check_sent(
        self, workspace: str, flow: str | Mapping[str, object], *, file: str | None = None
    ) -> ReadText:
        """A flow that is not stored, as it would be understood in this workspace."""
        return await self._reader.read_sent(workspace, flow, file)

    # ------------------------------------------------------------ creating, deleting

    async def create(self, workspace: str, text: str, author: Author, *, id: str | None = None) -> FlowInfo:
        """A new flow with this draft; its id is `id`, else what the text calls it.

        Raises ConflictError if the id is taken, InvalidInputError if it is none.
        """
        chosen = id if id is not None else id_of(text)
        refuse_bad_id(chosen)
        found = await self._reader.read(workspace, chosen, text)
        made = await self._tables.change(lambda sql: rows.insert(sql, workspace, found, author, self._now()))
        return self._told(workspace, made)

    async def clone(
        self, workspace: str, id: str, author: Author, *, to: str | None = None, version: str | None = None
    ) -> FlowInfo:
        """A new flow from another one's draft, or from a version of it; without `to` it is called `<id>-copy`.

        The copy's text says its own id. Raises NotFoundError, ConflictError.
        """
        text = (await self.version(workspace, id, version)).source if version else (await self._draft(workspace, id))[1]
        return await self.clone_text(workspace, id, text, author, to=to)

    async def clone_text(
        self, workspace: str, id: str, text: str, author: Author, *, to: str | None = None
    ) -> FlowInfo:
        """A new flow from the text of another one that is called `id`. Raises ConflictError, InvalidInputError."""
        from segue.flows import editing  # noqa: PLC0415 - the editor takes long to load

        if to is None:
            taken = await self.ids(workspace)
            names = (f"{id}-copy" if number == 1 else f"{id}-copy-{number}" for number in range(1, len(taken) + 3))
            to = next(name for name in names if name not in taken)
        return await self.create(workspace, editing.renamed(text, to), author, id=to)

    async def delete(self, workspace: str, id: str, author: Author) -> None:
        """Delete a flow: its id is free again, its runs go on and keep their versions. Raises NotFoundError."""
        await self._set_state(workspace, id, "deleted", author)

    async def archive(self, workspace: str, id: str, author: Author) -> FlowInfo:
        """Put a flow away: it is kept with all its versions, and starts no run. Raises NotFoundError."""
        return await self._set_state(workspace, id, "archived", author)

    async def restore(self, workspace: str, id: str, author: Author) -> FlowInfo:
        """Take an archived flow out again, or the last deleted one of this id. Raises NotFoundError, ConflictError."""

        def restore(sql: Sql) -> FlowInfo:
            there = rows.find(sql, workspace, id)
            found = there if there is not None else rows.find_deleted(sql, workspace, id)
            if found is None:
                raise rows.unknown(id)
            if found.state == "live":
                raise ConflictError(f"the flow {id!r} is neither archived nor deleted")
            rows.set_state(sql, found, "live", author, self._now())
            return rows.get(sql, workspace, id)

        made = self._told(workspace, await self._tables.change(restore))
        await self.settle((workspace, id))
        return made

    async def _set_state(self, workspace: str, id: str, state: rows.State, author: Author) -> FlowInfo:
        def change(sql: Sql) -> FlowInfo:
            found = rows.get(sql, workspace, id)
            rows.set_state(sql, found, state, author, self._now())
            return msgspec.structs.replace(found, state=state)

        made = self._told(workspace, await self._tables.change(change))
        await self.settle((workspace, id))
        return made

    # ------------------------------------------------------------ drafts

    async def draft(self, workspace: str, id: str) -> Draft:
        """The draft, checked as things are now. Raises NotFoundError."""
        info, text = await self._draft(workspace, id)
        return rows.draft_of(info, await self._reader.read(workspace, id, text))

    async def put_draft(self, workspace: str, id: str, text: str, author: Author, *, expected: int | None) -> Draft:
        """Another text as the draft, whatever is wrong with it. `expected`: the revision that it was made from (None:
        any). The text that stands there already changes nothing, so that a request whose answer was lost can be sent
        again.

        Raises NotFoundError; StaleError if the draft has another revision by now.
        """
        found = await self._reader.read(workspace, id, text)

        def put(sql: Sql) -> FlowInfo:
            info = rows.get(sql, workspace, id)
            if rows.text_of(sql, info.key) == text:
                return info
            refuse_stale(info, expected)
            rows.write_draft(sql, workspace, info, found, author, self._now())
            return rows.get(sql, workspace, id)

        return rows.draft_of(self._told(workspace, await self._tables.change(put)), found)

    async def put_graph(self, workspace: str, id: str, graph: Graph, author: Author, *, expected: int | None) -> Draft:
        """The draft brought up to a canvas graph: only what differs is changed. Raises as `put_draft`; RequestError
        if no text says this graph.
        """
        from segue.flows import editing  # noqa: PLC0415 - the editor takes long to load

        return await self._edit(
            workspace, id, lambda text: editing.with_graph(text, graph, id), author, expected=expected
        )

    async def put_document(
        self, workspace: str, id: str, document: RawMap, author: Author, *, expected: int | None
    ) -> Draft:
        """A parsed document as the draft, written as text. Raises as `put_draft`."""
        from segue.flows import editing  # noqa: PLC0415 - the editor takes long to load

        return await self.put_draft(workspace, id, editing.written(document), author, expected=expected)

    async def edit(self, workspace: str, id: str, edits: list[Edit], author: Author, *, expected: int | None) -> Draft:
        """Single edits of the draft, all or none. Raises as `put_draft`; RequestError if one is not possible."""
        from segue.flows import editing  # noqa: PLC0415 - the editor takes long to load

        return await self._edit(workspace, id, lambda text: editing.edited(text, edits, id), author, expected=expected)

    async def graph(self, workspace: str, id: str, version: str | None = None) -> Graph:
        """The draft, or a version, as a canvas draws it. Raises NotFoundError, RequestError if it cannot be read."""
        from segue.flows import editing  # noqa: PLC0415 - the editor takes long to load

        text = (await self._draft(workspace, id))[1] if version is None else await self._source(workspace, id, version)
        return editing.drawn(text, id)

    async def _edit(
        self, workspace: str, id: str, change: Callable[[str], str], author: Author, *, expected: int | None
    ) -> Draft:
        info, text = await self._draft(workspace, id)
        refuse_stale(info, expected)
        # From here on the edit belongs to this revision, whatever the caller said.
        return await self.put_draft(workspace, id, change(text), author, expected=info.revision)

    async def _draft(self, workspace: str, id: str) -> tuple[FlowInfo, str]:
        def ask(sql: Sql) -> tuple[FlowInfo, str]:
            info = rows.get(sql, workspace, id)
            return info, rows.text_of(sql, info.key)

        return await self._tables.ask(ask)

    # ------------------------------------------------------------ versions

    async def versions(
        self, workspace: str, id: str, *, limit: int = 50, before: int | None = None
    ) -> list[VersionInfo]:
        """Versions, newest first; `before`: older than the one with this key. Raises NotFoundError."""
        return await self._tables.ask(
            lambda sql: rows.list_versions(sql, rows.get(sql, workspace, id), before=before, limit=limit)
        )

    async def version(self, workspace: str, id: str, number: str) -> StoredVersion:
        """A version by its number. Raises NotFoundError."""
        return await self._tables.ask(lambda sql: rows.get_version(sql, rows.get(sql, workspace, id), number))

    async def save(
        self, workspace: str, id: str, author: Author, *, message: str | None = None, publish: bool = False,
        expected: int | None = None, known: Specs = MappingProxyType({}),
    ) -> VersionInfo:  # fmt: skip
        """Make the draft a version, and the published one if `publish`. The same content again is the version there is.

        Raises NotFoundError; InvalidFlowError if the draft has errors; ConflictError if it states the number of a
        version with other content; StaleError if it is not at the revision `expected`.
        """
        info, text = await self._draft(workspace, id)
        refuse_stale(info, expected)
        found = await self._reader.read(workspace, id, text, known=known)
        flow = found.checked()
        digest = digest_of(found)

        def keep(sql: Sql) -> VersionInfo:
            now = rows.get(sql, workspace, id)
            refuse_stale(now, info.revision)
            kept = kept_as(sql, now, flow, digest)
            if kept is None:
                latest = rows.latest_version(sql, now)
                number = next_number(flow.version, None if latest is None else latest.info.number)
                numbered = msgspec.structs.replace(flow, version=number)
                rows.insert_version(sql, workspace, now, (number, digest, text, numbered), message, author, self._now())
                kept = rows.get_version(sql, now, number).info
            if publish:
                rows.publish(sql, now, kept, author, self._now())
                kept = rows.get_version(sql, rows.get(sql, workspace, id), kept.number).info
            return kept

        made = await self._tables.change(keep)
        self._tell(workspace, id)
        await self.settle((workspace, id))
        return made

    async def conflict_of(self, workspace: str, found: ReadText) -> str | None:
        """Why a text could not be made a version of the flow that it is stored as: its number has another content."""
        flow, digest = found.flow, digest_of(found)
        if flow is None:
            return None

        def ask(sql: Sql) -> str | None:
            info = rows.find(sql, workspace, found.id)
            try:
                if info is not None:
                    kept_as(sql, info, flow, digest)
            except ConflictError as error:
                return error.message
            return None

        return await self._tables.ask(ask)

    async def publish(self, workspace: str, id: str, number: str, author: Author) -> VersionInfo:
        """Let a version be the one that runs: a newer one, or an older one to roll back. Raises NotFoundError."""

        def publish(sql: Sql) -> VersionInfo:
            info = rows.get(sql, workspace, id)
            found = rows.get_version(sql, info, number)
            rows.publish(sql, info, found.info, author, self._now())
            return rows.get_version(sql, rows.get(sql, workspace, id), number).info

        made = await self._tables.change(publish)
        self._tell(workspace, id)
        await self.settle((workspace, id))
        return made

    async def runnable(self, workspace: str, id: str, number: str | None = None) -> StoredVersion | None:
        """The version that a run of this flow takes: the published one, or that of a number. None: there is no such
        flow, or no version of that number.

        Raises ConflictError if it is archived, or if nothing of it is published.
        """

        def ask(sql: Sql) -> StoredVersion | None:
            info = rows.find(sql, workspace, id)
            if info is None:
                return None
            if info.state == "archived":
                raise ConflictError(f"the flow {id!r} is archived and starts no run; restore it first")
            found = rows.find_version(sql, info, number)
            if found is None and number is None:
                raise ConflictError(f"no version of the flow {id!r} is published; publish one, or run its draft")
            return found

        return await self._tables.ask(ask)

    async def runnable_draft(self, workspace: str, id: str) -> tuple[Flow, str]:
        """The draft as it would run, and its text. Raises NotFoundError, ConflictError, InvalidFlowError."""
        info, text = await self._draft(workspace, id)
        if info.state == "archived":
            raise ConflictError(f"the flow {id!r} is archived and starts no run; restore it first")
        return (await self._reader.read(workspace, id, text)).checked(), text

    # ------------------------------------------------------------ inside

    async def _source(self, workspace: str, id: str, number: str) -> str:
        return (await self.version(workspace, id, number)).source

    async def _specs(self, workspace: str, names: tuple[str, ...]) -> Mapping[str, FlowSpec]:
        if not names:
            return {}
        found = await self._tables.ask(lambda sql: rows.inputs_of_published(sql, workspace, names))
        return {name: FlowSpec(name=name, inputs=inputs) for name, inputs in found.items()}

    def _told(self, workspace: str, info: FlowInfo) -> FlowInfo:
        self._tell(workspace, info.id)
        return info

    def _tell(self, workspace: str, id: str) -> None:
        for listener in self._listeners:
            listener(workspace, id)
