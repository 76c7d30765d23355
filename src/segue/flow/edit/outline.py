"""Where each step of a flow stands in its document: the map from the model to the text that edits need.

The model says which steps there are; this walks the document beside it, by the rules of `forms/steps.py` and
`forms/blocks.py`, and notes for every step its item, its keys, and the blocks that are written in it. Steps that a
definition brings in are not written there, and have no site.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from segue.errors import RequestError
from segue.flow.document import Document, Node
from segue.flow.forms.modifiers import is_handler_map
from segue.flow.model import Block, Flow, Step, walk
from segue.flow.verbs import MODIFIERS, VERBS, keys_of

BLOCK_VERBS: Final = frozenset(("parallel", "race", "conditional", "if", "switch", "foreach", "repeat", "try"))
CALL_VERBS: Final = ("call", "use", "adapter", "python", "http")
_COMPOSITE: Final = ("wait", "poll")
_FREE: Final = frozenset(("name", "id", "params", "action"))
_BESIDE: Final = {name: frozenset(keys_of(verb.beside)) for name, verb in VERBS.items()}
_BESIDE_ANY: Final = frozenset(key for keys in _BESIDE.values() for key in keys)
_MAIN_KEY: Final = {"parallel": "branches", "race": "branches", "repeat": "do", "try": "do"}


@dataclass(slots=True, eq=False)
class Site:
    """A step as it is written."""

    step: Step
    item: Node
    """Its item in the block's list, or the block's only value."""
    shape: Literal["bare", "keyed", "long", "verb", "item"]
    """`- name`, `- id: …`, `- {id: …, verb}`, `- verb: …`, or an item of a graph, task list or DAG."""
    entries: dict[str, Node]
    """Its keys, wherever they stand."""
    home: Node | None
    """The map that takes new keys; None if there is none yet."""
    branch: Branch
    name_node: Node | None = None
    """`keyed`: the value under the id. `long`, `item`: the node that holds the id."""
    verb: str | None = None
    """The verb as written; None if the step uses a name."""
    use: str | None = None
    """The name it uses without a verb."""
    branches: list[Branch] = field(default_factory=list["Branch"])
    node_id: str = ""
    """Its name on the canvas: the step's id, qualified where several steps share it."""

    @property
    def id(self) -> str:
        """The step's id in the model."""
        return self.step.id


@dataclass(slots=True, eq=False)
class Branch:
    """A block as it is written: a list of steps, or one step in the list's place."""

    handle: str
    """Where it leaves its owner on the canvas: `then`, `else`, `case:x`, `branch:x`, `body`, `error`, …"""
    node: Node
    block: Block
    owner: Site | None
    sites: list[Site] = field(default_factory=list[Site])


class Outline:
    """All sites of a flow. `by_id` is by name on the canvas."""

    def __init__(self, document: Document, flow: Flow) -> None:
        self.document = document
        self.flow = flow
        self.roots: list[Branch] = []
        """The flow's steps first, then what is done `on_error` and `finally`, if written."""
        self._build()
        self.by_id: dict[str, Site] = {}
        self._name()

    @property
    def form(self) -> str:
        """The form of the document."""
        return self.flow.form

    def site(self, name: str) -> Site:
        """The step of that name on the canvas. Raises RequestError if there is none."""
        found = self.by_id.get(name)
        if found is None:
            near = ", ".join(list(self.by_id)[:10])
            raise RequestError(f'the flow {self.flow.id} has no step "{name}"; it has {near or "none"}')
        return found

    def sites(self) -> Iterator[Site]:
        """All sites, in the document's order."""
        for root in self.roots:
            yield from _sites(root)

    def container(self) -> Node:
        """What holds the form's keys: the root, or the map under `definition`, `graph` or `dag`."""
        root = self.document.root
        key = {"graph": "nodes", "tasks": "tasks", "definition": "steps", "dag": "nodes", "yaml": "steps"}[self.form]
        for name in ("dag",) if self.form == "dag" else ("", "definition", "graph"):
            node = root if not name else root.get(name)
            if node is not None and node.get(key) is not None:
                return node
        return root

    def _build(self) -> None:
        root = self.document.root
        top = self.container()
        key = {"graph": "nodes", "tasks": "tasks", "definition": "steps", "dag": "nodes"}.get(self.form)
        if key is None:
            steps = root.get("steps")
            if steps is not None and not steps.is_null:
                self.roots.append(_branch("body", steps, self.flow.root, None))
        elif (items := top.get(key)) is not None:
            self.roots.append(self._items(items))
        for handle, names, block in (
            ("error", ("on_error", "onError"), self.flow.on_error_block),
            ("finally", ("finally",), self.flow.finally_),
        ):
            node = next((root.get(name) for name in names if root.get(name) is not None), None)
            if block is not None and node is not None:
                self.roots.append(_branch(handle, node, block, None))

    def _items(self, node: Node) -> Branch:
        """The items of a graph, a task list, a DAG or a list of typed steps."""
        branch = Branch("body", node, self.flow.root, None)
        steps = {step.id: step for step in walk(self.flow.root)}
        if self.form == "definition":
            pairs = _paired(node, self.flow.root)
        else:
            found = ((item, item.get("id") or item.get("name")) for item in node.items or [])
            pairs = [
                (item, steps[name.scalar if isinstance(name.scalar, str) else str(name.scalar)])
                for item, name in found
                if name is not None and str(name.scalar) in steps
            ]
        for item, step in pairs:
            if self.form == "definition" and item.get("type") is None:
                branch.sites.append(_site(item, step, branch))
                continue
            home = _settings(item) if self.form != "tasks" else item
            branch.sites.append(
                Site(
                    step,
                    item,
                    "item",
                    dict(home.entries or {}),
                    home,
                    branch,
                    name_node=item.get("id") or item.get("name"),
                )
            )
        return branch

    def _name(self) -> None:
        for site in sorted(self.sites(), key=_depth):
            name = site.id
            if name in self.by_id:
                owner = site.branch.owner
                name = f"{owner.node_id if owner else '@'}.{site.branch.handle}.{site.id}"
                count = 2
                while name in self.by_id:
                    name, count = f"{name.removesuffix(f'#{count - 1}')}#{count}", count + 1
            site.node_id = name
            self.by_id[name] = site


def _sites(branch: Branch) -> Iterator[Site]:
    for site in branch.sites:
        yield site
        for inner in site.branches:
            yield from _sites(inner)


def _depth(site: Site) -> int:
    depth = 0
    owner = site.branch.owner
    while owner is not None:
        depth, owner = depth + 1, owner.branch.owner
    return depth + (1 if site.branch.handle in ("error", "finally") else 0)


def _settings(item: Node) -> Node:
    """The map that holds a canvas node's settings."""
    data = item.get("data")
    config = (data.get("config") if data is not None else None) or item.get("config")
    if config is not None and config.entries is not None:
        return config
    return data if data is not None and data.entries is not None else item


def _paired(node: Node, block: Block) -> list[tuple[Node, Step]]:
    """Each item with the step that was read from it."""
    items = [node] if node.items is None else node.items
    if len(items) == len(block.steps):
        return list(zip(items, block.steps, strict=True))
    left = list(block.steps)
    pairs: list[tuple[Node, Step]] = []
    for item in items:
        if left and left[0].span is not None and item.start <= left[0].span.start <= item.end:
            pairs.append((item, left.pop(0)))
    return pairs


def _branch(handle: str, node: Node, block: Block, owner: Site | None) -> Branch:
    branch = Branch(handle, node, block, owner)
    branch.sites = [_site(item, step, branch) for item, step in _paired(node, block)]
    return branch


def _site(item: Node, step: Step, branch: Branch) -> Site:
    site = _as_written(item, step, branch)
    verbs = [key for key in site.entries if key in VERBS]
    main = [key for key in verbs if key not in _COMPOSITE]
    if site.use is None:
        is_call = any(key in CALL_VERBS for key in verbs)
        site.verb = next(iter(main if is_call else verbs), None)
    if site.verb in BLOCK_VERBS:
        site.branches += _own_branches(site)
    site.branches += _handlers(site)
    return site


def _as_written(item: Node, step: Step, branch: Branch) -> Site:
    if item.entries is None:
        return Site(step, item, "bare", {}, None, branch, use=(item.text or "").strip())
    entries = item.entries
    named = entries.get("id") or entries.get("name")
    if named is not None and named.text is not None:
        own = {key: child for key, child in entries.items() if key not in ("id", "name")}
        return Site(step, item, "long", own, item, branch, name_node=named)
    first = next(iter(entries), "")
    is_unindented = (
        first not in VERBS
        and first not in MODIFIERS
        and first not in _FREE
        and first not in _BESIDE_ANY
        and first in entries
        and entries[first].is_null
    )
    if any(key in VERBS for key in entries) and not is_unindented:
        return Site(step, item, "verb", dict(entries), item, branch)
    taken = {*MODIFIERS, *_FREE, *(({*VERBS, *_BESIDE_ANY}) if is_unindented else ())}
    name = next((key for key in entries if key not in taken and not key.startswith("x-")), first)
    body = entries[name]
    beside = {key: child for key, child in entries.items() if key != name}
    site = Site(step, item, "keyed", {**(body.entries or {}), **beside}, item, branch, name_node=body)
    if body.entries is not None:
        site.home = body
        site.entries.pop("name", None)
    elif body.text is not None:
        site.use = body.text.strip()
    return site


def inner_keys(site: Site) -> dict[str, Node]:
    """A block verb's keys, from inside its map and from beside it."""
    verb = site.verb or ""
    node = site.entries[verb]
    beside = {key: child for key, child in site.entries.items() if key in _BESIDE[verb]}
    if verb == "if":
        return {"if": node, **beside}
    if node.entries is not None and (verb not in ("parallel", "race") or has_settings(node)):
        return {**beside, **node.entries}
    main = _MAIN_KEY.get(verb)
    return {**beside, main: node} if main is not None and not (node.is_null and main in beside) else beside


def has_settings(node: Node) -> bool:
    """Whether a map under `parallel` is its settings, rather than branches by name."""
    entries = node.entries or {}
    return "branches" in entries or not entries or all(key in ("join", "limit", "fail") for key in entries)


def _own_branches(site: Site) -> list[Branch]:
    inner = inner_keys(site)
    blocks = {block.label: block for block in site.step.blocks}
    found: list[Branch] = []

    def add(handle: str, node: Node | None, block: Block | None) -> None:
        if node is not None and not node.is_null and block is not None:
            found.append(_branch(handle, node, block, site))

    if site.verb in ("parallel", "race"):
        node = inner.get("branches")
        for index, child in enumerate((node.items or []) if node is not None else []):
            add(f"branch:{index + 1}", child, site.step.blocks[index] if index < len(site.step.blocks) else None)
        for name, child in ((node.entries or {}) if node is not None else {}).items():
            add(f'branch:"{name}"' if name.isdecimal() else f"branch:{name}", child, blocks.get(name))
    elif site.verb in ("conditional", "if"):
        add("then", inner.get("then"), blocks.get("then"))
        others = inner.get("elif")
        for index, child in enumerate([] if others is None else [others] if others.items is None else others.items, 1):
            add(f"elif:{index}", child.get("then"), blocks.get(f"elif:{index}"))
        add("else", inner.get("else"), blocks.get("else"))
    elif site.verb == "switch":
        cases = inner.get("cases")
        for text, child in ((cases.entries or {}) if cases is not None else {}).items():
            block = blocks.get(f"case:{text}")
            quoted = block is not None and isinstance(block.case, str) and not is_text_case(text)
            add(f'case:"{text}"' if quoted else f"case:{text}", child, block)
        add("default", inner.get("default"), blocks.get("default"))
    else:
        add("body", inner.get("do") or inner.get("steps"), blocks.get("do"))
        for label, child in [] if inner.get("catch") is None else _catches(inner["catch"]):
            add(label, child, blocks.get(label))
        add("finally", inner.get("finally"), blocks.get("finally"))
    return found


def _catches(node: Node) -> list[tuple[str, Node | None]]:
    """`catch` as steps, as `{match, do}`, or as a list of these: the labels of its blocks and where their steps are."""
    maps = [node] if is_handler_map(node) else node.items or []
    if not maps or not all(is_handler_map(item) for item in maps):
        return [("catch", node)]
    return [
        (f"catch:{index}" if index else "catch", item.get("do") or item.get("steps")) for index, item in enumerate(maps)
    ]


def is_text_case(text: str) -> bool:
    """Whether an unquoted case stands for a text, not for a number, truth value or null."""
    return text not in ("true", "false", "null") and not (text.removeprefix("-").isdecimal() and len(text) < 19)


def _handlers(site: Site) -> list[Branch]:
    found: list[Branch] = []
    entries, step = site.entries, site.step
    node = entries.get("on_error") or entries.get("onError")
    if node is not None and not node.is_null and step.on_error:
        maps = [node] if is_handler_map(node) else node.items or []
        if maps and all(is_handler_map(item) for item in maps):
            for index, (item, handler) in enumerate(zip(maps, step.on_error, strict=False), 1):
                inner = item.get("do") or item.get("steps")
                if inner is not None and not inner.is_null:
                    found.append(_branch(f"error:{index}", inner, handler.block, site))
        else:
            found.append(_branch("error", node, step.on_error[0].block, site))
    for key, block in (("finally", step.finally_), ("compensate", step.compensate)):
        inner = entries.get(key)
        if (
            block is not None
            and inner is not None
            and not inner.is_null
            and not (site.verb == "try" and key == "finally")
        ):
            found.append(_branch(key, inner, block, site))
    return found
