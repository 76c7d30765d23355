"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process at once.

Ending at once loses nothing that was kept; attempts in flight are made again by the next host, under the same key.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from segue.cli.errors import INTERRUPTED, TERMINATED

T = TypeVar("T")
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(Exception):
    """Somebody asked this process to stop."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Interrupts:
    """Listens to the signals while it is entered. Belongs to one event loop."""

    def __init__(self) -> None:
        self.code: int | None = None
        self._asked = asyncio.Event()

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        for number, code in _CODES.items():
            loop.add_signal_handler(number, self._on_signal, code)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _CODES:
            loop.remove_signal_handler(number)

    async def wait(self) -> int:
        """The exit code, once somebody asked to stop."""
        await self._asked.wait()
        assert self.code is not None
        return self.code

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, or cancel it and raise Interrupted when somebody asks to stop."""
        task = asyncio.create_task(work)
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert self.code is not None
            raise Interrupted(self.code)
        finally:
            for one in (task, asked):
                one.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)

    def _on_signal(self, code: int) -> None:
        if self.code is not None:
            if sys.stderr.isatty():
                sys.__stderr__.write(_SHOW_CURSOR)  # pyright: ignore[reportOptionalMemberAccess]
                sys.__stderr__.flush()  # pyright: ignore[reportOptionalMemberAccess]
            os._exit(code)
        self.code = code
        self._asked.set()
