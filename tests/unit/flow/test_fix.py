"""`segue fix` applies the patches that problems carry, and leaves every other byte alone."""

from __future__ import annotations

import pytest
from tests.unit.flow.kit import codes_of, problems_of

from segue.flow import Patch, Problem, apply_patches
from segue.flow.durations import format_duration, parse_duration
from segue.flow.nearest import nearest

BROKEN = """\
# comment stays
flow: x
stepss:      # odd   spacing
  - a: {call: iam.verify_tokn, params: {token: x}, retyr: 3, timeout: 30}
  - c: {log: {{ nothing }}, disabled: yes}
  - d: {log: $a.valid}
  - e: {log: "{{ a.usr }}", when: $aa.x}
"""


@pytest.mark.req("FLOW-5.fix")
def test_patches_mend_what_they_can_and_touch_nothing_else() -> None:
    text = BROKEN.replace("stepss", "steps")
    # Only once the action is known can it be told that its result has no field `usr`.
    once = apply_patches(text, problems_of(text))
    twice = apply_patches(once, problems_of(once))
    assert (
        twice
        == """\
# comment stays
flow: x
steps:      # odd   spacing
  - a: {call: iam.verify_token, params: {token: x}, retry: 3, timeout: 30s}
  - c: {log: '{{ nothing }}', disabled: true}
  - d: {log: $a.valid}
  - e: {log: "{{ a.user }}", when: $a.x}
"""
    )
    assert codes_of(twice) == {"FLW031", "FLW034"}


@pytest.mark.req("FLOW-5.fix")
def test_a_misspelt_top_level_key_is_mended_too() -> None:
    fixed = apply_patches("flow: x\nstpes: [{log: x}]\n", problems_of("flow: x\nstpes: [{log: x}]\n"))
    assert fixed == "flow: x\nsteps: [{log: x}]\n"


def test_overlapping_patches_are_not_both_applied() -> None:
    problems = [
        Problem(code="FLW010", message="m", patch=Patch(start=0, end=3, text="X")),
        Problem(code="FLW010", message="m", patch=Patch(start=2, end=5, text="Y")),
        Problem(code="FLW010", message="m", patch=Patch(start=0, end=3, text="X")),
        Problem(code="FLW010", message="m", patch=Patch(start=90, end=95, text="Z")),
        Problem(code="FLW010", message="m"),
    ]
    assert apply_patches("abcdef", problems) == "Xdef"


def test_a_byte_order_mark_does_not_shift_patches() -> None:
    text = "﻿flow: x\nsteps: [{a: {log: x, timeout: 30}}]"
    assert apply_patches(text, problems_of(text)) == "﻿flow: x\nsteps: [{a: {log: x, timeout: 30s}}]"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604800),
        ("1w", 604800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("5 min", 300),
        ("PT30S", 30),
        ("P1DT2H", 93600),
        ("P2W", 1209600),
        ("0s", 0),
        ("30", None),
        ("soon", None),
        ("", None),
        ("P", None),
        ("PT", None),
        ("-5s", None),
        ("5x", None),
        ("1e3s", None),
    ],
)
def test_durations_are_read(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "30s"), (60, "1m"), (7200, "2h"), (86400, "1d"), (0.5, "500ms"), (0, "0s"), (90, "90s")]
)
def test_durations_are_written_short_and_read_back(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.req("FLOW-5.suggestion")
@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("retyr", ["retry", "when"], "retry"), ("ia", ["iam", "stripe"], "iam"), ("Retry", ["retry"], "retry"),
        ("on-error", ["on_error"], "on_error"), ("xyz", ["retry"], None), ("a", ["b", "c"], "b"), ("", ["a"], "a"),
        ("verify_tokn", ["verify_token", "revoke"], "verify_token"), ("timeouts" * 50, ["timeout"], None),
    ],
)  # fmt: skip
def test_the_nearest_word_is_near(word: str, known: list[str], found: str | None) -> None:
    assert nearest(word, known) == found
