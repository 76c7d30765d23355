"""The OpenAPI document is good enough to generate clients from: valid, named, described, with examples that hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from acceptance.api_support import TOKEN
from segue.api import Access, create_app, documented
from segue.api.examples import EXAMPLES
from segue.api.operation_names import NAMES, operation_name, words_of
from segue.api.services import Services
from segue.bootstrap import build_host
from segue.net.egress import EgressPolicy

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
NOUNS = {"flow", "trigger", "schedule", "index", "api", "v1"}
"""What a name must not begin with: a function does something."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    host = build_host("memory:", egress=EgressPolicy.local())
    services = Services(
        engine=host.engine, catalogue=host.catalogue, library=host.served, flows=host.flows, stored=host.stored,
        engine_elsewhere=None, health=host.health, tables=host.tables, triggers=host.triggers, vault=host.vault,
        credentials=host.credentials,
    )  # fmt: skip
    app: FastAPI = create_app(services, Access(TOKEN))
    # As it is served: what is a tuple here is a list there.
    return json.loads(json.dumps(documented.document(app)))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


@pytest.mark.req("API-1.openapi")
def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.req("API-1.openapi")
def test_operations_are_called_as_functions_are(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z][A-Za-z0-9]+", name), name
        assert words_of(name).lower().split()[0] not in NOUNS, name
    assert {"startRun", "listRuns", "getRun", "cancelRun", "saveFlowVersion", "createTrigger"} <= set(names)
    there = {f"{method} {path}" for method, path, _ in operations(document)}
    assert set(NAMES) <= there, "a name for an operation that is no more"


@pytest.mark.req("API-1.openapi")
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/api/v1/widgets", "listWidgets"),
        ("GET", "/api/v1/widgets/{widget_id}", "getWidget"),
        ("POST", "/api/v1/widgets", "createWidget"),
        ("POST", "/api/v1/widgets/{widget_id}/turn", "turnWidget"),
        ("PATCH", "/api/v1/widgets/{widget_id}/parts/{part_id}", "changeWidgetPart"),
        ("GET", "/api/v1/widgets/{widget_id}/story", "getWidgetStory"),
        ("DELETE", "/v1/widgets/{widget_id}", "deleteGatewayWidget"),
        ("DELETE", "/api/v1/widgets", "deleteWidgets"),
    ],
)
def test_a_new_route_gets_a_name_that_fits(method: str, path: str, name: str) -> None:
    assert operation_name(method, path) == name


@pytest.mark.req("API-1.openapi")
def test_everything_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        label = f"{method} {path}"
        assert operation["description"], label
        assert operation["tags"], label
        assert set(operation["tags"]) <= tags, label
        placed = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert placed == set(re.findall(r"{(\w+)}", path)), label
        for one in operation.get("parameters", []):
            if one["in"] == "path":
                assert one["description"], f"{label}: {one['name']}"
        for status, response in operation["responses"].items():
            if status == "default" or status.startswith(("4", "5")):
                allowed = set(response["content"]) - {"application/json", "text/html"}
                assert allowed == {"application/problem+json"} or path == "/health/ready", f"{label} {status}"
            assert response["description"], f"{label} {status}"
        assert operation["responses"]["default"]["content"] == PROBLEM


@pytest.mark.req("API-1.openapi", "API-6.documented")
def test_the_stream_of_events_is_described(document: dict[str, Any]) -> None:
    (content,) = document["paths"]["/api/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"].items()
    assert content[0] == "text/event-stream"
    assert set(content[1]["x-events"]) == {"log", "run", "end", "resume", "refused"}
    schemas = document["components"]["schemas"]
    for one in content[1]["x-events"].values():
        assert "$ref" not in one or one["$ref"].rpartition("/")[2] in schemas


@pytest.mark.req("API-1.openapi")
def test_every_body_has_an_example_and_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = {
        content["schema"]["$ref"].rpartition("/")[2]
        for _, _, operation in operations(document)
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "$ref" in content.get("schema", {})
    }
    assert len(bodies & set(EXAMPLES)) > 0.85 * len(bodies), f"without an example: {bodies - set(EXAMPLES)}"
    assert set(EXAMPLES) <= set(schemas), "an example of a schema that is no more"
    for name, examples in EXAMPLES.items():
        assert schemas[name]["examples"] == examples
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        validator = jsonschema.Draft202012Validator(whole)
        for example in examples:
            assert [error.message for error in validator.iter_errors(example)] == [], name


@pytest.mark.req("API-1.openapi")
def test_examples_are_taken_by_the_models_that_read_bodies() -> None:
    lists = (
        documented.MODELS, documented.FLOW_MODELS, documented.TRIGGER_MODELS, documented.IDENTITY_MODELS,
        documented.CREDENTIAL_MODELS,
    )  # fmt: skip
    models: dict[str, type[BaseModel]] = {model.__name__: model for models in lists for model in models}
    read = [models[name].model_validate(one) for name in EXAMPLES if name in models for one in EXAMPLES[name]]
    assert len(read) > 40


@pytest.mark.req("API-1.openapi")
def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    found = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document)))
    assert found <= set(schemas)
    unused = set(schemas) - found
    assert unused == set(), "schemas that no operation and no other schema uses"
