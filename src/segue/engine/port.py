"""The step port: what an action is to the engine, and what the engine gives to an action while an attempt is made.

An action (an HTTP request, a Python function, an adapter's operation) is one asynchronous call: parameters in, a JSON
value out. It fails by raising `StepError` (or any exception: see `segue.engine.attempts`). It may be called again for
the same step after a failure or a crash, with the same `idempotency_key`; `effect` says what that means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from segue.engine.ids import idempotency_key
from segue.flow.model import JsonValue, RawMap
from segue.observe.masking import DEFAULT_MASKER, Masker

Effect: TypeAlias = Literal["safe", "keyed", "unsafe"]
"""`safe`: may be repeated freely. `keyed`: may be repeated under the same key. `unsafe`: never repeated blindly."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


class LogSink(Protocol):
    """Takes one log line of the attempt; masked and kept by the engine."""

    def __call__(self, level: LogLevel, message: str, /, **data: JsonValue) -> None:
        """Write one line; `data` is shown beside the message."""
        ...


class Linked(Protocol):
    """A connection as attempts know it: what is in it, the action knows."""

    @property
    def values(self) -> tuple[str, ...]:
        """Its secrets, which are hidden wherever they come back."""
        ...


class Links(Protocol):
    """Where connections are found by name, in a workspace."""

    async def link(self, workspace: str, name: str) -> Linked:
        """Raises SegueError, never with a secret."""
        ...

    async def renewed(self, linked: Linked) -> Linked:
        """The connection with a new token; the same if it has none to renew."""
        ...


class CredentialsRefusedError(Exception):
    """The other side took nothing because the connection's token does not count any more: once more with a new one."""


class AttemptContext(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Facts about the attempt at hand."""

    run_id: str
    flow_id: str
    workspace: str
    step: str
    """The step instance's address, such as `each[3].enrich`."""
    attempt: int
    """Counted from 1."""
    call: str
    """See `segue.engine.ids.call_id`."""
    log: LogSink
    unsafe: bool = False
    """The attempt must not be sent twice, not even by a client that finds its connection closed."""
    masker: Masker = DEFAULT_MASKER
    """Hides the secrets that this attempt may know, for what the action itself shows of its errors."""
    timeout_seconds: float | None = None
    """What the step's own `timeout` allows this attempt; the engine ends it then. None: nothing is said."""
    bound: tuple[tuple[str, str], ...] = ()
    """Secrets that may be sent to one origin (scheme, host and port) only: value and origin of each."""
    connection: Linked | None = None
    """The connection that the step names, if the action takes one."""
    renewed: bool = False
    """Whether its token was just fetched."""
    callback_url: str | None = None
    """Where an outside system sends the signal that this step will wait for."""

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of one step instance, across restarts; another after a rewind."""
        return idempotency_key(self.call)


Run: TypeAlias = Callable[[dict[str, Any], AttemptContext], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One operation that steps can use, by `name` (`http`, `adapter.action`, a Python function's name)."""

    name: str
    run: Run
    effect: Effect | Callable[[Mapping[str, Any]], Effect] = "keyed"
    """Fixed, or decided by the parameters (an HTTP GET is safe, a POST keyed)."""
    description: str = ""
    params_schema: RawMap | None = None
    result_schema: RawMap | None = None
    retry_unclassified: bool = False
    """Whether an exception that is no StepError counts as worth another try (Python functions: yes)."""
    takes_connection: bool = False
    """Whether its parameter `connection` names a connection of the workspace."""
    tags: tuple[str, ...] = field(default=())

    def effect_of(self, params: Mapping[str, Any]) -> Effect:
        """What repeating the action with these parameters would mean."""
        return self.effect(params) if callable(self.effect) else self.effect


class ActionRegistry:
    """The actions that a host knows. Names are unique; registering one again replaces it only if asked to."""

    def __init__(self, actions: tuple[Action, ...] = ()) -> None:
        self._actions: dict[str, Action] = {}
        for action in actions:
            self.add(action)

    def add(self, action: Action, *, replace: bool = False) -> None:
        """Raises ValueError if the name is taken."""
        if action.name in self._actions and not replace:
            raise ValueError(f"an action named {action.name!r} is registered already")
        self._actions[action.name] = action

    def get(self, name: str) -> Action | None:
        """The action of this name, or None."""
        return self._actions.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._actions)

    def all(self) -> list[Action]:
        """All actions, by name."""
        return [self._actions[name] for name in self.names()]
