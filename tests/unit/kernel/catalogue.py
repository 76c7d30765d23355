"""Flows of every shape, each with the answers of its calls, played one call after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from segue.flow.model import Flow, Handler, Retry, Timeout
from segue.kernel import inputs as inp
from segue.kernel.state import StepState
from unit.kernel.builders import (
    NOW,
    Answer,
    Play,
    callback,
    compensate,
    conditional,
    failure,
    final,
    flow,
    foreach,
    graph,
    on_error,
    parallel,
    repeat,
    seq,
    step,
    switch,
    try_,
)

BAD = failure("http.404", "gone")


class Case(msgspec.Struct):
    """A flow and what its calls answer, by address; a call that is not named answers with its address."""

    flow: Flow
    answers: Mapping[str, Answer] = {}
    inputs: Mapping[str, Any] = {}


def _handler(*steps: Any, then: str) -> tuple[Handler, ...]:
    return (Handler(block=seq(*steps, label="on_error"), then=then),)


def _choice() -> Flow:
    branches = [{"label": "yes", "when": "random() < 2"}, {"label": "no", "when": None}]
    return flow(
        root=graph(
            [step("k", "branch", params={"branches": branches}), step("y"), step("n"), step("end")],
            ["k>y:yes", "k>n:no", "y>end", "n>end"],
        )
    )


def _set(name: str, **values: Any) -> Any:
    return step(name, "set", params=values)


CASES: Mapping[str, Case] = {
    "a line with vars": Case(
        flow(
            step("a"),
            _set("one", n=1),
            step("b"),
            _set("two", n=2, m=2),
            step("c"),
            vars={"n": 0},
            timeout_seconds=99.0,
        )
    ),
    "a graph": Case(flow(root=graph([step(name) for name in "abcd"], ["a>b", "a>c", "b>d", "c>d"]))),
    "a choice of edges": Case(_choice()),
    "an if in an if": Case(
        flow(
            step("a"),
            conditional("c", ("true", [conditional("i", ("$inputs.x", [step("t")]), (None, [step("e")])), step("z")])),
            step("end"),
        ),
        inputs={"x": True},
    ),
    "a switch": Case(
        flow(switch("s", "$inputs.x", {1: [step("one"), step("more")], 2: [step("two")]}), step("end")), inputs={"x": 1}
    ),
    "a loop over items": Case(
        flow(foreach("each", "[1, 2, 3]", step("x"), step("y"), timeout=Timeout(total_seconds=60.0)), step("end"))
    ),
    "a loop that tolerates": Case(
        flow(foreach("each", "[1, 2, 3]", step("x"), step("y"), tolerate=1), step("end")),
        {"each[1].x": BAD},
    ),
    "a loop of turns": Case(flow(repeat("loop", step("x"), step("y"), max=3), step("end"))),
    "a loop of turns that is handled": Case(
        flow(repeat("loop", step("x"), max=2, until="false", on_error=on_error(step("g"), step("h"))), step("end"))
    ),
    "a loop in a loop": Case(flow(foreach("out", "[1, 2]", repeat("in", step("x"), max=2)), step("end"))),
    "branches": Case(
        flow(parallel("p", {"a": [step("a1"), step("a2")], "b": [step("b1")], "c": [step("c1")]}), step("end"))
    ),
    "a try that is caught": Case(
        flow(try_("t", [step("x"), step("y")], [step("c"), step("d")], [step("f"), step("g")]), step("end")), {"y": BAD}
    ),
    "a try that ends well": Case(
        flow(try_("t", [step("x"), step("y")], [step("c")], [step("f"), step("g")]), step("end"))
    ),
    "a call that is handled": Case(
        flow(step("a", on_error=on_error(step("g"), step("h")), timeout=Timeout(total_seconds=50.0)), step("b")),
        {"a": BAD},
    ),
    "a call with a finally": Case(
        flow(step("a", finally_=final(step("f"), step("g"))), step("b", finally_=final(step("h"))), step("end"))
    ),
    "a failure that the run survives": Case(
        flow(step("a"), step("bad"), step("after"), on_error="continue"), {"bad": BAD}
    ),
    "a run that fails": Case(
        flow(
            step("a"),
            step("b"),
            on_error_block=seq(step("h"), step("i"), label="on_error"),
            finally_=seq(step("f"), step("g"), label="finally"),
        ),
        {"b": BAD},
    ),
    "a run that ends well, and then its finally": Case(
        flow(step("a"), step("b"), finally_=seq(step("f"), step("g"), label="finally"), outputs={"n": "$a"})
    ),
    "a run that a step ends": Case(
        flow(step("a"), conditional("c", ("true", [step("x"), step("r", "return", params={"value": "$x"})])), step("b"))
    ),
    "a block that is retried": Case(
        flow(
            step("a"),
            conditional(
                "c",
                ("true", [step("x"), step("y")]),
                retry=Retry(max_attempts=2, initial_delay_seconds=0.0, jitter="none"),
            ),
            step("end"),
        ),
    ),
    "all in all": Case(
        flow(
            _set("s", n="$inputs.x"),
            foreach(
                "each",
                "[1, 2]",
                try_(
                    "t",
                    [parallel("p", {"a": [step("a1", on_error=on_error(step("h")))], "b": [step("b1")]})],
                    None,
                    [step("f")],
                ),
            ),
            switch("w", "size($data)", {2: [conditional("c", ("false", [step("z")]), (None, [step("e")]))]}),
            step("end", on_error=_handler(step("o"), then="fail")),
            finally_=seq(step("last"), label="finally"),
            vars={"n": 0},
        ),
        {"each[1].p.a1": BAD, "a1": BAD},
        inputs={"x": 5},
    ),
}
"""Flows in which no time goes by."""

OTHERS: Mapping[str, Case] = {
    "branches that may fail": Case(
        flow(parallel("p", {"a": [step("a1")], "b": [step("b1")], "c": [step("c1")]}, join=2), step("end")), {"a1": BAD}
    ),
    "branches that fail and are tried again": Case(
        flow(
            parallel(
                "p",
                {"a": [step("a1")], "b": [step("b1")], "c": [step("c1")]},
                fail="wait",
                retry=Retry(max_attempts=2, initial_delay_seconds=3.0, jitter="none"),
            ),
            step("end"),
        ),
        {"a1": failure("timeout"), "b1": failure("timeout")},
    ),
    "a run that is undone": Case(
        flow(
            step("a", compensate=compensate(step("not_a"))),
            step("b", compensate=compensate(step("not_b"))),
            step("bad"),
            finally_=seq(step("f"), label="finally"),
        ),
        {"bad": BAD},
    ),
    "a block that is handled": Case(
        flow(
            conditional("c", ("true", [step("x"), step("y")]), on_error=on_error(step("g"), step("h"))),
            parallel("p", {"a": [step("a1")], "b": [step("b1")]}, on_error=on_error(step("i"))),
            step("end"),
        ),
        {"y": BAD, "b1": BAD},
    ),
    "a failure that waits for a finally": Case(
        flow(
            parallel("p", {"a": [step("a1")], "b": [step("b1", finally_=final(step("f"), step("g")))]}),
            step("end"),
            on_error_block=seq(step("h"), label="on_error"),
        ),
        {"a1": BAD},
    ),
    "blocks without steps": Case(
        flow(
            conditional("c", ("true", [])),
            parallel("p", {"a": [], "b": [step("b1")]}),
            try_("t", [], None, [step("f")]),
            foreach("each", "[1, 2]"),
            step("end"),
        )
    ),
    "a wait for an answer": Case(
        flow(step("a"), step("w", callback=callback(expires_seconds=60.0, uses=2)), step("end"))
    ),
    "a wait for a time": Case(flow(step("a"), step("w", "wait", params={"duration": "1m"}), step("end"))),
    "a loop that waits between turns": Case(flow(repeat("loop", step("x"), max=2, every="10s"), step("end"))),
    "a call that is retried": Case(
        flow(step("a", retry=Retry(max_attempts=3, initial_delay_seconds=5.0, jitter="none")), step("end")),
        {"a": failure()},
    ),
    "a call that is tried again after its handler": Case(
        flow(step("a", on_error=_handler(step("h"), then="retry")), step("end"), timeout_seconds=1_000.0),
        {"a": failure()},
    ),
}
"""Flows in which time goes by, or in which going back takes back more than what depends on it."""
RACES: Mapping[str, Case] = {
    "branches of which one is first": Case(
        flow(parallel("p", {"a": [step("a1")], "b": [step("b1")]}, join="first"), step("end"))
    ),
    "branches of which the loser cleans up": Case(
        flow(
            parallel(
                "p",
                {"a": [step("a1")], "b": [conditional("c", ("true", [step("b1", finally_=final(step("close")))]))]},
                join="first",
            ),
            step("end"),
        )
    ),
    "a path that is first": Case(
        flow(root=graph([step("x"), step("y"), step("j", join="first"), step("end")], ["x>j", "y>j", "j>end"]))
    ),
    "a path that is first while the other cleans up": Case(
        flow(
            root=graph(
                [
                    step("x"),
                    try_("t", [foreach("each", "[1]", step("y"), finally_=final(step("close")))], [], []),
                    step("j", join="first"),
                    step("end"),
                ],
                ["x>j", "t>j", "j>end"],
            )
        )
    ),
}
"""Flows in which a loser may yet come to its end if it was not told that it has lost."""
ALL: Mapping[str, Case] = {**CASES, **OTHERS}


def begin(case: Case) -> Play:
    return Play(case.flow, dict(case.inputs))


def answer(case: Case, one: StepState) -> inp.AttemptEnded:
    """What a call answers. One that fails does so at each of its tries."""
    found = case.answers.get(one.address, case.answers.get(one.plan.step.id, one.address))
    if found is BAD or type(found) is type(BAD):
        return inp.AttemptEnded(one.id, one.attempt, failure=found, generation=one.generation)
    return inp.AttemptEnded(one.id, one.attempt, found, generation=one.generation)


def forward(case: Case, play: Play) -> bool:
    """One thing that comes next; False if there is none."""
    state = play.state
    if state.ended:
        return False
    if state.active:
        play.give(answer(case, next(iter(state.active.values()))))
        return True
    waits = next((one for one in state.standing if one.callback and one.status == "waiting"), None)
    if waits is not None:
        play.call_back(waits.address, waits.address)
        return True
    if state.next_due() is None:
        return False
    play.next_timer()
    return True


def to_the_end(case: Case, play: Play) -> Play:
    for _ in range(200):
        if not forward(case, play):
            assert play.state.ended, f"it stands still as {play.status}: {play.statuses()}"
            return play
    raise AssertionError(f"still {play.status}: {play.statuses()}")


def while_in_flight(case: Case, address: str) -> Play:
    """The run as it stands while this call has not been answered, and all others that do not need it have."""
    play = begin(case)
    for _ in range(200):
        held = play.has(address) and play.step(address).id in play.state.active
        other = next((one for one in play.state.active.values() if one.address != address), None)
        if other is not None:
            play.give(answer(case, other))
        elif held or not forward(case, play):
            return play
    raise AssertionError(f"{address} was not called")


def stand(play: Play) -> dict[str, Any]:
    """Where a run stands, in words that hold for another run of the same flow, or for the same one at another time."""
    state = play.state
    return {
        "status": state.status, "phase": state.phase, "outputs": state.outputs, "error": state.error,
        "vars": state.vars, "recovered": state.recovered, "active": sorted(play.active),
        "flow_error": state.flow_error, "background": state.background, "stopped_by": state.stopped_by,
        "timers": sorted(
            ("" if number < 0 else state.nodes[number].address, kind, due - NOW)
            for (number, kind), due in state.timers.items()
        ),
        "steps": {one.address: _step(one) for one in state.nodes if not one.block.gone},
    }  # fmt: skip


def _step(one: StepState) -> dict[str, Any]:
    blocks = [
        (block.plan.label, block.index, block.remaining, block.closed, block.failure, len(block.nodes))
        for block in one.children or ()
    ]
    names = (
        "broken", "callback", "concluding", "continued", "dead", "edges_live", "edges_reason", "failing", "finishing",
        "handling", "items", "keys", "live", "next_item", "open_blocks", "output", "reason", "status", "undone",
        "undo_error", "waiting", "waits_on",
    )  # fmt: skip
    return {
        "blocks": blocks,
        "error": None if one.concluding is not None else one.error,
        "tolerated": sorted(one.tolerated or ()),
        "results": one.results or {},
        **{name: getattr(one, name) for name in names},
    }
