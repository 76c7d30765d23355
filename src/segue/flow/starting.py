"""What a trigger makes of an event: whether a run begins (`when`), and with which inputs (`inputs`, else the body).

Pure: the event is given, nothing is stored or started. The same rule serves dry runs, flow tests and real triggers.
An event is a map such as `{kind: webhook, body: …, headers: …}`; in expressions it is `$trigger`, its body `$data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, cast

import msgspec

from segue.errors import InvalidInputError
from segue.expr import Condition, ExprError, Impure, MappingScope, Value, compile_condition, compile_value, to_json
from segue.flow.model import Flow, JsonValue, RawMap, Trigger

_REMEMBERED: Final = 512
"""Compiled conditions and maps of inputs: a webhook's are asked for with every delivery."""
_encode: Final = msgspec.json.Encoder().encode


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of an event. `inputs` are those of the run before defaults and validation; empty if none begins."""

    begins: bool
    inputs: RawMap = msgspec.field(default_factory=dict[str, JsonValue])
    reason: str | None = None
    """Why no run begins, or which condition let it begin."""


def trigger_for(flow: Flow, event: Mapping[str, JsonValue]) -> Trigger | None:
    """The trigger that an event is for: the first of its `kind` and `name`; without a kind the flow's first."""
    kind, name = event.get("kind"), event.get("name")
    for trigger in flow.triggers:
        if kind in (None, "test", trigger.kind) and (name is None or trigger.settings.get("name") == name):
            return trigger
    return None


def begin_from(flow: Flow, trigger: Trigger | None, event: Mapping[str, JsonValue], impure: Impure) -> Beginning:
    """Whether a run begins at the event, and its inputs: what the trigger's `inputs` map says, else the fields of the
    body whose names the flow declares.

    Raises InvalidInputError if `when` or `inputs` cannot be computed, or `inputs` is no map.
    """
    body = event.get("body")
    scope = MappingScope({"trigger": dict(event), "data": body, "env": flow.env})
    reason = None
    if trigger is not None and trigger.when is not None:
        try:
            holds, null = _condition(trigger.when).evaluate(scope, impure)
        except ExprError as error:
            raise InvalidInputError(
                f"the trigger's `when` cannot be computed: {error}", [("when", str(error))]
            ) from error
        if not holds:
            why = f" ({null})" if null else ""
            return Beginning(begins=False, reason=f"the trigger's `when` does not hold{why}: {trigger.when}")
        reason = f"the trigger's `when` holds: {trigger.when}"
    mapping = None if trigger is None else trigger.settings.get("inputs")
    if mapping is None:
        return Beginning(begins=True, inputs=_same_names(flow, body), reason=reason)
    try:
        made = to_json(_value(_encode(mapping)).evaluate(scope, impure))
    except ExprError as error:
        path = ".".join(("inputs", *(str(part) for part in error.path)))
        raise InvalidInputError(f"the trigger's `inputs` cannot be computed: {error}", [(path, str(error))]) from error
    if not isinstance(made, dict):
        raise InvalidInputError("the trigger's `inputs` are no map", [("inputs", "write a map of names and values")])
    return Beginning(begins=True, inputs=cast("RawMap", made), reason=reason)


def trigger_value(written: JsonValue, event: Mapping[str, JsonValue], impure: Impure, what: str) -> JsonValue:
    """A value of a trigger over its event. Raises InvalidInputError if it cannot be computed."""
    scope = MappingScope({"trigger": dict(event), "data": event.get("body"), "env": {}})
    try:
        return to_json(_value(_encode(written)).evaluate(scope, impure))
    except ExprError as error:
        raise InvalidInputError(f"the trigger's `{what}` cannot be computed: {error}", [(what, str(error))]) from error


def refuse_uncomputable(trigger: Trigger) -> None:
    """Raises InvalidInputError if one of a trigger's expressions cannot be compiled, whatever the event."""
    for place in ("when", "inputs", "dedupe"):
        try:
            if place != "when":
                _value(_encode(trigger.settings.get(place)))
            elif trigger.when is not None:
                _condition(trigger.when)
        except ExprError as error:
            message = f"the trigger's `{place}` cannot be computed: {error}"
            raise InvalidInputError(message, [(place, str(error))]) from error


def _same_names(flow: Flow, body: JsonValue) -> RawMap:
    """The body's fields that the flow declares as inputs; a flow that declares none takes none from a trigger."""
    declared = flow.inputs.get("properties")
    if not isinstance(body, dict) or not isinstance(declared, dict):
        return {}
    return {name: value for name, value in body.items() if name in declared}


@lru_cache(maxsize=_REMEMBERED)
def _condition(text: str) -> Condition:
    return compile_condition(text)


@lru_cache(maxsize=_REMEMBERED)
def _value(written: bytes) -> Value:
    """What `inputs` says, by its JSON."""
    return compile_value(msgspec.json.decode(written))
