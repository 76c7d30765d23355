"""`segue health`: how the server of a database stands, and everything that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.cli.database import database_url
from segue.cli.errors import FAILED, SUCCEEDED, notice
from segue.cli.loop import run_async
from segue.cli.options import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from segue.observe.health import HealthReport

STYLES: Final = {"ok": "green", "degraded": "yellow", "failed": "red"}


def health(json: JsonOption = False, database: DatabaseOption = None) -> int:
    """Ask the server of a database how it stands: one line for each thing that it depends on.

    Ends with 1 if something critical has failed, or if no server runs; what is only degraded ends with 0.
    """
    url = database_url(database)
    report = run_async(_ask(url))
    if report is None:
        notice(f"no server runs the database {url}; start one with `segue serve`")
        return FAILED
    if json:
        from segue.cli.output import print_json

        print_json(report)
    else:
        _show(report)
    return FAILED if report.status == "failed" else SUCCEEDED


async def _ask(url: str) -> HealthReport | None:
    from segue.cli.hosting import remote_of
    from segue.observe.health import HealthReport

    remote = remote_of(url)
    if remote is None:
        return None
    async with remote:
        return await remote.ask("GET", "/health/details", HealthReport)


def _show(report: HealthReport) -> None:
    from rich.table import Table
    from rich.text import Text

    from segue.cli.output import console, local_time

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("check", "state", "since", "took", ""):
        table.add_column(name)
    for one in report.checks:
        name = f"{one.name} *" if one.critical else one.name
        state = Text(one.state, style=STYLES[one.state])
        table.add_row(name, state, local_time(one.since), f"{one.latency_ms:.0f} ms", one.message)
    console().print(table)
    console().print(f"{report.status}; without what is marked * the server is not ready")
