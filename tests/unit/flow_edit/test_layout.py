"""What `layout` says of steps goes with them: positions, and the ids of steps that have no name."""

from __future__ import annotations

import difflib
import random

import pytest
from hypothesis import assume, given
from tests.unit.flow.kit import one
from tests.unit.flow_edit.edits import Draw, inside
from tests.unit.flow_edit.strategies import readable_texts
from tests.unit.flow_edit.test_laws import LAW, SEEDS

from segue.errors import RequestError
from segue.flow import ReadResult, read_flow
from segue.flow.edit import (
    AddStep,
    After,
    Before,
    ChangeVerb,
    Into,
    MoveStep,
    RemoveStep,
    RenameStep,
    SetField,
    SetPosition,
    UnsetFlow,
    apply_edits,
    graph_of,
    update_text,
    write_graph,
)
from segue.flow.edit.outline import Outline

TWO = "flow: f\nsteps:\n  - parallel: [a, b]\n  - parallel: [c, d]\n  - z: {log: $parallel_2.c, needs: parallel_1}\n"
PLACED = (
    "flow: f\nsteps:\n  - a: {log: x}\n  - b:\n      if: 1 < 2\n      then:\n        - c: {log: x}\n  - d: {log: x}\n"
    "layout:\n  positions:\n    a: {x: 1, y: 1}\n    b: {x: 2, y: 2}\n    c: {x: 3, y: 3}\n    d: {x: 4, y: 4}\n"
)


def changed(text: str, new: str) -> list[str]:
    found = difflib.unified_diff(text.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in found if not line.startswith(("---", "+++", "@@"))]


def ids_by_place(read: ReadResult) -> dict[int, str]:
    """The ids of all steps without a name, by where in the text they stand."""
    assert read.flow is not None
    assert read.document is not None
    sites = Outline(read.document, read.flow).sites()
    return {site.item.start: site.id for site in sites if site.step.path in read.document.numbered}


@pytest.mark.req("FLOW-4.anonymous")
def test_the_second_of_two_blocks_keeps_its_id_when_the_first_goes() -> None:
    gone = apply_edits(TWO, [RemoveStep("parallel_1")])
    assert changed(TWO, gone.text) == [
        "-  - parallel: [a, b]", "-  - z: {log: $parallel_2.c, needs: parallel_1}",
        "+  - z: {log: $parallel_2.c, needs: []}", "+layout:", "+  ids: {parallel_1: parallel_2}",
    ]  # fmt: skip
    assert gone.read.flow is not None
    assert not gone.read.has_errors
    assert [step.id for step in gone.read.flow.root.steps] == ["parallel_2", "z"]
    assert [step.id for step in (read_flow(gone.text).flow or gone.read.flow).root.steps] == ["parallel_2", "z"]


@pytest.mark.req("FLOW-4.anonymous")
def test_an_entry_goes_when_it_is_no_longer_needed() -> None:
    text = TWO.replace(", needs: parallel_1", "").replace("$parallel_2.c", "x")
    gone = apply_edits(text, [RemoveStep("parallel_1")]).text
    assert apply_edits(gone, [RemoveStep("parallel_2")]).text == "flow: f\nsteps:\n  - z: {log: x}\n"
    back = apply_edits(gone, [AddStep({"parallel": ["x"]}, Before("parallel_2")), RenameStep("parallel_2", "own")])
    assert "layout" not in back.text


@pytest.mark.req("FLOW-4.anonymous")
def test_blocks_that_change_places_keep_their_ids() -> None:
    moved = apply_edits(TWO, [MoveStep("parallel_2", Before("parallel_1"))])
    assert moved.read.flow is not None
    assert [step.id for step in moved.read.flow.root.steps] == ["parallel_2", "parallel_1", "z"]
    assert "ids: {parallel_1: parallel_2, parallel_2: parallel_1}" in moved.text
    again = apply_edits(moved.text, [MoveStep("parallel_1", Before("parallel_2"))])
    assert again.text == TWO


@pytest.mark.req("FLOW-4.anonymous")
def test_a_block_that_moves_into_a_branch_made_for_it_keeps_its_id() -> None:
    text = "flow: f\nsteps:\n  - parallel: [a, b]\n  - parallel: [c, d]\n  - q: {if: 1 < 2, then: [e]}\n"
    moved = apply_edits(text, [MoveStep("parallel_1", Into("q", "else"))])
    assert moved.read.flow is not None
    assert [step.id for step in moved.read.flow.root.steps] == ["parallel_2", "q"]
    assert [step.id for step in moved.read.flow.root.steps[1].blocks[1].steps] == ["parallel_1"]


@pytest.mark.req("FLOW-4.anonymous")
def test_steps_that_a_definition_brings_in_keep_their_ids() -> None:
    text = "flow: f\ndefinitions:\n  pair: [{log: 1}, {log: 2}]\nsteps:\n  - log: 0\n  - one: {use: pair}\n"
    before = read_flow(text).flow
    after = apply_edits(text, [RemoveStep("log_1")]).read.flow
    assert before is not None
    assert after is not None
    assert after.root.steps[0].blocks[0].steps[0].id == before.root.steps[1].blocks[0].steps[0].id == "log_2"


@pytest.mark.req("FLOW-4.anonymous")
def test_a_change_of_verb_or_a_value_that_looks_like_a_name_renumbers_nothing() -> None:
    turned = apply_edits(TWO, [ChangeVerb("parallel_1", "race", ["a", "b"])])
    assert turned.read.flow is not None
    assert [step.id for step in turned.read.flow.root.steps][1] == "parallel_2"
    named = apply_edits(TWO, [SetField("z", ("x-note",), "parallel_1")])
    assert named.read.flow is not None
    assert [step.id for step in named.read.flow.root.steps] == ["parallel_1", "parallel_2", "z"]
    assert [step.id for step in read_flow(named.text).flow.root.steps][:2] == ["parallel_1", "parallel_2"]  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.req("FLOW-4.anonymous")
def test_a_layout_that_is_taken_away_leaves_the_ids() -> None:
    gone = apply_edits(TWO, [SetPosition("z", 1, 2), RemoveStep("parallel_1")])
    bare = apply_edits(gone.text, [UnsetFlow(("layout",))])
    assert bare.read.flow is not None
    assert bare.read.flow.root.steps[0].id == "parallel_2"
    assert "positions" not in bare.text


@pytest.mark.req("FLOW-4.anonymous", "FLOW-2.needs")
def test_steps_may_wait_for_a_block_without_a_name() -> None:
    read = read_flow(TWO)
    assert read.flow is not None
    assert not read.has_errors
    assert {(edge.source, edge.target) for edge in read.flow.root.edges} == {
        ("parallel_1", "parallel_2"),
        ("parallel_1", "z"),
    }


@pytest.mark.req("FLOW-4.anonymous", "UI-3.sync")
def test_a_graph_says_the_ids_itself_and_saves_back_without_a_change() -> None:
    text = apply_edits(TWO, [RemoveStep("parallel_1")]).text
    graph = graph_of(read_flow(text))
    assert "layout" not in graph.flow
    assert update_text(text, graph).text == text
    assert graph_of(read_flow(write_graph(graph))) == graph


@pytest.mark.req("FLOW-5.layout")
@pytest.mark.parametrize(
    ("ids", "code", "said"),
    [
        ("{parallel_2: parallel_5}", "FLW025", 'did you mean "parallel_1"?'),
        ("{nothing_7: nothing_8}", "FLW025", "remove the entry"),
        ("{parallel_1: race_2}", "FLW022", "write it like parallel_1"),
        ("{parallel_1: [x]}", "FLW022", "write it like parallel_1"),
        ("{parallel_1: log_1}", "FLW022", "write it like parallel_1"),
        ("{log_1: log_7, log_2: log_7}", "FLW024", "choose a number that is free"),
        ("[parallel_1]", "FLW015", None),
    ],
)
def test_entries_that_name_nothing_are_mistakes(ids: str, code: str, said: str | None) -> None:
    text = f"flow: f\nsteps:\n  - parallel: [{{log: 1}}, {{log: 2}}]\nlayout: {{ids: {ids}}}\n"
    problem = one(text, code)
    assert problem.suggestion == said
    assert problem.path.startswith("layout.ids")
    assert problem.span is not None


@pytest.mark.req("FLOW-4.layout")
def test_a_step_that_goes_takes_its_position_along() -> None:
    assert changed(PLACED, apply_edits(PLACED, [RemoveStep("a")]).text) == ["-  - a: {log: x}", "-    a: {x: 1, y: 1}"]
    text = apply_edits(PLACED, [RemoveStep("b")]).text
    assert "b:" not in text
    assert "c:" not in text
    all_but_one = apply_edits(text, [RemoveStep("a")])
    assert "layout:\n  positions:\n    d: {x: 4, y: 4}\n" in all_but_one.text
    small = "steps: [a, b]\nlayout: {positions: {a: {x: 1, y: 2}}}\n"
    assert apply_edits(small, [RemoveStep("a")]).text == "steps: [b]\n"
    kept = "steps: [a, b]\nlayout: {positions: {a: {x: 1, y: 2}}, viewport: {zoom: 2}}\n"
    assert apply_edits(kept, [RemoveStep("a")]).text == "steps: [b]\nlayout: {viewport: {zoom: 2}}\n"


@pytest.mark.req("FLOW-4.layout")
def test_a_renamed_step_keeps_its_position_and_those_of_what_is_named_after_it() -> None:
    text = (
        "steps:\n  - notify\n  - charge: {call: pay, on_error: [notify]}\nlayout:\n  positions:\n"
        "    charge: {x: 1, y: 2}\n    charge.error.notify: {x: 3, y: 4}\n"
    )
    new = apply_edits(text, [RenameStep("charge", "bill")]).text
    assert "    bill: {x: 1, y: 2}\n    bill.error.notify: {x: 3, y: 4}\n" in new
    graph = graph_of(read_flow(new))
    assert {node.id for node in graph.nodes if node.position is not None} == {"bill", "bill.error.notify"}


@pytest.mark.req("FLOW-4.layout", "FLOW-4.anonymous")
@LAW
@given(readable_texts(), SEEDS)
def test_ids_and_positions_stay_whatever_comes_and_goes(text: str, seed: int) -> None:
    read = read_flow(text)
    before = graph_of(read)
    edit, _ = Draw(random.Random(seed), before).edit("mmrrnafa")
    assume(not isinstance(edit, SetPosition))
    try:
        result = apply_edits(text, [edit])
    except RequestError:
        return
    # A flow whose last step has moved into its `finally` has no steps; what `layout` says is another matter.
    assert all("layout" not in problem.path for problem in result.read.problems)
    after = {node.id: node for node in graph_of(result.read).nodes}
    gone = inside(before, edit.step) if isinstance(edit, RemoveStep) else set[str]()
    for node in before.nodes:
        is_box = node.type.startswith("flow.") or node.name is not None
        if node.id in gone or is_box or (isinstance(edit, RenameStep) and node.id == edit.step):
            continue
        assert node.id in after
        assert after[node.id].position == node.position
    if isinstance(edit, RenameStep):
        assert after[edit.to].position == next(node.position for node in before.nodes if node.id == edit.step)
    written = read_flow(result.text)
    assert written.flow == result.read.flow
    positions = written.flow.layout.get("positions") if written.flow is not None else None
    assert not isinstance(positions, dict) or not gone & set(positions)
    if isinstance(edit, (RenameStep, MoveStep)):
        known = set(ids_by_place(read).values()) - {edit.step}
        assert known <= set(ids_by_place(written).values())


@pytest.mark.req("FLOW-4.anonymous", "FLOW-4.many-edits")
def test_thousands_of_blocks_come_and_go_and_none_is_renumbered() -> None:
    rng = random.Random(7)
    text = "flow: f\nsteps:\n" + "".join(f"  - {rng.choice(('log', 'wait'))}: 1s\n" for _ in range(20))
    read = read_flow(text)
    for number in range(150):
        assert read.flow is not None
        ids = [step.id for step in read.flow.root.steps]
        one_id = rng.choice(ids)
        kind = rng.choice("rma")
        if kind == "r" and len(ids) > 5:
            made, expected = RemoveStep(one_id), [id for id in ids if id != one_id]
        elif kind == "m":
            at = rng.choice([id for id in ids if id != one_id])
            made = MoveStep(one_id, After(at))
            expected = [id for id in ids if id != one_id]
            expected.insert(expected.index(at) + 1, one_id)
        else:
            made = AddStep({f"own{number}": {"log": "x"}}, After(one_id))
            expected = [*ids]
            expected.insert(ids.index(one_id) + 1, f"own{number}")
        read = apply_edits(read, [made]).read
        assert read.flow is not None
        assert not read.has_errors
        assert [step.id for step in read.flow.root.steps] == expected
