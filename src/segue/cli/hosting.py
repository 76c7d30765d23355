"""Becoming the host of a database for the length of a command, or finding the one that runs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from segue.bootstrap import Host, build_host
from segue.cli.actions import load_actions
from segue.cli.database import file_of
from segue.cli.desk import Desk
from segue.cli.door import Door
from segue.cli.engine_desk import EngineDesk
from segue.cli.errors import notice
from segue.cli.remote_desk import RemoteDesk
from segue.client.records import HostLostError
from segue.errors import RequestError, SegueError, StoreInUseError
from segue.net.egress import ALLOW_SETTING, EgressPolicy, parse_allow
from segue.store import open_store, store_for_reading
from segue.store.host_lock import DatabaseHostedError, HostInfo, read_host
from segue.store.port import RunRecord, Store

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

T = TypeVar("T")

PATIENCE_SECONDS: Final = 10.0
"""How long a command waits for a host that has no address: another command, which is gone soon or opens its door."""
LOOK_AGAIN_SECONDS: Final = 0.1
LOST_HOSTS_MAX: Final = 5
"""How often a command opens another way because the host that it speaks to goes away."""
_ACTIONS_SETTING: Final = "cli.actions"
_SOURCES_KEPT: Final = 20


@dataclass(slots=True, kw_only=True)
class Hosting:
    """This process runs the database."""

    host: Host
    door: Door | None
    adopted: list[RunRecord] = field(default_factory=list[RunRecord])
    """Runs that an earlier host left in the middle, and that go on here."""
    _opening: asyncio.Task[None] | None = None

    @property
    def desk(self) -> EngineDesk:
        """The way to its runs."""
        return EngineDesk(self.host.engine, hosts=True)

    async def begin(self) -> None:
        """Take over interrupted runs, saying which, and carry out runs from now on."""
        engine = self.host.engine
        self.adopted = await _all_unfinished(self.host.store)
        if self.adopted:
            shown = ", ".join(f"{run.run_id} ({run.flow_id})" for run in self.adopted[:5])
            more = f" and {len(self.adopted) - 5} more" if self.adopted[5:] else ""
            count = "1 interrupted run" if len(self.adopted) == 1 else f"{len(self.adopted)} interrupted runs"
            notice(f"taking up {count}: {shown}{more}")
        await engine.open()

    def open_door(self, *, after_seconds: float) -> None:
        """Open the HTTP door in a moment, if this process has one."""
        if self.door is not None and self._opening is None:
            self._opening = asyncio.create_task(self._open_door(self.door, after_seconds))

    async def _open_door(self, door: Door, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        try:
            await door.open(self.host)
        except (SegueError, OSError, ImportError) as error:
            notice(f"the HTTP door could not be opened ({error}); callbacks can be answered with `segue callback`")

    async def close(self, *, grace_seconds: float) -> None:
        """Stop; what is not over is kept and goes on with the next host."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self.door is not None:
            await self.door.close()
        await self.host.close(grace_seconds=grace_seconds)


def egress_for_this_machine() -> EgressPolicy:
    """What flows may reach that a person runs by command: also this machine and its network."""
    return EgressPolicy.local(parse_allow(os.environ.get(ALLOW_SETTING, "")))


async def open_workspace(host: Host, workspace: str) -> None:
    """Raises NotFoundError for a workspace that is not there or is archived."""
    from segue.access.workspaces import Workspaces

    await Workspaces(host.tables, host.engine.now, lambda: None).get_open(workspace)


def remote_of(url: str) -> RemoteHost | None:
    """The host that runs the database now, if it says where it is reached."""
    path = file_of(url)
    info = None if path is None else read_host(path)
    return _reached(info)


async def host_or_remote(url: str, *, sources: Sequence[str] = (), door: Door | None = None) -> Hosting | RemoteHost:
    """Become the host of the database (opened, `begin` is still to be called), or find the one that it has.

    Raises StoreInUseError if another process has it and cannot be reached, StoreUnavailableError.
    """
    remote = remote_of(url)
    if remote is not None:
        return remote
    store = open_store(url)
    try:
        remote = await _open_store(store)
        if remote is None:
            return await _hosting(url, store, egress=egress_for_this_machine(), sources=sources, door=door)
    except BaseException:
        if door is not None:
            await door.close()
        raise
    if door is not None:
        await door.close()
    return remote


async def host_for_server(
    url: str, *, egress: EgressPolicy, sources: Sequence[str], beside: Sequence[str], door: Door
) -> Hosting:
    """Become the host of the database, or raise StoreInUseError at once. `beside`: actions that nobody named, since
    they lie in the folders of flows.
    """
    store = open_store(url)
    await store.open()
    return await _hosting(url, store, egress=egress, sources=sources, beside=beside, door=door)


async def _hosting(
    url: str,
    store: Store,
    *,
    egress: EgressPolicy,
    sources: Sequence[str],
    beside: Sequence[str] = (),
    door: Door | None,
) -> Hosting:
    """The host over an open store. Not the other way round: making a host makes its key beside the database, and there
    is to be none beside a file that turns out to be something else.
    """
    try:
        host = build_host(
            url, egress=egress, store=store, callback_base_url=lambda: None if door is None else door.told_address
        )
        await _add_actions(host, sources, beside)
    except BaseException:
        await store.close()
        raise
    return Hosting(host=host, door=door)


async def with_desk(
    open_desk: Callable[[], AbstractAsyncContextManager[Desk]], work: Callable[[Desk], Awaitable[T]]
) -> T:
    """Do some work at a desk; once more at another one if the host behind it goes away meanwhile.

    `work` must be safe to repeat.
    """
    lost = 0
    while True:
        try:
            async with open_desk() as desk:
                return await work(desk)
        except HostLostError:
            lost += 1
            if lost > LOST_HOSTS_MAX:
                raise
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


@asynccontextmanager
async def desk_for_reading(url: str) -> AsyncGenerator[Desk]:
    """A desk that only looks: through the host if it can be reached, else at the file itself."""
    remote = remote_of(url)
    if remote is not None:
        async with remote:
            yield RemoteDesk(remote)
        return
    store = store_for_reading(url)
    await store.open()
    # Not opened as an engine: it carries out nothing and only folds journals.
    host = build_host(url, egress=EgressPolicy.local(), store=store)
    try:
        await host.engine.look()
        yield EngineDesk(host.engine, hosts=False)
    finally:
        await store.close()
        await host.http.close()


@asynccontextmanager
async def desk_for_changing(url: str) -> AsyncGenerator[Desk]:
    """A desk for one change of one run: through the host, else by hosting the file without carrying anything out."""
    path = file_of(url)
    if path is not None and not path.exists():
        store = store_for_reading(url)
        await store.open()  # says that there is no database, rather than making one
        await store.close()
    found = await host_or_remote(url)
    if not isinstance(found, Hosting):
        async with found:
            yield RemoteDesk(found)
        return
    try:
        await found.host.engine.open(adopt=False)
        yield EngineDesk(found.host.engine, hosts=True, catalogue=found.host.catalogue)
    finally:
        await found.close(grace_seconds=0)


async def _open_store(store: Store) -> RemoteHost | None:
    """Open the store, or find who has it."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            await store.open()
        except StoreInUseError as error:
            info = error.host if isinstance(error, DatabaseHostedError) else None
            remote = _reached(info)
            if remote is not None:
                return remote
            if asyncio.get_running_loop().time() > deadline:
                raise
            if not told:
                told = True
                who = "another process" if info is None else f"process {info.pid}"
                notice(f"waiting for {who}, which runs this database")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        else:
            return None


def _reached(info: HostInfo | None) -> RemoteHost | None:
    if info is None or info.address is None or info.token is None:
        return None
    from segue.client.remote import RemoteHost

    return RemoteHost(info.address, info.token)


async def _add_actions(host: Host, sources: Sequence[str], beside: Sequence[str]) -> None:
    """Register the functions of `sources`, then those of `beside` whose names are free, as with flows: the first folder
    that has one gives it. Then those that earlier commands used on this database: a run that they left must find its
    functions here.
    """
    for source in sources:
        for action in load_actions(source, lambda: host.threads):
            try:
                host.actions.add(action)
            except ValueError as error:
                raise RequestError(f"{source}: {error}") from error
    for source in beside:
        for action in load_actions(source, lambda: host.threads):
            if host.actions.get(action.name) is None:
                host.actions.add(action)
    sources = [*sources, *beside]
    kept = await host.store.get_setting(_ACTIONS_SETTING)
    remembered = [] if kept is None else msgspec.json.decode(kept, type=list[str])
    for source in remembered:
        if source not in sources:
            _add_remembered(host, source)
    now = [*sources, *(source for source in remembered if source not in sources)][:_SOURCES_KEPT]
    if now != remembered:
        await host.store.put_setting(_ACTIONS_SETTING, msgspec.json.encode(now))


def _add_remembered(host: Host, source: str) -> None:
    """What cannot be had any more is not needed by everyone: a step that does need it says so."""
    if source.endswith(".py") and not os.path.isfile(source):
        return
    try:
        found = load_actions(source, lambda: host.threads)
    except RequestError as error:
        notice(f"{error.message}; it was used on this database before")
        return
    for action in found:
        if host.actions.get(action.name) is None:
            host.actions.add(action)


async def _all_unfinished(store: Store) -> list[RunRecord]:
    found: list[RunRecord] = []
    while True:
        page = await store.unfinished_runs(after_key=found[-1].key if found else 0)
        if not page:
            return found
        found += page
