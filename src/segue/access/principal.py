"""Who asks, in which workspace, and what that one may do there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

RESOURCES: Final = ("flow", "run", "connection", "workspace")
ACTIONS: Final = ("read", "create", "update", "delete", "execute", "admin")
PERMISSIONS: Final = frozenset(f"{resource}:{action}" for resource in RESOURCES for action in ACTIONS)
"""`<resource>:<action>` of document C. `admin` of a resource means all actions on it. Triggers and schedules belong to
`flow`, callbacks and logs to `run`, secrets to `connection`; users, roles, keys and flags to `workspace`.
"""
ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "owner": frozenset(f"{resource}:admin" for resource in RESOURCES),
        "editor": frozenset({"flow:admin", "run:admin", "connection:read", "connection:execute", "workspace:read"}),
        "operator": frozenset(
            {"flow:read", "flow:execute", "run:admin", "connection:read", "connection:execute", "workspace:read"}
        ),
        "viewer": frozenset({"flow:read", "run:read", "connection:read", "workspace:read"}),
    }
)
"""What the roles that every workspace has from the start may do."""
DEFAULT_WORKSPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """An identity that was proven, in the workspace that it works in now."""

    kind: Literal["user", "key", "server"]
    """A person with a session, a program with a key of its own, or whoever has the token that the server printed."""
    id: str
    name: str
    workspace: str
    permissions: frozenset[str]
    is_browser: bool = False
    """It came with a session's cookie, so its requests must come from our own page."""
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """What it may do beyond `permissions` with single flows: permissions by flow id."""

    def may(self, permission: str, flow_id: str | None = None) -> bool:
        """Whether it may do this, with the flow in question or with any."""
        if _allows(self.permissions, permission):
            return True
        granted = self.grants.get(flow_id) if flow_id is not None else None
        return granted is not None and _allows(granted, permission)

    def flows_for(self, permission: str) -> frozenset[str] | None:
        """The ids of the only flows with which it may do this; None: with all."""
        if _allows(self.permissions, permission):
            return None
        return frozenset(flow_id for flow_id, given in self.grants.items() if _allows(given, permission))


def _allows(given: frozenset[str], permission: str) -> bool:
    return permission in given or f"{permission.partition(':')[0]}:admin" in given
