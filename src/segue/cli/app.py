"""The tree of commands, and the one place where errors become exit codes.

Only the module of the command that is asked for is loaded: building options for all of them takes longer than most
commands run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import Annotated, Final, NamedTuple

import typer

from segue.cli.errors import quiet_stdout, report_error
from segue.cli.examples import epilog
from segue.errors import SegueError


class _Place(NamedTuple):
    """Where a command's function is, and under which heading it is listed."""

    module: str
    heading: str
    about: str | None = None
    """What a command with commands of its own is for."""


_FLOWS, _LOOKING, _CHANGING, _SERVER = "Flows", "Looking at runs", "Changing runs", "Server"
_TRIGGERS = "Triggers"
COMMANDS: Final = {
    "run": _Place("run", _FLOWS),
    "check": _Place("check", _FLOWS),
    "fix": _Place("check", _FLOWS),
    "plan": _Place("plan", _FLOWS),
    "test": _Place("test", _FLOWS),
    "crash-test": _Place("crash_test", _FLOWS),
    "apply": _Place("flows", _FLOWS),
    "diff": _Place("flows", _FLOWS),
    "flows": _Place("flows", _FLOWS),
    "eval": _Place("eval", _FLOWS),
    "schema": _Place("schema", _FLOWS),
    "runs": _Place("reading", _LOOKING),
    "show": _Place("reading", _LOOKING),
    "why": _Place("reading", _LOOKING),
    "record": _Place("record", _LOOKING),
    "logs": _Place("logs", _LOOKING),
    "cancel": _Place("control", _CHANGING),
    "pause": _Place("control", _CHANGING),
    "resume": _Place("control", _CHANGING),
    "undo": _Place("undo", _CHANGING),
    "rewind": _Place("again", _CHANGING),
    "retry": _Place("again", _CHANGING),
    "rollback": _Place("again", _CHANGING),
    "replay": _Place("again", _CHANGING),
    "fork": _Place("again", _CHANGING),
    "callback": _Place("control", _CHANGING),
    "emit": _Place("control", _CHANGING),
    "key": _Place("people", _SERVER, "Keys of programs."),
    "user": _Place("people", _SERVER, "People who sign in."),
    "workspace": _Place("people", _SERVER, "Workspaces."),
    "trigger": _Place("triggers", _TRIGGERS, "What starts runs by itself."),
    "schedule": _Place("triggers", _TRIGGERS, "What starts runs by the clock."),
    "delivery": _Place("triggers", _TRIGGERS, "What came to webhooks."),
    "event": _Place("triggers", _TRIGGERS, "Events that steps and triggers wait for."),
    "serve": _Place("serve", _SERVER),
    "health": _Place("health", _SERVER),
    "migrate": _Place("migrate", _SERVER),
    "engine": _Place("engine", _SERVER),
    "secret": _Place("credentials", _SERVER),
    "connection": _Place("connections", _SERVER, "What is needed to reach other systems."),
    "keys": _Place("credentials", _SERVER),
}


def run_command(arguments: Sequence[str]) -> None:
    """Run one command; ends with SystemExit. Errors that Segue raises on purpose end as one clear line."""
    first = arguments[0] if arguments else ""
    app = application([first] if first in COMMANDS else list(COMMANDS))
    app(args=list(arguments), prog_name="segue")


def application(names: Sequence[str]) -> typer.Typer:
    """The command line with these of its commands."""
    app = typer.Typer(
        name="segue",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_segue)
    for name in names:
        place = COMMANDS[name]
        found = getattr(import_module(f"segue.cli.{place.module}"), name.replace("-", "_"))
        if place.about is not None:
            app.add_typer(_group(name, found), name=name, help=place.about, rich_help_panel=place.heading)
        else:
            app.command(name, rich_help_panel=place.heading, epilog=epilog(name))(_ending(found))
    return app


def _group(named: str, commands: Mapping[str, Callable[..., int]]) -> typer.Typer:
    """A command that has commands of its own."""
    group = typer.Typer(no_args_is_help=True)
    for name, function in commands.items():
        group.command(name, epilog=epilog(f"{named} {name}"))(_ending(function))
    return group


def _ending(function: Callable[..., int]) -> Callable[..., None]:
    """The command with its result, or the error that ended it, as the process' exit code."""

    @wraps(function)
    def command(*arguments: object, **options: object) -> None:
        try:
            code = function(*arguments, **options)
        except SegueError as error:
            code = report_error(error)
        except BrokenPipeError:
            code = quiet_stdout()
        raise typer.Exit(code)

    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        from segue import __version__

        print(f"segue {__version__}")
        raise typer.Exit


def _segue(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Durable workflows: run flows step by step, and go on after any crash."""
