"""One situation for each thing that `segue why` can say."""

from __future__ import annotations

from typing import Any

from segue.flow.model import Cache, Fallback, Handler, Limits, Poll, Retry, Timeout
from segue.kernel import events as ev
from segue.kernel import inputs as inp
from unit.kernel.builders import (
    Play,
    callback,
    compensate,
    conditional,
    failure,
    final,
    flow,
    foreach,
    graph,
    parallel,
    repeat,
    seq,
    step,
)

TWICE = Retry(max_attempts=2, initial_delay_seconds=5.0, jitter="none")
GONE = failure("http.404", "gone")
ONE_AT_A_TIME = Limits(concurrency=1, rate_count=3, rate_seconds=60.0, key="$inputs.who")


def queued(**settings: Any) -> Play:
    return Play(flow(step("a")), queued=ev.RunQueued(reason="1 of 1 slots of `f` are taken", **settings), check=False)


def waits_for_a_slot() -> Play:
    return Play(flow(step("a", limits=ONE_AT_A_TIME)), {"who": "ann"}, check=False)


def refused_a_slot(how: Any) -> Play:
    play = waits_for_a_slot()
    play.give(inp.SlotRefused(0, how, "1 of 1 slots of `a` are taken"))
    return play


def crashed() -> Play:
    play = Play(flow(step("a"), step("b")))
    play.now += 1_000
    play.crash()
    return play


def crashed_twice() -> Play:
    play = crashed()
    play.crash()
    play.ok("a", 1)
    return play


def retried(**settings: Any) -> Play:
    play = Play(flow(step("a", retry=TWICE), **settings))
    play.bad("a", "http.503", "busy")
    return play


def out_of_tries() -> Play:
    play = retried()
    play.next_timer()
    play.bad("a", "http.503", "busy")
    return play


def tried_twice() -> Play:
    play = retried()
    play.next_timer()
    play.ok("a", 1)
    return play


def paused(play: Play) -> Play:
    play.give(inp.PauseRun())
    return play


def paused_and_due() -> Play:
    root = graph([step("a"), step("w", "wait", params={"duration": "1m"})], [])
    play = paused(Play(flow(root=root)))
    play.later(60_000)
    return play


def cancelled(play: Play, reason: str | None = "enough") -> Play:
    play.give(inp.CancelRun(reason))
    return play


def failing(one: Any, *more: Any, **settings: Any) -> Play:
    play = Play(flow(one, *more, **settings))
    play.bad(play.active[0], "http.404", "gone")
    return play


def loop() -> Play:
    play = Play(flow(foreach("each", "[1, 2, 3, 4]", step("x"), tolerate="all", limit=2)))
    play.ok("each[0].x")
    play.bad("each[1].x", "http.404", "gone")
    return play


def branches() -> Play:
    play = Play(flow(parallel("p", {"a": [step("a1")], "b": [step("b1")], "c": [step("c1")]})))
    play.ok("b1")
    return play


def turns() -> Play:
    play = Play(flow(repeat("loop", step("x"), max=3)))
    play.ok("loop[0].x")
    return play


def pause_of_a_loop() -> Play:
    play = Play(flow(repeat("loop", step("x"), max=3, every="1h")))
    play.ok("loop[0].x")
    return play


def polled() -> Play:
    play = Play(flow(step("job", "poll", poll=Poll(success_condition="$ > 1", interval_seconds=9.0, max_attempts=4))))
    play.ok("job", 1)
    return play


def sub_flow(**settings: Any) -> Play:
    play = Play(flow(step("sub", "flow", **settings)))
    one = play.step("sub")
    play.give(inp.ChildBegan(one.id, one.attempt, "run_9", "other"))
    return play


def approval(**settings: Any) -> Play:
    return Play(
        flow(
            step(
                "ok",
                "approve",
                params={"message": "May I?", **settings},
                callback=callback(uses=2 if "to" in settings else 1, expires_seconds=60.0),
            )
        )
    )


def approved_by_one() -> Play:
    play = approval(to=["ann", "bob", "eve"])
    play.call_back("ok", {"decision": "approve", "by": "ann"})
    return play


def calls_back(uses: int) -> Play:
    play = Play(flow(step("w", "wait", callback=callback(uses=uses, expires_seconds=60.0))))
    if uses > 1:
        play.call_back("w", 1)
    return play


def expired() -> Play:
    play = calls_back(1)
    play.next_timer()
    return play


def too_late() -> Play:
    play = Play(flow(step("a", timeout=Timeout(total_seconds=5.0))))
    play.next_timer()
    return play


def run_too_late(**settings: Any) -> Play:
    play = Play(flow(step("a"), timeout_seconds=90.0, **settings))
    play.next_timer()
    return play


def saga(undo: Any = None, **settings: Any) -> Play:
    play = Play(
        flow(
            step("a", compensate=compensate(step("no_a"))),
            step("b", compensate=compensate(step("no_b"))),
            step("c"),
            **settings,
        )
    )
    play.ok("a")
    play.ok("b")
    play.bad("c", "http.404", "gone")
    if undo is not None:
        play.run({"b.compensate.no_b": undo, "b.on_error.x": undo})
    return play


def saga_back() -> Play:
    play = Play(flow(step("a", compensate=compensate(step("no_a"))), step("c"))).run()
    play.give(inp.RewindRun(("a",), by="ann", reason="wrong", compensate=True))
    return play


def saga_of_a_good_run() -> Play:
    play = Play(flow(step("a", compensate=compensate(step("no_a"))), step("c"))).run()
    play.give(inp.UndoRun("returned"))
    return play.run()


def cached() -> Play:
    play = Play(flow(step("a", cache=Cache(seconds=60.0))))
    one = play.step("a")
    play.give(inp.AttemptEnded(one.id, one.attempt, 1, cached_from="run_7"))
    return play


def fell_back() -> Play:
    play = Play(flow(step("a", fallback=(Fallback(use="other.thing"), Fallback(use="third.thing")))))
    play.bad("a", "http.404", "gone")
    play.ok("a", 1)
    return play


def in_its_finally() -> Play:
    play = Play(flow(step("a", finally_=final(step("f"))), step("b")))
    play.ok("a")
    return play


def accepted() -> Play:
    """As it is between its first event and the first that a host gives it."""
    play = Play(flow(step("a")), check=False)
    play.rows = play.rows[:1]
    play.state = play.folded()
    return play


def skipped() -> Play:
    play = queued()
    play.give(inp.SkipQueued("1 of 1 slots of `f` are taken"))
    return play


def cut_off(events: int, *steps: Any) -> Play:
    play = Play(flow(*(steps or (step("a"), step("b")))), check=False)
    play.rows = play.rows[:events]
    play.state = play.folded()
    return play


def let_go() -> Play:
    """A branch fails while a `finally` is owed to what is cancelled for it."""
    play = Play(flow(parallel("p", {"a": [step("a1")], "b": [step("b1", finally_=final(step("f")))]}), step("end")))
    play.bad("a1", "http.404", "gone")
    return play


def let_the_run_go() -> Play:
    return cancelled(Play(flow(step("b1", finally_=final(step("f"))))))


def continued() -> Play:
    root = graph([step("a"), step("b"), step("c"), step("d")], ["a>b", "b>c"])
    play = Play(flow(root=root, on_error="continue"))
    play.bad("a", "http.404", "gone")
    play.ok("d")
    return play


def untaken() -> Play:
    choices = [{"label": "yes", "when": "true"}, {"label": "no", "when": None}]
    root = graph([step("k", "branch", params={"branches": choices}), step("y"), step("n")], ["k>y:yes", "k>n:no"])
    return Play(flow(root=root))


def error_edge() -> Play:
    play = Play(flow(root=graph([step("a"), step("b"), step("c")], ["a>b", "a>c:error"])))
    play.bad("a", "http.404", "gone")
    return play


def rewound(how: str) -> Play:
    if how == "rewind":
        play = Play(flow(step("a"), step("b"), step("c"), step("d"), step("e"))).run()
        play.give(inp.RewindRun(("a",), by="ann", reason="wrong price"))
        return play
    play = failing(step("a"))
    play.give(inp.RetryRun())
    return play


def taken_back() -> Play:
    play = Play(flow(step("a"), conditional("c", ("true", [step("x")])))).run()
    play.give(inp.RewindRun(("a",)))
    return play


def replayed(kind: Any, **settings: Any) -> Play:
    play = Play(flow(step("a")), kept={})
    assert play.state.keeping is not None
    play.state.keeping.origin = ev.Origin(run_id="run_0", kind=kind, **settings)
    return play


def wins() -> Play:
    play = Play(flow(root=graph([step("a"), step("b"), step("j", join="first")], ["a>j", "b>j"])))
    play.ok("a")
    return play


def handled(then: Any = "continue") -> Play:
    handlers = (Handler(block=seq(step("h"), label="on_error"), then=then),)
    return failing(step("a", on_error=handlers))


def whole() -> Play:
    play = Play(
        flow(step("a"), on_error_block=seq(step("h"), label="on_error"), finally_=seq(step("f"), label="finally"))
    )
    play.bad("a", "http.404", "gone")
    return play


def in_finally(end: str) -> Play:
    play = Play(flow(step("a"), finally_=seq(step("f"), label="finally")))
    if end == "bad":
        play.bad("a", "http.404", "gone")
    else:
        play.ok("a")
    return play


def several() -> Play:
    return Play(flow(root=graph([step(name) for name in "abcde"], [])))


def in_turn(**settings: Any) -> Play:
    return Play(flow(root=graph([step("a"), step("b")], []), **settings))


def keeps_its_turn() -> Play:
    play = Play(flow(root=graph([step("a", retry=TWICE), step("b")], []), strategy="sequential"))
    play.bad("a")
    return play


def unknown() -> Play:
    play = Play(flow(step("a", at_most_once=True)))
    play.crash()
    return play
