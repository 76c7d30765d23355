"""`segue check` and `segue fix`: what is wrong with a flow, and mending what can be mended without a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption
from segue.errors import RequestError

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The flow's YAML or JSON file; `-` is stdin.")]


def check(
    file: FileArgument,
    actions: ActionsOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Check a flow without running it: every mistake with its place and what helps.

    Exit code 1 if one of them is an error.
    """
    from segue.cli.output import console, print_json
    from segue.cli.problems import print_problems, summary

    found = _loaded(file, actions)
    if json:
        flow = found.flow
        print_json(
            {
                "file": found.name,
                "flow": None if flow is None else flow.id,
                "ok": found.is_usable,
                "problems": [_as_shown(problem) for problem in found.problems],
            }
        )
        return SUCCEEDED if found.is_usable else FAILED
    out = console()
    print_problems(out, found.problems, found.text, found.name)
    counted = summary(found.problems)
    if found.is_usable and found.flow is not None:
        from segue.flow import walk

        steps = len(walk(found.flow.root))
        out.print(
            f"{found.name}: {found.flow.id} is fine, {steps} step{'s' * (steps != 1)}"
            + (f"; {counted}" * bool(counted))
        )
        return SUCCEEDED
    out.print(f"{found.name}: {counted}")
    return FAILED


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


def _loaded(file: str, actions: list[str] | None, *, content: bytes | None = None) -> Any:
    from segue.bootstrap import build_host
    from segue.cli.actions import load_actions, sources_of
    from segue.cli.flow_file import folder_of, load
    from segue.net.egress import EgressPolicy

    sources, beside = sources_of(actions, folder_of(file))
    if beside is not None and content is None:
        notice(f"using the actions of {beside}")
    # A host that is never opened: only what it knows of actions is asked.
    functions = [action for source in sources for action in load_actions(source, lambda: None)]
    catalogue = build_host("memory:", egress=EgressPolicy.local(), actions=functions).catalogue
    return load(file, catalogue, runnable=False, content=content)


def _as_shown(problem: Any) -> dict[str, Any]:
    import msgspec

    shown: dict[str, Any] = {"severity": problem.severity, **msgspec.to_builtins(problem)}
    span = shown.pop("span", None)
    if span is not None:
        shown["line"], shown["column"] = problem.span.line, problem.span.column
    return shown
