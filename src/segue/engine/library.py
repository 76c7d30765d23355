"""The flows that a server offers: files of some folders, read again when they change.

A file that cannot be used is listed with its problems, so that nobody wonders where it went. JSON and YAML files that
are no flows at all are left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from segue.engine.flow_source import FoundFlow
from segue.engine.ids import WORKSPACE
from segue.errors import InvalidFlowError, NotFoundError
from segue.flow import Catalogue, Document, Flow, Problem, bind_flow, check_flow, codes, read_flow, walk
from segue.flow.catalogue import FlowSpec
from segue.flow.yaml_source import read_source

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
MAX_FILES: Final = 1_000
MAX_FILE_BYTES: Final = 1024 * 1024
_MARKS: Final = frozenset({"flow", "steps", "nodes", "tasks", "dag", "definition", "graph"})


class LibraryFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `flow` is what could be read of it, its names bound if it has no errors."""

    id: str
    file: str
    path: Path
    source: str
    digest: bytes
    flow: Flow | None
    problems: tuple[Problem, ...]
    changed_at: int = 0
    """When the file was written (ms since the epoch)."""

    @property
    def runnable(self) -> bool:
        """Whether it has no errors; warnings do not matter."""
        return self.flow is not None and all(problem.severity != "error" for problem in self.problems)

    @property
    def step_count(self) -> int:
        """Steps of the flow, blocks within blocks included."""
        return 0 if self.flow is None else len(walk(self.flow.root))

    def checked(self) -> Flow:
        """The flow, ready to run. Raises InvalidFlowError."""
        if self.flow is None or not self.runnable:
            raise InvalidFlowError(f"{self.file} has errors; it cannot run", self.problems)
        return self.flow


_Stamp = tuple[int, int]


class FlowLibrary:
    """Flows by id over some folders (their own files, not those of folders within). May be asked from any thread."""

    def __init__(self, folders: Sequence[Path], catalogue: Catalogue) -> None:
        self.folders = tuple(folders)
        self._catalogue = catalogue
        # Checking a flow asks the catalogue, which may ask this library for the flows that it knows.
        self._lock = threading.RLock()
        self._read: dict[Path, tuple[_Stamp, LibraryFlow | None]] = {}
        self._specs: dict[Path, tuple[_Stamp, FlowSpec | None]] = {}
        self._by_id: dict[str, LibraryFlow] = {}

    def add_folder(self, folder: Path) -> None:
        """Look in this folder, too, after the others."""
        with self._lock:
            if folder not in self.folders:
                self.folders = (*self.folders, folder)

    def forget(self, name: str) -> None:
        """Check the files in which this name stands anew when they are asked for: what it means has changed."""
        with self._lock:
            self._read = {
                path: known for path, known in self._read.items() if known[1] is None or name not in known[1].source
            }

    async def find(self, flow_id: str, version: str | None = None, *, workspace: str) -> FoundFlow | None:
        """See `FlowSource.find`. Files belong to the workspace that is there from the start."""
        if workspace != WORKSPACE or not self.folders:
            return None
        return await asyncio.to_thread(self._find, flow_id, version)

    def _find(self, flow_id: str, version: str | None) -> FoundFlow | None:
        with self._lock:
            if not self.folders:
                return None
            try:
                found = self.get(flow_id)
            except NotFoundError:
                return None
            if found.flow is not None and found.flow.id != flow_id:
                return None  # it is called like a file
            flow = found.checked()
            return FoundFlow(flow, found.source) if version in (None, flow.version) else None

    def spec(self, flow_id: str) -> FlowSpec | None:
        """See `segue.engine.flow_source.FlowSource.spec`. The files are read, not checked."""
        with self._lock:
            specs = (self._spec_of(path) for path in self._paths())
            return next((spec for spec in specs if spec is not None and spec.name == flow_id), None)

    def _spec_of(self, path: Path) -> FlowSpec | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._specs.get(path)
            if known is None or known[0] != stamp:
                raw = path.read_bytes() if status.st_size <= MAX_FILE_BYTES else b""
                known = self._specs[path] = (stamp, _spec_in(raw, path))
        except OSError:
            return None
        return known[1]

    def all(self) -> list[LibraryFlow]:
        """Every flow as its file stands now, in the order of folders and file names; at most 1,000 files."""
        with self._lock:
            return self._scan()

    def get(self, id: str) -> LibraryFlow:
        """The flow of an id or file name, as its file stands now. Raises NotFoundError."""
        with self._lock:
            known = self._by_id.get(id)
            if known is not None:
                current = self._current(known.path)
                if current is not None and id in (current.id, current.file):
                    return current
            self._scan()
            found = self._by_id.get(id)
        if found is None:
            places = ", ".join(str(folder) for folder in self.folders) or "no folder is served"
            raise NotFoundError(f"no flow {id!r} is in the library ({places})")
        return found

    def _scan(self) -> list[LibraryFlow]:
        flows: list[LibraryFlow] = []
        by_id: dict[str, LibraryFlow] = {}
        paths = self._paths()
        for path in paths:
            found = self._current(path)
            if found is None:
                continue
            if found.id in by_id:
                # Both are shown; the second is known by its file's name.
                found = msgspec.structs.replace(found, id=found.file)
            flows.append(found)
            by_id[found.id] = found
        for found in flows:
            by_id.setdefault(found.file, found)
        self._by_id = by_id
        self._read = {path: self._read[path] for path in paths if path in self._read}
        return flows

    def _paths(self) -> list[Path]:
        paths: list[Path] = []
        for folder in self.folders:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(
                        entry.name
                        for entry in entries
                        if not entry.name.startswith(".")
                        and os.path.splitext(entry.name)[1].lower() in SUFFIXES
                        and entry.is_file()
                    )
            except OSError:
                continue
            paths += [folder / name for name in names]
        return paths[:MAX_FILES]

    def _current(self, path: Path) -> LibraryFlow | None:
        """The file as it stands, read again only if it was changed; None if it is gone or no flow."""
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._read.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        found = self._load(path, status.st_size)
        if found is not None:
            found = msgspec.structs.replace(found, changed_at=status.st_mtime_ns // 1_000_000)
        self._read[path] = (stamp, found)
        return found

    def _load(self, path: Path, size: int) -> LibraryFlow | None:
        if size > MAX_FILE_BYTES:
            return _unreadable(path, f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read", is_large=True)
        try:
            raw = path.read_bytes()
        except OSError as error:
            return _unreadable(path, f"the file cannot be read: {error.strerror}")
        result = read_flow(raw, file=path.name)
        if not _looks_like_flow(result.document):
            return None
        flow = result.flow
        problems = [*result.problems]
        if flow is not None:
            problems += check_flow(flow, self._catalogue, runnable=True, document=result.document)
            if all(problem.severity != "error" for problem in problems):
                flow = bind_flow(flow, self._catalogue)
        return LibraryFlow(
            id=path.stem if flow is None else flow.id, file=path.name, path=path,
            source=raw.decode("utf-8", "replace"), digest=hashlib.sha256(raw).digest(), flow=flow,
            problems=tuple(problems),
        )  # fmt: skip


def _spec_in(raw: bytes, path: Path) -> FlowSpec | None:
    document, _ = read_source(raw, file=path.name)
    if document is None or not _looks_like_flow(document):
        return None
    flow = read_flow(raw, file=path.name).flow
    return None if flow is None else FlowSpec(name=flow.id, inputs=flow.inputs, file=str(path))


def _looks_like_flow(document: Document | None) -> bool:
    """A file that cannot even be parsed may be a flow; one that says nothing of steps is something else."""
    if document is None:
        return True
    entries = document.root.entries
    return entries is not None and not _MARKS.isdisjoint(entries)


def _unreadable(path: Path, message: str, *, is_large: bool = False) -> LibraryFlow:
    problem = Problem(code=codes.TOO_LARGE if is_large else codes.SYNTAX, message=message, file=path.name)
    return LibraryFlow(
        id=path.stem, file=path.name, path=path, source="", digest=b"", flow=None, problems=(problem,)
    )  # fmt: skip
