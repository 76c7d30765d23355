"""`segue record`: a run becomes a test of its flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.errors import SUCCEEDED
from segue.cli.options import DatabaseOption, JsonOption, RunArgument
from segue.cli.reading import looking
from segue.errors import ConflictError

if TYPE_CHECKING:
    from segue.cli.desk import Desk


def record(
    run: RunArgument = "last",
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="The test's name; with the run's id if left out.")
    ] = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Print a run as a test of its flow: its answers as mocks, its moment as the clock, its results as expectations.

    What was masked in the run stays `***`. Put it under the flow's `tests:`, or in FLOW.test.yaml beside the flow.
    """

    async def look(desk: Desk) -> int:
        from segue.cli.desk import find_run
        from segue.cli.output import print_json
        from segue.engine.recorded_test import recorded_test

        snapshot = await desk.show(await find_run(desk, run))
        try:
            made = recorded_test(snapshot.view, name)
        except ValueError as error:
            raise ConflictError(str(error)) from error
        if json:
            print_json(made)
        else:
            import yaml

            print(yaml.safe_dump([made], allow_unicode=True, sort_keys=False, width=120), end="")
        return SUCCEEDED

    return looking(database, look)
