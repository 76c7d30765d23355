"""Series-parallel reduction: boxes for what fans out and comes together again, and for what is chosen.

A flat graph (a canvas where people only drew arrows) becomes blocks: two or more chains between the same two nodes are
the branches of a `parallel`, and the chains behind the labelled arrows of a `Condition` those of a `conditional`. Only
chains of which each inner node has one way in and one way out are taken, again and again, until nothing changes
(J. Valdes, R. Tarjan, E. Lawler, "The recognition of series parallel digraphs", 1982). What is left keeps its arrows,
which are written as `needs`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from segue.flow.edit.graph import Graph, GraphEdge, GraphNode, make_edge

CHOOSING: Final = frozenset(("conditional", "if", "switch"))
MAX_ROUNDS: Final = 1_000
"""Each round makes one box or ends; a flow has at most this many."""


def to_blocks(graph: Graph) -> Graph:
    """The graph with boxes where its arrows allow them. Steps, their order and their waiting stay the same.

    Only nodes without a box around them are looked at; boxes that are there stay. The same graph twice gives the same.
    """
    work = _Work(graph)
    for _ in range(MAX_ROUNDS):
        if not (work.choose() or work.fork()):
            break
    return work.graph()


class _Work:
    """The graph while boxes are made. `level` holds the nodes that have no box yet, in order."""

    def __init__(self, graph: Graph) -> None:
        self.first = graph
        self.nodes = {node.id: node for node in graph.nodes}
        self.level = [node.id for node in graph.nodes if node.parent is None]
        inside = set(self.level)
        self.edges = [edge for edge in graph.edges if edge.source in inside and edge.target in inside]
        self.kept = [edge for edge in graph.edges if edge not in self.edges]
        self.made: dict[str | None, list[str]] = {}
        """The nodes in each new box, in the order of its chains."""
        self.boxed = {node.parent for node in graph.nodes if node.parent is not None}

    def graph(self) -> Graph:
        """The graph as it is now, inner nodes behind their boxes."""
        order: list[GraphNode] = []
        children: dict[str | None, list[GraphNode]] = {}
        for node in self.nodes.values():
            children.setdefault(node.parent, []).append(node)
        children.update({box: [self.nodes[name] for name in names] for box, names in self.made.items()})
        pending = [self.nodes[id] for id in reversed(self.level)]
        while pending:
            node = pending.pop()
            order.append(node)
            pending += reversed(children.get(node.id, []))
        return msgspec.structs.replace(self.first, nodes=tuple(order), edges=(*self.kept, *self.edges))

    def _in(self, id: str) -> list[GraphEdge]:
        return [edge for edge in self.edges if edge.target == id]

    def _out(self, id: str) -> list[GraphEdge]:
        return [edge for edge in self.edges if edge.source == id]

    def _chain(self, edge: GraphEdge) -> tuple[list[str], str | None] | None:
        """The nodes behind an edge, one way in and one way out each, and the node that ends them; None if they fork."""
        chain: list[str] = []
        at = edge.target
        while True:
            if len(self._in(at)) != 1:
                return chain, at
            out = self._out(at)
            if any(other.source_handle not in (None, "done") for other in out) or len(out) > 1:
                return None
            chain.append(at)
            if not out:
                return chain, None
            at = out[0].target

    def choose(self) -> bool:
        """Box the branches of one node that chooses."""
        for id in self.level:
            node = self.nodes[id]
            out = self._out(id)
            if node.type not in CHOOSING or node.id in self.boxed or not any(edge.source_handle for edge in out):
                continue
            chains = [(edge.source_handle, self._chain(edge)) for edge in out]
            found = [(handle, *chain) for handle, chain in chains if chain is not None]
            ends = {end for _, _, end in found if end is not None}
            handles = [edge.source_handle for edge in out]
            if len(found) < len(out) or len(ends) > 1 or None in handles or len(set(handles)) < len(handles):
                continue
            if any(end is None for _, _, end in found) and ends:
                # One branch ends while another goes on: what comes after would run behind both.
                continue
            self._box(id, {handle or "then": chain for handle, chain, _ in found}, ends)
            return True
        return False

    def fork(self) -> bool:
        """Box one set of chains between the same two nodes."""
        for id in self.level:
            out = self._out(id)
            if len(out) < 2 or any(edge.source_handle not in (None, "done") for edge in out):
                continue
            chains = [self._chain(edge) for edge in out]
            found = [chain for chain in chains if chain is not None]
            ends = {end for _, end in found}
            if len(found) < len(out) or len(ends) != 1 or not all(chain for chain, _ in found):
                continue
            end = next(iter(ends))
            if end is not None and len(self._in(end)) != len(out):
                continue
            name = self._name()
            box = GraphNode(id=name, type="parallel")
            self.nodes[name] = box
            self.level.insert(self.level.index(found[0][0][0]), name)
            self.edges = [edge for edge in self.edges if edge not in out]
            self.edges.append(make_edge(id, name, "done" if id in self.boxed else None))
            # A map by the branches' last steps is what the node behind them was given before, too.
            self._box(name, {f"branch:{chain[-1]}": chain for chain, _ in found}, set() if end is None else {end})
            return True
        return False

    def _box(self, id: str, branches: dict[str, list[str]], ends: set[str]) -> None:
        """Put chains into a node; what came after them comes after it."""
        inside = {name for chain in branches.values() for name in chain}
        gone = [
            edge for edge in self.edges
            if edge.source in inside or edge.target in inside or (edge.source == id and edge.target in ends)
        ]  # fmt: skip
        for handle, chain in branches.items():
            for place, name in enumerate(chain):
                self.nodes[name] = msgspec.structs.replace(self.nodes[name], parent=id)
                if place == 0:
                    self.kept.append(make_edge(id, name, handle))
                else:
                    before = chain[place - 1]
                    self.kept.append(make_edge(before, name, "done" if before in self.boxed else None))
        incoming = [edge for edge in gone if edge.target == id]
        self.edges = [edge for edge in self.edges if edge not in gone or edge in incoming]
        self.boxed.add(id)
        self.made[id] = [name for chain in branches.values() for name in chain]
        self.level = [name for name in self.level if name not in inside]
        self.edges += [make_edge(id, end, "done") for end in ends]

    def _name(self) -> str:
        count = 1
        while f"parallel_{count}" in self.nodes:
            count += 1
        return f"parallel_{count}"
