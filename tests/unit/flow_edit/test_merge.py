"""A text that follows a canvas: boxes come, go and are connected, and only their lines change."""

from __future__ import annotations

import difflib

import msgspec
import pytest

from segue.errors import RequestError
from segue.flow import read_flow
from segue.flow.edit import Graph, GraphEdge, GraphNode, graph_of, update_text
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
