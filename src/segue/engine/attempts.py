"""Making one attempt: compute the parameters, call the action, turn what came of it into a kernel input.

Whatever an action does (returns, raises, returns something that is no JSON, is cancelled) ends here in one of two: an
output, or a `Failure` with a category. Secrets exist only inside `_Attempt.make`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import msgspec

from segue.engine.ids import idempotency_key
from segue.engine.port import Action, ActionRegistry, AttemptContext, LogLevel
from segue.engine.secrets import SecretResolver
from segue.errors import StepError, TerminalError
from segue.expr import ExprError, to_json
from segue.flow.model import JsonValue
from segue.kernel.events import Failure
from segue.kernel.inputs import AttemptEnded
from segue.kernel.scope import SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.observe.masking import DEFAULT_MASKER, Masker

MAX_OUTPUT_BYTES: Final = 64 * 1024 * 1024
"""A step's result as JSON; larger things belong in a file or an object store, with their address in the result."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

LogWriter = Callable[[str, LogLevel, str, dict[str, JsonValue]], None]
"""(step address, level, message, data), already masked."""


class AttemptMaker:
    """Makes attempts for one host."""

    def __init__(self, actions: ActionRegistry, secrets: SecretResolver) -> None:
        self.actions = actions
        self._secrets = secrets

    def action_of(self, step: StepState) -> Action | None:
        """The action that the step uses, or None if this host does not know it."""
        plan = step.plan.step
        return self.actions.get(plan.use or plan.kind)

    def is_unsafe(self, state: RunState, step: StepState) -> bool:
        """Whether an attempt of unknown outcome must not be repeated blindly."""
        declared = step.plan.step.idempotency
        if declared is not None:
            return declared == "unsafe"
        action = self.action_of(step)
        if action is None:
            return False
        if not callable(action.effect):
            return action.effect == "unsafe"
        try:
            return action.effect_of(self.params(state, step, {})) == "unsafe"
        except (ExprError, StepError):
            return False

    def params(self, state: RunState, step: StepState, secrets: dict[str, object]) -> dict[str, object]:
        """The step's parameters, as of its start. Raises ExprError."""
        value = step.plan.params
        if value is None:
            return {}
        scope = step_scope(state, step, secrets=secrets)
        impure = None
        if value.impure:
            # Not the attempt's number: all attempts of a step send the same.
            impure = SeededImpure(state.seed, f"{step.id}.{step.generation}.params", step.started_at or 0)
        return cast("dict[str, object]", to_json(value.evaluate(scope, impure)))

    async def make(
        self, state: RunState, step: StepState, workspace: str, write_log: LogWriter, callback_url: str | None
    ) -> AttemptEnded:
        """One attempt. Never raises but CancelledError."""
        number, masker = step.attempt, DEFAULT_MASKER
        plan, address = step.plan.step, step.address
        action = self.action_of(step)
        try:
            secrets: dict[str, object] = {}
            if step.plan.uses_secrets:
                secrets = self._secrets.resolve(state.plan.flow.secrets)
                masker = masker.with_values(str(value) for value in secrets.values())
            if state.plan.flow.masking:
                masker = masker.with_names(state.plan.flow.masking)
            if action is None:
                return self._unbound(state, step)
            context = AttemptContext(
                run_id=state.run_id, flow_id=state.plan.flow.id, workspace=workspace, step=address, attempt=number,
                idempotency_key=idempotency_key(workspace, state.run_id, address, step.generation),
                log=_log_sink(write_log, address, masker), callback_url=callback_url,
            )  # fmt: skip
            output = await action.run(self.params(state, step, secrets), context)
            return AttemptEnded(step.id, number, _as_json(output, masker if secrets else None))
        except ExprError as error:
            failure = Failure(category="expression", code=error.code, message=masker.mask_text(f"params: {error}"))
            return AttemptEnded(step.id, number, failure=failure)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is a failure of its step
            return _failed(step.id, number, error, masker, action, unsafe=plan.idempotency == "unsafe")

    def _unbound(self, state: RunState, step: StepState) -> AttemptEnded:
        name = step.plan.step.use or step.plan.kind
        if state.plan.flow.unbound == "allow" and step.plan.step.unbound:
            data = step_scope(state, step).lookup("data")
            return AttemptEnded(step.id, step.attempt, data)  # pyright: ignore[reportArgumentType]
        message = f"no action named {name!r} is registered here; register it, or run the flow where it is"
        return AttemptEnded(step.id, step.attempt, failure=Failure(category="adapter.unbound", message=message))


def _log_sink(write: LogWriter, step: str, masker: Masker) -> Callable[..., None]:
    def log(level: LogLevel, message: str, /, **data: JsonValue) -> None:
        masked = cast("dict[str, JsonValue]", masker.mask_json(data)) if data else {}
        write(step, level, masker.mask_text(message), masked)

    return log


def _as_json(output: object, masker: Masker | None) -> JsonValue:
    """The value as the journal will give it back, so that a step sees the same before and after a restart."""
    if output is None or output is True or output is False:
        return output
    try:
        encoded = _encode(output)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        message = f"the result of type {type(output).__name__} cannot be kept as JSON: {error}"
        raise TerminalError(message, category="validation", code="result_not_json") from error
    if len(encoded) > MAX_OUTPUT_BYTES:
        message = f"the result has {len(encoded):,} bytes as JSON; at most {MAX_OUTPUT_BYTES:,} are kept"
        raise TerminalError(message, category="validation", code="result_too_large")
    value = _decode(encoded)
    return value if masker is None else cast("JsonValue", masker.mask_json(value))


def _failed(
    step: int, number: int, error: Exception, masker: Masker, action: Action | None, *, unsafe: bool
) -> AttemptEnded:
    transient: bool | None = None
    retry_after = None
    if isinstance(error, StepError):
        category = error.category
        # Sent, and no answer came: of an unsafe call nobody knows whether it took effect.
        if unsafe and getattr(error, "sent", False) and category in ("timeout", "connection"):
            category = "unknown_outcome"
        details = None if error.details is None else masker.mask_json(error.details)
        failure = Failure(
            category=category, message=masker.mask_text(error.message), code=error.code, status=error.status,
            details=_jsonable(details),
        )  # fmt: skip
        retry_after = error.retry_after_seconds
        transient = False if isinstance(error, TerminalError) else None
    else:
        failure = Failure(
            category=_category_of(error), message=masker.mask_text(_words(error)), code=type(error).__name__
        )
        if action is not None and action.retry_unclassified and failure.category.startswith("adapter."):
            transient = True
    return AttemptEnded(step, number, failure=failure, retry_after_seconds=retry_after, transient=transient)


def _category_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, ConnectionError):
        return "connection"
    return f"adapter.{type(error).__name__}"


def _words(error: Exception) -> str:
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _jsonable(value: object) -> JsonValue:
    if value is None:
        return None
    try:
        return _decode(_encode(value))
    except (TypeError, ValueError):
        return repr(value)


def cancelled(task: asyncio.Task[None]) -> None:
    """Tell a running attempt that its result no longer matters."""
    task.cancel("the step was cancelled")
