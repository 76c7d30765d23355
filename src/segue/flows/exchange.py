"""Flows in: many files at once, checked as a whole, with a report of each and of what they need.

Applying says of every file what it would change, and changes nothing at all if one of them cannot be used. What was
applied is done again harmlessly, so that whoever was cut off applies the same files once more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast

import msgspec

from segue.errors import ConflictError, InvalidInputError
from segue.flow import Problem, read_flow
from segue.flow.catalogue import FlowSpec
from segue.flow.document import Node
from segue.flow.model import JsonValue
from segue.flows.differences import text_diff
from segue.flows.holdings import Holdings
from segue.flows.names import id_of, refuse_bad_id
from segue.flows.reading import ReadText, names_in
from segue.flows.records import Author, FlowInfo
from segue.flows.service import StoredFlows
from segue.observe.masking import MASK

FILES_MAX: Final = 2_000
ARCHIVE_BYTES_MAX: Final = 50 * 1024 * 1024
"""Of all files of an archive, unpacked."""
_SUFFIXES: Final = (".yaml", ".yml", ".json")

Outcome = Literal["new", "changed", "unchanged", "removed", "invalid"]


class FlowFile(NamedTuple):
    """A flow's file as it is sent: a name for messages, and its text."""

    name: str
    text: str


class FileOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a file does, or did. `diff`: from the draft that is stored to the file, as text."""

    file: str
    flow: str | None
    outcome: Outcome
    version: str | None = None
    """The number of the version that was made or is there; null in a rehearsal, and for drafts."""
    message: str | None = None
    """Why it cannot be used."""
    diff: str = ""
    problems: list[Problem] = []
    masked: list[str] = []
    """Paths of values that an export replaced by `***`, and that nobody has put back."""


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or connection that flows name and that is not there: its source as written (`secret:stripe`)."""

    source: str
    flows: list[str]


class ApplyReport(msgspec.Struct, frozen=True, kw_only=True):
    """All files, in the order of their names, then what is removed. `ok`: every one of them can be used.

    `applied`: the changes were made; not in a rehearsal, and not if one file is invalid.
    """

    ok: bool
    applied: bool
    files: list[FileOutcome]
    missing: list[Missing] = []
    """What the flows need before they can run, and the workspace has not."""

    @property
    def has_changes(self) -> bool:
        """Whether anything is, or would be, other than before."""
        return any(one.outcome not in ("unchanged", "invalid") for one in self.files)


class _Read(NamedTuple):
    file: FlowFile
    id: str
    found: ReadText
    there: FlowInfo | None
    draft: str | None


class Exchange:
    """Imports of flows."""

    def __init__(self, flows: StoredFlows, holdings: Holdings) -> None:
        self._flows = flows
        self._holdings = holdings

    async def apply(
        self, workspace: str, files: Sequence[FlowFile], author: Author, *, dry_run: bool = False,
        publish: bool = True, prune: bool = False, message: str | None = None,
    ) -> ApplyReport:  # fmt: skip
        """Have the workspace's flows be these files: each a draft, and with `publish` the published version.

        Without `publish`, texts with errors are taken as drafts, too. `prune` deletes the stored flows that no file is
        of. Raises InvalidInputError for more than 2,000 files.
        """
        if len(files) > FILES_MAX:
            text = f"{len(files):,} files; at most {FILES_MAX:,} are taken at once"
            raise InvalidInputError(text, [("files", text)])
        outcomes: list[FileOutcome] = []
        read = await self._read(workspace, sorted(files), outcomes)
        outcomes += [await self._outcome(workspace, one, publish=publish) for one in read]
        ids = {one.id for one in read}
        gone = [one for one in await self._flows.all(workspace) if one.id not in ids] if prune else []
        outcomes.sort(key=lambda one: one.file)
        outcomes += [FileOutcome(file="", flow=info.id, outcome="removed") for info in gone]
        ok = all(one.outcome != "invalid" for one in outcomes)
        missing = await self._missing(workspace, read)
        if dry_run or not ok:
            return ApplyReport(ok=ok, applied=False, files=outcomes, missing=missing)
        made = {one.id: one for one in read}
        numbers = await self._keep(workspace, made, author, publish=publish, message=message)
        for info in gone:
            await self._flows.delete(workspace, info.id, author)
        refused = {id: error for id, error in numbers.items() if isinstance(error, ConflictError)}
        outcomes = [self._done(one, numbers) for one in outcomes]
        return ApplyReport(ok=not refused, applied=True, files=outcomes, missing=missing)

    async def _read(self, workspace: str, files: list[FlowFile], outcomes: list[FileOutcome]) -> list[_Read]:
        """The files that are flows of their own; the others are among the outcomes."""
        named: dict[str, FlowFile] = {}
        for file in files:
            try:
                id = id_of_file(file)
            except InvalidInputError as error:
                outcomes.append(FileOutcome(file=file.name, flow=None, outcome="invalid", message=error.message))
                continue
            if id in named:
                message = f"{named[id].name} is of the flow {id!r}, too"
                outcomes.append(FileOutcome(file=file.name, flow=id, outcome="invalid", message=message))
            else:
                named[id] = file
        specs = {id: FlowSpec(name=id, inputs=_inputs(file)) for id, file in named.items()}
        found: list[_Read] = []
        for id, file in named.items():
            there = await self._flows.find(workspace, id)
            draft = None if there is None else await self._flows.draft_text(workspace, id)
            found.append(_Read(file, id, await self._flows.check(workspace, id, file.text, known=specs), there, draft))
        return found

    async def _outcome(self, workspace: str, one: _Read, *, publish: bool) -> FileOutcome:
        there, draft = one.there, one.draft
        problems = list(one.found.problems)
        if publish and not one.found.is_runnable:
            first = next(problem for problem in problems if problem.severity == "error")
            return FileOutcome(
                file=one.file.name, flow=one.id, outcome="invalid", message=str(first), problems=problems
            )
        conflict = await self._flows.conflict_of(workspace, one.found) if publish else None
        if conflict is not None:
            return FileOutcome(file=one.file.name, flow=one.id, outcome="invalid", message=conflict, problems=problems)
        diff = text_diff(draft or "", one.file.text, (f"{one.id} (stored)", one.file.name))
        is_same = draft == one.file.text and there is not None and there.state == "live"
        if is_same and publish and there is not None:
            is_same = there.published is not None and not there.is_changed
        outcome: Outcome = "new" if there is None else "unchanged" if is_same else "changed"
        document = one.found.read.document
        return FileOutcome(
            file=one.file.name, flow=one.id, outcome=outcome, diff=diff, problems=problems,
            masked=[] if document is None else list(_masked(document.root)),
        )  # fmt: skip

    async def _missing(self, workspace: str, read: Sequence[_Read]) -> list[Missing]:
        named: dict[str, list[str]] = {}
        for one in read:
            for source in sources_in(one.found):
                named.setdefault(source, []).append(one.id)
        gone = await self._holdings.missing(workspace, list(named))
        return [Missing(source=source, flows=sorted(named[source])) for source in sorted(gone)]

    async def _keep(
        self, workspace: str, made: Mapping[str, _Read], author: Author, *, publish: bool, message: str | None
    ) -> dict[str, str | ConflictError]:
        """Store every file, those that others run first; the versions' numbers, or why there is none."""
        numbers: dict[str, str | ConflictError] = {}
        specs = {id: FlowSpec(name=id, inputs=_inputs(one.file)) for id, one in made.items()}
        for id in _in_order(made):
            one = made[id]
            if one.there is None:
                await self._flows.create(workspace, one.file.text, author, id=id)
            else:
                if one.there.state == "archived":
                    await self._flows.restore(workspace, id, author)
                await self._flows.put_draft(workspace, id, one.file.text, author, expected=None)
            if publish:
                try:
                    kept = await self._flows.save(workspace, id, author, message=message, publish=True, known=specs)
                except ConflictError as error:
                    numbers[id] = error
                else:
                    numbers[id] = kept.number
        return numbers

    @staticmethod
    def _done(one: FileOutcome, numbers: Mapping[str, str | ConflictError]) -> FileOutcome:
        number = numbers.get(one.flow or "")
        if isinstance(number, ConflictError):
            return msgspec.structs.replace(one, outcome="invalid", message=number.message)
        return one if number is None else msgspec.structs.replace(one, version=number)


def id_of_file(file: FlowFile) -> str:
    """What a file calls its flow, else its stem. Raises InvalidInputError for what no flow can be called."""
    try:
        return id_of(file.text)
    except InvalidInputError:
        stem = file.name.replace("\\", "/").rpartition("/")[2]
        for suffix in _SUFFIXES:
            stem = stem.removesuffix(suffix)
        refuse_bad_id(stem)
        return stem


def files_of_archive(data: bytes) -> list[FlowFile]:
    """The YAML and JSON files of a zip archive. Raises InvalidInputError for what is none, or too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [
                entry for entry in archive.infolist() if not entry.is_dir() and entry.filename.endswith(_SUFFIXES)
            ]
            if len(entries) > FILES_MAX or sum(entry.file_size for entry in entries) > ARCHIVE_BYTES_MAX:
                message = f"an archive has at most {FILES_MAX:,} files, and {ARCHIVE_BYTES_MAX:,} bytes when unpacked"
                raise InvalidInputError(message, [("", message)])
            return [FlowFile(entry.filename, _unpacked(archive, entry)) for entry in entries]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeDecodeError) as error:
        message = f"the archive cannot be read: {error}"
        raise InvalidInputError(message, [("", message)]) from error


def archive_of(files: Sequence[FlowFile]) -> bytes:
    """The files as an archive that `files_of_archive` reads: a folder of texts takes a tenth of its size."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = file.name if file.name.endswith(_SUFFIXES) else f"{file.name}.yaml"
            archive.writestr(zipfile.ZipInfo(name), file.text.encode("utf-8"), zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    with archive.open(entry) as file:
        # What an entry says of its size need not be true.
        data = file.read(entry.file_size + 1)
    if len(data) > entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} is longer than it says")
    return data.decode("utf-8")


def sources_in(found: ReadText) -> list[str]:
    """Where a flow says that its secrets are: `secret:NAME`, `connection:NAME.field`, …"""
    declared = {} if found.flow is None else found.flow.secrets
    sources = [
        str(cast("dict[str, object]", one).get("from") if isinstance(one, dict) else one) for one in declared.values()
    ]
    return list(dict.fromkeys(sources))


def _masked(node: Node) -> Iterator[str]:
    """Paths of values that hold what exports put in the place of secrets."""
    for child in node.items if node.items is not None else (node.entries or {}).values():
        yield from _masked(child)
    if node.text is not None and MASK in node.text:
        yield node.path()


def _inputs(file: FlowFile) -> dict[str, JsonValue]:
    flow = read_flow(file.text, file=file.name).flow
    return {} if flow is None else flow.inputs


def _in_order(made: Mapping[str, _Read]) -> list[str]:
    """Flows that others run before those; in a circle, any order."""
    done: dict[str, None] = {}

    def visit(id: str, above: frozenset[str]) -> None:
        if id in done or id in above or id not in made:
            return
        flow = made[id].found.flow
        for name in () if flow is None else names_in(flow):
            visit(name, above | {id})
        done[id] = None

    for id in made:
        visit(id, frozenset())
    return list(done)
