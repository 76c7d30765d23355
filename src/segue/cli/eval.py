"""`segue eval`: what an expression gives, one at a time or thousands of lines in a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, BinaryIO

import typer

from segue.cli.errors import FAILED, SUCCEEDED
from segue.cli.options import JsonOption
from segue.errors import RequestError

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line of a batch is answered with an error, so that no line can use up the memory."""


def eval(
    expression: Annotated[
        str | None, typer.Argument(metavar="[EXPR]", help="The expression, as it stands in a condition.")
    ] = None,
    bind: Annotated[
        list[str] | None,
        typer.Option("--bind", "-b", metavar="NAME=JSON", help="A name's value; what is no JSON is text. Repeatable."),
    ] = None,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="Read JSON lines {expr, bindings} from stdin; write {value} or {error} for each."),
    ] = False,
    json: JsonOption = False,
) -> int:
    """Evaluate an expression and print its value as JSON. Exit code 1 if it has none; a batch always goes on."""
    if batch:
        if expression is not None or bind:
            raise RequestError("--batch takes its expressions and bindings from stdin; leave EXPR and --bind out")
        evaluate_lines(sys.stdin.buffer, sys.stdout.buffer)
        return SUCCEEDED
    if expression is None:
        raise RequestError("name an expression, such as: segue eval '1 + 1'; or --batch")
    return _evaluate_one(expression, bind or [], json)


def _evaluate_one(expression: str, pairs: list[str], as_json: bool) -> int:
    from segue.cli.output import print_json
    from segue.expr import evaluate_case

    answer = evaluate_case(expression, dict(_binding(pair) for pair in pairs))
    error: Any = answer.get("error")
    if as_json:
        print_json(answer)
    elif error is None:
        print_json(answer["value"])
    else:
        hint = f"; {error['suggestion']}" if error["suggestion"] else ""
        print(f"segue: {error['code']} {error['message']}{hint}", file=sys.stderr)
        if error["start"] >= 0:
            print(f"  {expression}\n  {' ' * error['start']}^", file=sys.stderr)
    return SUCCEEDED if error is None else FAILED


def _binding(pair: str) -> tuple[str, object]:
    import msgspec

    name, sign, text = pair.partition("=")
    if not sign or not name:
        raise RequestError(f"--bind {pair!r}: write NAME=JSON, such as --bind 'order={{\"total\": 3}}'")
    try:
        return name.lstrip("$"), msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name.lstrip("$"), text


def evaluate_lines(lines: BinaryIO, answers: BinaryIO) -> None:
    """Answer each JSON line `{expr, bindings}` with one line `{"value": …}` or `{"error": {code, message, …}}`.

    Every line is answered, in order and at once, whatever it holds; a line that is no case has the code `bad_line`.
    """
    import msgspec

    from segue.expr import evaluate_case

    decode = msgspec.json.Decoder().decode
    encode = msgspec.json.Encoder().encode
    while line := lines.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            _skip_rest(lines)
            answer = _bad_line(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
        else:
            answer = _answer(line, decode, evaluate_case)
        answers.write(_encoded(answer, encode) + b"\n")
        answers.flush()


def _answer(line: bytes, decode: Callable[[bytes], Any], evaluate_case: Callable[..., dict[str, object]]) -> object:
    import msgspec

    try:
        case = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _bad_line(f"the line is no JSON: {error}")
    except RecursionError:
        return _bad_line("the line's JSON is nested too deep")
    if not isinstance(case, dict):
        return _bad_line('the line is no object; write {"expr": "…", "bindings": {…}}')
    expression: Any = case.get("expr")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    bindings: Any = case.get("bindings")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(expression, str):
        return _bad_line("`expr` is a text")
    if bindings is not None and not isinstance(bindings, dict):
        return _bad_line("`bindings` is an object")
    return evaluate_case(expression, bindings or {})


def _encoded(answer: object, encode: Callable[[object], bytes]) -> bytes:
    """The answer as JSON; integers beyond 64 bits, which inputs may hold, are beyond the encoder."""
    try:
        return encode(answer)
    except (OverflowError, ValueError, RecursionError) as error:
        return encode(_bad_line(f"the value cannot be written as JSON: {error}"))


def _bad_line(message: str) -> dict[str, object]:
    return {"error": {"code": "bad_line", "message": message, "start": -1, "end": -1, "suggestion": None}}


def _skip_rest(lines: BinaryIO) -> None:
    while part := lines.readline(MAX_LINE_BYTES):
        if part.endswith(b"\n"):
            return
