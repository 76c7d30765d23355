"""Health over HTTP: what anyone may know, what an identity may know, and what takes a server out of rotation."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, problem, serve
from segue import Segue
from segue.bootstrap import build_host
from segue.errors import RequestError
from segue.net.egress import EgressPolicy
from segue.observe import health
from segue.observe.health import Finding
from segue.store.host_lock import lock_path

pytestmark = pytest.mark.anyio
WAITS = "flow: waits\nsteps:\n  - a: {wait: {callback: {expires: 1h}}}\n"


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Served]:
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
    async with serve(f"sqlite:///{tmp_path / 'runs.db'}") as found:
        yield found


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in report["checks"]}


@pytest.mark.req("OBS-4.details")
async def test_details_tell_each_dependency_to_an_identity_only(served: Served) -> None:
    async with served.anyone() as stranger:
        problem(await stranger.get("/health/details"), 401, "unauthenticated")
        ready = await stranger.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["checks"]) == {"engine", "store", "disk", "host-lock"}
    report = await served.get("/health/details")
    found = by_name(report)
    assert report["status"] in ("ok", "degraded")
    assert list(found) == [
        "engine", "store", "disk", "host-lock", "event-loop", "timers", "queue", "orchestration-engine", "scheduler",
    ] or "key-ring" in found  # fmt: skip
    assert "a commit took" in found["store"]["message"]
    for one in found.values():
        assert one["latency_ms"] >= 0
        assert one["since"] <= one["checked_at"]


@pytest.mark.req("OBS-4.critical")
async def test_what_is_critical_takes_the_server_out_of_rotation_and_back(served: Served) -> None:
    finding = [Finding("failed", "the warehouse burns")]
    served.host.health.register("warehouse", lambda: finding[0])
    async with served.anyone() as stranger:
        assert (await stranger.get("/health/ready")).status_code == 200
        assert by_name(await served.get("/health/details"))["warehouse"]["message"] == "the warehouse burns"
        served.host.health.make_critical("warehouse")
        answer = await stranger.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["checks"]["warehouse"] == "failed"
        assert "burns" not in answer.text, "the sentence is for those with an identity"
        finding[0] = Finding("ok")
        assert (await stranger.get("/health/ready")).status_code == 200


@pytest.mark.req("OBS-4.critical")
async def test_a_database_or_lock_that_was_moved_away_is_found(served: Served, tmp_path: Path) -> None:
    lock_path(tmp_path / "runs.db").unlink()
    answer = await served.client.get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["host-lock"]) == (503, "failed")
    (tmp_path / "runs.db").rename(tmp_path / "gone.db")
    answer = await served.client.get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["store"]) == (503, "failed")
    (tmp_path / "gone.db").rename(tmp_path / "runs.db")


@pytest.mark.req("OBS-4.thresholds")
async def test_active_runs_are_counted_and_those_that_wait_are_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await served.start(WAITS)
    await served.until(run_id, "waiting")
    found = by_name(await served.get("/health/details"))["orchestration-engine"]
    assert (found["state"], found["message"], found["critical"]) == ("ok", "0 active runs, of 100", False)
    monkeypatch.setenv("SEGUE_HEALTH_ACTIVE_RUNS", "lots")
    found = by_name(await served.get("/health/details"))["orchestration-engine"]
    assert found["state"] == "failed"


@pytest.mark.req("OBS-4.register")
async def test_a_program_registers_its_own_and_settings_make_checks_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_HEALTH_CRITICAL", "event-loop, queue")
    async with Segue("memory:") as segue:
        segue.health.register("own", lambda: False, critical=True)
        report = await segue.health.report()
        assert report.status == "failed"
        assert {one.name for one in report.checks if one.critical} == {"engine", "store", "event-loop", "queue", "own"}
    monkeypatch.setenv("SEGUE_HEALTH_CRITICAL", "warp-drive")
    with pytest.raises(RequestError, match="warp-drive"):
        build_host("memory:", egress=EgressPolicy.local())
    monkeypatch.delenv("SEGUE_HEALTH_CRITICAL")
    monkeypatch.setenv("SEGUE_HEALTH_ACTIVE_RUNS", "-3")
    with pytest.raises(RequestError, match="SEGUE_HEALTH_ACTIVE_RUNS='-3'"):
        build_host("memory:", egress=EgressPolicy.local())


@pytest.mark.req("OBS-4.elsewhere")
async def test_what_is_elsewhere_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_ENGINE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert "VAULT_TOKEN" not in os.environ
    async with Segue("memory:") as segue:
        found = {one.name: one for one in (await segue.health.report()).checks}
    assert found["remote-engine"].state == "failed"
    assert found["secret-store"].state == "failed"
