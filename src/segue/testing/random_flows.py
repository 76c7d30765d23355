"""Random flows that a host can run: every verb and policy of the engine, nested, for simulations.

The same `random.Random` gives the same flow. What a flow calls is named by `ACTIONS`; how these answer is the
simulation's business.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from segue.flow.approval import decision_schema
from segue.flow.model import (
    Block,
    Cache,
    Callback,
    Edge,
    Fallback,
    Flow,
    Handler,
    JsonValue,
    Limits,
    Poll,
    RawMap,
    Retry,
    Step,
    StepKind,
    Timeout,
)
from segue.kernel.plan import COMPOSITE_KINDS, WAIT_KINDS

T = TypeVar("T")

ACTIONS: Final = ("sim.keyed", "sim.safe", "sim.unsafe", "sim.large")
INPUTS: Final[RawMap] = {"flag": True, "items": [1, 2, 3], "n": 3}
EVENTS: Final = ("red", "blue")
"""Names of the events that flows send and wait for."""
_CONDITIONS: Final = ("true", "false", "inputs.flag", "not inputs.flag", "inputs.n > 2", "inputs.none")


class FlowMaker:
    """Makes flows; `steps_max` bounds their number of steps, roughly."""

    def __init__(self, source: random.Random, *, steps_max: int = 14, sub_flows: Sequence[str] = ()) -> None:
        """`sub_flows` are ids of flows that the flows may run; the list may grow meanwhile."""
        self._random = source
        self._sub_flows = sub_flows
        self._steps_max = steps_max
        self._count = 0

    def flow(self, flow_id: str) -> Flow:
        """One flow; its inputs are `INPUTS`."""
        self._count = 0
        return Flow(
            id=flow_id,
            root=self._block("root", 2, least=1, most=4),
            vars={"n": 1},
            on_error=self._pick("stop", "stop", "stop", "continue"),
            on_error_block=self._block("on_error", 0, most=2) if self._one_in(5) else None,
            finally_=self._block("finally", 0, most=2) if self._one_in(5) else None,
            strategy=self._pick("parallel", "parallel", "sequential", "priority"),
            concurrency=self._pick(None, None, 1, 2),
            timeout_seconds=self._pick(None, None, None, 90.0, 100_000.0),
            run_limits=self._limits() if self._one_in(3) else None,
            priority=self._pick(0, 0, 5),
        )

    # ------------------------------------------------------------ chance

    def _pick(self, *choices: T) -> T:
        return self._random.choice(choices)

    def _one_in(self, number: int) -> bool:
        return self._random.randrange(number) == 0

    # ------------------------------------------------------------ blocks

    def _block(self, label: str, depth: int, *, least: int = 0, most: int = 3, **settings: Any) -> Block:
        steps = [self._step(depth) for _ in range(self._random.randint(least, most)) if self._count < self._steps_max]
        edges: list[Edge] = []
        is_sequence = self._one_in(2)
        for target in range(1, len(steps)):
            sources: Sequence[int] = (target - 1,) if is_sequence else range(target)
            edges += [self._edge(steps[one], steps[target]) for one in sources if is_sequence or self._one_in(2)]
        return Block(label=label, steps=tuple(steps), edges=tuple(edges), **settings)

    def _edge(self, source: Step, target: Step) -> Edge:
        label = self._pick("yes", "no", None) if source.kind == "branch" else "error" if self._one_in(9) else None
        return Edge(source.id, target.id, label, self._pick(*_CONDITIONS) if self._one_in(8) else None)

    # ------------------------------------------------------------ steps

    def _step(self, depth: int) -> Step:
        self._count += 1
        settings: dict[str, Any] = {"id": f"s{self._count}"}
        settings["path"] = settings["id"]
        if self._one_in(6):
            settings["when"] = self._pick(*_CONDITIONS)
        if self._one_in(4):
            settings["join"] = self._pick("any", "first", 1, 2)
        settings["priority"] = self._pick(0, 0, 5, 10)
        if self._one_in(8):
            settings |= {"default": self._pick(None, {"n": 7}, "{{ 1 / 0 }}"), "has_default": True}
        if self._one_in(8):
            settings["finally_"] = self._block("finally", depth - 1, least=1, most=2)
        if self._one_in(5):
            settings["compensate"] = self._block("compensate", depth - 1, least=1, most=2)
        if self._one_in(4):
            settings["on_error"] = (self._handler(depth - 1),)
        if self._one_in(5):
            settings["timeout"] = Timeout(
                attempt_seconds=self._pick(None, 0.5, 5.0),
                total_seconds=self._pick(None, 3.0, 40.0),
                on_timeout=self._pick("fail", "continue", "default"),
            )
        kinds: list[Callable[[int, dict[str, Any]], Step]] = [self._call] * 5
        kinds += [self._poll, self._pure, self._wait, self._wait_callback, self._branch]
        kinds += [self._wait_event, self._emit, self._approve]
        kinds += [self._flow] if self._sub_flows else []
        if depth > 0:
            kinds += [self._parallel, self._parallel, self._conditional, self._foreach, self._repeat, self._try]
        made = self._random.choice(kinds)(depth - 1, settings)
        if made.kind in (*COMPOSITE_KINDS, *WAIT_KINDS) and self._one_in(3):
            made = msgspec.structs.replace(made, retry=self._retry())
        # What calls, signals and sub-flows give is compared with what was given.
        if made.kind in (*COMPOSITE_KINDS, "set", "map", "log", "emit", "respond") and self._one_in(4):
            made = msgspec.structs.replace(made, output=self._pick("$", "$.n", {"was": "$"}, "{{ $.n + 1 }}"))
        return made

    def _handler(self, depth: int) -> Handler:
        return Handler(
            block=self._block("on_error", depth, most=2),
            match=self._pick((), (), ("timeout",), ("connection",), ("unknown_outcome",)),
            then=self._pick("continue", "continue", "fail", "retry", "{{ inputs.flag ? 'retry' : 'fail' }}"),
        )

    def _retry(self) -> Retry | None:
        if self._one_in(3):
            return None
        return Retry(
            max_attempts=self._pick(2, 3, 5),
            initial_delay_seconds=self._pick(0.0, 0.3, 2.0, 50.0),
            jitter=self._pick("full", "none"),
            backoff=self._pick("constant", "linear", "exponential"),
        )

    def _limits(self) -> Limits:
        concurrency = self._pick(1, 1, 2, 3, None)
        rate = self._pick(1, 3) if concurrency is None or self._one_in(5) else None
        return Limits(
            concurrency=concurrency,
            rate_count=rate,
            rate_seconds=self._pick(0.5, 10.0),
            key=self._pick(None, None, "inputs.n", "inputs.none"),
            on_full=self._pick("queue", "queue", "queue", "skip", "replace", "reject"),
        )

    def _sharing(self) -> dict[str, Any]:
        """What a call shares with others."""
        found: dict[str, Any] = {}
        if self._one_in(6):
            found["cache"] = Cache(seconds=self._pick(1.0, 100.0, 100_000.0), key=self._pick(None, "inputs.n"))
        if self._one_in(5):
            found["fallback"] = tuple(
                Fallback(use=self._pick(*ACTIONS), params={"n": "$inputs.n"} if self._one_in(2) else None)
                for _ in range(self._pick(1, 1, 2))
            )
        return found

    def _call(self, _depth: int, settings: dict[str, Any]) -> Step:
        callback = None
        if self._one_in(6):
            callback = Callback(
                expires_seconds=self._pick(2.0, 600.0, 90_000.0),
                uses=self._pick(1, 1, 2),
                on_timeout=self._pick("fail", "continue"),
            )
        settings |= self._sharing()
        if self._one_in(4):
            settings["limits"] = self._limits()
        return Step(
            kind="call", use=self._pick("sim.keyed", *ACTIONS), retry=self._retry(), callback=callback,
            params={"n": "$vars.n", "at": "{{ string(now()) }}", "id": "{{ uuid() }}"}, at_most_once=self._one_in(8),
            **settings,
        )  # fmt: skip

    def _poll(self, _depth: int, settings: dict[str, Any]) -> Step:
        poll = Poll(
            success_condition="$.effect % 2 == 0",
            interval_seconds=self._pick(0.5, 3.0, 60.0),
            max_attempts=self._pick(1, 3, 6),
        )
        if self._one_in(4):
            settings["limits"] = self._limits()
        return Step(kind="poll", use="sim.safe", poll=poll, retry=self._retry(), **self._sharing(), **settings)

    def _pure(self, _depth: int, settings: dict[str, Any]) -> Step:
        kind: StepKind = self._pick("set", "set", "set", "map", "map", "log", "log")
        if self._one_in(5):
            kind = self._pick("fail", "return", "stop")
        value: JsonValue = self._pick("$data", "$inputs", "$vars", 7, "{{ random() }}")
        return Step(kind=kind, params={} if kind == "stop" else {"value": value, "message": "m"}, **settings)

    def _wait(self, _depth: int, settings: dict[str, Any]) -> Step:
        return Step(kind="wait", params={"duration": self._pick("1s", "20s", "5m", "9h")}, **settings)

    def _wait_callback(self, _depth: int, settings: dict[str, Any]) -> Step:
        expires = self._pick(2.0, 600.0, 90_000.0)
        return Step(kind="wait", callback=Callback(expires_seconds=expires, uses=self._pick(1, 1, 3)), **settings)

    def _flow(self, _depth: int, settings: dict[str, Any]) -> Step:
        params: RawMap = {"flow": self._random.choice(self._sub_flows), "inputs": {**INPUTS}}
        if self._one_in(5):
            params["wait"] = False
        if self._one_in(20):
            params["flow"] = "nobody"
        return Step(kind="flow", params=params, retry=self._retry(), **settings)

    def _wait_event(self, _depth: int, settings: dict[str, Any]) -> Step:
        params: RawMap = {"event": self._pick(*EVENTS)}
        if self._one_in(2):
            params["where"] = self._pick("$.n > 1", "$.n == inputs.n", "event.name != 'odd'")
        if self._one_in(2):
            params["buffer"] = self._pick(1.0, 60.0, 3_600.0)
        settings["timeout"] = Timeout(
            total_seconds=self._pick(3.0, 90.0, 40_000.0), on_timeout=self._pick("fail", "continue", "continue")
        )
        return Step(kind="wait", params=params, **settings)

    def _emit(self, _depth: int, settings: dict[str, Any]) -> Step:
        if self._one_in(4):
            return Step(kind="respond", params={"status": 200, "body": "$inputs.n"}, **settings)
        return Step(kind="emit", params={"event": self._pick(*EVENTS), "data": {"n": "$vars.n"}}, **settings)

    def _approve(self, _depth: int, settings: dict[str, Any]) -> Step:
        expires_seconds, need = self._pick(20.0, 600.0, 90_000.0), self._pick(1, 2)
        callback = Callback(
            expires_seconds=expires_seconds,
            uses=need,
            on_timeout=self._pick("fail", "approve", "reject"),
            schema=decision_schema(None, need),
        )
        params: RawMap = {"to": ["somebody"], "remind": callback.expires_seconds / 4} if self._one_in(2) else {}
        return Step(kind="approve", params=params, callback=callback, **settings)

    def _branch(self, _depth: int, settings: dict[str, Any]) -> Step:
        branches: JsonValue = [
            {"label": "yes", "when": self._pick(*_CONDITIONS)},
            {"label": "no", "when": self._pick(None, "true")},
        ]
        return Step(kind="branch", params={"branches": branches}, **settings)

    def _parallel(self, depth: int, settings: dict[str, Any]) -> Step:
        params: RawMap = {"join": self._pick("all", "all", "any", "first", 2), "fail": self._pick("fast", "wait")}
        if self._one_in(3):
            params["limit"] = self._pick(1, 2)
        blocks = tuple(self._block(f"b{number}", depth) for number in range(self._random.randint(0, 3)))
        return Step(kind="parallel", params=params, blocks=blocks, **settings)

    def _conditional(self, depth: int, settings: dict[str, Any]) -> Step:
        blocks = [self._block("then", depth, when=self._pick(*_CONDITIONS))]
        if self._one_in(2):
            blocks.append(self._block("else", depth))
        return Step(kind="conditional", blocks=tuple(blocks), **settings)

    def _foreach(self, depth: int, settings: dict[str, Any]) -> Step:
        params: RawMap = {
            "items": self._pick("$inputs.items", "$inputs.none"),
            "limit": self._pick(1, 2, 10),
            "tolerate": self._pick(0, 1, "50%", "all"),
        }
        if self._one_in(3):
            params["key"] = "item"
        return Step(kind="foreach", params=params, blocks=(self._block("do", depth, least=1, most=2),), **settings)

    def _repeat(self, depth: int, settings: dict[str, Any]) -> Step:
        params: RawMap = {"max": self._pick(1, 2, 3)}
        further: list[RawMap] = [{}, {"until": "index >= 1"}, {"every": "2s"}, {"every": "2m", "within": "3m"}]
        params |= self._random.choice(further)
        return Step(kind="repeat", params=params, blocks=(self._block("do", depth, most=2),), **settings)

    def _try(self, depth: int, settings: dict[str, Any]) -> Step:
        blocks = [self._block("do", depth)]
        blocks += [self._block(label, depth, most=2) for label in ("catch", "finally") if self._one_in(2)]
        return Step(kind="try", blocks=tuple(blocks), **settings)
