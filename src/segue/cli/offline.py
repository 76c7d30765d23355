"""A flow as `segue plan` and `segue test` need it: checked and bound like for a run, with the tree of its text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from segue.cli.actions import load_actions, sources_of
from segue.cli.flow_file import folder_of, read_bytes
from segue.engine.flow_tests import FlowTest
from segue.engine.port import ActionRegistry
from segue.errors import RequestError
from segue.flow import Document, Flow, FlowSpec, Problem

TEST_SUFFIXES: Final = (".test.yaml", ".test.yml", ".test.json")
FLOW_SUFFIXES: Final = (".yaml", ".yml", ".json")
_BEGINNING: Final = re.compile(rb"""^[\s{]{0,8}["']?(?:flow|steps|nodes|tasks|dag|definition)["']?\s*:""", re.MULTILINE)
"""What a flow says of itself, where a text cannot be read as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineFlow:
    """`flow` is None if the text cannot be used; `problems` say why, and warn of what a real run would refuse."""

    name: str
    text: str
    flow: Flow | None
    document: Document | None
    problems: tuple[Problem, ...]
    actions: ActionRegistry


@dataclass(frozen=True, slots=True)
class TestsText:
    """A text with tests, and what is wrong with them."""

    __test__ = False

    file: str
    text: str
    problems: list[Problem]


def load_offline(file: str, actions: Sequence[str] | None) -> OfflineFlow:
    """Read, check and bind a flow's file. No action is called, nothing is opened. Raises RequestError if it is missing.

    What only a real run refuses (a name or adapter that nothing is known by, a verb that the engine cannot run yet) is
    a warning here.
    """
    import msgspec

    from segue.bootstrap import build_host
    from segue.flow import check_flow, codes, read_flow
    from segue.flow.bind import bind_flow
    from segue.net.egress import EgressPolicy

    content = read_bytes(file, "flow")
    name = "stdin" if file == "-" else file
    sources, _ = sources_of(actions, folder_of(file))
    functions = [action for source in sources for action in load_actions(source, lambda: None)]
    # A host that is never opened: only what it knows of actions is asked.
    folder = folder_of(file)
    host = build_host(
        "memory:", egress=EgressPolicy.local(), actions=functions, folders=[] if folder is None else [folder]
    )
    result = read_flow(content, file=name)
    problems, flow = list(result.problems), result.flow
    if flow is not None:
        found = check_flow(flow, host.catalogue, runnable=True, document=result.document)
        lenient = (codes.UNBOUND, codes.UNKNOWN_ADAPTER, codes.CANNOT_RUN)
        problems += [
            msgspec.structs.replace(one, severity="warning", message=f"{one.message}; a real run is refused")
            if one.code in lenient and one.severity == "error"
            else one
            for one in found
        ]
    usable = flow is not None and not any(one.severity == "error" for one in problems)
    return OfflineFlow(
        name=name,
        text=content.decode("utf-8", "replace"),
        flow=bind_flow(flow, host.catalogue) if usable and flow is not None else None,
        document=result.document,
        problems=tuple(problems),
        actions=host.actions,
    )


SKIPPED_FOLDERS: Final = frozenset(("node_modules", "__pycache__"))


def flows_and_tests(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """The flows that are meant, in order, each with its files of tests. Folders are searched, hidden ones are not.

    Raises RequestError for what is not there.
    """
    found: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                parts = inner.relative_to(path).parts
                hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in parts)
                if not hidden and inner.suffix in FLOW_SUFFIXES and inner.is_file():
                    _add(found, inner, is_sure=False)
        elif path.is_file():
            _add(found, path, is_sure=True)
        else:
            raise RequestError(f"there is no file or folder {path}")
    return found


def _add(found: dict[Path, list[Path]], path: Path, *, is_sure: bool) -> None:
    if is_test_file(path):
        tests = found.setdefault(flow_of(path), [])
        if path not in tests:
            tests.append(path)
    elif is_sure or _is_flow(path):
        tests = found.setdefault(path, [])
        near = beside(path)
        if near is not None and near not in tests:
            tests.append(near)


def _is_flow(path: Path) -> bool:
    from segue.flow.read import form_of
    from segue.flow.yaml_source import read_source

    content = path.read_bytes()
    document, problems = read_source(content, file=str(path))
    if document is None:
        # Left out, a flow with a slip of the pen would be taken for one that is gone.
        return bool(problems) and _BEGINNING.search(content) is not None
    return form_of(document.root) is not None


class Readable(Protocol):
    """A flow's file as far as its tests need it."""

    @property
    def name(self) -> str:
        """As named on the command line."""
        ...

    @property
    def text(self) -> str:
        """Its content."""
        ...

    @property
    def flow(self) -> Flow | None:
        """None if it could not be read."""
        ...

    @property
    def document(self) -> Document | None:
        """The tree of the text."""
        ...


def read_all_tests(found: Readable, files: Iterable[Path]) -> tuple[list[FlowTest], list[TestsText]]:
    """The tests in the flow's own text, then those of the files; and what is wrong in each text."""
    from segue.engine.flow_tests import file_problems, read_tests, repeated
    from segue.flow.yaml_source import read_source

    assert found.flow is not None
    tests: list[FlowTest] = []
    texts: list[TestsText] = []
    if found.document is not None and found.document.root.get("tests") is not None:
        tests, problems = read_tests(found.flow, found.document)
        texts.append(TestsText(found.name, found.text, problems))
    for file in files:
        content = file.read_bytes()
        document, problems = read_source(content, file=str(file))
        if document is not None:
            more, wrong = read_tests(found.flow, document)
            problems = [*problems, *file_problems(document), *wrong, *repeated(tests, more, str(file))]
            tests = [*tests, *more]
        texts.append(TestsText(str(file), content.decode("utf-8", "replace"), problems))
    return tests, texts


MAX_FLOWS_BESIDE: Final = 500
"""Files of a folder that are looked at in search of flows by their names."""


def flows_beside(folder: Path) -> list[FlowSpec]:
    """The flows whose files lie in a folder, as another flow there may name them. What is no flow is left out."""
    from segue.flow import read_flow
    from segue.flow.read import form_of

    found: list[FlowSpec] = []
    paths = (path for path in sorted(folder.iterdir()) if path.suffix in FLOW_SUFFIXES and not is_test_file(path))
    for path in islice((path for path in paths if path.is_file()), MAX_FLOWS_BESIDE):
        result = read_flow(path.read_bytes(), file=path.name)
        if result.flow is not None and result.document is not None and form_of(result.document.root) is not None:
            found.append(FlowSpec(name=result.flow.id, inputs=result.flow.inputs, file=str(path)))
    return found


def is_test_file(path: Path) -> bool:
    """Whether it is called like a file of tests: `order.test.yaml`."""
    return path.name.endswith(TEST_SUFFIXES)


def beside(flow_file: Path) -> Path | None:
    """The file of tests beside a flow's file: `order.test.yaml` beside `order.yaml`."""
    places = (flow_file.with_name(flow_file.stem + suffix) for suffix in TEST_SUFFIXES)
    return next((place for place in places if place.is_file()), None)


def flow_of(test_file: Path) -> Path:
    """The flow that a file of tests is for: the one it names, else the one it is called like. Raises RequestError."""
    from segue.flow.yaml_source import read_source

    document, _ = read_source(test_file.read_bytes(), file=str(test_file))
    node = None if document is None else document.root.get("flow")
    if node is not None and node.text is not None:
        place = Path(os.path.normpath(test_file.parent / node.text))
        if place.is_file():
            return place
        raise RequestError(f"{test_file}: there is no flow {place}")
    stem = next(test_file.name.removesuffix(end) for end in TEST_SUFFIXES if test_file.name.endswith(end))
    places = [test_file.with_name(stem + suffix) for suffix in FLOW_SUFFIXES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RequestError(f"{test_file}: there is no flow {stem}.yaml beside it; name it with `flow: FILE`")
    return found
