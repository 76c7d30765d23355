"""Which webhook an address means: by its unguessable part, by a path of the flow's own, or by the flow alone."""

from __future__ import annotations

from typing import Final

from segue.errors import NotFoundError
from segue.flow.model import RawMap
from segue.flow.trigger_keys import BODY_BYTES
from segue.triggers.errors import MethodNotTakenError
from segue.triggers.incoming import Incoming
from segue.triggers.records import TriggerRow
from segue.triggers.registry import Registry
from segue.triggers.webhook_settings import WebhookSettings, read_webhook_settings

_HANDSHAKES: Final = ("GET", "POST")
"""How senders ask whether an address is ours (`challenge: {query: …}`)."""
Known = tuple[TriggerRow, WebhookSettings]


class Webhooks:
    """The webhooks of a host by their addresses. `body_bytes`: the largest body of those that say nothing of it."""

    def __init__(self, registry: Registry, body_bytes: int = BODY_BYTES) -> None:
        self._registry = registry
        self.body_bytes = body_bytes
        self._settings: dict[str, tuple[RawMap, WebhookSettings]] = {}

    def at(self, incoming: Incoming) -> Known:
        """The one webhook that takes this request. Raises NotFoundError, MethodNotTakenError."""
        known = self._known(incoming.workspace, incoming.flow_id, incoming.random)
        if not known:
            raise NotFoundError("no webhook has this address")
        fits = [one for one in known if takes_method(one[1], incoming)]
        if not fits:
            methods = frozenset[str]().union(*(settings.methods for _, settings in known))
            raise MethodNotTakenError(methods)
        if len(fits) > 1:
            raise NotFoundError("several webhooks have this address; use the one with the unguessable part")
        return fits[0]

    def settings_of(self, row: TriggerRow) -> WebhookSettings:
        """A webhook's settings. Raises RequestError if they are none."""
        known = self._settings.get(row.id)
        if known is None or known[0] is not row.settings:
            known = self._settings[row.id] = (row.settings, read_webhook_settings(row.settings))
        return known[1]

    def bytes_of(self, settings: WebhookSettings) -> int:
        """The largest body that a webhook takes."""
        return self.body_bytes if settings.max_bytes is None else settings.max_bytes

    def bytes_at(self, workspace: str, flow_id: str, random: str | None) -> int:
        """The largest body that is read at an address before it is known who sends it."""
        known = self._known(workspace, flow_id, random)
        return max((self.bytes_of(settings) for _, settings in known), default=self.body_bytes)

    def _known(self, workspace: str, flow_id: str, random: str | None) -> list[Known]:
        rows = self._registry.webhooks_at(workspace, flow_id, random)
        is_guessable = random is None or not rows
        if is_guessable:
            # A path of the flow's own is no secret: it counts like no unguessable part at all.
            rows = self._registry.webhooks_at(workspace, flow_id, None)
            if random is not None:
                rows = [row for row in rows if str(row.settings.get("path", "")).strip("/") == random]
        known = [(row, self.settings_of(row)) for row in rows if row.enabled]
        return [one for one in known if not is_guessable or (one[1].auth.is_named and one[1].auth.scheme is not None)]


def takes_method(settings: WebhookSettings, incoming: Incoming) -> bool:
    """Whether a webhook answers a request of this method."""
    return incoming.method in settings.methods or is_handshake(settings, incoming)


def is_handshake(settings: WebhookSettings, incoming: Incoming) -> bool:
    """Whether the request only asks if the address is ours: its challenge stands in the query, which nobody signs."""
    name = None if settings.challenge is None else settings.challenge.query
    return name is not None and incoming.method in _HANDSHAKES and any(key == name for key, _ in incoming.query)
