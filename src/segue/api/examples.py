"""An example of each body, for the OpenAPI document and so for whoever reads the docs made from it; a test checks each
against its schema, and sends those of runs and flows.
"""

from __future__ import annotations

from typing import Any, Final

GREETING: Final = "flow: greet\ninputs: {name: string}\nsteps:\n  - hello: {log: 'hi {{ inputs.name }}'}\n"
_GRAPH: Final[dict[str, Any]] = {
    "nodes": [
        {"id": "start", "type": "start", "data": {}},
        {"id": "ask", "type": "http", "data": {"config": {"method": "GET", "url": "https://api.example.com/orders"}}},
    ],
    "edges": [{"id": "e1", "source": "start", "target": "ask"}],
}
_DAG: Final[dict[str, Any]] = {
    "nodes": [
        {"id": "start", "type": "start", "config": {}},
        {
            "id": "ask", "type": "http_request_node", "deps": ["start"],
            "config": {"method": "GET", "url": "https://api.example.com/orders"},
        },
    ]
}  # fmt: skip
_WHY: Final[dict[str, Any]] = {"reason": "the warehouse is closed"}

EXAMPLES: Final[dict[str, list[Any]]] = {
    "StartRun": [
        {"flow_id": "greet", "inputs": {"name": "Ada"}, "idempotency_key": "order-17"},
        {"flow": GREETING, "inputs": {"name": "Ada"}},
    ],
    "RunFlow": [{"inputs": {"name": "Ada"}, "idempotency_key": "order-17"}],
    "StartedRun": [{"run_id": "run_06gzzb6bk9rmf7t4ywjgd3t2n4", "status": "queued", "repeated": False}],
    "Reason": [_WHY],
    "Cancellation": [{**_WHY, "force": False}],
    "Rewind": [{"to": ["charge"], **_WHY}],
    "Replay": [{"from": ["charge"], "inputs": {"amount": 12}}],
    "Fork": [{"at": 12, "version": "latest"}],
    "BulkRuns": [{"action": "retry", "where": {"status": ["failed"], "flow": "greet"}, "dry_run": True}],
    "CheckFlow": [{"flow": GREETING, "file": "greet.yaml"}],
    "CreateFlow": [{"id": "greet", "text": GREETING}],
    "PutDraft": [{"text": GREETING}],
    "SaveVersion": [{"message": "Say hi", "publish": True}],
    "CloneFlow": [{"id": "greet-2"}],
    "PutTags": [{"tags": ["sales"]}],
    "PutFavourites": [{"flows": ["greet"]}],
    "PlanFlow": [{"inputs": {"name": "Ada"}, "samples": False}],
    "TestFlow": [{"name": "says hi"}],
    "PutSavedStep": [{"body": "http: {url: 'https://api.example.com/orders'}", "description": "Ask for orders"}],
    "FromTemplate": [{"id": "payments", "parameters": {"channel": "orders"}}],
    "CreateTemplate": [{"id": "greeting", "name": "A greeting", "flow_id": "greet", "tags": ["start"]}],
    "EditDraft": [{"edits": [{"op": "rename_step", "step": "hello", "to": "greeting"}]}],
    "ImportFlows": [{"files": [{"name": "greet.yaml", "text": GREETING}]}],
    "FireTrigger": [{"data": {"order": 17}}],
    "StartCapture": [{"count": 3}],
    "PutSecret": [{"secret": "whsec_…", "overlap": "24h"}],
    "ChangeConnection": [{"fields": {"base_url": "https://api.example.com"}, "secret_fields": {"token": "…"}}],
    "NewPassword": [{"old_password": "four lanterns over the quay", "password": "seven herons in the reeds"}],
    "SetUp": [{"token": "…", "email": "ada@example.org", "password": "four lanterns over the quay"}],
    "SendEvent": [{"event": "order.paid", "data": {"order": 17}, "id": "evt-17"}],
    "CallbackTest": [{"payload": {"decision": "approve"}, "dry_run": True}],
    "CreateTrigger": [{"flow": "greet", "kind": "webhook", "settings": {"auth": "stripe"}, "secret": "whsec_…"}],
    "ChangeTrigger": [{"enabled": False}],
    "CreateSchedule": [{"flow": "greet", "cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"}],
    "ChangeSchedule": [{"paused": True}],
    "SecretValue": [{"value": "sk_…", "note": "of the shop"}],
    "CreateConnection": [{"name": "shop", "fields": {"base_url": "https://api.example.com"}}],
    "CreateKey": [{"name": "the shop", "permissions": ["run:create", "run:read"], "expires_in": "90d"}],
    "InviteUser": [{"email": "ada@example.org", "name": "Ada", "role": "editor"}],
    "ChangeUser": [{"role": "viewer"}],
    "PutRole": [{"permissions": ["flow:read", "run:read"]}],
    "PutGrant": [{"flow_id": "greet", "subject_kind": "role", "subject": "viewer", "permissions": ["flow:execute"]}],
    "CreateWorkspace": [{"name": "Sales"}],
    "ChangeWorkspace": [{"name": "Sales and service"}],
    "PutFlag": [{"on": False, "scope": "workspace"}],
    "SignIn": [{"email": "ada@example.org", "password": "four lanterns over the quay"}],
    "ConnectProvider": [{"name": "ours", "baseUrl": "https://n8n.example.com", "apiKey": "n8n_…"}],
    "ExecuteWebhook": [{"webhookUrl": "https://hooks.zapier.com/hooks/catch/1/a", "data": {"order": 17}}],
    "ProviderCallback": [{"token": "…", "data": {"ok": True}}],
    "SaveOrchestrator": [{"name": "Orders", "description": "Asks for orders", "definition": {**_GRAPH, "version": 1}}],
    "RunOrchestrator": [{"inputs": {"name": "Ada"}}],
    "GatewayStart": [{"graph": _GRAPH, "inputs": {}, "idempotencyKey": "order-17"}],
    "Execute": [{"runId": "run-17", "dag": _DAG, "env": {}, "idempotencyKey": "order-17"}],
    "ProblemDetails": [
        {
            "type": "urn:segue:problem:not-found", "title": "Not found", "status": 404,
            "detail": "no run has the id 'run_x'", "instance": "/api/v1/runs/run_x",
            "request_id": "req_5f0d6c1be43a9c7f1e2d3c4b",
        }
    ],
}  # fmt: skip
"""By the name of the schema."""
