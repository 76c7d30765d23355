"""Starting runs: from a flow that is sent along or from the library, once for each idempotency key.

Reading and checking a flow is the slow part, so what was read is kept by the hash of its text: a program that starts
the same flow again and again pays for it once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from segue.access.kept_answers import KEY_SECONDS
from segue.access.principal import DEFAULT_WORKSPACE
from segue.api.answers import StartedRun
from segue.api.errors import KeyReusedError
from segue.api.repeats import InFlight
from segue.engine.host import Engine
from segue.engine.library import FlowLibrary
from segue.engine.starting import Started
from segue.engine.versions import Version
from segue.errors import ConflictError, NotFoundError, RequestError
from segue.flow import Flow
from segue.flow.inputs import resolve_inputs
from segue.flow.model import JsonValue
from segue.flows.records import StoredVersion
from segue.flows.service import StoredFlows
from segue.flows.source import StoredFlowSource
from segue.store.run_notes import NO_NOTES, RunNotes

MAX_CACHED: Final = 500

FlowSource = str | Mapping[str, Any]
_canonical = msgspec.json.Encoder(order="sorted").encode


class Starter:
    """Starts runs for all doors of one server. Belongs to the engine's event loop."""

    def __init__(self, engine: Engine, flows: StoredFlows, stored: StoredFlowSource, library: FlowLibrary) -> None:
        self.engine = engine
        self.library = library
        self._flows = flows
        self._stored = stored
        self._versions: OrderedDict[bytes, Version] = OrderedDict()
        self._in_flight = InFlight()

    async def sent(self, flow: FlowSource, workspace: str, *, file: str | None = None) -> Version:
        """The version of a flow that came with a request. Raises InvalidFlowError."""
        text = flow if isinstance(flow, str) else msgspec.json.encode(flow).decode()
        what = f"{workspace}\n{self._flows.saved.changes}\n{type(flow) is str}\n{file}\n{text}"
        digest = hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()

        async def read() -> Flow:
            return (await self._flows.check_sent(workspace, flow, file=file)).checked()

        return await self._kept(digest, text, read, workspace)

    async def named(self, id: str, workspace: str, *, version: str | None = None, draft: bool = False) -> Version:
        """The version of a flow that the workspace has: the published one of a stored flow, or the one of a number, or
        its draft; or what the file of a folder says now. Folders belong to the default workspace.

        What starts no runs (an archived flow, a draft) leaves its id to the file of a folder. Raises NotFoundError;
        ConflictError for a flow that starts no runs; InvalidFlowError.
        """
        if draft:
            flow, text = await self._flows.runnable_draft(workspace, id)
            return await self.engine.versions.keep(flow, text, self.engine.now(), workspace=workspace)
        found: StoredVersion | None = None
        refused: RequestError | None = None
        try:
            found = await self._stored.version(workspace, id, version)
        except (NotFoundError, ConflictError) as error:
            refused = error
        if found is not None:
            model = found.flow

            async def stored() -> Flow:
                return model

            return await self._kept(b"stored\n%d" % found.info.key, found.source, stored, workspace)
        if workspace != DEFAULT_WORKSPACE:
            raise refused or NotFoundError(f"no flow has the id {id!r}")
        try:
            return await self._of_library(id, version)
        except NotFoundError as error:
            raise refused or error from None

    async def _of_library(self, id: str, version: str | None) -> Version:
        found = self.library.get(id)
        if version is not None and (found.flow is None or found.flow.version != version):
            raise NotFoundError(f"the flow {id!r} has no version {version!r}; it is the file {found.file}")

        async def read() -> Flow:
            return found.checked()

        digest = b"library\n" + found.file.encode() + b"\n" + found.digest
        return await self._kept(digest, found.source, read, DEFAULT_WORKSPACE)

    async def _kept(self, digest: bytes, source: str, read: Callable[[], Awaitable[Flow]], workspace: str) -> Version:
        known = self._versions.get(digest)
        if known is not None:
            self._versions.move_to_end(digest)
            return known
        version = await self.engine.versions.keep(await read(), source, self.engine.now(), workspace=workspace)
        self._versions[digest] = version
        if len(self._versions) > MAX_CACHED:
            self._versions.popitem(last=False)
        return version

    async def start(
        self,
        version: Callable[[], Awaitable[Version]],
        inputs: dict[str, JsonValue],
        *,
        workspace: str,
        request: object,
        key: str | None,
        trigger: dict[str, JsonValue],
        run_id: str | None = None,
        at: int | None = None,
        notes: RunNotes = NO_NOTES,
    ) -> StartedRun:
        """Start a run in a workspace. `request` is everything that makes two requests the same one; it is looked at
        only with a key.

        `at`: when it is to begin (ms since the epoch). `notes` are its labels and metadata.

        Raises KeyReusedError, InFlightError, and what `version` and the engine raise.
        """
        if key is None:
            started = await self._start(await version(), inputs, trigger, workspace, run_id, None, None, at, notes)
        else:
            with self._in_flight.hold(workspace, key):
                asked = [request, notes.labels, notes.metadata] if notes else request
                started = await self._start_once(version, inputs, workspace, asked, key, trigger, run_id, at, notes)
        record = await self.engine.record(started.run_id)
        return StartedRun(run_id=record.run_id, status=record.status, repeated=started.repeated)

    async def _start_once(
        self,
        version: Callable[[], Awaitable[Version]],
        inputs: dict[str, JsonValue],
        workspace: str,
        request: object,
        key: str,
        trigger: dict[str, JsonValue],
        run_id: str | None,
        at: int | None,
        notes: RunNotes,
    ) -> Started:
        digest = hashlib.sha256(_canonical(request)).hexdigest()
        try:
            return await self._start(await version(), inputs, trigger, workspace, run_id, key, digest, at, notes)
        except RequestError as error:
            # The library's flow may have changed since: the same request still has the same answer.
            earlier = await self.engine.store.find_run_by_idempotency_key(workspace, key)
            if earlier is None or earlier.created_at + KEY_SECONDS * 1000 <= self.engine.now():
                raise
            if earlier.request_digest == digest:
                return Started(earlier.run_id, repeated=True)
            if isinstance(error, ConflictError):
                message = f"the idempotency key was used for another request (run {earlier.run_id}); use a new key"
                raise KeyReusedError(message) from error
            raise

    async def _start(
        self,
        version: Version,
        inputs: dict[str, JsonValue],
        trigger: dict[str, JsonValue],
        workspace: str,
        run_id: str | None,
        key: str | None,
        digest: str | None,
        at: int | None,
        notes: RunNotes,
    ) -> Started:
        given = resolve_inputs(version.flow, inputs)
        return await self.engine.start(
            version, given, trigger=trigger, workspace=workspace, idempotency_key=key, request_digest=digest,
            run_id=run_id, at=at, notes=notes,
        )  # fmt: skip
