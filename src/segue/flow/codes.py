"""The table of problem codes: what each means, why it arises, how it is mended, how grave it is.

The checker, the tests (every code has a test that triggers it) and the page `docs/errors.md` (`errors_page`) all come
from this table. A code never changes its meaning; a number that is given up is not used
again.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Severity = Literal["error", "warning", "note"]


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of mistake. `severity` is the usual one; a check for running may turn a warning into an error."""

    code: str
    title: str
    cause: str
    fix: str
    severity: Severity = "error"


CODES: Final[dict[str, Code]] = {}


def _code(code: str, title: str, cause: str, fix: str, severity: Severity = "error") -> str:
    CODES[code] = Code(code=code, title=title, cause=cause, fix=fix, severity=severity)
    return code


SYNTAX: Final = _code(
    "FLW001",
    "The text is neither YAML nor JSON",
    "A bracket or quote is not closed, the indentation does not line up, or a value holds `: ` without quotes.",
    "Mend the text at the place shown; put quotes around values that contain `: `, ` #` or start with a sign.",
)
DUPLICATE_KEY: Final = _code(
    "FLW002",
    "A key stands twice in one map",
    "YAML readers differ on which of the two counts, so neither is taken.",
    "Keep one of them.",
)
TOO_LARGE: Final = _code(
    "FLW003",
    "The text is too large or too deeply nested",
    "The text exceeds the limits on size, depth or number of values (aliases count each time they are used).",
    "Split the flow, or move large data into an input or a file.",
)
TEMPLATE_QUOTED: Final = _code(
    "FLW004",
    "A template without quotes was read as if quoted",
    "YAML takes an unquoted `{{` for the start of a map; Segue repairs that before reading.",
    'Put quotes around the value, so that other YAML tools read it too: `"{{ … }}"`. `segue fix` does it.',
    "note",
)
YAML_FEATURE: Final = _code(
    "FLW005",
    "A YAML feature that flows do not use",
    "Type tags, merge keys (`<<`), keys that are not text, and several documents in one file are refused.",
    "Write the value out; repeat shared parts by name under `definitions:`.",
)
NOT_TEXT: Final = _code(
    "FLW006",
    "The bytes are not readable text",
    "The file is not UTF-8, or holds control characters.",
    "Save the file as UTF-8 without control characters.",
)
NUMBER: Final = _code(
    "FLW007",
    "A number that cannot be kept exactly",
    "Integers have 64 bits; infinity and not-a-number are not JSON.",
    "Put quotes around long ids and digits that are text.",
)
UNKNOWN_KEY: Final = _code(
    "FLW010",
    "An unknown key",
    "The key is misspelt, stands at the wrong level, or belongs to another verb.",
    "Use the key suggested, move it, or begin its name with `x-` if it is for another tool.",
)
MISSING_KEY: Final = _code(
    "FLW011",
    "A key that is needed is missing",
    "The verb cannot be read without it.",
    "Add the key named in the message.",
)
UNKNOWN_ADAPTER: Final = _code(
    "FLW012",
    "An unknown adapter",
    "No adapter of that name is installed.",
    "Use the adapter suggested, or install it; `segue adapters` lists them.",
)
UNKNOWN_ACTION: Final = _code(
    "FLW013",
    "An unknown action",
    "The adapter is known, but has no such action (or no default action, and none was named).",
    "Use the action suggested.",
)
UNBOUND: Final = _code(
    "FLW014",
    "A name that nothing is known by",
    "The name is no definition of this file, no saved step, no action and no flow.",
    "Define it under `definitions:`, correct it, or write `unbound: allow` to let such steps pass.",
    "warning",
)
WRONG_TYPE: Final = _code(
    "FLW015",
    "A value of the wrong kind",
    "The key takes another kind of value, such as a map, a list or a number.",
    "Write the value as the message says.",
)
NOT_ALLOWED: Final = _code(
    "FLW016",
    "A value outside the allowed ones",
    "The key takes one of a few words, or a number within limits.",
    "Use one of the values named in the message.",
)
TWO_VERBS: Final = _code(
    "FLW017",
    "Two verbs in one step",
    "A step does one thing; it has exactly one verb.",
    "Make two steps of it.",
)
NO_VERB: Final = _code(
    "FLW018",
    "A step without a verb",
    "Nothing says what the step does.",
    "Add a verb, such as `call: adapter.action`, or a name to use.",
)
BARE_NUMBER: Final = _code(
    "FLW019",
    "A duration without its unit",
    "A bare number does not say whether it counts seconds or milliseconds.",
    "Add the unit: `500ms`, `30s`, `5m`, `2h`, `7d`. `segue fix` takes seconds.",
)
BAD_DURATION: Final = _code(
    "FLW020",
    "Text that is no duration",
    "Durations are numbers with units, or ISO 8601.",
    "Write it like `500ms`, `30s`, `1h30m`, `7d` or `PT30S`.",
)
DURATION_RANGE: Final = _code(
    "FLW021",
    "A duration out of range",
    "The duration is negative, zero where that makes no sense, or longer than ten years.",
    "Use a duration within the limits in the message.",
)
BAD_NAME: Final = _code(
    "FLW022",
    "A step name of the wrong shape",
    "Step names are letters, digits and underscores, not starting with a digit, so that `$name.field` can be written.",
    "Use the name suggested.",
)
RESERVED_NAME: Final = _code(
    "FLW023",
    "A step named like something always in scope",
    "Names such as `inputs`, `data`, `error` or `item` already mean something in every expression.",
    "Choose another name.",
)
DUPLICATE_STEP: Final = _code(
    "FLW024",
    "Two steps of the same name",
    "Within one scope a name means one step. Only branches that exclude each other may share a name.",
    "Rename one of them.",
)
UNKNOWN_STEP: Final = _code(
    "FLW025",
    "A step that does not exist",
    "`needs`, `dependencies`, or the end of an edge names a step that is not there.",
    "Use the name suggested, or add the step.",
)
CYCLE: Final = _code(
    "FLW026",
    "Steps that wait for each other",
    "The edges form a circle, so none of the steps in it could ever start.",
    "Remove one of the edges; for a loop use `repeat`.",
)
UNREACHABLE: Final = _code(
    "FLW027",
    "A step that can never run",
    "Every path to it ends before it (`return`, `fail`, `stop`), or it is not connected to the start.",
    "Remove the step, or connect it.",
    "warning",
)
ENDLESS_JOIN: Final = _code(
    "FLW028",
    "A join that could wait for ever",
    "It waits for more branches than lead to it.",
    "Lower the number, or use `all` or `any`.",
)
BAD_EDGE: Final = _code(
    "FLW029",
    "An edge whose end or label does not exist",
    "The edge leaves through a handle that its source node does not have.",
    "Use one of the labels named in the message.",
)
EXPRESSION: Final = _code(
    "FLW030",
    "An expression that does not compile",
    "The expression language cannot read it.",
    "Mend it at the place shown.",
)
UNKNOWN_NAME: Final = _code(
    "FLW031",
    "A reference to an unknown name",
    "No step and nothing else in scope has that name.",
    "Use the name suggested; `$$` writes a dollar sign.",
)
NOT_YET: Final = _code(
    "FLW032",
    "A reference to a step that cannot have run",
    "The step comes later, stands in another branch, or is inside a loop.",
    "Move the step, add it to `needs`, or reach into a loop with `steps.each[0].name`.",
)
UNKNOWN_INPUT: Final = _code(
    "FLW033",
    "An input that is not declared",
    "The flow declares its inputs, and this is not one of them.",
    "Use the input suggested, or declare it under `inputs:`.",
)
UNKNOWN_FIELD: Final = _code(
    "FLW034",
    "A field that the step's output does not have",
    "The action declares its result, and the field is not in it.",
    "Use the field suggested.",
)
BAD_PARAMS: Final = _code(
    "FLW035",
    "Parameters that do not fit the action",
    "A parameter is missing, unknown or of the wrong type.",
    "Change it as the message says.",
)
MANY_STEPS: Final = _code(
    "FLW036",
    "A large flow",
    "Flows of more than 50 steps are hard to follow.",
    "Move parts into flows of their own.",
    "warning",
)
TOO_MANY_STEPS: Final = _code(
    "FLW037",
    "Too many steps",
    "The flow exceeds the hard limit on steps.",
    "Move parts into flows of their own, or raise the limit.",
)
CANNOT_RUN: Final = _code(
    "FLW038",
    "Something the engine cannot run yet",
    "The language has the word, but this engine does not run it.",
    "Leave it out or do it another way until it can.",
)
RECURSIVE_DEFINITION: Final = _code(
    "FLW039",
    "A definition that uses itself",
    "Definitions are put in where they are used, so they may not form a circle.",
    "Break the circle; for loops use `repeat`.",
)
NO_STEPS: Final = _code(
    "FLW040",
    "Not a flow",
    "The document has no steps in any form that is read: `steps`, `tasks`, `nodes` or `dag`.",
    "Add `steps:` with a list of steps.",
)
BAD_SCHEMA: Final = _code(
    "FLW043",
    "A schema that is no JSON Schema",
    "The declared type or schema cannot be used to check values.",
    "Use a JSON Schema, or one of the type names in the message.",
)
EMPTY_BLOCK: Final = _code(
    "FLW044",
    "A block without steps",
    "The block is there, but holds nothing to do.",
    "Add a step, or remove the block.",
)
CONFLICT: Final = _code(
    "FLW045",
    "Keys that exclude each other",
    "Two keys say the same thing, or contradict each other.",
    "Keep one of them.",
)
UNKNOWN_SECRET: Final = _code(
    "FLW046",
    "A secret that is not declared",
    "The flow does not say where the secret comes from.",
    "Declare it: `secrets: {name: {from: env:NAME}}`.",
    "warning",
)
BAD_TRIGGER: Final = _code(
    "FLW048",
    "A trigger that cannot be read",
    "Triggers are `webhook.received`, `manual`, `{cron: …}`, `{every: …}`, `{at: …}`, `{event: …}`, `{flow: …}` or "
    "`{webhook: …}`.",
    "Write the trigger in one of those ways.",
)
NOT_REPLACED: Final = _code(
    "FLW049",
    "A reference inside of a text, which stays as it is",
    "`$name.field` is a reference if it is the whole value; inside of a text only `{{ … }}` computes.",
    "Write `{{ name.field }}` in its place. `segue fix` does it.",
    "warning",
)
