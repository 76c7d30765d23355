"""Wiring: which parts a host is made of. Everything is passed as an argument; nothing is global."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue.access.credentials import Credentials
from segue.access.keyring import Key, KeyFile, KeyRing, key_file_of, ring_of_environment
from segue.access.outside import VaultStore
from segue.access.sources import sources_of
from segue.access.vault import Vault
from segue.client.engine import EngineElsewhere, engine_actions, engine_at
from segue.engine.catalogue import RegistryCatalogue
from segue.engine.clock import Clock, SystemClock
from segue.engine.flow_source import FlowSources, RegisteredFlows
from segue.engine.host import Engine
from segue.engine.ids import new_run_id
from segue.engine.library import FlowLibrary
from segue.engine.port import Action, ActionRegistry
from segue.engine.secrets import SecretResolver
from segue.flow import Flow
from segue.flows.saved_steps import SavedSteps
from segue.flows.service import StoredFlows
from segue.flows.source import StoredFlowSource
from segue.host_health import health_of
from segue.net.egress import EgressPolicy
from segue.observe.health import HealthChecks
from segue.observe.host_checks import LoopLag
from segue.steps.http import http_action
from segue.store import open_store, tables_of
from segue.store.port import Store
from segue.store.tables import Tables
from segue.triggers.limits import limits_of
from segue.triggers.service import Triggers

if TYPE_CHECKING:
    from segue.net.client import HttpClient

ENGINE_URL_VARIABLE: Final = "SEGUE_ENGINE_URL"
ENGINE_TOKEN_VARIABLE: Final = "SEGUE_ENGINE_TOKEN"  # noqa: S105 - the name of a variable
LABELS_VARIABLE: Final = "SEGUE_LABELS"
"""Labels of this host, by comma or blank: what steps with `runs_on` ask for."""
PYTHONS_THRESHOLD: Final = 700
"""What CPython 3.11 to 3.13 start with (`gc.get_threshold`)."""
PYTHON_THREADS: Final = 32


class LazyHttpClient:
    """The host's HTTP client, made at the first request: its library takes a third of the time that Segue takes to
    load.
    """

    def __init__(self, egress: EgressPolicy) -> None:
        self._egress = egress
        self._client: HttpClient | None = None

    def get(self) -> HttpClient:
        """The one client of this host."""
        if self._client is None:
            from segue.net.client import HttpClient  # noqa: PLC0415

            self._client = HttpClient(policy=self._egress)
        return self._client

    async def close(self) -> None:
        """End its connections, if there are any."""
        if self._client is not None:
            await self._client.close()


@dataclass(slots=True)
class Host:
    """An engine with what it stands on. `open` and `close` it as a whole."""

    engine: Engine
    store: Store
    tables: Tables
    http: LazyHttpClient
    engine_elsewhere: EngineElsewhere | None
    """What runs the graphs that come to the gateway, if SEGUE_ENGINE_URL names one."""
    actions: ActionRegistry
    catalogue: RegistryCatalogue
    threads: ThreadPoolExecutor
    vault: Vault
    """What is kept encrypted is sealed and opened with it."""
    credentials: Credentials
    registered: RegisteredFlows
    """Flows that a program gives to this host by their names."""
    library: FlowLibrary
    """Flows in files that steps find by their names: those beside the flow of a command."""
    served: FlowLibrary
    """The flows of the folders that a server offers."""
    sources: FlowSources
    """Where the engine finds flows by name: what a program registered, the library, what is stored, what is served."""
    flows: StoredFlows
    stored: StoredFlowSource
    triggers: Triggers
    """What starts runs by itself."""

    health: HealthChecks
    """How what this host depends on stands."""
    lag: LoopLag

    async def open(self) -> None:
        """Open the store and take over interrupted runs. Raises StoreInUseError, StoreUnavailableError."""
        _collect_less_often()
        await self.engine.open()
        self.lag.start()

    async def close(self, *, grace_seconds: float = 10.0) -> None:
        """See `Engine.close`."""
        await self.lag.stop()
        await self.triggers.stop()
        await self.engine.close(grace_seconds=grace_seconds)
        await self.http.close()
        if self.engine_elsewhere is not None:
            await self.engine_elsewhere.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


def build_host(
    url: str,
    *,
    egress: EgressPolicy,
    actions: Iterable[Action] = (),
    callback_base_url: Callable[[], str | None] = lambda: None,
    clock: Clock | None = None,
    secrets: SecretResolver | None = None,
    store: Store | None = None,
    server_key: bytes | None = None,
    ring: KeyRing | None = None,
    folders: Sequence[Path] = (),
    labels: Iterable[str] = (),
) -> Host:
    """A host for the database at `url` (`sqlite:///x.db`, `memory:`), not yet opened.

    `folders` hold the files of flows that other flows run by name. Its labels are `labels` and those of SEGUE_LABELS.
    """
    kept = store or open_store(url)
    key_file = None if ring is not None else _key_file(kept)
    ring = ring or _ring(key_file)
    http = LazyHttpClient(egress)
    elsewhere = _engine_elsewhere()
    registry = ActionRegistry((http_action(http.get), *actions, *(engine_actions(elsewhere) if elsewhere else ())))
    registered = RegisteredFlows()
    sources = FlowSources(registered)
    catalogue = RegistryCatalogue(registry, find=sources.spec)
    library = FlowLibrary(folders, catalogue)
    sources.add(library)
    tables, time_of = tables_of(kept), clock or SystemClock()
    held = Credentials.over(tables, Vault(ring), key_file, http.get, lambda prefix, now: new_run_id(now, prefix=prefix))
    flows = StoredFlows(tables, catalogue, time_of.now, SavedSteps(tables, time_of.now, time.monotonic))
    stored, served = StoredFlowSource(flows, time.monotonic), FlowLibrary((), catalogue)
    sources.add(stored)
    sources.add(served)
    key, resolver = server_key or ring.keys[-1].secret, secrets or _resolver(held, http)
    engine = Engine(
        kept,
        registry,
        server_key=key,
        clock=time_of,
        secrets=resolver,
        callback_base_url=callback_base_url,
        flows=sources,
        sealing=held.data_keys,
        links=held.links,
        labels={*labels, *os.environ.get(LABELS_VARIABLE, "").replace(",", " ").split()},
    )
    threads = ThreadPoolExecutor(PYTHON_THREADS, thread_name_prefix="segue-action")
    triggers = Triggers(
        engine, tables, sources, served, held.vault, resolver, stored.running, _documents(http), limits_of(os.environ)
    )
    engine.listeners.add(triggers)
    _let_react(flows, stored, triggers, (library, served))
    lag = LoopLag()
    health = health_of(engine, kept, key_file, triggers, elsewhere, http.get, lag)
    return Host(
        health=health, lag=lag, engine=engine, store=kept, tables=tables, http=http,
        engine_elsewhere=elsewhere, actions=registry, catalogue=catalogue, threads=threads,
        vault=held.vault, credentials=held, registered=registered, library=library, served=served, sources=sources,
        flows=flows, stored=stored, triggers=triggers,
    )  # fmt: skip


def _documents(http: LazyHttpClient) -> Callable[[str], Awaitable[object]]:
    """What gets a JSON document from another server, through the host's guarded client."""

    async def fetch(url: str) -> object:
        from segue.net.documents import json_document  # noqa: PLC0415 - few hosts ask for one

        return await json_document(http.get(), url)

    return fetch


def _let_react(
    flows: StoredFlows, stored: StoredFlowSource, triggers: Triggers, libraries: Sequence[FlowLibrary]
) -> None:
    """Have everybody know at once which version of a stored flow runs: those who name it, and its triggers."""

    def note(workspace: str, id: str, flow: Flow | None) -> None:
        stored.runs(workspace, id, flow)
        for library in libraries:
            library.forget(id)

    async def follow(workspace: str, flow: Flow) -> None:
        note(workspace, flow.id, flow)
        await triggers.follow(workspace, flow)

    async def retire(workspace: str, id: str) -> None:
        note(workspace, id, None)
        await triggers.retire(workspace, id)

    flows.reacts(follow, retire)


def _collect_less_often() -> None:
    """Let the garbage collector look after 20,000 new objects instead of 700, unless the program chose for itself.

    A run's state is a web of objects that refer to each other and are gone together; at the default the collector is a
    fifth of all the work under load (`docs/decisions/0011-the-garbage-collector.md`).
    """
    if gc.isenabled() and gc.get_threshold()[0] == PYTHONS_THRESHOLD:
        gc.set_threshold(20_000, *gc.get_threshold()[1:])


def _engine_elsewhere() -> EngineElsewhere | None:
    url = os.environ.get(ENGINE_URL_VARIABLE)
    return engine_at(url, os.environ.get(ENGINE_TOKEN_VARIABLE)) if url else None


def _resolver(held: Credentials, http: LazyHttpClient) -> SecretResolver:
    """What finds the secrets that flows name."""
    sources = sources_of(held.secrets, held.connections, VaultStore(http.get, os.environ))
    return SecretResolver(sources=sources, private=[] if held.key_file is None else [held.key_file.path])


def _key_file(store: Store) -> KeyFile | None:
    """The file that the keys come from; None where the environment gives them, or where there is no file."""
    path = getattr(store, "path", None)
    if ring_of_environment(os.environ) is not None or not isinstance(path, Path):
        return None
    return key_file_of(path)


def _ring(file: KeyFile | None) -> KeyRing:
    """The keys that secrets are encrypted with; those of a store that ends with the process end with it."""
    if file is not None:
        return file.load()
    return ring_of_environment(os.environ) or KeyRing([Key.new()])
