"""`segue logs`: a run's events in words and the lines that its steps wrote."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.errors import SUCCEEDED
from segue.cli.options import DatabaseOption, JsonOption, RunArgument
from segue.cli.reading import looking

if TYPE_CHECKING:
    from segue.cli.desk import Desk
    from segue.engine.log_lines import LogLine

LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


def logs(
    run: RunArgument = "last",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    level: Annotated[str, typer.Option("--level", "-l", help=f"Least level: {', '.join(LEVELS)}.")] = "debug",
    step: Annotated[str | None, typer.Option("--step", help="Only lines of this step.")] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Print a run's log: its events in words and the lines that its steps wrote. With --json one object a line."""
    if level not in LEVELS:
        raise typer.BadParameter(f"use one of {', '.join(LEVELS)}", param_hint="--level")

    printer = _Printer(level, step, json=json)

    async def look(desk: Desk) -> int:
        from segue.cli.desk import find_run

        run_id = await find_run(desk, run)
        if not follow:
            printer.take(await desk.logs(run_id))
            return SUCCEEDED
        changes = desk.changes(run_id)
        try:
            while True:
                await changes.wait()
                ended = (await desk.show(run_id)).ended
                # Asked for after the state, so that nothing of a run that is over is missing.
                printer.take(await desk.logs(run_id))
                if ended:
                    return SUCCEEDED
        finally:
            await changes.close()

    return looking(database, look)


class _Printer:
    """Prints each line once. A step's lines are kept a moment after they were written, so new ones may belong between
    old ones.
    """

    def __init__(self, level: str, step: str | None, *, json: bool) -> None:
        self._levels = LEVELS[LEVELS.index(level) :]
        self._step = step
        self._json = json
        self._printed: Counter[tuple[object, ...]] = Counter()

    def take(self, lines: list[LogLine]) -> None:
        found: Counter[tuple[object, ...]] = Counter()
        for line in lines:
            key = (line.ts, line.seq, line.step, line.level, line.msg)
            found[key] += 1
            if found[key] > self._printed[key]:
                self._printed[key] += 1
                if line.level in self._levels and self._is_of_step(line):
                    self._print(line)

    def _is_of_step(self, line: LogLine) -> bool:
        wanted = self._step
        return wanted is None or line.step == wanted or (line.step or "").startswith((f"{wanted}[", f"{wanted}."))

    def _print(self, line: LogLine) -> None:
        import msgspec

        if self._json:
            print(msgspec.json.encode(line).decode(), flush=True)
            return
        from rich.text import Text

        from segue.cli.output import console, local_time

        text = Text.assemble((f"{local_time(line.ts)} ", "dim"), (f"{line.level:<7} ", _STYLES.get(line.level, "")))
        if line.step is not None and line.step not in line.msg:
            text.append(f"{line.step}: ", "bold")
        text.append(line.msg)
        if line.data:
            text.append(f"  {msgspec.json.encode(line.data).decode()}", "dim")
        console().print(text)
