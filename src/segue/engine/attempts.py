"""Making one attempt: compute the parameters, call the action, turn what came of it into a kernel input.

Whatever an action does (returns, raises, returns something that is no JSON, is cancelled) ends here in one of two: an
output, or a `Failure` with a category. Secrets exist only inside `_Attempt.make`.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, cast

from msgspec.structs import replace

from segue.engine.declared import has_secret_headers, sealed_content, sealed_headers
from segue.engine.ids import call_id
from segue.engine.port import (
    Action,
    ActionRegistry,
    AttemptContext,
    CredentialsRefusedError,
    Linked,
    Links,
    LogLevel,
    LogSink,
)
from segue.engine.result_cache import Earlier, ResultCache
from segue.engine.sealing import Sealing
from segue.engine.secrets import ResolvedSecret, SecretResolver
from segue.engine.values import NotKeepableError, as_kept, as_shown, as_text
from segue.errors import SegueError, StepError, TerminalError
from segue.expr import ExprError, MarkedScope, Scope, Value, to_json
from segue.expr.sealed import Box, Sealed, opened, sealed_in, spread
from segue.flow.model import JsonValue
from segue.kernel.events import Failure
from segue.kernel.inputs import AttemptEnded
from segue.kernel.scope import SeededImpure, step_scope
from segue.kernel.state import RunState, StepState
from segue.observe.context import AT_WORK
from segue.observe.masking import MASK, Masker, masker_for

MAX_OUTPUT_BYTES: Final = 64 * 1024 * 1024
"""A step's result as JSON; larger things belong in a file or an object store, with their address in the result."""

COMPUTED_LENGTH_MIN: Final = 8
"""Characters from which what was computed from a secret is looked for: shorter pieces stand anywhere."""

_HOST_END: Final = re.compile(r"[/?#:]")

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
        sealing: Sealing | None = None,
        links: Links | None = None,
    ) -> None:
        self.actions = actions
        self._links = links
        self.labels = labels
        self._secrets = secrets
        self._results = results
        self._sealing = sealing

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
            return _is_unsafe(action, step, opened(kept_params(state, step, {})) if callable(action.effect) else {})
        except (ExprError, StepError):
            return False

    async def child_params(self, state: RunState, step: StepState, workspace: str) -> dict[str, object]:
        """A `flow` step's parameters; what is secret in them is sealed. Raises ExprError, StepError."""
        return kept_params(state, step, await self._resolved(state, step, workspace))

    async def _resolved(self, state: RunState, step: StepState, workspace: str) -> dict[str, ResolvedSecret]:
        """The secrets that the attempt may use."""
        if not step.plan.uses_secrets:
            return {}
        if self._sealing is not None:
            await self._sealing.ready(workspace)
        return await self._secrets.resolve(state.plan.flow.secrets, workspace)

    async def make(
        self, state: RunState, step: StepState, workspace: str, write_log: LogWriter, callback_url: str | None
    ) -> AttemptEnded | None:
        """One attempt; None if its action is not known here, so that another host must make it.

        Never raises but CancelledError, if its task is cancelled, and KeyboardInterrupt.
        """
        number, masker = step.attempt, masker_for(state.plan.declared)
        address = step.address
        unsafe, retry_unclassified, kept = False, False, None
        try:
            secrets = await self._resolved(state, step, workspace) if step.plan.uses_secrets else {}
            if secrets:
                masker = masker.with_values(one.value for one in secrets.values())
            action = self.action_of(step)
            if action is None or (step.plan.step.runs_on and self.lacks(step)):
                return self._unbound(state, step)
            retry_unclassified = action.retry_unclassified
            kept = kept_params(state, step, secrets)
            plain = not secrets and state.box is not None and not state.box.used
            params = kept if plain else opened(kept)
            linked = None
            if action.takes_connection and "connection" in params:
                linked = await self._linked(params, workspace)
                masker = masker.with_values(linked.values)
            is_secret = bool(secrets) or params is not kept or linked is not None
            if is_secret:
                masker = masker.with_values(leaf for one in sealed_in(kept) for leaf in _long_leaves(one.plain))
            cache_key = None if self._results is None else self._results.key_of(state, step, workspace, params)
            if cache_key is not None and (earlier := await self._earlier(cache_key, state)) is not None:
                return AttemptEnded(step.id, number, earlier.output, cached_from=earlier.run_id)
            unsafe = _is_unsafe(action, step, params)
            context = AttemptContext(
                run_id=state.run_id, flow_id=state.plan.flow.id, workspace=workspace, step=address, attempt=number,
                call=call_of(state, step, workspace),
                log=_log_sink(write_log, address, masker), callback_url=callback_url, unsafe=unsafe, masker=masker,
                timeout_seconds=_timeout(step), bound=_bound(secrets) if secrets else (), connection=linked,
            )  # fmt: skip
            output, masker = await self._run(action, params, context)
            value = await self._result(output, masker if is_secret else None, state, workspace)
            return AttemptEnded(step.id, number, value, cache_key=cache_key)
        except ExprError as error:
            failure = Failure(category="expression", code=error.code, message=masker.mask_text(error.at("params")))
            return AttemptEnded(step.id, number, failure=failure)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _failed(step.id, number, error, _with_hosts(masker, kept), unsafe=unsafe, retry_unclassified=False)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an action raises is a failure of its step, not of the host
            return _failed(
                step.id, number, error, _with_hosts(masker, kept), unsafe=unsafe, retry_unclassified=retry_unclassified
            )

    async def _earlier(self, cache_key: str, state: RunState) -> Earlier | None:
        return None if self._results is None else await self._results.find(cache_key, state)

    async def _run(self, action: Action, params: dict[str, Any], context: AttemptContext) -> tuple[object, Masker]:
        """What the action gives, and what hides the secrets in it."""
        AT_WORK.set(context)
        masker = context.masker
        try:
            output = await action.run(params, context)
        except CredentialsRefusedError:
            if context.connection is None or self._links is None:
                raise
            linked = await self._links.renewed(context.connection)
            masker = masker.with_values(linked.values)
            again = replace(context, masker=masker, connection=linked, renewed=True)
            AT_WORK.set(again)
            output = await action.run(params, again)
        return output, masker

    async def _result(self, output: object, secrets: Masker | None, state: RunState, workspace: str) -> JsonValue:
        """The value as the journal will give it back, so that a step sees the same before and after a restart.

        Texts in which a secret comes back, in any of its forms, are sealed, and what is secret by its name: headers,
        and what the flow declares; a field that is merely called `token` is not.
        """
        value = _kept_output(output)
        if secrets is not None:
            value = _sealed(value, secrets, state.box)
        if state.box is None or not (state.plan.declared or has_secret_headers(value)):
            return value
        if self._sealing is not None:
            await self._sealing.ready(workspace)
        if has_secret_headers(value):
            value = sealed_headers(value, state.box)
        return sealed_content(value, state.plan, state.box)

    async def _linked(self, params: Mapping[str, object], workspace: str) -> Linked:
        """The connection that the step names."""
        name = params["connection"]
        if not isinstance(name, str) or self._links is None:
            what = "no connections are kept here" if self._links is None else "a connection is named by a text"
            raise TerminalError(what, category="validation", code="no_connection")
        if self._sealing is not None:
            await self._sealing.ready(workspace)
        try:
            return await self._links.link(workspace, name)
        except StepError:
            raise
        except SegueError as error:
            raise TerminalError(error.message, category="auth", code="no_connection") from error

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


def kept_params(state: RunState, step: StepState, secrets: Mapping[str, ResolvedSecret]) -> dict[str, object]:
    """The attempt's parameters, as of the step's start; what is secret or computed from a secret is sealed. Raises
    ExprError.
    """
    value = asked_value(step)
    return {} if value is None else spread(params_of(value, state, step, secrets))


def params_of(
    value: Value, state: RunState, step: StepState, secrets: Mapping[str, ResolvedSecret] | None = None
) -> Any:
    """Parameters computed as of the step's start. Raises ExprError."""
    box = state.box or Box(None)
    hidden = {name: Sealed(box.sealer, plain=one.value) for name, one in (secrets or {}).items()}
    scope: Scope = step_scope(state, step, value=step.job, secrets=hidden)
    if hidden or box.used:
        scope = MarkedScope(scope, box)
    # Not the attempt's number: all attempts of a step send the same.
    seed = f"{step.id}.{step.generation}.params"
    impure = SeededImpure(state.seed, seed, step.started_at or 0) if value.impure else None
    return to_json(value.evaluate(scope, impure))


def _long_leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in cast("dict[str, object]", value).items():
            yield from (*_long_leaves(name), *_long_leaves(one))
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _long_leaves(one)
    elif isinstance(value, str | int | float) and len(str(value)) >= COMPUTED_LENGTH_MIN:
        yield str(value)


def _with_hosts(masker: Masker, kept: object) -> Masker:
    """What also hides the hosts of addresses that were computed from a secret: errors name them alone."""
    leaves = [leaf for one in sealed_in(kept) for leaf in _long_leaves(one.plain) if "://" in leaf]
    if not leaves:
        return masker
    return masker.with_values(_HOST_END.split(leaf.partition("://")[2], maxsplit=1)[0] for leaf in leaves)


def _bound(secrets: Mapping[str, ResolvedSecret]) -> tuple[tuple[str, str], ...]:
    return tuple((one.value, one.origin) for one in secrets.values() if one.origin)


def _timeout(step: StepState) -> float | None:
    """What the step allows one attempt, for actions that have a limit of their own otherwise."""
    timeout = step.plan.step.timeout
    return None if timeout is None else timeout.attempt_seconds or timeout.total_seconds


def call_of(state: RunState, step: StepState, workspace: str) -> str:
    """What the call's idempotency key is made of: each question of a poll is a call of its own, its repeats are not."""
    if step.fallback:  # another system's own work
        return call_id(workspace, state.run_id, f"{step.address}~{step.fallback}", step.generation)
    asks = step.job is not None or step.polls > 0
    address = f"{step.address}#{step.polls}" if asks and step.plan.step.poll is not None else step.address
    return call_id(workspace, state.run_id, address, step.generation)


def _is_unsafe(action: Action, step: StepState, params: dict[str, object]) -> bool:
    """Whether nobody may repeat this attempt without knowing that it had no effect."""
    plan = step.plan.step
    return plan.at_most_once or (plan.idempotency or action.effect_of(params)) == "unsafe"


def _log_sink(write: LogWriter, step: str, secrets: Masker) -> LogSink:
    def log(level: LogLevel, message: str, /, **data: JsonValue) -> None:
        masker = secrets.for_logs()
        shown = {name: as_shown(value, masker) for name, value in data.items()}
        masked = cast("dict[str, JsonValue]", masker.mask_json(shown))
        write(step, level, as_text(str(message), masker), masked)

    return log


def _kept_output(output: object) -> JsonValue:
    try:
        return as_kept(output, max_bytes=MAX_OUTPUT_BYTES)
    except NotKeepableError as error:
        message = f"the result of type {type(output).__name__}: {error}"
        raise TerminalError(message, category="validation", code=f"result_{error.code}") from error


def _sealed(value: JsonValue, secrets: Masker, box: Box | None) -> JsonValue:
    if isinstance(value, dict):
        if any(secrets.mask_values(name) != name for name in value):
            return MASK if box is None else box.mark(value)
        return {name: _sealed(one, secrets, box) for name, one in value.items()}
    if isinstance(value, list):
        return [_sealed(one, secrets, box) for one in value]
    if isinstance(value, str):
        masked = secrets.mask_values(value)
        return value if masked == value else masked if box is None else box.mark(value)
    if isinstance(value, int | float) and secrets.mask_values(str(value)) == MASK:
        return MASK if box is None else box.mark(value)
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
