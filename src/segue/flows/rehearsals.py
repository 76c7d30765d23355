"""Dry runs and tests of a flow that a service has read: what `segue plan` and `segue test` do with a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from segue.engine.dry_run import DryRun, dry_run
from segue.engine.flow_test_run import FlowTestResults, run_tests
from segue.engine.flow_tests import FlowTest, file_problems, read_tests, repeated
from segue.engine.mocks import MockError, read_mocks
from segue.engine.port import ActionRegistry
from segue.engine.rehearsal import DEFAULT_MOMENT
from segue.errors import InvalidFlowError, InvalidInputError, NotFoundError
from segue.flow import Flow, Problem, bind_flow, codes
from segue.flow.document import join_path
from segue.flow.model import JsonValue, RawMap
from segue.flow.yaml_source import read_source
from segue.flows.reading import ReadText

_LENIENT = (codes.UNBOUND, codes.UNKNOWN_ADAPTER, codes.CANNOT_RUN)
"""What only a real run refuses."""


def rehearsable(found: ReadText) -> Flow:
    """The flow, with names that nothing is known by left to stand-ins. Raises InvalidFlowError for other errors."""
    problems = [
        msgspec.structs.replace(one, severity="warning") if one.code in _LENIENT else one for one in found.problems
    ]
    errors = [one for one in problems if one.severity == "error"]
    if found.flow is None or errors:
        raise InvalidFlowError(f"the flow {found.id} has errors; the first: {errors[0]}", found.problems)
    return bind_flow(found.flow, found.catalogue)


def plan(
    found: ReadText,
    actions: ActionRegistry,
    inputs: Mapping[str, JsonValue],
    *,
    mocks: JsonValue = None,
    trigger: RawMap | None = None,
    samples: bool = False,
    now: int | None = None,
) -> DryRun:
    """What a run would do, with no call outside. Raises InvalidFlowError, InvalidInputError."""
    flow = rehearsable(found)
    try:
        given = {} if mocks is None else read_mocks(mocks)
    except MockError as error:
        path = join_path("mocks", *error.path)
        raise InvalidInputError(f"the mocks cannot be used: {error}", [(path, error.message)]) from error
    return dry_run(
        flow, inputs, actions, mocks=given, trigger=trigger, now=DEFAULT_MOMENT if now is None else now,
        document=found.read.document, samples=samples,
    )  # fmt: skip


def tests_of(found: ReadText, flow: Flow, files: Sequence[tuple[str, str]]) -> tuple[list[FlowTest], list[Problem]]:
    """The tests in a flow's own text, then those of files (name and text), and what is wrong with them."""
    document = found.read.document
    assert document is not None, "it was read"
    has_tests = document.root.get("tests") is not None
    tests, problems = read_tests(flow, document) if has_tests else (list[FlowTest](), list[Problem]())
    for name, text in files:
        read, wrong = read_source(text, file=name)
        problems = [*problems, *wrong]
        if read is not None:
            more, wrong = read_tests(flow, read)
            problems += [*file_problems(read), *wrong, *repeated(tests, more, name)]
            tests = [*tests, *more]
    return tests, problems


def run_own_tests(
    found: ReadText, actions: ActionRegistry, name: str | None, files: Sequence[tuple[str, str]] = ()
) -> tuple[FlowTestResults, list[Problem]]:
    """Run the tests in a flow's own text and in files of tests, or those with `name` in theirs; and what is wrong with
    them, as warnings.

    Raises InvalidFlowError if flow or tests cannot be used, NotFoundError if there are none.
    """
    flow = rehearsable(found)
    tests, problems = tests_of(found, flow, files)
    if any(one.severity == "error" for one in problems):
        raise InvalidFlowError(f"the tests of the flow {found.id} have errors", problems)
    wanted = [one for one in tests if name is None or name in one.name]
    if not wanted:
        which = "" if name is None else f" with {name!r} in its name"
        raise NotFoundError(f"the flow {found.id} has no test{which}; write a `tests:` section, or send `files`")
    return run_tests(flow, wanted, actions), problems
