"""What is different between two flows: which steps came, went, changed, moved."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.flow import read_flow
from segue.flows.differences import FlowDiff, flow_diff, text_diff


def diff(old: str, new: str) -> FlowDiff:
    return flow_diff((old, read_flow(old).flow), (new, read_flow(new).flow), ("old", "new"))


def steps(*names: str) -> str:
    return "flow: f\nsteps:\n" + "".join(f"  - {name}: {{log: {name}}}\n" for name in names)


@pytest.mark.req("FLOW-7.diff")
def test_a_step_in_between_moves_no_other() -> None:
    found = diff(steps("a", "b", "c"), steps("a", "x", "b", "c"))
    assert (found.added, found.removed, found.moved, found.changed, found.rewired) == (["x"], [], [], [], [])


def test_a_step_that_changes_its_place_is_moved_and_the_others_are_not() -> None:
    found = diff(steps("a", "b", "c", "d"), steps("b", "c", "a", "d"))
    assert (found.moved, found.added, found.removed) == (["a"], [], [])


def test_a_step_that_goes_into_a_block_is_moved() -> None:
    new = "flow: f\nsteps:\n  - a: {log: a}\n  - if: inputs.x\n    then:\n      - b: {log: b}\n"
    found = diff(steps("a", "b"), new)
    assert found.moved == ["b"]
    assert len(found.added) == 1


def test_keys_of_a_step_and_of_the_flow_are_named() -> None:
    old = "flow: f\ninputs: {n: number}\nsteps:\n  - a: {http: {url: https://a.example}, retry: 2}\n"
    new = "flow: f\ninputs: {n: integer}\nsteps:\n  - a: {http: {url: https://b.example}, retry: 3, timeout: 1s}\n"
    found = diff(old, new)
    assert found.flow == ["inputs"]
    assert [(one.step, sorted(one.fields)) for one in found.changed] == [("a", ["params", "retry", "timeout"])]


def test_branches_count_as_their_step_and_what_is_in_them_does_not() -> None:
    old = "flow: f\nsteps:\n  - check: {if: inputs.x, then: [{a: {log: a}}]}\n"
    inside = diff(old, old.replace("log: a", "log: b"))
    assert [(one.step, one.fields) for one in inside.changed] == [("a", ["params"])]
    condition = diff(old, old.replace("inputs.x", "inputs.y"))
    assert [(one.step, one.fields) for one in condition.changed] == [("check", ["blocks"])]


def test_other_edges_between_the_same_steps_are_told() -> None:
    old = "flow: f\nsteps:\n  - a: {log: a}\n  - b: {log: b, needs: []}\n  - c: {log: c, needs: [a]}\n"
    found = diff(old, old.replace("needs: [a]", "needs: [a, b]"))
    assert [(one.step, one.before, one.after) for one in found.rewired] == [("c", ["a"], ["a", "b"])]


def test_spelling_order_of_keys_and_comments_are_no_difference() -> None:
    old = steps("a")
    found = diff(old, "# note\nsteps: [{a: {log: 'a'}}]\nflow: f\n")
    assert (found.is_same, bool(found.text)) == (True, True)
    assert diff(old, old) == FlowDiff(text="", is_same=True)


def test_a_text_that_cannot_be_read_is_compared_as_text() -> None:
    found = diff(steps("a"), "flow: [")
    assert (found.is_same, "+flow: [" in found.text) == (False, True)


@given(st.lists(st.sampled_from("abcdefg"), unique=True), st.lists(st.sampled_from("abcdefg"), unique=True))
def test_what_is_told_leads_from_one_order_to_the_other(old: list[str], new: list[str]) -> None:
    found = diff(steps(*old), steps(*new))
    assert set(found.added) == set(new) - set(old)
    assert set(found.removed) == set(old) - set(new)
    # Those that stayed and are not told as moved stand in the same order in both.
    still = [name for name in old if name in new and name not in found.moved]
    assert [name for name in new if name in still] == still


@given(st.text(alphabet="ab\n\x0b ", max_size=30), st.text(alphabet="ab\n\x0b ", max_size=30))
def test_a_text_diff_is_empty_only_for_equal_texts_and_holds_every_line(old: str, new: str) -> None:
    found = text_diff(old, new, ("old", "new"))
    assert (found == "") == (old == new)
    if found:
        lines = found.replace("\\ No newline at end of file\n", "").split("\n")
        added = [line[1:] for line in lines[2:] if line.startswith("+")]
        expected = [line[2:] for line in difflib.ndiff(old.split("\n"), new.split("\n")) if line.startswith("+ ")]
        assert set(expected) - {""} <= {*added, ""} | set(old.split("\n"))
