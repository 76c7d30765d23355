"""The answer of a run to the caller that waits for it (`respond`), as an HTTP answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
from starlette.responses import Response

from segue.api.answers import EndedRun, StartedRun, answer
from segue.api.live import Streams
from segue.engine.host import Engine
from segue.expr.sealed import shown
from segue.flow.model import RawMap
from segue.kernel.state import RunState

WAIT_SECONDS_MAX: Final = 300.0
_OURS: Final = frozenset(
    ("connection", "content-length", "date", "keep-alive", "server", "set-cookie", "transfer-encoding", "upgrade")
)
"""Headers that belong to the connection or to this server: a flow's are left out."""


async def response_of(streams: Streams, engine: Engine, started: StartedRun, seconds: float, status: int) -> Response:
    """What the run answers within `seconds`. One that is over without an answer: its status and outputs; one that has
    not answered by then: 202, and where to look.
    """
    where = {"location": f"/api/v1/runs/{started.run_id}"}
    state = await in_time(streams, engine.wait_for_response(started.run_id), seconds)
    if state is None:
        record = await engine.record(started.run_id)
        return answer(StartedRun(run_id=record.run_id, status=record.status, repeated=started.repeated), 202, where)
    return answered(state, where, status)


async def in_time(streams: Streams, waited_for: Coroutine[Any, Any, RunState], seconds: float) -> RunState | None:
    """What a caller waits for; None if it does not come within `seconds`, or the server is being stopped before: then
    the caller must not be left without an answer, since its run is kept. Raises what waiting raises.
    """
    async with streams.end() as stopped:
        waiting, stop = asyncio.create_task(waited_for), asyncio.create_task(stopped.wait())
        try:
            if not streams.over:
                await asyncio.wait((waiting, stop), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()
            stop.cancel()
            await asyncio.gather(waiting, stop, return_exceptions=True)


def answered(state: RunState, headers: dict[str, str], status: int) -> Response:
    """A run's answer as it gave it; without one, how it ended."""
    given: RawMap | None = shown(state.response)
    if given is None:
        error = None if state.error is None else {"category": state.error.category, "message": state.error.message}
        ended = EndedRun(run_id=state.run_id, status=state.status.value, outputs=shown(state.outputs), error=error)
        return answer(ended, status, headers)
    body, own = given.get("body"), given.get("headers")
    names = {name.lower(): str(value) for name, value in own.items()} if isinstance(own, dict) else {}
    is_text = isinstance(body, str)
    content = b"" if body is None else body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    kind = names.pop("content-type", "text/plain; charset=utf-8" if is_text else "application/json")
    sent = {name: value for name, value in names.items() if name not in _OURS} | headers
    code = given.get("status")
    return Response(content, code if isinstance(code, int) else status, sent, media_type=kind)
