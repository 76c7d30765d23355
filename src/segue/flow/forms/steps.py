"""Reads steps as people write them in YAML: names, one verb, modifiers, in every shorthand of the language.

    - authenticate                                 a name that is used
    - step1: authenticate                          an id and the name it uses
    - verify: {adapter: iam, action: verify_token}  an id and a body
    - name: verify                                 the long form, keys on one level
    - parallel: [send_email, send_sms]             a verb without a name

What a verb's own keys mean is read in `forms/blocks.py` (verbs that hold steps) and `forms/leaves.py` (the others).
"""

from __future__ import annotations

from typing import Any, Final

from segue.flow import codes
from segue.flow.document import Node, join_path
from segue.flow.forms.blocks import BLOCK_VERBS, read_block_verb
from segue.flow.forms.leaves import Parts, is_composite_key, read_leaf_verb, with_own_timeout
from segue.flow.forms.modifiers import read_modifiers
from segue.flow.forms.slips import missing_dash, with_loose_params, with_verb, with_verb_for_name, with_when
from segue.flow.model import Block, Edge, Step
from segue.flow.nearest import nearest, synonym_of
from segue.flow.reader import MAX_BLOCK_DEPTH, Reader, first_of
from segue.flow.verbs import MODIFIERS, VERBS

_CALL_VERBS: Final = ("call", "use", "adapter", "python", "http")
_BESIDE: Final = {name: {key for row in verb.beside for key in (row.name, *row.also)} for name, verb in VERBS.items()}
_BESIDE_ANY: Final = frozenset(key for keys in _BESIDE.values() for key in keys)
_KNOWN: Final = {name: frozenset((name, *beside, *MODIFIERS, "name", "id")) for name, beside in _BESIDE.items()}
_STEP_WORDS: Final = frozenset((*VERBS, *MODIFIERS, *_BESIDE_ANY, "name", "id", "params", "action"))
_FREE: Final = frozenset(("name", "id", "params", "action"))
_NO_NAMES: Final = frozenset((*MODIFIERS, *_FREE))
_DEFAULTED: Final = frozenset(("call", "http", "poll"))
"""Kinds that the flow's `defaults` apply to: those that reach outside and can fail."""


class Source:
    """A step as found: its id, the name it uses (if it has no verb), its keys, and the node to point at."""

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.id: str | None = None
        self.use: str | None = None
        self.title: str | None = None
        self.entries: dict[str, Node] = {}
        self.failed = False


def read_block(reader: Reader, node: Node, label: str, path: str) -> Block:
    """A block: a list of steps in order, or one step in any form."""
    if node.items is not None:
        pairs: list[tuple[Node, str]] = []
        for index, item in enumerate(node.items):
            # Few steps have more than one key on their first level; those may hold several steps.
            held = _held(reader, item, join_path(path, index))
            pairs += held if held is not None else [(item, join_path(path, index))]
    elif (held := _held(reader, node, path)) is not None:
        pairs = held
    elif node.is_null:
        pairs = []
    else:
        pairs = [(node, path)]
    if not pairs:
        reader.problem(codes.EMPTY_BLOCK, node, f"`{label}` has no steps", at_key=True)
    steps: list[Step] = []
    needs: list[Node | None] = []
    if reader.depth >= MAX_BLOCK_DEPTH:
        reader.problem(codes.TOO_LARGE, node, f"blocks nest deeper than {MAX_BLOCK_DEPTH} levels")
        return Block(label=label)
    reader.depth += 1
    for item, place in pairs:
        made = read_step(reader, item, place)
        if made is not None:
            steps.append(made[0])
            needs.append(made[1])
    reader.depth -= 1
    return Block(label=label, steps=tuple(steps), edges=chain(reader, steps, needs), span=reader.document.span(node))


def _held(reader: Reader, node: Node, path: str) -> list[tuple[Node, str]] | None:
    """The steps of a map that holds several where one belongs (reported); None for a step."""
    entries = node.entries
    return missing_dash(reader, node, entries, path) if entries is not None and len(entries) > 1 else None


def chain(reader: Reader, steps: list[Step], needs: list[Node | None]) -> tuple[Edge, ...]:
    """A sequence's edges: each step after the one before it, unless it says what it needs."""
    known = [step.id for step in steps]
    names = frozenset(known)
    edges: dict[tuple[str, str], Edge] = {}
    for index, (step, need) in enumerate(zip(steps, needs, strict=True)):
        sources = known[max(index - 1, 0) : index] if need is None else _needed(reader, need, step.id, names)
        for source in sources:
            edges[(source, step.id)] = Edge(source, step.id)
    return tuple(edges.values())


def _needed(reader: Reader, node: Node, target: str, known: frozenset[str]) -> list[str]:
    """The names under `needs` that are steps of the block."""
    nodes = [node] if node.items is None else node.items
    found: list[str] = []
    for child in nodes:
        if child.is_null:
            continue
        name = reader.name(child, "needs")
        if name is None:
            continue
        if name not in known:
            found += reader.unknown_step(child, name, sorted(known - {target}), "is no step of this block")
        else:
            found.append(name)
    return found


def read_step(reader: Reader, node: Node, path: str) -> tuple[Step, Node | None] | None:
    """One step in any form, with its `needs`; None (and a problem) if it cannot be made out."""
    if not reader.take_step(node):
        return None
    source = _find_source(reader, node, path)
    if source is None:
        return None
    expanded = _expand(reader, source)
    if expanded is not None:
        return expanded
    return _make_step(reader, source)


def read_step_body(reader: Reader, node: Node, path: str, id: str) -> Step | None:
    """A step whose id is known from elsewhere (a definition, a canvas node of a verb's type)."""
    source = Source(node, path)
    source.id = id
    if not _take_body(reader, source, node):
        return None
    made = _expand(reader, source) or _make_step(reader, source)
    return None if made is None else made[0]


# -- what the author wrote


def _find_source(reader: Reader, node: Node, path: str) -> Source | None:
    if node.text is not None:
        return _bare(reader, node, node.text, path)
    if node.entries is None:
        hint = "a step is a name, or a map with one verb"
        reader.wrong_type(
            node, "a step", "a name or a map", hint if node.items is None else "use `parallel:` or `try:`"
        )
        return None
    entries = node.entries
    named = first_of(entries, "id", "name")
    verbs = [key for key in entries if key in VERBS]
    if named is not None and named.text is not None:
        source = Source(node, join_path(path, named.text))
        source.id = named.text
        source.entries = {key: child for key, child in entries.items() if key not in ("id", "name")}
        if "id" in entries and "name" in entries:
            source.title = reader.text(entries["name"], "name")
        return source
    meant = dict(entries) if verbs else with_verb_for_name(reader, entries)
    if meant is not None and _forgotten_indent(entries) is None:
        source = Source(node, path)
        source.entries = meant
        return source
    return _keyed(reader, node, entries, path)


def _forgotten_indent(entries: dict[str, Node]) -> str | None:
    """The step's name in `- charge_card:` whose keys stand beside it instead of inside it."""
    first = next(iter(entries), None)
    if first is None:
        return None
    is_word = first not in VERBS and first not in MODIFIERS and first not in _FREE and first not in _BESIDE_ANY
    if not is_word:
        return None
    if entries[first].text is not None and first not in ("name", "id"):
        # A name that is used, and keys beside it; a misspelt modifier looks the same.
        near = synonym_of(first, MODIFIERS) or nearest(first, (*MODIFIERS, *_BESIDE_ANY))
        return first if near is None else None
    return first if entries[first].is_null else None


def _bare(reader: Reader, node: Node, name: str, path: str) -> Source | None:
    name = name.strip()
    if not name:
        reader.problem(codes.NO_VERB, node, "the step is empty")
        return None
    if name in ("stop", "return"):
        source = Source(node, path)
        source.entries = {name: Node()}
        return source
    if name in VERBS:
        reader.problem(codes.MISSING_KEY, node, f"`{name}` needs a value", suggestion=f"write `{VERBS[name].example}`")
        return None
    source = Source(node, join_path(path, name))
    source.use = name
    source.id = name.rpartition(".")[2]
    return source


def _keyed(reader: Reader, node: Node, entries: dict[str, Node], path: str) -> Source | None:
    """`- verify: {…}`: the one key that is no modifier names the step."""
    taken = _NO_NAMES
    if _forgotten_indent(entries) is not None:
        taken = taken | VERBS.keys() | _BESIDE_ANY
    names = [key for key in entries if key not in taken and not key.startswith("x-")]
    if not names:
        word = next((key for key, child in entries.items() if key in taken and _has_verb(child)), None)
        if word is None:
            reader.problem(codes.NO_VERB, node, "the step has neither a name nor a verb")
        else:
            message = f"`{word}` is a word of the language, so it cannot name a step in this form"
            hint = f"choose another name, or write `- {{name: {word}, …}}`"
            reader.problem(codes.NO_VERB, entries[word], message, at_key=True, suggestion=hint)
        return None
    name = names[0]
    source = Source(node, join_path(path, name))
    source.id = name
    body = entries[name]
    if not _take_body(reader, source, body):
        return None
    if "." in name and source.use is None and not any(key in VERBS for key in source.entries):
        _called_by_key(reader, source, name, body)
    for key, child in entries.items():
        if key == name:
            continue
        if key in names and source.use is not None:
            source.entries[key] = child  # a parameter, perhaps: told when the step is made
        elif key in names:
            reader.unknown_key(key, child, {*MODIFIERS, *VERBS}, f"the step {name}")
        elif key in source.entries:
            reader.problem(codes.DUPLICATE_KEY, child, f"`{key}` stands in the step and beside it", at_key=True)
        else:
            source.entries[key] = child
    if body.start >= 0:
        source.node = body if not body.is_null else node
    return source


def _called_by_key(reader: Reader, source: Source, name: str, body: Node) -> None:
    """`- mail.send: {…}`: reported, and read as a call with what stands below as its parameters."""
    last = name.rpartition(".")[2]
    message = f'"{name[:60]}" is an action, and no name for a step'
    hint = f"write `- {last}: {{call: {name}, params: {{…}}}}`"
    reader.problem(codes.BAD_NAME, body, message, at_key=True, suggestion=hint)
    source.id, source.use = last, name
    loose = {key: child for key, child in source.entries.items() if key not in _STEP_WORDS}
    if loose and "params" not in source.entries:
        source.entries = {key: child for key, child in source.entries.items() if key not in loose}
        source.entries["params"] = view_of(body, loose)


def _has_verb(body: Node) -> bool:
    return body.entries is not None and any(key in VERBS for key in body.entries)


def view_of(node: Node, entries: dict[str, Node]) -> Node:
    """A map of some entries that stands where a node stands."""
    made = Node(entries=entries, start=node.start, end=node.end)
    made.parent, made.key = node.parent, node.key
    made.key_start, made.key_end = node.key_start, node.key_end
    return made


def _take_body(reader: Reader, source: Source, body: Node) -> bool:
    if body.text is not None:
        source.use = body.text.strip() or source.id
    elif body.is_null:
        pass  # the name alone: what it uses is told by the keys beside it, or is the name itself
    elif body.entries is not None:
        source.entries = dict(body.entries)
        named = source.entries.get("name")
        if named is not None and named.text is not None and "name" not in VERBS:
            source.title = named.text
            del source.entries["name"]
    else:
        reader.wrong_type(body, f"the step {source.id}", "a name or a map with one verb")
        return False
    return True


# -- definitions


def _expand(reader: Reader, source: Source) -> tuple[Step, Node | None] | None:
    """The step that a definition of this file stands for; None if the step uses none."""
    name = _used_name(source)
    if name is None or name not in reader.definitions:
        return None
    definition = reader.definitions[name]
    if name in reader.expanding:
        members = reader.expanding[reader.expanding.index(name) :]
        if frozenset(members) not in reader.circles:
            reader.circles.add(frozenset(members))
            message = f"the definition uses itself: {' → '.join([*members, name])}"
            reader.problem(codes.RECURSIVE_DEFINITION, definition, message, at_key=True)
        return _placeholder(reader, source)
    if len(reader.expanding) >= MAX_BLOCK_DEPTH:
        reader.problem(codes.TOO_LARGE, definition, f"definitions use each other more than {MAX_BLOCK_DEPTH} deep")
        return _placeholder(reader, source)
    reader.expanding.append(name)
    try:
        return _expanded_step(reader, source, definition)
    finally:
        reader.expanding.pop()


def _used_name(source: Source) -> str | None:
    if source.use is not None:
        return source.use
    verbs = [key for key in source.entries if key in VERBS]
    if not verbs:
        return source.id
    if verbs[0] in ("use", "call") and len(verbs) == 1:
        return source.entries[verbs[0]].text
    return None


def _expanded_step(reader: Reader, source: Source, definition: Node) -> tuple[Step, Node | None]:
    inner = Source(source.node, source.path)
    inner.id = source.id or str(definition.key)
    inner.title = source.title
    if definition.items is not None:
        return _group(reader, source, definition)
    if not _take_body(reader, inner, definition):
        return _placeholder(reader, source)
    if definition.is_null or inner.use == definition.key:
        inner.use = None
        reader.problem(codes.NO_VERB, definition, f"the definition {definition.key} says nothing", at_key=True)
        return _placeholder(reader, source)
    own = {key: child for key, child in source.entries.items() if key not in ("use", "call")}
    if "params" in own and "params" in inner.entries:
        own["params"] = _merged(inner.entries["params"], own["params"])
    inner.entries.update(own)
    made = _expand(reader, inner) or _make_step(reader, inner)
    return made if made is not None else _placeholder(reader, source)


def _group(reader: Reader, source: Source, definition: Node) -> tuple[Step, Node | None]:
    """A definition that is a list: its steps as one block under the name of the step that uses it."""
    block = read_block(reader, definition, "do", join_path(source.path, "do"))
    own = {key: child for key, child in source.entries.items() if key not in ("use", "call")}
    reader.check_keys(own, MODIFIERS, f"the step {source.id}")
    fields = read_modifiers(reader, own, source.path, lambda node, label, path: read_block(reader, node, label, path))
    step = Step(
        id=source.id or str(definition.key), kind="try", path=source.path, blocks=(block,),
        span=reader.document.span(source.node), **fields,
    )  # fmt: skip
    return step, first_of(own, "needs", "depends_on")


def _merged(base: Node, over: Node) -> Node:
    """Parameters of a definition, those of its use put over them."""
    if base.entries is None or over.entries is None:
        return over
    merged = Node(entries={**base.entries, **over.entries}, start=over.start, end=over.end)
    merged.parent, merged.key = over.parent, over.key
    return merged


def _placeholder(reader: Reader, source: Source) -> tuple[Step, Node | None]:
    """A step that keeps its name known, so that one mistake does not make its followers look wrong."""
    id = source.id or reader.numbering.id_of("step", source.path)
    step = Step(id=id, kind="start", path=source.path, span=reader.document.span(source.node))
    return step, source.entries.get("needs")


# -- the step itself


def _make_step(reader: Reader, source: Source) -> tuple[Step, Node | None] | None:
    if "if" in source.entries and len(source.entries) > 1:
        source.entries = with_when(reader, source.entries, f"the step {source.id}" if source.id else "the step")
    if source.use is None and not any(key in VERBS for key in source.entries):
        source.entries = with_verb(reader, source.entries, f"the step {source.id}" if source.id else "a step")
    verb = _verb_of(reader, source)
    if verb is None:
        return _placeholder(reader, source)
    entries = _with_defaults(reader, source.entries, verb)
    beside = _BESIDE[verb]
    if not entries.keys() <= _KNOWN[verb]:
        known = set(_KNOWN[verb])
        for other in entries:
            if other in VERBS:
                # A second verb is reported as one, if it may not stand here; its keys are no mistakes of their own.
                known |= {other, *_BESIDE[other]}
        if verb in _CALL_VERBS and verb != "http":
            entries = with_loose_params(reader, entries, known)
        entries = reader.check_keys(entries, known, f"the step {source.id}" if source.id else f"`{verb}`")
    id = source.id
    if id is None:
        id = _id_of(reader, verb, entries, source.path)
    entries = with_own_timeout(verb, entries)
    if verb in BLOCK_VERBS:
        parts = read_block_verb(reader, verb, entries, source.path, read_block)
    else:
        parts = read_leaf_verb(reader, verb, entries, source.path, use=source.use, id=id)
    own = entries if entries.keys().isdisjoint(beside) else {key: entries[key] for key in entries if key not in beside}
    fields: dict[str, Any] = read_modifiers(
        reader, own, source.path, lambda node, label, path: read_block(reader, node, label, path)
    )
    fields.update(parts.fields)
    if parts.extras:
        fields["extras"] = {**fields.get("extras", {}), **parts.extras}
    if source.title is not None:
        fields.setdefault("title", source.title)
    step = Step(
        id=id, kind=parts.kind, path=source.path, params=parts.params, blocks=parts.blocks,
        span=reader.document.span(source.node), **fields,
    )  # fmt: skip
    return step, first_of(own, "needs", "depends_on")


def _with_defaults(reader: Reader, entries: dict[str, Node], verb: str) -> dict[str, Node]:
    if not reader.defaults or VERBS[verb].kind not in _DEFAULTED:
        return entries
    return {**{key: child for key, child in reader.defaults.items() if key not in entries}, **entries}


def _verb_of(reader: Reader, source: Source) -> str | None:
    """The step's one verb; without one, the step uses a name."""
    entries = source.entries
    verbs = [key for key in entries if key in VERBS]
    if "flow" in verbs and "wait" in verbs:
        verbs.remove("wait")  # the sub-flow's own key: whether its end is waited for
    main = [key for key in verbs if not is_composite_key(key)] if any(key in _CALL_VERBS for key in verbs) else verbs
    if source.use is not None:
        main = [key for key in main if not is_composite_key(key)]
    if "try" in main and len(main) > 1:
        main = [key for key in main if key != "try"] if "try" not in entries else main
    if not main:
        if "action" in entries and "." not in (entries["action"].text or ""):
            reader.missing(entries["action"], "a step with `action`", "adapter")
            return None
        if source.use is None and source.id is None:
            reader.problem(codes.NO_VERB, source.node, "the step has neither a name nor a verb")
            return None
        if source.use is None:
            source.use = entries["action"].text if "action" in entries else source.id
        return "use"
    if len(main) > 1 or source.use is not None:
        other = main[1] if len(main) > 1 else f"use {source.use}"
        node = entries[main[-1]]
        message = f"the step has two verbs, `{main[0]}` and `{other}`"
        reader.problem(codes.TWO_VERBS, node, message, at_key=True, suggestion="make two steps of it")
        return main[0]
    return main[0]


def _id_of(reader: Reader, verb: str, entries: dict[str, Node], path: str) -> str:
    """A name for a step that has none: what it calls, or the verb with a number."""
    if verb in ("call", "use", "python") and entries[verb].text:
        last = (entries[verb].text or "").rpartition(".")[2].strip()
        if last.isidentifier():
            return last
    if verb == "adapter":
        action = entries.get("action")
        word = (action.text if action is not None else entries["adapter"].text) or ""
        if word.isidentifier():
            return word
    return reader.numbering.id_of("conditional" if verb == "if" else verb, path)


__all__ = ["Parts", "read_block", "read_step", "read_step_body"]
