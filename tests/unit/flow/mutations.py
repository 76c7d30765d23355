"""Broken flows by the thousand: example flows and generated ones, mutated in bytes, lines and tokens.

`python -m tests.unit.flow.mutations [COUNT] [SEED]` runs that many by hand, and prints what took longest and how much
memory the process has come to. A finding is one number, from which `mutated_source` makes the input again.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.unit.flow.kit import CATALOGUE
from tests.unit.flow.test_check import LANGUAGE_EXAMPLE, VISIBLE
from tests.unit.flow.test_codes import TRIGGERS
from tests.unit.flow.test_yaml_source import TEMPLATES
from tests.unit.flow_edit.edits import Draw
from tests.unit.flow_edit.strategies import make_text

from segue.errors import RequestError
from segue.flow import Flow, ReadResult, apply_patches, check_flow, read_flow
from segue.flow import codes as table
from segue.flow.edit import Edit, GraphEdge, apply_edits, graph_of, update_text, write_graph
from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS

SECONDS_MAX: Final = 10.0
"""Of the processor's time: far above what any input takes on a machine at rest (half a second)."""
EXAMPLES: Final = Path(__file__).resolve().parents[3] / "examples"
_PIECES: Final = (
    b"{{", b"}}", b"${{", b"$", b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"\n", b"\r\n", b"\r", b"  ",
    b"'", b'"', b"|", b">",
    b"|+2", b">-", b"&a ", b"*a", b"*a : ", b"!!str ", b"!!binary ", b"!<x> ", b"#", b" #", b"---\n", b"...\n",
    b"%YAML 1.1\n---\n",
    b"\t", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff\xfe", b"\xe2\x80\xa8", b"\xe2\x80\xa9",
    b"\xc2\x85", b"\x1b", b"\x7f",
    "é🎉".encode(), b"\\ud800", b"\\u2028", b"\\x00", b"\\", b"0x", b"1e999", b"-0", b".inf", b"null", b"~", b"$a.b",
    b"99999999999999999999", b"<<: ", b"<<: *a\n", b"a: &x [*x]\n", b"[" * 60, b"{a: " * 60, b"- " * 60, b"(" * 99,
    b"layout: {ids: {parallel_1: parallel_2}, positions: {a: {x: 1}}}\n", b"parallel_1", b"log_1",
    b"needs: [parallel_1]\n",
    *(word.encode() for word in (*VERBS, *MODIFIERS, *FLOW_KEYS, "then", "else", "elif", "do", "cases",
    "catch", "id", "name")),
)  # fmt: skip


@cache
def seeds() -> tuple[bytes, ...]:
    """Flows of every form: the repository's examples, those of the tests, and some hundred that are generated."""
    texts = [LANGUAGE_EXAMPLE, VISIBLE, TEMPLATES, *(text for text in TRIGGERS.values() if len(text) < 2_000)]
    texts += [path.read_text() for path in sorted(EXAMPLES.iterdir()) if path.suffix in (".yaml", ".json")]
    texts += [make_text(number, 1 + number % 6) for number in range(150)]
    texts.append(json.dumps({"tasks": [{"id": "a", "agent_type": "x", "action": "y", "dependencies": ["b"]}]}))
    texts.append(json.dumps({"dag": {"nodes": [{"id": "a", "type": "http", "config": {"url": "x"}, "deps": []}]}}))
    return tuple(text.encode("utf-8", "surrogatepass") for text in texts)


def mutated_source(number: int) -> str | bytes:
    """One input: the same for the same number."""
    rng = random.Random(number)
    roll = rng.random()
    if roll < 0.03:
        return rng.randbytes(rng.randrange(300))
    raw = rng.choice(seeds())
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        raw = rng.choice(_MUTATIONS)(rng, raw)
    raw = raw[:200_000]
    if roll < 0.3:
        return raw
    text = raw.decode("utf-8", "surrogateescape" if roll < 0.4 else "replace")
    return _as_json(rng, text) if roll > 0.9 else text


def _as_json(rng: random.Random, text: str) -> str:
    """The document as JSON text, mutated once more; unreadable ones stay as they are."""
    document = read_flow(text).document
    if document is None:
        return text
    raw = json.dumps(document.root.plain(), indent=rng.choice((None, 1)), ensure_ascii=rng.random() < 0.5)
    return rng.choice(_MUTATIONS)(rng, raw.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def _flip(rng: random.Random, raw: bytes) -> bytes:
    made = bytearray(raw)
    for _ in range(rng.randrange(1, 5)):
        if made:
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _insert(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randrange(len(raw) + 1)
    return raw[:start] + rng.choice(_PIECES) + raw[min(len(raw), start + rng.choice((0, 0, 1, 4, 12))) :]


def _lines(change: Callable[[random.Random, list[bytes]], None]) -> Callable[[random.Random, bytes], bytes]:
    def mutate(rng: random.Random, raw: bytes) -> bytes:
        lines = raw.splitlines(keepends=True)
        if lines:
            change(rng, lines)
        return b"".join(lines)

    return mutate


def _swap(rng: random.Random, lines: list[bytes]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _repeat(rng: random.Random, lines: list[bytes]) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


def _drop(rng: random.Random, lines: list[bytes]) -> None:
    del lines[rng.randrange(len(lines))]


def _indent(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = rng.choice(
        (b"  " + lines[at], b" " + lines[at], lines[at].lstrip(b" "), b"\t" + lines[at], lines[at][1:])
    )


def _splice(rng: random.Random, raw: bytes) -> bytes:
    other = rng.choice(seeds())
    return raw[: rng.randrange(len(raw) + 1)] + other[rng.randrange(len(other) + 1) :]


def _cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _line_ends(rng: random.Random, raw: bytes) -> bytes:
    return raw.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\xe2\x80\xa8", b"\xc2\x85", b"\n\n", b" \n")))


def _mark(rng: random.Random, raw: bytes) -> bytes:
    return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"---\n", b"%YAML 1.2\n---\n", b"# x\n", b"\n\n")) + raw


def _deep(rng: random.Random, raw: bytes) -> bytes:
    depth = rng.choice((10, 50, 99, 150, 2_000))
    opening, closing = rng.choice(
        ((b"[", b"]"), (b"{a: ", b"}"), (b"(", b")"), (b"{{", b"}}"), (b"[x, {if: 1, then: ", b"}]"))
    )
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + opening * depth + b"x" + (closing * depth if rng.random() < 0.7 else b"") + raw[at:]


def _aliases(rng: random.Random, raw: bytes) -> bytes:
    width = rng.choice((2, 9, 30))
    lines = [b"x-a0: &a0 [x, y]"]
    lines += [
        b"x-a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * width)) for n in range(1, rng.choice((3, 8, 20)))
    ]
    return b"\n".join(lines) + b"\n" + raw


def _long(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return (
        raw[:at]
        + rng.choice((b"x", b"\xc3\xa9", b"$a ", b"{{ a }} ", b"a.", b"- ", b"9", b"'", b"1 + "))
        * rng.choice((200, 5_000))
        + raw[at:]
    )


_MUTATIONS: Final = (
    _flip, _flip, _insert, _insert, _insert, _insert, _lines(_swap), _lines(_repeat), _lines(_drop),
    _lines(_indent), _splice, _cut,
    _line_ends, _mark, _deep, _aliases, _long,
)  # fmt: skip


# -- what is promised


def examine(result: ReadResult) -> None:
    """Every promise about a result: known codes, places inside the text, a flow that can be checked and stored."""
    document = result.document
    problems = list(result.problems)
    assert result.flow is not None or problems
    if result.flow is not None:
        problems += check_flow(result.flow, CATALOGUE, runnable=True, document=document)
        stored = msgspec.json.encode(result.flow)
        assert msgspec.json.decode(stored, type=Flow) == result.flow
        check_flow(result.flow, CATALOGUE, runnable=False)
    text = document.text if document is not None else None
    for problem in problems:
        assert problem.code in table.CODES
        str(problem)
        if problem.span is not None and text is not None:
            assert 0 <= problem.span.start <= problem.span.end <= len(text) + 1
            assert problem.span.line >= 1
            assert problem.span.column >= 1
    if text is not None:
        apply_patches(text, problems)


def edit_something(number: int, result: ReadResult) -> None:
    """Draws what was read, and edits it with edits that may be broken: each is made, or refused with a reason."""
    if result.flow is None or result.document is None or result.document.text is None:
        return
    rng = random.Random(number)
    try:
        graph = graph_of(result)
        write_graph(graph)
        if not any(not node.type.startswith("flow.") for node in graph.nodes):
            return
        edit, _ = Draw(rng, graph).edit("fupstamrn")
        apply_edits(result, [_broken(rng, edit) if rng.random() < 0.6 else edit])
        if graph.nodes and rng.random() < 0.3:
            gone = rng.choice(graph.nodes)
            other = rng.choice(graph.nodes)
            edges = (
                *graph.edges,
                GraphEdge(id="new", source=gone.id, target=other.id, source_handle=rng.choice((None, "then", "x"))),
            )
            nodes = tuple(node for node in graph.nodes if node is not gone or rng.random() < 0.5)
            update_text(result, msgspec.structs.replace(graph, nodes=nodes, edges=edges))
    except RequestError as refused:
        if not refused.message:
            raise AssertionError("an edit was refused without a word") from refused


def _broken(rng: random.Random, edit: Edit) -> Edit:
    """The edit with one of its fields made something else."""
    name = rng.choice(edit.__struct_fields__)
    values: tuple[Any, ...] = (
        "", "nobody", "a b", "steps", "parallel_1", ("params", 0), (0,), (), ("then", 99), ("params", "", "x"),
        ("\x00",), "\ud800",
        {"log": {"message": "\ud800"}}, {"a": {"b": [[[{}]]]}}, [], {}, 2**70, float("nan"), 1e308,
        {"parallel": None}, "x" * 3_000,
    )  # fmt: skip
    value = rng.choice([value for value in values if _fits(name, value)] or [getattr(edit, name)])
    return msgspec.structs.replace(edit, **{name: value})


def _fits(name: str, value: Any) -> bool:
    """Whether the field's type allows the value: an API has refused others before."""
    if name == "path":
        return isinstance(value, tuple)
    if name in ("x", "y"):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    if name in ("value", "step"):
        return not isinstance(value, tuple) and (name == "value" or isinstance(value, str))
    return isinstance(value, str) and name != "place"


def try_one(number: int) -> float:
    """Reads, checks and edits one input. Gives the seconds that it took."""
    source = mutated_source(number)
    begin = time.process_time()
    result = read_flow(source)
    examine(result)
    taken = time.process_time() - begin
    begin = time.process_time()
    edit_something(number, result)
    return max(taken, time.process_time() - begin)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    slowest: list[tuple[float, int]] = []
    for number in range(first, first + count):
        try:
            slowest.append((try_one(number), number))
        except Exception as error:  # noqa: BLE001 - every one is a finding, and the run goes on
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
            print(f"{number}: {type(error).__name__} at {where}: {str(error)[:150]!r}", flush=True)
        slowest = sorted(slowest, reverse=True)[:5]
    print("slowest:", ", ".join(f"{number} {seconds:.2f} s" for seconds, number in slowest))
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
