"""What callers get of flows: lists, drafts, versions, differences."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from segue.api.errors import FlowProblem, flow_problem
from segue.engine.dry_run import DryRun
from segue.engine.flow_test_run import FlowTestResults
from segue.engine.library import LibraryFlow
from segue.engine.views import rfc3339
from segue.flow import Problem
from segue.flow.edit import Graph
from segue.flows.differences import FlowDiff
from segue.flows.exchange import ApplyReport
from segue.flows.records import Draft, VersionInfo
from segue.flows.saved_steps import SavedStep
from segue.flows.shelf import FOLDER, STORED, Shown, name_of


class FlowItem(msgspec.Struct, frozen=True, kw_only=True):
    """A flow. `inputs` is a JSON Schema; a flow with an error among its `problems` cannot run as it stands.

    `origin`: `stored` in this server, or the file of a `folder` that is served, which is read-only here. Of a stored
    one everything but `version` is that of its draft.
    """

    id: str
    name: str
    description: str | None
    file: str | None
    inputs: dict[str, Any]
    steps: int
    problems: list[FlowProblem]
    origin: str = STORED
    state: str = "live"
    category: str | None = None
    tags: list[str] = []
    revision: int | None = None
    """Of the draft."""
    version: str | None = None
    """The number of the published version, which runs take."""
    latest_version: str | None = None
    is_changed: bool = False
    """Whether the draft is another text than the published version."""
    is_favourite: bool = False
    created_at: str | None = None
    created_by: str | None = None
    updated_at: str | None = None
    updated_by: str | None = None


class FlowDetail(FlowItem, frozen=True, kw_only=True):
    """A flow with its text; of a stored one its draft. `form`: yaml, graph, definition, tasks or dag (null if it cannot
    be read).
    """

    source: str
    form: str | None


class FlowList(msgspec.Struct, frozen=True, kw_only=True):
    """Flows, in the order that was asked for. `next_cursor` continues after the last one (null: the end)."""

    flows: list[FlowItem]
    next_cursor: str | None = None


class FlowDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The draft of a flow. `revision` is its ETag; `problems` are what checking finds now."""

    id: str
    revision: int
    text: str
    form: str | None
    problems: list[FlowProblem]
    updated_at: str
    updated_by: str


class FlowGraph(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as a canvas draws it. `revision` is that of the draft (null: of a version)."""

    id: str
    revision: int | None
    graph: Graph


class FlowVersionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a flow: what it was at a number, for good."""

    number: str
    digest: str
    message: str | None
    created_at: str
    created_by: str
    is_published: bool
    published_at: str | None
    published_by: str | None


class FlowVersionDetail(FlowVersionItem, frozen=True, kw_only=True):
    """A version with its text."""

    source: str
    form: str


class FlowVersionList(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, newest first. `next_cursor` continues after the last one (null: the end)."""

    versions: list[FlowVersionItem]
    next_cursor: str | None = None


class TagCount(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, and how many flows bear it."""

    tag: str
    flows: int


class TagList(msgspec.Struct, frozen=True, kw_only=True):
    """The tags of the workspace's stored flows."""

    tags: list[TagCount]


class CategoryCount(msgspec.Struct, frozen=True, kw_only=True):
    """A category, and how many flows are in it."""

    category: str
    flows: int


class CategoryList(msgspec.Struct, frozen=True, kw_only=True):
    """The categories of the workspace's stored flows."""

    categories: list[CategoryCount]


class LeftFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that stays as it is, and why."""

    flow: str
    why: str


class TagRenamed(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the flows whose drafts bear the new tag now, and of those that were left."""

    renamed: list[str]
    left: list[LeftFlow]


class FlowCallers(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of flows that run this one by its name, in order; the first 200."""

    flows: list[str]


class Favourites(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of flows that the caller wants to see first, in order."""

    flows: list[str]


class FlowTests(msgspec.Struct, frozen=True, kw_only=True):
    """How a flow's tests ended, and what is odd about them; `results` and the numbers as `segue test --json` has
    them.
    """

    ok: bool
    tests: int
    passed: int
    skipped: int
    results: FlowTestResults
    problems: list[FlowProblem]


class SavedStepItem(msgspec.Struct, frozen=True, kw_only=True):
    """A step that every flow of the workspace may use by name. `revision` is its ETag."""

    name: str
    description: str | None
    body: str
    revision: int
    updated_at: str
    updated_by: str


class SavedStepList(msgspec.Struct, frozen=True, kw_only=True):
    """Saved steps, by name. `next_cursor` continues after the last one (null: the end)."""

    steps: list[SavedStepItem]
    next_cursor: str | None = None


class ReplacedValue(msgspec.Struct, frozen=True, kw_only=True):
    """What became `***` in an export: its path in the document, or the line of a comment, and why."""

    path: str
    why: str


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as it is given away, and what was replaced in it."""

    flow: str
    text: str
    replaced: list[ReplacedValue]


class MissingSource(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or connection that flows name (`secret:stripe`), and that is not there."""

    source: str
    flows: list[str]


class ImportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What importing a file did, or would do. `outcome`: new, changed, unchanged, removed, invalid."""

    file: str
    flow: str | None
    outcome: str
    version: str | None
    message: str | None
    diff: str
    problems: list[FlowProblem]
    masked: list[str] = []
    """Paths of values that an export replaced by `***`: put a value or a reference there."""


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """All files, in the order of their names. `applied`: the changes were made; never if one file is invalid.
    `missing`: what the flows need before they can run, and the workspace has not.
    """

    ok: bool
    applied: bool
    files: list[ImportedFile]
    missing: list[MissingSource] = []


class TemplateItem(msgspec.Struct, frozen=True, kw_only=True):
    """A template. `parameters` is a JSON Schema; `origin`: `built-in`, or `stored` in this workspace."""

    id: str
    name: str
    description: str | None
    category: str | None
    tags: list[str]
    parameters: dict[str, Any]
    origin: str


class TemplateDetail(TemplateItem, frozen=True, kw_only=True):
    """A template with its text: `<<name>>` stands for a parameter."""

    text: str


class TemplateList(msgspec.Struct, frozen=True, kw_only=True):
    """Templates: the built-in ones, then the workspace's, by id."""

    templates: list[TemplateItem]


FLOW_ANSWERS: Final[tuple[type[msgspec.Struct], ...]] = (
    FlowItem, FlowDetail, FlowList, FlowDraft, FlowGraph, FlowVersionItem, FlowVersionDetail, FlowVersionList, TagList,
    Favourites, FlowDiff, DryRun, FlowTests, SavedStepItem, SavedStepList, ImportReport, ExportReport, FlowCallers,
    CategoryList, TagRenamed, TemplateItem, TemplateDetail, TemplateList,
)  # fmt: skip


def flow_item(found: Shown, favourites: frozenset[str] = frozenset()) -> FlowItem:
    """A flow in a list."""
    if isinstance(found, LibraryFlow):
        return _folder_item(found, is_favourite=found.id in favourites)
    return FlowItem(
        id=found.id, name=found.name, description=found.description, file=None, inputs=found.inputs, steps=found.steps,
        problems=[flow_problem(problem) for problem in found.problems], origin=STORED, state=found.state,
        category=found.category, tags=list(found.tags), revision=found.revision, version=found.published,
        latest_version=found.latest, is_changed=found.is_changed, is_favourite=found.id in favourites,
        created_at=rfc3339(found.created_at), created_by=found.created_by, updated_at=rfc3339(found.updated_at),
        updated_by=found.updated_by,
    )  # fmt: skip


def _folder_item(found: LibraryFlow, *, is_favourite: bool) -> FlowItem:
    flow = found.flow
    return FlowItem(
        id=found.id, name=name_of(found), description=None if flow is None else flow.description, file=found.file,
        inputs={} if flow is None else flow.inputs, steps=found.step_count,
        problems=[flow_problem(problem) for problem in found.problems], origin=FOLDER,
        category=None if flow is None else flow.category, tags=[] if flow is None else list(flow.tags),
        version=None if flow is None else flow.version, is_favourite=is_favourite,
        updated_at=rfc3339(found.changed_at),
    )  # fmt: skip


def flow_detail(item: FlowItem, source: str, form: str | None) -> FlowDetail:
    """An item with its text."""
    return FlowDetail(source=source, form=form, **{name: getattr(item, name) for name in FlowItem.__struct_fields__})


def flow_draft(draft: Draft) -> FlowDraft:
    """A draft."""
    return FlowDraft(
        id=draft.id, revision=draft.revision, text=draft.text, form=draft.form,
        problems=[flow_problem(problem) for problem in draft.problems], updated_at=rfc3339(draft.updated_at) or "",
        updated_by=draft.updated_by,
    )  # fmt: skip


def version_item(found: VersionInfo) -> FlowVersionItem:
    """A version in a list."""
    return FlowVersionItem(
        number=found.number, digest=found.digest, message=found.message, created_at=rfc3339(found.created_at) or "",
        created_by=found.created_by, is_published=found.is_published, published_at=rfc3339(found.published_at),
        published_by=found.published_by,
    )  # fmt: skip


def saved_step_item(found: SavedStep) -> SavedStepItem:
    """A saved step."""
    return SavedStepItem(
        name=found.name, description=found.description, body=found.body, revision=found.revision,
        updated_at=rfc3339(found.updated_at) or "", updated_by=found.updated_by,
    )  # fmt: skip


def flow_tests(results: FlowTestResults, problems: list[Problem]) -> FlowTests:
    """How tests ended."""
    return FlowTests(
        ok=results.passed, tests=len(results.tests), passed=sum(one.passed for one in results.tests),
        skipped=sum(one.skipped is not None for one in results.tests), results=results,
        problems=[flow_problem(problem) for problem in problems],
    )  # fmt: skip


def import_report(report: ApplyReport) -> ImportReport:
    """A report on files."""
    files = [
        ImportedFile(
            file=one.file, flow=one.flow, outcome=one.outcome, version=one.version, message=one.message, diff=one.diff,
            problems=[flow_problem(problem) for problem in one.problems], masked=one.masked,
        )
        for one in report.files
    ]  # fmt: skip
    missing = [MissingSource(source=one.source, flows=one.flows) for one in report.missing]
    return ImportReport(ok=report.ok, applied=report.applied, files=files, missing=missing)
