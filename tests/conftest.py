"""What all tests share: the async backend, Hypothesis' settings, and which test shows which requirement.

`pytest --req-report=FILE` (with `=`: a bare FILE that exists would be taken for a path of tests) writes one JSON
document `{"tests": [{"test", "requirements", "outcome"}, ...]}`, from which `scripts/coverage_map.py` prints the map.
Works under pytest-xdist too: workers send the numbers along with each report.

`HYPOTHESIS_PROFILE=long` lets every property test try twenty times as many examples (`tests/examples.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.examples import PROFILE, examples

# Wall-clock deadlines say nothing on a busy machine; a failing example is printed so that it can be run again.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "long",
    deadline=None,
    print_blob=True,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile(PROFILE)

REQUIREMENT_PROPERTY = "requirement"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio only, as the product does."""
    return "asyncio"


class RequirementReport:
    """Collects outcome and requirement numbers of every test of this session and writes them at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._requirements: dict[str, list[str]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A failure in any phase counts as failed; a skip counts only if no phase failed."""
        numbers = [str(value) for name, value in report.user_properties if name == REQUIREMENT_PROPERTY]
        if not numbers:
            return
        self._requirements[report.nodeid] = numbers
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.skipped or report.when == "call":
            self._outcomes.setdefault(report.nodeid, report.outcome)

    def pytest_sessionfinish(self) -> None:
        tests = [
            {"test": test, "requirements": numbers, "outcome": self._outcomes.get(test, "failed")}
            for test, numbers in sorted(self._requirements.items())
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"tests": tests}, indent=1) + "\n", encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--req-report", metavar="FILE", default=None, help="write requirement -> test -> outcome as JSON")


def pytest_configure(config: pytest.Config) -> None:
    target: str | None = config.getoption("--req-report")
    is_xdist_worker = hasattr(config, "workerinput")
    if target is not None and not is_xdist_worker:
        config.pluginmanager.register(RequirementReport(Path(target)), "requirement-report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("req"):
            item.user_properties.extend((REQUIREMENT_PROPERTY, number) for number in marker.args)
