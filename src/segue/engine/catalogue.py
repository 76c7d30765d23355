"""What the checker may know about a host's actions: its registry, seen through the language's catalogue port."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from segue.engine.port import Action, ActionRegistry
from segue.flow.catalogue import ActionSpec, FlowSpec


class RegistryCatalogue:
    """Satisfies `segue.flow.catalogue.Catalogue` over the actions registered now, and the flows it is given."""

    def __init__(
        self,
        registry: ActionRegistry,
        *,
        flows: Callable[[], Iterable[FlowSpec]] | None = None,
        find: Callable[[str], FlowSpec | None] = lambda _: None,
    ) -> None:
        """`flows` gives all that there are; `find` knows of some, and there may be others."""
        self._registry = registry
        self._find_flows = flows
        self._find = find

    def with_flows(self, flows: Callable[[], Iterable[FlowSpec]]) -> RegistryCatalogue:
        """The same actions, and flows that are looked for once, and only if a flow names another."""
        return RegistryCatalogue(self._registry, flows=flows)

    @cached_property
    def _flows(self) -> dict[str, FlowSpec] | None:
        return None if self._find_flows is None else {spec.name: spec for spec in self._find_flows()}

    def action(self, name: str) -> ActionSpec | None:
        """See `Catalogue.action`."""
        found = self._registry.get(name)
        return None if found is None else _spec(found)

    def adapters(self) -> Iterable[str]:
        """See `Catalogue.adapters`."""
        return sorted({name.partition(".")[0] for name in self._registry.names() if "." in name})

    def actions(self, adapter: str) -> Iterable[str]:
        """See `Catalogue.actions`."""
        start = f"{adapter}."
        return [name.removeprefix(start) for name in self._registry.names() if name.startswith(start)]

    def default_action(self, adapter: str) -> str | None:
        """The only action of the adapter, if it has just one."""
        found = list(self.actions(adapter))
        return found[0] if len(found) == 1 else None

    def flow(self, name: str) -> FlowSpec | None:
        """See `Catalogue.flow`."""
        return self._find(name) if self._flows is None else self._flows.get(name)

    def flows(self) -> Iterable[str] | None:
        """See `Catalogue.flows`."""
        return None if self._flows is None else tuple(self._flows)

    def names(self) -> Iterable[str]:
        """Every name that an action is known by."""
        return self._registry.names()


def _spec(action: Action) -> ActionSpec:
    return ActionSpec(
        name=action.name,
        description=action.description,
        params_schema=action.params_schema,
        result_schema=action.result_schema,
        effect="keyed" if callable(action.effect) else action.effect,
    )
