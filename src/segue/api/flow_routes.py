"""All routes about flows and what they are made of."""

from __future__ import annotations

from segue.api.flow_drafts import DraftRoutes
from segue.api.flow_exchange import ExchangeRoutes
from segue.api.flow_rehearsals import RehearsalRoutes
from segue.api.flow_versions import VersionRoutes
from segue.api.flows import FlowRoutes
from segue.api.saved_steps import SavedStepRoutes
from segue.api.services import Services
from segue.api.templates import TemplateRoutes
from segue.flows.exporting import Exports
from segue.flows.shelf import Shelf
from segue.flows.templates import Templates

Parts = FlowRoutes | DraftRoutes | VersionRoutes | RehearsalRoutes | SavedStepRoutes | ExchangeRoutes | TemplateRoutes


def flow_routes(shelf: Shelf, services: Services) -> tuple[Parts, ...]:
    """One object a resource, each with its router."""
    return (
        FlowRoutes(shelf),
        DraftRoutes(shelf),
        VersionRoutes(shelf),
        RehearsalRoutes(shelf, services.engine.actions),
        SavedStepRoutes(services.flows.saved),
        ExchangeRoutes(shelf, services.credentials),
        TemplateRoutes(
            shelf,
            Templates(services.tables, services.engine.now),
            Exports(services.flows, services.credentials),
        ),
    )
