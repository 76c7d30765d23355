"""What a flow declares secret is sealed where it comes in: inputs, the trigger, results, signals, events.

It need not come from a secret: it is a field of a declared name (`segue.flow.declared`), or a text that tells such a
field (JSON, a form, a query) or fits a rule that `masking` names. From there on it is sealed like a secret.
"""

from __future__ import annotations

from typing import TypeGuard, cast

from segue.expr.sealed import Box, Sealed, opened
from segue.flow.model import JsonValue, RawMap
from segue.kernel.plan import Plan
from segue.observe.masking import DEFAULT_MASKER, Masker, masker_for


def sealed_inputs(inputs: RawMap, plan: Plan, box: Box) -> RawMap:
    """A run's inputs with what the flow declares secret in them sealed."""
    return cast("RawMap", sealed_content(inputs, plan, box))


def sealed_trigger(trigger: RawMap, plan: Plan, box: Box) -> RawMap:
    """What a run knows as `$trigger`: as its inputs, and headers that are credentials by their names."""
    return cast("RawMap", sealed_content(sealed_headers(trigger, box), plan, box))


def has_secret_headers(value: JsonValue) -> TypeGuard[RawMap]:
    """Whether a message (a request that came, an answer) has headers that are credentials by their names."""
    if not isinstance(value, dict) or "headers" not in value:
        return False
    headers = value["headers"]
    return isinstance(headers, dict) and any(DEFAULT_MASKER.is_sensitive(name) for name in headers)


def sealed_headers(message: RawMap, box: Box) -> RawMap:
    """The message with such headers sealed; the same object if it has none."""
    if not has_secret_headers(message):
        return message
    headers = cast("RawMap", message["headers"])
    hidden = {name: _marked(one, box) if DEFAULT_MASKER.is_sensitive(name) else one for name, one in headers.items()}
    return {**message, "headers": hidden}


def sealed_content(value: JsonValue, plan: Plan, box: Box | None) -> JsonValue:
    """A value that comes into a run, with what the flow declares secret in it sealed; the same object if nothing is."""
    return value if box is None or not plan.declared else _named(value, masker_for(plan.declared), box)


def _named(value: JsonValue, masker: Masker, box: Box) -> JsonValue:
    if isinstance(value, str):
        return box.mark(value) if type(value) is str and masker.tells_declared(value) else value
    if isinstance(value, dict):
        made = {
            name: _marked(one, box) if masker.declares(name) else _named(one, masker, box)
            for name, one in value.items()
        }
        return made if any(made[name] is not one for name, one in value.items()) else value
    if isinstance(value, list):
        items = [_named(one, masker, box) for one in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    if isinstance(value, int) and not isinstance(value, bool) and masker.tells_declared(str(value)):
        return box.mark(value)
    return value


def _marked(value: JsonValue, box: Box) -> JsonValue:
    """The value sealed as a whole; null tells nothing."""
    return value if value is None or type(value) is Sealed else box.mark(opened(value))
