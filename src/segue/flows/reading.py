"""Reading and checking a stored flow's text in its workspace: with its saved steps, and the flows that it may run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from segue.engine.ids import WORKSPACE
from segue.errors import InvalidFlowError, InvalidInputError
from segue.flow import Catalogue, Flow, Problem, bind_flow, check_flow, codes, read_document, read_flow
from segue.flow.catalogue import ActionSpec, FlowSpec
from segue.flow.document import Node
from segue.flow.model import walk, walk_flow
from segue.flow.read import ReadResult

TEXT_BYTES_MAX: Final = 1024 * 1024
LARGE_TEXT: Final = 32 * 1024
"""Texts of more characters are read in a thread, so that other requests are answered meanwhile."""

T = TypeVar("T")
Specs = Mapping[str, FlowSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadText:
    """A text as it was understood. `flow` has the id that it is stored under; its names are not bound yet."""

    id: str
    text: str
    read: ReadResult
    flow: Flow | None
    problems: tuple[Problem, ...]
    catalogue: Catalogue

    @property
    def is_runnable(self) -> bool:
        """Whether it has no errors."""
        return self.flow is not None and all(problem.severity != "error" for problem in self.problems)

    def checked(self) -> Flow:
        """The flow, its names bound. Raises InvalidFlowError with all problems."""
        if self.flow is None or not self.is_runnable:
            errors = [problem for problem in self.problems if problem.severity == "error"]
            count = "one error" if len(errors) == 1 else f"{len(errors)} errors"
            name = f"the flow {self.id}".rstrip()
            raise InvalidFlowError(f"{name} has {count}; the first: {errors[0]}", self.problems)
        return bind_flow(self.flow, self.catalogue)


class WorkspaceCatalogue:
    """The host's actions, and the flows that a workspace knows by these names. Satisfies `Catalogue`."""

    def __init__(self, base: Catalogue, specs: Specs, workspace: str) -> None:
        self._base = base
        self._specs = specs
        self._workspace = workspace

    def action(self, name: str) -> ActionSpec | None:
        """See `Catalogue.action`."""
        return self._base.action(name)

    def adapters(self) -> Iterable[str]:
        """See `Catalogue.adapters`."""
        return self._base.adapters()

    def actions(self, adapter: str) -> Iterable[str]:
        """See `Catalogue.actions`."""
        return self._base.actions(adapter)

    def default_action(self, adapter: str) -> str | None:
        """See `Catalogue.default_action`."""
        return self._base.default_action(adapter)

    def flow(self, name: str) -> FlowSpec | None:
        """See `Catalogue.flow`. Flows of folders belong to the workspace that is there from the start."""
        found = self._specs.get(name)
        return self._base.flow(name) if found is None and self._workspace == WORKSPACE else found

    def flows(self) -> Iterable[str] | None:
        """See `Catalogue.flows`: there may be others than were asked for."""
        return None


class TextReader:
    """Reads texts for the service. `steps` gives a workspace's saved steps, `specs` its flows of some names."""

    def __init__(
        self,
        catalogue: Catalogue,
        steps: Callable[[str], Awaitable[Mapping[str, Node]]],
        specs: Callable[[str, tuple[str, ...]], Awaitable[Specs]],
    ) -> None:
        self._catalogue = catalogue
        self._steps = steps
        self._specs = specs

    async def read(self, workspace: str, id: str, text: str, *, known: Specs = MappingProxyType({})) -> ReadText:
        """Everything that can be known of a text that is stored under an id, whatever is wrong with it. `known`: flows
        that will be there, too.

        Raises InvalidInputError if it is too long.
        """
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > TEXT_BYTES_MAX:
            message = f"the text has {size:,} bytes; a flow has at most {TEXT_BYTES_MAX:,}"
            raise InvalidInputError(message, [("flow", message)])
        saved = await self._steps(workspace)
        found = await _off_loop(text, lambda: read_flow(text, file=f"{id}.yaml", saved=saved))
        return await self._checked(workspace, id, text, found, known=known)

    async def read_sent(self, workspace: str, flow: str | Mapping[str, object], file: str | None) -> ReadText:
        """A flow that is stored nowhere: its text, or its parsed document."""
        saved = await self._steps(workspace)
        if isinstance(flow, str):
            found = await _off_loop(flow, lambda: read_flow(flow, file=file, saved=saved))
        else:
            found = read_document(flow, file=file, saved=saved)
        id = found.flow.id if found.flow is not None else file or ""
        return await self._checked(workspace, id, flow if isinstance(flow, str) else "", found, is_stored=False)

    async def _checked(
        self,
        workspace: str,
        id: str,
        text: str,
        found: ReadResult,
        *,
        is_stored: bool = True,
        known: Specs = MappingProxyType({}),
    ) -> ReadText:
        flow = None if found.flow is None else msgspec.structs.replace(found.flow, id=id)
        specs: Specs = {} if flow is None else {**await self._specs(workspace, names_in(flow)), **known}
        catalogue = WorkspaceCatalogue(self._catalogue, specs, workspace)

        def check() -> list[Problem]:
            problems = [*found.problems, *(_other_id(found, id) if is_stored else ())]
            if flow is not None:
                problems += check_flow(flow, catalogue, runnable=True, document=found.document)
            return problems

        problems = await _off_loop(text, check)
        return ReadText(
            id=id, text=text, read=found, flow=flow, problems=tuple(problems), catalogue=catalogue
        )  # fmt: skip


def names_in(flow: Flow) -> tuple[str, ...]:
    """The names in a flow that may be other flows'."""
    names: dict[str, None] = {}
    for step in walk_flow(flow):
        asked = step.params.get("flow") if step.kind == "flow" else step.use
        if isinstance(asked, str) and "." not in asked:
            names[asked] = None
    return tuple(names)


def names_in_text(text: str) -> tuple[str, ...]:
    """As `names_in`, of a text; none if it cannot be read."""
    flow = read_flow(text).flow
    return () if flow is None else names_in(flow)


def actions_in(flow: Flow) -> tuple[str, ...]:
    """What a flow calls: names of actions, and verbs."""
    return tuple(dict.fromkeys(step.use or step.kind for step in walk(flow.root)))


def _other_id(found: ReadResult, id: str) -> list[Problem]:
    """What is wrong if a text states another id than the one that it is stored under."""
    document = found.document
    node = None if document is None else document.root.get("flow") or document.root.get("id")
    if document is None or node is None or node.text is None or node.text.strip() == id:
        return []
    return [
        Problem(
            code=codes.NOT_ALLOWED, path=node.path(), file=document.file, span=document.span(node),
            message=f'the flow is stored as "{id}", and its text calls it "{node.text.strip()[:60]}"',
            suggestion=f"write `flow: {id}`, or store it under the other name",
        )
    ]  # fmt: skip


async def _off_loop(text: str, work: Callable[[], T]) -> T:
    return work() if len(text) <= LARGE_TEXT else await asyncio.to_thread(work)
