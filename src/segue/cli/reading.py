"""Commands that only look: `runs`, `show`, `why`. They host nothing and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption, RunArgument
from segue.errors import NotFoundError

if TYPE_CHECKING:
    from segue.cli.desk import Desk
    from segue.client.records import RunSummary
    from segue.engine.views import RunView, StepView


def runs(
    status: Annotated[list[str] | None, typer.Option("--status", "-s", help="Only these states. Repeatable.")] = None,
    flow: Annotated[str | None, typer.Option("--flow", "-f", help="Only runs of the flow with this id.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Only runs with this label. Repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """List runs, newest first."""

    async def look(desk: Desk) -> int:
        from segue.cli.output import print_json

        found, cursor = await desk.page(statuses=_statuses(status), flow=flow, labels=_labels(label), limit=limit)
        if json:
            print_json({"runs": found, "next_cursor": cursor})
        else:
            _print_runs(found)
            if cursor is not None:
                notice(f"there are more; --limit shows up to 1000 (now {limit})")
        return SUCCEEDED

    return looking(database, look)


def _labels(given: list[str] | None) -> tuple[tuple[str, str], ...]:
    from segue.store.run_notes import label_of

    return tuple(label_of(one) for one in given or ())


def show(
    run: RunArgument = "last",
    at: Annotated[int | None, typer.Option("--at", metavar="EVENT", min=0, help="As of this event of it.")] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Show a run: its state and why, its steps, outputs and errors; now, or as of one of its events."""

    async def look(desk: Desk) -> int:
        from segue.cli.desk import find_run
        from segue.cli.output import print_json

        snapshot = await desk.show(await find_run(desk, run), at)
        if json:
            print_json(snapshot.view)
        else:
            _print_run(snapshot.view)
            from segue.cli.output import console
            from segue.cli.progress import tell_callbacks

            tell_callbacks(console(), snapshot, set())
        return SUCCEEDED

    return looking(database, look)


def why(
    run: RunArgument = "last",
    step: Annotated[str | None, typer.Argument(metavar="STEP", help="One step; all if it is left out.")] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Say why a run, or one of its steps, is as it is, and what helps."""

    async def look(desk: Desk) -> int:
        from segue.cli.desk import find_run
        from segue.cli.output import console, print_json
        from segue.cli.progress import tell_callbacks

        snapshot = await desk.show(await find_run(desk, run))
        view = snapshot.view
        # Of a run that is set aside nothing is known of any step: why it is, is the answer.
        named = None if view.status == "quarantined" and not view.steps else step
        steps = view.steps if named is None else _steps_named(view, named)
        if json:
            about = {"run_id": view.id, "flow": view.flow, **_why(view)}
            print_json(about | {"steps": {one.id: _why(one) for one in steps}})
            return SUCCEEDED
        out = console()
        if named is None:
            _print_why(f"{view.id} ({view.flow})", view)
        for one in steps:
            _print_why(one.id, one)
        tell_callbacks(out, snapshot, set())
        return SUCCEEDED

    return looking(database, look)


def looking(database: str | None, look: Callable[[Desk], Coroutine[Any, Any, int]]) -> int:
    """Open a desk for reading, look, and give the exit code. `look` may be called again if the host goes away."""
    from segue.cli.hosting import desk_for_reading, with_desk

    url = database_url(database)
    return run_async(with_desk(lambda: desk_for_reading(url), look))


def _statuses(given: list[str] | None) -> tuple[str, ...]:
    from segue.kernel.status import RunStatus

    known = [status.value for status in RunStatus]
    for status in given or ():
        if status not in known:
            raise typer.BadParameter(f"{status!r} is not a state of a run: {', '.join(known)}", param_hint="--status")
    return tuple(given or ())


def _steps_named(view: RunView, name: str) -> list[StepView]:
    """The instances of a step: by address, or all of that name."""
    found = [step for step in view.steps if step.id == name] or [step for step in view.steps if step.name == name]
    if not found:
        from difflib import get_close_matches

        near = get_close_matches(name, [step.id for step in view.steps], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NotFoundError(f"run {view.id} has no step {name!r}{hint}")
    return found


def _why(view: RunView | StepView) -> dict[str, Any]:
    return {"status": view.status, "reason": view.reason, "reason_code": view.reason_code, "action": view.action}


def _print_why(name: str, view: RunView | StepView) -> None:
    from rich.text import Text

    from segue.cli.output import STYLES, console

    style = STYLES.get(view.status, "")
    text = Text.assemble((name, "bold"), "  ", (view.status.replace("_", " "), style), f"\n  {view.reason or ''}")
    if view.action:
        text.append(f"\n  what helps: {view.action}", "green")
    console().print(text)


def _print_runs(found: list[RunSummary]) -> None:
    from rich.table import Table
    from rich.text import Text

    from segue.cli.output import STYLES, console, local_time

    if not found:
        print("no runs")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "flow", "status", "started", "took", "trigger"):
        table.add_column(name, no_wrap=True)
    table.add_column("error", overflow="ellipsis", no_wrap=True)
    for one in found:
        status = one.status + (" (recovered)" if one.recovered else "")
        style = "yellow" if one.recovered else STYLES.get(one.status, "")
        table.add_row(
            one.id, one.flow, Text(status, style), local_time(one.created_at), _took(one), one.trigger, one.error or ""
        )
    console().print(table)


def _took(run: RunSummary) -> str:
    from datetime import datetime

    from segue.cli.output import duration

    if run.started_at is None or run.finished_at is None:
        return ""
    spent = datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.started_at)
    return duration(max(0, round(spent.total_seconds() * 1000)))


def _print_run(view: RunView) -> None:
    from rich.text import Text

    from segue.cli.output import STYLES, as_json, console, duration, local_time

    out = console()
    style = STYLES.get(view.status, "")
    version = f" {view.version}" if view.version else ""
    took = f", {duration(view.duration_ms)}" if view.duration_ms is not None else ""
    out.print(Text.assemble((view.id, "bold"), f"  {view.flow}{version}  ", (view.status, style)))
    out.print(f"  {view.reason or ''}")
    if view.action:
        out.print(f"  what helps: {view.action}", style="green")
    out.print(f"  started {local_time(view.started_at or view.created_at)}{took}, by {_starter(view)}", style="dim")
    if view.inputs:
        out.print(f"  inputs: {_short(view.inputs)}", style="dim")
    out.print()
    out.print(_steps_table(view))
    if view.outputs is not None:
        out.print("\noutputs:", style="dim")
        out.print(as_json(view.outputs))


def _steps_table(view: RunView) -> Any:
    from rich.table import Table
    from rich.text import Text

    from segue.cli.output import SIGNS, STYLES, duration

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("step", "status", "tries", "took"):
        table.add_column(name, no_wrap=True)
    table.add_column("why, or its output", overflow="fold")
    for step in view.steps:
        style = STYLES.get(step.status, "")
        said = _short(step.output) if step.status == "succeeded" and step.output is not None else step.reason or ""
        if step.child is not None and step.child not in said:
            said = f"{said} ({step.child})"
        table.add_row(
            Text(step.id),
            Text(f"{SIGNS.get(step.status, '·')} {step.status.replace('_', ' ')}", style),
            str(step.attempts or ""),
            duration(step.duration_ms),
            Text(said),
        )
    return table


_SHORT = 120


def _short(value: object) -> str:
    import msgspec

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _starter(view: RunView) -> str:
    parent = view.parent
    return view.trigger if parent is None else f"`{parent.step}` of {parent.run} ({parent.flow})"
