"""Flows of a workspace: lists, one flow, creating, cloning, archiving, deleting, tags, favourites; and checking."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.access.principal import Principal
from segue.api.answers import CheckResult, answer
from segue.api.bodies import CheckFlow, read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.errors import flow_problem
from segue.api.etags import etag, flow_path
from segue.api.flow_answers import (
    CategoryCount,
    CategoryList,
    Favourites,
    FlowCallers,
    FlowDetail,
    FlowItem,
    FlowList,
    LeftFlow,
    TagCount,
    TagList,
    TagRenamed,
    flow_detail,
    flow_draft,
    flow_item,
)
from segue.api.flow_answers import FlowDraft as FlowDraftAnswer
from segue.api.flow_bodies import CloneFlow, CreateFlow, PutFavourites, PutTags, RenameTag
from segue.api.flow_texts import text_of_new
from segue.api.repeats import CHANGES_NOTHING
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.engine.library import LibraryFlow
from segue.errors import ConflictError
from segue.flow.edit import SetFlow
from segue.flows.records import Author, FlowFilter, Sort, State
from segue.flows.shelf import Shelf
from segue.flows.tagging import rename_tag

LIST_MAX = 200
CURSOR_MAX = 1_000
CALLED_BY = "segue-called-by"


class FlowRoutes:
    """`/api/v1/flows` and `/api/v1/check`. The folders that are served belong to the default workspace."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._stored = shelf.stored

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["flows"])
        add = router.add
        add("/flows", self.index, needs="flow:read", each=True, responses=answers_with(200, FlowList, 422))
        add(
            "/flows", self.create, method="POST", needs="flow:create", status_code=201, extra=body_of(CreateFlow),
            responses=answers_with(201, FlowItem, 400, 409, 413, 422, description="Stored"),
        )  # fmt: skip
        add("/flow-tags", self.tags, needs="flow:read", each=True, responses=answers_with(200, TagList))
        add(
            "/flow-tags/{tag}", self.rename_tag, method="PUT", needs="flow:update", extra=body_of(RenameTag),
            responses=answers_with(200, TagRenamed, 400, 404, 413, 422),
        )  # fmt: skip
        add(
            "/flow-categories", self.categories, needs="flow:read", each=True,
            responses=answers_with(200, CategoryList),
        )  # fmt: skip
        add("/favourites", self.favourites, needs="flow:read", each=True, responses=answers_with(200, Favourites))
        add(
            "/favourites", self.put_favourites, method="PUT", needs="flow:read", each=True,
            extra=body_of(PutFavourites), responses=answers_with(200, Favourites, 400, 413, 422),
        )  # fmt: skip
        add("/flows/{flow_id}", self.show, needs="flow:read", responses=answers_with(200, FlowDetail, 404))
        add(
            "/flows/{flow_id}", self.delete, method="DELETE", needs="flow:delete", status_code=204,
            responses={204: {"description": "Deleted"}, **errors_of(404, 409)},
        )  # fmt: skip
        add("/flows/{flow_id}/callers", self.callers, needs="flow:read", responses=answers_with(200, FlowCallers, 404))
        for name, endpoint in (("archive", self.archive), ("restore", self.restore)):
            add(
                f"/flows/{{flow_id}}/{name}", endpoint, method="POST", needs="flow:update",
                responses=answers_with(200, FlowItem, 404, 409),
            )  # fmt: skip
        add(
            "/flows/{flow_id}/clone", self.clone, method="POST", needs="flow:create", status_code=201,
            extra=body_of(CloneFlow, required=False),
            responses=answers_with(201, FlowItem, 400, 404, 409, 413, 422, description="Stored"),
        )  # fmt: skip
        add(
            "/flows/{flow_id}/tags", self.put_tags, method="PUT", needs="flow:update", extra=body_of(PutTags),
            responses=answers_with(200, FlowDraftAnswer, 400, 404, 409, 413, 422),
        )  # fmt: skip
        add(
            "/check", self.check, method="POST", needs="flow:read", extra=body_of(CheckFlow), repeats=CHANGES_NOTHING,
            responses=answers_with(200, CheckResult, 400, 413, 422),
        )  # fmt: skip
        return router

    async def index(
        self,
        request: Request,
        q: Annotated[
            str | None, Query(max_length=200, description="Words of name, description, tags, steps or actions.")
        ] = None,
        tag: Annotated[list[str] | None, Query(description="Only flows with this tag; repeated: with all.")] = None,
        category: Annotated[str | None, Query(max_length=200)] = None,
        state: Annotated[State, Query(description="Deleted ones can be restored by their id.")] = "live",
        published: Annotated[
            bool | None, Query(description="Only flows with, or without, a version that runs.")
        ] = None,
        origin: Annotated[Literal["stored", "folder"] | None, Query()] = None,
        sort: Annotated[Sort, Query(description="A search (`q`) gives the best hits first instead.")] = "name",
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=CURSOR_MAX)] = None,
    ) -> Response:
        """Flows of the workspace that you may see, those with errors too."""
        principal = principal_of(request)
        where = FlowFilter(
            ids=seen_flows(principal, "flow:read"),
            query=q,
            tags=tuple(tag or ()),
            category=category,
            state=state,
            is_published=published,
            sort=sort,
        )
        page = await self._shelf.list(principal.workspace, where, origin=origin, limit=limit, cursor=cursor)
        liked = frozenset(await self._stored.favourites(principal.workspace, principal.id))
        return answer(FlowList(flows=[flow_item(found, liked) for found in page.flows], next_cursor=page.cursor))

    async def show(self, flow_id: str, request: Request) -> Response:
        """One flow, with its text: the draft of a stored one, or a folder's file as it stands."""
        principal = principal_of(request)
        found = await self._shelf.get(principal.workspace, flow_id)
        liked = frozenset(await self._stored.favourites(principal.workspace, principal.id))
        item = flow_item(found, liked)
        if isinstance(found, LibraryFlow):
            form = None if found.flow is None else found.flow.form
            return answer(flow_detail(item, found.source, form))
        draft = await self._stored.draft(principal.workspace, flow_id)
        return answer(flow_detail(item, draft.text, draft.form), headers={"etag": etag(draft.revision)})

    async def create(self, request: Request) -> Response:
        """Store a new flow as a draft, whatever is wrong with it. Publish a version to let it run."""
        body, principal = await read_model(request, CreateFlow), principal_of(request)
        id, text = text_of_new(body)
        made = await self._stored.create(principal.workspace, text, author_of(principal), id=id)
        where = {"location": flow_path(made.id), "etag": etag(made.revision)}
        return answer(flow_item(made), 201, where)

    async def delete(
        self,
        flow_id: str,
        request: Request,
        unused: Annotated[bool, Query(description="Only if no other stored flow runs it by name; else 409.")] = False,
    ) -> Response:
        """Delete a stored flow. Its id is free again; its runs go on and keep their versions. `Segue-Called-By` names
        the flows that run it by name, and that fail from now on; with `unused=true` nothing is deleted then.
        """
        principal = principal_of(request)
        workspace = principal.workspace
        await self._shelf.get_stored(workspace, flow_id)
        callers = await self._callers(principal, flow_id)
        if unused and callers:
            raise ConflictError(f"the flow {flow_id!r} is run by {', '.join(callers)}; nothing was deleted")
        await self._stored.delete(workspace, flow_id, author_of(principal))
        return Response(status_code=204, headers=_called_by(callers))

    async def callers(self, flow_id: str, request: Request) -> Response:
        """The stored flows that run this one by its name, as far as you may see them."""
        principal = principal_of(request)
        await self._shelf.get(principal.workspace, flow_id)
        return answer(FlowCallers(flows=await self._callers(principal, flow_id)))

    async def _callers(self, principal: Principal, flow_id: str) -> list[str]:
        found = await self._stored.callers(principal.workspace, flow_id)
        return [id for id in found if principal.may("flow:read", id)]

    async def archive(self, flow_id: str, request: Request) -> Response:
        """Put a stored flow away: it starts no runs, and is listed under `state=archived` only. What runs goes on.
        `Segue-Called-By` names the flows that run it by name, and that fail from now on.
        """
        principal = principal_of(request)
        await self._shelf.get_stored(principal.workspace, flow_id)
        callers = await self._callers(principal, flow_id)
        made = await self._stored.archive(principal.workspace, flow_id, author_of(principal))
        return answer(flow_item(made), headers=_called_by(callers))

    async def restore(self, flow_id: str, request: Request) -> Response:
        """Take an archived flow out again, or the one of this id that was deleted last."""
        principal = principal_of(request)
        return answer(flow_item(await self._stored.restore(principal.workspace, flow_id, author_of(principal))))

    async def clone(self, flow_id: str, request: Request) -> Response:
        """A new stored flow from another one: from its draft, from a version, or from a folder's file."""
        body, principal = await read_model(request, CloneFlow, optional=True), principal_of(request)
        workspace, author = principal.workspace, author_of(principal)
        # The new one is another flow: the permission must be for it, or for all.
        refuse_unless(principal, "flow:create", body.id)
        found = await self._shelf.get(workspace, flow_id)
        if isinstance(found, LibraryFlow):
            made = await self._stored.clone_text(workspace, found.id, found.source, author, to=body.id)
        else:
            made = await self._stored.clone(workspace, flow_id, author, to=body.id, version=body.version)
        return answer(flow_item(made), 201, {"location": flow_path(made.id), "etag": etag(made.revision)})

    async def tags(self, request: Request) -> Response:
        """All tags of stored flows, with how many bear each."""
        principal = principal_of(request)
        found = await self._stored.tags(principal.workspace, seen_flows(principal, "flow:read"))
        return answer(TagList(tags=[TagCount(tag=tag, flows=count) for tag, count in found]))

    async def rename_tag(self, tag: str, request: Request) -> Response:
        """Call a tag otherwise, in the drafts of all live flows that bear it; a flow that bears both has one then.
        `left` names the flows whose drafts could not be changed, with the reason. Safe to repeat.
        """
        body, principal = await read_model(request, RenameTag), principal_of(request)
        renamed, left = await rename_tag(self._stored, principal.workspace, tag, body.to, author_of(principal))
        return answer(TagRenamed(renamed=renamed, left=[LeftFlow(flow=id, why=why) for id, why in left]))

    async def categories(self, request: Request) -> Response:
        """All categories of stored flows, with how many are in each."""
        principal = principal_of(request)
        found = await self._stored.categories(principal.workspace, seen_flows(principal, "flow:read"))
        counts = [CategoryCount(category=category, flows=count) for category, count in found]
        return answer(CategoryList(categories=counts))

    async def put_tags(self, flow_id: str, request: Request) -> Response:
        """Set a flow's tags: `tags` of its draft."""
        body, principal = await read_model(request, PutTags), principal_of(request)
        await self._shelf.get_stored(principal.workspace, flow_id)
        edit = SetFlow(path=("tags",), value=list(body.tags))
        made = await self._stored.edit(principal.workspace, flow_id, [edit], author_of(principal), expected=None)
        return answer(flow_draft(made), headers={"etag": etag(made.revision)})

    async def favourites(self, request: Request) -> Response:
        """The flows that the caller wants to see first, in order."""
        principal = principal_of(request)
        return answer(Favourites(flows=await self._stored.favourites(principal.workspace, principal.id)))

    async def put_favourites(self, request: Request) -> Response:
        """Set the flows that the caller wants to see first, in this order."""
        body, principal = await read_model(request, PutFavourites), principal_of(request)
        await self._stored.put_favourites(principal.workspace, principal.id, body.flows)
        return answer(Favourites(flows=await self._stored.favourites(principal.workspace, principal.id)))

    async def check(self, request: Request) -> Response:
        """Everything that is wrong with a flow, at once. Nothing is run or kept."""
        body = await read_model(request, CheckFlow)
        found = await self._stored.check_sent(principal_of(request).workspace, body.flow, file=body.file)
        ok = all(problem.severity != "error" for problem in found.problems)
        return answer(CheckResult(ok=ok, problems=[flow_problem(problem) for problem in found.problems]))


def _called_by(ids: list[str]) -> dict[str, str]:
    return {CALLED_BY: ", ".join(quote(id, safe="") for id in ids)} if ids else {}


def author_of(principal: Principal) -> Author:
    """Who changes something."""
    return Author(principal.id, principal.name)
