"""The command line: `segue run`, `check`, `runs`, `show`, `logs`, `why`, `cancel`, `serve`, … One module a group.

`main` is the entry point. Commands import what they need when they run, so that `segue --help` is quick.
"""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code (`segue.cli.errors` has the table)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a sign gets a `?` for it, not an error.
            stream.reconfigure(errors="replace")
    if given == ["--version"]:
        from segue import __version__

        print(f"segue {__version__}")
        return
    # Loading makes much and throws nothing away; `segue.cli.loop` turns the collector on again.
    gc.disable()
    from segue.cli.app import run_command
    from segue.cli.errors import quiet_stdout

    code: object = 0
    try:
        run_command(given)
    except SystemExit as end:
        code = end.code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = quiet_stdout()
    raise SystemExit(code)


__all__ = ["main"]
