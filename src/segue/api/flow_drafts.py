"""The draft of a stored flow: its text, edits of it, and how a canvas draws it."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of
from segue.api.etags import etag, expected_revision
from segue.api.flow_answers import FlowDraft, FlowGraph, flow_draft
from segue.api.flow_bodies import EditDraft, PutDraft
from segue.api.flow_texts import edits_of_body, exactly_one, graph_of_body
from segue.api.flows import author_of
from segue.api.routing import Routes, principal_of
from segue.engine.library import LibraryFlow
from segue.flow import read_flow
from segue.flow.edit import graph_of
from segue.flow.model import RawMap
from segue.flows.records import Draft
from segue.flows.shelf import Shelf


class DraftRoutes:
    """`/api/v1/flows/{flow_id}/draft` and `/graph`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._stored = shelf.stored

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/flows/{flow_id}", tags=["flows"])
        changed = answers_with(200, FlowDraft, 400, 404, 409, 412, 413, 422, 428, description="The draft as it is now")
        router.add("/draft", self.show, needs="flow:read", responses=answers_with(200, FlowDraft, 404, 409))
        router.add("/draft", self.put, method="PUT", needs="flow:update", extra=body_of(PutDraft), responses=changed)
        router.add(
            "/draft/edits", self.edit, method="POST", needs="flow:update", extra=body_of(EditDraft), responses=changed
        )
        router.add("/graph", self.graph, needs="flow:read", responses=answers_with(200, FlowGraph, 400, 404, 422))
        return router

    async def show(self, flow_id: str, request: Request) -> Response:
        """The draft, checked as things are now. Send its ETag with what you change."""
        workspace = principal_of(request).workspace
        await self._shelf.get_stored(workspace, flow_id)
        return _answer(await self._stored.draft(workspace, flow_id))

    async def put(self, flow_id: str, request: Request) -> Response:
        """Another draft, whatever is wrong with it. `If-Match` must name the revision that it was made from; 412 if
        somebody has changed it since. The same text again changes nothing.
        """
        expected = expected_revision(request.headers)
        body, principal = await read_model(request, PutDraft), principal_of(request)
        exactly_one(body)
        workspace, author, stored = principal.workspace, author_of(principal), self._stored
        await self._shelf.get_stored(workspace, flow_id)
        if body.graph is not None:
            graph = graph_of_body(body.graph)
            made = await stored.put_graph(workspace, flow_id, graph, author, expected=expected)
        elif body.document is not None:
            document = cast("RawMap", body.document)
            made = await stored.put_document(workspace, flow_id, document, author, expected=expected)
        else:
            made = await stored.put_draft(workspace, flow_id, body.text or "", author, expected=expected)
        return _answer(made)

    async def edit(self, flow_id: str, request: Request) -> Response:
        """Single edits of the draft, as a canvas makes them: each the smallest change of the text, all or none. Needs
        `If-Match`, as PUT does.
        """
        expected = expected_revision(request.headers)
        body, principal = await read_model(request, EditDraft), principal_of(request)
        edits = edits_of_body(body.edits)
        await self._shelf.get_stored(principal.workspace, flow_id)
        author = author_of(principal)
        return _answer(await self._stored.edit(principal.workspace, flow_id, edits, author, expected=expected))

    async def graph(
        self,
        flow_id: str,
        request: Request,
        version: Annotated[str | None, Query(max_length=100, description="Left out: the draft.")] = None,
    ) -> Response:
        """The flow as a canvas draws it: boxes, arrows, boxes within boxes."""
        workspace = principal_of(request).workspace
        found = await self._shelf.get(workspace, flow_id)
        if isinstance(found, LibraryFlow):
            graph = graph_of(read_flow(found.source, file=found.file))
            return answer(FlowGraph(id=flow_id, revision=None, graph=graph))
        graph = await self._stored.graph(workspace, flow_id, version)
        if version is not None:
            return answer(FlowGraph(id=flow_id, revision=None, graph=graph))
        return answer(
            FlowGraph(id=flow_id, revision=found.revision, graph=graph), headers={"etag": etag(found.revision)}
        )


def _answer(draft: Draft) -> Response:
    return answer(flow_draft(draft), headers={"etag": etag(draft.revision)})
