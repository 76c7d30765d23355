"""Document A's orchestrators: flows with their canvas graph, kept as drafts; what is run is what was saved last."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import JsonObject, parse_json, read_model
from segue.api.compat.bodies import SaveOrchestrator
from segue.api.compat.orchestrator_runs import NEXT_CURSOR, ROOT
from segue.api.compat.records import Orchestrator
from segue.api.documented import answers_with, body_of, errors_of, list_of
from segue.api.errors import BadBodyError, InvalidRequestError
from segue.api.etags import etag, expected_revision
from segue.api.routing import Routes, principal_of, seen_flows
from segue.engine.library import LibraryFlow
from segue.engine.views import rfc3339
from segue.errors import ConflictError
from segue.flow import read_flow
from segue.flow.edit import Graph, graph_of, write_document
from segue.flow.forms.header import slug
from segue.flow.model import RawMap
from segue.flows.records import Author, FlowFilter, FlowInfo
from segue.flows.shelf import Shelf

LIST_MAX = 200
SAME_NAMES_MAX = 100


class OrchestratorRoutes:
    """`/api/v1/orchestrator`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._stored = shelf.stored

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["document A"])
        add, one = router.add, f"{ROOT}/{{flow_id}}"
        add(ROOT, self.index, needs="flow:read", each=True, responses=list_of(Orchestrator, 400, 422))
        add(
            ROOT, self.create, method="POST", needs="flow:create", status_code=201, extra=body_of(SaveOrchestrator),
            responses=answers_with(201, Orchestrator, 400, 409, 413, 415, 422, description="Kept"),
        )  # fmt: skip
        add(one, self.show, needs="flow:read", responses=answers_with(200, Orchestrator, 400, 404))
        add(
            one, self.update, method="PUT", needs="flow:update", extra=body_of(SaveOrchestrator),
            responses=answers_with(200, Orchestrator, 400, 404, 409, 412, 413, 415, 422),
        )  # fmt: skip
        add(
            one, self.delete, method="DELETE", needs="flow:delete", status_code=204,
            responses={204: {"description": "Deleted"}, **errors_of(404, 409)},
        )  # fmt: skip
        return router

    async def index(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = LIST_MAX,
        cursor: Annotated[str | None, Query(max_length=1_000)] = None,
    ) -> Response:
        """All flows, without their definitions. The header `x-next-cursor` continues (without one: the end)."""
        principal = principal_of(request)
        workspace, where = principal.workspace, FlowFilter(ids=seen_flows(principal, "flow:read"))
        page = await self._shelf.list(workspace, where, origin=None, limit=limit, cursor=cursor)
        headers = {} if page.cursor is None else {NEXT_CURSOR: page.cursor}
        return answer([_row(found, workspace) for found in page.flows], 200, headers)

    async def show(self, flow_id: str, request: Request) -> Response:
        """A flow with its definition."""
        return await self._answer(flow_id, request)

    async def create(self, request: Request) -> Response:
        """Keep a new flow."""
        body = await read_model(request, SaveOrchestrator)
        if body.name is None:
            raise InvalidRequestError("name: is required", [("name", "is required")])
        principal = principal_of(request)
        taken = await self._stored.ids(principal.workspace)
        wished = slug(body.name) or "orchestrator"
        names = (wished if number == 1 else f"{wished}-{number}" for number in range(1, SAME_NAMES_MAX))
        id = next((name for name in names if name not in taken), None)
        if id is None:
            raise ConflictError(f"{SAME_NAMES_MAX} flows are called {body.name!r} already; choose another name")
        text = write_document(_document(id, body.name, body.description, _definition(body)))
        await self._stored.create(principal.workspace, text, Author(principal.id, principal.name), id=id)
        return await self._answer(id, request, 201, {"location": f"{ROOT}/{id}"})

    async def update(self, flow_id: str, request: Request) -> Response:
        """Save a flow: what is left out of the body stays. `If-Match` with the flow's ETag refuses to overwrite what
        somebody else has saved since.
        """
        body = await read_model(request, SaveOrchestrator)
        principal = principal_of(request)
        info = await self._shelf.get_stored(principal.workspace, flow_id)
        author, expected = Author(principal.id, principal.name), expected_revision(request.headers, required=False)
        name = body.name if body.name is not None else info.name
        description = body.description if body.description is not None else info.description
        if body.definition is not None:
            document = _document(flow_id, name, description, _definition(body))
            await self._stored.put_document(principal.workspace, flow_id, document, author, expected=expected)
        else:
            graph = await self._stored.graph(principal.workspace, flow_id)
            header: RawMap = {**graph.flow, "title": name}
            if description is not None:
                header["description"] = description
            changed = msgspec.structs.replace(graph, flow=header)
            await self._stored.put_graph(principal.workspace, flow_id, changed, author, expected=expected)
        return await self._answer(flow_id, request)

    async def delete(self, flow_id: str, request: Request) -> Response:
        """Delete a flow; its runs stay."""
        principal = principal_of(request)
        await self._shelf.get_stored(principal.workspace, flow_id)
        await self._stored.delete(principal.workspace, flow_id, Author(principal.id, principal.name))
        return Response(status_code=204)

    async def _answer(
        self, flow_id: str, request: Request, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        workspace = principal_of(request).workspace
        found = await self._shelf.get(workspace, flow_id)
        if isinstance(found, LibraryFlow):
            graph, tag = graph_of(read_flow(found.source, file=found.file)), {}
        else:
            graph, tag = await self._stored.graph(workspace, flow_id), {"etag": etag(found.revision)}
        told = msgspec.structs.replace(_row(found, workspace), definition=definition_of(graph))
        return answer(told, status, {**(headers or {}), **tag})


def definition_of(graph: Graph) -> dict[str, Any]:
    """Document A's `{nodes, edges, version}`."""
    made = cast("dict[str, Any]", msgspec.to_builtins(graph))
    for part in (*made["nodes"], *made["edges"]):
        part.update(part.pop("extra", {}))
    return {"nodes": made["nodes"], "edges": made["edges"], "version": made["version"]}


def _definition(body: SaveOrchestrator) -> JsonObject:
    found = body.definition
    if isinstance(found, str):
        try:
            found = cast("JsonObject", parse_json(found.encode()))
        except BadBodyError as error:
            raise InvalidRequestError(f"definition: {error}", [("definition", str(error))]) from None
    if found is None:
        return {"nodes": [], "edges": []}
    if not isinstance(found.get("nodes"), list):
        message = "definition: a graph has a list of nodes"
        raise InvalidRequestError(message, [("definition", message)])
    return found


def _document(id: str, name: str, description: str | None, definition: JsonObject) -> RawMap:
    told: RawMap = {} if description is None else {"description": description}
    graph = {key: value for key, value in definition.items() if key in ("nodes", "edges")}
    return cast("RawMap", {"flow": id, "title": name, **told, **graph})


def _row(found: FlowInfo | LibraryFlow, workspace: str) -> Orchestrator:
    if isinstance(found, LibraryFlow):
        flow = found.flow
        return Orchestrator(
            id=found.id, name=found.id if flow is None else flow.title or flow.id,
            description=None if flow is None else flow.description, definition=None, workspace_id=workspace,
        )  # fmt: skip
    return Orchestrator(
        id=found.id, name=found.name, description=found.description, definition=None, workspace_id=workspace,
        created_date=rfc3339(found.created_at), updated_date=rfc3339(found.updated_at),
    )  # fmt: skip
