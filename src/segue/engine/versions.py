"""Flow versions as the engine needs them: kept once by content, compiled once in this process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import msgspec

from segue.engine.ids import WORKSPACE
from segue.errors import EngineError
from segue.flow.model import Flow
from segue.kernel.plan import Plan, compile_plan
from segue.store.port import FlowVersion, Store

CACHED_PLANS_MAX: Final = 1_000

_decoder = msgspec.json.Decoder(Flow)


class Version(msgspec.Struct, frozen=True):
    """A kept version with its plan."""

    key: int
    workspace: str
    flow: Flow
    plan: Plan


class Versions:
    """Reads and keeps flow versions. Compiled plans are cached, the least recently used dropped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_key: OrderedDict[int, Version] = OrderedDict()
        self._key_by_digest: dict[tuple[str, str], int] = {}

    async def keep(self, flow: Flow, source: str, now: int, *, workspace: str = WORKSPACE) -> Version:
        """The workspace's version of this content, kept if it is new. Raises InvalidFlowError if it cannot be run."""
        model = msgspec.json.encode(flow)
        digest = hashlib.sha256(model).hexdigest()
        key = self._key_by_digest.get((workspace, digest))
        if key is not None:
            return await self.get(key)
        plan = compile_plan(flow)
        kept = await self._store.put_flow_version(
            FlowVersion(
                key=0, workspace=workspace, flow_id=flow.id, digest=digest, version=flow.version, model=model,
                source=source, created_at=now,
            )
        )  # fmt: skip
        return self._remember(Version(kept.key, workspace, flow, plan), digest)

    async def of_workspace(self, version: Version, workspace: str) -> Version:
        """The same content as a version of this workspace; the version itself if it is one."""
        if version.workspace == workspace:
            return version
        kept = await self._store.get_flow_version(version.key)
        if kept is None:
            raise _missing(version.key)
        return await self.keep(version.flow, kept.source, kept.created_at, workspace=workspace)

    async def get(self, key: int) -> Version:
        """Raises EngineError if the database has no such version, or one that cannot be read."""
        found = self._by_key.get(key)
        if found is not None:
            self._by_key.move_to_end(key)
            return found
        kept = await self._store.get_flow_version(key)
        if kept is None:
            raise _missing(key)
        try:
            flow = _decoder.decode(kept.model)
        except msgspec.MsgspecError as error:
            raise EngineError(
                f"flow version {key} of {kept.flow_id} cannot be read ({error}); restore it from a back-up, or use the"
                " release that wrote it"
            ) from error
        return self._remember(Version(key, kept.workspace, flow, compile_plan(flow)), kept.digest)

    async def newest(self, workspace: str, flow_id: str, version: str | None = None) -> Version | None:
        """The newest version kept of a workspace's flow, or of those that bear a number. None: there is none."""
        kept = await self._store.find_flow_version(workspace, flow_id, version)
        return None if kept is None else await self.get(kept.key)

    def _remember(self, version: Version, digest: str) -> Version:
        self._by_key[version.key] = version
        self._key_by_digest[version.workspace, digest] = version.key
        if len(self._by_key) > CACHED_PLANS_MAX:
            dropped, _ = self._by_key.popitem(last=False)
            self._key_by_digest = {digest: key for digest, key in self._key_by_digest.items() if key != dropped}
        return version


def _missing(key: int) -> EngineError:
    return EngineError(f"flow version {key} is missing from the database; restore it from a back-up")
