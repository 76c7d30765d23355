"""Compiled JSON Schema validators (draft 2020-12, formats on), each made once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from segue.flow.model import RawMap

if TYPE_CHECKING:
    import jsonschema_rs

_LIMIT: Final = 512
_CACHE: OrderedDict[int, tuple[RawMap, jsonschema_rs.Draft202012Validator]] = OrderedDict()


def validator(schema: RawMap) -> jsonschema_rs.Draft202012Validator:
    """The validator of a schema, kept by the schema object's identity: schemas are not changed once a flow holds them.

    Raises jsonschema_rs.ValidationError or ValueError if it is no schema; reading a flow refuses those.
    """
    import jsonschema_rs  # noqa: PLC0415 - a flow without schemas never needs it

    kept = _CACHE.get(id(schema))
    # The schema is kept with its validator, so that its id cannot be given to another object.
    if kept is not None and kept[0] is schema:
        return kept[1]
    made = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    _CACHE[id(schema)] = (schema, made)
    while len(_CACHE) > _LIMIT:
        _CACHE.popitem(last=False)
    return made
