"""Templates: `/api/v1/templates`."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.errors import InvalidRequestError
from segue.api.etags import etag, flow_path
from segue.api.flow_answers import FlowItem, TemplateDetail, TemplateItem, TemplateList, flow_item
from segue.api.flow_bodies import CreateTemplate, FromTemplate
from segue.api.flows import author_of
from segue.api.routing import Routes, principal_of
from segue.engine.library import LibraryFlow
from segue.flow.model import RawMap
from segue.flows.exporting import Exports
from segue.flows.shelf import Shelf
from segue.flows.templates import Template, Templates, filled


class TemplateRoutes:
    """What flows are made of."""

    def __init__(self, shelf: Shelf, templates: Templates, exports: Exports) -> None:
        self._shelf = shelf
        self._exports = exports
        self._templates = templates

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/templates", tags=["flows"])
        add = router.add
        add("", self.index, needs="flow:read", responses=answers_with(200, TemplateList))
        add(
            "", self.create, method="POST", needs="flow:create", status_code=201, extra=body_of(CreateTemplate),
            responses=answers_with(201, TemplateDetail, 400, 404, 409, 413, 422, description="Kept"),
        )  # fmt: skip
        add("/{template_id}", self.show, needs="flow:read", responses=answers_with(200, TemplateDetail, 404))
        add(
            "/{template_id}", self.delete, method="DELETE", needs="flow:delete", status_code=204,
            responses={204: {"description": "Deleted"}, **errors_of(404)},
        )  # fmt: skip
        add(
            "/{template_id}/flows", self.make, method="POST", needs="flow:create", status_code=201,
            extra=body_of(FromTemplate, required=False),
            responses=answers_with(201, FlowItem, 400, 404, 409, 413, 422, description="Stored"),
        )  # fmt: skip
        return router

    async def index(self, request: Request) -> Response:
        """The templates that come with Segue, then the workspace's own."""
        found = await self._templates.list(principal_of(request).workspace)
        return answer(TemplateList(templates=[_item(one) for one in found]))

    async def show(self, template_id: str, request: Request) -> Response:
        """A template with its text."""
        return answer(_detail(await self._templates.get(principal_of(request).workspace, template_id)))

    async def create(self, request: Request) -> Response:
        """Keep a template of one's own: from a text, or from a flow. Values under the names of secrets are masked."""
        body, principal = await read_model(request, CreateTemplate), principal_of(request)
        if (body.text is None) == (body.flow_id is None):
            message = "send either `text` or `flow_id`"
            raise InvalidRequestError(message, [("text", message)])
        text = body.text
        if text is None:
            found = await self._shelf.get(principal.workspace, body.flow_id or "")
            is_file = isinstance(found, LibraryFlow)
            source = found.source if is_file else await self._shelf.stored.draft_text(principal.workspace, found.id)
            text = (await self._exports.text(principal.workspace, source, "yaml")).text
        template = Template(
            id=body.id, name=body.name, description=body.description, category=body.category, tags=tuple(body.tags),
            parameters=cast("RawMap", body.parameters), text=text,
        )  # fmt: skip
        made = await self._templates.create(principal.workspace, template, author_of(principal))
        return answer(_detail(made), 201, {"location": f"/api/v1/templates/{quote(made.id, safe='')}"})

    async def delete(self, template_id: str, request: Request) -> Response:
        """Delete a template of the workspace. Flows that were made of it stay."""
        await self._templates.delete(principal_of(request).workspace, template_id)
        return Response(status_code=204)

    async def make(self, template_id: str, request: Request) -> Response:
        """A new flow of a template, its parameters filled in."""
        body, principal = await read_model(request, FromTemplate, optional=True), principal_of(request)
        template = await self._templates.get(principal.workspace, template_id)
        text = filled(template, cast("RawMap", body.parameters), body.id)
        made = await self._shelf.stored.create(principal.workspace, text, author_of(principal), id=body.id)
        return answer(flow_item(made), 201, {"location": flow_path(made.id), "etag": etag(made.revision)})


def _item(found: Template) -> TemplateItem:
    return TemplateItem(
        id=found.id, name=found.name, description=found.description, category=found.category, tags=list(found.tags),
        parameters=found.parameters, origin=found.origin,
    )  # fmt: skip


def _detail(found: Template) -> TemplateDetail:
    item = _item(found)
    return TemplateDetail(
        text=found.text, **{name: getattr(item, name) for name in TemplateItem.__struct_fields__}
    )  # fmt: skip
