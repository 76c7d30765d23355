"""Kills hosts by the hundred: the parent deals out kill points to workers, a worker forks one child for each life.

Forking a process in which everything is loaded makes a life as short as its database lets it be. Neither parent nor
workers ever start a thread or an event loop, so that their children may.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from segue.errors import RequestError
from segue.testing.crash.ledger import read_ledger
from segue.testing.crash.life import LifeResult, Order, Scenario, live
from segue.testing.crash.store import MOMENT_WORDS, MOMENTS, Moment
from segue.testing.crash.verdict import Finding, judge, repeated_calls

LIFE_SECONDS_MAX: Final = 60.0
"""A host that has not ended its run by then hangs."""
SECOND_DEATH: Final = 3
"""Every so many kill points the host that takes the run up is killed too."""
FOLDERS_KEPT: Final = 2
"""Of each worker: folders of killed runs that are not as they should be, to look at."""
DEATHS_MAX: Final = 4
"""Of one run at random moments; the engine gives up on a step whose host dies ten times."""


class CalmRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that nobody kills."""

    life: LifeResult
    seconds: float


class PointResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one killed run."""

    scenario: int
    kills: int
    findings: list[Finding]
    recovery_seconds: float = 0.0
    repeated: dict[str, int] = {}


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario: its journal writes, and how it ends undisturbed."""

    name: str
    status: str
    writes: int
    kills: int


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole test. `repeated`: calls made again under their first key, by step."""

    flow: str
    ok: bool
    kills: int
    writes: int
    findings: list[Finding]
    repeated: dict[str, int]
    longest_recovery_seconds: float
    seconds: float
    seed: int
    scenarios: list[ScenarioReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPoint:
    """Where one run is killed: at a journal write, or (`random_kills`) so many times at random moments."""

    scenario: int
    number: int
    write: int = 0
    moment: Moment = "before"
    random_kills: int = 0
    seed: int = 0

    def words(self, writes: int) -> str:
        """For people."""
        if self.random_kills:
            return f"{self.random_kills} kills at random moments (seed {self.seed})"
        return f"write {self.write} of {writes}, {MOMENT_WORDS[self.moment]}"


class UnplayableError(RequestError):
    """A scenario cannot be run at all, even undisturbed."""


class CrashTest:
    """One flow's test in the folder `place`. `run` it once."""

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        place: Path,
        *,
        kills: int | None = None,
        seed: int = 0,
        workers: int = 2,
        life_seconds: float = LIFE_SECONDS_MAX,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        """`kills`: so many at random moments; None: one at every journal write and each of its moments. `progress`
        hears of kill points done and of all of them.
        """
        self.scenarios = scenarios
        self.place = place
        self.kills = kills
        self.seed = seed
        self.workers = workers
        self.life_seconds = life_seconds
        self.progress = progress
        self.calm: list[CalmRun] = []
        self._folders_kept = 0

    def run(self) -> CrashReport:
        """Kill and compare. Raises UnplayableError if a scenario does not even run undisturbed."""
        began = time.monotonic()
        gc.collect()
        gc.freeze()
        self.calm = [self._calm(number) for number in range(len(self.scenarios))]
        points = list(self._points())
        results = list(self._spread(points))
        findings = [finding for result in results for finding in result.findings]
        repeated: dict[str, int] = {}
        for result in results:
            for step, times in result.repeated.items():
                repeated[step] = repeated.get(step, 0) + times
        return CrashReport(
            flow=self.scenarios[0].flow.id, ok=not findings, kills=sum(one.kills for one in results),
            writes=sum(one.life.commits for one in self.calm), findings=findings, repeated=repeated,
            longest_recovery_seconds=max((one.recovery_seconds for one in results), default=0.0),
            seconds=time.monotonic() - began, seed=self.seed,
            scenarios=[
                ScenarioReport(
                    name=scenario.name, status=calm.life.ended[0].status, writes=calm.life.commits,
                    kills=sum(one.kills for one in results if one.scenario == number),
                )
                for number, (scenario, calm) in enumerate(zip(self.scenarios, self.calm, strict=True))
            ],
        )  # fmt: skip

    # ------------------------------------------------------------ what is killed where

    def _calm(self, number: int) -> CalmRun:
        scenario = self.scenarios[number]
        folder = self.place / f"calm-{number}"
        began = time.monotonic()
        ended = self._life(scenario, Order(folder=_made(folder), chance=self._chance(number)))
        seconds = time.monotonic() - began
        if ended.problem is not None:
            raise UnplayableError(f"{scenario.name}: undisturbed, {ended.problem}")
        assert ended.result is not None
        if ended.result.unusable is not None:
            raise UnplayableError(f"{scenario.name}: {ended.result.unusable}")
        shutil.rmtree(folder)
        return CalmRun(life=ended.result, seconds=seconds)

    def _chance(self, number: int) -> str:
        """What ids and random values come from: with mocks always the same, so that runs can be compared."""
        return f"{self.seed}" if not self.scenarios[number].is_live else f"{self.seed} {os.urandom(8).hex()}"

    def _points(self) -> Iterator[KillPoint]:
        number = 0
        if self.kills is None:
            for scenario, calm in enumerate(self.calm):
                for write in range(1, calm.life.commits + 1):
                    for moment in MOMENTS:
                        number += 1
                        yield KillPoint(scenario=scenario, number=number, write=write, moment=moment)
            return
        source = random.Random(self.seed)
        left = self.kills
        while left > 0:
            deaths = min(left, source.randint(1, DEATHS_MAX))
            left -= deaths
            number += 1
            scenario = source.randrange(len(self.scenarios))
            seed = source.randrange(1 << 30)
            yield KillPoint(scenario=scenario, number=number, random_kills=deaths, seed=seed)

    # ------------------------------------------------------------ one killed run

    def _kill(self, point: KillPoint) -> PointResult:
        scenario, calm = self.scenarios[point.scenario], self.calm[point.scenario]
        folder = _made(self.place / f"kill-{point.number}")
        order = Order(folder=folder, chance=self._chance(point.scenario))
        kills, last = self._die_at_random(point, order) if point.random_kills else self._die_at_write(point, order)
        findings: list[Finding] = []
        recovery, repeated = 0.0, {}
        if last.problem is not None:
            findings = [Finding(kind="lost", message=f"after the kill, {last.problem}")]
        elif last.result is not None:
            lines = read_ledger(folder / "ledger")
            findings = judge(calm.life, last.result, lines, is_live=scenario.is_live)
            recovery, repeated = last.result.opened_seconds, repeated_calls(lines)
        if findings:
            at = point.words(calm.life.commits)
            findings = [
                msgspec.structs.replace(one, scenario=scenario.name, at=at, folder=folder.name) for one in findings
            ]
            self._folders_kept += 1
        if not findings or self._folders_kept > FOLDERS_KEPT:
            shutil.rmtree(folder)
        return PointResult(
            scenario=point.scenario, kills=kills, findings=findings, recovery_seconds=recovery, repeated=repeated
        )

    def _die_at_write(self, point: KillPoint, order: Order) -> tuple[int, _Ended]:
        scenario = self.scenarios[point.scenario]
        orders = [replace(order, kill_at=point.write, moment=point.moment)]
        if point.number % SECOND_DEATH == 0:
            orders.append(replace(order, number=2, kill_at=1, moment=point.moment))
        kills = 0
        for one in orders:
            ended = self._life(scenario, one)
            kills += ended.was_killed
            if not ended.was_killed:
                # Live runs differ in their number of writes: this one was over before its kill point.
                return kills, ended
        return kills, self._life(scenario, replace(order, number=len(orders) + 1))

    def _die_at_random(self, point: KillPoint, order: Order) -> tuple[int, _Ended]:
        scenario, seconds = self.scenarios[point.scenario], self.calm[point.scenario].seconds
        source = random.Random(point.seed)
        for number in range(1, point.random_kills + 1):
            pause = source.uniform(0.0, seconds)
            ended = self._life(scenario, replace(order, number=number), kill_after=pause)
            if not ended.was_killed:
                return number - 1, ended
        return point.random_kills, self._life(scenario, replace(order, number=point.random_kills + 1))

    def _life(self, scenario: Scenario, order: Order, kill_after: float | None = None) -> _Ended:
        """Fork a host and wait for its end."""
        result = order.folder / f"result-{order.number}.json"
        _flush()
        child = os.fork()
        if child == 0:
            self._be_host(scenario, order, result)
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGKILL and (order.kill_at or kill_after is not None):
                return _Ended(was_killed=True)
            if number == signal.SIGALRM:
                return _Ended(problem=f"the run did not end within {self.life_seconds:g} s")
            return _Ended(problem=f"the host died of signal {number}")
        if os.WEXITSTATUS(status):
            return _Ended(problem=f"the host failed:\n{result.read_text('utf-8')}")
        return _Ended(result=msgspec.json.decode(result.read_bytes(), type=LifeResult))

    def _be_host(self, scenario: Scenario, order: Order, result: Path) -> NoReturn:
        """The forked child; it never returns."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self.life_seconds)
            os.dup2(2, 1)  # what actions print must not end up in the report
            lived = asyncio.run(live(scenario, order))
            result.write_bytes(msgspec.json.encode(lived))
            code = 0
        except BaseException:  # noqa: BLE001 - whatever ends a host is told by its parent
            result.write_text(traceback.format_exc(), "utf-8")
        finally:
            os._exit(code)

    # ------------------------------------------------------------ workers

    def _spread(self, points: Sequence[KillPoint]) -> Iterator[PointResult]:
        """The results of all points, as they come from the workers."""
        workers = [_Worker(self._kill, points[number :: self.workers]) for number in range(self.workers)]
        done = 0
        try:
            with selectors.DefaultSelector() as selector:
                for worker in workers:
                    selector.register(worker.pipe, selectors.EVENT_READ, worker)
                while selector.get_map():
                    for key, _ in selector.select():
                        results = key.data.read()
                        if results is None:
                            selector.unregister(key.fileobj)
                            continue
                        for result in results:
                            done += 1
                            self.progress(done, len(points))
                            yield result
            for worker in workers:
                worker.join()
        finally:
            for worker in workers:
                worker.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    was_killed: bool = False
    result: LifeResult | None = None
    problem: str | None = None


class _Worker:
    """A forked process that takes its kill points one after the other and writes one line of JSON for each."""

    def __init__(self, work: Callable[[KillPoint], PointResult], points: Iterable[KillPoint]) -> None:
        _flush()
        self.pipe, writing = os.pipe()
        self._rest = b""
        self._is_running = True
        self.pid = os.fork()
        if self.pid == 0:
            self._be_worker(work, points, writing)
        os.close(writing)

    @staticmethod
    def _be_worker(work: Callable[[KillPoint], PointResult], points: Iterable[KillPoint], writing: int) -> NoReturn:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            with os.fdopen(writing, "wb") as out:
                for point in points:
                    out.write(msgspec.json.encode(work(point)) + b"\n")
                    out.flush()
            code = 0
        except BaseException:  # noqa: BLE001 - it has nobody to raise it to
            traceback.print_exc()
        finally:
            os._exit(code)

    def read(self) -> list[PointResult] | None:
        """What has come; None at the end."""
        data = os.read(self.pipe, 1 << 16)
        if not data:
            os.close(self.pipe)
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [msgspec.json.decode(line, type=PointResult) for line in lines]

    def join(self) -> None:
        """Raises RuntimeError if it failed; its message stands on stderr."""
        status = os.waitpid(self.pid, 0)[1]
        self._is_running = False
        if status:
            raise RuntimeError(f"a worker of the crash test ended with status {status}; see its message above")

    def kill(self) -> None:
        """End it if it still runs."""
        if self._is_running:
            self._is_running = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _flush() -> None:
    """What is buffered must not be written by the child too."""
    sys.stdout.flush()
    sys.stderr.flush()
