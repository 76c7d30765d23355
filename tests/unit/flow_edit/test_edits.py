"""Single edits, looked at closely: which lines change, what is refused, in every form a file can have."""

from __future__ import annotations

import difflib
from textwrap import dedent

import pytest

from segue.errors import RequestError
from segue.flow import read_flow
from segue.flow.edit import (
    AddStep,
    After,
    Before,
    ChangeVerb,
    Connect,
    Disconnect,
    Edit,
    Into,
    MoveStep,
    RemoveStep,
    RenameStep,
    SetField,
    SetFlow,
    SetPosition,
    UnsetField,
    UnsetFlow,
    apply_edits,
)

FLOW = dedent("""\
    flow: shop  # the shop
    steps:
      # first of all
      - look_up: {call: shop.look_up, params: {order: 'A 1', total: 3}}  # cheap
      - charge:
          call: shop.charge   # the card
          params:
            amount: $look_up.total
            note: "{{ look_up.name }} and steps.look_up"
          when: look_up.total > 3 and steps.look_up.ok
          on_error: [notify]
      # sends
      - parallel: [mail, text]
      - wait_a_bit: {wait: 3h}
      - done
    outputs: {name: $look_up.name}
    """)

GRAPH = """\
{
  "nodes": [
    {"id": "a", "type": "start", "position": {"x": 0, "y": 0}},
    {"id": "b", "type": "shop.charge", "position": {"x": 9, "y": 0}, "data": {"amount": "$a.total"}},
    {"id": "c", "type": "shop.mail", "data": {"to": "$b.mail"}}
  ],
  "edges": [
    {"id": "e1", "source": "a", "target": "b"},
    {"id": "e2", "source": "b", "target": "c"}
  ]
}
"""

TASKS = dedent("""\
    name: jobs
    tasks:
      - {id: t1, agent_type: mail, action: send, parameters: {to: me}}
      - {id: t2, agent_type: mail, action: send, dependencies: [t1]}
      - {id: t3, agent_type: mail, action: send, dependencies: [t2]}
    """)


def changed(text: str, *edits: Edit) -> list[str]:
    """The lines that went and came, as `diff` shows them."""
    new = apply_edits(text, edits).text
    lines = difflib.unified_diff(text.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.req("FLOW-4.one-edit", "BAR-6.one-hunk")
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (SetField("look_up", ("params", "order"), "it's"), ["order: 'it''s'"]),
        (SetField("look_up", ("params", "total"), "4"), ["total: '4'"]),
        (SetField("look_up", ("retry",), 3), ["total: 3}, retry: 3}  # cheap"]),
        (SetField("charge", ("call",), "shop.pay"), ["call: shop.pay   # the card"]),
        (ChangeVerb("wait_a_bit", "log", "waited"), ["- wait_a_bit: {log: waited}"]),
        (SetField("done", ("params", "x"), 1), ["- done: {params: {x: 1}}"]),
        (SetFlow(("flow",), "store"), ["flow: store  # the shop"]),
    ],
)
def test_a_value_changes_in_its_line_only(edit: Edit, expected: list[str]) -> None:
    lines = changed(FLOW, edit)
    assert len([line for line in lines if line.startswith("-")]) <= 1
    came = [line for line in lines if line.startswith("+")]
    assert all(want in "\n".join(came) for want in expected), came


@pytest.mark.req("FLOW-4.one-edit")
def test_new_keys_and_steps_are_lines_in_the_style_around_them() -> None:
    assert changed(FLOW, SetField("charge", ("retry",), {"attempts": 3})) == ["+      retry: {attempts: 3}"]
    assert changed(FLOW, SetField("charge", ("params", "text"), "one\ntwo\n")) == [
        "+        text: |", "+          one", "+          two",
    ]  # fmt: skip
    assert changed(FLOW, AddStep({"z": {"log": "x"}}, After("look_up"))) == ["+  - z: {log: x}"]
    assert changed(FLOW, AddStep("z", Before("look_up"))) == ["+  - z"]
    assert changed(FLOW, AddStep("z", Into())) == ["+  - z"]
    assert changed(FLOW, SetFlow(("title",), "Shop")) == ["+title: Shop"]
    assert changed(FLOW, UnsetField("charge", ("when",)))[0].startswith("-      when:")
    assert changed(FLOW, UnsetFlow(("outputs",))) == ["-outputs: {name: $look_up.name}"]


@pytest.mark.req("FLOW-4.one-edit")
def test_windows_line_ends_and_a_missing_last_one_are_kept() -> None:
    text = FLOW.replace("\n", "\r\n").removesuffix("\r\n")
    new = apply_edits(text, [AddStep({"z": {"log": "x"}}, After("charge")), SetPosition("charge", 1, 2)]).text
    assert new.count("\n") == new.count("\r\n")
    assert not new.endswith("\n")


@pytest.mark.req("FLOW-4.layout", "UI-2.positions")
def test_moving_a_box_touches_layout_only_and_changes_nothing_that_runs() -> None:
    first = apply_edits(FLOW, [SetPosition("charge", 10, 20), SetPosition("parallel_1", 5, 5)])
    assert first.text.startswith(FLOW)
    assert first.text.removeprefix(FLOW) == (
        "layout:\n  positions:\n    charge: {x: 10, y: 20}\n    parallel_1: {x: 5, y: 5}\n"
    )
    assert changed(first.text, SetPosition("charge", 11, 20)) == [
        "-    charge: {x: 10, y: 20}", "+    charge: {x: 11, y: 20}",
    ]  # fmt: skip
    assert first.read.flow is not None
    before = read_flow(FLOW).flow
    assert before is not None
    assert [step.id for step in first.read.flow.root.steps] == [step.id for step in before.root.steps]


@pytest.mark.req("FLOW-4.rename")
def test_renaming_follows_every_reference() -> None:
    new = apply_edits(FLOW, [RenameStep("look_up", "fetch")]).text
    assert "- fetch: {call: shop.look_up" in new
    assert "amount: $fetch.total" in new
    assert '"{{ fetch.name }} and steps.look_up"' in new
    assert "when: fetch.total > 3 and steps.fetch.ok" in new
    assert "outputs: {name: $fetch.name}" in new


@pytest.mark.req("FLOW-4.rename")
def test_renaming_a_step_that_is_its_own_use_keeps_the_use() -> None:
    new = apply_edits(FLOW, [RenameStep("done", "end"), RenameStep("parallel_1", "send")]).text
    assert "- end: done" in new
    flow = read_flow(new).flow
    assert flow is not None
    assert [(step.id, step.use) for step in flow.root.steps][-1] == ("end", "done")
    assert [step.id for step in flow.root.steps][2] == "send"


@pytest.mark.req("FLOW-4.move")
def test_a_moved_step_takes_its_text_and_the_comment_above_it_along() -> None:
    moved = apply_edits(FLOW, [MoveStep("parallel_1", After("look_up"))]).text
    assert "# cheap\n  # sends\n  - parallel: [mail, text]\n  - charge:\n" in moved
    assert sorted(moved.splitlines()) == sorted(FLOW.splitlines())
    inner = apply_edits(FLOW, [MoveStep("wait_a_bit", Into("parallel_1", "branch:1"))])
    assert "parallel: [[mail, {wait_a_bit: {wait: 3h}}], text]" in inner.text


@pytest.mark.req("FLOW-4.anonymous")
def test_blocks_without_a_name_keep_their_ids_when_others_come_and_go() -> None:
    text = "flow: f\nsteps:\n  - parallel: [a, b]\n  - parallel: [c, d]\n  - log: $parallel_2.c\n"
    gone = apply_edits(text, [RemoveStep("parallel_1")])
    assert gone.read.flow is not None
    assert gone.read.flow.root.steps[0].id == "parallel_2"
    added = apply_edits(text, [AddStep({"parallel": ["x", "y"]}, Before("parallel_1"))])
    assert added.read.flow is not None
    assert [step.id for step in added.read.flow.root.steps][:3] == ["parallel_3", "parallel_1", "parallel_2"]


@pytest.mark.req("FLOW-4.branches")
def test_branches_are_made_filled_and_taken_away() -> None:
    text = "flow: f\nsteps:\n  - choose:\n      if: 1 < 2\n      then: [a]\n"
    with_else = apply_edits(text, [AddStep("b", Into("choose", "else")), AddStep("c", Into("choose", "then"))])
    assert with_else.text == "flow: f\nsteps:\n  - choose:\n      if: 1 < 2\n      then: [a, c]\n      else: [b]\n"
    assert apply_edits(with_else.text, [RemoveStep("b"), RemoveStep("c")]).text == text
    caught = apply_edits(text, [AddStep("n", Into("a", "error"))])
    assert "then: [{a: {on_error: [n]}}]" in caught.text


@pytest.mark.req("FLOW-4.connect", "UI-2.connect")
def test_arrows_are_needs_where_order_does_not_say_it() -> None:
    assert changed(FLOW, Connect("look_up", "parallel_1")) == ["+    needs: [charge, look_up]"]
    assert changed(FLOW, Connect("look_up", "charge")) == []
    apart = apply_edits(FLOW, [Disconnect("charge", "parallel_1")])
    assert changed(FLOW, Disconnect("charge", "parallel_1")) == ["+    needs: []"]
    assert apply_edits(apart.text, [Connect("charge", "parallel_1")]).text == FLOW
    with pytest.raises(RequestError, match="circle"):
        apply_edits(FLOW, [Connect("done", "look_up")])


@pytest.mark.req("FLOW-4.json", "FLOW-2.edits")
def test_graph_files_are_edited_line_by_line() -> None:
    assert changed(GRAPH, SetPosition("b", 10, 0)) == [
        '-    {"id": "b", "type": "shop.charge", "position": {"x": 9, "y": 0}, "data": {"amount": "$a.total"}},',
        '+    {"id": "b", "type": "shop.charge", "position": {"x": 10, "y": 0}, "data": {"amount": "$a.total"}},',
    ]
    assert changed(GRAPH, Disconnect("a", "b")) == ['-    {"id": "e1", "source": "a", "target": "b"},']
    added = apply_edits(
        GRAPH, [AddStep({"id": "d", "type": "log", "data": {"message": "x"}}, Into()), Connect("c", "d")]
    )
    assert '    {"id": "d", "type": "log", "data": {"message": "x"}}\n' in added.text
    assert '    {"id": "e-c-d", "source": "c", "target": "d"}\n' in added.text
    renamed = apply_edits(GRAPH, [RenameStep("b", "pay")]).text
    assert '"source": "a", "target": "pay"' in renamed
    assert '"to": "$pay.mail"' in renamed
    removed = apply_edits(GRAPH, [RemoveStep("b")])
    assert '"edges": []' in removed.text


@pytest.mark.req("FLOW-4.json")
def test_task_lists_keep_their_form() -> None:
    assert changed(TASKS, RenameStep("t1", "first")) == [
        "-  - {id: t1, agent_type: mail, action: send, parameters: {to: me}}",
        "-  - {id: t2, agent_type: mail, action: send, dependencies: [t1]}",
        "+  - {id: first, agent_type: mail, action: send, parameters: {to: me}}",
        "+  - {id: t2, agent_type: mail, action: send, dependencies: [first]}",
    ]
    flow = apply_edits(TASKS, [RemoveStep("t2")]).read.flow
    assert flow is not None
    assert [(edge.source, edge.target) for edge in flow.root.edges] == [("t1", "t3")]


@pytest.mark.req("FLOW-4.aliases")
def test_a_value_that_is_shared_is_changed_in_one_place_only() -> None:
    text = "flow: f\nsteps:\n  - a: {call: x.y, params: &p {n: 1}}\n  - b: {call: x.y, params: *p}\n"
    one = apply_edits(text, [SetField("b", ("params", "n"), 2)]).text
    assert one == text.replace("*p", "{n: 2}")
    other = apply_edits(text, [SetField("a", ("params", "n"), 2)]).text
    assert "params: &p {n: 2}" in other
    assert "params: {n: 1}" in other


@pytest.mark.req("FLOW-4.refused")
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (RemoveStep("nobody"), 'no step "nobody"'),
        (RenameStep("charge", "look_up"), "already"),
        (RenameStep("charge", "steps"), "no name for a step"),
        (RenameStep("charge", "a b"), "no name for a step"),
        (SetField("charge", ("http",), {}), "verb already"),
        (SetField("charge", (), 1), "begins with a key"),
        (SetField("charge", ("params", "amount", "x"), 1), "set the whole value"),
        (SetField("charge", ("params", "x"), 2**70), "64 bits"),
        (SetField("charge", ("params", "x"), "\ud800"), "surrogate"),
        (UnsetField("charge", ("call",)), "verb"),
        (UnsetField("charge", ("params", "zzz")), "nothing at"),
        (ChangeVerb("charge", "fly", 1), "no verb"),
        (SetFlow(("steps",), []), "step by step"),
        (SetFlow(("colour",), 1), "no key of a flow"),
        (MoveStep("parallel_1", After("mail")), "into itself"),
        (Connect("charge", "mail"), "one block"),
        (Disconnect("look_up", "done"), "does not wait"),
        (AddStep({}, Into()), "no step"),
        (AddStep("x", Into("wait_a_bit", "then")), "no branch"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(edit: Edit, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        apply_edits(FLOW, [SetPosition("charge", 1, 1), edit])


@pytest.mark.req("FLOW-4.refused")
def test_text_that_cannot_be_read_cannot_be_edited() -> None:
    with pytest.raises(RequestError, match="mend it"):
        apply_edits("flow: [", [SetFlow(("title",), "x")])
