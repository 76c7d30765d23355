"""Flows in and out: export of one or many, import of files or an archive with a report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import answer
from segue.api.bodies import content_type, read_model
from segue.api.documented import answers_with, body_of, errors_of
from segue.api.etags import attachment
from segue.api.flow_answers import ExportReport, ImportReport, ReplacedValue, import_report
from segue.api.flow_bodies import ImportFlows
from segue.api.flows import author_of
from segue.api.routing import Routes, principal_of, refuse_unless, seen_flows
from segue.engine.library import LibraryFlow
from segue.flows.exchange import Exchange, FlowFile, files_of_archive
from segue.flows.exporting import Exports, is_json
from segue.flows.holdings import Holdings
from segue.flows.records import FlowFilter
from segue.flows.shelf import Shelf

ZIP = "application/zip"
REPLACED = "segue-replaced"
"""The header of an export that says how many values became `***`."""
_MEDIA = {"yaml": "application/yaml", "json": "application/json"}
Form = Annotated[Literal["yaml", "json"], Query(description="A text in this notation already stays byte for byte.")]


class ExchangeRoutes:
    """`/api/v1/flows/{flow_id}/export`, `/api/v1/flow-export` and `/api/v1/flow-import`."""

    def __init__(self, shelf: Shelf, holdings: Holdings) -> None:
        self._shelf = shelf
        self._exchange = Exchange(shelf.stored, holdings)
        self._exports = Exports(shelf.stored, holdings)

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["flows"])
        as_json: dict[str, Any] = {"schema": {"anyOf": [{}, {"$ref": "#/components/schemas/ExportReport"}]}}
        as_text: dict[str, Any] = {"application/yaml": {}, "application/json": as_json}
        router.add(
            "/flows/{flow_id}/export",
            self.export,
            needs="flow:read",
            responses={200: {"description": "The flow's text", "content": as_text}, **errors_of(404, 422)},
        )
        router.add(
            "/flow-export", self.export_many, needs="flow:read", each=True,
            responses={200: {"description": "A zip archive", "content": {ZIP: {}}}, **errors_of(404, 422)},
        )  # fmt: skip
        described = body_of(ImportFlows)
        described["requestBody"]["content"][ZIP] = {"schema": {"type": "string", "format": "binary"}}
        router.add(
            "/flow-import", self.take, method="POST", needs="flow:create", extra=described,
            responses=answers_with(200, ImportReport, 400, 409, 413, 415, 422),
        )  # fmt: skip
        return router

    async def export(
        self,
        flow_id: str,
        request: Request,
        format: Form = "yaml",
        version: Annotated[str | None, Query(max_length=100, description="Left out: the draft.")] = None,
        report: Annotated[bool, Query(description="Answer as JSON: the text, and what was replaced in it.")] = False,
    ) -> Response:
        """A flow's text as a file. What is a secret, by its name, its value or its look, is `***`; references to
        secrets stay. `Segue-Replaced` counts what was replaced, and `report=true` answers with a list of it beside the
        text.
        """
        workspace = principal_of(request).workspace
        found = await self._shelf.get(workspace, flow_id)
        if isinstance(found, LibraryFlow):
            given = await self._exports.text(workspace, found.source, format)
        else:
            given = await self._exports.stored(workspace, flow_id, version=version, form=format)
        if report:
            replaced = [ReplacedValue(path=one.path, why=one.why) for one in given.replaced]
            return answer(ExportReport(flow=found.id, text=given.text, replaced=replaced))
        text = given.text
        # A text that holds no flow is given as it is, whatever notation was asked for.
        media_type = _MEDIA["json" if format == "json" and is_json(text) else "yaml"]
        name = attachment(f"{found.id}.{format}")
        headers = {"content-disposition": name, REPLACED: str(len(given.replaced))}
        return Response(text, media_type=media_type, headers=headers)

    async def export_many(
        self,
        request: Request,
        id: Annotated[list[str] | None, Query(description="Only these; left out: all stored flows.")] = None,
        tag: Annotated[list[str] | None, Query(description="Only flows with all of these tags.")] = None,
        format: Form = "yaml",
    ) -> Response:
        """The drafts of stored flows as a zip archive, one file each. The same flows give the same bytes. If secrets
        were replaced by `***`, `REPLACED.txt` in it says where.
        """
        principal = principal_of(request)
        for one in id or ():
            refuse_unless(principal, "flow:read", one)
        where = FlowFilter(ids=seen_flows(principal, "flow:read"), tags=tuple(tag or ()))
        data = await self._exports.archive(principal.workspace, where, ids=id or (), form=format)
        return Response(data, media_type=ZIP, headers={"content-disposition": attachment("flows.zip")})

    async def take(
        self,
        request: Request,
        dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,
        publish: Annotated[bool, Query(description="Publish each as a version; all must be without errors.")] = False,
        prune: Annotated[bool, Query(description="Delete stored flows that no file is of.")] = False,
        message: Annotated[str | None, Query(max_length=2_000, description="What changed, for people.")] = None,
    ) -> Response:
        """Store flows from files: each becomes a draft, or with `publish` a published version. If one cannot be used,
        nothing is changed.
        """
        principal = principal_of(request)
        refuse_unless(principal, "flow:update")
        if prune:
            refuse_unless(principal, "flow:delete")
        if content_type(request.headers) == ZIP:
            files = await to_thread.run_sync(files_of_archive, await request.body())
        else:
            body = await read_model(request, ImportFlows)
            files = [FlowFile(one.name, one.text) for one in body.files]
        report = await self._exchange.apply(
            principal.workspace, files, author_of(principal), dry_run=dry_run, publish=publish, prune=prune,
            message=message,
        )  # fmt: skip
        return answer(import_report(report))
