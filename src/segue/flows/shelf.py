"""Stored flows beside those of folders: what a workspace sees, and which one an id means.

One id means one flow: the stored one if it is live, else the folder's. A folder's flow whose id a live one has goes by
its file's name. Folders are read-only here, and belong to the workspace that is there from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from anyio import to_thread

from segue.engine.ids import WORKSPACE
from segue.engine.library import FlowLibrary, LibraryFlow
from segue.errors import ConflictError, NotFoundError
from segue.flow.model import walk_flow
from segue.flows import listing
from segue.flows.reading import actions_in
from segue.flows.records import FlowFilter, FlowInfo
from segue.flows.service import StoredFlows

Shown = FlowInfo | LibraryFlow
FOLDER: Final = "folder"
STORED: Final = "stored"


@dataclass(frozen=True, slots=True)
class ShownPage:
    """Flows of both kinds, and where the next page begins (None: this was the last)."""

    flows: tuple[Shown, ...]
    cursor: str | None


class Shelf:
    """What a door shows of flows."""

    def __init__(self, stored: StoredFlows, library: FlowLibrary) -> None:
        self.stored = stored
        self.library = library

    async def get(self, workspace: str, id: str) -> Shown:
        """The flow that an id means. Raises NotFoundError."""
        found = await self.stored.find(workspace, id)
        if found is not None and found.state == "live":
            return found
        try:
            return await self.in_folder(workspace, id)
        except NotFoundError:
            if found is None:
                raise
            return found

    async def in_folder(self, workspace: str, id: str) -> LibraryFlow:
        """A flow of the folders. Raises NotFoundError."""
        if workspace != WORKSPACE:
            raise NotFoundError(f"no flow has the id {id!r}")
        return await to_thread.run_sync(self.library.get, id)

    async def get_stored(self, workspace: str, id: str) -> FlowInfo:
        """A stored flow, archived ones too. Raises NotFoundError; ConflictError for one of a folder, which is changed
        in its file.
        """
        found = await self.stored.find(workspace, id)
        if found is not None:
            return found
        file = (await self.in_folder(workspace, id)).file
        raise ConflictError(
            f"the flow {id!r} is the file {file} of a folder that is served; change it there, or clone it"
        )

    async def list(
        self,
        workspace: str,
        where: FlowFilter,
        *,
        origin: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> ShownPage:
        """A page of the workspace's flows, in one order. Raises InvalidInputError for a cursor of another list."""
        folder = [] if origin == STORED else await self._folder(workspace, where)
        if where.query is not None:
            return await self._found(workspace, where, folder, origin, limit, cursor)
        after = None if cursor is None else listing.decode_cursor(cursor, where.sort)
        places = sorted(
            ((listing.Position(where.sort, _key(flow, where), flow.id), flow) for flow in folder),
            key=lambda place: (place[0].value, place[0].id), reverse=where.sort != "name",
        )  # fmt: skip
        is_behind = _behind(after, where)
        ours: list[tuple[listing.Position, Shown]] = [(place, flow) for place, flow in places if is_behind(place)]
        if origin != FOLDER:
            page = await self.stored.list(workspace, where, limit=limit + 1, cursor=cursor)
            ours += [(listing.position_of(info, where.sort), info) for info in page.flows]
        ours.sort(key=lambda place: (place[0].value, place[0].id), reverse=where.sort != "name")
        shown = tuple(flow for _, flow in ours[:limit])
        return ShownPage(shown, listing.encode_cursor(ours[limit - 1][0]) if len(ours) > limit else None)

    async def _found(
        self, workspace: str, where: FlowFilter, folder: list[LibraryFlow], origin: str | None, limit: int,
        cursor: str | None,
    ) -> ShownPage:  # fmt: skip
        """A page of a search: stored flows by relevance, then those of folders."""
        words = [word.casefold() for word in listing.words_of(where.query or "")]
        matching = [flow for flow in folder if words and _matches(flow, words)]
        after = None if cursor is None else listing.decode_cursor(cursor, "relevance")
        if after is not None and after.id == FOLDER:
            offset, stored = max(0, int(after.value)), list[Shown]()
        elif origin == FOLDER:
            offset, stored = 0, list[Shown]()
        else:
            page = await self.stored.list(workspace, where, limit=limit, cursor=cursor)
            if page.cursor is not None:
                return ShownPage(page.flows, page.cursor)
            offset, stored = 0, list[Shown](page.flows)
        room = limit - len(stored)
        shown = [*stored, *matching[offset : offset + room]]
        reached = offset + room
        more = listing.Position("relevance", reached, FOLDER) if reached < len(matching) else None
        return ShownPage(tuple(shown), None if more is None else listing.encode_cursor(more))

    async def _folder(self, workspace: str, where: FlowFilter) -> list[LibraryFlow]:
        if workspace != WORKSPACE or where.state != "live" or where.is_published is False:
            return []
        taken = await self.stored.live_ids(workspace)
        found = await to_thread.run_sync(self.library.all)
        named = [msgspec.structs.replace(flow, id=flow.file) if flow.id in taken else flow for flow in found]
        return [flow for flow in named if _fits(flow, where)]


def name_of(flow: Shown) -> str:
    """What people call a flow."""
    if isinstance(flow, FlowInfo):
        return flow.name
    model = flow.flow
    return flow.id if model is None else model.title or model.name or model.id


def _fits(found: LibraryFlow, where: FlowFilter) -> bool:
    flow = found.flow
    if where.ids is not None and found.id not in where.ids:
        return False
    if where.category is not None and (flow is None or flow.category != where.category):
        return False
    return not where.tags or (flow is not None and set(where.tags) <= set(flow.tags))


def _key(flow: LibraryFlow, where: FlowFilter) -> str | int:
    return name_of(flow).casefold() if where.sort == "name" else flow.changed_at


def _behind(after: listing.Position | None, where: FlowFilter) -> Callable[[listing.Position], bool]:
    if after is None:
        return lambda _: True
    mark = (after.value, after.id)
    if where.sort == "name":
        return lambda place: (place.value, place.id) > mark
    return lambda place: (place.value, place.id) < mark


def _matches(found: LibraryFlow, words: list[str]) -> bool:
    """Whether each word begins one of the flow's."""
    flow = found.flow
    texts = [found.id, name_of(found)]
    if flow is not None:
        texts += [flow.description or "", *flow.tags, *actions_in(flow), *(step.id for step in walk_flow(flow))]
    there = " ".join(texts).casefold().replace("-", " ").replace("_", " ").replace(".", " ").split()
    wanted = [part for word in words for part in word.replace("-", " ").replace("_", " ").replace(".", " ").split()]
    return all(any(one.startswith(word) for one in there) for word in wanted)
