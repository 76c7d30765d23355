"""Reads the corpus of broken flows (`tests/broken_flows/*.md`) and says what the checker makes of each.

`tests/unit/flow/test_broken_flows.py` compares that with what the corpus expects; `scripts/generate_docs.py` publishes
how much of it `segue fix` repairs. How a case is written is told in `tests/broken_flows/README.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from segue.engine.flow_tests import read_tests
from segue.flow import ActionSpec, FlowSpec, Problem, StaticCatalogue, apply_patches, check_flow, read_flow

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "broken_flows"
ROUNDS: Final = 10
"""As in `segue fix`: a mended mistake may have hidden another one."""
_HEADING: Final = re.compile(r"## (?P<title>.+)\n")
_FENCE: Final = re.compile(
    r"```(?P<language>yaml|json|python) ?(?P<options>[^\n]*)\n(?P<text>.*?)^```\n", re.DOTALL | re.MULTILINE
)
_EXPECTED: Final = re.compile(
    r"- (?P<code>[A-Z]{3}\d{3})(?:/(?P<reason>EXP\d{3}))?(?: (?P<severity>warning|error|note))?"
    r" (?:at (?P<line>\d+):(?P<column>\d+)|nowhere)(?: `(?P<path>[^`]*)`)?"
    r"(?: → (?:`(?P<patch>[^`]*)`|(?P<quoted>\".*\")))?\Z"
)
CATALOGUE: Final = StaticCatalogue(
    [
        ActionSpec(
            name="mail.send",
            params_schema={
                "type": "object",
                "properties": {
                    "to": {"type": "string", "format": "email"},
                    "subject": {"type": "string"},
                    "body": {"type": "string"},
                    "priority": {"enum": ["low", "normal", "high"]},
                    "copies": {"type": "integer"},
                    "urgent": {"type": "boolean"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["to"],
                "additionalProperties": False,
            },
            result_schema={
                "type": "object",
                "properties": {"id": {"type": "string"}, "accepted": {"type": "boolean"}},
                "additionalProperties": False,
            },
        ),
        ActionSpec(name="mail.list"),
        ActionSpec(name="shop.charge"),
        ActionSpec(name="shop.refund"),
        ActionSpec(name="crm.find", result_schema={"type": "object", "properties": {"email": {}, "name": {}}}),
        ActionSpec(name="score_lead"),
    ],
    flows=[
        FlowSpec(
            name="invoice",
            inputs={
                "type": "object",
                "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
                "required": ["order"],
                "additionalProperties": False,
            },
        ),
        FlowSpec(name="remind"),
    ],
)
"""The actions and the other flows that the cases know; `tests/broken_flows/README.md` lists them."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One problem that a user ought to see. `place` is (line, column), None where there is none in the text."""

    code: str
    severity: str | None
    place: tuple[int, int] | None
    path: str
    patch: str | None
    """What `segue fix` puts there; None: it leaves this to a person."""


@dataclass(frozen=True, slots=True)
class Case:
    """One broken flow."""

    title: str
    file: str
    line: int
    text: str
    options: tuple[str, ...] = ()
    expected: list[Expected] = field(default_factory=list[Expected])

    @property
    def is_for_run(self) -> bool:
        """Whether it is checked as for a run, and not as in an editor."""
        return "run" in self.options

    @property
    def is_repaired(self) -> bool:
        """Whether `segue fix` is expected to repair all of it."""
        return all(one.patch is not None for one in self.expected)


class BadCaseError(Exception):
    """A case that is not written as the README of the corpus says."""


def cases() -> list[Case]:
    """All cases, in the order of the files."""
    found = [case for path in sorted(FOLDER.glob("[0-9]*.md")) for case in _cases_of(path)]
    if not found:
        raise BadCaseError(f"there are no cases in {FOLDER}")
    return found


def _cases_of(path: Path) -> list[Case]:
    text = path.read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return [_case(path, text, heading, end) for heading, end in zip(headings, ends, strict=True)]


def _case(path: Path, text: str, heading: re.Match[str], end: int) -> Case:
    line = text.count("\n", 0, heading.start()) + 1
    fence = _FENCE.search(text, heading.end(), end)
    if fence is None:
        raise BadCaseError(f"{path.name}:{line}: no flow")
    content = fence["text"] if fence["language"] != "python" else _made(fence["text"])
    expected: list[Expected] = []
    for written in text[fence.end() : end].splitlines():
        if not written.startswith("- "):
            continue
        found = _EXPECTED.match(written.rstrip())
        if found is None:
            raise BadCaseError(f"{path.name}:{line}: not an expectation: {written}")
        code = f"{found['code']}/{found['reason']}" if found["reason"] else found["code"]
        place = (int(found["line"]), int(found["column"])) if found["line"] else None
        patch = json.loads(found["quoted"]) if found["quoted"] else found["patch"]
        expected.append(Expected(code, found["severity"], place, found["path"] or "", patch))
    return Case(heading["title"], path.name, line, content, tuple(fence["options"].split()), expected)


def _made(expression: str) -> str:
    """A text that is too long or too odd to be printed, from the Python expression that makes it."""
    return str(eval(expression, {"__builtins__": {"range": range, "str": str}}))  # noqa: S307 - our own corpus


def problems_of(text: str, *, runnable: bool) -> list[Problem]:
    """Everything that `segue check` finds in a text, its tests included."""
    result = read_flow(text, file="flow.yaml")
    problems = list(result.problems)
    if result.flow is not None:
        problems += check_flow(result.flow, CATALOGUE, runnable=runnable, document=result.document)
        if result.document is not None:
            problems += read_tests(result.flow, result.document)[1]
    return problems


def mended(case: Case) -> str:
    """The text of a case after `segue fix`."""
    text = case.text
    for _ in range(ROUNDS):
        after = apply_patches(text, problems_of(text, runnable=case.is_for_run))
        if after == text:
            break
        text = after
    return text


def seen(problem: Problem) -> Expected:
    """A problem in the words of the corpus."""
    code = f"{problem.code}/{problem.reason}" if problem.reason else problem.code
    place = None if problem.span is None else (problem.span.line, problem.span.column)
    return Expected(code, problem.severity, place, problem.path, None if problem.patch is None else problem.patch.text)


def share_repaired(found: Sequence[Case]) -> tuple[int, int]:
    """How many cases `segue fix` repairs altogether, and how many there are."""
    return sum(case.is_repaired for case in found), len(found)
