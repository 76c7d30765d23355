"""Flows out: one or many, as YAML, JSON or an archive, without secrets, with a report of what was replaced."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from segue.flow import read_flow
from segue.flow.edit import write_document
from segue.flow.model import JsonValue
from segue.flows.holdings import Holdings
from segue.flows.records import FlowFilter
from segue.flows.redaction import Replaced, without_secrets
from segue.flows.service import StoredFlows

MANIFEST: Final = "REPLACED.txt"
"""The archive's list of what was replaced; there is none if nothing was."""
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can hold: the same flows give the same bytes."""
Form: TypeAlias = Literal["yaml", "json"]


class Exported(NamedTuple):
    """A flow's text as it is given away, and what became `***` in it."""

    text: str
    replaced: tuple[Replaced, ...]


class Exports:
    """Exports of flows."""

    def __init__(self, flows: StoredFlows, holdings: Holdings) -> None:
        self._flows = flows
        self._holdings = holdings

    async def stored(self, workspace: str, id: str, *, version: str | None = None, form: Form = "yaml") -> Exported:
        """A stored flow, its draft or a version. Raises NotFoundError."""
        if version is None:
            source = await self._flows.draft_text(workspace, id)
        else:
            source = (await self._flows.version(workspace, id, version)).source
        return await self.text(workspace, source, form)

    async def text(self, workspace: str, source: str, form: Form) -> Exported:
        """A text of the workspace."""
        return exported(source, form, await self._holdings.values(workspace))

    async def archive(
        self, workspace: str, where: FlowFilter | None = None, *, ids: Iterable[str] = (), form: Form = "yaml"
    ) -> bytes:
        """The drafts of flows as a zip archive, one file each, by id: the same flows give the same bytes.

        Raises NotFoundError if one of `ids` is none.
        """
        wanted = list(dict.fromkeys(ids)) or [info.id for info in await self._flows.all(workspace, where)]
        values = await self._holdings.values(workspace)
        made, told = io.BytesIO(), list[str]()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for id in sorted(wanted):
                given = exported(await self._flows.draft_text(workspace, id), form, values)
                _add(archive, f"{id}.{form}", given.text)
                told += [f"{id}.{form}: {one.path or 'the text'}: {one.why}\n" for one in given.replaced]
            if told:
                head = "Replaced by *** when these flows were exported; put a value or a reference back:\n"
                _add(archive, MANIFEST, head + "".join(told))
        return made.getvalue()


def exported(source: str, form: Form, values: Iterable[str] = ()) -> Exported:
    """A text to give away: secrets are masked; in its own notation every other byte stays."""
    text, replaced = without_secrets(source, values)
    document = read_flow(text).document
    if document is None or document.root.entries is None or is_json(text) == (form == "json"):
        return Exported(text, replaced)
    plain = document.root.plain()
    assert isinstance(plain, dict), "a map"
    return Exported(_json(plain) if form == "json" else write_document(plain), replaced)


def is_json(text: str) -> bool:
    """Whether a text is JSON; YAML in braces looks like it and is not."""
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return False
    return True


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(name, _FIRST_DAY)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(entry, text)


def _json(value: JsonValue) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
