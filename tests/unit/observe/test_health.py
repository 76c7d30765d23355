"""Health checks: what makes a host degraded or failed, and what a check that hangs or raises does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue.errors import ConflictError, RequestError, StoreUnavailableError
from segue.observe import host_checks
from segue.observe.health import Check, Finding, HealthChecks, State
from segue.observe.host_checks import LoopLag, active_runs_check, disk_check, queue_check, store_check, timers_check

pytestmark = pytest.mark.anyio


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at

    def told(self) -> str:
        return f"at {self.at:g}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checks(clock: Clock) -> HealthChecks:
    return HealthChecks(clock.told, clock)


def raising() -> None:
    raise StoreUnavailableError("the disk is gone")


def mistaken() -> None:
    raise KeyError("a secret")


@pytest.mark.req("OBS-4.states")
@pytest.mark.parametrize(
    ("check", "state", "message"),
    [
        (lambda: None, "ok", ""),
        (lambda: True, "ok", ""),
        (lambda: False, "failed", ""),
        (lambda: Finding("degraded", "slow"), "degraded", "slow"),
        (lambda: asyncio.sleep(0, Finding("ok", "fine")), "ok", "fine"),
        (raising, "failed", "the disk is gone"),
        (mistaken, "failed", "the check raised KeyError"),
        (lambda: asyncio.sleep(60), "failed", "no answer within 0.02 s"),
    ],
)
async def test_a_check_tells_its_state(checks: HealthChecks, check: Check, state: State, message: str) -> None:
    checks.register("one", check, timeout_seconds=0.02)
    (report,) = (await checks.report()).checks
    assert (report.name, report.state, report.message, report.critical) == ("one", state, message, False)


@pytest.mark.req("OBS-4.critical")
@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([], "ok"),
        ([("ok", True), ("ok", False)], "ok"),
        ([("ok", True), ("degraded", False)], "degraded"),
        ([("degraded", True)], "degraded"),
        ([("failed", False), ("ok", True)], "degraded"),
        ([("degraded", True), ("failed", True)], "failed"),
    ],
)
async def test_only_what_is_critical_makes_the_whole_fail(
    checks: HealthChecks, states: list[tuple[State, bool]], status: State
) -> None:
    for number, (state, critical) in enumerate(states):
        checks.register(str(number), lambda state=state: Finding(state), critical=critical)
    assert (await checks.report()).status == status
    assert [one.critical for one in (await checks.report(critical_only=True)).checks].count(False) == 0


@pytest.mark.req("OBS-4.since")
async def test_since_when_is_told_until_the_state_changes(checks: HealthChecks, clock: Clock) -> None:
    state: list[State] = ["ok"]
    checks.register("one", lambda: Finding(state[0]))
    seen: list[tuple[str, str]] = []
    history: list[tuple[int, State]] = [(0, "ok"), (10, "ok"), (20, "failed"), (30, "failed"), (40, "ok")]
    for at, now in history:
        clock.at, state[0] = float(at), now
        (report,) = (await checks.report()).checks
        seen.append((report.since, report.checked_at))
    assert seen == [("at 0", "at 0"), ("at 0", "at 10"), ("at 20", "at 20"), ("at 20", "at 30"), ("at 40", "at 40")]


@pytest.mark.req("OBS-4.cheap")
async def test_a_check_is_made_once_however_many_ask_and_who_gives_up_takes_it_from_nobody(
    checks: HealthChecks, clock: Clock
) -> None:
    asked = 0
    answers = asyncio.Event()

    async def check() -> None:
        nonlocal asked
        asked += 1
        await answers.wait()

    checks.register("one", check)
    asking = [asyncio.create_task(checks.report()) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    answers.set()
    reports = await asyncio.gather(*asking[1:])
    assert {one.status for one in reports} == {"ok"}
    await checks.report()
    assert asked == 1
    clock.at += 2
    await checks.report()
    assert asked == 2


@pytest.mark.req("OBS-4.register")
async def test_a_name_is_taken_once_and_can_be_given_back(checks: HealthChecks) -> None:
    checks.register("one", lambda: None)
    with pytest.raises(ConflictError, match="one"):
        checks.register("one", lambda: None)
    for name in ("", "x" * 101):
        with pytest.raises(RequestError):
            checks.register(name, lambda: None)
    with pytest.raises(RequestError, match="known: one"):
        checks.make_critical("two")
    checks.make_critical("one")
    assert (await checks.report()).checks[0].critical
    checks.remove("one")
    assert (await checks.report()).checks == []
    with pytest.raises(RequestError):
        checks.remove("one")


@pytest.mark.req("OBS-4.thresholds")
async def test_the_thresholds_of_a_hosts_own_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert active_runs_check(99, 100) == ("ok", "99 active runs, of 100")
    assert active_runs_check(100, 100).state == "degraded"
    assert queue_check(10_000, 3).state == "ok"
    assert queue_check(10_001, 3) == ("degraded", "10001 attempts queued, 3 in flight")
    assert [timers_check(late).state for late in (-5, 0, 5_000, 5_001)] == ["ok", "ok", "ok", "degraded"]
    monkeypatch.setattr(host_checks, "COMMIT_MS_MAX", -1.0)
    assert (await store_check(lambda: asyncio.sleep(0))).state == "degraded"
    assert (await disk_check(tmp_path)).state in ("ok", "degraded")
    monkeypatch.setattr(host_checks, "DISK_BYTES_LOW", 2**80)
    assert (await disk_check(tmp_path)).state == "degraded"
    monkeypatch.setattr(host_checks, "DISK_BYTES_MIN", 2**80)
    assert (await disk_check(tmp_path)).state == "failed"


@pytest.mark.req("OBS-4.thresholds")
async def test_a_loop_that_is_held_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_checks, "LAG_SECONDS", 0.0)
    monkeypatch.setattr(host_checks, "LAG_MS_MAX", -1.0)
    lag = LoopLag()
    lag.start()
    lag.start()
    for _ in range(5):
        await asyncio.sleep(0)
    assert lag.check().state == "degraded"
    await lag.stop()
    await lag.stop()
