"""What those who run a flow see of its callbacks: the open ones, a test sender, a QR code, and what has come in."""

from __future__ import annotations

import importlib.util
import io
from typing import Annotated, Any, Final

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import CallbackList, CallbackTested, OpenCallback, SignalPage, answer
from segue.api.bodies import CallbackTest, read_model
from segue.api.callbacks import question_of
from segue.api.documented import answers_with, body_of
from segue.api.errors import FieldError, NotAvailableError
from segue.api.guard import CALLBACK_PREFIX
from segue.api.noted_callbacks import NotedCallbacks
from segue.api.routing import Routes, principal_of
from segue.api.runs import state_of
from segue.engine.callback_history import CallbackHistory
from segue.engine.callbacks import mistakes_in
from segue.engine.host import Engine
from segue.engine.step_data import find_step
from segue.errors import ConflictError
from segue.kernel.state import RunState, StepState
from segue.store.port import RunRecord

LIST_MAX: Final = 200
QR_SCALE: Final = 8
"""Units of the picture a module of the code; it is drawn by vectors, so it may be shown in any size."""


class CallbackDeskRoutes:
    """`/api/v1/runs/{run_id}/callbacks/…`."""

    def __init__(self, engine: Engine, history: CallbackHistory, noted: NotedCallbacks) -> None:
        self._engine = engine
        self._history = history
        self._noted = noted

    def router(self) -> Routes:
        """The routes."""
        router = Routes(prefix="/api/v1/runs/{run_id}/callbacks", tags=["callbacks"])
        router.add("", self.index, needs="run:read", responses=answers_with(200, CallbackList, 404, 500))
        router.add("/history", self.history, needs="run:read", responses=answers_with(200, SignalPage, 404, 422))
        router.add(
            "/{step}/test", self.test, method="POST", needs="run:update", extra=body_of(CallbackTest),
            responses=answers_with(200, CallbackTested, 400, 403, 404, 409, 410, 413, 422, 500),
        )  # fmt: skip
        picture: dict[int | str, Any] = {200: {"description": "The code", "content": {"image/svg+xml": {}}}}
        picture |= {
            status: one for status, one in answers_with(200, CallbackList, 404, 409, 500, 501).items() if status != 200
        }
        router.add("/{step}/qr", self.qr, needs="run:read", responses=picture)
        return router

    async def index(self, run_id: str, request: Request) -> Response:
        """The signals that the run waits for now, with the addresses that give them."""
        record = await self._engine.record(run_id)
        state = await state_of(self._engine, record)
        found = [self._open(state, step, request) for step in state.nodes if step.callback]
        return answer(CallbackList(callbacks=[] if state.ended else found))

    async def history(
        self,
        run_id: str,
        limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=60, pattern="^sig_[0-9a-z]+$")] = None,
    ) -> Response:
        """What was sent to the run's callbacks, newest first: taken or refused, by whom, and why."""
        record = await self._engine.record(run_id)
        signals, following = await self._history.of_run(record, limit=limit, cursor=cursor)
        return answer(SignalPage(signals=signals, next_cursor=following))

    async def test(self, run_id: str, step: str, request: Request) -> Response:
        """Send a payload to a step's callback as its sender would, signed if the step asks for that; with `dry_run`,
        only say whether it would be taken. What is taken is a real answer: the run goes on with it.
        """
        body = await read_model(request, CallbackTest)
        record, state, waiting = await self._waiting(run_id, step)
        mistakes = mistakes_in(waiting, body.payload)
        if body.dry_run:
            told = [FieldError(path=path, message=message) for path, message in mistakes]
            return answer(CallbackTested(taken=not told, dry_run=True, errors=told))
        engine = self._engine
        token = engine.callback_token(run_id, waiting)
        raw, callback = msgspec.json.encode(body.payload), waiting.plan.step.callback
        signature = None if callback is None else callback.signature
        headers = {} if signature is None else await engine.callbacks.signed(state, signature, raw, record.workspace)
        sender = f"{principal_of(request).name} (a test)"
        await self._noted.give(token, body.payload, sender=sender, raw=raw, headers=headers)
        return answer(CallbackTested(taken=True, dry_run=False))

    async def qr(self, run_id: str, step: str, request: Request) -> Response:
        """The callback's address as a QR code (SVG), to open it on a phone."""
        _, state, waiting = await self._waiting(run_id, step)
        shown = self._open(state, waiting, request)
        return Response(qr_code(shown.url), media_type="image/svg+xml")

    async def _waiting(self, run_id: str, step: str) -> tuple[RunRecord, RunState, StepState]:
        record = await self._engine.record(run_id)
        state = await state_of(self._engine, record)
        found = find_step(state, step)
        if not found.callback or state.ended:
            raise ConflictError(f"{found.address} of run {run_id} does not wait for a callback")
        return record, state, found

    def _open(self, state: RunState, step: StepState, request: Request) -> OpenCallback:
        engine, run_id = self._engine, state.run_id
        token = engine.callback_token(run_id, step)
        own = f"{request.url.scheme}://{request.headers['host']}{CALLBACK_PREFIX}{token}"
        plan, question = step.plan.step.callback, question_of(state, step, step.until)
        return OpenCallback(
            step=step.address, url=engine.callback_url(run_id, step) or own, expires_at=question.until,
            uses=question.need, received=len(step.signals or ()),
            kind="approve" if question.is_approval else "callback", message=question.message,
            decided_by=list(question.decisions), signed=question.signed,
            json_schema=None if plan is None else plan.schema,
        )  # fmt: skip


def qr_code(text: str) -> bytes:
    """A text as a QR code (ISO/IEC 18004) in SVG. Raises NotAvailableError without the extra `qr`."""
    if importlib.util.find_spec("segno") is None:
        raise NotAvailableError("QR codes need the package segno: install Segue with its extra `qr`")
    import segno  # noqa: PLC0415 - an extra

    picture = io.BytesIO()
    segno.make(text, error="m").save(
        picture, kind="svg", scale=QR_SCALE, xmldecl=False, title="Address of the callback"
    )
    return picture.getvalue()
