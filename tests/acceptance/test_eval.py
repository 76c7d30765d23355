"""`segue eval` and `segue schema` as a shell sees them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from segue.cli.eval import MAX_LINE_BYTES, evaluate_lines
from segue.flow.schema import schema_text

SEGUE = [sys.executable, "-m", "segue"]


def segue(*arguments: str, stdin: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    given = stdin.encode() if isinstance(stdin, str) else stdin
    return subprocess.run([*SEGUE, *arguments], input=given, capture_output=True, timeout=60, check=False)


def answers_to(*lines: bytes) -> list[dict]:
    out = io.BytesIO()
    evaluate_lines(io.BytesIO(b"".join(line + b"\n" for line in lines)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.req("EXEC-8.eval")
def test_an_expression_prints_its_value_as_json() -> None:
    done = segue("eval", "$order.total * 1.2 > limit", "--bind", 'order={"total": 100}', "--bind", "limit=119")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"true\n", b"")


@pytest.mark.req("EXEC-8.eval")
def test_a_binding_that_is_no_json_is_text() -> None:
    assert segue("eval", "name | upper", "--bind", "name=ada").stdout == b'"ADA"\n'


@pytest.mark.req("EXEC-8.eval")
def test_an_expression_without_a_value_is_one_line_and_the_place() -> None:
    done = segue("eval", "1 + nobody")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines() == ["segue: EXP101 unknown name `nobody`", "  1 + nobody", "      ^"]


@pytest.mark.req("EXEC-8.eval-batch")
def test_a_batch_answers_every_line_in_order_and_stops_at_none() -> None:
    lines = [
        '{"expr": "a + b", "bindings": {"a": 1, "b": 2}}',
        "{this is no JSON",
        '{"expr": "1 / 0"}',
        '["no object"]',
        '{"bindings": {}}',
        '{"expr": "size(x)", "bindings": {"x": "four"}}',
    ]
    done = segue("eval", "--batch", stdin="\n".join(lines) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [set(answer) for answer in answers] == [{"value"}, {"error"}, {"error"}, {"error"}, {"error"}, {"value"}]
    assert (answers[0]["value"], answers[5]["value"]) == (3, 4)
    assert [answers[index]["error"]["code"] for index in (1, 2, 3, 4)] == ["bad_line", "EXP105", "bad_line", "bad_line"]


@pytest.mark.req("EXEC-8.eval-batch")
def test_a_batch_answers_before_the_next_line_is_written() -> None:
    with subprocess.Popen([*SEGUE, "eval", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(json.dumps({"expr": "n + 1", "bindings": {"n": number}}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"value": number + 1}
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.req("EXEC-8.eval-batch")
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"expr": 3}',
        b'{"expr": "x", "bindings": []}',
        b'{"expr": "\\ud800"}',
        b"null",
    ],
)
def test_hostile_lines_are_answered_and_the_next_one_too(line: bytes) -> None:
    first, second = answers_to(line, b'{"expr": "1"}')
    assert first["error"]["code"] == "bad_line"
    assert second == {"value": 1}


@pytest.mark.req("EXEC-8.eval-batch")
def test_a_line_that_is_too_long_is_refused_whole() -> None:
    long = b'{"expr": "' + b"1" * MAX_LINE_BYTES + b'"}'
    first, second = answers_to(long, b'{"expr": "2"}')
    assert "longer" in first["error"]["message"]
    assert second == {"value": 2}


@pytest.mark.req("FLOW-13.published")
def test_the_schema_is_printed_or_written_to_a_file(tmp_path: Path) -> None:
    assert segue("schema").stdout.decode() == schema_text()
    target = tmp_path / "flow.schema.json"
    assert segue("schema", "--output", str(target)).returncode == 0
    assert target.read_text(encoding="utf-8") == schema_text()


@pytest.mark.req("FLOW-13.published")
def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    done = segue("schema", "--output", str(tmp_path / "nowhere" / "x.json"))
    assert done.returncode == 2
    assert done.stderr.decode().startswith("segue: ")
