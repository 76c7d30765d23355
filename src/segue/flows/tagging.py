"""Tags over many flows."""

from __future__ import annotations

from segue.errors import ConflictError, RequestError
from segue.flow.edit import SetFlow
from segue.flow.model import JsonValue
from segue.flows.records import Author, FlowFilter
from segue.flows.service import StoredFlows


async def rename_tag(
    flows: StoredFlows, workspace: str, tag: str, to: str, author: Author
) -> tuple[list[str], list[tuple[str, str]]]:
    """Call a tag otherwise in the drafts of all live flows that bear it: ids of those that were changed, and of those
    that could not be, with the reason. Each flow is a change of its own; what was done stays.
    """
    renamed: list[str] = []
    left: list[tuple[str, str]] = []
    for info in await flows.all(workspace, FlowFilter(tags=(tag,))):
        tags: list[JsonValue] = list(dict.fromkeys(to if one == tag else one for one in info.tags))
        edit = SetFlow(path=("tags",), value=tags)
        try:
            await flows.edit(workspace, info.id, [edit], author, expected=info.revision)
        except (ConflictError, RequestError) as error:
            left.append((info.id, error.message))
        else:
            renamed.append(info.id)
    return renamed, left
