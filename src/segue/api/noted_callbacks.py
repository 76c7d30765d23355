"""The way of every answer to a callback, by whatever door it comes: given to its step, and written down (CALL-4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from segue.api.errors import details_of
from segue.engine.callback_history import CallbackHistory, Taken
from segue.engine.host import Engine
from segue.engine.ids import token_hash
from segue.errors import SegueError
from segue.flow.model import JsonValue
from segue.store.port import CallbackRow, RunRecord


class NotedCallbacks:
    """Gives answers of one host's callbacks."""

    def __init__(self, engine: Engine, history: CallbackHistory) -> None:
        self._engine = engine
        self._history = history

    async def give(
        self, token: str, payload: JsonValue, *, sender: str, raw: bytes, headers: Mapping[str, str]
    ) -> str:  # fmt: skip
        """See `Callbacks.give`. `sender` is who is said to have sent it."""

        async def give(line: Taken) -> str:
            return await self._engine.callback(token, payload, raw=raw, headers=headers, note=line)

        return await self._noted(payload, sender, give, token)

    async def give_called(
        self,
        called: JsonValue,
        payload: JsonValue,
        *,
        workspace: str,
        flow_id: str | None,
        among: frozenset[str] | None,
        sender: str,
        raw: bytes,
        headers: Mapping[str, str],
    ) -> str:
        """See `Callbacks.give_called`."""

        async def give(line: Taken) -> str:
            return await self._engine.callbacks.give_called(
                called, payload, workspace=workspace, flow_id=flow_id, among=among, raw=raw, headers=headers, note=line
            )

        return await self._noted(payload, sender, give)

    async def refused(self, token: str, payload: JsonValue, error: SegueError, *, sender: str) -> None:
        """Write down that an answer was refused; nothing for a token that never was one."""
        whose = await self._known(token)
        if whose is not None:
            await self._note(*whose, payload, error, sender)

    async def _noted(
        self, payload: JsonValue, sender: str, give: Callable[[Taken], Awaitable[str]], token: str | None = None
    ) -> str:
        line = self._history.taken(payload, sender=sender)
        try:
            run_id = await give(line)
        except SegueError as error:
            whose = line.whose if token is None else await self._known(token)
            if whose is not None:
                await self._note(*whose, payload, error, sender)
            raise
        await self._history.keep(line)
        return run_id

    async def _known(self, token: str) -> tuple[CallbackRow, RunRecord] | None:
        """The callback in whatever state."""
        row = await self._engine.store.find_callback(token_hash(token))
        record = None if row is None else await self._engine.store.get_run_by_key(row.run_key)
        return None if row is None or record is None else (row, record)

    async def _note(
        self, row: CallbackRow, record: RunRecord, payload: JsonValue, error: SegueError, sender: str
    ) -> None:
        details, _ = details_of(error, instance="", request_id="")
        code = details.type.rpartition(":")[2]
        await self._history.note(row, record, payload, sender=sender, code=code, reason=details.detail)
