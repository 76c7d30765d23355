"""Print which tests show which requirement: number, title, and under it each clause with its tests and their results.

Reads the numbers from `docs/requirements.md` and the reports that `pytest --req-report=FILE` wrote. A number is
*passing* if a test that names it passed and none failed, *failing* if one failed, *open* if none ran. Whether the
clauses that are listed make up the whole requirement is for the reader to judge: no machine knows. Exit status 1 if a
test names a number that does not exist or a test failed; an open number is no failure.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

ROOT = Path(__file__).resolve().parent.parent
NUMBER_ROW = re.compile(r"^\| ([A-Z]+-\d+) \| (.+?) \|$", re.MULTILINE)


class TestRow(TypedDict):
    """One test of a report."""

    test: str
    requirements: list[str]
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One test that names a requirement. `clause` is empty if the test names the number alone."""

    clause: str
    test: str
    outcome: str


def read_numbers(page: str) -> dict[str, str]:
    """Number -> title, in the page's order. Raises ValueError if a number stands there twice."""
    numbers: dict[str, str] = {}
    for number, title in NUMBER_ROW.findall(page):
        if number in numbers:
            raise ValueError(f"docs/requirements.md lists {number} twice")
        numbers[number] = title
    return numbers


def read_reports(folder: Path) -> list[TestRow]:
    """All tests of all reports in the folder; of a test that stands in two of them, the newer report counts."""
    rows: dict[str, TestRow] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        report = cast("dict[str, list[TestRow]]", json.loads(path.read_text(encoding="utf-8")))
        rows.update({row["test"]: row for row in report["tests"]})
    return list(rows.values())


def by_number(rows: list[TestRow]) -> dict[str, list[Shown]]:
    """Requirement number -> its tests, by clause and then by name."""
    found: dict[str, list[Shown]] = defaultdict(list)
    for row in rows:
        for requirement in row["requirements"]:
            number, _, clause = requirement.partition(".")
            found[number].append(Shown(clause=clause, test=row["test"], outcome=row["outcome"]))
    return {number: sorted(tests, key=lambda shown: (shown.clause, shown.test)) for number, tests in found.items()}


def result_of(tests: list[Shown]) -> str:
    """`passing`, `failing` or `open`. A skipped test shows nothing."""
    outcomes = {shown.outcome for shown in tests}
    if "failed" in outcomes:
        return "failing"
    return "passing" if "passed" in outcomes else "open"


def print_map(numbers: dict[str, str], found: dict[str, list[Shown]], *, summary: bool) -> None:
    """The whole map, or with `summary` one line for each group of numbers."""
    groups: dict[str, list[str]] = defaultdict(list)
    for number, title in numbers.items():
        tests = found.get(number, [])
        result = result_of(tests)
        groups[number.partition("-")[0]].append(result)
        if summary:
            continue
        print(f"{number:<9} {result:<8} {title}")
        for shown in tests:
            print(f"    {shown.clause or '(whole)':<28} {shown.outcome:<8} {shown.test}")
    for group, results in groups.items():
        print(
            f"{group:<6} {results.count('passing'):>3} of {len(results):>3} passing, {results.count('failing')} failing"
        )
    every = [result for results in groups.values() for result in results]
    print(f"{'all':<6} {every.count('passing'):>3} of {len(every):>3} passing, {every.count('failing')} failing")


def main(arguments: list[str]) -> int:
    """Command line: `coverage_map.py [--summary] FOLDER`."""
    parser = argparse.ArgumentParser(description="requirement -> clauses -> tests -> result")
    parser.add_argument("folder", type=Path, help="where pytest --req-report wrote its files")
    parser.add_argument("--summary", action="store_true", help="one line for each group of numbers")
    options = parser.parse_args(arguments)
    numbers = read_numbers((ROOT / "docs" / "requirements.md").read_text(encoding="utf-8"))
    found = by_number(read_reports(options.folder))
    print_map(numbers, found, summary=options.summary)
    unknown = sorted(set(found) - set(numbers))
    for number in unknown:
        tests = ", ".join(shown.test for shown in found[number])
        print(f"unknown requirement {number}, named by {tests}: see docs/requirements.md", file=sys.stderr)
    return 1 if unknown or any(result_of(tests) == "failing" for tests in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
