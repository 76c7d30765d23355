"""What a dry run found that a flow needs from outside: secrets with their sources, hosts, actions. Names only.

A list for who sets a flow up: which variables must be set, which addresses must be allowed (`SEGUE_EGRESS_ALLOW`),
which actions must be there, and what could not be repeated without harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec

from segue.engine.secrets import kind_of
from segue.flow.model import Flow
from segue.kernel.plan import NodePlan, Plan
from segue.observe.masking import MASK

if TYPE_CHECKING:
    from segue.engine.dry_run import PlannedStep


class NeededSecret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret that the flow declares. `source` as written: `env:NAME`, `secret:NAME`, …"""

    name: str
    source: str
    steps: list[str] = []
    """Ids of the steps whose parameters read it; empty: declared, but not read."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What must be there before a run. Secrets are those of the whole flow, the rest of the steps that would run."""

    secrets: list[NeededSecret] = []
    connections: list[str] = []
    """Names of connections that secrets come from."""
    hosts: list[str] = []
    """Hosts (with the port, if one is written) that would be sent to. One whose name is not known yet is left out."""
    actions: list[str] = []
    outside_calls: int = 0
    unsafe: list[str] = []
    """Steps whose call is not repeated on its own, since a repeat may do harm."""


def needs_of(plan: Plan, steps: Iterable[PlannedStep], calls: int) -> Needs:
    """The needs of a played flow. `steps` are those that would run (of long loops the first), `calls` counts all."""
    readers = _readers(plan.nodes)
    secrets = [
        NeededSecret(name=name, source=source, steps=readers.get(name, []))
        for name, source in _sources(plan.flow).items()
    ]
    hosts: dict[str, None] = {}
    actions: dict[str, None] = {}
    unsafe: dict[str, None] = {}
    for step in steps:
        for call in step.calls:
            if step.action is None or call.params is None:  # nothing goes out: a signal, or no parameters
                continue
            actions[step.action] = None
            if step.effect == "unsafe":
                unsafe[step.id.rpartition(".")[2]] = None
            host = _host(call.params) if step.action == "http" else None
            if host is not None:
                hosts[host] = None
    connections = dict.fromkeys(
        place.rpartition(".")[0] for kind, place in (kind_of(one.source) for one in secrets) if kind == "connection"
    )
    return Needs(
        secrets=secrets, connections=list(connections), hosts=list(hosts), actions=list(actions), outside_calls=calls,
        unsafe=list(unsafe),
    )  # fmt: skip


def _sources(flow: Flow) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, source in flow.secrets.items():
        where: object = cast("Mapping[str, object]", source).get("from") if isinstance(source, dict) else source
        found[name] = str(where)
    return found


def _readers(nodes: Iterable[NodePlan]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in nodes:
        values = [value for value in (node.params, node.poll_params) if value is not None]
        for reference in (one for value in values for one in value.references):
            if reference.root == "secrets" and reference.path:
                steps = found.setdefault(str(reference.path[0]), [])
                if node.step.id not in steps:
                    steps.append(node.step.id)
    return found


def _host(params: object) -> str | None:
    url = cast("dict[str, object]", params).get("url") if isinstance(params, dict) else None
    if not isinstance(url, str):
        return None
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        # No address: the step itself fails with that, and the plan says so there.
        return None
    return host if host and MASK not in host else None
