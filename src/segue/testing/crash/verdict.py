"""What is wrong with a run that was killed: its journals and its ledger, beside those of a run that was not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, Literal, cast

import msgspec

from segue.testing.crash.ledger import Line
from segue.testing.crash.life import LifeResult, RunOutcome, StepOutcome

OUTPUT_CHARACTERS: Final = 200
_UNKNOWN: Final = "unknown_outcome"
_StepKey = tuple[str, int]

HELP: Final = {
    "unsafe": (
        "a kill while it is in flight leaves nobody knowing whether it took effect, so it is not called again: handle"
        " it with `on_error` (look up what became of it, then `then: retry` or go on), or say `idempotency: keyed` if"
        " the other side honours the Idempotency-Key header"
    ),
    "lost": "this is a fault of Segue: report it with the flow and the line above",
    "twice": "this is a fault of Segue: report it with the flow and the line above",
    "end": (
        "the run ends differently when its host is killed; look for what depends on the order in which parallel steps"
        " end, or on values from outside the flow; if nothing does, report it with the flow and the line above"
    ),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong after a kill. `at` says which kill; `step` is the address of the step, if it is one's."""

    kind: Literal["lost", "twice", "unsafe", "end"]
    message: str
    scenario: str = ""
    at: str = ""
    step: str | None = None
    folder: str = ""
    """Name of the folder with what the killed hosts left, if it is among those kept."""

    @property
    def help(self) -> str:
        """What to do about it."""
        return HELP[self.kind]


def judge(calm: LifeResult, killed: LifeResult, lines: Sequence[Line], *, is_live: bool) -> list[Finding]:
    """All findings. `killed` is the last life of the killed run, `lines` are the ledger of all its lives."""
    return [*_lost_events(killed, lines), *_repeated(killed, lines), *_ends(calm, killed, is_live=is_live)]


def repeated_calls(lines: Sequence[Line]) -> dict[str, int]:
    """How often each step's calls were made again under the same key after a death, by address."""
    seen: set[tuple[str, str]] = set()
    found: dict[str, int] = {}
    for line in lines:
        if line.what != "call":
            continue
        if (line.key, line.call) in seen:
            found[line.step] = found.get(line.step, 0) + 1
        seen.add((line.key, line.call))
    return found


# ---------------------------------------------------------------- nothing lost


def _lost_events(killed: LifeResult, lines: Sequence[Line]) -> Iterator[Finding]:
    """What was flushed in earlier lives is what the last life found."""
    flushed: dict[int, int] = {}
    for line in lines:
        if line.what == "kept" and line.life < killed.number:
            flushed[line.run] = line.seq
    events = {one.key: one.events for one in killed.found}
    for run, seq in flushed.items():
        if events.get(run, 0) <= seq:
            message = f"events up to {seq} were flushed, the database has {events.get(run, 0)} events of the run"
            yield Finding(kind="lost", message=message)


# ---------------------------------------------------------------- nothing twice


def _repeated(killed: LifeResult, lines: Sequence[Line]) -> Iterator[Finding]:
    found = {(one.address, one.generation): one for run in killed.found for one in run.steps}
    by_call: dict[str, list[Line]] = {}
    for line in lines:
        if line.what == "call":
            by_call.setdefault(line.key, []).append(line)
            if line.life < killed.number:
                yield from _unkept(found.get((line.step, line.generation)), line)
            else:
                yield from _completed(found.get((line.step, line.generation)), line)
    for calls in by_call.values():
        yield from _one_key(calls)
    keys: dict[str, str] = {}
    for calls in by_call.values():
        place = calls[0].call
        if keys.setdefault(place, calls[0].key) != calls[0].key:
            yield Finding(kind="twice", step=calls[0].step, message="it was called again under another key")


def _unkept(step: StepOutcome | None, line: Line) -> Iterator[Finding]:
    """Journal before effect."""
    if step is None or step.attempt < line.attempt:
        message = f"attempt {line.attempt} was made, but the journal does not say that it was begun"
        yield Finding(kind="lost", step=line.step, message=message)


def _completed(step: StepOutcome | None, line: Line) -> Iterator[Finding]:
    if step is not None and step.is_over:
        message = f"it was {step.status} before the kill, and was called again"
        yield Finding(kind="twice", step=line.step, message=message)


def _one_key(calls: list[Line]) -> Iterator[Finding]:
    """The calls under one idempotency key, in their order."""
    step = calls[0].step
    attempts = [line.attempt for line in calls]
    if len(set(attempts)) < len(attempts):
        yield Finding(kind="twice", step=step, message=f"one attempt was made twice (attempts {attempts})")
    if len({line.params for line in calls}) > 1:
        yield Finding(kind="twice", step=step, message="it was called again with other parameters under the same key")
    for earlier, line in itertools.pairwise(calls):
        # Another try has another number: its failure is known.
        if line.is_unsafe and line.call == earlier.call and not line.is_handled:
            message = "it is unsafe, and was called again though nobody knew what became of the first call"
            yield Finding(kind="twice", step=step, message=message)


# ---------------------------------------------------------------- the same end


def _ends(calm: LifeResult, killed: LifeResult, *, is_live: bool) -> Iterator[Finding]:
    if len(calm.ended) != len(killed.ended):
        message = f"there are {len(killed.ended)} runs instead of {len(calm.ended)}"
        yield Finding(kind="lost", message=message)
        return
    unknown = _unknown_steps(killed) - _unknown_steps(calm)
    for expected, actual in zip(calm.ended, killed.ended, strict=True):
        if unknown:
            yield from _after_unknown(expected, actual, sorted(unknown))
        else:
            yield from _same(expected, actual, is_live=is_live)


def _unknown_steps(life: LifeResult) -> set[_StepKey]:
    return {
        (step.address, step.generation) for run in life.ended for step in run.steps if step.category == _UNKNOWN
    }  # fmt: skip


def _after_unknown(expected: RunOutcome, actual: RunOutcome, unknown: list[_StepKey]) -> Iterator[Finding]:
    """The end may be another one, since a handler saw what happened; what nobody handles ends the run."""
    if actual.status == expected.status:
        return
    names = ", ".join(dict.fromkeys(address for address, _ in unknown))
    message = f"killed while `{names}` was in flight, the run ends as {actual.status} instead of {expected.status}"
    yield Finding(kind="unsafe", step=unknown[0][0], message=message)


def _same(expected: RunOutcome, actual: RunOutcome, *, is_live: bool) -> Iterator[Finding]:
    if actual.status != expected.status:
        error = "" if actual.message is None else f": {actual.category}: {actual.message}"
        yield Finding(kind="end", message=f"the run ends as {actual.status} instead of {expected.status}{error}")
        return
    if actual.category != expected.category:
        yield Finding(kind="end", message=f"the run fails with {actual.category} instead of {expected.category}")
    before = {(one.address, one.generation): one for one in expected.steps}
    after = {(one.address, one.generation): one for one in actual.steps}
    for key in before.keys() - after.keys():
        yield Finding(kind="lost", step=key[0], message="the step is missing")
    for key in after.keys() - before.keys():
        yield Finding(kind="end", step=key[0], message="the step is there only after a kill")
    for key in before.keys() & after.keys():
        yield from _same_step(before[key], after[key], is_live=is_live)
    # What really happens outside differs from run to run: times, numbers, ids.
    if not is_live and _comparable(actual.outputs) != _comparable(expected.outputs):
        message = f"the outputs are {_short(actual.outputs)} instead of {_short(expected.outputs)}"
        yield Finding(kind="end", message=message)


def _same_step(expected: StepOutcome, actual: StepOutcome, *, is_live: bool) -> Iterator[Finding]:
    if actual.status != expected.status:
        message = f"it ends as {actual.status} instead of {expected.status}"
        yield Finding(kind="end", step=actual.address, message=message)
    elif not is_live and _comparable(actual.output) != _comparable(expected.output):
        message = f"its output is {_short(actual.output)} instead of {_short(expected.output)}"
        yield Finding(kind="end", step=actual.address, message=message)


def _comparable(value: object) -> object:
    """The value without the numbers of attempts in errors: one that a kill cut off is counted, as it should be."""
    if isinstance(value, list):
        return [_comparable(one) for one in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    is_error = "category" in fields and "message" in fields
    return {key: _comparable(one) for key, one in fields.items() if not (is_error and key == "attempt")}


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= OUTPUT_CHARACTERS else text[: OUTPUT_CHARACTERS - 1] + "…"
