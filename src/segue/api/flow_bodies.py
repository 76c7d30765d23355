"""What callers send about flows."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, Field

from segue.api.bodies import Body, JsonObject

FlowId: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, description="An id; part of addresses.")]


class CreateFlow(Body):
    """Store a new flow: its text, its document, or a canvas graph. Without one it begins empty."""

    id: FlowId | None = Field(None, description="Left out: what the text calls it, else a slug of `name`.")
    name: str | None = Field(None, max_length=200, description="Its title, if nothing else is sent.")
    text: str | None = Field(None, description="YAML or JSON, as it is to be kept.")
    document: JsonObject | None = Field(None, description="The flow as parsed JSON, in any form of the language.")
    graph: JsonObject | None = Field(None, description="The flow as `/graph` gives it.")


class PutDraft(Body):
    """Another draft: exactly one of text, document, graph."""

    text: str | None = Field(None, description="YAML or JSON, kept byte for byte.")
    document: JsonObject | None = Field(None, description="The flow as parsed JSON; written as text anew.")
    graph: JsonObject | None = Field(
        None, description="As `/graph` gives it; only what differs is changed in the text."
    )


class EditDraft(Body):
    """Single edits of the draft: all are made, or none."""

    edits: list[JsonObject] = Field(
        min_length=1, max_length=1_000, description="Operations such as {op: rename_step, step: a, to: b}."
    )


class SaveVersion(Body):
    """Make the draft a version."""

    message: str | None = Field(None, max_length=2_000, description="What changed, for people.")
    publish: bool = Field(False, description="Let it be the version that runs take.")


class CloneFlow(Body):
    """Make a new flow from another one."""

    id: FlowId | None = Field(None, description="Of the new flow; left out: the old one's with `-copy`.")
    version: str | None = Field(None, max_length=100, description="From this version; left out: from the draft.")


class PutTags(Body):
    """The tags that a flow is to have; written into its draft."""

    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(max_length=100)


class PutFavourites(Body):
    """The flows that the caller wants to see first, in order."""

    flows: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(max_length=500)


FLOW_MODELS: Final[tuple[type[BaseModel], ...]] = (
    CreateFlow, PutDraft, EditDraft, SaveVersion, CloneFlow, PutTags, PutFavourites,
)  # fmt: skip
Json: TypeAlias = dict[str, Any]
