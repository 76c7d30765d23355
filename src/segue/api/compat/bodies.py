"""What callers of the documents' own paths send."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from segue.api.bodies import Body, JsonObject, Key


class RunOrchestrator(BaseModel):
    """Document A: `{inputs}`, or the inputs themselves."""

    model_config = ConfigDict(strict=True, extra="allow")

    inputs: JsonObject | None = None


class SaveOrchestrator(Body):
    """Document A's flow: a name and its canvas graph, as an object or as its JSON text."""

    name: str | None = Field(None, min_length=1, max_length=300)
    description: str | None = Field(None, max_length=10_000)
    definition: JsonObject | str | None = Field(None, description="`{nodes, edges, version}`")


class ConnectProvider(BaseModel):
    """Document A: a provider's credentials; for n8n `{baseUrl, apiKey}`. `name` tells several connections apart."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=100)
    base_url: str | None = Field(None, alias="baseUrl", min_length=1, max_length=2_000)
    api_key: str = Field(alias="apiKey", min_length=1, max_length=10_000)


class ChooseConnection(Body):
    """Document A: which of several connections to a provider is meant."""

    connection_id: str | None = Field(None, alias="connectionId", min_length=1, max_length=100)


class ExecuteWebhook(Body):
    """Document A: call a provider's webhook."""

    webhook_url: str = Field(alias="webhookUrl", min_length=1, max_length=4_000)
    data: Any = None


class ProviderCallback(Body):
    """Document A: what a zap sends back to a step that waits."""

    token: str = Field(min_length=1, max_length=300)
    data: Any = None


def _nothing(value: object) -> object:
    return {} if value is None else value


NullAsEmpty: TypeAlias = Annotated[
    JsonObject,
    BeforeValidator(_nothing),
    WithJsonSchema({"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]}),
]
"""Document B calls these keys optional, and programs send null for what they have not got."""


class GatewayStart(BaseModel):
    """Document B's gateway: `{graph, inputs, idempotencyKey}`, or its `{name, definition: {steps}}` as it is."""

    model_config = ConfigDict(strict=True, extra="allow")

    graph: JsonObject | None = None
    inputs: NullAsEmpty = Field(default_factory=dict)
    idempotency_key: Key | None = Field(None, alias="idempotencyKey")


class Dag(BaseModel):
    """The nodes of an engine's run: `{id, type, config, deps}`."""

    model_config = ConfigDict(strict=True, extra="allow")

    nodes: list[JsonObject]


class Execute(Body):
    """Document B's engine: `{runId, dag: {nodes}, env}`."""

    run_id: str | None = Field(None, alias="runId", max_length=300)
    dag: Dag
    env: NullAsEmpty = Field(default_factory=dict)
    inputs: NullAsEmpty = Field(default_factory=dict)
    idempotency_key: Key | None = Field(None, alias="idempotencyKey")


COMPAT_MODELS: Final[tuple[type[BaseModel], ...]] = (
    RunOrchestrator, SaveOrchestrator, ConnectProvider, ChooseConnection, ExecuteWebhook, ProviderCallback,
    GatewayStart, Dag, Execute,
)  # fmt: skip
