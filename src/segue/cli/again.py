"""Second chances: `rewind`, `retry` and `rollback` change a run, `replay` and `fork` start a new one from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segue.cli.control import ReasonOption, change
from segue.cli.database import database_url
from segue.cli.errors import SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption, RunArgument
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.cli.desk import Desk
    from segue.engine.second_chances import NewRunOf

VersionOption = Annotated[
    str | None, typer.Option("--version", metavar="V", help="Another kept version of the flow: its number, or latest.")
]
FlowOption = Annotated[str | None, typer.Option("--flow", metavar="FILE", help="Another version of the flow: a file.")]
InputsOption = Annotated[
    str | None, typer.Option("--inputs", metavar="FILE", help="A JSON map in place of the inputs; `-` is stdin.")
]
OutputsOption = Annotated[
    str | None,
    typer.Option("--outputs", metavar="FILE", help="A JSON map, address to output, in place of recorded outputs."),
]


def rewind(
    run: RunArgument,
    to: Annotated[list[str], typer.Argument(metavar="STEP...", help="Steps to go back to: charge, each[3].enrich.")],
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Undo first what is taken back; only of a run that is over.")
    ] = False,
    reason: ReasonOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Go back to steps of a run, also of one that is over: they and all that depends on them are run again."""

    async def ask(desk: Desk, run_id: str) -> None:
        await desk.rewind(run_id, to, reason, compensate=compensate)

    return change(run, ask, json=json, database=database)


def retry(
    run: RunArgument, reason: ReasonOption = None, json: JsonOption = False, database: DatabaseOption = None
) -> int:
    """Go on with a run that failed, was cancelled or timed out; what ended well is kept."""
    return change(run, lambda desk, run_id: desk.retry(run_id, reason), json=json, database=database)


def rollback(
    run: RunArgument, reason: ReasonOption = None, json: JsonOption = False, database: DatabaseOption = None
) -> int:
    """Go on with a quarantined run from its last valid event; what follows in its journal is set aside."""

    async def roll(desk: Desk, run_id: str) -> None:
        done = await desk.rollback(run_id, reason)
        notice(f"rolled back to event {done.last_valid_event}; {done.set_aside} events were set aside")

    return change(run, roll, json=json, database=database)


def replay(
    run: RunArgument,
    from_: Annotated[
        list[str] | None, typer.Option("--from", "-f", metavar="STEP", help="Go on from this step; may be repeated.")
    ] = None,
    version: VersionOption = None,
    flow: FlowOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start a new run that goes on from steps of an old one, or begins anew; the old run stays as it is."""
    body = _body(version, flow, inputs, outputs, reason) | {"from": from_ or None}
    return _new_run(run, "replay", body, json=json, database=database)


def fork(
    run: RunArgument,
    at: Annotated[int | None, typer.Option("--at", metavar="EVENT", min=0, help="As of this event of it.")] = None,
    version: VersionOption = None,
    flow: FlowOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
    database: DatabaseOption = None,
) -> int:
    """Start a new run from an old one as of one of its events: what had settled by then is kept."""
    body = _body(version, flow, inputs, outputs, reason) | {"at": at}
    return _new_run(run, "fork", body, json=json, database=database)


def _body(
    version: str | None, flow: str | None, inputs: str | None, outputs: str | None, reason: str | None
) -> dict[str, Any]:
    from segue.cli.flow_file import read_bytes

    if version is not None and flow is not None:
        raise RequestError("--version and --flow both say which version is to be run; leave one out")
    text = None if flow is None else read_bytes(flow, "flow").decode("utf-8", "replace")
    return {
        "version": version, "flow": text, "file": flow, "inputs": _map(inputs, "inputs"),
        "outputs": _map(outputs, "outputs"), "reason": reason,
    }  # fmt: skip


def _map(file: str | None, what: str) -> dict[str, Any] | None:
    import msgspec

    from segue.cli.flow_file import read_bytes

    if file is None:
        return None
    try:
        return msgspec.json.decode(read_bytes(file, what), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise RequestError(f"--{what}: {file} is no JSON map: {error}") from error


def _new_run(
    run: str, kind: Literal["replay", "fork"], body: Mapping[str, Any], *, json: bool, database: str | None
) -> int:
    from segue.cli.desk import find_run
    from segue.cli.hosting import desk_for_changing, with_desk
    from segue.cli.output import print_json
    from segue.cli.remote_desk import RemoteDesk

    async def start(desk: Desk) -> tuple[NewRunOf, bool]:
        return await desk.new_run_of(await find_run(desk, run), kind, body), isinstance(desk, RemoteDesk)

    async def work() -> int:
        url = database_url(database)
        made, is_hosted = await with_desk(lambda: desk_for_changing(url), start)
        not_kept = [{"step": one.step, "why": one.why} for one in made.not_kept]
        if json:
            print_json({"run_id": made.run_id, "kept": made.kept, "not_kept": not_kept})
        else:
            kept = "1 recorded outcome is" if made.kept == 1 else f"{made.kept} recorded outcomes are"
            print(f"{made.run_id}: {kept} kept")
            for one in made.not_kept:
                print(f"  not kept: {one.step}: {one.why}")
        if not is_hosted:
            notice("kept; nobody runs this database now: `segue run --continue` goes on with it")
        return SUCCEEDED

    return run_async(work())
