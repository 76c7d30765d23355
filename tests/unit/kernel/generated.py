"""Flows, outcomes and interleavings made by Hypothesis, for the laws of the kernel."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any
from zlib import crc32

import pytest
from hypothesis import strategies as some

from segue.errors import ConflictError
from segue.flow.model import Block, Callback, Edge, Fallback, Flow, Handler, Poll, Retry, Step, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from segue.kernel.children import is_waited_for
from segue.kernel.compensation import due_compensations
from segue.kernel.rewind import has_name
from segue.kernel.state import StepState
from segue.kernel.status import STEP_SETTLED, StepStatus
from unit.kernel.builders import Play, seq, step

CONDITIONS = ("true", "false", "$inputs.flag", "not inputs.flag", "$inputs.none", "1 / 0 == 1", "$inputs.flag == 3")
EVENTS_OF_AN_END = (ev.StepSucceeded, ev.StepFailed, ev.StepSkipped, ev.StepCancelled, ev.StepRecovered)
EVENTS_OF_A_START = (ev.StepStarted, ev.AttemptStarted)
Number = Callable[[int, int], int]
"""A number from the first to the second, both included."""


class _Maker:
    """Draws one flow. `odd` allows what ends runs early or cannot be computed."""

    def __init__(self, number: Number, *, odd: bool) -> None:
        self.number = number
        self.odd = odd
        self.ids = count()

    def pick(self, *choices: Any) -> Any:
        return choices[self.number(0, len(choices) - 1)]

    def maybe(self, made: Any, *, one_in: int = 4) -> Any:
        return made if self.number(1, one_in) == one_in else None

    def flag(self) -> bool:
        return self.number(0, 1) == 1

    def condition(self) -> str:
        return self.pick(*(CONDITIONS if self.odd else CONDITIONS[:5]))

    def block(self, label: str, depth: int, *, most: int = 3, **settings: Any) -> Block:
        steps = [self.step(depth) for _ in range(self.number(0 if depth < 3 else 2, most))]
        if self.flag():
            return seq(*steps, label=label, **settings)
        edges: list[Edge] = []
        for target in range(1, len(steps)):
            for source in range(target):
                if self.flag():
                    edges.append(self.edge(steps[source], steps[target]))
        return Block(label=label, steps=tuple(steps), edges=tuple(edges), **settings)

    def edge(self, source: Step, target: Step) -> Edge:
        label = self.pick(None, "yes", "no") if source.kind == "branch" else self.maybe("error", one_in=6)
        return Edge(source.id, target.id, label, self.maybe(self.condition(), one_in=5))

    def step(self, depth: int) -> Step:
        name = f"s{next(self.ids)}"
        settings: dict[str, Any] = {
            "when": self.maybe(self.condition(), one_in=5),
            "join": self.pick("all", "all", "any", "first", 1, 2),
            "priority": self.pick(0, 0, 5, 10),
            "disabled": bool(self.maybe(True, one_in=15)),
        }
        if self.maybe(True, one_in=4) and depth:
            settings["on_error"] = (self.handler(depth - 1),)
        if self.maybe(True, one_in=5):
            settings["timeout"] = Timeout(
                attempt_seconds=self.pick(None, 1.0, 5.0), total_seconds=self.pick(None, 2.0, 8.0),
                on_timeout=self.pick("fail", "continue", "default"),
            )  # fmt: skip
        if depth and self.maybe(True, one_in=6):
            settings["finally_"] = self.block("finally", depth - 1, most=2)
        if depth and self.maybe(True, one_in=4):
            settings["compensate"] = self.block("compensate", depth - 1, most=2)
        kinds = [self.call, self.call, self.call, self.pure, self.wait, self.branch]
        if self.maybe(True, one_in=3):
            return self.outside(name, settings)
        if depth:
            kinds += [self.parallel, self.conditional, self.foreach, self.repeat, self.try_]
        made = self.pick(*kinds)
        if (made in kinds[6:] or made == self.wait) and self.maybe(True, one_in=4):
            settings["retry"] = self.retry()
        return made(name, depth - 1, settings)

    def retry(self) -> Retry:
        return Retry(
            max_attempts=self.pick(2, 3), initial_delay_seconds=self.pick(0.0, 0.5, 2.0, 20.0), jitter="none",
            backoff=self.pick("constant", "linear", "exponential"),
        )  # fmt: skip

    def handler(self, depth: int) -> Handler:
        match = self.pick((), ("timeout",), ("http",))
        then = self.pick("continue", "fail", "retry", "{{ inputs.flag ? 'retry' : 'fail' }}")
        return Handler(block=self.block("on_error", depth, most=2), match=match, then=then)

    def call(self, name: str, _depth: int, settings: dict[str, Any]) -> Step:
        if self.maybe(True, one_in=2):
            settings["retry"] = self.retry()
        if self.maybe(True, one_in=6):
            settings["fallback"] = (Fallback(use="other"),) * self.pick(1, 1, 2)
        if self.maybe(True, one_in=6):
            expires, uses = self.pick(1.0, 60.0), self.pick(1, 1, 2)
            settings["callback"] = Callback(
                expires_seconds=expires, uses=uses, on_timeout=self.pick("fail", "continue")
            )
        elif self.maybe(True, one_in=6):
            return step(name, "poll", poll=Poll(success_condition="$ >= 2", max_attempts=self.pick(1, 3)), **settings)
        return step(name, **settings)

    def pure(self, name: str, _depth: int, settings: dict[str, Any]) -> Step:
        kind = self.pick("set", "map", "log", "start", *(("fail", "return", "stop") if self.odd else ("fail",)))
        value = self.pick("$data", "$inputs", "$vars", 7, *(("{{ 1 / 0 }}",) if self.odd else ()))
        return step(name, kind, params={} if kind in ("start", "stop") else {"value": value}, **settings)

    def wait(self, name: str, _depth: int, settings: dict[str, Any]) -> Step:
        if self.flag():
            return step(
                name, "wait", callback=Callback(expires_seconds=self.pick(1.0, 60.0), uses=self.pick(1, 2)), **settings
            )
        return step(
            name, "wait", params={"duration": self.pick("1s", "3s", "1m", *(("soon",) if self.odd else ()))}, **settings
        )

    def outside(self, name: str, settings: dict[str, Any]) -> Step:
        """What has to do with other runs and with people."""
        kind = self.pick("flow", "flow", "wait", "approve", "emit", "respond")
        if kind == "flow":
            waits = {} if self.flag() or self.flag() else {"wait": False}
            retry = self.retry() if self.flag() else None
            return step(name, kind, params={"flow": "other", **waits}, retry=retry, **settings)
        if kind == "approve":
            callback = Callback(
                expires_seconds=self.pick(1.0, 60.0), uses=self.pick(1, 2),
                on_timeout=self.pick("fail", "approve", "reject"),
            )  # fmt: skip
            params = {"remind": self.pick(0.4, 25.0)} if self.flag() else {}
            settings["retry"] = self.retry() if self.flag() else None
            return step(name, kind, params=params, callback=callback, **settings)
        if kind == "wait":
            settings["timeout"] = Timeout(
                attempt_seconds=self.pick(None, 0.7),
                total_seconds=self.pick(1.0, 30.0),
                on_timeout=self.pick("fail", "continue"),
            )
            settings["retry"] = self.retry() if self.flag() else None
            where = self.pick({}, {"where": "$ > 1"}, {"buffer": "5s"})
            return step(name, kind, params={"event": "paid", **where}, **settings)
        params = {"event": "paid", "data": "$data"} if kind == "emit" else {"body": "$data"}
        return step(name, kind, params=params, **settings)

    def branch(self, name: str, _depth: int, settings: dict[str, Any]) -> Step:
        choices = [{"label": "yes", "when": self.condition()}, {"label": "no", "when": self.pick(None, "true")}]
        return step(name, "branch", params={"branches": choices}, **settings)

    def parallel(self, name: str, depth: int, settings: dict[str, Any]) -> Step:
        blocks = tuple(self.block(f"b{number}", depth) for number in range(self.number(0, 3)))
        params = {"join": self.pick("all", "all", "any", "first", 2), "fail": self.pick("fast", "wait")}
        limit = self.pick(None, None, 1, 2)
        return step(
            name, "parallel", params=params | ({} if limit is None else {"limit": limit}), blocks=blocks, **settings
        )

    def conditional(self, name: str, depth: int, settings: dict[str, Any]) -> Step:
        blocks = [self.block("then", depth, when=self.condition())]
        if self.flag():
            blocks.append(self.block("else", depth))
        return step(name, "conditional", blocks=tuple(blocks), **settings)

    def foreach(self, name: str, depth: int, settings: dict[str, Any]) -> Step:
        params = {
            "items": self.pick([], [1], [1, 2, 3], "$inputs.xs"), "limit": self.pick(1, 2, 10),
            "tolerate": self.pick(0, 1, "50%", "all", "collect"),
        }  # fmt: skip
        if self.flag():
            params["aggregate"] = "size(results)"
        if self.maybe(True, one_in=4):
            params["key"] = "item"
        return step(name, "foreach", params=params, blocks=(self.block("do", depth, most=2),), **settings)

    def repeat(self, name: str, depth: int, settings: dict[str, Any]) -> Step:
        params: dict[str, Any] = {"max": self.pick(1, 2, 3)}
        params |= self.pick({}, {"until": "index >= 1"}, {"while": "(index ?? 0) < 1"}, {"until": self.condition()})
        params |= self.pick({}, {"every": "1s"}, {"within": "2s"})
        return step(name, "repeat", params=params, blocks=(self.block("do", depth, most=2),), **settings)

    def try_(self, name: str, depth: int, settings: dict[str, Any]) -> Step:
        blocks = [self.block("do", depth)]
        blocks += [self.block(label, depth, most=2) for label in ("catch", "finally") if self.flag()]
        return step(name, "try", blocks=tuple(blocks), **settings)


def _flow(maker: _Maker) -> Flow:
    return Flow(
        id="f", root=maker.block("root", 3, most=4), vars={"n": 1}, on_error=maker.pick("stop", "stop", "continue"),
        on_error_block=maker.block("on_error", 1, most=2) if maker.maybe(True) else None,
        finally_=maker.block("finally", 1, most=2) if maker.maybe(True) else None,
        strategy=maker.pick("parallel", "parallel", "sequential", "priority"),
        concurrency=maker.pick(None, None, 1, 2), timeout_seconds=maker.pick(None, None, 5.0, 100.0),
    )  # fmt: skip


@some.composite
def flows(draw: Callable[[some.SearchStrategy[int]], int], *, odd: bool = True) -> Flow:
    """Blocks up to three deep, graphs with conditions on their edges, all policies; small, and shrinks well."""
    return _flow(_Maker(lambda least, most: draw(some.integers(least, most)), odd=odd))


def seeded_flow(seed: int, *, odd: bool = True) -> Flow:
    """The same, larger, from a seed: what `flows` seldom draws."""
    return _flow(_Maker(random.Random(seed).randint, odd=odd))


INPUTS = {"flag": True, "xs": [1, 2], "n": 3}
CATEGORIES = ("timeout", "http.500", "http.404", "dns", "adapter.odd")


def outcome(seed: int, one: StepState, bad_in_8: int = 3) -> Any:
    """What an attempt gives: a function of the step and of which of its tries and polls this is, not of lost ones."""
    drawn = crc32(f"{seed}/{one.address}/{one.generation}/{one.tries}/{one.polls}/{one.fallback}".encode())
    if drawn % 8 < bad_in_8:
        return ev.Failure(category=CATEGORIES[drawn // 8 % len(CATEGORIES)], message="drawn")
    return drawn // 8 % 4


class Chaos:
    """A host and a world at their worst: any order of answers, stale ones, timers, callbacks, pauses, crashes."""

    def __init__(self, play: Play, seed: int) -> None:
        self.play = play
        self.seed = seed
        self.random = random.Random(seed)
        self.seen: list[inp.AttemptEnded] = []
        self.kept: dict[int, tuple[StepStatus, Any] | None] = {}

    def one(self) -> None:
        acts = {
            self.answer: 12, self.stale: 2, self.timer: 4, self.call_back: 4, self.crash: 2, self.pause: 2,
            self.resume: 2, self.pass_time: 1, self.cancel: 0.15, self.begin_child: 6, self.end_child: 4, self.event: 3,
        }  # fmt: skip
        chosen = self.random.choices([*acts], [*acts.values()])[0]
        chosen()

    def answer(self) -> None:
        active = list(self.play.state.active.values())
        if active:
            self.end(self.random.choice(active))

    def end(self, one: StepState) -> None:
        found = outcome(self.seed, one)
        bad = isinstance(found, ev.Failure)
        given = inp.AttemptEnded(
            one.id, one.attempt, None if bad else found, failure=found if bad else None, generation=one.generation
        )
        self.play.give(given)
        self.seen.append(given)

    def begin_child(self) -> None:
        for one in [one for one in self.play.state.active.values() if is_waited_for(one)][:1]:
            if one.plan.kind == "flow":
                run_id = f"run_{one.address}_{one.tries}"
                made = self.play.give(inp.ChildBegan(one.id, one.attempt, run_id, "other", None, one.generation))
                assert isinstance(made.rows[0].event, ev.ChildStarted)

    def end_child(self, one: StepState | None = None) -> None:
        """A child ends; once more; and one that nobody waits for."""
        waits = [one for one in self.play.state.nodes if _waits_for_child(one) or one.id in self.play.state.active]
        chosen = one or (self.random.choice(waits) if waits else None)
        if chosen is None or chosen.plan.kind != "flow" or not is_waited_for(chosen):
            return
        found = outcome(self.seed, chosen)
        bad = isinstance(found, ev.Failure)
        given = inp.ChildEnded(
            chosen.id, chosen.generation, chosen.tries, "run_child", "other", output=None if bad else found,
            failure=found if bad else None,
        )  # fmt: skip
        late = inp.ChildEnded(chosen.id, chosen.generation, given.number + 1, "run_child", "other", output=1)
        assert not self.play.give(late).rows
        assert self.play.give(given).rows
        assert not self.play.give(given).rows, "an end that was told before is no news"

    def event(self) -> None:
        waits = [one for one in self.play.state.nodes if one.event is not None]
        if waits:
            one = self.random.choice(waits)
            name = self.random.choice(("paid", "paid", "other"))
            given = inp.EventArrived(
                one.id, one.generation, f"evt_{self.random.randrange(9)}", name, self.play.now,
                data=self.random.choice((1, 2, "odd")),
            )  # fmt: skip
            rows = self.play.give(given).rows
            assert not rows or name == "paid"
            assert not self.play.give(given).rows, "a step takes an event once"

    def stale(self) -> None:
        """What was told once is told again, and what is told of another attempt is no news."""
        for given in self.seen[-3:]:
            assert not self.play.give(given).rows
        for one in list(self.play.state.active.values())[:1]:
            for attempt in (0, one.attempt - 1, one.attempt + 1):
                stale = inp.AttemptEnded(one.id, attempt, 1, generation=one.generation)
                assert not self.play.give(stale).rows
            early = inp.AttemptEnded(one.id, one.attempt, 1, generation=one.generation - 1)
            assert not self.play.give(early).rows

    def timer(self) -> None:
        if self.play.state.next_due() is not None and not self.play.state.paused:
            self.play.next_timer()

    def pass_time(self) -> None:
        self.play.later(self.random.choice((0, 1, 500, 3_000)))

    def call_back(self) -> None:
        steps = [one for one in self.play.state.nodes if one.plan.step.callback is not None]
        if not steps:
            return
        one = self.random.choice(steps)
        count = len(self.play.rows)
        callback = one.plan.step.callback
        assert callback is not None
        expected = one.callback and len(one.signals or ()) < callback.uses and not self.play.state.ended
        payload: Any = self.random.randrange(3)
        if one.plan.kind == "approve":
            payload = {"approved": self.random.random() < 0.7, "by": self.random.choice(("ann", "bob", None))}
            decided = [signal["by"] for signal in one.signals or () if isinstance(signal, dict)]
            expected = expected and (payload["by"] is None or payload["by"] not in decided)
        try:
            self.play.give(inp.CallbackArrived(one.id, one.generation, payload))
        except ConflictError:
            assert not expected
            assert len(self.play.rows) == count
        else:
            assert expected

    def crash(self) -> None:
        state = self.play.state
        unsafe = frozenset(number for number in state.active if self.random.random() < 0.2)
        self.play.crash(unsafe)
        for one in self.play.state.active.values():
            assert one.id not in unsafe

    def pause(self) -> None:
        if not self.play.state.ended:
            self.play.give(inp.PauseRun())

    def resume(self) -> None:
        if self.play.state.paused:
            self.play.give(inp.ResumeRun())

    def cancel(self) -> None:
        if not self.play.state.ended:
            self.play.give(inp.CancelRun("drawn", force=self.random.random() < 0.3))

    def undo(self) -> None:
        """A run that is over is undone, once."""
        if due_compensations(self.play.state):
            self.play.give(inp.UndoRun("drawn"))
        else:
            count = len(self.play.rows)
            with pytest.raises(ConflictError):
                self.play.give(inp.UndoRun())
            assert len(self.play.rows) == count

    def rewind(self) -> None:
        """Go back to some step, or retry; what is kept must stay as it is, and no number may be given twice."""
        play = self.play
        before = {one.id: one for one in play.state.nodes}
        one_of = [one.address for one in play.state.standing if has_name(one)]
        retry = self.random.random() < 0.3
        to = tuple(self.random.sample(one_of, min(len(one_of), self.random.choice((1, 1, 2)))))
        try:
            play.give(inp.RetryRun() if retry else inp.RewindRun(to))
        except ConflictError:
            assert retry
            return
        for number, old in before.items():
            new = play.state.nodes[number]
            if new.generation == old.generation and not new.block.gone:
                assert new is old or new.started_seq == old.started_seq
                self.kept[number] = (old.status, old.output) if new is old and old.status in STEP_SETTLED else None
            else:
                self.kept.pop(number, None)

    def check_kept(self) -> None:
        """A step that a rewind kept is not run again, short of another rewind."""
        for number, kept in self.kept.items():
            one = self.play.state.nodes[number]
            assert kept is None or one.block.gone or (one.status, one.output) == kept, one.address

    def to_the_end(self, most: int = 3_000) -> None:
        """The world behaves: everything is answered in turn, then time passes."""
        self.resume()
        for _ in range(most):
            state = self.play.state
            if state.ended:
                return
            waits = next((one for one in state.nodes if _waits_for_child(one)), None)
            if state.active:
                self.end(next(iter(state.active.values())))
            elif waits is not None:
                self.end_child(waits)
            else:
                self.play.next_timer()
        raise AssertionError(f"still {self.play.status} after {most} inputs")


def _waits_for_child(one: StepState) -> bool:
    return one.status is StepStatus.WAITING and one.waits_on == "child"


def check_journal(play: Play) -> None:
    """No step begins anything after its end, and ends once, short of a rewind."""
    over: set[int] = set()
    for row in play.rows:
        if isinstance(row.event, ev.Rewound):
            over.clear()
        if row.step >= 0 and isinstance(row.event, EVENTS_OF_AN_END):
            assert row.step not in over, f"{play.state.nodes[row.step].address} ended twice"
            over.add(row.step)
        elif row.step in over:
            assert not isinstance(row.event, EVENTS_OF_A_START), play.state.nodes[row.step].address
