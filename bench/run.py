"""Runs the benchmark: `python -m bench.run [--quick] [--only segue,limit] [--workloads w1,w4]`.

Rounds of all systems are interleaved, so that whatever else the machine does hits all of them alike: what counts is the
ratio within one round. Every round starts each system afresh on an empty directory of the same disk. Figures go to
bench/.data as JSON lines, one measurement each, and are printed as tables at the end (bench/report.py). Standard
library only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.kit.events import EventLog, executions
from bench.kit.interpreter import mixed_work_ms
from bench.kit.program import INTERRUPTED_RUNS
from bench.kit.workloads import Figure
from bench.peers import setup

HERE = Path(__file__).resolve().parent
DATA = HERE / ".data"
WORKLOADS = ("w1", "start", "w2", "w3", "w4", "mem", "cold", "syncs")
ACTION_SECONDS_MAX = 300
UNMARKED_TOO = ("limit", "segue")
"""Whose flows are so short that the event log is a part of them worth knowing."""
SETTLE_SECONDS = 0.5
"""Between the last interrupted step's start and the kill: what was accepted is on the disk of every system by then."""


class ActionFailed(Exception):
    """A system's program ended badly; the message is what it said last."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One measured system and how much of each workload a round of some seconds holds."""

    name: str
    python: Path
    module: str
    flows: int
    """W1: flows a round."""
    fans: int
    """W2: flows a round, after one that warms up."""
    forms: tuple[str, ...] = ("fan",)
    """W2: the ways in which it can fan out."""


SYSTEMS = (
    System(name="limit", python=Path(sys.executable), module="bench.limit_loop", flows=20_000, fans=5),
    System(
        name="segue",
        python=Path(sys.executable),
        module="bench.segue_peer",
        flows=4_000,
        fans=5,
        forms=("fan", "foreach"),
    ),
    System(name="restate", python=setup.python_of("restate"), module="bench.peers.restate_peer", flows=1_200, fans=2),
    System(name="dbos", python=setup.python_of("dbos"), module="bench.peers.dbos_peer", flows=150, fans=1),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure."""

    workloads: tuple[str, ...]
    rounds: int
    share: float
    """Share of the systems' W1 flows: less when quick."""
    latency_seconds: float
    work: Path


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(HERE.parent), str(HERE.parent / "src")])
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}


@contextmanager
def _fresh_directory(plan: Plan) -> Iterator[Path]:
    directory = plan.work / f"{time.time_ns()}"
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _command(system: System, action: str, directory: Path, *options: object) -> list[str]:
    place = ["--dir", str(directory), "--events", str(directory / "events")]
    return [str(system.python), "-m", system.module, action, *place, *(str(option) for option in options)]


def _json_of(command: list[str]) -> Figure:
    """Run a program to its end and read the last line that it printed."""
    process = subprocess.Popen(
        command,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=ACTION_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise ActionFailed(f"not done after {ACTION_SECONDS_MAX} s") from None
    if process.returncode != 0:
        raise ActionFailed((err.strip() or out.strip() or "no output").splitlines()[-1])
    return json.loads(out.strip().splitlines()[-1])


def _action(plan: Plan, system: System, action: str, *options: object) -> Figure:
    with _fresh_directory(plan) as directory:
        return _json_of(_command(system, action, directory, *options))


@contextmanager
def _running(system: System, action: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A system that stays; killed with its whole process group at the end, as by a power cut of the process."""
    with (directory / "output").open("ab") as output:
        command = _command(system, action, directory)
        process = subprocess.Popen(command, env=_environment(), stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself, which the figures show
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _said(directory: Path) -> str:
    lines = (directory / "output").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _throughput(plan: Plan, system: System) -> Iterator[Figure]:
    flows = int(system.flows * plan.share)
    figure = _action(plan, system, "w1", "--flows", flows)
    if system.name in UNMARKED_TOO:
        figure |= _action(plan, system, "w1", "--flows", flows, "--unmarked")
    if system.name == "limit":
        with _fresh_directory(plan) as directory:
            figure |= _json_of([str(system.python), "-m", system.module, "sync", str(directory)])
    yield figure


def _fan_out(plan: Plan, system: System) -> Iterator[Figure]:
    for form in system.forms:
        yield {"form": form} | _action(plan, system, "w2", "--form", form, "--repeat", system.fans)


def _recovery(plan: Plan, system: System) -> Iterator[Figure]:
    """W4: kill all of the system's processes while 100 flows sleep in their second step, then start it again."""
    with _fresh_directory(plan) as directory:
        log = EventLog(directory / "events")
        with _running(system, "w4-start", directory):
            if not log.wait_for("b", INTERRUPTED_RUNS, 60):
                raise ActionFailed(f"{log.flows_with('b')} flows reached the step to kill in: {_said(directory)}")
            time.sleep(SETTLE_SECONDS)
        restarted = time.time()
        with _running(system, "w4-resume", directory):
            log.wait_for("end", INTERRUPTED_RUNS, 60)
        after = [mark for mark in log.read() if mark.at > restarted]
        progress = sorted({m.flow: m.at for m in reversed(after) if m.flow != "app"}.values())
        ends = sorted(mark.at for mark in after if mark.step == "end")
        opened = [mark.at for mark in after if mark.step == "opening"]
        if not progress:
            raise ActionFailed(f"no flow went on: {_said(directory)}")
        counts = executions(log.read())
        yield {
            "first_going_on_s": progress[0] - restarted,
            "all_going_on_s": progress[-1] - restarted if len(progress) == INTERRUPTED_RUNS else None,
            "all_after_opening_s": progress[-1] - opened[0] if len(progress) == INTERRUPTED_RUNS else None,
            "all_done_s": ends[-1] - restarted if len(ends) >= INTERRUPTED_RUNS else None,
            "done": len({mark.flow for mark in log.read() if mark.step == "end"}),
            "interrupted_steps_again": sum(count > 1 for (_, step), count in counts.items() if step == "b"),
            "finished_steps_again": sum(count > 1 for (_, step), count in counts.items() if step in ("a", "c", "end")),
        }


def _cold_start(plan: Plan, system: System) -> Iterator[Figure]:
    """From the making of the process(es) to a system that takes work: on an empty directory, then on that one again."""
    seconds: list[float] = []
    with _fresh_directory(plan) as directory:
        for _ in range(2):
            (directory / "events").unlink(missing_ok=True)
            log, began = EventLog(directory / "events"), time.time()
            with _running(system, "ready", directory):
                if not log.wait_for("ready", 1, 60):
                    raise ActionFailed(f"not ready after 60 s: {_said(directory)}")
            seconds.append(next(mark.at for mark in log.read() if mark.step == "ready") - began)
    yield {"first_ever_s": seconds[0], "cold_start_s": seconds[1]}


def _count_syncs(plan: Plan, system: System, flows: int, in_flight: int) -> int:
    """fsync and fdatasync calls of all the system's processes over warm-up and `flows` flows of W1."""
    with _fresh_directory(plan) as directory:
        counts = directory / "strace"
        # seccomp-bpf stops a process only at the calls that are counted, so that the rest runs at its own speed.
        strace = ["strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync", "-o", str(counts)]
        options = ("--flows", flows, "--in-flight", in_flight)
        _json_of([*strace, *_command(system, "w1", directory, *options)])
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*\b(?:fsync|fdatasync)$", counts.read_text(), re.M)
        return sum(int(row) for row in rows)


def _syncs(plan: Plan, system: System) -> Iterator[Figure]:
    """Syncs a flow, alone and under load: the difference of two counts, so that start and warm-up fall out."""
    if shutil.which("strace") is None:
        raise ActionFailed("strace is not on this machine")
    loaded = max(200, int(system.flows * plan.share / 4))
    few_alone, many_alone = _count_syncs(plan, system, 10, 1), _count_syncs(plan, system, 60, 1)
    few, many = _count_syncs(plan, system, 100, 100), _count_syncs(plan, system, 100 + loaded, 100)
    yield {"syncs_per_flow_alone": (many_alone - few_alone) / 50, "syncs_per_flow_loaded": (many - few) / loaded}


def measure(plan: Plan, system: System, workload: str) -> Iterator[Figure]:
    """The figures of one workload of one system in one round. Raises ActionFailed."""
    match workload:
        case "w1":
            yield from _throughput(plan, system)
        case "start":
            yield _action(plan, system, "start", "--seconds", plan.latency_seconds)
        case "w2":
            yield from _fan_out(plan, system)
        case "w3":
            yield _action(plan, system, "w3", "--repeat", 5)
        case "mem":
            yield _action(plan, system, "mem")
        case "w4":
            yield from _recovery(plan, system)
        case "cold":
            yield from _cold_start(plan, system)
        case "syncs":
            yield from _syncs(plan, system)
        case _:
            raise ValueError(workload)


def _rounds(plan: Plan, systems: list[System]) -> Iterator[dict[str, object]]:
    for round_ in range(plan.rounds):
        interpreter = {"python": platform.python_version(), "mixed_work_ms": mixed_work_ms()}
        for workload in plan.workloads:
            if workload == "syncs" and round_ > 0:
                continue  # a count, not a time: once is enough
            turn = round_ % len(systems)
            for system in systems[turn:] + systems[:turn]:
                head = {"round": round_, "system": system.name, "workload": workload, "at": round(time.time(), 1)}
                try:
                    for figure in measure(plan, system, workload):
                        yield head | interpreter | figure
                except ActionFailed as error:
                    yield head | {"failed": str(error)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--only", default=",".join(system.name for system in SYSTEMS), help="systems, by comma")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="workloads, by comma")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that all works, not to quote")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, help="write the tables into this file, between its marker lines")
    options = parser.parse_args()
    for given, known in ((options.only, [s.name for s in SYSTEMS]), (options.workloads, WORKLOADS)):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return options


def main() -> int:
    """Measure, keep the figures, print the tables. Exit status 1 if a measurement failed."""
    options = _options()
    chosen = [system for system in SYSTEMS if system.name in options.only.split(",")]
    for system in list(chosen):
        if system.name in setup.PYTHON_PEERS and (reason := setup.missing(system.name)):
            chosen.remove(system)
            print(f"LEFT OUT {reason}", flush=True)
    name = time.strftime("%Y%m%d-%H%M%S")
    plan = Plan(
        workloads=tuple(workload for workload in WORKLOADS if workload in options.workloads.split(",")),
        rounds=1 if options.quick else options.rounds,
        share=0.25 if options.quick else 1,
        latency_seconds=4 if options.quick else 15,
        work=DATA / f"work-{name}",
    )
    plan.work.mkdir(parents=True)
    lines: list[dict[str, object]] = []
    figures = DATA / f"figures-{name}.jsonl"
    try:
        with figures.open("a") as kept:
            for line in _rounds(plan, chosen):
                lines.append(line)
                kept.write(json.dumps(line) + "\n")
                kept.flush()
                print(report.one_line(line), flush=True)
    finally:
        shutil.rmtree(plan.work, ignore_errors=True)
    tables = report.tables(lines)
    print(f"\n{tables}\nfigures: {figures.relative_to(HERE.parent)}")
    if options.into:
        report.write_into(options.into, tables)
    return 1 if any("failed" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
