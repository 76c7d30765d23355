"""What the routes stand on."""

from __future__ import annotations

from dataclasses import dataclass

from segue.access.credentials import Credentials
from segue.access.vault import Vault
from segue.client.engine import EngineElsewhere
from segue.engine.host import Engine
from segue.engine.library import FlowLibrary
from segue.flow import Catalogue
from segue.flows.service import StoredFlows
from segue.flows.source import StoredFlowSource
from segue.observe.health import HealthChecks
from segue.store.tables import Tables
from segue.triggers.service import Triggers


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one host that its API speaks to."""

    engine: Engine
    catalogue: Catalogue
    library: FlowLibrary
    """The flows of folders."""
    flows: StoredFlows
    """The flows that workspaces keep."""
    stored: StoredFlowSource
    """What of them runs."""
    engine_elsewhere: EngineElsewhere | None = None
    """What runs the graphs that come to the gateway, instead of this process."""
    health: HealthChecks
    tables: Tables
    triggers: Triggers
    vault: Vault
    """Seals what is kept encrypted."""
    credentials: Credentials
    """Secrets and connections."""
