"""The laws of canvas and text (section 6 of the language), over generated flows. `HYPOTHESIS_PROFILE=long` runs
thousands of each; a failing example is two numbers.
"""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import IS_LONG, examples
from tests.unit.flow_edit.edits import Draw, Expected, hunks, inside
from tests.unit.flow_edit.strategies import plain_model, readable_texts

from segue.errors import RequestError
from segue.flow import read_flow
from segue.flow.edit import (
    AddStep,
    MoveStep,
    RemoveStep,
    RenameStep,
    SetField,
    SetPosition,
    apply_edits,
    graph_of,
    update_text,
    write_graph,
)
from segue.flow.edit.rewrite import apply_patches_in_order

LAW = settings(
    max_examples=examples(150),
    derandomize=not IS_LONG,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SEEDS = st.integers(0, 2**32 - 1)
MARK = "\ufeff"


@pytest.mark.req("FLOW-4.round-trip", "BAR-6.untouched")
@LAW
@given(readable_texts())
def test_text_that_is_read_and_saved_keeps_every_byte(text: str) -> None:
    assert apply_edits(text, []).text == text
    result = update_text(text, graph_of(read_flow(text)))
    assert result.text == text
    assert result.patches == ()


@pytest.mark.req("FLOW-4.same-model", "UI-3.sync")
@LAW
@given(readable_texts())
def test_text_to_graph_to_text_keeps_the_model(text: str) -> None:
    read = read_flow(text)
    again = read_flow(write_graph(graph_of(read)))
    assert not again.has_errors, [str(problem) for problem in again.problems]
    assert plain_model(again) == plain_model(read)


@pytest.mark.req("FLOW-2.round-trip", "FLOW-4.same-graph")
@LAW
@given(readable_texts(), SEEDS)
def test_graph_to_model_to_graph_keeps_nodes_edges_and_positions(text: str, seed: int) -> None:
    rng = random.Random(seed)
    graph = graph_of(read_flow(text))
    nodes = tuple(
        msgspec.structs.replace(node, position={"x": rng.randrange(900), "y": -1.5}) if rng.random() < 0.5 else node
        for node in graph.nodes
    )
    placed = msgspec.structs.replace(graph, nodes=nodes)
    assert graph_of(read_flow(write_graph(placed))) == placed


@pytest.mark.req("FLOW-4.one-edit", "BAR-6.one-hunk")
@LAW
@given(readable_texts(), SEEDS)
def test_one_edit_changes_what_it_says_in_one_hunk_and_no_other_byte(text: str, seed: int) -> None:
    before = graph_of(read_flow(text))
    edit, expected = Draw(random.Random(seed), before).edit("fupsta")
    result = apply_edits(text, [edit])
    assert expected is not None
    found = Expected(graph_of(result.read))
    assert found == expected, expected.difference(found)
    mark = MARK if text.startswith(MARK) else ""
    assert mark + apply_patches_in_order(text.removeprefix(MARK), result.patches) == result.text
    assert hunks(text, result.text) <= 1


@pytest.mark.req("FLOW-4.one-edit")
@LAW
@given(readable_texts(), SEEDS)
def test_steps_are_removed_moved_and_renamed_with_all_that_is_in_them(text: str, seed: int) -> None:
    before = graph_of(read_flow(text))
    edit, _ = Draw(random.Random(seed), before).edit("mrn")
    try:
        result = apply_edits(text, [edit])
    except RequestError:
        # Names that several steps share cannot be told apart; a step alone in its block cannot pass itself.
        if isinstance(edit, RemoveStep):
            raise
        return
    after = graph_of(result.read)
    was = {node.id for node in before.nodes if not node.type.startswith("flow.")}
    names = sorted(node.name or node.id for node in after.nodes if not node.type.startswith("flow."))
    if isinstance(edit, RemoveStep):
        assert {node.id for node in after.nodes} - {"flow.finally", "flow.on_error"} == was - inside(before, edit.step)
        assert len(result.text) <= len(text) + 120
    elif isinstance(edit, MoveStep):
        assert names == sorted(node.name or node.id for node in before.nodes if not node.type.startswith("flow."))
    elif isinstance(edit, RenameStep):
        assert edit.to in names
        assert len(names) == len(was)


@pytest.mark.req("FLOW-4.many-edits", "BAR-6.many-edits")
@settings(LAW, max_examples=examples(30))
@given(readable_texts(4), SEEDS)
def test_any_sequence_of_edits_gives_what_its_model_says(text: str, seed: int) -> None:
    rng = random.Random(seed)
    graph = graph_of(read_flow(text))
    edits = []
    so_far = text
    for _ in range(8):
        edit, expected = Draw(rng, graph).edit("fupsta")
        edits.append(edit)
        result = apply_edits(so_far, [edit])
        assert expected is not None
        graph = graph_of(result.read)
        found = Expected(graph)
        assert found == expected, expected.difference(found)
        so_far = result.text
    at_once = apply_edits(text, edits)
    assert at_once.text == so_far
    mark = MARK if text.startswith(MARK) else ""
    assert mark + apply_patches_in_order(text.removeprefix(MARK), at_once.patches) == so_far


@pytest.mark.req("FLOW-4.graph-edit", "UI-3.sync")
@LAW
@given(readable_texts(), SEEDS)
def test_a_changed_graph_changes_the_text_as_the_edit_does(text: str, seed: int) -> None:
    before = graph_of(read_flow(text))
    edit, _ = Draw(random.Random(seed), before).edit("fupt")
    wanted = graph_of(apply_edits(text, [edit]).read)
    merged = update_text(text, wanted)
    assert graph_of(merged.read) == wanted
    assert hunks(text, merged.text) <= 1


@pytest.mark.req("FLOW-4.comments")
@LAW
@given(readable_texts(), SEEDS)
def test_comments_outlive_edits_of_other_lines(text: str, seed: int) -> None:
    edit, _ = Draw(random.Random(seed), graph_of(read_flow(text))).edit("pta")
    assert isinstance(edit, (SetPosition, AddStep, SetField))
    result = apply_edits(text, [edit])
    for number in range(1, 40):
        for word in (f"# note {number} ", f"# about {number}"):
            assert text.count(word) == result.text.count(word)
