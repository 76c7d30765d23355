"""The canonical model (IR) of a flow: what every accepted spelling is read into.

Engine, canvas, diff, tests and API see these records only; the author's text keeps its spelling (`docs/decisions`). The
records are plain data: a flow version is stored as their JSON, so a run never depends on how a later release reads
text.

Values (`params`, `outputs`, `vars`, …) stay as written: JSON whose strings may be `$reference`, `{{ expression }}` or
text. Condition fields hold the bare expression. The kernel's plan compiles both. Durations are seconds (float).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    JsonValue: TypeAlias = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
else:
    # msgspec resolves annotations at run time and knows no recursive aliases.
    JsonValue = Any
RawMap: TypeAlias = dict[str, JsonValue]


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Where something stands in the source text. Offsets count characters; line and column start at 1."""

    start: int
    end: int
    line: int
    column: int


class Retry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a failed attempt is tried again. `max_attempts` counts all tries, the first included."""

    max_attempts: int = 1
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 60.0
    multiplier: float = 2.0
    jitter: Literal["full", "none"] = "full"
    max_time_seconds: float | None = None
    """No new attempt is started once this much time has passed since the first one began."""
    on: tuple[str, ...] | None = None
    """Error categories that are retried; None means the defaults of `semantics` (timeout, connection, dns, …)."""
    not_on: tuple[str, ...] = ()


class Timeout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits on a step's time. `attempt` is per try, `total` from the first try's start to the step's end."""

    attempt_seconds: float | None = None
    total_seconds: float | None = None
    on_timeout: Literal["fail", "continue", "default"] = "fail"


class Poll(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Call again until a condition holds. `$` in the conditions is the call's answer (its body for `http`)."""

    success_condition: str | None = None
    failure_condition: str | None = None
    interval_seconds: float = 2.0
    multiplier: float = 1.0
    max_interval_seconds: float | None = None
    max_attempts: int = 30
    use: str | None = None
    """On a call that starts a job: what is asked until it is done. None: the adapter's own way to ask."""
    params: RawMap = {}


class Signature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An HMAC (RFC 2104) over the raw body of a signal, in a header of the request that brings it.

    `secret` is the name of one of the flow's secrets; `prefix` stands before the digest (GitHub's `sha256=`).
    """

    secret: str
    header: str = "x-signature"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""


class Callback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outside signal that a waiting step needs."""

    expires_seconds: float = 7 * 86_400.0
    uses: int = 1
    schema: RawMap | None = None
    form: RawMap | None = None
    correlate: JsonValue = None
    signature: Signature | None = None
    """How the sender proves itself; None: whoever has the address may speak."""
    on_timeout: Literal["fail", "continue", "default", "approve", "reject"] = "fail"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many runs of a flow, or attempts of a step, may be under way at once, and how many may begin in a time.

    Counted by the value of `key` (an expression; None: all together). `rate_count` may begin within any stretch of
    `rate_seconds`.
    """

    concurrency: int | None = None
    rate_count: int | None = None
    rate_seconds: float = 1.0
    key: str | None = None
    on_full: Literal["queue", "skip", "replace", "reject"] = "queue"


class Cache(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For how long a step's success stands for later ones with the same `key` (an expression; None: its params)."""

    seconds: float
    key: str | None = None


class Fallback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is called once the action before it has failed for good. `params` None: with the step's own."""

    use: str
    params: RawMap | None = None


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """`target` runs after `source` within one block. A labelled edge lives only if the source chose that label."""

    source: str
    target: str
    label: str | None = None
    when: str | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group of steps with its edges: the root, a branch, a loop's body, a handler.

    `when` is the condition under which a branch of `conditional` is taken (None: always, that is `else`); `case` the
    literal that a branch of `switch` stands for (`default` has the label "default"); `match` the error categories that
    a `catch` takes (empty: all).
    """

    label: str
    steps: tuple[Step, ...] = ()
    edges: tuple[Edge, ...] = ()
    when: str | None = None
    case: JsonValue = None
    match: tuple[str, ...] = ()
    span: Span | None = None


class Handler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done after a step's last try failed. An empty `match` takes every error category.

    `then` is `continue`, `fail` or `retry`, or a value (`{{ … }}`) that gives one of them once the block has ended.
    """

    block: Block
    match: tuple[str, ...] = ()
    then: str = "continue"


StepKind: TypeAlias = Literal[
    "start",  # a graph's entry: does nothing, its output is what flowed in
    "call",  # `use` names adapter.action, a Python action, a definition
    "http",
    "poll",  # `use` names what is called ("http" or adapter.action); `poll` says until when
    "parallel",
    "conditional",
    "branch",  # a graph's Condition node: chooses the labels of its out-edges, has no blocks
    "switch",
    "foreach",
    "repeat",
    "flow",
    "wait",
    "approve",
    "set",
    "map",
    "log",
    "emit",
    "respond",
    "return",
    "fail",
    "stop",
    "try",
]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One named unit of a flow: one verb (`kind`, `use`, `params`, `blocks`) and its modifiers.

    `params` by kind:
      call, http, poll   the action's parameters
      parallel           join ("all" | "any" | "first" | int), limit (int), fail ("fast" | "wait"); blocks: one a
      branch,
                         the label being the branch's id
      conditional        blocks with `when`, in order; labels "then", "elif:1", …, "else"
      branch             branches: [{label, when}], the first that holds is chosen; `when` null means else
      switch             on (expression); blocks labelled "case:<text>" with `case`, and "default"
      foreach            items (expression), as, index, key, limit, tolerate, aggregate (expression); blocks: "do"
      repeat             while, until (expressions), every, max, within; blocks: "do"
      try                blocks "do", "catch", "finally"
      wait               exactly one of duration, until, callback, event (with where, an expression, and buffer)
      approve            to, message, need, remind, form; `callback` says how long, how many and what an answer is
      flow               flow, version, inputs, wait
      set, map, emit, respond, return, log, fail, stop   as in the language reference
    """

    id: str
    kind: StepKind
    path: str
    """Place in the document, such as `steps[2].charge`."""
    use: str | None = None
    params: RawMap = {}
    blocks: tuple[Block, ...] = ()
    when: str | None = None
    retry: Retry | None = None
    timeout: Timeout | None = None
    default: JsonValue = None
    has_default: bool = False
    poll: Poll | None = None
    callback: Callback | None = None
    on_error: tuple[Handler, ...] = ()
    finally_: Block | None = None
    compensate: Block | None = None
    join: Literal["all", "any", "first"] | int = "all"
    priority: int = 0
    idempotency: Literal["safe", "keyed", "unsafe"] | None = None
    at_most_once: bool = False
    output: JsonValue = None
    """Transformation of the result (value notation; `$` is the result); None keeps the result as it is."""
    disabled: bool = False
    mock: JsonValue = None
    """The output in dry runs and flow tests (`has_mock`)."""
    has_mock: bool = False
    extras: RawMap = {}
    """Modifiers of the language that the engine does not run yet, as written (a callback's `signature`, …)."""
    limits: Limits | None = None
    cache: Cache | None = None
    fallback: tuple[Fallback, ...] = ()
    """Tried in order after the last try of the step's own action."""
    runs_on: tuple[str, ...] = ()
    """Labels that a host must have to make the step's attempts."""
    unbound: bool = False
    """`use` names nothing known: drawn dashed, refused by a real run without `unbound: allow`."""
    title: str | None = None
    notes: str | None = None
    span: Span | None = None


class Trigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What starts runs. `kind`: webhook, cron, event, flow, manual; `settings` as written, names normalised."""

    kind: Literal["webhook", "cron", "event", "flow", "manual"]
    settings: RawMap = {}
    when: str | None = None
    span: Span | None = None


class Flow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A flow definition. `inputs` is one JSON Schema (draft 2020-12, type object) for all inputs."""

    id: str
    root: Block
    form: Literal["yaml", "graph", "definition", "tasks", "dag"] = "yaml"
    name: str | None = None
    title: str | None = None
    description: str | None = None
    category: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    owner: str | None = None
    inputs: RawMap = {}
    outputs: JsonValue = None
    vars: RawMap = {}
    env: RawMap = {}
    secrets: RawMap = {}
    triggers: tuple[Trigger, ...] = ()
    on_error: Literal["stop", "continue"] = "stop"
    on_error_block: Block | None = None
    finally_: Block | None = None
    strategy: Literal["parallel", "sequential", "priority"] = "parallel"
    fail_fast_priority: int = 10
    concurrency: int | None = None
    """Steps of one run that may be in flight at once (`limits.steps`); None: no limit of its own."""
    limits: RawMap = {}
    """As written."""
    run_limits: Limits | None = None
    """Runs of the flow under way at once, over all of its versions; None: no limit."""
    priority: int = 0
    """Among queued runs: higher begins first."""
    timeout_seconds: float | None = None
    unbound: Literal["refuse", "allow"] = "refuse"
    masking: tuple[str, ...] = ()
    """Further names of fields whose values are masked wherever they are shown."""
    layout: RawMap = {}


def walk(block: Block) -> list[Step]:
    """All steps of a block in document order, blocks within blocks and handlers included."""
    found: list[Step] = []
    for step in block.steps:
        found.append(step)
        for inner in inner_blocks(step):
            found.extend(walk(inner))
    return found


def walk_flow(flow: Flow) -> list[Step]:
    """All steps of a flow, those of its own handlers and its `finally` included."""
    blocks = [flow.root, flow.on_error_block, flow.finally_]
    return [step for block in blocks if block is not None for step in walk(block)]


def inner_blocks(step: Step) -> list[Block]:
    """A step's own blocks, then its handlers', `finally` and `compensate`."""
    blocks = [*step.blocks, *(handler.block for handler in step.on_error)]
    blocks += [block for block in (step.finally_, step.compensate) if block is not None]
    return blocks
