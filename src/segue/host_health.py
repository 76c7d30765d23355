"""Which health checks a host has: of its own parts, and of what it was told to use elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.access.keyring import KeyFile
from segue.access.outside import VaultStore
from segue.client.engine import EngineElsewhere
from segue.engine.host import Engine
from segue.engine.views import rfc3339
from segue.errors import NotFoundError, RequestError
from segue.kernel.status import RunStatus
from segue.observe.health import Finding, HealthChecks
from segue.observe.host_checks import (
    ACTIVE_RUNS_MAX,
    LoopLag,
    active_runs_check,
    disk_check,
    queue_check,
    store_check,
    timers_check,
)
from segue.store.host_lock import HostLock
from segue.store.port import Store
from segue.triggers.service import Triggers

if TYPE_CHECKING:
    from segue.net.client import HttpClient

CRITICAL_VARIABLE: Final = "SEGUE_HEALTH_CRITICAL"
"""Health checks, by comma or blank, without which this host is not ready, beside those that are critical anyway."""
ACTIVE_RUNS_VARIABLE: Final = "SEGUE_HEALTH_ACTIVE_RUNS"
HEALTH_SETTING: Final = "health"
QUEUE_GAUGES: Final = ("attempts_queued", "attempts_in_flight")
REMOTE_SECONDS: Final = 10.0


def health_of(
    engine: Engine,
    store: Store,
    key_file: KeyFile | None,
    triggers: Triggers,
    elsewhere: EngineElsewhere | None,
    http: Callable[[], HttpClient],
    lag: LoopLag,
) -> HealthChecks:
    """The checks of a host's own parts, and of what it was told to use elsewhere. Raises RequestError for settings that
    make no sense.
    """
    checks = HealthChecks(lambda: rfc3339(engine.now()) or "")
    folder = getattr(store, "path", None)
    add = checks.register
    add("engine", lambda: Finding("failed", "the host is being stopped") if engine.closing else None, critical=True)
    add("store", lambda: store_check(lambda: store.put_setting(HEALTH_SETTING, b"1")), critical=True)
    if isinstance(folder, Path):
        add("disk", lambda: disk_check(folder.parent), critical=True)
        add("host-lock", lambda: _lock_found(store), critical=True)
    if key_file is not None:
        add("key-ring", lambda: asyncio.to_thread(_keys_found, key_file))
    add("event-loop", lag.check)
    add("timers", lambda: timers_check(0 if engine.wakes.due is None else engine.now() - engine.wakes.due))
    add("queue", lambda: queue_check(*(engine.pool.statistics()[name] for name in QUEUE_GAUGES)))
    add("orchestration-engine", lambda: active_runs_check(_active(engine), _active_runs_max()))
    add("scheduler", lambda: _scheduler_found(triggers))
    if elsewhere is not None:
        add("remote-engine", lambda: _engine_found(elsewhere), timeout_seconds=REMOTE_SECONDS)
    if os.environ.get("VAULT_ADDR"):
        vault = VaultStore(http, os.environ)

        async def answers() -> Finding:
            return Finding("ok", await vault.answers())

        add("secret-store", answers, timeout_seconds=REMOTE_SECONDS)
    _active_runs_max()  # refused now, not when somebody asks how the server stands
    checks.make_critical(*os.environ.get(CRITICAL_VARIABLE, "").replace(",", " ").split())
    return checks


def _active(engine: Engine) -> int:
    return sum(run.state.status is RunStatus.RUNNING for run in engine.residents)


def _active_runs_max() -> int:
    given = os.environ.get(ACTIVE_RUNS_VARIABLE, "").strip()
    if given and not (given.isascii() and given.isdigit() and int(given) > 0):
        raise RequestError(f"{ACTIVE_RUNS_VARIABLE}={given!r} is no number of runs; write one above 0")
    return int(given) if given else ACTIVE_RUNS_MAX


def _lock_found(store: Store) -> Finding:
    lock: HostLock | None = getattr(store, "host_lock", None)
    if lock is None or not lock.is_held():
        return Finding("failed", "the lock file of the database was removed or replaced: another host could start")
    return Finding("ok", "this host holds the database")


def _keys_found(file: KeyFile) -> Finding:
    """The file is read again: without it the next host could open nothing that was encrypted."""
    if not file.path.exists():
        return Finding("failed", "the key file is gone; put a copy back before this host is stopped")
    count = len(file.load().keys)
    return Finding("ok", f"{count} key{'' if count == 1 else 's'}")


def _scheduler_found(triggers: Triggers) -> Finding:
    is_working = triggers.scheduler.is_working
    if is_working is None:
        return Finding("ok", "this host starts nothing by the clock")
    return Finding("ok" if is_working else "failed", "it works" if is_working else "it has stopped; see the log")


async def _engine_found(elsewhere: EngineElsewhere) -> Finding:
    """Any answer about a run that cannot exist shows that the engine is there and knows the token."""
    try:
        await elsewhere.get_run("eng_health", attempts=1)
    except NotFoundError:
        return Finding("ok", f"{elsewhere.url} answers")
    return Finding("degraded", f"{elsewhere.url} knows a run that cannot exist")
