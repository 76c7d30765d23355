"""What the reference says beside the code's tables: types, forms of a step, operators and macros with examples."""

# ruff: noqa: E501 - rows of tables read better whole

from __future__ import annotations

from typing import Final, NamedTuple


class Shown(NamedTuple):
    """A sentence with an expression and what it gives, as JSON or as an error code (both are verified)."""

    text: str
    example: str
    gives: str
    names: dict[str, object] = {}  # noqa: RUF012 - read only


TYPES: Final = {
    "expression": "A bare expression: `$order.total > 100 and $order.paid`",
    "value": "Any JSON; texts may be references (`$step.field`) or hold computations (`{{ … }}`)",
    "values": "A map of values",
    "text": "A text; numbers and truth values are taken as they are written",
    "name": "A text that is not empty",
    "names": "A name or a list of names",
    "int": "A whole number",
    "number": "A number",
    "bool": "`true` or `false`; `yes` and `no` are text",
    "duration": "`500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`, or ISO 8601 (`PT30S`); never a bare number, except under the"
    " camel-case keys of the older documents, where it is milliseconds",
    "steps": "A list of steps, or one step",
    "schema": "A JSON Schema, or names with types: `{email: email, amount: {type: number, default: 3}, note: string?}`",
    "retry": "A number of tries, or a map: see [Retry](#retry)",
    "timeout": "A duration, or a map: see [Timeout](#timeout)",
    "poll": "A map: see [Poll](#poll)",
    "wait": "A duration, or a map",
    "map": "A map",
    "list": "A list",
}

STEP_FORMS: Final = {
    "- authenticate": "A step `authenticate` that uses what is known by that name",
    "- step1: authenticate": "A step `step1` that uses `authenticate`; modifiers may stand beside it",
    "- verify: {adapter: iam, action: verify_token}": "The key names the step",
    "- {name: verify, call: iam.verify_token}": "The long form",
    "- parallel: [send_email, send_sms]": "A verb without a name; the step is numbered: `parallel_1`",
}

DECISIONS: Final = (
    Shown("A missing field or index is null", "order.nothing", "null", {"order": {}}),
    Shown("`??` gives what to take for null", "order.note ?? 'none'", '"none"', {"order": {}}),
    Shown("A field that is null is there", "has(order.note)", "true", {"order": {"note": None}}),
    Shown("Equality with null is no error", "null == 1", "false"),
    Shown("Ordering with null is one", "null < 1", "EXP102"),
    Shown("Null counts as false where a condition stands", "null ? 'yes' : 'no'", '"no"'),
    Shown("Nothing else counts as true or false", "'' ? 1 : 2", "EXP102"),
    Shown("Integers have 64 bits, and overflow is an error", "9223372036854775807 + 1", "EXP104"),
    Shown("Integers divide as integers, towards zero", "7 / 2", "3"),
    Shown("An integer with a double computes as a double", "7 / 2.0", "3.5"),
    Shown("`&&` and `||` give a result if one side alone decides it", "1 / 0 > 1 || true", "true"),
    Shown("The remainder has the sign of the dividend", "-7 % 3", "-1"),
)

LITERALS: Final = (
    Shown("Integers, also in base 16", "[42, 0x1f]", "[42, 31]"),
    Shown("Unsigned integers", "3u", "3"),
    Shown("Doubles", "[1.5, 1e3]", "[1.5, 1000.0]"),
    Shown("Texts, in either quote", "'a' + \"b\"", '"ab"'),
    Shown("Raw texts, in which a backslash is itself", "r'\\d' == '\\\\d'", "true"),
    Shown("Bytes (base64 in JSON)", "b'abc'", '"YWJj"'),
    Shown("Truth values and null", "[true, false, null]", "[true, false, null]"),
    Shown("Lists and maps", "{'a': [1, 2]}.a[1]", "2"),
)

OPERATORS: Final = (
    Shown("`? :`", "1 < 2 ? 'yes' : 'no'", '"yes"'),
    Shown("`||` `or`", "false or true", "true"),
    Shown("`&&` `and`", "true and false", "false"),
    Shown("`not`", "not 1 == 2", "true"),
    Shown("`==` `!=` `<` `<=` `>` `>=` `in` `not in`", "3 not in [1, 2]", "true"),
    Shown("`|`, the pipe", "' ada ' | trim | upper", '"ADA"'),
    Shown("`??`", "5 ?? 1 + 1", "5"),
    Shown("`+` `-`", "10 - 2 - 3", "5"),
    Shown("`*` `/` `%`", "1 + 2 * 3", "7"),
    Shown("`!` `-`", "!true == false", "true"),
    Shown("`.` `[ ]` and calls", "{'a': ['x', 'y']}.a[1].upper()", '"Y"'),
)

MACROS: Final = (
    Shown("Whether it holds for all", "[1, 2].all(x, x > 0)", "true"),
    Shown("Whether it holds for one or more", "[1, 2].exists(x, x > 1)", "true"),
    Shown("Whether it holds for just one (also `existsOne`)", "[1, 2, 2].exists_one(x, x == 2)", "false"),
    Shown("Those for which it holds", "[1, 2, 3].filter(x, x != 2)", "[1, 3]"),
    Shown("What is made of each", "[1, 2].map(x, x * 10)", "[10, 20]"),
    Shown("What is made of those for which it holds", "[1, 2, 3].map(x, x > 1, x * 10)", "[20, 30]"),
    Shown("A list, with the index (or a map's key) at hand", "['a', 'b'].transformList(i, x, x + string(i))",
          '["a0", "b1"]'),
    Shown("A map with other values", "{'a': 1}.transformMap(key, value, value + 1)", '{"a": 2}'),
    Shown("A map of other entries", "{'a': 'b'}.transformMapEntry(key, value, {value: key})", '{"b": "a"}'),
    Shown("In the order of what is made of each", "[3, -1, 2].sortBy(x, -x)", "[3, 2, -1]"),
    Shown("Whether a field is there", "has({'a': null}.a)", "true"),
    Shown("A name for a value, in one expression", "cel.bind(x, 2 + 3, x * x)", "25"),
    Shown("What is made of an optional's value", "{'a': 2}.?a.optMap(x, x * 10).orValue(0)", "20"),
    Shown("What is made of it is an optional itself", "{'a': {'b': 1}}.?a.optFlatMap(x, x.?c).hasValue()", "false"),
)  # fmt: skip

OPTIONALS: Final = (
    Shown("A field that may lack, as an optional", "{'a': 1}.?b.orValue(7)", "7"),
    Shown("Fields behind it need no further `?`", "{'a': {}}.?a.b.c.hasValue()", "false"),
    Shown("An index or key that may lack", "['x'][?3].orValue('none')", '"none"'),
    Shown("Unlike with `??`, a null that is there is kept", "{'a': null}.?a.orValue(7)", "null"),
    Shown("Items and entries only where there is a value", "[1, ?{'a': 2}.?a, ?{}.?a]", "[1, 2]"),
)

CEL_LEFT_OUT: Final = (
    ("Messages: `google.protobuf.Value{…}`, `TestAllTypes{…}`, wrappers, enums, extension fields",
     "Values are JSON; there are no message types. `{'key': value}` makes a map."),
    ("Containers (`container: com.example`) for names", "A flow has one scope, in which every name is whole."),
    ("Type checking before a run as an error of its own",
     "A flow's references are checked against schemas; operators are checked when they run, as CEL's `dyn`."),
    ("`no such key` and `index out of bounds` as errors", "Deviation 2: what is missing is null."),
    ("`cel.block`, `cel.index`, `cel.iterVar`", "Written by optimizers, not by people; `cel.bind` names a value."),
    ("`first()` and `last()` of a list as optionals", "Deviation 2: null of an empty list."),
    ("Unknown values (partial evaluation)", "A name is in scope, or the flow is refused."),
)  # fmt: skip
"""What CEL and its usual extensions have and this language has not, with the reason."""
