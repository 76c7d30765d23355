"""The OpenAPI 3.1 document: FastAPI's own for paths and parameters, with our records as the schemas of bodies.

Answers are msgspec records and bodies are pydantic models; both bring their JSON Schema (draft 2020-12) along.
"""

from __future__ import annotations

import re
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
from segue.api.compat.bodies import COMPAT_MODELS
from segue.api.credential_answers import CREDENTIAL_ANSWERS, CREDENTIAL_MODELS
from segue.api.errors import PROBLEM_TYPE, TABLE
from segue.api.examples import EXAMPLES
from segue.api.flow_answers import FLOW_ANSWERS
from segue.api.flow_bodies import FLOW_MODELS
from segue.api.identity_answers import IDENTITY_ANSWERS
from segue.api.identity_bodies import IDENTITY_MODELS
from segue.api.operation_names import operation_name, words_of
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
_TITLES: Final = {row.status: row.title for row in reversed(TABLE)} | {
    401: "No identity, or one that is not known",
    403: "This identity may not do this",
    404: "Not found, or not in this workspace",
    409: "Not possible in this state, or the same request is being answered",
    422: "Something in the request does not fit; the problem says what",
    429: "Too often, or one too many; see Retry-After",
    500: "A mistake of the server's own, or a run that is set aside",
    503: "Not now; ask again after Retry-After",
}
TAGS: Final = {
    "runs": "Start runs, look at them, and tell them something.",
    "flows": "The workspace's flows: drafts, versions, checks, templates, saved steps.",
    "callbacks": "What runs wait for from outside.",
    "signals": "Events and answers that find the steps that wait for them.",
    "triggers": "What starts runs by itself, and what came in.",
    "schedules": "What starts runs by the clock.",
    "webhooks": "Where senders send to.",
    "credentials": "Secrets and connections; their values are never shown.",
    "access": "People, keys, roles, grants, workspaces, switches.",
    "health": "Whether the server lives, can work, and how what it depends on stands.",
    "gateway and engine (document B)": "Document B's contracts.",
    "document A": "Document A's paths, bodies and status words.",
    "document C": "Document C's path.",
}
PATH_PARAMETERS: Final = {
    "run_id": "The run's id: `run_…`, or `eng_…` of an engine.",
    "other_id": "The id of the run to compare with.",
    "flow_id": "The flow's id.",
    "version": "A version's number, such as `1.4.2`.",
    "address": "The step's address: `charge`, `each[3].enrich`.",
    "step": "The step's address: `approve`.",
    "name": "Its name in the workspace.",
    "tag": "The tag as it is called now.",
    "token": "The callback's token: the proof that the sender may answer.",
    "template_id": "The template's id.",
    "trigger_id": "The trigger's id: `trg_…`.",
    "delivery_id": "The delivery's id: `dlv_…`.",
    "schedule_id": "The schedule's id: `trg_…`.",
    "workspace": "The workspace's id.",
    "flow": "The flow's id.",
    "random": "The unguessable part of the address.",
    "session_id": "The session's id.",
    "key_id": "The key's id: `key_…`.",
    "user_id": "The person's id: `usr_…`.",
    "grant_id": "The grant's id.",
    "workspace_id": "The workspace's id.",
    "connection_id": "The connection's id.",
    "provider": "n8n, make or zapier.",
    "workflow_id": "The provider's id of the workflow.",
    "scenario_id": "Make's id of the scenario.",
    "node_id": "The node's id in the flow's graph.",
}


def answers_with(
    status: int, record: type[msgspec.Struct], *errors: int, description: str = "OK"
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its record, and the errors that are its own."""
    content = {"application/json": {"schema": _ref(record.__name__)}}
    return {status: {"description": description, "content": content}, **errors_of(*errors)}


def errors_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem details, by status."""
    return {status: _problem(status) for status in statuses}


def list_of(record: type[msgspec.Struct], *errors: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a plain list of records."""
    schema = {"type": "array", "items": _ref(record.__name__)}
    return {200: {"description": "OK", "content": {"application/json": {"schema": schema}}}, **errors_of(*errors)}


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads `model`."""
    content = {"application/json": {"schema": _ref(model.__name__)}}
    return {"requestBody": {"required": required, "content": content}}


def event_stream() -> dict[str, Any]:
    """The content of a stream of a run's events. OpenAPI 3.1 has no word for what is in one: the schema is that of the
    whole text, and `x-events` names the schema of each event's `data`.
    """
    about = "Server-Sent Events: `event` (see `x-events`), `id`, and `data` as JSON in one line. A comment every 15 s."
    example = 'event: end\nid: 12.4.end\ndata: {"status":"succeeded"}\n\n'
    ended = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    resume = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}
    events = {
        "log": _ref("LogLine"), "run": _ref("RunView"), "end": ended, "resume": resume,
        "refused": _ref("ProblemDetails"),
    }  # fmt: skip
    return {"schema": {"type": "string", "description": about, "examples": [example]}, "x-events": events}


def list_event_stream() -> dict[str, Any]:
    """The content of a stream of a list's events, as `event_stream`."""
    about = "Server-Sent Events: `event` (see `x-events`), `id`, and `data` as JSON in one line. A comment every 15 s."
    rows = {"type": "array", "items": _ref("RunItem")}
    events = {"runs": rows, "run": _ref("RunItem"), "refused": _ref("ProblemDetails")}
    example = "event: runs\nid: 0f3a5c7e9b1d.0\ndata: []\n\n"
    return {"schema": {"type": "string", "description": about, "examples": [example]}, "x-events": events}


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
        made["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
        for path, operations in cast("dict[str, dict[str, Any]]", made.get("paths", {})).items():
            for method, operation in operations.items():
                operation["operationId"] = name = operation_name(method.upper(), path)
                operation["summary"] = words_of(name)
                _with_parameters(path, operation)
                _with_errors(operation["responses"], is_public=operation.get("security") == [])
        app.openapi_schema = made
    return app.openapi_schema


def _with_parameters(path: str, operation: dict[str, Any]) -> None:
    """Those that the route reads by itself, and what each one in its path is."""
    told = cast("list[dict[str, Any]]", operation.setdefault("parameters", []))
    known = {one["name"]: one for one in told if one["in"] == "path"}
    for name in re.findall(r"{(\w+)}", path):
        if name not in known:
            known[name] = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            told.append(known[name])
        known[name].setdefault("description", PATH_PARAMETERS[name])
    if "412" in operation["responses"]:
        told.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 100},
                "description": "The ETag of what was read and changed; `*` overwrites whatever is there."
                + (" Without one: 428." if "428" in operation["responses"] else ""),
            }
        )
    for one in told:
        if one["in"] == "header" and one["name"] == "last-event-id":
            one.setdefault("description", "The `id` of the last event that is known: what came after it is sent.")
    if not told:
        del operation["parameters"]


def _with_errors(responses: dict[str, Any], *, is_public: bool) -> None:
    """Every error is a problem document: those that a route names, those of every route that asks for an identity, and
    (`default`) what any request may be answered with: a body that cannot be read, a server that is being stopped.
    """
    if "422" in responses:  # FastAPI describes one of its own wherever there are parameters
        responses["422"] = _problem(422)
    for status in () if is_public else REFUSALS:
        responses.setdefault(str(status), _problem(status))
    responses["default"] = {**_problem(500), "description": "Any other error"}
    for response in responses.values():
        content = cast("dict[str, Any]", response.get("content", {}))
        if len(content) > 1 and content.get("application/json") == {"schema": {}}:
            del content["application/json"]  # FastAPI's, beside what the route says that it sends


def _problem(status: int) -> dict[str, Any]:
    return {"description": _TITLES[status], "content": {PROBLEM_TYPE: {"schema": _ref("ProblemDetails")}}}


def _schemas() -> dict[str, Mapping[str, Any]]:
    records = (*ANSWERS, *FLOW_ANSWERS, *TRIGGER_ANSWERS, *IDENTITY_ANSWERS, *CREDENTIAL_ANSWERS)
    bodies = (*MODELS, *COMPAT_MODELS, *FLOW_MODELS, *TRIGGER_MODELS, *IDENTITY_MODELS, *CREDENTIAL_MODELS)
    _, schemas = msgspec.json.schema_components(records, ref_template=_REF)
    made = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF.replace("name", "model"))
    models = cast("dict[str, dict[str, Any]]", made[1]["$defs"])
    for schema in models.values():
        _without_defaults(schema)
    found: dict[str, Mapping[str, Any]] = {**schemas, **models}
    for name, examples in EXAMPLES.items():
        found[name] = {**found[name], "examples": examples}
    return found


def _without_defaults(schema: dict[str, Any]) -> None:
    """Generators take a field with a default for one that is always there, which of a body is not so: what is left out
    is said in words.
    """
    for field in cast("dict[str, dict[str, Any]]", schema.get("properties", {})).values():
        default = field.pop("default", None)
        if default not in (None, {}, [], "", False):
            told = field.get("description", "")
            field["description"] = f"{told}{' ' if told else ''}Left out: {default}."


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
