"""`segue crash-test`: kill a flow's host at every journal write: nothing may be lost, nothing done twice."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.errors import FAILED, SUCCEEDED
from segue.cli.options import ActionsOption, JsonOption
from segue.errors import RequestError

if TYPE_CHECKING:
    from segue.cli.offline import OfflineFlow
    from segue.testing.crash import CrashReport, Finding, Scenario

WORKERS_MAX = 4
SHOWN_FINDINGS = 20
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - the folder is made by mkdtemp


def crash_test(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The flow's YAML or JSON file.")],
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input, read by its declared type. Repeatable."),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="Inputs as a YAML or JSON map; `-` is stdin.")
    ] = None,
    mock: Annotated[
        list[str] | None,
        typer.Option("--mock", "-m", metavar="STEP=JSON", help="What a step is answered with. Repeatable."),
    ] = None,
    mocks: Annotated[
        str | None, typer.Option("--mocks", metavar="FILE", help="Answers as a YAML or JSON map by step.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", "-k", metavar="TEXT", help="Only the flow's tests whose name has this in it."),
    ] = None,
    every_write: Annotated[
        bool, typer.Option("--every-write", help="Kill at every journal write, before and after it (the default).")
    ] = False,
    kills: Annotated[
        int | None, typer.Option("--kills", min=1, metavar="N", help="Kill N times at random moments instead.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Ids, values and moments drawn at random.")] = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Make the real calls, again for each kill. Only callbacks are mocked.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="A run that takes longer hangs.")
    ] = 60.0,
    actions: ActionsOption = None,
    json: JsonOption = False,
) -> int:
    """Kill the flow's host (`kill -9`) at every journal write, restart it, and compare with an undisturbed run.

    Calls are mocked as in `segue test`, and waits are skipped. Every call is booked outside of the killed process.

    Exit code: 0 nothing lost and nothing done twice, 1 otherwise, 2 the flow, its inputs or the mocks cannot be used.
    """
    from segue.cli.output import print_json
    from segue.cli.plan import report_unusable
    from segue.testing.crash import CrashTest

    if every_write and kills is not None:
        raise RequestError("--every-write and --kills say two things; give one of them")
    if not hasattr(os, "fork"):
        raise RequestError("this system cannot fork processes, which crash tests are made of; use Linux or macOS")
    found, scenarios = _scenarios(file, actions, input, inputs, mock, mocks, test, live=live)
    if not scenarios:
        return report_unusable(found, json=json)
    place = Path(tempfile.mkdtemp(prefix="segue-crash-", dir=_quick_folder()))
    try:
        made = CrashTest(
            scenarios, place, kills=kills, seed=seed, workers=min(os.cpu_count() or 1, WORKERS_MAX),
            life_seconds=timeout, progress=_progress if sys.stderr.isatty() and not json else _silence,
        )  # fmt: skip
        report = made.run()
        left = None if report.ok else _kept(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if json:
        print_json({"file": found.name, **_as_map(report), "left": None if left is None else str(left)})
    else:
        _print(report, found.name, left)
    return SUCCEEDED if report.ok else FAILED


# ---------------------------------------------------------------- what is run


def _scenarios(
    file: str,
    actions: list[str] | None,
    pairs: list[str] | None,
    inputs_file: str | None,
    mock: list[str] | None,
    mocks: str | None,
    test: str | None,
    *,
    live: bool,
) -> tuple[OfflineFlow, list[Scenario]]:
    """One scenario for each of the flow's tests, or the one that is given. None: the flow cannot be used."""
    from segue.cli.inputs import gather_inputs
    from segue.cli.offline import load_offline
    from segue.cli.plan import mocks_given
    from segue.flow import codes
    from segue.flow.inputs import resolve_inputs
    from segue.testing.crash import Scenario

    found = load_offline(file, actions)
    flow = found.flow
    if flow is None:
        return found, []
    given = mocks_given(found, mock, mocks)
    if pairs is None and inputs_file is None and not given and (test is not None or not live):
        scenarios = _of_tests(found, file, test, live=live)
        if scenarios or test is not None:
            return found, scenarios
    elif test is not None:
        raise RequestError("--test brings its own inputs and mocks; leave --input, --inputs, --mock and --mocks out")
    if live:
        import_module("segue.net.client")  # once here rather than in every child

        refused = [one for one in found.problems if one.code in (codes.UNBOUND, codes.CANNOT_RUN)]
        if refused:
            raise RequestError(f"with --live, what a real run refuses is refused: {refused[0].message}")
    resolved = resolve_inputs(flow, gather_inputs(pairs, inputs_file, flow.inputs))
    name = "as given" if pairs or inputs_file or given else "with default inputs"
    return found, [Scenario(name=name, flow=flow, inputs=resolved, actions=found.actions, mocks=given, is_live=live)]


def _of_tests(found: OfflineFlow, file: str, name: str | None, *, live: bool) -> list[Scenario]:
    from segue.cli.offline import beside, read_all_tests
    from segue.engine.flow_test_run import beginning_of
    from segue.flow.inputs import resolve_inputs
    from segue.testing.crash import Scenario

    assert found.flow is not None
    near = beside(Path(file)) if file != "-" else None
    tests, texts = read_all_tests(found, [] if near is None else [near])
    wrong = [one for text in texts for one in text.problems if one.severity == "error"]
    if wrong:
        raise RequestError(f"the flow's tests cannot be used: {wrong[0]}; see `segue test {file}`")
    scenarios: list[Scenario] = []
    for one in tests:
        is_chosen = one.skip is None and (name is None or name in one.name)
        if one.expect.status == "refused" or not is_chosen:
            continue
        beginning = beginning_of(found.flow, one)
        if not beginning.begins:
            continue
        given = {**beginning.inputs, **one.inputs}
        scenarios.append(
            Scenario(
                name=one.name, flow=found.flow, inputs=resolve_inputs(found.flow, given), mocks=dict(one.mocks),
                actions=found.actions, trigger={"kind": "test", **one.trigger} if one.trigger is not None else None,
                now=one.now, seed=one.seed or one.name, is_live=live,
            )
        )  # fmt: skip
    if not scenarios and name is not None:
        raise RequestError(f"the flow has no test with {name!r} in its name whose inputs are accepted")
    return scenarios


# ---------------------------------------------------------------- what is told


def _quick_folder() -> str | None:
    """Where databases are made and thrown away: what `kill -9` leaves is the same in memory as on a disk."""
    return str(MEMORY_FOLDER) if os.access(MEMORY_FOLDER, os.W_OK) else None


def _kept(place: Path) -> Path:
    """The folder with what the first wrong kills left."""
    left = Path(tempfile.mkdtemp(prefix="segue-crash-"))
    for folder in sorted(place.glob("kill-*")):
        shutil.move(folder, left / folder.name)
    return left


def _silence(_done: int, _all: int) -> None:
    pass


def _progress(done: int, of: int) -> None:
    end = "\r" if done < of else "\r\033[K"
    print(f"  {done} of {of} kill points", end=end, file=sys.stderr, flush=True)


def _as_map(report: CrashReport) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(report)
    for one, finding in zip(found["findings"], report.findings, strict=True):
        one["help"] = finding.help
    return found


def _print(report: CrashReport, file: str, left: Path | None) -> None:
    from rich.text import Text

    from segue.cli.output import STYLES, console, counted

    out = console()
    out.print(Text(f"{report.flow} ({file})", "bold"))
    for one in report.scenarios:
        line = Text(f"  {one.name}: ")
        line.append(one.status, STYLES.get(one.status, ""))
        line.append(f", {counted(one.writes, 'journal write')}, {counted(one.kills, 'kill')}", "dim")
        out.print(line)
    for finding in report.findings[:SHOWN_FINDINGS]:
        out.print(_finding(finding))
    if len(report.findings) > SHOWN_FINDINGS:
        out.print(Text(f"  … and {len(report.findings) - SHOWN_FINDINGS} more; --json lists all", "red"))
    for kind, help_text in {one.kind: one.help for one in report.findings}.items():
        out.print(Text(f"  {kind}: {help_text}", "yellow"))
    if left is not None:
        out.print(Text(f"  databases of killed hosts, to look at with `segue show --database`: {left}", "dim"))
    if report.repeated:
        told = ", ".join(f"{step} ({times})" for step, times in sorted(report.repeated.items()))
        out.print(Text(f"  in flight when killed, so called again under the same key: {told}", "dim"))
    told = f"{counted(report.kills, 'kill')} at {counted(report.writes, 'write')}: "
    verdict = "nothing lost, nothing twice" if report.ok else _verdict(report)
    line = Text(told, "bold")
    line.append(verdict, "green" if report.ok else "red")
    line.append(f"; longest recovery {report.longest_recovery_seconds:.2f} s")
    out.print(line)


def _finding(finding: Finding) -> Any:
    from rich.text import Text

    step = f"{finding.step}: " if finding.step else ""
    line = Text("  ✗ ", "red")
    line.append(f"{finding.scenario}, {finding.at}: ", "bold")
    line.append(f"{step}{finding.message}")
    return line


def _verdict(report: CrashReport) -> str:
    from segue.cli.output import counted

    words = {
        "lost": "something was lost", "twice": "something was done twice", "unsafe": "an unsafe step stopped the run",
        "end": "the run ended differently",
    }  # fmt: skip
    kinds = dict.fromkeys(words[one.kind] for one in report.findings)
    return f"{counted(len(report.findings), 'finding')}: {', '.join(kinds)}"
