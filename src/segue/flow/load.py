"""Read, check and bind in one call: what run, publish and the command line use."""

from __future__ import annotations

from collections.abc import Mapping

from segue.errors import InvalidFlowError
from segue.flow.bind import bind_flow
from segue.flow.catalogue import Catalogue
from segue.flow.check import check_flow
from segue.flow.model import Flow
from segue.flow.read import read_document, read_flow


def load_flow(
    source: str | bytes | Mapping[str, object],
    catalogue: Catalogue,
    *,
    file: str | None = None,
    runnable: bool = True,
) -> Flow:
    """The checked flow of a text or a parsed body, its names bound to actions.

    Raises InvalidFlowError with every problem (warnings and notes included) if one of them is an error.
    """
    result = read_document(source, file=file) if isinstance(source, Mapping) else read_flow(source, file=file)
    problems = list(result.problems)
    flow = result.flow
    if flow is not None:
        problems += check_flow(flow, catalogue, runnable=runnable, document=result.document)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or flow is None:
        count = "one error" if len(errors) == 1 else f"{len(errors)} errors"
        name = file or (flow.id if flow is not None else "the flow")
        raise InvalidFlowError(f"{name} has {count}; the first: {errors[0]}", problems)
    return bind_flow(flow, catalogue)
