"""`limits`, `cache`, `fallback` and `runs_on` as they may be written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.flow.edit import write_flow
from segue.flow.model import Cache, Fallback, Limits, Step
from unit.flow.kit import codes_of, problems_of, read_well

STEP = "flow: x\nsteps:\n  - a: {http: GET https://example.com, %s}"


def step_of(text: str) -> Step:
    return read_well(STEP % text).root.steps[0]


@pytest.mark.req("EXEC-5.limits")
@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("{concurrency: 3}", Limits(concurrency=3)),
        ("{concurrency: 1, key: $inputs.email, on_full: reject}",
         Limits(concurrency=1, key="$inputs.email", on_full="reject")),
        ("{rate: 10/s}", Limits(rate_count=10, rate_seconds=1.0)),
        ("{rate: 100/5m, onFull: skip}", Limits(rate_count=100, rate_seconds=300.0, on_full="skip")),
        ("{rate: 7 per minute}", Limits(rate_count=7, rate_seconds=60.0)),
    ],
)  # fmt: skip
def test_limits_are_read_alike_on_flows_and_steps(text: str, limits: Limits) -> None:
    assert step_of(f"limits: {text}").limits == limits
    flow = read_well(f"flow: x\nlimits: {text}\npriority: 4\nsteps: [{{log: x}}]")
    assert (flow.run_limits, flow.priority) == (limits, 4)


@pytest.mark.req("EXEC-5.limits")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("limits: {concurrency: 0}", "FLW016"),
        ("limits: {rate: often}", "FLW016"),
        ("limits: {rate: 0/s}", "FLW016"),
        ("limits: {on_full: wait, concurrency: 1}", "FLW016"),
        ("limits: {key: 1}", "FLW011"),
        ("limits: {steps: 1}", "FLW010"),
        ("limits: {concurrency: 1, key: nobody.name}", "FLW031"),
        ("cache: {key: 1}", "FLW011"),
        ("cache: 5", "FLW019"),
        ("fallback: [{params: {a: 1}}]", "FLW011"),
    ],
)
def test_what_is_wrong_with_them_is_said(text: str, code: str) -> None:
    assert code in codes_of(STEP % text)


@pytest.mark.req("EXEC-5.cache", "EXEC-5.fallback", "EXEC-5.runs-on")
def test_caches_fallbacks_and_labels_are_read() -> None:
    assert step_of("cache: 1h").cache == Cache(seconds=3_600.0)
    assert step_of("cache: {for: 90s, key: $inputs.id}").cache == Cache(seconds=90.0, key="$inputs.id")
    assert step_of("cache: false").cache is None
    assert step_of("fallback: other.send").fallback == (Fallback(use="other.send"),)
    given = step_of("fallback: [one, {adapter: mail, action: send, params: {to: $inputs.to}}, {python: f}]").fallback
    assert given == (Fallback(use="one"), Fallback(use="mail.send", params={"to": "$inputs.to"}), Fallback(use="f"))
    assert step_of("runs_on: gpu").runs_on == ("gpu",)
    assert step_of("runs_on: [gpu, eu, gpu]").runs_on == ("gpu", "eu")


@pytest.mark.req("EXEC-5.limits", "EXEC-5.cache")
@pytest.mark.parametrize(
    "text",
    [
        "flow: x\nsteps: [{a: {wait: 1s, limits: {concurrency: 1}}}]",
        "flow: x\nsteps: [{a: {flow: y, cache: 1h}}]",
        "flow: x\nsteps: [{a: {parallel: [{log: x}], fallback: http}}]",
        "flow: x\nsteps: [{a: {flow: y, runs_on: gpu}}]",
    ],
)
def test_where_they_would_mean_something_that_is_not_there_they_are_refused(text: str) -> None:
    assert codes_of(text, runnable=True) == {"FLW038"}
    assert codes_of(text) == set()


@pytest.mark.req("EXEC-5.limits", "EXEC-5.cache")
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("log: x, limits: {concurrency: 1}", "limits"),
        ("set: {x: 1}, cache: 1h", "cache"),
        ("log: x, fallback: http", "fallback"),
        ("map: {x: 1}, runs_on: gpu", "runs_on"),
    ],
)
def test_where_nothing_is_called_they_are_warned_of(text: str, key: str) -> None:
    found = problems_of(f"flow: x\nsteps: [{{a: {{{text}}}}}]", runnable=True)
    assert [(one.code, str(one.severity)) for one in found] == [("FLW045", "warning")]
    assert f"`{key}` has no effect" in found[0].message


def test_all_of_it_runs_on_a_call() -> None:
    text = "limits: {concurrency: 1}, cache: 1h, fallback: [http], runs_on: [gpu]"
    for job in ("", ", wait: {callback: {}}", ", poll: {until: $.done}"):
        assert codes_of(STEP % (text + job), runnable=True) == set()


@pytest.mark.req("FLOW-2.text")
@pytest.mark.parametrize(
    "settings",
    [
        {"limits": Limits(concurrency=2, key="$inputs.a", on_full="skip"), "runs_on": ("a", "b")},
        {"limits": Limits(rate_count=10, rate_seconds=0.5), "cache": Cache(seconds=5.0, key="$inputs.a")},
        {"fallback": (Fallback(use="http"), Fallback(use="http", params={}))},
    ],
)
def test_they_are_written_as_they_are_read(settings: dict[str, Any]) -> None:
    base = read_well("flow: x\npriority: 3\nlimits: {concurrency: 9}\nsteps:\n  - a: {http: GET https://example.com}")
    replace = msgspec.structs.replace
    changed = replace(base, root=replace(base.root, steps=(replace(base.root.steps[0], **settings),)))
    again = read_well(write_flow(changed))
    assert {name: getattr(again.root.steps[0], name) for name in settings} == settings
    assert (again.run_limits, again.priority) == (Limits(concurrency=9), 3)
