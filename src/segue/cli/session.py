"""What `segue run` does: host the database or go to its host, start a run, follow it, end well whatever happens.

If the host that was gone to goes away, the session opens the database another way and goes on with the same run, which
was kept under an idempotency key of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from segue.cli import flow_file
from segue.cli.actions import load_actions, sources_of
from segue.cli.database import database_url
from segue.cli.desk import Desk, Snapshot
from segue.cli.door import Door, has_api
from segue.cli.errors import SUCCEEDED, USAGE, notice
from segue.cli.follow import REST_SECONDS, follow, follow_to_rest
from segue.cli.hosting import LOST_HOSTS_MAX, Hosting, egress_for_this_machine, host_or_remote, remote_of
from segue.cli.inputs import gather_inputs
from segue.cli.interrupt import Interrupted, Interrupts
from segue.cli.output import console, print_json
from segue.cli.problems import print_problems, summary
from segue.cli.progress import LineProgress, NoProgress, Progress
from segue.cli.remote_desk import RemoteDesk
from segue.cli.results import exit_code, print_outcome, result_of, tell_outcome
from segue.client.records import HostLostError
from segue.engine.later import begins_at
from segue.errors import ConflictError, InvalidFlowError
from segue.flow import Flow, walk
from segue.flow.inputs import resolve_inputs
from segue.store.run_notes import checked_notes, label_of

if TYPE_CHECKING:
    from segue.client.remote import RemoteHost

GRACE_SECONDS: Final = 10.0
"""How long attempts in flight may take to end when the command is stopped."""
DOOR_AFTER_SECONDS: Final = 0.5
"""Runs that are over sooner need no HTTP door, and it takes half a second of computing to open one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user asked for. `file` None: go on with interrupted runs."""

    file: str | None
    pairs: tuple[str, ...] = ()
    inputs_file: str | None = None
    actions: tuple[str, ...] = ()
    idempotency_key: str | None = None
    timeout_seconds: float | None = None
    detach: bool = False
    at: str | None = None
    after: str | None = None
    """When the run is to begin: a moment, or a length of time from now; then nobody waits for it."""
    labels: tuple[str, ...] = ()
    json: bool = False
    verbose: bool = False
    database: str | None = None

    @property
    def continue_command(self) -> str:
        """How one goes on after a stop."""
        named = "" if self.database in (None, os.environ.get("SEGUE_DATABASE")) else f" --database {self.database}"
        return f"segue run --continue{named}"


async def carry_out(order: Order) -> int:
    """The exit code."""
    _set_up_logs(order)
    url = database_url(order.database)
    with Interrupts() as interrupts:
        if order.file is None:
            return await _go_on(order, url, interrupts)
        session = _Session(order, url, interrupts)
        return await session.carry_out()


def _set_up_logs(order: Order) -> None:
    """The program's own log: to stderr if asked for, else nowhere. The latter loads nothing, which would take long."""
    if order.verbose:
        from segue.observe.logs import configure_logging

        configure_logging(json=False, level="debug")
    else:
        logging.getLogger().addHandler(logging.NullHandler())


class _Session:
    """One new run."""

    def __init__(self, order: Order, url: str, interrupts: Interrupts) -> None:
        assert order.file is not None
        self._order = order
        self._url = url
        self._interrupts = interrupts
        self._file = order.file
        self._content = flow_file.read_bytes(order.file, "flow")
        self._sources, beside = sources_of(order.actions, flow_file.folder_of(order.file))
        self._beside = beside
        folder = flow_file.folder_of(order.file)
        self._folders = [] if folder is None else [folder]
        """Where the flows lie that this one may run by name."""
        self._labels = dict(label_of(one) for one in order.labels)
        self._key = order.idempotency_key or f"cli-{uuid.uuid4().hex}"
        self._run_id: str | None = None
        self._progress = _progress(order)
        self._flow: Flow | None = None
        self._inputs: dict[str, Any] = {}

    async def carry_out(self) -> int:
        lost = 0
        while True:
            remote = remote_of(self._url)
            if remote is None:
                if not self._prepare(is_remote=False):
                    return USAGE
                door = None if self._order.detach or not has_api() else Door.bind()
                found = await host_or_remote(self._url, sources=self._sources, door=door)
            else:
                found = remote
            try:
                if isinstance(found, Hosting):
                    return await self._host(found)
                return await self._through(found)
            except HostLostError as error:
                lost += 1
                if lost > LOST_HOSTS_MAX:
                    raise
                notice(f"{error.message}; going on another way")
            finally:
                self._progress.close()

    def _prepare(self, *, is_remote: bool) -> bool:
        """Read and check the flow and its inputs; False, after saying why, if they cannot be used. A host elsewhere
        checks the flow against its own actions.
        """
        if self._flow is not None:
            return True
        catalogue = None
        if not is_remote:
            from segue.bootstrap import build_host

            if self._beside is not None:
                notice(f"using the actions of {self._beside}")
            functions = [action for source in self._sources for action in load_actions(source, lambda: None)]
            catalogue = build_host(
                "memory:", egress=egress_for_this_machine(), actions=functions, folders=self._folders
            ).catalogue
        found = flow_file.load(self._file, catalogue, runnable=True, content=self._content)
        if found.problems:
            print_problems(console(stderr=True), found.problems, found.text, found.name)
        if not found.is_usable or found.flow is None:
            notice(f"{found.name} cannot be run: {summary(found.problems)}")
            return False
        given = gather_inputs(self._order.pairs, self._order.inputs_file, found.flow.inputs)
        self._inputs = given if is_remote else resolve_inputs(found.flow, given)
        self._flow = found.flow
        return True

    # ------------------------------------------------------------ as the host

    async def _host(self, hosting: Hosting) -> int:
        code: int | None = None
        try:
            if self._order.detach:
                await hosting.host.engine.open(adopt=False)
                return await self._detached(hosting)
            code = await self._interrupts.guard(self._run_here(hosting))
            return await self._interrupts.guard(self._finish_others(hosting, code))
        except Interrupted as stop:
            self._progress.close()
            in_flight = hosting.host.engine.statistics()["attempts_in_flight"]
            if in_flight:
                notice(
                    f"stopping: {in_flight} in flight may end within {GRACE_SECONDS:g} s; Ctrl-C again stops at once"
                )
            if self._run_id is not None and code is None:
                notice(f"{self._run_id} is kept; go on with `{self._order.continue_command}`")
            return stop.code
        finally:
            await hosting.close(grace_seconds=GRACE_SECONDS if self._interrupts.code is not None else 0)

    async def _detached(self, hosting: Hosting) -> int:
        await self._start_here(hosting)
        assert self._run_id is not None
        self._tell_detached(self._run_id)
        notice(f"kept; nobody runs this database now: `{self._order.continue_command}` carries it out")
        return SUCCEEDED

    async def _run_here(self, hosting: Hosting) -> int:
        assert self._flow is not None
        await hosting.begin()
        needs_door = any(step.callback is not None for step in walk(self._flow.root))
        hosting.open_door(after_seconds=0 if needs_door else DOOR_AFTER_SECONDS)
        await self._start_here(hosting)
        assert self._run_id is not None
        return await self._follow(hosting.desk, self._run_id)

    async def _start_here(self, hosting: Hosting) -> None:
        if self._run_id is not None:
            return
        assert self._flow is not None
        engine = hosting.host.engine
        for folder in self._folders:
            hosting.host.library.add_folder(folder)
        text = self._content.decode("utf-8", "replace")
        version = await engine.versions.keep(self._flow, text, engine.now())
        content = msgspec.json.encode({"flow": version.key, "inputs": self._inputs}, order="sorted")
        try:
            started = await engine.start(
                version,
                self._inputs,
                trigger={"kind": "cli"},
                idempotency_key=self._key,
                request_digest=hashlib.sha256(content).hexdigest(),
                at=begins_at(self._order.at, self._order.after, engine.now()),
                notes=checked_notes(self._labels, {}),
            )
        except ConflictError:
            # A host that went away may have kept it under this session's own key, without saying so any more.
            earlier = await hosting.host.store.find_run_by_idempotency_key("default", self._key)
            if self._order.idempotency_key is not None or earlier is None:
                raise
            self._run_id = earlier.run_id
            return
        self._run_id = started.run_id
        if started.repeated:
            notice(f"the key {self._key!r} was used before: this is the run of then, {started.run_id}")

    async def _finish_others(self, hosting: Hosting, code: int) -> int:
        """What was taken up, and what other commands handed to this host, goes on to its end or rest first."""
        await _follow_all(hosting, [run.run_id for run in hosting.adopted], NoProgress(console(stderr=True)), notice)
        while True:
            left = [run for run in await hosting.host.store.unfinished_runs() if run.run_id != self._run_id]
            if not left:
                return code
            await _follow_all(hosting, [run.run_id for run in left], NoProgress(console(stderr=True)), notice)

    # ------------------------------------------------------------ through a host elsewhere

    async def _through(self, remote: RemoteHost) -> int:
        async with remote:
            if not self._prepare(is_remote=True):
                return USAGE
            if self._order.actions:
                notice(f"the host at {remote.address} runs this database with its own actions; --actions is not used")
            try:
                return await self._interrupts.guard(self._run_there(remote))
            except InvalidFlowError as error:
                name = "stdin" if self._file == flow_file.STDIN else self._file
                print_problems(console(stderr=True), error.problems, self._content.decode("utf-8", "replace"), name)
                notice(f"{name} cannot be run by the host at {remote.address}: {summary(error.problems)}")
                return USAGE
            except Interrupted as stop:
                self._progress.close()
                if self._run_id is not None:
                    notice(f"{self._run_id} goes on in the host at {remote.address}")
                return stop.code

    async def _run_there(self, remote: RemoteHost) -> int:
        if self._run_id is None:
            self._run_id = await remote.start(
                self._content.decode("utf-8", "replace"),
                self._inputs,
                file=None if self._file == flow_file.STDIN else self._file[-300:],
                idempotency_key=self._key,
                start_at=self._order.at,
                start_in=self._order.after,
                labels=self._labels,
            )
        if self._order.detach:
            self._tell_detached(self._run_id)
            return SUCCEEDED
        return await self._follow(RemoteDesk(remote), self._run_id)

    # ------------------------------------------------------------ both

    def _tell_detached(self, run_id: str) -> None:
        if self._order.json:
            print_json({"run_id": run_id})
        else:
            print(run_id, flush=True)

    async def _follow(self, desk: Desk, run_id: str) -> int:
        following = follow(desk, run_id, self._progress.see)
        if self._order.timeout_seconds is None:
            last = await following
        else:
            last = await _within(desk, run_id, following, self._order.timeout_seconds, self._progress)
        self._progress.close()
        if self._order.json:
            print_json(result_of(last.view))
        else:
            print_outcome(console(), last.view)
        return exit_code(last.view)


async def _go_on(order: Order, url: str, interrupts: Interrupts) -> int:
    """Take up what is there, follow it to its end or rest."""
    sources, _ = sources_of(order.actions, None)
    found = await host_or_remote(url, sources=sources, door=Door.bind() if has_api() else None)
    if not isinstance(found, Hosting):
        await found.close()
        notice(f"the host at {found.address} runs this database: its runs are going on there")
        if order.json:
            print_json({"runs": []})
        return SUCCEEDED
    progress = _progress(order, several=True)
    try:
        soon = found.host.engine.now() + REST_SECONDS * 1000
        due = await found.host.store.due_runs(soon)
        await found.begin()
        taken_up = [run.run_id for run in [*found.adopted, *due]]
        ids = list(dict.fromkeys([*taken_up, *sorted(found.host.engine.woken)]))
        if ids:
            found.open_door(after_seconds=DOOR_AFTER_SECONDS)
        ended = await interrupts.guard(_follow_all(found, ids, progress))
        progress.close()
        return _tell_all(order, ended)
    except Interrupted as stop:
        progress.close()
        notice(f"stopped; everything is kept: go on with `{order.continue_command}`")
        return stop.code
    finally:
        progress.close()
        await found.close(grace_seconds=GRACE_SECONDS if interrupts.code is not None else 0)


def _tell_all(order: Order, ended: Sequence[Snapshot]) -> int:
    views = [snapshot.view for snapshot in ended]
    if order.json:
        print_json({"runs": [result_of(view) for view in views]})
    else:
        if not views:
            print("nothing to go on with")
        for view in views:
            tell_outcome(console(), view)
    return max((exit_code(view) for view in views), default=SUCCEEDED)


async def _follow_all(hosting: Hosting, run_ids: Sequence[str], progress: Progress, tell: Any = None) -> list[Snapshot]:
    """Follow runs until each is over or at rest."""

    async def one(run_id: str) -> Snapshot:
        last = await follow_to_rest(hosting.desk, run_id, progress.see)
        if tell is not None:
            tell(f"{run_id} ({last.view.flow}) {last.view.status}: {last.view.reason}")
        return last

    tasks = [asyncio.create_task(one(run_id)) for run_id in run_ids]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _within(desk: Desk, run_id: str, following: Any, seconds: float, progress: Progress) -> Snapshot:
    """Follow for at most so long, then cancel the run and follow it to its end."""
    task = asyncio.ensure_future(following)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
        with suppress(ConflictError):  # it ended in this very moment
            await desk.cancel(run_id, f"it was not over within {seconds:g} s (--timeout)")
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _progress(order: Order, *, several: bool = False) -> Progress:
    out = console(stderr=order.json)
    if out.is_terminal:
        from segue.cli.live import LiveProgress

        return LiveProgress(out, several=several)
    return NoProgress(out) if order.json else LineProgress(out, several=several)
