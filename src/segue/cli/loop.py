"""Starting the event loop of a command."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T], *, is_server: bool = False) -> T:
    """Run `work` to its end. A server gets the faster event loop, if that is installed, which takes longer to load."""
    # `main` put the garbage collector off while modules are loaded. What is there now stays to the end.
    gc.freeze()
    gc.enable()
    with asyncio.Runner(loop_factory=_fast_loop() if is_server else None) as runner:
        return runner.run(work)


def _fast_loop() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
