"""What the operations of the OpenAPI document are called: `listRuns`, `cancelRun`, as generated clients' functions are.

A name follows from method and path, so that a new route has one that fits beside the others; where the rule would read
badly, the table says what to call it. The paths of documents A to C have their document's word before them.
"""

from __future__ import annotations

from typing import Final

ROOTS: Final = (
    ("/api/v1/orchestrator", "orchestrator"),
    ("/api/v1", ""),
    ("/flows", "flow"),
    ("/v1", "gateway"),
    ("/hooks", ""),
    ("/health", ""),
)
NAMES: Final = {
    "POST /api/v1/runs": "startRun",
    "POST /api/v1/runs/bulk": "changeRuns",
    "POST /api/v1/flows/{flow_id}/runs": "startRunOfFlow",
    "GET /api/v1/runs/{run_id}/why": "explainRun",
    "GET /api/v1/runs/{run_id}/events": "watchRun",
    "GET /api/v1/live/events": "watchRuns",
    "GET /api/v1/runs/{run_id}/undo": "previewUndo",
    "GET /api/v1/runs/{run_id}/compare/{other_id}": "compareRuns",
    "GET /api/v1/runs/{run_id}/journal": "listRunEvents",
    "GET /api/v1/runs/{run_id}/children": "listRunChildren",
    "GET /api/v1/runs/{run_id}/steps/{address}": "getRunStep",
    "GET /api/v1/runs/{run_id}/callbacks/history": "listRunSignals",
    "POST /api/v1/runs/{run_id}/callbacks/{step}/test": "testRunCallback",
    "GET /api/v1/runs/{run_id}/callbacks/{step}/qr": "getRunCallbackQr",
    "GET /api/v1/favourites": "listFavourites",
    "PUT /api/v1/favourites": "putFavourites",
    "PUT /api/v1/flows/{flow_id}/tags": "putFlowTags",
    "POST /api/v1/check": "checkFlow",
    "POST /api/v1/flows/{flow_id}/draft/edits": "editFlowDraft",
    "GET /api/v1/flows/{flow_id}/graph": "getFlowGraph",
    "POST /api/v1/flows/{flow_id}/versions": "saveFlowVersion",
    "GET /api/v1/flows/{flow_id}/diff": "diffFlow",
    "POST /api/v1/flows/{flow_id}/plan": "planFlow",
    "POST /api/v1/flows/{flow_id}/tests": "testFlow",
    "GET /api/v1/flows/{flow_id}/export": "exportFlow",
    "GET /api/v1/flow-export": "exportFlows",
    "POST /api/v1/flow-import": "importFlows",
    "GET /api/v1/steps": "listSavedSteps",
    "GET /api/v1/steps/{name}": "getSavedStep",
    "PUT /api/v1/steps/{name}": "putSavedStep",
    "DELETE /api/v1/steps/{name}": "deleteSavedStep",
    "POST /api/v1/templates/{template_id}/flows": "createFlowOfTemplate",
    "POST /api/v1/orchestrator/callback/{token}": "answerCallback",
    "GET /api/v1/orchestrator/callback/{token}": "showCallback",
    "POST /api/v1/triggers/{trigger_id}/secrets": "putTriggerSecret",
    "POST /api/v1/triggers/{trigger_id}/address": "renewTriggerAddress",
    "POST /api/v1/triggers/{trigger_id}/capture": "captureDeliveries",
    "GET /api/v1/schedules/{schedule_id}/next": "listScheduleTimes",
    "GET /api/v1/schedules/{schedule_id}/fires": "listScheduleFires",
    "GET /api/v1/encryption": "getEncryption",
    "POST /api/v1/encryption/rotate": "rotateEncryption",
    "POST /api/v1/events": "publishEvent",
    "POST /api/v1/callbacks": "answerCallbackByCorrelation",
    "GET /api/v1/login": "listSignInWays",
    "POST /api/v1/login": "signIn",
    "POST /api/v1/setup": "setUp",
    "POST /api/v1/logout": "signOut",
    "GET /api/v1/me": "getMe",
    "POST /api/v1/me/password": "changePassword",
    "DELETE /api/v1/keys/{key_id}": "revokeKey",
    "GET /api/v1/oidc/login": "beginOidcSignIn",
    "GET /api/v1/oidc/callback": "finishOidcSignIn",
    "POST /api/v1/users": "inviteUser",
    "POST /api/v1/users/{user_id}/password-link": "createPasswordLink",
    "POST /api/v1/grants": "putGrant",
    "POST /api/v1/links": "createSignInLink",
    "GET /health/live": "isLive",
    "GET /health/ready": "isReady",
    "GET /health/details": "getHealth",
    "POST /v1/runs": "startGatewayRun",
    "GET /v1/runs/{run_id}": "getGatewayRun",
    "POST /v1/execute": "executeDag",
    "POST /flows/{flow_id}/execute": "executeFlow",
    "POST /api/v1/flows/{flow_id}/execute": "executeApiFlow",
    "GET /api/v1/orchestrator": "listOrchestrators",
    "POST /api/v1/orchestrator": "createOrchestrator",
    "GET /api/v1/orchestrator/{flow_id}": "getOrchestrator",
    "PUT /api/v1/orchestrator/{flow_id}": "saveOrchestrator",
    "DELETE /api/v1/orchestrator/{flow_id}": "deleteOrchestrator",
    "POST /api/v1/orchestrator/{flow_id}/run": "runOrchestrator",
    "GET /api/v1/orchestrator/{flow_id}/runs": "listOrchestratorRuns",
    "GET /api/v1/orchestrator/{flow_id}/runs/{run_id}": "getOrchestratorRun",
    "POST /api/v1/orchestrator/{flow_id}/runs/{run_id}/retry": "retryOrchestratorRun",
    "POST /api/v1/orchestrator/{flow_id}/runs/{run_id}/cancel": "cancelOrchestratorRun",
    "GET /api/v1/orchestrator/runs/{run_id}/logs": "listOrchestratorRunLogs",
    "GET /api/v1/orchestrator/runs/{run_id}/nodes/{node_id}/data": "getOrchestratorNodeData",
    "GET /api/v1/orchestrator/providers": "listProviders",
    "POST /api/v1/orchestrator/providers/make/execute": "executeMakeWebhook",
    "POST /api/v1/orchestrator/providers/zapier/execute": "executeZapierWebhook",
    "POST /api/v1/orchestrator/providers/zapier/callback": "answerZapierCallback",
    "POST /api/v1/orchestrator/providers/{provider}/connect": "connectProvider",
    "GET /api/v1/orchestrator/connections": "listProviderConnections",
    "DELETE /api/v1/orchestrator/connections/{connection_id}": "deleteProviderConnection",
    "DELETE /api/v1/orchestrator/providers/{provider}/disconnect/{connection_id}": "disconnectProvider",
    "GET /api/v1/orchestrator/providers/{provider}/test": "testProvider",
    "POST /api/v1/orchestrator/providers/{provider}/test": "testProviderCredentials",
    "GET /api/v1/orchestrator/providers/{provider}/workflows": "listProviderWorkflows",
    "GET /api/v1/orchestrator/providers/{provider}/workflows/{workflow_id}/preview": "previewProviderWorkflow",
    "POST /api/v1/orchestrator/providers/n8n/workflows/{workflow_id}/execute": "executeN8nWorkflow",
    "GET /api/v1/orchestrator/providers/make/scenarios": "listMakeScenarios",
    "GET /api/v1/orchestrator/providers/make/scenarios/{scenario_id}/metadata": "getMakeScenarioMetadata",
}
"""By method and path, where the rule does not say it well."""
_VERBS: Final = {"POST": "create", "PUT": "put", "PATCH": "change", "DELETE": "delete"}
_PLURALS: Final = {"deliveries": "delivery", "history": "history"}


def operation_name(method: str, path: str) -> str:
    """The name of an operation, in camel case."""
    known = NAMES.get(f"{method} {path}")
    if known is not None:
        return known
    root, before = next((one for one in ROOTS if path == one[0] or path.startswith(f"{one[0]}/")), ("", ""))
    parts = [part for part in path.removeprefix(root).split("/") if part]
    if path.startswith("/hooks"):
        return _camel("send", method.lower(), "named" if len(parts) == 2 else "", "webhook")
    ends_with_id = bool(parts) and parts[-1].startswith("{")
    nouns = [part for part in parts if not part.startswith("{")]
    is_action = method == "POST" and not ends_with_id and len(parts) > 1 and parts[-2].startswith("{")
    if is_action:
        return _camel(nouns[-1], before, *map(_singular, nouns[:-1]))
    owners, last = list(map(_singular, nouns[:-1])), nouns[-1] if nouns else ""
    if method == "GET" and not ends_with_id:
        return _camel("list" if last != _singular(last) else "get", before, *owners, last)
    is_all = method == "DELETE" and not ends_with_id
    return _camel(_VERBS.get(method, "get"), before, *owners, last if is_all else _singular(last))


def _singular(noun: str) -> str:
    return _PLURALS.get(noun, noun.removesuffix("s"))


def _camel(first: str, *others: str) -> str:
    words = [word for part in (first, *others) for word in part.replace("_", "-").split("-") if word]
    return words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])


def words_of(name: str) -> str:
    """`Cancel run` of `cancelRun`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced[:1].upper() + spaced[1:]
