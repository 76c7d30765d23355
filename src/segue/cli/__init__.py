"""The command line: `segue run`, `check`, `runs`, `show`, `logs`, `why`, `cancel`, `serve`, … One module a group.

`main` is the entry point. Commands import what they need when they run, so that `segue --help` is quick.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
from collections.abc import Sequence

_THREAD_SECONDS = 0.5
"""How long a thread that has been told to end may take for it."""


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
    if _has_stuck_threads():
        # A Python function that did not end in time; its attempt is made again by the next host.
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    raise SystemExit(code)


def _has_stuck_threads() -> bool:
    """Whether Python would wait at its end for a thread, perhaps for ever."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(_THREAD_SECONDS)
            if thread.is_alive():
                return True
    return False


__all__ = ["main"]
