"""The library's flows, and checking a flow without running it."""

from __future__ import annotations

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from segue.access.principal import DEFAULT_WORKSPACE
from segue.api.answers import CheckResult, FlowDetail, FlowItem, FlowList, answer
from segue.api.bodies import CheckFlow, read_model
from segue.api.documented import answers_with, body_of
from segue.api.errors import flow_problem
from segue.api.routing import Routes, principal_of
from segue.engine.library import FlowLibrary, LibraryFlow
from segue.errors import NotFoundError
from segue.flow import Catalogue, Problem, check_flow, read_document, read_flow


class FlowRoutes:
    """`/api/v1/flows` and `/api/v1/check`. The library's folders belong to the default workspace."""

    def __init__(self, library: FlowLibrary, catalogue: Catalogue) -> None:
        self._library = library
        self._catalogue = catalogue

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1", tags=["flows"])
        add = router.add
        add("/flows", self.index, needs="flow:read", responses=answers_with(200, FlowList))
        add("/flows/{flow_id}", self.show, needs="flow:read", responses=answers_with(200, FlowDetail, 404))
        add(
            "/check", self.check, method="POST", needs="flow:read", extra=body_of(CheckFlow),
            responses=answers_with(200, CheckResult, 400, 413, 422),
        )  # fmt: skip
        return router

    async def index(self, request: Request) -> Response:
        """All flows of the library, those with errors too."""
        is_here = principal_of(request).workspace == DEFAULT_WORKSPACE
        found = await to_thread.run_sync(self._library.all) if is_here else []
        return answer(FlowList(flows=[_item(flow) for flow in found]))

    async def show(self, flow_id: str, request: Request) -> Response:
        """One flow, with its text as it stands in its file."""
        if principal_of(request).workspace != DEFAULT_WORKSPACE:
            raise NotFoundError(f"no flow has the id {flow_id!r}")
        found = await to_thread.run_sync(self._library.get, flow_id)
        item = _item(found)
        return answer(
            FlowDetail(
                id=item.id, name=item.name, description=item.description, file=item.file, inputs=item.inputs,
                steps=item.steps, problems=item.problems, source=found.source,
                form=None if found.flow is None else found.flow.form,
            )
        )  # fmt: skip

    async def check(self, request: Request) -> Response:
        """Everything that is wrong with a flow, at once. Nothing is run or kept."""
        body = await read_model(request, CheckFlow)
        problems = await to_thread.run_sync(self._problems, body)
        ok = all(problem.severity != "error" for problem in problems)
        return answer(CheckResult(ok=ok, problems=[flow_problem(problem) for problem in problems]))

    def _problems(self, body: CheckFlow) -> list[Problem]:
        flow = body.flow
        result = read_flow(flow, file=body.file) if isinstance(flow, str) else read_document(flow, file=body.file)
        problems = list(result.problems)
        if result.flow is not None:
            problems += check_flow(result.flow, self._catalogue, runnable=True, document=result.document)
        return problems


def _item(found: LibraryFlow) -> FlowItem:
    flow = found.flow
    return FlowItem(
        id=found.id,
        name=found.id if flow is None else flow.title or flow.name or flow.id,
        description=None if flow is None else flow.description,
        file=found.file,
        inputs={} if flow is None else flow.inputs,
        steps=found.step_count,
        problems=[flow_problem(problem) for problem in found.problems],
    )
