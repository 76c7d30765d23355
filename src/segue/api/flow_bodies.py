"""What callers send about flows."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

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


class RenameTag(Body):
    """What a tag is to be called."""

    to: str = Field(min_length=1, max_length=100)


class PutFavourites(Body):
    """The flows that the caller wants to see first, in order."""

    flows: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(max_length=500)


class SentFile(Body):
    """A flow's file, or a file of tests."""

    name: str = Field(min_length=1, max_length=300, description="For messages; names the flow if its text does not.")
    text: str


class PlanFlow(Body):
    """Rehearse a flow: real expressions and branches, no call outside."""

    inputs: JsonObject = Field(default_factory=dict)
    version: str | None = Field(None, max_length=100, description="Left out: the draft, or a folder's file.")
    text: str | None = Field(None, description="A text that is not saved, in place of the draft.")
    mocks: JsonObject | None = Field(None, description="What steps answer, by step, as in a flow's tests.")
    trigger: JsonObject | None = Field(None, description="The event that starts the run: {kind, body, headers}.")
    samples: bool = Field(False, description="Make up the required inputs that are not given.")
    now: int | None = Field(None, ge=0, le=2**53, description="When the run begins (ms since the epoch).")


class TestFlow(Body):
    """Run the tests that stand in a flow's text, and those of files of tests."""

    __test__ = False

    version: str | None = Field(None, max_length=100, description="Left out: the draft, or a folder's file.")
    text: str | None = Field(None, description="A text that is not saved, in place of the draft.")
    name: str | None = Field(None, max_length=200, description="Only tests with this in their name.")
    files: list[SentFile] = Field(
        default_factory=list["SentFile"], max_length=100, description="Files with `tests:`, as `order.test.yaml`."
    )


class ImportFlows(Body):
    """Flows to store. Alternatively send a zip archive of YAML and JSON files as application/zip."""

    files: list[SentFile] = Field(min_length=1, max_length=2_000)


class CreateTemplate(Body):
    """A text to make flows of, with `<<name>>` where a parameter is to stand."""

    id: FlowId
    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(None, max_length=2_000)
    category: str | None = Field(None, max_length=200)
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list[str], max_length=50)
    parameters: JsonObject = Field(default_factory=dict, description="A JSON Schema (type object) of the parameters.")
    text: str | None = Field(None, description="The template's text; else `flow_id` gives it.")
    flow_id: str | None = Field(None, max_length=300, description="Take this flow's draft, or a folder's file.")


class FromTemplate(Body):
    """Make a flow of a template."""

    id: FlowId | None = Field(None, description="Of the new flow; left out: what the template's text calls it.")
    parameters: JsonObject = Field(default_factory=dict)


class PutSavedStep(Body):
    """A step that every flow of the workspace may use by name."""

    body: str | JsonObject | list[JsonObject] = Field(
        description="A step's keys, or a list of steps: YAML or JSON text, or as parsed JSON."
    )
    description: str | None = Field(None, max_length=2_000)


FLOW_MODELS: Final[tuple[type[BaseModel], ...]] = (
    CreateFlow, PutDraft, EditDraft, SaveVersion, CloneFlow, PutTags, RenameTag, PutFavourites, PlanFlow, TestFlow,
    PutSavedStep, ImportFlows, CreateTemplate, FromTemplate,
)  # fmt: skip
