"""The house rules that a machine can check, and that the checks themselves find planted mistakes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
from scripts import check_docs, coverage_map, import_rules

import segue

ROOT = Path(__file__).resolve().parents[2]
PURE_PARTS = ("expr", "flow/model.py", "flow/problems.py", "kernel")
RULES = {"kernel": ["expr", "flow.model"], "flow": ["expr"], "expr": [], "api": ["*", "!cli"], "cli": ["*"]}


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.req("DEV-2.links")
def test_links_resolve_and_no_text_names_a_machine_or_a_registry() -> None:
    assert check_docs.all_problems(ROOT) == []


@pytest.mark.parametrize(
    "line", ["cd /work/" + "main", 'open("/root/' + '.ssh")', "see /tmp/" + "x", "/home/" + "me/.cache"]
)
def test_a_path_of_one_machine_is_found(line: str) -> None:
    assert check_docs.foreign_names("a.md", f"fine\n{line}\n") != []


@pytest.mark.parametrize(
    "line", ["https://example.com/work/1", "GET /workspaces/1", "src/root/x.py", "/v1/{id}/work/x"]
)
def test_a_path_of_an_address_is_no_machine_path(line: str) -> None:
    assert check_docs.foreign_names("a.md", line) == []


@pytest.mark.parametrize("host", check_docs.REGISTRY_HOSTS)
def test_a_registry_host_is_found_except_where_a_tool_writes_it(host: str) -> None:
    assert check_docs.foreign_names("docs/a.md", f"https://{host}/x") != []
    assert check_docs.foreign_names("ui/package-lock.json", f"https://{host}/x") == []


def test_broken_links_and_missing_headings_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One\n\n## Two words, `code`\n\n## One\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#two-words-code) [c](there.md#one-1) [d](https://example.com) `[x](gone.md)`\n"
        "[e](gone.md) [f](there.md#three) [g](../../outside.md)\n```\n[h](gone.md)\n```\n",
        encoding="utf-8",
    )

    assert check_docs.broken_links(page, tmp_path) == [
        "page.md: link gone.md: no such file",
        "page.md: link there.md#three: no such heading",
        "page.md: link ../../outside.md leads out of the repository",
    ]


def test_a_decision_needs_its_number_and_its_three_sections() -> None:
    whole = "# 0009 Something\n\n## Context\n\nWhy.\n\n## Decision\n\nThis.\n\n## Consequences\n\n- That.\n"

    assert check_docs.incomplete_decision("0009-something.md", whole) == []
    assert check_docs.incomplete_decision("something.md", whole) != []
    assert check_docs.incomplete_decision("0009-something.md", whole.replace("This.\n\n", "")) != []
    assert check_docs.incomplete_decision("0009-something.md", whole.replace("## Context", "## Background")) != []


def test_every_decision_is_listed_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))

    assert records
    assert [record.name for record in records if f"(decisions/{record.name})" not in index] == []


def graph_with(*imports: tuple[str, str]) -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for importer, imported in imports:
        for module in (importer, imported):
            if module not in graph.modules:
                graph.add_module(module, is_squashed=not module.startswith("segue"))
        graph.add_import(importer=importer, imported=imported)
    return graph


def contract_options(**options: object) -> dict[str, Any]:
    return {"session_options": {"root_packages": ["segue"]}, "contract_options": {"name": "a contract", **options}}


def check_arrows(graph: grimp.ImportGraph) -> dict[str, list[object]]:
    lines = [f"{part}: {' '.join(allowed)}" for part, allowed in RULES.items()]
    contract = import_rules.AllowedImports(**contract_options(type="allowed_imports", allowed=lines), name="arrows")
    result = contract.check(graph, verbose=False)
    assert result.kept == (not result.metadata["breaches"] and not result.metadata["unlisted"])
    return result.metadata


@pytest.mark.parametrize(
    ("importer", "imported", "is_allowed"),
    [
        ("segue.kernel.plan", "segue.expr.parse", True),
        ("segue.kernel.plan", "segue.flow.model", True),
        ("segue.kernel.plan", "segue.flow.yaml", False),
        ("segue.kernel.plan", "segue.kernel.state", True),
        ("segue.expr.parse", "segue.flow.model", False),
        ("segue.flow.model", "segue.kernel.plan", False),
        ("segue.api.app", "segue.kernel.plan", True),
        ("segue.api.app", "segue.cli.main", False),
    ],
)
def test_imports_follow_the_table(importer: str, imported: str, is_allowed: bool) -> None:
    breaches = check_arrows(graph_with((importer, imported)))["breaches"]

    assert breaches == ([] if is_allowed else [(importer, imported)])


def test_a_part_that_the_table_does_not_name_is_a_breach() -> None:
    assert check_arrows(graph_with(("segue.novelty.x", "segue.expr.parse")))["unlisted"] == ["novelty"]


def test_a_pure_part_may_not_reach_the_clock_even_through_another_module() -> None:
    graph = graph_with(("segue.kernel.plan", "segue.flow.model"), ("segue.flow.model", "time"))
    graph.add_module("segue.kernel")
    options = contract_options(type="pure_parts", parts=["kernel", "absent"], forbidden=["time", "socket"])
    result = import_rules.PureParts(**options, name="pure").check(graph, verbose=False)

    assert not result.kept
    assert result.metadata["chains"] == [("segue.kernel.plan", "segue.flow.model", "time")]


def deciding_modules() -> list[Path]:
    found: list[Path] = []
    for part in PURE_PARTS:
        path = ROOT / "src" / "segue" / part
        found.extend(sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else [])
    return found


def test_the_deciding_parts_ask_no_clock_and_never_wait() -> None:
    modules = deciding_modules()
    breaches: list[str] = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today"):
                    breaches.append(f"{path.name}:{node.lineno} asks the clock")
                case ast.AsyncFunctionDef() | ast.Await():
                    breaches.append(f"{path.name}:{node.lineno} waits")
                case _:
                    pass

    assert modules
    assert breaches == []


def test_constraints_pin_every_direct_dependency_and_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    project = pyproject()
    direct = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for extra in project["project"]["optional-dependencies"].values():
        direct.extend(extra)

    assert "://" not in text
    assert sorted({re.split(r"[\[<>=]", name)[0] for name in direct} - pinned) == []


def test_the_version_has_a_changelog_entry_or_stands_under_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## ({re.escape(segue.__version__)}\b|Unreleased$)", changelog, re.MULTILINE)


def test_requirement_numbers_are_unique_and_without_gaps() -> None:
    numbers = coverage_map.read_numbers((ROOT / "docs" / "requirements.md").read_text(encoding="utf-8"))
    groups: dict[str, list[int]] = {}
    for number in numbers:
        group, _, index = number.partition("-")
        groups.setdefault(group, []).append(int(index))

    assert len(numbers) == 137
    assert [group for group, found in groups.items() if found != list(range(1, len(found) + 1))] == []


def test_the_map_shows_failing_before_passed_and_counts_no_skipped_test() -> None:
    def shown(*outcomes: str) -> str:
        return coverage_map.result_of(
            [coverage_map.Shown(clause="", test="t", outcome=outcome) for outcome in outcomes]
        )

    assert (shown("passed", "failed"), shown("passed", "skipped"), shown("skipped"), shown()) == (
        "failing",
        "passing",
        "open",
        "open",
    )


def test_of_two_reports_of_one_test_the_newer_counts(tmp_path: Path) -> None:
    for age, (name, outcome) in enumerate([("a", "passed"), ("b", "failed")]):
        row = {"test": "t", "requirements": ["DUR-1"], "outcome": outcome}
        (tmp_path / f"{name}.json").write_text(json.dumps({"tests": [row]}), encoding="utf-8")
        os.utime(tmp_path / f"{name}.json", (1_000_000 - age, 1_000_000 - age))

    assert [row["outcome"] for row in coverage_map.read_reports(tmp_path)] == ["passed"]


def run_map(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "coverage_map.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("requirement", "outcome", "status"),
    [("FLOW-5.cycles", "passed", 0), ("FLOW-5.cycles", "failed", 1), ("FLOW-99", "passed", 1)],
)
def test_the_map_fails_on_failing_tests_and_on_unknown_numbers(
    tmp_path: Path, requirement: str, outcome: str, status: int
) -> None:
    test = "tests/unit/test_x.py::test_y"
    row = {"test": test, "requirements": [requirement], "outcome": outcome}
    (tmp_path / "unit.json").write_text(json.dumps({"tests": [row]}), encoding="utf-8")

    finished = run_map(tmp_path)

    assert finished.returncode == status
    assert test in finished.stdout + finished.stderr


def test_pytest_records_requirement_clause_and_outcome(tmp_path: Path) -> None:
    """The report of a session of its own, run by two workers, holds one row for each marked test."""
    suite = tmp_path / "tests"
    suite.mkdir()
    for name in ("conftest.py", "examples.py"):
        (suite / name).write_bytes((ROOT / "tests" / name).read_bytes())
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\nmarkers = req(*ids): x\n", encoding="utf-8")
    (suite / "test_sample.py").write_text(
        "import pytest\n"
        "@pytest.mark.req('DUR-1.kill', 'DUR-4')\ndef test_good(): pass\n"
        "@pytest.mark.req('DUR-2')\ndef test_bad(): assert False\n"
        "@pytest.mark.req('DUR-3')\n@pytest.mark.skip\ndef test_skipped(): pass\n"
        "def test_unmarked(): pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--req-report=report.json", "tests"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    rows = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["tests"]
    assert {row["test"].rpartition("::")[2]: (row["requirements"], row["outcome"]) for row in rows} == {
        "test_bad": (["DUR-2"], "failed"),
        "test_good": (["DUR-1.kill", "DUR-4"], "passed"),
        "test_skipped": (["DUR-3"], "skipped"),
    }
