"""Reads document D's form: `definition: {tasks, variables, on_error}` with dependencies, conditional tasks and fan-out.

A task is `{id, name, priority, dependencies, agent_type, action, parameters}`. A conditional task
`{id, condition, thenTasks, elseTasks}` names tasks of the list, which become its branches. A fan-out is
`{id, inputData, taskTemplate, aggregator, concurrency}`. In expressions `vars` and `results` are in scope as there.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final

import msgspec

from segue.expr import ExprError, compile_expression
from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.dag import dependency_edges
from segue.flow.forms.header import read_header
from segue.flow.forms.modifiers import read_modifiers
from segue.flow.forms.node_settings import view
from segue.flow.forms.sequence import take_definitions
from segue.flow.forms.steps import read_block, read_step_body
from segue.flow.model import Block, Edge, Flow, RawMap, Step
from segue.flow.nearest import nearest
from segue.flow.reader import MAX_BLOCK_DEPTH, Reader, as_expression, first_of
from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS

_TASK_KEYS: Final = frozenset(
    (
        "id",
        "name",
        "priority",
        "dependencies",
        "agent_type",
        "agentType",
        "action",
        "parameters",
        "params",
        "type",
        "config",
        "description",
    )
)
_CONDITIONAL_KEYS: Final = frozenset(("condition", "thenTasks", "elseTasks", "then_tasks", "else_tasks"))
_FAN_OUT_KEYS: Final = frozenset(
    ("inputData", "input_data", "taskTemplate", "task_template", "aggregator", "concurrency")
)
_TEMPLATE = re.compile(r"\{\{(?P<inside>(?:(?!\{\{|\}\}).)*)\}\}", re.DOTALL)
_FIELD: Final = re.compile(r"\s*\.\s*(?P<name>[A-Za-z_]\w*)")
_HAS: Final = re.compile(r"\bhas\s*\(\s*\$?\Z")
_WRAPPER_KEYS: Final = frozenset(("definition", "metadata", "status", "workspace_id", "created_at"))


class _Task:
    """A task as read: its step, what it depends on, and the branches of a conditional task."""

    def __init__(self, step: Step, node: Node) -> None:
        self.step = step
        self.node = node
        entries = node.entries or {}
        self.dependencies = first_of(entries, "dependencies", "needs", "depends_on") or _misspelt_dependencies(entries)
        self.branches: dict[str, list[tuple[str, Node]]] = {}


def _misspelt_dependencies(entries: dict[str, Node]) -> Node | None:
    """What stands under a key that must be `dependencies` (and is reported where the task is read)."""
    odd = (key for key in entries if key not in _TASK_KEYS and key not in MODIFIERS)
    return next((entries[key] for key in odd if nearest(key, ("dependencies",)) is not None), None)


def read_tasks(reader: Reader, root: Node) -> Flow:
    """The flow of a task list. Tasks without dependencies between them run side by side."""
    entries = root.entries or {}
    wrapper = root if "tasks" in entries else first_of(entries, "definition", "graph") or root
    inner = wrapper.entries or {}
    header = {key: child for key, child in {**inner, **entries}.items() if key not in ("tasks", "definition")}
    reader.check_keys(entries, {*FLOW_KEYS, *_WRAPPER_KEYS}, "a flow")
    if wrapper is not root:
        reader.check_keys(inner, FLOW_KEYS, "definition")
    take_definitions(reader, header)
    tasks = _read_list(reader, inner.get("tasks"), wrapper)
    homes = _homes(reader, tasks)
    edges = _edges(reader, tasks, homes)
    block = _assemble(tasks, homes, edges)
    span = reader.document.span(inner.get("tasks"))
    root_block = msgspec.structs.replace(block, span=span)
    fields: dict[str, Any] = read_header(reader, header, read_block)
    return Flow(root=root_block, form="tasks", **fields)


def _read_list(reader: Reader, node: Node | None, wrapper: Node) -> dict[str, _Task]:
    if node is not None and not node.is_null and node.items is None:
        hint = "put a dash before each task, and its name under `id`"
        reader.wrong_type(node, "tasks", "a list", hint)
    elif node is None or not node.items:
        reader.problem(codes.NO_STEPS, node or wrapper, "the flow has no tasks", at_key=True)
    tasks: dict[str, _Task] = {}
    for index, item in enumerate((node.items if node is not None else None) or []):
        if not reader.take_step(item):
            break
        task = _read_task(reader, item, join_path(wrapper.path(), "tasks", index))
        if task is None:
            continue
        if task.step.id in tasks:
            message = f'two tasks have the id "{task.step.id[:60]}"'
            reader.problem(codes.DUPLICATE_STEP, item.get("id") or item, message)
            continue
        tasks[task.step.id] = task
    return tasks


def _read_task(reader: Reader, item: Node, path: str) -> _Task | None:
    entries = reader.map_of(item, "a task")
    if entries is None:
        return None
    id_node = first_of(entries, "id", "name")
    if id_node is None or id_node.is_null:
        reader.missing(item, "a task", "id")
        return None
    id = reader.name(id_node, "id")
    if id is None:
        return None
    if "condition" in entries and ("thenTasks" in entries or "then_tasks" in entries or "elseTasks" in entries):
        return _conditional(reader, item, entries, path, id)
    if first_of(entries, "taskTemplate", "task_template") is not None:
        return _fan_out(reader, item, entries, path, id)
    step = _plain(reader, item, entries, path, id)
    return None if step is None else _Task(step, item)


def _modifiers(reader: Reader, entries: dict[str, Node], path: str) -> dict[str, Any]:
    return read_modifiers(reader, entries, path, lambda node, label, where: read_block(reader, node, label, where))


def _plain(reader: Reader, item: Node, entries: dict[str, Node], path: str, id: str) -> Step | None:
    """An agent's action; or a task that is written with a verb of the language."""
    verbs = [key for key in entries if key in VERBS]
    own = {key: child for key, child in entries.items() if key in MODIFIERS or key in verbs}
    own.pop("needs", None)
    own.pop("depends_on", None)
    title = entries.get("name")
    if "adapter" in verbs or not verbs:
        entries = reader.check_keys(entries, {*_TASK_KEYS, *MODIFIERS, "adapter"}, "a task")
        agent = first_of(entries, "agent_type", "agentType", "adapter")
        if agent is None:
            reader.missing(item, "a task", "agent_type")
            return None
        own["adapter"] = agent
        if "action" in entries:
            own["action"] = entries["action"]
    params = first_of(entries, "parameters", "params")
    if params is not None:
        own["params"] = _with_results(params)
    step = read_step_body(reader, view(item, own), path, id)
    if step is None:
        return None
    if title is not None and title.text and title.text != id and step.title is None:
        step = msgspec.structs.replace(step, title=title.text)
    return msgspec.structs.replace(step, span=reader.document.span(item))


def _conditional(reader: Reader, item: Node, entries: dict[str, Node], path: str, id: str) -> _Task:
    entries = reader.check_keys(entries, {*_TASK_KEYS, *MODIFIERS, *_CONDITIONAL_KEYS}, "a task")
    condition = entries["condition"]
    when = reader.expression(condition, "condition")
    reader.place(path, "then.when", condition)
    then = Block(label="then", when=results_as_steps(when or "false"))
    fields = _modifiers(reader, {key: child for key, child in entries.items() if key in MODIFIERS}, path)
    step = Step(id=id, kind="conditional", path=path, blocks=(then,), span=reader.document.span(item), **fields)
    task = _Task(step, item)
    for label, spellings in (("then", ("thenTasks", "then_tasks")), ("else", ("elseTasks", "else_tasks"))):
        node = first_of(entries, *spellings)
        if node is not None and not node.is_null:
            nodes = node.items if node.items is not None else [node]
            task.branches[label] = [(name, child) for child in nodes if (name := reader.name(child, label)) is not None]
    return task


def _fan_out(reader: Reader, item: Node, entries: dict[str, Node], path: str, id: str) -> _Task | None:
    entries = reader.check_keys(entries, {*_TASK_KEYS, *MODIFIERS, *_FAN_OUT_KEYS}, "a task")
    template = first_of(entries, "taskTemplate", "task_template")
    items = first_of(entries, "inputData", "input_data")
    if items is None or template is None or template.entries is None:
        reader.missing(item, "a fan-out", "inputData" if items is None else "taskTemplate")
        return None
    params: RawMap = {"limit": 5, "tolerate": "all"}
    written = items.plain()
    params["items"] = (
        as_expression(written)
        if not isinstance(written, str)
        else results_as_steps(reader.expression(items, "inputData") or "[]")
    )
    reader.place(path, "params.items", items)
    if aggregator := entries.get("aggregator"):
        params["aggregate"] = reader.expression(aggregator, "aggregator")
        reader.place(path, "params.aggregate", aggregator)
    if concurrency := entries.get("concurrency"):
        params["limit"] = reader.integer(concurrency, "concurrency", minimum=1, maximum=10_000) or 5
    inner_id = template.get("id")
    name = (inner_id.text if inner_id is not None else None) or f"{id}_item"
    place = join_path(path, "taskTemplate")
    step = _plain(reader, template, template.entries, place, name)
    if step is None:
        return None
    step = msgspec.structs.replace(step, params={**step.params, "input": "$item"})
    fields = _modifiers(reader, {key: child for key, child in entries.items() if key in MODIFIERS}, path)
    body = Block(label="do", steps=(step,), span=reader.document.span(template))
    loop = Step(
        id=id, kind="foreach", path=path, params=params, blocks=(body,), span=reader.document.span(item), **fields
    )
    return _Task(loop, item)


# -- branches and edges


def _homes(reader: Reader, tasks: dict[str, _Task]) -> dict[str, tuple[str, str]]:
    """The conditional task and branch that each named task belongs to."""
    homes: dict[str, tuple[str, str]] = {}
    for id, task in tasks.items():
        for label, names in task.branches.items():
            for name, node in names:
                if name not in tasks or name == id:
                    others = (other for other in tasks if other != id)
                    reader.unknown_step(node, name, others, "is the id of no other task")
                    reader.document.loose_ends = True
                elif len(_chain(id, homes)) > MAX_BLOCK_DEPTH:
                    reader.problem(
                        codes.TOO_LARGE, node, f"conditional tasks nest deeper than {MAX_BLOCK_DEPTH} levels"
                    )
                elif name in homes or name in _chain(id, homes):
                    reader.problem(codes.DUPLICATE_STEP, node, f"{name} belongs to another branch already")
                else:
                    homes[name] = (id, label)
    return homes


def _edges(
    reader: Reader, tasks: dict[str, _Task], homes: dict[str, tuple[str, str]]
) -> dict[tuple[str, str], list[Edge]]:
    """Edges by block: dependencies, raised to the blocks in which both ends (or what holds them) stand."""
    steps = {id: task.step for id, task in tasks.items()}
    found: dict[tuple[str, str], dict[tuple[str, str], Edge]] = {}
    for id, task in tasks.items():
        if task.dependencies is None:
            continue
        for edge in dependency_edges(reader, task.dependencies, id, steps):
            raised = _raise(edge, homes)
            if raised is not None:
                home, source, target = raised
                found.setdefault(home, {})[(source, target)] = Edge(source, target)
    for id, task in tasks.items():
        for label, names in task.branches.items():
            # Document D runs a branch's tasks one after the other, in the order in which they are named.
            chain = [name for name, _ in names if homes.get(name) == (id, label)]
            block = found.setdefault((id, label), {})
            for source, target in pairwise(chain):
                block.setdefault((source, target), Edge(source, target))
    return {home: list(edges.values()) for home, edges in found.items()}


_ROOT: Final = ("", "root")


def _raise(edge: Edge, homes: dict[str, tuple[str, str]]) -> tuple[tuple[str, str], str, str] | None:
    """The block that holds both ends, and which of its steps they are (in)."""
    sources = {homes.get(id, _ROOT): id for id in _chain(edge.source, homes)}
    for id in _chain(edge.target, homes):
        home = homes.get(id, _ROOT)
        if home in sources:
            return (home, sources[home], id) if sources[home] != id or edge.source == edge.target else None
    return None


def _chain(id: str, homes: dict[str, tuple[str, str]]) -> list[str]:
    chain = [id]
    while chain[-1] in homes:
        chain.append(homes[chain[-1]][0])
    return chain


def _assemble(
    tasks: dict[str, _Task], homes: dict[str, tuple[str, str]], edges: dict[tuple[str, str], list[Edge]]
) -> Block:
    def block(home: tuple[str, str], when: str | None = None) -> Block:
        steps = tuple(make(id) for id in tasks if homes.get(id, _ROOT) == home)
        return Block(label=home[1], steps=steps, edges=tuple(edges.get(home, ())), when=when)

    def make(id: str) -> Step:
        task = tasks[id]
        if not task.branches and task.step.kind != "conditional":
            return task.step
        then = block((id, "then"), task.step.blocks[0].when)
        blocks = (then, block((id, "else"))) if "else" in task.branches else (then,)
        return msgspec.structs.replace(task.step, blocks=blocks)

    return block(_ROOT)


# -- `results`


def results_as_steps(expression: str) -> str:
    """The expression with document D's `results.t1` read as what the step `t1` gave. One that does not compile stays.

    `steps.t1` is not that for a fan-out, whose items' steps it holds.
    """
    try:
        references = compile_expression(expression).references
    except ExprError:
        return expression
    for reference in sorted(references, key=lambda found: -found.start):
        if reference.root == "results":
            start = expression.find("results", reference.start)
            if start >= 0:
                expression = f"{expression[:start]}{_step_of(expression, start)}"
    return expression


def _step_of(expression: str, start: int) -> str:
    """The rest of an expression from its `results` on, which reads a step there."""
    rest = expression[start + len("results") :]
    named = _FIELD.match(rest)
    # `has(…)` asks for a field.
    if named is None or _HAS.search(expression[:start]) is not None:
        return f"steps{rest}"
    return named["name"] + rest[named.end() :]


def _with_results(node: Node) -> Node:
    """Parameters in which references to `results` are read as `steps`."""
    text = node.text
    made = Node(node.scalar, start=node.start, end=node.end, style=node.style)
    made.parent, made.key = node.parent, node.key
    made.key_start, made.key_end = node.key_start, node.key_end
    if node.entries is not None:
        made.entries = {key: _with_results(child) for key, child in node.entries.items()}
    elif node.items is not None:
        made.items = [_with_results(child) for child in node.items]
    elif text is not None and "results" in text:
        made.scalar = _result_text(text)
    return made


def _result_text(text: str) -> str:
    """A text with `results` as `steps` where it refers: a lone reference, or inside `{{ }}`."""
    if text.startswith(("$results.", "$results[")):
        return "$" + _step_of(text, 1)
    return _TEMPLATE.sub(lambda found: "{{ " + results_as_steps(found["inside"].strip()) + " }}", text)
