"""The OpenAPI 3.1 document: FastAPI's own for paths and parameters, with our records as the schemas of bodies.

Answers are msgspec records and bodies are pydantic models; both bring their JSON Schema (draft 2020-12) along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import segue
from segue.api.answers import ANSWERS
from segue.api.bodies import MODELS
from segue.api.credential_answers import CREDENTIAL_ANSWERS, CREDENTIAL_MODELS
from segue.api.errors import PROBLEM_TYPE, TABLE
from segue.api.flow_answers import FLOW_ANSWERS
from segue.api.flow_bodies import FLOW_MODELS
from segue.api.identity_answers import IDENTITY_ANSWERS
from segue.api.identity_bodies import IDENTITY_MODELS
from segue.api.trigger_answers import TRIGGER_ANSWERS, TRIGGER_MODELS

_REF: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "Start flows and watch their runs. Every error is a problem document (RFC 9457). Send a key (`sgk_…`), or the "
    "token that the server printed, as `Authorization: Bearer …`; `X-Segue-Workspace` names a workspace other than the "
    "first of yours."
)
PUBLIC: Final[dict[str, Any]] = {"security": []}
"""The `openapi_extra` of a route that needs no identity."""
REFUSALS: Final = (401, 403, 404, 429)
"""No identity; none that may do this; one of another workspace; too often."""
_TITLES: Final = {row.status: row.title for row in reversed(TABLE)}


def answers_with(
    status: int, record: type[msgspec.Struct], *errors: int, description: str = "OK"
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its record, and the errors that are its own."""
    content = {"application/json": {"schema": _ref(record.__name__)}}
    return {status: {"description": description, "content": content}, **errors_of(*errors)}


def errors_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem details, by status."""
    return {
        status: {"description": _TITLES[status], "content": {PROBLEM_TYPE: {"schema": _ref("ProblemDetails")}}}
        for status in statuses
    }


def list_of(record: type[msgspec.Struct], *errors: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a plain list of records."""
    schema = {"type": "array", "items": _ref(record.__name__)}
    return {200: {"description": "OK", "content": {"application/json": {"schema": schema}}}, **errors_of(*errors)}


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads `model`."""
    content = {"application/json": {"schema": _ref(model.__name__)}}
    return {"requestBody": {"required": required, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Segue", version=segue.__version__, openapi_version="3.1.0", description=_DESCRIPTION,
            routes=app.routes, tags=app.openapi_tags,
        )  # fmt: skip
        components = cast("dict[str, Any]", made.setdefault("components", {}))
        components["schemas"] = dict(sorted(_schemas().items()))
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        for operations in cast("dict[str, dict[str, Any]]", made.get("paths", {})).values():
            for operation in operations.values():
                _with_our_problem(operation["responses"])
                if operation.get("security") != []:
                    _with_refusals(operation["responses"])
        app.openapi_schema = made
    return app.openapi_schema


def _with_our_problem(responses: dict[str, Any]) -> None:
    """FastAPI describes a 422 of its own wherever there are parameters; ours is a problem document."""
    if "422" in responses:
        responses["422"] = {"description": _TITLES[422], "content": {PROBLEM_TYPE: {"schema": _ref("ProblemDetails")}}}


def _with_refusals(responses: dict[str, Any]) -> None:
    """What every route may answer that asks for an identity."""
    for status, described in errors_of(*REFUSALS).items():
        responses.setdefault(str(status), described)


def _schemas() -> dict[str, Mapping[str, Any]]:
    records = (*ANSWERS, *FLOW_ANSWERS, *TRIGGER_ANSWERS, *IDENTITY_ANSWERS, *CREDENTIAL_ANSWERS)
    bodies = (*MODELS, *FLOW_MODELS, *TRIGGER_MODELS, *IDENTITY_MODELS, *CREDENTIAL_MODELS)
    _, schemas = msgspec.json.schema_components(records, ref_template=_REF)
    made = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF.replace("name", "model"))
    models = made[1]
    return {**schemas, **models["$defs"]}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
