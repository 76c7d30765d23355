"""What a trigger makes of an event: whether a run begins, and with which inputs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from segue.errors import InvalidInputError
from segue.flow import Flow, read_flow
from segue.flow.starting import Beginning, begin_from, trigger_for


class Fixed:
    """The outside values of these tests."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def uuid(self) -> str:
        return "00000000-0000-4000-8000-000000000000"

    def random(self) -> float:
        return 0.5


def flow_with(trigger: str) -> Flow:
    result = read_flow(
        f"flow: f\ntrigger: {trigger}\nenv: {{floor: 10}}\n"
        "inputs: {amount: number, who: string?}\nsteps: [a: {log: hi}]\n"
    )
    assert result.flow is not None, result.problems
    assert [one for one in result.problems if one.severity == "error"] == []
    return result.flow


def begun(trigger: str, event: dict[str, Any]) -> Beginning:
    flow = flow_with(trigger)
    return begin_from(flow, trigger_for(flow, event), event, Fixed())


@pytest.mark.req("FLOW-9.trigger")
def test_fields_of_the_body_become_the_inputs_of_the_same_name() -> None:
    found = begun("webhook.received", {"body": {"amount": 3, "who": "Ada", "other": 1}})

    assert found == Beginning(begins=True, inputs={"amount": 3, "who": "Ada"})


def test_a_map_of_inputs_is_computed_from_the_event_and_nothing_else_is_taken() -> None:
    trigger = "{webhook: true, inputs: {amount: '{{ $data.total * 2 }}', who: $trigger.headers.user}}"
    found = begun(trigger, {"kind": "webhook", "body": {"total": 4, "amount": 99}, "headers": {"user": "Ada"}})

    assert found.inputs == {"amount": 8, "who": "Ada"}


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("$data.amount > 10", None),
        ("$data.amount > $env.floor * 2", "the trigger's `when` does not hold: $data.amount > $env.floor * 2"),
        ("$data.paid", "the trigger's `when` does not hold (`$data.paid` was null): $data.paid"),
    ],
)
def test_without_its_condition_no_run_begins_and_a_sentence_says_why(when: str, reason: str | None) -> None:
    found = begun(f"{{webhook: true, when: {when}}}", {"body": {"amount": 11}})

    assert found.begins is (reason is None)
    assert found.reason == (reason or f"the trigger's `when` holds: {when}")
    assert found.inputs == ({"amount": 11} if reason is None else {})


@pytest.mark.parametrize(
    ("trigger", "place"),
    [
        ("{webhook: true, when: $data.amount > 1}", "when"),
        ("{webhook: true, inputs: {amount: '{{ $data.amount + 1 }}'}}", "inputs.amount"),
        ("{webhook: true, inputs: {amount: $steps.a}}", "inputs.amount"),
        ("{webhook: true, inputs: $data.amount}", "inputs"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_its_place(trigger: str, place: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        begun(trigger, {"body": {"amount": "many"}})

    assert refused.value.details[0][0] == place


def test_the_trigger_of_an_event_is_the_first_of_its_kind_and_name() -> None:
    flow = flow_with("[{cron: '0 9 * * *'}, {webhook: true, name: one}, {webhook: true, name: two}]")

    assert trigger_for(flow, {"kind": "webhook"}) is flow.triggers[1]
    assert trigger_for(flow, {"kind": "webhook", "name": "two"}) is flow.triggers[2]
    assert trigger_for(flow, {"body": {}}) is flow.triggers[0]
    assert trigger_for(flow, {"kind": "event"}) is None
