"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

DatabaseOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database",
        "-d",
        envvar="SEGUE_DATABASE",
        metavar="FILE|URL",
        help="A file, sqlite:///… or memory:. Default: segue.db in your data folder.",
        show_default=False,
    ),
]
WorkspaceOption: TypeAlias = Annotated[
    str, typer.Option("--workspace", "-w", envvar="SEGUE_WORKSPACE", help="A workspace's id.", metavar="ID")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
VerboseOption: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Write the program's log to stderr.")]
RunArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, a part that begins or ends just one id, or `last`.")
]
ActionsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--actions",
        metavar="FILE.py|MODULE",
        help="Python functions marked with @segue.action, for flows to use. Repeatable.",
        show_default=False,
    ),
]
