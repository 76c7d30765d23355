"""What the flow language costs: `python -m bench.language [--quick] [--into FILE]`.

Sequences of 100 to 10,000 steps, each step with parameters, a policy, a condition and a reference to the one before
(`bench/flow_check.py`), are read, checked, drawn, edited and checked again; then conditions are evaluated
(`bench/expr.py`). Every round has names of its own, so that nothing is known from the round before, except where the
table says "again". Times are the processor's, best and median of the rounds, since other programs share the machine.
`--into` puts the table between the marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import expr
from bench.flow_check import CATALOGUE, sequence
from segue.expr import compile_condition
from segue.flow import ReadResult, check_flow, read_flow
from segue.flow.edit import SetField, apply_edits, graph_of, update_text

SIZES: Final = (100, 500, 2_000, 10_000)
ROUNDS: Final = {100: 15, 500: 15, 2_000: 5, 10_000: 1}
BEGIN, END = "<!-- language: begin -->", "<!-- language: end -->"


class Laps:
    """Milliseconds of the processor by what was done."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def take(self, name: str, work: Callable[[], object]) -> None:
        begin = time.process_time()
        work()
        self.times.setdefault(name, []).append((time.process_time() - begin) * 1_000)

    def text(self, name: str) -> str:
        found = self.times[name]
        return f"{min(found):,.1f} [{statistics.median(found):,.1f}]"


def one_round(laps: Laps, steps: int, number: int) -> None:
    name = f"r{number}s"
    text = sequence(steps, name)
    edit = SetField(f"{name}{steps // 2}", ("params", "n"), 7)
    reads: list[ReadResult] = []

    def check(read: ReadResult) -> None:
        assert read.flow is not None
        check_flow(read.flow, CATALOGUE, runnable=True, document=read.document, max_steps=steps)

    def round_trip() -> None:
        first = read_flow(text)
        assert update_text(first, graph_of(first)).patches == ()
        check(apply_edits(first, [edit]).read)

    laps.take("read", lambda: reads.append(read_flow(text)))
    laps.take("check", lambda: check(reads[0]))
    laps.take("check again", lambda: check(reads[0]))
    laps.take("graph of it", lambda: graph_of(reads[0]))
    laps.take("one edit", lambda: apply_edits(reads[0], [edit]))
    laps.take("round trip, edit and check", round_trip)


def table(*, quick: bool) -> str:
    columns: dict[int, Laps] = {}
    for steps in SIZES[:2] if quick else SIZES:
        columns[steps] = Laps()
        for number in range(3 if quick else ROUNDS[steps]):
            one_round(columns[steps], steps, number)
    heads = " | ".join(f"{steps:,} steps" for steps in columns)
    lines = [f"| ms, best [median] | {heads} |", "| --- |" + " --- |" * len(columns)]
    for name in next(iter(columns.values())).times:
        lines.append(f"| {name} | " + " | ".join(laps.text(name) for laps in columns.values()) + " |")
    lines += ["", "| condition | µs |", "| --- | --- |"]
    for source in expr.CONDITIONS:
        condition = compile_condition(source)
        cost = expr.microseconds(lambda condition=condition: condition.evaluate(expr.SCOPE), 2_000 if quick else 20_000)
        lines.append(f"| `{source}` | {cost:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    made = table(quick=options.quick)
    print(made)
    if options.into is not None:
        before, _, rest = options.into.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        options.into.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
