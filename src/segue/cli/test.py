"""`segue test`: run the tests of flows, with mocked calls and virtual time, and count what they went through."""
# ruff: noqa: PT028 - `test` is a command, not a test function

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.errors import FAILED, SUCCEEDED, USAGE
from segue.cli.options import ActionsOption, JsonOption
from segue.errors import RequestError, SegueError

if TYPE_CHECKING:
    from rich.console import Console

    from segue.cli.offline import TestsText
    from segue.engine.coverage import Coverage
    from segue.engine.flow_test_run import FlowTestResults, TestResult
    from segue.flow import Problem

SHOWN_CHARACTERS = 300
MISSED_SHOWN = 20


@dataclass(slots=True)
class Tested:
    """One flow's file: its results, or why there are none."""

    file: str
    results: FlowTestResults | None = None
    count: int = 0
    names: list[str] = field(default_factory=list[str])
    texts: list[TestsText] = field(default_factory=list["TestsText"])
    """What was read, with what is wrong in it."""
    error: str | None = None

    @property
    def is_usable(self) -> bool:
        """Whether its tests could be run."""
        return self.error is None and not any(one.severity == "error" for one in self.problems)

    @property
    def has_failed(self) -> bool:
        """Whether a test failed."""
        return self.results is not None and not self.results.passed

    @property
    def problems(self) -> list[Problem]:
        """Of all texts."""
        return [one for text in self.texts for one in text.problems]


def test(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|FOLDER…", help="Flows, files of tests, or folders of them.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", "-k", metavar="TEXT", help="Only tests whose name has this in it.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", "-x", help="Stop at the first test that fails.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Print the names of the tests, and run none.")] = False,
    coverage_min: Annotated[
        float | None,
        typer.Option("--coverage-min", min=0, max=100, metavar="PERCENT", help="Fail below this coverage."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML, too.")
    ] = None,
    actions: ActionsOption = None,
    json: JsonOption = False,
) -> int:
    """Run the tests of flows: mocked calls, virtual time, step and branch coverage.

    Exit code: 0 all passed, 1 a test failed or the coverage is too low, 2 a flow or its tests cannot be used.
    """
    from segue.cli.offline import flows_and_tests
    from segue.cli.output import console, print_json

    tested: list[Tested] = []
    for flow, files in flows_and_tests(paths).items():
        tested.append(_test_one(flow, files, actions, name, fail_fast=fail_fast, list_only=list_only))
        if fail_fast and tested[-1].has_failed:
            break
    if not any(one.count or not one.is_usable for one in tested):
        wanted = "" if name is None else f" whose name has {name!r} in it"
        raise RequestError(f"there are no tests{wanted}; write a `tests:` section, or FLOW.test.yaml beside the flow")
    if list_only:
        return _list(tested, json=json)
    total = _total(tested)
    low = coverage_min is not None and min(total.step_percent, total.branch_percent) < coverage_min
    if junit is not None:
        _write_junit(junit, tested)
    if json:
        print_json(_as_map(tested, total, coverage_low=low))
    else:
        _print(console(), tested, total)
        if low:
            console().print(f"the coverage is below {coverage_min:g} %")
    if not all(one.is_usable for one in tested):
        return USAGE
    failed = any(one.has_failed for one in tested)
    return FAILED if failed or low else SUCCEEDED


def _list(tested: list[Tested], *, json: bool) -> int:
    from segue.cli.output import console, print_json

    if json:
        print_json({"flows": [{"file": one.file, "usable": one.is_usable, "tests": one.names} for one in tested]})
    else:
        _print_unusable(console(), tested)
        for one in tested:
            for name in one.names:
                print(f"{one.file}: {name}")
    return SUCCEEDED if all(one.is_usable for one in tested) else USAGE


# ---------------------------------------------------------------- running


def _test_one(
    path: Path, files: list[Path], actions: list[str] | None, name: str | None, *, fail_fast: bool, list_only: bool
) -> Tested:
    from segue.cli.offline import TestsText, load_offline, read_all_tests
    from segue.engine.flow_test_run import run_tests

    tested = Tested(str(path))
    try:
        found = load_offline(str(path), actions)
        if found.flow is None:
            wrong = [one for one in found.problems if one.severity == "error"]
            tested.texts.append(TestsText(found.name, found.text, wrong))
            return tested
        tests, tested.texts = read_all_tests(found, files)
        if tested.is_usable:
            wanted = [one for one in tests if name is None or name in one.name]
            tested.count = len(wanted)
            tested.names = [one.name for one in wanted]
            if not list_only:
                tested.results = run_tests(found.flow, wanted, found.actions, fail_fast=fail_fast)
    except SegueError as error:
        tested.error = error.message
    return tested


def _total(tested: list[Tested]) -> Coverage:
    from segue.engine.coverage import Coverage

    all_of = [one.results.coverage for one in tested if one.results is not None]
    return Coverage(
        steps=sum(one.steps for one in all_of),
        steps_covered=sum(one.steps_covered for one in all_of),
        branches=sum(one.branches for one in all_of),
        branches_covered=sum(one.branches_covered for one in all_of),
    )


def _as_map(tested: list[Tested], total: Coverage, *, coverage_low: bool) -> dict[str, Any]:
    import msgspec

    results = [result for one in tested if one.results is not None for result in one.results.tests]
    flows: list[dict[str, Any]] = []
    for one in tested:
        shown: dict[str, Any] = {"file": one.file, "usable": one.is_usable}
        if one.error is not None:
            shown["error"] = one.error
        shown["problems"] = [str(problem) for problem in one.problems]
        if one.results is not None:
            shown |= msgspec.to_builtins(one.results)
            shown["coverage"] |= _percents(one.results.coverage)
        flows.append(shown)
    passed = sum(result.passed for result in results)
    skipped = sum(result.skipped is not None for result in results)
    ok = all(one.is_usable for one in tested) and passed + skipped == len(results) and not coverage_low
    summary = {"steps": total.steps, "branches": total.branches, **_percents(total)}
    return {
        "ok": ok, "tests": len(results), "passed": passed, "skipped": skipped, "coverage": summary, "flows": flows,
    }  # fmt: skip


def _percents(coverage: Coverage) -> dict[str, float]:
    return {
        "step_percent": round(coverage.step_percent, 1),
        "branch_percent": round(coverage.branch_percent, 1),
    }


def _write_junit(path: Path, tested: list[Tested]) -> None:
    from segue.cli.junit import junit_xml

    suites = [(one.file, one.results, one.error or _first_problem(one)) for one in tested]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junit_xml(suites))
    except OSError as error:
        raise RequestError(f"{path} cannot be written (--junit): {error.strerror}") from error


def _first_problem(one: Tested) -> str | None:
    return next((str(problem) for problem in one.problems if problem.severity == "error"), None)


# ---------------------------------------------------------------- for people


def _print_unusable(out: Console, tested: list[Tested]) -> None:
    """What is wrong with the texts, and why flows could not be tested."""
    from rich.text import Text

    from segue.cli.problems import print_problems

    for one in tested:
        for text in one.texts:
            print_problems(out, text.problems, text.text, text.file)
        if one.error is not None:
            out.print(Text(f"{one.file}: {one.error}", "red"))


def _print(out: Console, tested: list[Tested], total: Coverage) -> None:
    from rich.text import Text

    from segue.cli.output import counted

    for one in tested:
        _print_unusable(out, [one])
        if one.results is None or not one.count:
            out.print(Text(f"{one.file}: " + ("no tests" if one.is_usable else "cannot be tested"), "dim"))
            continue
        out.print(Text(f"{one.file}: {one.results.flow}", "bold"))
        for result in one.results.tests:
            _print_result(out, result, one.file)
        _print_coverage(out, one.results.coverage)
    results = [result for one in tested if one.results is not None for result in one.results.tests]
    skipped = sum(result.skipped is not None for result in results)
    failed = sum(not result.passed for result in results) - skipped
    left = sum(one.count for one in tested) - len(results)
    line = Text()
    line.append(counted(len(results), "test"), "bold")
    unusable = sum(not one.is_usable for one in tested)
    if failed or (results and not unusable):
        line.append(f", {failed} failed" if failed else ", all passed", "red" if failed else "green")
    line.append(f", {counted(unusable, 'file')} cannot be tested" if unusable else "", "red")
    line.append(f", {skipped} skipped" if skipped else "", "yellow")
    line.append(f", {left} not run" if left else "", "yellow")
    line.append(f"; steps {total.step_percent:.0f} %, branches {total.branch_percent:.0f} %")
    out.print(line)


def _print_result(out: Console, result: TestResult, file: str) -> None:
    from rich.text import Text

    from segue.cli.output import duration

    line = Text("  ")
    if result.skipped is not None:
        line.append(f"– {result.name}  {result.skipped}", "dim")
        out.print(line)
        return
    line.append("✓ " if result.passed else "✗ ", "green" if result.passed else "red")
    line.append(result.name)
    if result.virtual_seconds:
        line.append(f"  {duration(round(result.virtual_seconds * 1000))} of waiting", "dim")
    if not result.passed and result.line is not None:
        line.append(f"  ({result.file or file}:{result.line})", "dim")
    out.print(line)
    if result.error is not None:
        out.print(Text(f"      {result.error}", "red"))
    for one in result.differences:
        out.print(Text(f"      {one.what}", "bold"))
        out.print(Text(f"        expected {_short(one.expected)}", "green"))
        out.print(Text(f"        actual   {_short(one.actual)}", "red"))
        if one.why:
            out.print(Text(f"        {one.why}", "dim"))
    if result.assumed and not result.passed:
        names = ", ".join(result.assumed)
        out.print(Text(f"      without a mock, so with a made-up answer: {names}", "yellow"))
    for note in result.notes:
        out.print(Text(f"      {note}", "yellow"))


def _print_coverage(out: Console, coverage: Coverage) -> None:
    from rich.text import Text

    told = [f"steps {coverage.steps_covered}/{coverage.steps}"]
    if coverage.branches:
        told.append(f"branches {coverage.branches_covered}/{coverage.branches}")
    out.print(Text(f"  {', '.join(told)}", "dim"))
    missed = [*coverage.steps_missed, *coverage.branches_missed]
    for one in missed[:MISSED_SHOWN]:
        line = "" if one.line is None else f" (line {one.line})"
        what = f": {one.name}" if one.name else ""
        out.print(Text(f"    not covered: {one.step or 'the flow'}{what}{line}", "yellow"))
    if len(missed) > MISSED_SHOWN:
        out.print(Text(f"    and {len(missed) - MISSED_SHOWN} more; --json lists all", "yellow"))


def _short(value: object) -> str:
    import msgspec

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
