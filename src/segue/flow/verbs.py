"""The words of the language in one table: verbs, modifiers, flow keys and the keys within them.

Unknown-key suggestions, the published JSON Schema, the reference and the check "can the engine run this" come from
here. A word that is in the language but not yet in the engine has `runs=False`; nothing else needs to change when it
can.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from segue.flow.model import StepKind

ValueType: TypeAlias = Literal[
    "expression",  # a condition place: a bare expression
    "value",  # any JSON; strings may be references or computations
    "values",  # a map of values
    "text",
    "name",
    "names",  # a name or a list of names
    "int",
    "number",
    "bool",
    "duration",
    "steps",  # a list of steps, or one step
    "schema",  # a JSON Schema or its shorthand
    "retry",
    "timeout",
    "poll",
    "wait",
    "map",
    "list",
]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key, its value's type, other spellings of it, and its sentence in the reference."""

    name: str
    type: ValueType
    doc: str
    example: str = ""
    also: tuple[str, ...] = ()
    runs: bool = True


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """What a step does. `keys` stand inside the verb's map, `beside` on the step's own level."""

    name: str
    kind: StepKind
    doc: str
    example: str
    type: ValueType
    runs: bool = True
    keys: tuple[Key, ...] = ()
    beside: tuple[Key, ...] = ()


def _table(*rows: Key) -> dict[str, Key]:
    """Keys by every spelling."""
    return {spelling: row for row in rows for spelling in (row.name, *row.also)}


_PARAMS = Key(name="params", type="values", doc="The action's parameters.", example="{amount: 3}")

RETRY_KEYS: Final = _table(
    Key(name="attempts", type="int", doc="Tries in all, the first included.", example="3",
        also=("max_attempts", "maxAttempts")),
    Key(name="maxRetries", type="int", doc="Tries after the first (document D).", example="2", also=("max_retries",)),
    Key(name="backoff", type="text", doc="constant, linear or exponential.", example="exponential"),
    Key(name="initial_delay", type="duration", doc="Before the second try.", example="1s",
        also=("initialDelay", "delay", "delayMs")),
    Key(name="max_delay", type="duration", doc="The longest wait between tries.", example="60s", also=("maxDelay",)),
    Key(name="multiplier", type="number", doc="Growth of each wait.", example="2", also=("backoffMultiplier",)),
    Key(name="jitter", type="text", doc="full (spread over the whole wait) or none.", example="full"),
    Key(name="max_time", type="duration", doc="No new try after this much time.", example="10m", also=("maxTime",)),
    Key(name="on", type="names", doc="Error categories that are retried.", example="[timeout, http.5xx]",
        also=("retryableErrors", "retryable_errors")),
    Key(name="not_on", type="names", doc="Error categories that are not retried.", example="[http.501]"),
    Key(name="enabled", type="bool", doc="false: no retries (document A).", example="true"),
)  # fmt: skip

TIMEOUT_KEYS: Final = _table(
    Key(name="attempt", type="duration", doc="Per try.", example="30s", also=("execution",)),
    Key(name="total", type="duration", doc="Over all tries.", example="5m"),
    Key(name="on_timeout", type="text", doc="fail, continue or default.", example="fail", also=("onTimeout",)),
)

POLL_KEYS: Final = _table(
    Key(name="success_condition", type="expression", doc="Done when it holds; `$` is the answer.",
        example="$.status == 'done'", also=("successCondition", "until")),
    Key(name="failure_condition", type="expression", doc="Failed when it holds.", example="$.status == 'failed'",
        also=("failureCondition",)),
    Key(name="interval", type="duration", doc="Between calls.", example="2s", also=("pollingInterval",)),
    Key(name="multiplier", type="number", doc="Growth of the interval.", example="1.5"),
    Key(name="max_interval", type="duration", doc="The longest interval.", example="30s", also=("maxInterval",)),
    Key(name="max_attempts", type="int", doc="Calls in all.", example="30",
        also=("maxAttempts", "maxPollingAttempts", "attempts")),
)  # fmt: skip

POLL_CALL_KEYS: Final = _table(
    Key(name="call", type="name", doc="The action that is called.", example="shop.order_status", also=("use",)),
    Key(name="adapter", type="name", doc="The adapter that is called.", example="shop"),
    Key(name="action", type="name", doc="Its action.", example="order_status"),
    Key(name="http", type="map", doc="The HTTP request that is sent.", example="{url: 'https://example.com/jobs/7'}"),
    _PARAMS,
)

CALLBACK_KEYS: Final = _table(
    Key(
        name="expires",
        type="duration",
        doc="How long the answer may take.",
        example="1h",
        also=("expiresIn", "timeout"),
    ),
    Key(name="uses", type="int", doc="How many signals are taken.", example="1"),
    Key(name="schema", type="schema", doc="What the signal's body must look like.", example="{paid: boolean}"),
    Key(name="form", type="schema", doc="A form shown to a person.", example="{comment: string}"),
    Key(
        name="signature",
        type="map",
        doc="How the sender signs: an HMAC of the body.",
        example="{secret: $secrets.hook, header: x-signature}",
    ),
    Key(name="correlate", type="value", doc="A value by which the signal finds the run.", example="$order.id"),
    Key(name="on_timeout", type="text", doc="fail, continue or default.", example="fail", also=("onTimeout",)),
)

SIGNATURE_KEYS: Final = _table(
    Key(name="secret", type="text", doc="The secret that both sides know.", example="$secrets.hook"),
    Key(name="header", type="name", doc="The header that holds the digest (x-signature).",
        example="x-hub-signature-256"),
    Key(name="algorithm", type="text", doc="sha256, sha512 or sha1.", example="sha256"),
    Key(name="encoding", type="text", doc="hex or base64.", example="hex"),
    Key(name="prefix", type="text", doc="What stands before the digest.", example="sha256="),
)  # fmt: skip

_CONCURRENCY = Key(name="concurrency", type="int", doc="Under way at once.", example="20")
_RATE = Key(name="rate", type="text", doc="Begun within a time.", example="10/s")
_LIMIT_KEY = Key(name="key", type="expression", doc="Counted apart by this value.", example="$inputs.email")
_ON_FULL = Key(name="on_full", type="text", doc="What becomes of one too many: queue, skip, replace or reject.",
               example="queue", also=("onFull",))  # fmt: skip
LIMIT_KEYS: Final = _table(_CONCURRENCY, _RATE, _LIMIT_KEY, _ON_FULL)
FLOW_LIMIT_KEYS: Final = _table(
    _CONCURRENCY, _RATE, _LIMIT_KEY, _ON_FULL,
    Key(name="steps", type="int", doc="Steps of one run in flight at once.", example="5"),
)  # fmt: skip

CACHE_KEYS: Final = _table(
    Key(name="ttl", type="duration", doc="For how long.", example="1h", also=("for",)),
    Key(name="key", type="expression", doc="What the result belongs to; without it, the step's parameters.",
        example="$inputs.customer"),
)  # fmt: skip

FALLBACK_KEYS: Final = _table(
    Key(name="call", type="name", doc="The action that is called.", example="other_mail.send",
        also=("use", "python")),
    Key(name="adapter", type="name", doc="The adapter that is called.", example="other_mail"),
    Key(name="action", type="name", doc="Its action.", example="send"),
    Key(name="params", type="values", doc="Its parameters, if they are not the step's own.",
        example="{to: $inputs.email}"),
)  # fmt: skip

_WAIT_KEYS = (
    Key(name="for", type="duration", doc="A length of time.", example="3h", also=("duration",)),
    Key(name="until", type="expression", doc="A time.", example="$order.due"),
    Key(name="callback", type="map", doc="A signal from outside.", example="{expires: 1h}"),
    Key(name="event", type="text", doc="An event.", example="order.paid"),
    Key(name="where", type="expression", doc="Which event.", example="$.id == $order.id"),
    Key(name="buffer", type="duration", doc="How old an event may be.", example="1m"),
)

HTTP_KEYS: Final = _table(
    Key(name="method", type="text", doc="GET, POST, …; GET without, POST with a body.", example="POST"),
    Key(name="url", type="text", doc="The address.", example="https://example.com/orders"),
    Key(name="headers", type="values", doc="Request headers.", example="{accept: application/json}"),
    Key(name="query", type="values", doc="Query parameters.", example="{page: 2}", also=("queryParams",)),
    Key(name="json", type="value", doc="A body sent as JSON.", example="{name: $inputs.name}",
        also=("json_body", "jsonBody")),
    Key(name="body", type="value", doc="A body sent as it is.", example="plain text", also=("bodyTemplate",)),
    Key(name="form", type="values", doc="A body sent as a form.", example="{q: shoes}"),
    Key(name="multipart", type="values", doc="Fields and files sent as a form with parts.",
        example="{report: {filename: a.txt, value: $inputs.text}}"),
    Key(name="auth", type="map", doc="Credentials: bearer, basic or header.", example="{bearer: $secrets.token}"),
    Key(name="connection", type="name", doc="A stored connection whose credentials are used.", example="shop"),
    Key(name="follow_redirects", type="bool", doc="Whether redirects are followed.", example="true",
        also=("followRedirects",)),
    Key(name="max_bytes", type="int", doc="The largest answer that is taken.", example="1048576"),
    Key(name="expect", type="value", doc="Statuses that count as good.", example="[2xx, 404]"),
)  # fmt: skip

_FOREACH = (
    Key(name="items", type="expression", doc="The list.", example="$orders.body.items", also=("inputData",)),
    Key(name="as", type="name", doc="The item's name in the body.", example="order"),
    Key(name="index", type="name", doc="The index's name in the body.", example="position"),
    Key(name="key", type="expression", doc="What identifies an item: its steps are reached as `steps.each[\"A-7\"]`.",
        example="$item.id"),
    Key(name="limit", type="int", doc="Items at the same time (10).", example="5", also=("concurrency",)),
    Key(name="tolerate", type="value", doc="Failed items that are let pass: a count or a share.", example="10%"),
    Key(name="on_item_error", type="text", doc="fail, continue or collect.", example="continue", also=("onItemError",)),
    Key(name="do", type="steps", doc="What is done for each item.", example="[enrich]", also=("steps",)),
    Key(name="aggregate", type="expression", doc="Makes the output from `results`.", example="size(results)",
        also=("aggregator",)),
)  # fmt: skip
_REPEAT = (
    Key(name="while", type="expression", doc="Goes on as long as it holds.", example="$next != null"),
    Key(name="until", type="expression", doc="Ends once it holds.", example="$page.body.last"),
    Key(name="every", type="duration", doc="Between rounds.", example="10s"),
    Key(name="max", type="int", doc="Rounds at most (100).", example="20"),
    Key(name="within", type="duration", doc="Time at most.", example="1h"),
    Key(name="do", type="steps", doc="One round.", example="[next_page]", also=("steps",)),
)
_PARALLEL = (
    Key(name="branches", type="map", doc="The branches: a list, or a map by name.", example="[send_email, send_sms]"),
    Key(name="join", type="value", doc="all, any, first or a number.", example="all"),
    Key(name="limit", type="int", doc="Branches at the same time.", example="2"),
    Key(name="fail", type="text", doc="fast (cancel the others) or wait.", example="fast"),
)
_CONDITIONAL = (
    Key(name="if", type="expression", doc="The condition.", example="$order.total > 100"),
    Key(name="then", type="steps", doc="If it holds.", example="[route_to_finance]"),
    Key(name="elif", type="list", doc="Further conditions with their steps.", example="[{if: $x, then: [a]}]"),
    Key(name="else", type="steps", doc="Otherwise.", example="[route_to_support]"),
)
_SWITCH = (
    Key(name="on", type="expression", doc="The value that is compared.", example="$ticket.kind"),
    Key(name="cases", type="map", doc="Steps by value.", example="{bug: [triage]}"),
    Key(name="default", type="steps", doc="If no case fits.", example="[answer]"),
)
_TRY = (
    Key(name="do", type="steps", doc="The guarded steps.", example="[charge]", also=("steps",)),
    Key(
        name="catch",
        type="steps",
        doc="After an error, with `$error`; or `{match: […], do: …}`, or a list of these.",
        example="[refund]",
    ),
    Key(name="match", type="names", doc="Error categories that are caught; all without it.", example="[http.5xx]"),
    Key(name="finally", type="steps", doc="In any case.", example="[close]"),
)
_LOG = (
    Key(name="message", type="value", doc="The line.", example="order {{ order.id }}"),
    Key(name="level", type="text", doc="debug, info, warn or error.", example="info"),
    Key(name="data", type="value", doc="Further fields.", example="{id: $order.id}"),
)
_FAIL = (
    Key(name="message", type="value", doc="The sentence.", example="no stock"),
    Key(name="code", type="text", doc="The error's code.", example="no_stock"),
    Key(name="data", type="value", doc="Further fields.", example="{sku: $item.sku}"),
)
_PYTHON = (Key(name="function", type="name", doc="The registered name.", example="score_lead", also=("name",)), _PARAMS)
_FLOW = (
    Key(name="flow", type="name", doc="The flow.", example="invoice", also=("id", "flowId")),
    Key(name="version", type="text", doc="Its version.", example="1.2.0"),
    Key(name="inputs", type="values", doc="Its inputs.", example="{order: $order}"),
    Key(name="wait", type="bool", doc="false: go on at once.", example="true"),
    Key(
        name="baseURL",
        type="text",
        doc="Where the flow runs, if not here (document A).",
        also=("base_url",),
        runs=False,
    ),
)
_APPROVE = (
    Key(name="to", type="names", doc="Who may decide.", example="[group:finance]"),
    Key(name="need", type="int", doc="How many must agree.", example="1"),
    Key(name="form", type="schema", doc="What they fill in.", example="{amount: number}"),
    Key(name="remind", type="duration", doc="Between reminders.", example="1d"),
    Key(name="timeout", type="duration", doc="How long they have.", example="2d"),
    Key(name="on_timeout", type="text", doc="approve, reject or fail.", example="reject", also=("onTimeout",)),
    Key(name="message", type="value", doc="What they read.", example="refund {{ order.id }}?"),
)

_VERB_ROWS = (
    Verb(name="call", kind="call", type="name", doc="Do an action of an adapter.", example="call: iam.verify_token",
         beside=(_PARAMS,)),
    Verb(name="use", kind="call", type="name", doc="Do what a name stands for.", example="use: log_failure",
         beside=(_PARAMS,)),
    Verb(name="adapter", kind="call", type="name", doc="Do an action; the adapter apart.", example="adapter: iam",
         beside=(_PARAMS, Key(name="action", type="name", doc="The adapter's action.", example="verify_token"))),
    Verb(name="http", kind="http", type="map", doc="Send an HTTP request.", example="http: {url: 'https://example.com'}"),
    Verb(name="parallel", kind="parallel", type="map", doc="Run branches side by side.",
         example="parallel: [send_email, send_sms]", keys=_PARALLEL, beside=_PARALLEL),
    Verb(name="race", kind="parallel", type="map", doc="Run branches; the first good one wins, the rest are cancelled.",
         example="race: [ask_a, ask_b]", keys=_PARALLEL, beside=_PARALLEL),
    Verb(name="conditional", kind="conditional", type="map", doc="Choose a branch.",
         example="conditional: {if: $x.ok, then: [a], else: [b]}", keys=_CONDITIONAL),
    Verb(name="if", kind="conditional", type="expression", doc="Choose a branch, written on one level.",
         example="if: $x.ok", beside=_CONDITIONAL[1:]),
    Verb(name="switch", kind="switch", type="map", doc="Choose by value.",
         example="switch: {on: $x.kind, cases: {a: [one]}, default: [two]}", keys=_SWITCH, beside=_SWITCH[1:]),
    Verb(name="foreach", kind="foreach", type="map", doc="Do steps for each item of a list.",
         example="foreach: {items: $orders, do: [enrich]}", keys=_FOREACH, beside=_FOREACH),
    Verb(name="repeat", kind="repeat", type="map", doc="Do steps until a condition holds.",
         example="repeat: {until: $page.last, max: 20, do: [next_page]}", keys=_REPEAT, beside=_REPEAT),
    Verb(name="poll", kind="poll", type="poll", doc="Call again until a condition holds.",
         example="poll: {call: shop.status, success_condition: \"$.state == 'done'\"}",
         keys=tuple(dict.fromkeys((*POLL_KEYS.values(), *POLL_CALL_KEYS.values(), *HTTP_KEYS.values())))),
    Verb(name="flow", kind="flow", type="map", doc="Run another flow as a step.", example="flow: invoice",
         keys=_FLOW, beside=_FLOW[1:4]),
    Verb(name="wait", kind="wait", type="wait", doc="Wait for a time, or a signal from outside.", example="wait: 3h",
         keys=_WAIT_KEYS),
    Verb(name="approve", kind="approve", type="map", doc="Wait for a person's decision.",
         example="approve: {to: [group:finance]}", keys=_APPROVE),
    Verb(name="set", kind="set", type="values", doc="Set values, also seen under `vars`.", example="set: {total: 3}"),
    Verb(name="map", kind="map", type="values", doc="Make an object (document A's data mapper).",
         example="map: {fullName: $data.name}",
         keys=(Key(name="mappings", type="list", doc="Pairs of paths.",
                   example="[{from: input.name, to: output.fullName}]"),)),
    Verb(name="log", kind="log", type="value", doc="Write a line to the run's log.", example='log: "done"', keys=_LOG),
    Verb(name="emit", kind="emit", type="map", doc="Send an event.", example="emit: {event: order.paid}",
         keys=(Key(name="event", type="text", doc="Its name.", also=("name",)),
               Key(name="data", type="value", doc="Its body."))),
    Verb(name="respond", kind="respond", type="map", doc="Answer the waiting caller and go on.",
         example="respond: {status: 200}",
         keys=(Key(name="status", type="int", doc="HTTP status."), Key(name="headers", type="values", doc="Headers."),
               Key(name="body", type="value", doc="Body."))),
    Verb(name="return", kind="return", type="value", doc="End well, with a result.", example="return: $order"),
    Verb(name="fail", kind="fail", type="map", doc="End badly, with a code.", example="fail: {code: no_stock}",
         keys=_FAIL),
    Verb(name="stop", kind="stop", type="value", doc="End quietly.", example="stop: nothing to do"),
    Verb(name="try", kind="try", type="map", doc="Guard steps.", example="try: {do: [charge], catch: [refund]}",
         keys=_TRY, beside=_TRY[1:]),
    Verb(name="python", kind="call", type="name", doc="Call a registered function.", example="python: score_lead",
         keys=_PYTHON, beside=(_PARAMS,)),
)  # fmt: skip
VERBS: Final = {verb.name: verb for verb in _VERB_ROWS}

MODIFIERS: Final = _table(
    Key(name="when", type="expression", doc="Skip the step unless it holds.", example="$order.total > 0"),
    Key(name="needs", type="names", doc="Steps it waits for, instead of the one before.", example="[a, b]",
        also=("depends_on",)),
    Key(name="join", type="value", doc="How `needs` join: all, any, first or a number.", example="any"),
    Key(name="timeout", type="timeout", doc="Limits on its time.", example="30s"),
    Key(name="on_timeout", type="text", doc="fail, continue or default.", example="continue", also=("onTimeout",)),
    Key(name="default", type="value", doc="The output if it fails; with `on_timeout: default`, if it times out.",
        example="{}"),
    Key(name="retry", type="retry", doc="When it is tried again: a call, a block as a whole, a wait that was in vain.",
        example="{attempts: 3}"),
    Key(name="retryAttempts", type="int", doc="Tries in all (document A).", example="3"),
    Key(name="retryDelay", type="duration", doc="Before the second try, in milliseconds (document A).", example="1000"),
    Key(name="on_error", type="steps", doc="What is done after its last try failed.", example="[notify_admin]",
        also=("onError",)),
    Key(name="finally", type="steps", doc="Done whatever came of the step, cancelled or not; `$output`, `$error`.",
        example="[close]"),
    Key(name="compensate", type="steps", doc="Undoes the step if the run ends badly after it; `$output`, `$error`.",
        example="[refund]"),
    Key(name="priority", type="int", doc="Higher starts first.", example="10"),
    Key(name="limits", type="map", doc="Attempts at once, and in a time, over all runs.",
        example="{rate: 10/s}"),
    Key(name="idempotency", type="text", doc="safe, keyed or unsafe.", example="unsafe"),
    Key(name="at_most_once", type="bool", doc="Never sent twice.", example="true"),
    Key(name="output", type="value", doc="Changes the output; `$` is the result.", example="$.body"),
    Key(name="cache", type="value", doc="Use an earlier success again.", example="{ttl: 1h, key: $inputs.customer}"),
    Key(name="mock", type="value", doc="The output in dry runs and tests.", example="{status: 200}"),
    Key(name="disabled", type="bool", doc="Skip the step.", example="true"),
    Key(name="title", type="text", doc="A name for people.", example="Charge the card"),
    Key(name="notes", type="text", doc="Remarks.", example="agreed with finance"),
    Key(name="runs_on", type="names", doc="Labels that a host must have to run it.", example="gpu",
        also=("runsOn",)),
    Key(name="fallback", type="value", doc="Actions to try after the last try.", example="[other_mail.send]"),
    Key(name="enablePolling", type="bool", doc="Poll until done (document A).", example="true"),
    Key(name="pollingInterval", type="duration", doc="Between polls, in milliseconds (document A).", example="2000"),
    Key(name="maxPollingAttempts", type="int", doc="Polls in all (document A).", example="30"),
)  # fmt: skip

FLOW_KEYS: Final = _table(
    Key(name="dsl", type="int", doc="The language's version.", example="1"),
    Key(name="flow", type="name", doc="The flow's id.", example="customer-support", also=("id",)),
    Key(name="title", type="text", doc="A name for people.", example="Customer support"),
    Key(name="name", type="text", doc="The flow's name; the id without `flow`.", example="Customer support"),
    Key(name="description", type="text", doc="What it is for.", example="Routes tickets"),
    Key(name="category", type="text", doc="Its category.", example="support"),
    Key(name="labels", type="map", doc="Pairs of text.", example="{team: finance}"),
    Key(name="tags", type="names", doc="Tags.", example="[billing]"),
    Key(name="owner", type="text", doc="Who is responsible.", example="finance"),
    Key(name="version", type="text", doc="Semantic version.", example="1.0.0"),
    Key(name="inputs", type="schema", doc="What a run needs.", example="{email: {type: string, format: email}}"),
    Key(name="outputs", type="value", doc="What a run gives.", example="{total: $order.total}"),
    Key(name="vars", type="values", doc="Starting values.", example="{tries: 0}", also=("variables",)),
    Key(name="env", type="map", doc="The run's environment.", example="{STAGE: test}"),
    Key(name="secrets", type="map", doc="Where secrets come from.", example="{token: {from: 'env:TOKEN'}}"),
    Key(name="definitions", type="map", doc="Steps to use by name.", example="{notify: {log: hello}}"),
    Key(name="defaults", type="map", doc="Modifiers for every action.", example="{retry: 3}"),
    Key(name="limits", type="map", doc="Runs and steps under way at once.",
        example="{concurrency: 20, key: $inputs.email}"),
    Key(name="priority", type="int", doc="Among queued runs: higher begins first.", example="5"),
    Key(name="strategy", type="text", doc="parallel, sequential or priority.", example="parallel"),
    Key(name="fail_fast_priority", type="int", doc="From this priority on a failure ends the run (10).", example="10"),
    Key(name="unbound", type="text", doc="refuse or allow.", example="refuse"),
    Key(name="timeout", type="timeout", doc="The run's time.", example="1h"),
    Key(name="budget", type="map", doc="What a run may spend.", example="{usd: 1}", runs=False),
    Key(name="masking", type="names", doc="Fields masked wherever shown.", example="[iban]"),
    Key(name="trigger", type="value", doc="What starts runs.", example="webhook.received", also=("triggers",)),
    Key(name="steps", type="steps", doc="The steps, in order.", example="[authenticate]"),
    Key(name="tasks", type="list", doc="Tasks with dependencies (document D).", example="[{id: t1, agent_type: mail}]"),
    Key(name="nodes", type="list", doc="A graph's nodes.", example="[{id: n1, type: start}]"),
    Key(name="edges", type="list", doc="A graph's edges.", example="[{source: n1, target: n2}]"),
    Key(name="on_error", type="value", doc="continue, stop, or steps.", example="continue", also=("onError",)),
    Key(name="finally", type="steps", doc="Done at the end in any case.", example="[close_session]"),
    Key(name="experiment", type="map", doc="Variants of a step.", example="{}", runs=False),
    Key(name="tests", type="list", doc="Tests of this flow.", example="[]"),
    Key(name="layout", type="map", doc="Canvas positions, and ids of unnamed steps; no logic.", example="{}"),
)  # fmt: skip

SCOPE_NAMES: Final = frozenset(
    (
        "inputs",
        "input",
        "data",
        "trigger",
        "vars",
        "env",
        "secrets",
        "run",
        "item",
        "index",
        "error",
        "attempt",
        "self",
        "steps",
    )
)
"""Names that always mean something in expressions; no step may take one."""


def keys_of(rows: tuple[Key, ...]) -> dict[str, Key]:
    """Keys by every spelling."""
    return _table(*rows)
