"""What versions and drafts are compared by: contents by digest, drafts by revision."""

from __future__ import annotations

import hashlib

import msgspec

from segue.errors import ConflictError, StaleError
from segue.flow import Flow
from segue.flows import rows
from segue.flows.numbers import canonical
from segue.flows.reading import ReadText
from segue.flows.records import FlowInfo, VersionInfo
from segue.store.tables import Sql


def kept_as(sql: Sql, info: FlowInfo, flow: Flow, digest: str) -> VersionInfo | None:
    """The version that has this content already. Raises ConflictError if the stated number has another content."""
    latest = rows.latest_version(sql, info)
    if latest is not None and latest.info.digest == digest:
        return latest.info
    stated = None if flow.version is None else rows.find_version(sql, info, flow.version)
    if stated is None:
        return None
    if stated.info.digest == digest:
        return stated.info
    raise ConflictError(
        f"version {canonical(stated.info.number)} of the flow {info.id!r} has another content; raise `version:`, or"
        " leave it out for the next number"
    )


def digest_of(found: ReadText) -> str:
    """What tells two contents apart: the text, and what it means with the saved steps as they are."""
    model = b"" if found.flow is None else msgspec.json.encode(found.flow)
    return hashlib.sha256(found.text.encode("utf-8", "surrogatepass") + b"\n" + model).hexdigest()


def refuse_stale(info: FlowInfo, expected: int | None) -> None:
    """Raises StaleError if the draft is not at the revision that the caller knows."""
    if expected is not None and info.revision != expected:
        raise StaleError(
            f"the draft of {info.id!r} is at revision {info.revision} by now, written by {info.updated_by}, and this"
            f" change was made for revision {expected}; read it again",
            revision=info.revision,
        )
