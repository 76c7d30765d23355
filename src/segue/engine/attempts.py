"""Making one attempt: compute the parameters, call the action, turn what came of it into a kernel input.

Whatever an action does (returns, raises, returns something that is no JSON, is cancelled) ends here in one of two: an
output, or a `Failure` with a category. Secrets exist only inside `_Attempt.make`.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, cast

from segue.engine.ids import idempotency_key
from segue.engine.port import Action, ActionRegistry, AttemptContext, LogLevel, LogSink
from segue.engine.result_cache import ResultCache
from segue.engine.secrets import SecretResolver
from segue.engine.values import NotKeepableError, as_kept, as_shown, as_text
from segue.errors import StepError, TerminalError
from segue.expr import ExprError, Value, to_json
from segue.flow.model import JsonValue
from segue.kernel.events import Failure
from segue.kernel.inputs import AttemptEnded
from segue.kernel.scope import RunScope, SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.observe.masking import DEFAULT_MASKER, MASK, Masker

MAX_OUTPUT_BYTES: Final = 64 * 1024 * 1024
"""A step's result as JSON; larger things belong in a file or an object store, with their address in the result."""

COMPUTED_LENGTH_MIN: Final = 8
"""Characters from which what was computed from a secret is looked for: shorter pieces stand anywhere."""

LogWriter = Callable[[str, LogLevel, str, dict[str, JsonValue]], None]
"""(step address, level, message, data), already masked."""


class AttemptMaker:
    """Makes attempts for one host."""

    starts_children: ClassVar[bool] = True
    """Whether an attempt of a `flow` step starts the other flow's run; else it is made here, like a call."""

    def __init__(
        self,
        actions: ActionRegistry,
        secrets: SecretResolver,
        *,
        labels: frozenset[str] = frozenset(),
        results: ResultCache | None = None,
    ) -> None:
        self.actions = actions
        self.labels = labels
        self._secrets = secrets
        self._results = results

    def action_of(self, step: StepState) -> Action | None:
        """The action that the step uses, or None if this host does not know it."""
        return self.actions.get(action_name(step))

    def lacks(self, step: StepState) -> str | None:
        """What this host would need to make the step's attempts, in words; None: it has all."""
        name = self.missing(step)
        if name is None or name not in step.plan.step.runs_on:
            return None if name is None else f"no action named {name!r} is known to this host"
        return f"this host does not have the label {name!r} that `runs_on` asks for"

    def missing(self, step: StepState) -> str | None:
        """The label or the action that this host would need for the step's next attempt."""
        missing = next((label for label in step.plan.step.runs_on if label not in self.labels), None)
        return missing or (None if self.action_of(step) is not None else action_name(step))

    def is_unsafe(self, state: RunState, step: StepState) -> bool:
        """Whether an attempt of unknown outcome must not be repeated blindly."""
        plan = step.plan.step
        if plan.at_most_once or plan.idempotency is not None:
            return plan.at_most_once or plan.idempotency == "unsafe"
        action = self.action_of(step)
        if action is None:
            return False
        try:
            return _is_unsafe(action, step, self.params(state, step, {}) if callable(action.effect) else {})
        except (ExprError, StepError):
            return False

    def params(self, state: RunState, step: StepState, secrets: dict[str, object]) -> dict[str, object]:
        """The step's parameters, as of its start. Raises ExprError."""
        value = asked_value(step)
        return {} if value is None else params_of(value, state, step, secrets)

    async def make(
        self, state: RunState, step: StepState, workspace: str, write_log: LogWriter, callback_url: str | None
    ) -> AttemptEnded | None:
        """One attempt; None if its action is not known here, so that another host must make it.

        Never raises but CancelledError, if its task is cancelled, and KeyboardInterrupt.
        """
        number, masker = step.attempt, DEFAULT_MASKER
        address = step.address
        unsafe, retry_unclassified = False, False
        try:
            secrets: dict[str, object] = {}
            if step.plan.uses_secrets:
                secrets = self._secrets.resolve(state.plan.flow.secrets)
                masker = masker.with_values(str(value) for value in secrets.values())
            if state.plan.flow.masking:
                masker = masker.with_names(state.plan.flow.masking)
            action = self.action_of(step)
            if action is None or (step.plan.step.runs_on and self.lacks(step)):
                return self._unbound(state, step)
            retry_unclassified = action.retry_unclassified
            params = self.params(state, step, secrets)
            # Results keep what merely came of a secret, a signature say, since later steps may need it; texts for
            # people do not.
            known = masker
            if secrets:
                masker = masker.with_values(_computed_from_secrets(state, step, secrets))
            earlier = None if self._results is None else await self._results.find(state, step, workspace, params)
            if earlier is not None:
                return AttemptEnded(step.id, number, earlier.output, cached_from=earlier.run_id)
            unsafe = _is_unsafe(action, step, params)
            context = AttemptContext(
                run_id=state.run_id, flow_id=state.plan.flow.id, workspace=workspace, step=address, attempt=number,
                idempotency_key=key_of(state, step, workspace),
                log=_log_sink(write_log, address, masker), callback_url=callback_url, unsafe=unsafe, masker=masker,
                timeout_seconds=_timeout(step),
            )  # fmt: skip
            output = await action.run(params, context)
            ended = AttemptEnded(step.id, number, _result(output, known if secrets else None))
            if self._results is not None:
                self._results.note(state, step, workspace, params)
            return ended
        except ExprError as error:
            failure = Failure(category="expression", code=error.code, message=masker.mask_text(f"params: {error}"))
            return AttemptEnded(step.id, number, failure=failure)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _failed(step.id, number, error, masker, unsafe=unsafe, retry_unclassified=False)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an action raises is a failure of its step, not of the host
            return _failed(step.id, number, error, masker, unsafe=unsafe, retry_unclassified=retry_unclassified)

    def _unbound(self, state: RunState, step: StepState) -> AttemptEnded | None:
        if state.plan.flow.unbound == "allow" and step.plan.step.unbound:
            data = step_scope(state, step).lookup("data")
            return AttemptEnded(step.id, step.attempt, data)  # pyright: ignore[reportArgumentType]
        return None


def action_name(step: StepState) -> str:
    """The name of the action that the step's next attempt uses."""
    plan = step.plan.step
    if step.fallback:
        return step.plan.fallbacks[step.fallback - 1].use
    if step.job is not None and plan.poll is not None:
        return plan.poll.use or ""
    return plan.use or plan.kind


def asked_value(step: StepState) -> Value | None:
    """What the parameters of the step's next attempt are computed by: its own, its poll's question's, a fallback's."""
    if step.fallback:
        return step.plan.fallbacks[step.fallback - 1].params or step.plan.params
    return step.plan.params if step.job is None else step.plan.poll_params


def params_of(value: Value, state: RunState, step: StepState, secrets: dict[str, object]) -> dict[str, object]:
    """Parameters as of the step's start. Raises ExprError."""
    return cast("dict[str, object]", to_json(value.evaluate(*_scope_of(value, state, step, secrets))))


def _scope_of(
    value: Value, state: RunState, step: StepState, secrets: dict[str, object]
) -> tuple[RunScope, SeededImpure | None]:
    scope = step_scope(state, step, value=step.job, secrets=secrets)
    if not value.impure:
        return scope, None
    # Not the attempt's number: all attempts of a step send the same.
    return scope, SeededImpure(state.seed, f"{step.id}.{step.generation}.params", step.started_at or 0)


def _computed_from_secrets(state: RunState, step: StepState, secrets: dict[str, object]) -> Iterator[str]:
    """The texts and numbers that the attempt's parameters have of expressions that read secrets. Raises ExprError."""
    value = asked_value(step)
    if value is None:
        return
    for _, program in value.programs:
        if any(reference.root == "secrets" for reference in program.references):
            yield from _long_leaves(to_json(program.evaluate(*_scope_of(value, state, step, secrets))))


def _long_leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in cast("dict[str, object]", value).items():
            yield from (*_long_leaves(name), *_long_leaves(one))
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _long_leaves(one)
    elif isinstance(value, str | int | float) and len(str(value)) >= COMPUTED_LENGTH_MIN:
        yield str(value)


def _timeout(step: StepState) -> float | None:
    """What the step allows one attempt, for actions that have a limit of their own otherwise."""
    timeout = step.plan.step.timeout
    return None if timeout is None else timeout.attempt_seconds or timeout.total_seconds


def key_of(state: RunState, step: StepState, workspace: str) -> str:
    """The call's idempotency key: each question of a poll is a call of its own, its repeats are not."""
    if step.fallback:  # another system's own work
        return idempotency_key(workspace, state.run_id, f"{step.address}~{step.fallback}", step.generation)
    asks = step.job is not None or step.polls > 0
    address = f"{step.address}#{step.polls}" if asks and step.plan.step.poll is not None else step.address
    return idempotency_key(workspace, state.run_id, address, step.generation)


def _is_unsafe(action: Action, step: StepState, params: dict[str, object]) -> bool:
    """Whether nobody may repeat this attempt without knowing that it had no effect."""
    plan = step.plan.step
    return plan.at_most_once or (plan.idempotency or action.effect_of(params)) == "unsafe"


def _log_sink(write: LogWriter, step: str, masker: Masker) -> LogSink:
    def log(level: LogLevel, message: str, /, **data: JsonValue) -> None:
        shown = {name: as_shown(value, masker) for name, value in data.items()}
        masked = cast("dict[str, JsonValue]", masker.mask_json(shown))
        write(step, level, as_text(str(message), masker), masked)

    return log


def _result(output: object, secrets: Masker | None) -> JsonValue:
    """The value as the journal will give it back, so that a step sees the same before and after a restart.

    Secrets that come back in it are hidden by their values alone: a field that is merely called `token` is the flow's
    own, and a later step needs it.
    """
    try:
        value = as_kept(output, max_bytes=MAX_OUTPUT_BYTES)
    except NotKeepableError as error:
        message = f"the result of type {type(output).__name__}: {error}"
        raise TerminalError(message, category="validation", code=f"result_{error.code}") from error
    return value if secrets is None else _without_values(value, secrets)


def _without_values(value: JsonValue, secrets: Masker) -> JsonValue:
    if isinstance(value, str):
        return secrets.mask_values(value)
    if isinstance(value, dict):
        return {secrets.mask_values(name): _without_values(one, secrets) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_values(one, secrets) for one in value]
    if isinstance(value, int | float) and secrets.mask_values(str(value)) == MASK:
        return MASK
    return value


def _failed(
    step: int, number: int, error: BaseException, masker: Masker, *, unsafe: bool, retry_unclassified: bool
) -> AttemptEnded:
    if isinstance(error, StepError):
        category, code, status = str(error.category), error.code, error.status
        details = None if error.details is None else as_shown(error.details, masker)
        message, retry_after = error.message, _seconds(error.retry_after_seconds)
        transient = False if isinstance(error, TerminalError) else None
    else:
        category, code, status, details = _category_of(error), type(error).__name__, None, None
        message, retry_after = _words(error), None
        transient = True if retry_unclassified and category.startswith("adapter.") else None
    # No answer came: of an unsafe call nobody knows whether it took effect, unless it is known not to have been sent.
    if unsafe and category in ("timeout", "connection", "cancelled") and getattr(error, "sent", True):
        category = "unknown_outcome"
    failure = Failure(
        category=category, code=None if code is None else masker.mask_values(str(code)),
        message=as_text(str(message), masker), details=details, status=status if isinstance(status, int) else None,
    )  # fmt: skip
    return AttemptEnded(step, number, failure=failure, retry_after_seconds=retry_after, transient=transient)


def _seconds(value: object) -> float | None:
    """A pause that can be computed with; an action may say anything."""
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return float(value)
    return None


def _category_of(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, ConnectionError):
        return "connection"
    return f"adapter.{type(error).__name__}"


def _words(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot even say what it is has a name all the same
        return name
    return f"{name}: {text}" if text else name


def cancelled(task: asyncio.Task[None]) -> None:
    """Tell a running attempt that its result no longer matters."""
    task.cancel("the step was cancelled")
