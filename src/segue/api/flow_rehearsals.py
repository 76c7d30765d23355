"""Looking at flows without running them: differences, dry runs, their own tests."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import to_thread
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import read_model
from segue.api.documented import answers_with, body_of
from segue.api.errors import InvalidRequestError
from segue.api.flow_answers import FlowTests, flow_tests
from segue.api.flow_bodies import PlanFlow, TestFlow
from segue.api.repeats import CHANGES_NOTHING
from segue.api.routing import Routes, principal_of
from segue.engine.dry_run import DryRun
from segue.engine.library import LibraryFlow
from segue.engine.port import ActionRegistry
from segue.flow.model import JsonValue, RawMap
from segue.flows.differences import FlowDiff, flow_diff
from segue.flows.reading import ReadText
from segue.flows.rehearsals import plan, run_own_tests
from segue.flows.shelf import Shelf

DRAFT = "draft"
Version = Annotated[str, Query(max_length=100, description="A version's number, or `draft`.")]


class RehearsalRoutes:
    """`/api/v1/flows/{flow_id}/diff`, `/plan` and `/tests`."""

    def __init__(self, shelf: Shelf, actions: ActionRegistry) -> None:
        self._shelf = shelf
        self._stored = shelf.stored
        self._actions = actions

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/flows/{flow_id}", tags=["flows"])
        router.add("/diff", self.diff, needs="flow:read", responses=answers_with(200, FlowDiff, 404, 409))
        router.add(
            "/plan", self.plan, method="POST", needs="flow:read", extra=body_of(PlanFlow, required=False),
            repeats=CHANGES_NOTHING,
            responses=answers_with(200, DryRun, 400, 404, 413, 422),
        )  # fmt: skip
        router.add(
            "/tests", self.tests, method="POST", needs="flow:read", extra=body_of(TestFlow, required=False),
            repeats=CHANGES_NOTHING,
            responses=answers_with(200, FlowTests, 400, 404, 413, 422),
        )  # fmt: skip
        return router

    async def diff(
        self, flow_id: str, request: Request, to: Version = DRAFT, from_: Annotated[
            str | None, Query(alias="from", max_length=100, description="Left out: the published version.")
        ] = None,
    ) -> Response:  # fmt: skip
        """What is different between two versions, or a version and the draft: as text, and as steps."""
        workspace = principal_of(request).workspace
        info = await self._shelf.get_stored(workspace, flow_id)
        names = from_ or info.published or DRAFT, to
        old, new = [await self._read(workspace, flow_id, None if name == DRAFT else name) for name in names]
        labels = f"{flow_id} {names[0]}", f"{flow_id} {names[1]}"
        return answer(flow_diff((old.text, old.flow), (new.text, new.flow), labels))

    async def plan(self, flow_id: str, request: Request) -> Response:
        """A dry run, as `segue plan` makes it: what would happen with these inputs, with nothing sent. Of the draft, of
        a version, or of a text that is not saved.
        """
        body = await read_model(request, PlanFlow, optional=True)
        found = await self._read(principal_of(request).workspace, flow_id, body.version, body.text)

        def make() -> DryRun:
            return plan(
                found, self._actions, body.inputs, mocks=cast("JsonValue", body.mocks),
                trigger=cast("RawMap | None", body.trigger), samples=body.samples, now=body.now,
            )  # fmt: skip

        return answer(await to_thread.run_sync(make))

    async def tests(self, flow_id: str, request: Request) -> Response:
        """Run the flow's own tests and those of files of tests, as `segue test` does: mocked calls, virtual time,
        coverage. Of the draft, of a version, or of a text that is not saved.
        """
        body = await read_model(request, TestFlow, optional=True)
        found = await self._read(principal_of(request).workspace, flow_id, body.version, body.text)
        files = [(one.name, one.text) for one in body.files]
        results, problems = await to_thread.run_sync(run_own_tests, found, self._actions, body.name, files)
        return answer(flow_tests(results, problems))

    async def _read(self, workspace: str, flow_id: str, version: str | None, unsaved: str | None = None) -> ReadText:
        """A version, a draft (None), a text that is not saved, or the file of a folder, as it is understood now."""
        if unsaved is not None and version is not None:
            message = "send either `text` or `version`"
            raise InvalidRequestError(message, [("text", message)])
        found = await self._shelf.get(workspace, flow_id)
        if isinstance(found, LibraryFlow):
            return await self._stored.check_sent(workspace, unsaved or found.source, file=found.file)
        if unsaved is not None:
            return await self._stored.check(workspace, flow_id, unsaved)
        if version is not None:
            text = (await self._stored.version(workspace, flow_id, version)).source
            return await self._stored.check(workspace, flow_id, text)
        return await self._stored.check_draft(workspace, flow_id)
