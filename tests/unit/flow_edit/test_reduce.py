"""Flat graphs as blocks: what fans out and joins again, what is chosen, and what stays `needs`."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import IS_LONG, examples

from segue.flow import Block, read_flow
from segue.flow.edit import Graph, GraphNode, graph_of, to_blocks, write_graph
from segue.flow.edit.graph import make_edge


def drawn(edges: str, **types: str) -> Graph:
    """A flat graph from `a-b b-c`; `a:then-b` leaves by a handle."""
    made = [
        make_edge(source.partition(":")[0], target, source.partition(":")[2] or None)
        for source, target in (edge.split("-") for edge in edges.split())
    ]
    names = dict.fromkeys(name for edge in made for name in (edge.source, edge.target))
    nodes = [
        GraphNode(id=name, type=types.get(name, f"x.{name}"), data={"if": "1 < 2"} if name in types else {})
        for name in names
    ]
    return Graph(flow={"flow": "drawn"}, nodes=tuple(nodes), edges=tuple(made))


def steps_of(graph: Graph) -> str:
    return write_graph(to_blocks(graph)).partition("steps:\n")[2]


@pytest.mark.req("FLOW-2.blocks")
def test_a_fork_that_joins_is_a_parallel() -> None:
    assert steps_of(drawn("a-b a-c b-d c-e e-d d-f")) == (
        "  - a: {call: x.a}\n"
        "  - parallel_1:\n"
        "      parallel:\n"
        "        b:\n"
        "          - b: {call: x.b}\n"
        "        e:\n"
        "          - c: {call: x.c}\n"
        "          - e: {call: x.e}\n"
        "  - d: {call: x.d}\n"
        "  - f: {call: x.f}\n"
    )


@pytest.mark.req("FLOW-2.blocks")
def test_forks_within_forks_and_choices_nest() -> None:
    text = steps_of(drawn("a-b a-c b-d b-e d-f e-f f-g c-g g:then-h g:else-i h-j i-j", g="if"))
    flow = read_flow(f"flow: drawn\nsteps:\n{text}").flow
    assert flow is not None
    assert [step.kind for step in flow.root.steps] == ["call", "parallel", "conditional", "call"]
    outer = flow.root.steps[1]
    assert [step.kind for step in outer.blocks[0].steps] == ["call", "parallel", "call"]
    assert "needs" not in text


@pytest.mark.req("FLOW-2.needs")
def test_what_does_not_reduce_stays_needs() -> None:
    graph = drawn("a-c a-d b-d c-e d-e")
    text = steps_of(graph)
    assert "needs: [a, b]" in text
    flow = read_flow(f"flow: drawn\nsteps:\n{text}").flow
    assert flow is not None
    assert {(edge.source, edge.target) for edge in flow.root.edges} == {
        (edge.source, edge.target) for edge in graph.edges
    }


def waits_for(block: Block, before: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
    """All steps that are done before each step begins, blocks counted through."""
    found: dict[str, frozenset[str]] = {}
    ends: dict[str, frozenset[str]] = {}
    left = list(block.steps)
    while left:
        step = next(
            one for one in left if all(edge.source in ends for edge in block.edges if edge.target == one.id)
        )  # fmt: skip
        left.remove(step)
        seen = before.union(*(ends[edge.source] for edge in block.edges if edge.target == step.id))
        found[step.id] = seen
        inner: dict[str, frozenset[str]] = {}
        for branch in step.blocks:
            inner |= waits_for(branch, seen)
        found |= inner
        ends[step.id] = seen | {step.id} | inner.keys()
    return found


@pytest.mark.req("FLOW-2.blocks")
@settings(max_examples=examples(300), derandomize=not IS_LONG, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.floats(0.1, 0.6))
def test_blocks_make_each_step_wait_for_exactly_what_it_waited_for(seed: int, size: int, density: float) -> None:
    rng = random.Random(seed)
    edges = [
        f"n{one}-n{other}" for other in range(size) for one in range(other) if rng.random() < density
    ]  # fmt: skip
    if not edges:
        edges = ["n0-n1"]
    graph = drawn(" ".join(edges))
    flat, boxed = read_flow(write_graph(graph)), read_flow(write_graph(to_blocks(graph)))
    assert flat.flow is not None
    assert boxed.flow is not None
    assert not boxed.has_errors
    names = {node.id for node in graph.nodes}
    then = {name: seen & names for name, seen in waits_for(boxed.flow.root).items() if name in names}
    assert then == waits_for(flat.flow.root)
    assert to_blocks(graph_of(boxed)) == graph_of(boxed)
