"""`segue undo`: run the compensations of a run that is over, or say what that would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.control import ReasonOption, change
from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption, RunArgument

if TYPE_CHECKING:
    from segue.cli.desk import Desk
    from segue.engine.views import UndoView

PreviewOption = Annotated[bool, typer.Option("--preview", help="Only say what would be undone, and what would not.")]


def undo(
    run: RunArgument,
    preview: PreviewOption = False,
    reason: ReasonOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Undo a run that is over: the `compensate` steps of what it did run, the last one first."""
    if preview:
        return _preview(run, json=json, database=database)
    return change(run, lambda desk, run_id: desk.undo(run_id, reason), json=json, database=database)


def _preview(run: str, *, json: bool, database: str | None) -> int:
    from segue.cli.desk import find_run
    from segue.cli.hosting import desk_for_reading, with_desk
    from segue.cli.output import print_json

    async def look(desk: Desk) -> UndoView:
        return await desk.undo_preview(await find_run(desk, run))

    async def work() -> int:
        url = database_url(database)
        found = await with_desk(lambda: desk_for_reading(url), look)
        if json:
            print_json(found)
            return SUCCEEDED
        for what, steps in (
            ("would be undone", found.undone_by), ("is undone already", found.done),
            ("stays: nothing undoes it", found.kept), ("nobody knows whether it took effect", found.unknown),
        ):  # fmt: skip
            for step in steps:
                print(f"{step}: {what}")
        return SUCCEEDED

    return run_async(work())
