"""Callbacks: the public address under which an outside system, or a person, answers a step that waits.

Programs speak JSON and problem documents; a browser that asks for a page gets a form, and answers in plain words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from segue.api.answers import CallbackShown, CallbackTaken, answer
from segue.api.bodies import FORM_FIELDS_MAX, content_type, read_payload
from segue.api.callback_page import FREE_TEXT, OWN_FIELDS, Question, form_page, message_page
from segue.api.documented import answers_with
from segue.api.errors import BadBodyError, details_of
from segue.api.form_fields import Field, fields_of, value_of
from segue.api.guard import CALLBACK_PREFIX, RUN_PREFIXES
from segue.api.noted_callbacks import NotedCallbacks
from segue.api.routing import Routes, principal_of, refuse_unless
from segue.engine.host import Engine
from segue.engine.views import masker_of, rfc3339
from segue.errors import ConflictError, GoneError, InvalidInputError, NotFoundError, SegueError
from segue.flow.model import JsonValue, RawMap
from segue.kernel.state import RunState, StepState

_HOW: Final = "send the answer as JSON with POST to this same address"
_FORM: Final = "application/x-www-form-urlencoded"
_WORDS: Final[tuple[tuple[type[SegueError], str, str], ...]] = (
    (NotFoundError, "There is nothing here", "This address is not known. Look whether you copied all of it."),
    (GoneError, "This came too late", "The time to answer is over. Nothing was changed."),
    (ConflictError, "This has been answered", "It was answered before, or is not waited for any more."),
)


class CallbackRoutes:
    """`/api/v1/orchestrator/callback/{token}`: whoever has the token may speak."""

    def __init__(self, engine: Engine, noted: NotedCallbacks) -> None:
        self._engine = engine
        self._noted = noted

    def router(self) -> Routes:
        """The routes."""
        router = Routes(tags=["callbacks"])
        path = f"{CALLBACK_PREFIX}{{token}}"
        errors = (404, 409, 410)
        kinds = ("application/json", _FORM, "text/plain")
        payload: dict[str, Any] = {"required": False, "content": {kind: {} for kind in kinds}}
        page: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
        taken = answers_with(200, CallbackTaken, 400, 403, *errors, 413, 415, 422, 503)
        shown = answers_with(200, CallbackShown, *errors)
        for responses in (taken, shown):
            for status in (200, *errors):
                responses[status]["content"] |= page
        taken[422]["content"] |= page
        router.add(
            path, self.give, method="POST", needs=None, repeats="a callback takes one answer",
            extra={"requestBody": payload}, responses=taken,
        )  # fmt: skip
        router.add(path, self.show, needs=None, responses=shown)
        return router

    async def give(self, token: str, request: Request) -> Response:
        """Answer the step that waits: JSON, a form (as a map), text, or nothing (null). When this is answered, the
        signal is kept. An unknown token is 404, a used or cancelled one 409, an expired one 410, an answer that is not
        what the step takes 422 (with every mistake), a missing or wrong signature 403; none of them changes anything.
        """
        if token.startswith(RUN_PREFIXES):
            return await self._give_to_run(token, request)
        if wants_page(request) and content_type(request.headers) in ("", _FORM):
            return await self._give_form(token, request)
        run_id = await self._give(token, request, await read_payload(request))
        return answer(CallbackTaken(run_id=run_id))

    async def show(self, token: str, request: Request) -> Response:
        """What the callback is; for a browser, the form to answer it. Asking changes nothing, so that link previews do
        no harm.
        """
        if token.startswith(RUN_PREFIXES):
            raise NotFoundError("a run's id only takes answers (POST); its callbacks are listed with the run")
        if wants_page(request):
            return await self._form(token)
        row, record = await self._engine.find_callback(token)
        return answer(
            CallbackShown(
                flow=record.flow_id, step=row.step_path, status=row.state, expires_at=rfc3339(row.expires_at), how=_HOW
            )
        )

    async def _give_to_run(self, run_id: str, request: Request) -> Response:
        """Document A's other form, with a run's id: for an identity, and for a run with exactly one open callback."""
        principal, record = principal_of(request), await self._engine.record(run_id)
        if record.workspace != principal.workspace:
            raise NotFoundError(f"no run has the id {run_id!r}")
        refuse_unless(principal, "run:update", record.flow_id)
        state = await self._engine.state(record)
        waiting = [step for step in state.nodes if step.callback and not state.ended]
        if len(waiting) != 1:
            steps = ", ".join(step.address for step in waiting)
            told = (
                f"waits for {len(waiting)} callbacks ({steps}); answer at their own addresses"
                if waiting
                else "waits for no callback"
            )
            raise ConflictError(f"run {run_id} {told}")
        token = self._engine.callback_token(run_id, waiting[0])
        return answer(CallbackTaken(run_id=await self._give(token, request, await read_payload(request))))

    async def _give(self, token: str, request: Request, payload: JsonValue) -> str:
        sender = str(request.scope["segue.address"])
        return await self._noted.give(token, payload, sender=sender, raw=await request.body(), headers=request.headers)

    # ------------------------------------------------------------ for people

    async def _form(self, token: str) -> Response:
        try:
            question, fields = await self._question(token)
        except (NotFoundError, ConflictError, GoneError) as error:
            return _told(error)
        return _html(form_page(question, fields))

    async def _give_form(self, token: str, request: Request) -> Response:
        given = await _form_of(request)
        try:
            question, fields = await self._question(token)
        except (NotFoundError, ConflictError, GoneError) as error:
            sent: dict[str, JsonValue] = {name: list(values) for name, values in given.items()}
            await self._noted.refused(token, sent, error, sender=str(request.scope["segue.address"]))
            return _told(error)
        payload = _payload(question, fields, given)
        try:
            await self._give(token, request, payload)
        except InvalidInputError as error:
            return _html(form_page(question, fields, given=given, errors=error.details), 422)
        except (NotFoundError, ConflictError, GoneError) as error:
            return _told(error)
        thanks = ["Your answer is kept. You can close this page."]
        if question.need > 1 and isinstance(payload, dict) and payload.get("decision") == "approve":
            have = min(len(question.decisions) + 1, question.need)
            thanks.insert(0, f"{have} of {question.need} people have approved.")
        return _html(message_page("Thank you", thanks))

    async def _question(self, token: str) -> tuple[Question, list[Field] | None]:
        row, record = await self._engine.find_callback(token)
        state = await self._engine.state(record)
        step = state.nodes[row.step] if row.step < len(state.nodes) else None
        if step is None or step.plan.step.callback is None:
            raise ConflictError("the step does not wait for this callback any more; nothing was changed")
        callback = step.plan.step.callback
        is_approval = step.plan.kind == "approve"
        schema = callback.form if is_approval else callback.schema
        fields = fields_of(schema, leave_out=OWN_FIELDS if is_approval else frozenset())
        return question_of(state, step, row.expires_at), fields


def question_of(state: RunState, step: StepState, until: int | None) -> Question:
    """What a person is asked by a step that waits, masked."""
    masker, callback = masker_of(state), step.plan.step.callback
    shown: RawMap = step.answer if isinstance(step.answer, dict) else {}
    message, to = shown.get("message"), shown.get("to")
    return Question(
        flow=state.plan.flow.title or state.plan.flow.id, step=step.address, is_approval=step.plan.kind == "approve",
        message=None if message is None else masker.mask_text(str(message)),
        to=[str(one) for one in to] if isinstance(to, list) else [], need=1 if callback is None else callback.uses,
        decisions=[str(one["by"]) for one in step.signals or () if isinstance(one, dict) and one.get("by")],
        until=rfc3339(until), signed=callback is not None and callback.signature is not None,
    )  # fmt: skip


def wants_page(request: Request) -> bool:
    """Whether a browser asks, for a person."""
    return "text/html" in request.headers.get("accept", "")


def _payload(question: Question, fields: Sequence[Field] | None, given: Mapping[str, Sequence[str]]) -> JsonValue:
    if fields is None and not question.is_approval:
        return next(iter(given.get(FREE_TEXT, ())), "") or None
    rejected = question.is_approval and "reject" in given.get("decision", ())
    payload = {} if rejected else value_of(fields or (), given)
    if question.is_approval:
        for name in ("decision", "by", "comment"):
            text = next((one.strip() for one in given.get(name, ()) if one.strip()), None)
            if text is not None:
                payload[name] = text
    return payload


async def _form_of(request: Request) -> dict[str, list[str]]:
    body = await request.body()
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX):
            found.setdefault(name, []).append(value)
    except ValueError as error:
        raise BadBodyError(f"the form cannot be read: {error}") from None
    return found


def _told(error: SegueError) -> Response:
    title, sentence = next((title, text) for kind, title, text in _WORDS if isinstance(error, kind))
    details, _ = details_of(error, instance="", request_id="")
    return _html(message_page(title, [sentence]), details.status)


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status, media_type="text/html; charset=utf-8")
