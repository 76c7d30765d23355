"""What the language needs to know about installed adapters: a small port, and an implementation in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from segue.flow.model import RawMap


class ActionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An action as flows see it. `name` is `adapter.action`, or an alias without a dot (a saved step, a Python
    function).

    `effect`: `safe` may be done again freely, `keyed` under the same idempotency key, `unsafe` never blindly.
    """

    name: str
    description: str = ""
    params_schema: RawMap | None = None
    """JSON Schema of the parameters; None: anything goes."""
    result_schema: RawMap | None = None
    """JSON Schema of the result; None: not declared."""
    effect: Literal["safe", "keyed", "unsafe"] = "keyed"


class FlowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Another flow as a flow sees it that runs it as a step."""

    name: str
    """Its id, as `flow:` names it."""
    inputs: RawMap | None = None
    """JSON Schema of its inputs; None or empty: it declares none, and takes anything."""
    file: str | None = None
    """Where it is written, if that is known."""


class Catalogue(Protocol):
    """Which adapters and actions there are. Answers from memory: it is asked for every step."""

    def action(self, name: str) -> ActionSpec | None:
        """The action `adapter.action`, or whatever else is known by that name; None if nothing is."""
        ...

    def adapters(self) -> Iterable[str]:
        """Names of all adapters."""
        ...

    def actions(self, adapter: str) -> Iterable[str]:
        """Action names of one adapter, without the adapter's name; empty for an unknown adapter."""
        ...

    def default_action(self, adapter: str) -> str | None:
        """The action meant when a flow names the adapter only; None if there is none."""
        ...

    def flow(self, name: str) -> FlowSpec | None:
        """The flow of that id; None if none is known by it."""
        ...

    def flows(self) -> Iterable[str] | None:
        """Ids of all flows; None if it is not known which there are, so that no name can be called wrong."""
        ...


class StaticCatalogue:
    """A catalogue that is given its actions. Satisfies `Catalogue`; used by tests and embedded hosts."""

    def __init__(
        self,
        actions: Iterable[ActionSpec] = (),
        *,
        default_actions: dict[str, str] | None = None,
        flows: Iterable[FlowSpec] | None = None,
    ) -> None:
        self._flows = None if flows is None else {spec.name: spec for spec in flows}
        self._actions = {spec.name: spec for spec in actions}
        self._defaults = dict(default_actions or {})
        self._by_adapter: dict[str, list[str]] = {}
        for name in self._actions:
            adapter, dot, action = name.partition(".")
            if dot:
                self._by_adapter.setdefault(adapter, []).append(action)

    def action(self, name: str) -> ActionSpec | None:
        """See `Catalogue`."""
        return self._actions.get(name)

    def adapters(self) -> Iterable[str]:
        """See `Catalogue`."""
        return tuple(self._by_adapter)

    def actions(self, adapter: str) -> Iterable[str]:
        """See `Catalogue`."""
        return tuple(self._by_adapter.get(adapter, ()))

    def default_action(self, adapter: str) -> str | None:
        """The one that was given as the default, or the adapter's only action."""
        chosen = self._defaults.get(adapter)
        if chosen is None and len(self._by_adapter.get(adapter, ())) == 1:
            return self._by_adapter[adapter][0]
        return chosen

    def flow(self, name: str) -> FlowSpec | None:
        """See `Catalogue`."""
        return None if self._flows is None else self._flows.get(name)

    def flows(self) -> Iterable[str] | None:
        """See `Catalogue`."""
        return None if self._flows is None else tuple(self._flows)

    def names(self) -> Iterable[str]:
        """Every name that an action is known by."""
        return tuple(self._actions)
