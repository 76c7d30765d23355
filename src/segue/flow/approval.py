"""What the answer to an approval looks like: a decision, who made it, and the fields of the form."""

from __future__ import annotations

from typing import Final

from segue.flow.model import RawMap

DECISION_FIELDS: Final = ("decision", "approved", "by", "at", "decisions", "timed_out")
"""Fields of an approval's output that no form may have."""

_OWN: Final[RawMap] = {
    "decision": {"enum": ["approve", "reject"]},
    "approved": {"type": "boolean"},
    "by": {"type": "string", "minLength": 1, "maxLength": 200},
    "comment": {"type": "string"},
}
_NO_RULES: Final = frozenset(("$defs", "$schema", "properties", "additionalProperties"))


def decision_schema(form: RawMap | None, need: int) -> RawMap | None:
    """The JSON Schema of an answer; None if the form has a field of a name that an answer needs itself.

    An answer says `decision: approve` or `reject` (or `approved: true` or `false`). The form's required fields are
    needed to approve only. Where several people must agree, each says who it is.
    """
    fields = form.get("properties") if form else None
    fields = fields if isinstance(fields, dict) else {}
    if any(name in fields for name in DECISION_FIELDS):
        return None
    schema: RawMap = {
        "type": "object",
        "properties": {**_OWN, **fields},
        "additionalProperties": False,
        "anyOf": [{"required": ["decision"]}, {"required": ["approved"]}],
    }
    if need > 1:
        schema["required"] = ["by"]
    if form:
        # Keywords of a full schema other than its fields (`required`, `dependentRequired`, `if`, …) judge approvals.
        rules: RawMap = {name: rule for name, rule in form.items() if name not in _NO_RULES}
        rejected: RawMap = {
            "anyOf": [
                {"properties": {"decision": {"const": "reject"}}, "required": ["decision"]},
                {"properties": {"approved": {"const": False}}, "required": ["approved"]},
            ]
        }
        schema |= {"if": rejected, "else": rules}
        if "$defs" in form:
            schema["$defs"] = form["$defs"]
    return schema
