"""The 43 control-flow patterns of the Workflow Patterns initiative: each that is supported has a flow that shows it.

Russell, ter Hofstede, van der Aalst, Mulyar: "Workflow Control-Flow Patterns: A Revised View", BPM-06-22, 2006. A file
of this folder has a flow and a script: what is done from outside (`ok`, `callback`, `later`, `cancel`), and what must
hold then: which steps are in flight (`active`, all of them), which have been cancelled, what has not been begun.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from segue.engine.flow_source import RegisteredFlows
from segue.errors import ConflictError
from segue.flow import read_flow
from segue.flow.durations import parse_duration
from segue.flow.model import Flow
from segue.flow.yaml_source import read_source
from segue.kernel import inputs as inp
from unit.engine.kit import World, run
from unit.kernel.builders import Play

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.yaml"))
RUN = [path for path in FILES if "\nrun:" in path.read_text(encoding="utf-8")]
"""Those that need a whole host: several runs play together."""
PLAYED = [path for path in FILES if path not in RUN]
PAGE = HERE.parents[1] / "docs" / "patterns.md"
NOT_SUPPORTED = {28, 31, 33}


def told(path: Path) -> dict[str, Any]:
    document, problems = read_source(path.read_text(encoding="utf-8"))
    assert document is not None, problems
    found: Any = document.root.plain()
    return found


def flow_of(text: dict[str, Any]) -> Flow:
    read = read_flow(json.dumps({"flow": f"pattern{text['pattern']}", **text["flow"]}))
    assert read.flow is not None, read.problems
    assert not [one for one in read.problems if one.severity == "error"], read.problems
    return read.flow


class Script:
    """Plays a script line by line."""

    def __init__(self, text: dict[str, Any]) -> None:
        self.play = Play(flow_of(text), text.get("inputs"))

    def line(self, line: dict[str, Any]) -> None:
        ((word, what),) = line.items()
        getattr(self, f"_{word}")(what)

    # ------------------------------------------------------------ what is done

    def _ok(self, what: Any) -> None:
        for address, output in ({what: None} if isinstance(what, str) else what).items():
            self.play.ok(address, output)

    def _callback(self, what: str) -> None:
        self.play.call_back(what)

    def _refused_callback(self, what: str) -> None:
        with pytest.raises(ConflictError):
            self.play.call_back(what)

    def _later(self, what: str) -> None:
        seconds = parse_duration(what)
        assert seconds is not None
        self.play.later(round(seconds * 1000))

    def _cancel(self, _what: bool) -> None:
        self.play.give(inp.CancelRun())

    # ------------------------------------------------------------ what must hold

    def _active(self, what: list[str]) -> None:
        assert sorted(self.play.active) == sorted(what)

    def _cancelled(self, what: list[str]) -> None:
        assert sorted(self.play.cancelled) == sorted(what)
        assert all(self.play.of(address) == "cancelled" for address in what)

    def _absent(self, what: list[str]) -> None:
        assert not [address for address in what if address in self.play.order]

    def _started(self, what: dict[str, int]) -> None:
        names = [address for address, _ in self.play.started]
        assert {address: names.count(address) for address in what} == what

    def _steps(self, what: dict[str, str]) -> None:
        assert {address: self.play.of(address).value for address in what} == what

    def _status(self, what: str) -> None:
        assert {"waiting": "running"}.get(self.play.status, self.play.status) == what

    def _outputs(self, what: Any) -> None:
        assert self.play.outputs == what


@pytest.mark.req("EXEC-11.flows")
@pytest.mark.parametrize("path", PLAYED, ids=lambda path: path.stem)
def test_the_flow_shows_its_pattern(path: Path) -> None:
    text = told(path)
    script = Script(text)
    assert text["script"]
    for line in text["script"]:
        script.line(line)


@pytest.mark.anyio
@pytest.mark.req("EXEC-11.flows")
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
async def test_the_flow_runs_itself(path: Path) -> None:
    text = told(path)
    flows = RegisteredFlows()
    flows.add(flow_of(text))
    async with World().open(flows=flows) as engine:
        assert (await run(engine, flow_of(text), text["run"])).outputs == text["gives"]


@pytest.mark.req("EXEC-11.all")
def test_the_page_has_an_answer_for_each_of_the_43_patterns() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+?) \| ([^|]+?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 44))
    shown = {told(path)["pattern"]: (path, told(path)) for path in FILES}
    for number, name, support, how in rows:
        if int(number) in shown:
            path, text = shown[int(number)]
            assert (name, support) == (text["name"], text["support"]), number
            assert text["how"] in how
            assert f"../tests/patterns/{path.name}" in how
        else:
            assert int(number) in NOT_SUPPORTED
            assert support == "not"
