"""`segue run`: run a flow and follow it to its end, or go on with what an earlier command left."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from segue.cli.loop import run_async
from segue.cli.options import ActionsOption, DatabaseOption, JsonOption, VerboseOption
from segue.errors import RequestError


def run(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The flow's YAML or JSON file; `-` is stdin.")
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input, read by its declared type. Repeatable."),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="Inputs as a YAML or JSON map; `-` is stdin.")
    ] = None,
    actions: ActionsOption = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="With a key used before: that run, no second one."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="30s|5m|…", help="Cancel the run if it is not over by then.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the run's id as soon as the run is kept, and do not follow it.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Begin then, such as 2026-01-31T09:00:00+01:00; implies --detach."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--in", metavar="30s|5m|…", help="Begin after so long; implies --detach.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="What the run is found by. Repeatable.")
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Start nothing; take up the interrupted runs of this database.")
    ] = False,
    json: JsonOption = False,
    verbose: VerboseOption = False,
    database: DatabaseOption = None,
) -> int:
    """Run a flow, showing each step's progress.

    Exit code: 0 the run succeeded (or recovered), 1 it failed, timed out or was cancelled, 2 the flow or its inputs
    cannot be used, 3 the database cannot be used, 130 stopped by Ctrl-C (the run is kept; go on with --continue).
    """
    from segue.cli.session import Order, carry_out
    from segue.engine.later import begins_at

    if (file is None) != go_on:
        given = "not both of them" if go_on else "one of them"
        raise RequestError(f"name a flow's FILE, or --continue; {given}")
    if go_on and (input or inputs or idempotency_key is not None or detach or at or after or label):
        raise RequestError("--continue starts no run, so it takes nothing that says how a run is started")
    if idempotency_key == "":
        raise RequestError("--idempotency-key is empty: without a key nothing keeps a second run from beginning")
    begins_at(at, after, time.time_ns() // 1_000_000)
    if file == "-" and inputs == "-":
        raise RequestError("the flow and its inputs cannot both come from stdin")
    order = Order(
        file=file,
        pairs=tuple(input or ()),
        inputs_file=inputs,
        actions=tuple(actions or ()),
        idempotency_key=idempotency_key,
        timeout_seconds=_seconds(timeout),
        detach=detach or at is not None or after is not None,
        at=at,
        after=after,
        labels=tuple(label or ()),
        json=json,
        verbose=verbose,
        database=database,
    )
    return run_async(carry_out(order))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from segue.flow.durations import parse_duration

    seconds = parse_duration(text)
    if seconds is None:
        hint = f"; did you mean {text}s?" if text.isdigit() else ""
        raise RequestError(f"--timeout {text!r} is no duration; write 30s, 5m or 2h{hint}")
    return seconds
