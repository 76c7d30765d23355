"""The flow language: reading every form into one model, checking it, and its inputs."""

from segue.flow.bind import bind_flow
from segue.flow.catalogue import ActionSpec, Catalogue, FlowSpec, StaticCatalogue
from segue.flow.check import check_flow
from segue.flow.document import Document
from segue.flow.fix import apply_patches
from segue.flow.inputs import parse_cli_value, resolve_inputs
from segue.flow.load import load_flow
from segue.flow.model import Block, Edge, Flow, Step, inner_blocks, walk
from segue.flow.problems import Patch, Problem
from segue.flow.read import ReadResult, read_document, read_flow

__all__ = [
    "ActionSpec",
    "Block",
    "Catalogue",
    "Document",
    "Edge",
    "Flow",
    "FlowSpec",
    "Patch",
    "Problem",
    "ReadResult",
    "StaticCatalogue",
    "Step",
    "apply_patches",
    "bind_flow",
    "check_flow",
    "inner_blocks",
    "load_flow",
    "parse_cli_value",
    "read_document",
    "read_flow",
    "resolve_inputs",
    "walk",
]
