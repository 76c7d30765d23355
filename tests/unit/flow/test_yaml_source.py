"""Text becomes a tree by the rules of YAML 1.2, with true places, or problems with places; nothing else."""

from __future__ import annotations

import json

import pytest

from segue.flow.document import Document, Node
from segue.flow.model import JsonValue
from segue.flow.yaml_source import MAX_CHARACTERS, read_source


def tree(text: str | bytes) -> Document:
    document, problems = read_source(text)
    assert document is not None, problems
    assert not [problem for problem in problems if problem.severity == "error"], problems
    return document


def value(text: str) -> JsonValue:
    return tree(text).root.plain()


def node(document: Document, *keys: str | int) -> Node:
    found = document.root
    for key in keys:
        child = found.items[key] if isinstance(key, int) and found.items is not None else found.get(str(key))
        assert child is not None
        found = child
    return found


def text_of(document: Document, found: Node) -> str:
    assert document.text is not None
    return document.text[found.start : found.end]


@pytest.mark.req("FLOW-1.yaml")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NO", "NO"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("22:22", "22:22"), ("1:30:00", "1:30:00"), ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("Null", None),
        ("12", 12), ("-3", -3), ("+3", 3), ("010", 10), ("0o10", 8), ("0x1F", 31), ("1_000", "1_000"),
        ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("1.2.3", "1.2.3"), ("-", ["", None][1:]),
        ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("!!float 3", 3), ("0b1", "0b1"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, meant: JsonValue) -> None:
    assert value(f"a: {written}" if written != "-" else "a:\n-") == {"a": meant}


@pytest.mark.req("FLOW-1.yaml")
def test_keys_are_text_as_written() -> None:
    assert value("on: 1\n22:22: 2\nno: 3\n3: 4") == {"on": 1, "22:22": 2, "no": 3, "3": 4}


@pytest.mark.req("FLOW-5.place")
def test_every_value_and_key_knows_its_place() -> None:
    text = "# first\nflow: größe 🎉\nsteps:\n  - a: {b: 'c d', e: [1, \"x\"]}   # end\n  - f\n\n# last\n"
    document = tree(text)
    assert text_of(document, node(document, "flow")) == "größe 🎉"
    assert text_of(document, node(document, "steps", 0, "a")) == "{b: 'c d', e: [1, \"x\"]}"
    assert text_of(document, node(document, "steps", 0, "a", "e", 1)) == '"x"'
    assert text_of(document, node(document, "steps")) == "- a: {b: 'c d', e: [1, \"x\"]}   # end\n  - f"
    span = document.key_span(node(document, "steps", 0, "a", "b"))
    assert span is not None
    assert (span.line, span.column) == (4, 9)
    assert node(document, "steps", 0, "a", "e", 1).path() == "steps[0].a.e[1]"


@pytest.mark.req("FLOW-5.place")
def test_places_count_lines_of_every_kind() -> None:
    document = tree("a: 1\r\nb: 2\rc: 3\nd: x")
    span = document.span(node(document, "d"))
    assert span is not None
    assert (span.line, span.column) == (4, 4)


@pytest.mark.req("FLOW-5.duplicates")
def test_a_duplicate_key_is_refused_with_the_line_of_the_first() -> None:
    document, problems = read_source("a: 1\nb:\n  c: 1\n  c: 2\n")
    assert document is not None
    assert [(problem.code, problem.path) for problem in problems] == [("FLW002", "b")]
    assert "line 3" in problems[0].message
    assert problems[0].span is not None
    assert (problems[0].span.line, problems[0].span.column) == (4, 3)


def test_aliases_are_copied_and_counted() -> None:
    assert value("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]") == {
        "a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}, {"b": [1, 2]}],
    }  # fmt: skip
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    document, problems = read_source("\n".join(lines))
    assert document is None
    assert [problem.code for problem in problems] == ["FLW003"]


def test_an_alias_to_itself_is_a_problem() -> None:
    _, problems = read_source("a: &x [*x]")
    assert [problem.code for problem in problems] == ["FLW001"]


@pytest.mark.parametrize("text", ["[" * 5_000, "- " * 5_000 + "a", "{a: " * 5_000, '{"a":' * 5_000, "? " * 3_000])
def test_depth_is_bounded(text: str) -> None:
    document, problems = read_source(text)
    assert document is None or problems
    assert any(problem.code in ("FLW003", "FLW001", "FLW005") for problem in problems)


def test_size_is_bounded() -> None:
    document, problems = read_source("a" * (MAX_CHARACTERS + 1))
    assert document is None
    assert [problem.code for problem in problems] == ["FLW003"]


@pytest.mark.req("FLOW-5.schema")
@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: b: c", "FLW001", 1, 5),
        ("a:\n\tb: 1", "FLW001", 2, 1),
        ("a: [1, 2\nb: 3", "FLW001", 1, 4),
        ("a: 'open", "FLW001", 1, 4),
        ("a: 1\n b: 2", "FLW001", 2, 2),
        ("a: \x01", "FLW006", 1, 4),
        ("a: 1\n---\nb: 2", "FLW005", 2, 1),
        ("<<: {a: 1}", "FLW005", 1, 1),
        ("a: !!set {b}", "FLW005", 1, 4),
        ("? [a, b]\n: c", "FLW005", 1, 3),
        ("a: 99999999999999999999", "FLW007", 1, 4),
        ("a: .inf", "FLW007", 1, 4),
        ("a: 1e999", "FLW007", 1, 4),
        ("a: *nowhere", "FLW001", 1, 4),
        ('{"a": 1,, "b": 2}', "FLW001", 1, 9),
    ],
)
def test_what_is_wrong_has_a_place(text: str, code: str, line: int, column: int) -> None:
    _, problems = read_source(text)
    first = next(problem for problem in problems if problem.code == code)
    assert first.span is not None
    assert (first.span.line, first.span.column) == (line, column)


def test_bytes_that_are_no_text_are_a_problem() -> None:
    assert [problem.code for problem in read_source(b"a: \xff")[1]] == ["FLW006"]
    assert [problem.code for problem in read_source("a: \ud800")[1]] == ["FLW006"]
    assert value("﻿a: 1") == {"a": 1}


@pytest.mark.req("FLOW-1.json")
def test_json_is_read_by_the_same_rules() -> None:
    body: JsonValue = {
        "name": "x/y", "n": [1, -2.5, 1e30, True, None, {"deep": []}], "é": "\"quoted\"\t\n\\ 🎉", "empty": {},
    }  # fmt: skip
    for text in (json.dumps(body), json.dumps(body, indent=2), json.dumps(body, indent="\t", ensure_ascii=False)):
        assert value(text) == body


@pytest.mark.req("FLOW-1.json")
def test_json_that_yaml_cannot_read_is_read_as_json() -> None:
    long_key = "k" * 2_000
    assert value(json.dumps({long_key: "\ud83c\udf89", "a": "\\/"})) == {long_key: "🎉", "a": "\\/"}
    _, problems = read_source('{"a": "\\ud83c\\udf89", "a": 2}')
    assert [problem.code for problem in problems] == ["FLW002"]


TEMPLATES = """\
a: {{ x.y + 1 }}   # comment
b: [1, {{ q ? "}" : 'b' }}, {c: {{ d }}}]
block: |
  {{ untouched }}
  - {{ untouched }}
folded: >-
    key: {{ untouched }}
list:
  - {{ a }} and {{ b }} rest
  - ${{ a ? b : c }}
  - - {{ nested }}
plain: hello
  {{ goes_on }}
quoted: "{{ already }}"
single: 'it''s {{ fine }}'
multi: {{ a +
  b }}
"""


@pytest.mark.req("EXEC-8.unquoted-computation")
def test_unquoted_templates_are_repaired_and_nothing_else_is() -> None:
    document, problems = read_source(TEMPLATES)
    assert document is not None
    assert document.root.plain() == {
        "a": "{{ x.y + 1 }}",
        "b": [1, "{{ q ? \"}\" : 'b' }}", {"c": "{{ d }}"}],
        "block": "{{ untouched }}\n- {{ untouched }}\n",
        "folded": "key: {{ untouched }}",
        "list": ["{{ a }} and {{ b }} rest", "${{ a ? b : c }}", ["{{ nested }}"]],
        "plain": "hello {{ goes_on }}",
        "quoted": "{{ already }}",
        "single": "it's {{ fine }}",
        "multi": "{{ a + b }}",
    }
    assert {problem.code for problem in problems} == {"FLW004"}
    assert len(problems) == 7


@pytest.mark.req("FLOW-5.place")
def test_places_behind_a_repair_are_those_of_the_authors_text() -> None:
    document = tree(TEMPLATES)
    assert text_of(document, node(document, "a")) == "{{ x.y + 1 }}"
    assert text_of(document, node(document, "b", 1)) == "{{ q ? \"}\" : 'b' }}"
    assert text_of(document, node(document, "list", 0)) == "{{ a }} and {{ b }} rest"
    assert text_of(document, node(document, "single")) == "'it''s {{ fine }}'"
    span = document.key_span(node(document, "multi"))
    assert span is not None
    assert (span.line, span.column) == (16, 1)
