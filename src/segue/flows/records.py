"""What the service of stored flows gives and takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from segue.flow.model import Flow, RawMap
from segue.flow.problems import Problem

State = Literal["live", "archived", "deleted"]
Sort = Literal["name", "updated", "created"]


class FlowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A flow in a list. Labels, inputs and problems are those of the last draft that could be read. Times in ms."""

    key: int
    id: str
    state: State
    name: str
    sort_name: str
    description: str | None
    category: str | None
    tags: tuple[str, ...]
    steps: int
    inputs: RawMap
    problems: tuple[Problem, ...]
    revision: int
    published: str | None
    """The number of the version that runs."""
    latest: str | None
    """The highest number."""
    is_changed: bool
    """Whether the draft is another text than the published version's."""
    created_at: int
    created_by: str
    updated_at: int
    updated_by: str


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a flow that is worked on. `revision` counts its changes; who writes must know the last one."""

    id: str
    revision: int
    text: str
    form: str | None
    """None: the text cannot be read."""
    problems: tuple[Problem, ...]
    updated_at: int
    updated_by: str


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list. `digest` tells whether two hold the same."""

    key: int
    number: str
    digest: str
    message: str | None
    created_at: int
    created_by: str
    is_published: bool
    published_at: int | None
    published_by: str | None


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version with its text, and the model that runs of it follow."""

    info: VersionInfo
    flow_id: str
    source: str
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFilter:
    """Which flows of a workspace are listed."""

    ids: frozenset[str] | None = None
    """Only these: what somebody may see. None: all."""
    query: str | None = None
    """Words that name, description, tags, steps or actions begin with; all of them."""
    tags: tuple[str, ...] = ()
    """All of these."""
    category: str | None = None
    state: State = "live"
    is_published: bool | None = None
    sort: Sort = "name"


@dataclass(frozen=True, slots=True)
class FlowPage:
    """Flows, and where the next page begins (None: this was the last)."""

    flows: tuple[FlowInfo, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something: an id that stays, and a name to show."""

    id: str
    name: str
