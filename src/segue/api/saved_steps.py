"""Saved steps of a workspace: `/api/v1/steps`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.etags import etag, expected_revision
from segue.api.flow_answers import SavedStepItem, SavedStepList, saved_step_item
from segue.api.flow_bodies import PutSavedStep
from segue.api.flows import author_of
from segue.api.routing import Routes, principal_of
from segue.flows.saved_steps import SavedSteps

LIST_MAX = 200


class SavedStepRoutes:
    """Steps that every flow of the workspace may use by name."""

    def __init__(self, saved: SavedSteps) -> None:
        self._saved = saved

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/steps", tags=["flows"])
        router.add("", self.index, needs="flow:read", responses=answers_with(200, SavedStepList))
        router.add("/{name}", self.show, needs="flow:read", responses=answers_with(200, SavedStepItem, 404))
        router.add(
            "/{name}", self.put, method="PUT", needs="flow:update", extra=body_of(PutSavedStep),
            responses=answers_with(200, SavedStepItem, 400, 409, 412, 413, 422, description="Saved"),
        )  # fmt: skip
        router.add(
            "/{name}", self.delete, method="DELETE", needs="flow:delete", status_code=204,
            responses={204: {"description": "Deleted"}, **errors_of(404)},
        )  # fmt: skip
        return router

    async def index(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str, Query(max_length=100, description="The name of the last one before.")] = "",
    ) -> Response:
        """Saved steps, by name."""
        found = await self._saved.list(principal_of(request).workspace, after=cursor, limit=limit + 1)
        more = found[limit - 1].name if len(found) > limit else None
        return answer(SavedStepList(steps=[saved_step_item(one) for one in found[:limit]], next_cursor=more))

    async def show(self, name: str, request: Request) -> Response:
        """One saved step."""
        return _answer(saved_step_item(await self._saved.get(principal_of(request).workspace, name)))

    async def put(self, name: str, request: Request) -> Response:
        """Save a step under a name. Flows that use the name take it from their next version on. With `If-Match`, only
        that revision is replaced.
        """
        expected = expected_revision(request.headers, required=False)
        sent, principal = await read_model(request, PutSavedStep), principal_of(request)
        body = sent.body if isinstance(sent.body, str) else msgspec.json.encode(sent.body).decode()
        made = await self._saved.put(
            principal.workspace, name, body, author_of(principal), description=sent.description, expected=expected
        )
        return _answer(saved_step_item(made))

    async def delete(self, name: str, request: Request) -> Response:
        """Delete a saved step. Versions that were made with it go on as they are."""
        await self._saved.delete(principal_of(request).workspace, name)
        return Response(status_code=204)


def _answer(item: SavedStepItem) -> Response:
    return answer(item, headers={"etag": etag(item.revision)})
