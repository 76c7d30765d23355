"""Writes the reference pages from the tables of the code: `make docs`; `--check` only says which pages are stale.

Examples are evaluated or checked while the pages are written, so a page cannot say what is not so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import doc_errors
import doc_webhooks
from doc_errors import GENERATED, StaleExampleError
from doc_language import CEL_LEFT_OUT, DECISIONS, LITERALS, MACROS, OPERATORS, OPTIONALS, STEP_FORMS, TYPES, Shown
from segue.expr import DEFAULT_BUDGET, FunctionDoc, evaluate_case, functions
from segue.expr import __doc__ as EXPR_DOC
from segue.flow import errors_page
from segue.flow.schema import schema_text
from segue.flow.trigger_keys import AUTH_KEYS, KEYS_OF, MAIN_KEYS
from segue.flow.verbs import (
    CACHE_KEYS,
    CALLBACK_KEYS,
    FALLBACK_KEYS,
    FLOW_KEYS,
    FLOW_LIMIT_KEYS,
    HTTP_KEYS,
    LIMIT_KEYS,
    MODIFIERS,
    POLL_CALL_KEYS,
    POLL_KEYS,
    RETRY_KEYS,
    SCOPE_NAMES,
    TIMEOUT_KEYS,
    VERBS,
    Key,
    Verb,
)

ROOT: Final = Path(__file__).resolve().parent.parent
NOT_YET: Final = "Read and checked; this engine does not run it yet (FLW038)."


def flow_page() -> str:
    """The language: a flow's keys, the forms of a step, verbs, modifiers, policies."""
    lines = [
        GENERATED,
        "",
        "# Flow reference",
        "",
        "Made from the tables that the reader and the checker use; the [JSON Schema](../flow.schema.json) is made from",
        "the same. A tour of the language is in [flows](../flows.md).",
        "",
        "## Types of values",
        "",
        *_table(("type", "what is written"), ((f"`{name}`", text) for name, text in TYPES.items())),
        "",
        "## Keys of a flow",
        "",
        *_keys(FLOW_KEYS.values()),
        "",
        "## Forms of a step",
        "",
        "A step is a name, exactly one verb, and modifiers.",
        "",
        *_table(("written", "read as"), ((f"`{form}`", text) for form, text in STEP_FORMS.items())),
        "",
        "## Verbs",
        "",
    ]
    for verb in VERBS.values():
        lines += _verb(verb)
    lines += ["## Modifiers", "", "They stand on any step, beside its verb.", "", *_keys(MODIFIERS.values()), ""]
    for title, text, table in (
        ("Retry", "`retry: 3` is short for `retry: {attempts: 3}`: three tries in all.", RETRY_KEYS),
        ("Timeout", "`timeout: 30s` is short for `timeout: {attempt: 30s}`.", TIMEOUT_KEYS),
        ("Poll", "Beside a call, or with what is called as a verb.", {**POLL_KEYS, **POLL_CALL_KEYS}),
        ("Callback", "Under `wait: {callback: …}`, as a step or beside a call.", CALLBACK_KEYS),
        ("Limits", "On a step that calls something: its attempts over all runs of the host.", LIMIT_KEYS),
        ("Limits of a flow", "Runs of all versions of the flow; those that wait count.", FLOW_LIMIT_KEYS),
        ("Cache", "`cache: 1h` is short for `cache: {ttl: 1h}`.", CACHE_KEYS),
        ("Fallback", "A name, or a call with parameters of its own, or a list of them.", FALLBACK_KEYS),
        ("Request", "Under `http`; `http: GET https://…` is the short form.", HTTP_KEYS),
    ):
        lines += [f"### {title}", "", text, "", *_keys(table.values()), ""]
    lines += _triggers()
    names = " ".join(f"`{name}`" for name in sorted(SCOPE_NAMES))
    lines += ["## Names that are always in scope", "", f"{names}. No step may take one of them.", ""]
    return _text(lines)


def _triggers() -> list[str]:
    """What stands under `trigger`, by kind."""
    lines = [
        "## Triggers",
        "",
        "One of these keys makes a trigger; its settings stand beside or below it. How they work:",
        "[triggers](../triggers.md).",
        "",
        *_keys(MAIN_KEYS.values()),
        "",
    ]
    for title, kind in (
        ("Webhook", "webhook"), ("Schedule: cron, every, at", "cron"), ("Event", "event"),
        ("End of another flow's run", "flow"),
    ):  # fmt: skip
        lines += [f"### {title}", "", *_keys(KEYS_OF[kind]), ""]
    for kind, keys in AUTH_KEYS.items():
        if kind in ("hmac", "token", "jwt"):
            lines += [f"### `auth: {{type: {kind}}}`", "", *_keys(keys), ""]
    return lines


def _verb(verb: Verb) -> list[str]:
    lines = [f"### {verb.name}", "", verb.doc if verb.runs else f"{verb.doc} {NOT_YET}", ""]
    # The key that the verb needs beside it, so that the example is whole.
    more = ["  then: [a]"] if verb.name == "if" else []
    lines += ["```yaml", f"- {verb.example}", *more, "```", ""]
    if verb.keys:
        lines += [f"Under `{verb.name}`:", "", *_keys(verb.keys), ""]
    beside = [key for key in verb.beside if key not in verb.keys]
    if verb.keys and verb.beside and not beside:
        lines += ["They may stand beside it, too.", ""]
    elif beside:
        lines += ["Beside it:", "", *_keys(beside), ""]
    return lines


def _keys(rows: Iterable[Key]) -> list[str]:
    return _table(("key", "type", "meaning", "example"), [_key(key) for key in dict.fromkeys(rows)])


def _key(key: Key) -> tuple[str, str, str, str]:
    also = f" Also written {', '.join(f'`{name}`' for name in key.also)}." if key.also else ""
    doc = key.doc if key.runs else f"{key.doc} {NOT_YET}"
    return f"`{key.name}`", key.type, doc + also, f"`{key.name}: {key.example}`" if key.example else ""


def expressions_page() -> str:
    """The expression language, with results that were computed while the page was written."""
    lines = [
        GENERATED,
        "",
        "# Expressions",
        "",
        "Three rules say where a value is computed: `$name.field` alone is a reference, `{{ expression }}` computes,",
        "and conditions (`when if until while items …`) are bare expressions. `segue eval EXPR` tries one out.",
        "",
        "The language is [CEL](https://github.com/google/cel-spec) with four deviations:",
        "",
        *_deviations(),
        "",
        "## Decided once",
        "",
        *_shown(DECISIONS),
        "",
        "## Literals",
        "",
        *_shown(LITERALS),
        "",
        "## Operators",
        "",
        "From the loosest to the tightest; those of one line bind alike.",
        "",
        *_shown(OPERATORS),
        "",
        "## Macros",
        "",
        "They name a variable, and compute for each element of a list or key of a map. Over null they give null.",
        "",
        *_shown(MACROS),
        "",
        "## Optionals",
        "",
        "CEL's optional types, for who knows them: `??` is shorter, but does not tell what lacks from what is null.",
        "As the result of an expression, an optional is its value, or null.",
        "",
        *_shown(OPTIONALS),
        "",
        "## Functions",
        "",
        "Every function can be called as `f(a)`, `a.f()` and `a | f`; those with a dot in their name only as they",
        "stand. `any` takes null as well, `value` everything but null; `?` marks what may be left out, `...` what may",
        "be repeated.",
        "",
    ]
    for group, rows in groupby(functions(), key=lambda about: about.group):
        lines += [f"### {group.capitalize()}", ""]
        lines += _table(("function", "meaning", "example", "result"), [_function(about) for about in rows])
        lines += [""]
    budget = DEFAULT_BUDGET
    lines += [
        "## What of CEL is not here",
        "",
        "The public conformance suite of CEL runs as a test, its core and the extensions for strings, math, lists,",
        "encodings, optionals, bindings, two-variable macros and network addresses. What differs:",
        "",
        *_table(("not here", "why, or what instead"), CEL_LEFT_OUT),
        "",
        "## Bounds",
        "",
        f"One expression may take {budget.nodes:,} steps, nest {budget.depth} levels deep, make",
        f"{budget.output_bytes:,} bytes and be {budget.source_chars:,} characters long. Past a bound it fails",
        "([EXP2xx](errors/expressions.md)); bounds are counted, not timed, so that a replay ends in the same place.",
        "Regular expressions are RE2, in linear time.",
        "",
    ]
    return _text(lines)


def _deviations() -> list[str]:
    """The numbered list of the package's docstring."""
    assert EXPR_DOC is not None
    items: list[str] = []
    for line in EXPR_DOC.partition("specification")[2].splitlines():
        if line[:2] in ("1.", "2.", "3.", "4."):
            items.append(line)
        elif items and line.strip():
            items[-1] += " " + line.strip()
    if len(items) != 4:
        raise StaleExampleError("the docstring of segue.expr does not list four deviations")
    return items


def _shown(rows: Sequence[Shown]) -> list[str]:
    return _table(("", "example", "gives"), [(row.text, f"`{row.example}`", _result(row)) for row in rows])


def _result(row: Shown) -> str:
    """What the example gives, which must be what its row says."""
    answer = evaluate_case(row.example, row.names)
    error = answer.get("error")
    found = f"{error['code']}: {error['message']}" if isinstance(error, dict) else f"`{_json(answer['value'])}`"
    wanted = row.gives if row.gives.startswith("EXP") else f"`{row.gives}`"
    if not found.startswith(wanted):
        raise StaleExampleError(f"{row.example} gives {found}, not {wanted}")
    return found


def _function(about: FunctionDoc) -> tuple[str, str, str, str]:
    result = _json(about.result)
    if not about.impure:
        found = evaluate_case(about.example, {}).get("value")
        if found != about.result:
            raise StaleExampleError(f"{about.example} gives {found}, not {about.result}")
    return f"`{about.signature}`", about.doc, f"`{about.example}`", f"`{result}`"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "flow.schema.json": schema_text,
    "errors.md": errors_page.page,
    "reference/flow.md": flow_page,
    "reference/expressions.md": expressions_page,
    "reference/errors/README.md": doc_errors.index_page,
    "reference/errors/flow.md": doc_errors.flow_page,
    "reference/errors/broken-flows.md": doc_errors.corpus_page,
    "reference/errors/expressions.md": doc_errors.expression_page,
    "reference/errors/plan.md": doc_errors.plan_page,
    "reference/errors/steps.md": doc_errors.step_page,
    "reference/errors/reasons.md": doc_errors.reason_page,
    "reference/errors/api.md": doc_errors.api_page,
    "reference/webhooks.md": doc_webhooks.page,
}
"""What is written, by its path under `docs/`."""


def stale_pages(docs: Path) -> list[str]:
    """The pages that are not what the code's tables say."""
    return [
        name
        for name, make in PAGES.items()
        if not (docs / name).is_file() or (docs / name).read_text(encoding="utf-8") != make()
    ]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name the stale ones; exit status 1 if there are any."""
    docs = ROOT / "docs"
    stale = stale_pages(docs)
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is stale: make docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
