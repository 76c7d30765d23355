"""A text that follows a canvas: boxes come, go and are connected, and only their lines change."""

from __future__ import annotations

import difflib
import random

import msgspec
import pytest
from hypothesis import assume, given
from tests.unit.flow_edit.edits import Draw
from tests.unit.flow_edit.rebuilds import rebuilt
from tests.unit.flow_edit.strategies import readable_texts
from tests.unit.flow_edit.test_laws import LAW, SEEDS

from segue.errors import RequestError
from segue.flow import read_flow
from segue.flow.edit import Graph, GraphEdge, GraphNode, apply_edits, graph_of, update_text
from segue.flow.edit.graph import make_edge

TEXT = "flow: f  # it\nsteps:\n  - a: {call: x.a}  # one\n  # two\n  - b: {call: x.b}\n  - c: {call: x.c}\n"


def grown(nodes: list[GraphNode], edges: list[GraphEdge], *, without: tuple[str, ...] = ()) -> Graph:
    graph = graph_of(read_flow(TEXT))
    kept = tuple(edge for edge in graph.edges if edge.id not in without)
    return msgspec.structs.replace(graph, nodes=(*graph.nodes, *nodes), edges=(*kept, *edges))


def lines(graph: Graph, text: str = TEXT) -> list[str]:
    new = update_text(text, graph).text
    found = difflib.unified_diff(text.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in found if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.req("UI-2.insert", "FLOW-4.graph-edit")
def test_a_node_put_on_an_edge_is_one_new_line_between_its_neighbours() -> None:
    node = GraphNode(id="n", type="x.n", data={"params": {"k": 1}})
    graph = grown([node], [make_edge("a", "n"), make_edge("n", "b")], without=("a->b",))
    assert lines(graph) == ["+  - n: {call: x.n, params: {k: 1}}"]


@pytest.mark.req("UI-2.insert", "FLOW-2.boxes")
def test_a_box_comes_with_what_is_in_it() -> None:
    box = GraphNode(id="choose", type="conditional", data={"conditional": {"if": "1 < 2"}})
    inner = [GraphNode(id=name, type="log", data={"log": name}, parent="choose") for name in ("yes", "no")]
    edges = [make_edge("c", "choose"), make_edge("choose", "yes", "then"), make_edge("choose", "no", "else")]
    assert lines(grown([box, *inner], edges)) == [
        "+  - choose:", "+      conditional:", "+        if: 1 < 2", "+        then:", "+          - yes: {log: yes}",
        "+        else:", "+          - no: {log: no}",
    ]  # fmt: skip


@pytest.mark.req("UI-2.connect", "FLOW-4.graph-edit")
def test_arrows_that_are_turned_round_become_needs() -> None:
    graph = grown([], [make_edge("b", "a")], without=("a->b",))
    again = graph_of(update_text(TEXT, graph).read)
    assert {(edge.source, edge.target) for edge in again.edges} == {("b", "a"), ("b", "c")}
    assert "# two\n" in update_text(TEXT, graph).text


@pytest.mark.req("UI-2.delete", "FLOW-4.graph-edit")
def test_nodes_that_are_gone_take_their_lines_with_them() -> None:
    graph = graph_of(read_flow(TEXT))
    rest = msgspec.structs.replace(graph, nodes=graph.nodes[:2], edges=graph.edges[:1])
    assert lines(rest) == ["-  - c: {call: x.c}"]


@pytest.mark.req("FLOW-4.refused")
def test_graphs_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(RequestError, match="not in the graph"):
        update_text(TEXT, grown([], [make_edge("c", "nowhere")]))
    with pytest.raises(RequestError, match="same id"):
        update_text(TEXT, grown([GraphNode(id="a", type="x.y")], []))
    with pytest.raises(RequestError, match="no edge leads"):
        update_text(TEXT, grown([GraphNode(id="z", type="x.y", parent="a")], []))
    with pytest.raises(RequestError, match="form"):
        update_text(TEXT, msgspec.structs.replace(graph_of(read_flow(TEXT)), form="graph"))


@pytest.mark.req("FLOW-4.graph-edit", "UI-2.group")
def test_a_box_put_around_steps_takes_their_text_in() -> None:
    box = GraphNode(id="both", type="conditional", data={"conditional": {"if": "1 < 2"}})
    graph = graph_of(read_flow(TEXT))
    inner = [msgspec.structs.replace(node, parent="both") if node.id in ("b", "c") else node for node in graph.nodes]
    edges = [make_edge("a", "both"), make_edge("both", "b", "then"), make_edge("b", "c")]
    grouped = msgspec.structs.replace(graph, nodes=(*inner[:1], box, *inner[1:]), edges=tuple(edges))
    assert update_text(TEXT, grouped).text == (
        "flow: f  # it\nsteps:\n  - a: {call: x.a}  # one\n"
        "  - both:\n      conditional:\n        if: 1 < 2\n        then:\n"
        "          # two\n          - b: {call: x.b}\n          - c: {call: x.c}\n"
    )


@pytest.mark.req("FLOW-4.graph-edit", "UI-2.ungroup")
def test_steps_leave_a_box_that_goes() -> None:
    text = (
        "steps:\n  - a\n  - box:\n      if: 1 < 2\n      then:\n        # kept\n        - b: {log: x}  # too\n  - c\n"
    )
    graph = graph_of(read_flow(text))
    nodes = [msgspec.structs.replace(node, parent=None) for node in graph.nodes if node.id != "box"]
    freed = msgspec.structs.replace(graph, nodes=tuple(nodes), edges=(make_edge("a", "b"), make_edge("b", "c")))
    assert update_text(text, freed).text == "steps:\n  - a\n  # kept\n  - b: {log: x}  # too\n  - c\n"


@pytest.mark.req("FLOW-4.graph-edit", "UI-3.sync")
@LAW
@given(readable_texts(), SEEDS)
def test_a_text_follows_a_graph_that_was_edited_many_times(text: str, seed: int) -> None:
    rng = random.Random(seed)
    read = read_flow(text)
    for _ in range(rng.choice((1, 2, 3, 5))):
        graph = graph_of(read)
        if any(not node.type.startswith("flow.") for node in graph.nodes):
            edit, _ = Draw(rng, graph).edit("mraf")
            try:
                read = apply_edits(read, [edit]).read
            except RequestError:
                continue  # a name that several steps share
    assume(not read.has_errors)
    wanted = graph_of(read)
    assert graph_of(update_text(text, wanted).read).nodes == wanted.nodes


@pytest.mark.req("FLOW-4.graph-edit", "UI-3.sync")
@LAW
@given(readable_texts(), SEEDS)
def test_a_text_follows_a_graph_that_was_rebuilt(text: str, seed: int) -> None:
    rng = random.Random(seed)
    made = rebuilt(read_flow(text), rng, rng.choice((1, 2, 3)))
    assume(made is not None)
    assert made is not None
    wanted = graph_of(made)
    merged = update_text(text, wanted)
    assert not merged.read.has_errors
    found = graph_of(merged.read)
    assert {node.id: node for node in found.nodes} == {node.id: node for node in wanted.nodes}
    assert {(edge.source, edge.target, edge.source_handle) for edge in found.edges} == {
        (edge.source, edge.target, edge.source_handle) for edge in wanted.edges
    }
