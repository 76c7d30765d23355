"""The versions of a stored flow: made from its draft, published, rolled back."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of
from segue.api.etags import expected_revision, flow_path
from segue.api.flow_answers import FlowVersionDetail, FlowVersionItem, FlowVersionList, version_item
from segue.api.flow_bodies import SaveVersion
from segue.api.flows import author_of
from segue.api.routing import Routes, principal_of
from segue.flows.shelf import Shelf

LIST_MAX = 200


class VersionRoutes:
    """`/api/v1/flows/{flow_id}/versions`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._stored = shelf.stored

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/flows/{flow_id}/versions", tags=["flows"])
        add = router.add
        add("", self.index, needs="flow:read", responses=answers_with(200, FlowVersionList, 404, 409))
        add(
            "", self.save, method="POST", needs="flow:update", status_code=201,
            extra=body_of(SaveVersion, required=False),
            responses=answers_with(201, FlowVersionItem, 400, 404, 409, 412, 413, 422, description="Kept"),
        )  # fmt: skip
        add("/{version}", self.show, needs="flow:read", responses=answers_with(200, FlowVersionDetail, 404, 409))
        add(
            "/{version}/publish", self.publish, method="POST", needs="flow:update",
            responses=answers_with(200, FlowVersionItem, 404, 409),
        )  # fmt: skip
        return router

    async def index(
        self,
        flow_id: str,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$")] = None,
    ) -> Response:
        """Versions, newest first."""
        workspace = principal_of(request).workspace
        await self._shelf.get_stored(workspace, flow_id)
        before = None if cursor is None else int(cursor)
        found = await self._stored.versions(workspace, flow_id, limit=limit + 1, before=before)
        more = str(found[limit - 1].key) if len(found) > limit else None
        return answer(FlowVersionList(versions=[version_item(one) for one in found[:limit]], next_cursor=more))

    async def save(self, flow_id: str, request: Request) -> Response:
        """Make the draft a version, and publish it if asked. It must be without errors. The number is the next patch,
        or what the text states if that is higher; the same content again is the version that there is.
        """
        expected = expected_revision(request.headers, required=False)
        body, principal = await read_model(request, SaveVersion, optional=True), principal_of(request)
        await self._shelf.get_stored(principal.workspace, flow_id)
        made = await self._stored.save(
            principal.workspace, flow_id, author_of(principal), message=body.message, publish=body.publish,
            expected=expected,
        )  # fmt: skip
        where = {"location": flow_path(flow_id, f"/versions/{made.number}")}
        return answer(version_item(made), 201, where)

    async def show(self, flow_id: str, version: str, request: Request) -> Response:
        """A version with its text."""
        workspace = principal_of(request).workspace
        await self._shelf.get_stored(workspace, flow_id)
        found = await self._stored.version(workspace, flow_id, version)
        item = version_item(found.info)
        fields = {name: getattr(item, name) for name in FlowVersionItem.__struct_fields__}
        return answer(FlowVersionDetail(source=found.source, form=found.flow.form, **fields))

    async def publish(self, flow_id: str, version: str, request: Request) -> Response:
        """Let a version be the one that new runs take. An older one: roll back."""
        principal = principal_of(request)
        await self._shelf.get_stored(principal.workspace, flow_id)
        made = await self._stored.publish(principal.workspace, flow_id, version, author_of(principal))
        return answer(version_item(made))
