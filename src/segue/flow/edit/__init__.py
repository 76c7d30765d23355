"""Flows as a canvas graph, and edits of a flow's text as minimal patches. Pure: no input or output.

`graph_of` draws a text, `update_text` brings a text up to a changed graph, `write_graph` writes a graph that has
no text yet, `write_flow` a model that has none, and `apply_edits` makes single edits;
`to_blocks` makes blocks of a graph of nothing but arrows. What was not touched keeps every byte.
"""

from segue.flow.edit.blocks import write_graph
from segue.flow.edit.graph import Graph, GraphEdge, GraphNode, graph_of
from segue.flow.edit.merge import update_text
from segue.flow.edit.operations import (
    AddStep,
    After,
    Before,
    ChangeVerb,
    Connect,
    Disconnect,
    Edit,
    Into,
    MoveStep,
    Place,
    RemoveStep,
    RenameStep,
    SetField,
    SetFlow,
    SetPosition,
    UnsetField,
    UnsetFlow,
)
from segue.flow.edit.patch import EditResult, apply_edits
from segue.flow.edit.reduce import to_blocks
from segue.flow.edit.write import write_document
from segue.flow.edit.write_flow import same_flow, write_flow

__all__ = [
    "AddStep",
    "After",
    "Before",
    "ChangeVerb",
    "Connect",
    "Disconnect",
    "Edit",
    "EditResult",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "Into",
    "MoveStep",
    "Place",
    "RemoveStep",
    "RenameStep",
    "SetField",
    "SetFlow",
    "SetPosition",
    "UnsetField",
    "UnsetFlow",
    "apply_edits",
    "graph_of",
    "same_flow",
    "to_blocks",
    "update_text",
    "write_document",
    "write_flow",
    "write_graph",
]
