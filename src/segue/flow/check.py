"""Checks a flow without running it: everything that is wrong, at once.

Three passes over one analysis of the flow's scopes: how steps hang together (`check_shape`), what they use
(`check_uses`), what their values refer to (`check_values`). A flow that was read with errors may be checked as well.
"""

from __future__ import annotations

from typing import Final

from segue.flow import codes
from segue.flow.catalogue import Catalogue
from segue.flow.check_shape import check_shape
from segue.flow.check_uses import check_uses
from segue.flow.document import Document
from segue.flow.findings import Findings
from segue.flow.model import Flow, walk
from segue.flow.problems import Problem
from segue.flow.reader import MAX_PROBLEMS
from segue.flow.scopes import analyse

DEFAULT_MAX_STEPS: Final = 2_000


def check_flow(
    flow: Flow,
    catalogue: Catalogue,
    *,
    runnable: bool,
    document: Document | None = None,
    max_steps: int = DEFAULT_MAX_STEPS,
) -> list[Problem]:
    """All problems of a flow, in document order (the first 500). Past the hard limit on steps nothing else is checked.

    `runnable`: also refuse what this engine cannot run yet, and names that nothing is known by. `document` (from
    reading) gives problems their place in the text; without it they have paths. Never raises.
    """
    # The expression language costs more to import than all of this package, which shall stay cheap to import.
    from segue.flow.check_values import check_values  # noqa: PLC0415

    findings = Findings(flow, document)
    count = count_steps(flow)
    if count > max_steps:
        message = f"the flow has {count:,} steps; at most {max_steps:,} are allowed"
        findings.add(codes.TOO_MANY_STEPS, message, path="steps")
        return findings.problems
    scopes = analyse(flow)
    check_shape(findings, scopes, runnable=runnable, count=count)
    specs = check_uses(findings, scopes, catalogue, runnable=runnable)
    check_values(findings, scopes, specs)
    found = sorted(_once(findings.problems), key=lambda problem: problem.span.start if problem.span is not None else -1)
    return found[:MAX_PROBLEMS]


def _once(problems: list[Problem]) -> list[Problem]:
    """The problems without those that were found again where a definition is used again."""
    found: dict[object, Problem] = {}
    for problem in problems:
        place = problem.path if problem.span is None else (problem.span.start, problem.span.end)
        found.setdefault((problem.code, problem.message, place), problem)
    return list(found.values())


def count_steps(flow: Flow) -> int:
    """All steps of a flow, those of handlers included."""
    blocks = (flow.root, flow.on_error_block, flow.finally_)
    return sum(len(walk(block)) for block in blocks if block is not None)
