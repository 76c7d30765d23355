"""`segue check` and `segue fix`: what is wrong with a flow, and mending what can be mended without a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption
from segue.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console

    from segue.cli.flow_file import FlowFile
    from segue.cli.offline import TestsText
    from segue.flow import Problem

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE|FOLDER...", help="Flows as YAML or JSON files, or folders; `-` is stdin.")
]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The flow's YAML or JSON file; `-` is stdin.")]


def check(
    files: FilesArgument,
    actions: ActionsOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Check flows without running them: every mistake with its place and what helps, those of their tests included.

    A folder stands for the flows in it. Exit code 1 if one of the mistakes is an error.
    """
    from segue.cli.output import console, print_json

    checked = [_checked(file, tests, actions) for file, tests in _meant(files).items()]
    is_ok = all(one.is_usable for one in checked)
    if json:
        shown = [one.as_map() for one in checked]
        print_json(shown[0] if len(files) == 1 and len(shown) == 1 else {"ok": is_ok, "files": shown})
    else:
        for one in checked:
            one.print(console())
    return SUCCEEDED if is_ok else FAILED


@dataclass(frozen=True, slots=True)
class Checked:
    """One flow's file, and the files of its tests with what is wrong in them."""

    found: FlowFile
    tests: list[TestsText]

    @property
    def problems(self) -> list[Problem]:
        """All of them; those of the flow's own file first."""
        return [*self.found.problems, *(problem for text in self.tests for problem in text.problems)]

    @property
    def is_usable(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return self.found.flow is not None and not any(problem.severity == "error" for problem in self.problems)

    def as_map(self) -> dict[str, Any]:
        """The answer for programs."""
        flow = self.found.flow
        return {
            "file": self.found.name,
            "flow": None if flow is None else flow.id,
            "ok": self.is_usable,
            "problems": [_as_shown(problem) for problem in self.problems],
        }

    def print(self, out: Console) -> None:
        """The answer for people."""
        from segue.cli.problems import print_problems, summary
        from segue.flow import walk

        print_problems(out, self.found.problems, self.found.text, self.found.name)
        for text in self.tests:
            print_problems(out, text.problems, text.text, text.file)
        counted, flow = summary(self.problems), self.found.flow
        if not self.is_usable or flow is None:
            out.print(f"{self.found.name}: {counted}")
            return
        steps = len(walk(flow.root))
        said = f"{self.found.name}: {flow.id} is fine, {steps} step{'s' * (steps != 1)}"
        out.print(said + f"; {counted}" * bool(counted))


def _meant(files: list[str]) -> dict[str, list[Path]]:
    """The flows to check, each with its files of tests. Raises RequestError for what is not there."""
    from segue.cli.offline import flows_and_tests

    meant: dict[str, list[Path]] = {}
    for file in files:
        if file == "-":
            meant.setdefault(file, [])
            continue
        for path, tests in flows_and_tests([Path(file)]).items():
            known = meant.setdefault(str(path) if Path(file) != path else file, [])
            known += [test for test in tests if test not in known]
    if not meant:
        raise RequestError(f"there is no flow in {', '.join(files)}")
    return meant


def _checked(file: str, tests: list[Path], actions: list[str] | None) -> Checked:
    from segue.cli.offline import read_all_tests

    found = _loaded(file, actions)
    if found.flow is None or not tests:
        return Checked(found, [])
    _, texts = read_all_tests(found, tests)
    return Checked(found, [text for text in texts if text.file != found.name])


def fix(
    file: FileArgument,
    write: Annotated[
        bool, typer.Option("--write", "-w", help="Change the file; else the change is only shown.")
    ] = False,
    actions: ActionsOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Mend what has one right answer: shows the change as a diff, and makes it with --write.

    Exit code 1 if errors stay.
    """
    from segue.cli.output import console, print_json

    text, mended, applied, left = _mend(file, actions)
    changed = mended != text
    if write and changed:
        if file == "-":
            raise RequestError("stdin cannot be changed; leave --write out and take the text from --json")
        _replace(Path(file), mended)
    failing = [problem for problem in left if problem.severity == "error"]
    if json:
        value: dict[str, Any] = {"file": file, "changed": changed, "written": write and changed, "fixed": applied}
        value |= {"text": mended, "problems": [_as_shown(problem) for problem in left]}
        print_json(value)
    else:
        from segue.cli.problems import print_problems, summary

        out = console()
        if changed and not write:
            _print_diff(text, mended, file)
        print_problems(out, left, mended, file)
        done = "written" if write else "to be written with --write"
        mends = f"{applied} mended ({done})" if changed else "nothing to mend"
        out.print(f"{file}: {mends}" + (f"; left: {summary(left)}" if left else ""))
    return FAILED if failing else SUCCEEDED


_ROUNDS = 10
"""A mended mistake may have hidden another one."""


def _mend(file: str, actions: list[str] | None) -> tuple[str, str, int, list[Any]]:
    from segue.flow.fix import apply_patches

    found = _loaded(file, actions)
    text = mended = found.text
    applied = 0
    for _ in range(_ROUNDS):
        patches = {problem.patch for problem in found.problems if problem.patch is not None}
        after = apply_patches(mended, found.problems)
        if after == mended:
            break
        applied += len(patches)
        mended = after
        found = _loaded(file, actions, content=mended.encode())
    return text, mended, applied, list(found.problems)


def _replace(path: Path, text: str) -> None:
    """Write beside and rename, so that the file is never half written."""
    import os

    beside = path.with_name(f".{path.name}.segue-fix")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        os.chmod(beside, path.stat().st_mode & 0o777)
        beside.replace(path.resolve())
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RequestError(f"{path} cannot be written: {error.strerror}") from error


def _print_diff(before: str, after: str, file: str) -> None:
    import difflib

    from rich.text import Text

    from segue.cli.output import console

    out = console()
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), file, file, lineterm=""):
        out.print(Text(line, styles.get(line[:1], "")))


def _loaded(file: str, actions: list[str] | None, *, content: bytes | None = None) -> FlowFile:
    """The flow of a file with everything that is wrong in it, its section of tests included."""
    from dataclasses import replace

    from segue.bootstrap import build_host
    from segue.cli.actions import load_actions, sources_of
    from segue.cli.flow_file import folder_of, load
    from segue.cli.offline import flows_beside
    from segue.engine.flow_tests import read_tests
    from segue.net.egress import EgressPolicy

    folder = folder_of(file)
    sources, beside = sources_of(actions, folder)
    if beside is not None and content is None:
        notice(f"using the actions of {beside}")
    # A host that is never opened: only what it knows of actions is asked.
    functions = [action for source in sources for action in load_actions(source, lambda: None)]
    catalogue = build_host("memory:", egress=EgressPolicy.local(), actions=functions).catalogue
    if folder is not None:
        catalogue = catalogue.with_flows(lambda: flows_beside(folder))
    found = load(file, catalogue, runnable=False, content=content)
    if found.flow is None or found.document is None or found.document.root.get("tests") is None:
        return found
    return replace(found, problems=(*found.problems, *read_tests(found.flow, found.document)[1]))


def _as_shown(problem: Any) -> dict[str, Any]:
    import msgspec

    shown: dict[str, Any] = {"severity": problem.severity, **msgspec.to_builtins(problem)}
    span = shown.pop("span", None)
    if span is not None:
        shown["line"], shown["column"] = problem.span.line, problem.span.column
    return shown
