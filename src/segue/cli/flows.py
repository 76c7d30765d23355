"""Stored flows: `segue apply` and `segue diff` bring files into a database, `segue flows` looks at what is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.cli.database import database_url
from segue.cli.errors import FAILED, SUCCEEDED, USAGE, notice
from segue.cli.loop import run_async
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption, WorkspaceOption
from segue.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console

    from segue.flows.exchange import ApplyReport, FileOutcome, FlowFile

DIFF_LINES = 40
"""Lines of one flow's diff that are printed."""
_SIGNS = {"new": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red"), "unchanged": ("=", "dim")}

_Place = tuple[str | None, str]
"""Database and workspace, as they were given."""
PathsArgument = Annotated[
    list[Path], typer.Argument(metavar="DIR|FILE…", help="Flows, or folders of them; hidden folders are left out.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="Stored flows that no file is of are removed; they can be restored.")
]


def apply(
    paths: PathsArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change, as `segue diff`.")] = False,
    prune: PruneOption = False,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="What changed; kept with the versions.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove flows with --prune without asking.")] = False,
    actions: ActionsOption = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Store flows from files and publish them. All are checked first: if one cannot be used, nothing is changed.

    Goes through the host that runs the database, if there is one. At a terminal, --prune asks before it removes
    flows. Exit code: 0 the flows are as the files say, 2 a file
    cannot be used.
    """
    if prune and not (yes or dry_run or json) and sys.stdin.isatty():
        _ask_about(_report(paths, database, workspace, actions, dry_run=True, prune=True, message=None))
    report = _report(paths, database, workspace, actions, dry_run=dry_run, prune=prune, message=message)
    _tell(report, json=json, with_diffs=dry_run)
    return SUCCEEDED if report.ok else USAGE


def diff(
    paths: PathsArgument,
    prune: PruneOption = False,
    actions: ActionsOption = None,
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Show what `segue apply` would change: new, changed (with a diff) and, with --prune, removed flows.

    Exit code: 0 nothing would change, 1 something would, 2 a file cannot be used.
    """
    report = _report(paths, database, workspace, actions, dry_run=True, prune=prune, message=None)
    _tell(report, json=json, with_diffs=True)
    if not report.ok:
        return USAGE
    return FAILED if report.has_changes else SUCCEEDED


def flows(
    what: Annotated[str, typer.Argument(metavar="list|show|export", help="What to do.")] = "list",
    id: Annotated[str | None, typer.Argument(metavar="FLOW", help="For show and export: the flow's id.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", metavar="WORDS", help="list: only flows with these words.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="list: only flows with this tag. Repeatable.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="list: the flows that were put away.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="list: how many.")] = 50,
    version: Annotated[
        str | None, typer.Option("--version", metavar="NUMBER", help="export: this version, not the draft.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="export: yaml or json.")] = "yaml",
    workspace: WorkspaceOption = "default",
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """List stored flows, show one, or print one's text (export) without secrets."""
    if what == "list":
        return _list((database, workspace), query, tag or [], "archived" if archived else "live", limit, json=json)
    if what not in ("show", "export"):
        raise typer.BadParameter(f"{what!r} is none of list, show, export", param_hint="list|show|export")
    if id is None:
        raise typer.BadParameter("name the flow", param_hint="FLOW")
    if what == "show":
        return _show((database, workspace), id, json=json)
    if format not in ("yaml", "json"):
        raise typer.BadParameter("use yaml or json", param_hint="--format")
    return _export((database, workspace), id, version, "json" if format == "json" else "yaml")


# ---------------------------------------------------------------- apply and diff


def _report(
    paths: list[Path], database: str | None, workspace: str, actions: list[str] | None, *, dry_run: bool, prune: bool,
    message: str | None,
) -> ApplyReport:  # fmt: skip
    from segue.cli.actions import sources_of
    from segue.cli.flow_desk import database_or_nothing, flows_for_changing

    files = _files(paths)
    sources: list[str] = sources_of(actions, None)[0]
    for folder in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        beside = sources_of(sources, folder.absolute())[1]
        if beside is not None:
            sources.append(beside)
    url = database_url(database)

    async def work() -> ApplyReport:
        async with flows_for_changing(database_or_nothing(url) if dry_run else url, sources, workspace) as desk:
            return await desk.apply(files, dry_run=dry_run, prune=prune, message=message)

    return run_async(work())


def _ask_about(report: ApplyReport) -> None:
    """Raises RequestError if the person does not want to have flows removed."""
    gone = [one.flow or "" for one in report.files if one.outcome == "removed"]
    if not gone or not report.ok:
        return
    shown = ", ".join(gone[:10]) + (f" and {len(gone) - 10} more" if len(gone) > 10 else "")
    if not typer.confirm(f"Remove {shown}?", err=True):
        raise RequestError("nothing is changed; leave out --prune to keep those flows")


def _files(paths: list[Path]) -> list[FlowFile]:
    """The flows of files and folders, named as the person would find them. Raises RequestError."""
    from segue.cli.offline import flows_and_tests
    from segue.flows.exchange import FlowFile

    found: list[FlowFile] = []
    # A link beside the file that it leads to is that file, once.
    once = {path.resolve(): path for path in sorted(flows_and_tests(paths), key=lambda path: not path.is_symlink())}
    for path in sorted(once.values()):
        try:
            found.append(FlowFile(str(path), path.read_bytes().decode("utf-8")))
        except UnicodeDecodeError as error:
            raise RequestError(f"{path} is not UTF-8 text") from error
    if not found:
        raise RequestError(f"there is no flow in {', '.join(str(path) for path in paths)}")
    return found


def _tell(report: ApplyReport, *, json: bool, with_diffs: bool) -> None:
    from segue.cli.output import console, counted, print_json

    if json:
        files = [
            {
                "file": one.file or None, "flow": one.flow, "outcome": one.outcome, "version": one.version,
                "message": one.message, "diff": one.diff, "problems": [str(problem) for problem in one.problems],
                "masked": one.masked,
            }
            for one in report.files
        ]  # fmt: skip
        missing = [{"source": one.source, "flows": one.flows} for one in report.missing]
        print_json({"ok": report.ok, "applied": report.applied, "files": files, "missing": missing})
        return
    out = console()
    for one in report.files:
        _print_file(out, one, with_diff=with_diffs)
    for one in report.files:
        for path in one.masked:
            notice(f"{one.file}: {path} is ***, as exports write secrets; put a value or a reference there")
    for gone in report.missing:
        notice(f"{gone.source} is not there; it is named by {', '.join(gone.flows)}")
    counts = {name: sum(one.outcome == name for one in report.files) for name in (*_SIGNS, "invalid")}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    done = (
        "applied" if report.applied else "nothing is changed" if report.ok else "nothing is changed: mend these first"
    )
    out.print(f"{counted(len(report.files), 'flow')}: {told}; {done}")


def _print_file(out: Console, one: FileOutcome, *, with_diff: bool) -> None:
    from rich.text import Text

    if one.outcome == "invalid":
        out.print(Text(f"! {one.flow or ''}  {one.file}: {one.message}", "bold red"))
        for problem in one.problems:
            if problem.severity == "error" and str(problem) != one.message:
                out.print(Text(f"    {problem}", "red"))
        return
    sign, style = _SIGNS[one.outcome]
    line = Text(f"{sign} {one.flow}", style)
    if one.version is not None:
        line.append(f" {one.version}")
    if one.file:
        line.append(f"  {one.file}", "dim")
    out.print(line)
    if with_diff and one.outcome == "changed":
        lines = one.diff.splitlines()
        for text in lines[:DIFF_LINES]:
            out.print(Text(f"    {text}", {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")))
        if len(lines) > DIFF_LINES:
            out.print(Text(f"    … and {len(lines) - DIFF_LINES} more lines; --json has all", "dim"))


# ---------------------------------------------------------------- looking


def _list(place: _Place, query: str | None, tags: list[str], state: str, limit: int, *, json: bool) -> int:
    from rich.table import Table

    from segue.cli.flow_desk import flows_for_reading
    from segue.cli.output import console, local_time, print_json

    async def work() -> int:
        async with flows_for_reading(database_url(place[0]), place[1]) as desk:
            found = await desk.list(query=query, tags=tags, state=state, limit=limit)
        if json:
            print_json({"flows": found})
            return SUCCEEDED
        if not found:
            notice("no flows; store some with `segue apply FOLDER`")
            return SUCCEEDED
        table = Table(box=None, pad_edge=False)
        for name in ("flow", "version", "name", "tags", "changed", "by"):
            table.add_column(name)
        for one in found:
            version = f"{one.version or 'draft'}{' *' if one.version and one.is_changed else ''}"
            shown = version if one.origin == "stored" else one.origin
            table.add_row(
                one.id, shown, one.name, ", ".join(one.tags), local_time(one.updated_at), one.updated_by or ""
            )
        console().print(table)
        return SUCCEEDED

    return run_async(work())


def _show(place: _Place, id: str, *, json: bool) -> int:
    from segue.cli.flow_desk import flows_for_reading
    from segue.cli.output import print_json

    async def work() -> int:
        async with flows_for_reading(database_url(place[0]), place[1]) as desk:
            found = await desk.show(id)
        if json:
            print_json(found)
            return SUCCEEDED
        changed = ", the draft has changes" if found.version and found.is_changed else ""
        state = f"version {found.version}{changed}" if found.version else "a draft, not published"
        print(f"{found.id}: {found.name} ({found.origin if found.origin != 'stored' else state})")
        if found.description:
            print(found.description)
        print()
        print(found.source, end="" if found.source.endswith("\n") else "\n")
        return SUCCEEDED

    return run_async(work())


def _export(place: _Place, id: str, version: str | None, form: Literal["yaml", "json"]) -> int:
    from segue.cli.flow_desk import flows_for_reading

    async def work() -> int:
        async with flows_for_reading(database_url(place[0]), place[1]) as desk:
            given = await desk.export(id, version=version, form=form)
        # Bytes, since a terminal's encoding and newlines are none of the flow's.
        sys.stdout.buffer.write(given.text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
        for one in given.replaced:
            notice(f"replaced by ***: {one.path or 'in the text'}: {one.why}")
        return SUCCEEDED

    return run_async(work())
