"""Tables of the benchmark's figures: `python -m bench.report FILE.jsonl… [--into bench/RESULTS.md]`.

Standard library only.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]
"""One measurement as run.py wrote it: JSON from outside, typed no further."""

NOTHING = "-"
ORDER = ("limit", "segue", "restate", "dbos")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: which measurements it is read from, and how it stands beside the bare loop."""

    label: str
    workload: str
    value: Callable[[Line], float | None]
    form: str | None = None
    ratio: str | None = None
    """`share` (more is better, in % of the loop), `times` (less is better, as a multiple) or None."""


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile of a list that is not empty."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _pick(key: str) -> Callable[[Line], float | None]:
    return lambda line: line.get(key)


def _part(key: str, share: float) -> Callable[[Line], float | None]:
    return lambda line: percentile(line[key], share) if line.get(key) else None


def _sum(key: str) -> Callable[[Line], float | None]:
    return lambda line: sum(line[key].values()) if line.get(key) else None


ROWS = (
    Row(label="W1 flows/s, 100 in flight", workload="w1", value=_pick("flows_per_s"), ratio="share"),
    Row(label="W1 flows/s, no event log", workload="w1", value=_pick("unmarked_flows_per_s"), ratio="share"),
    Row(label="W1 CPU ms a flow", workload="w1", value=_pick("cpu_ms_per_flow"), ratio="times"),
    Row(label="start: first step, ms p50", workload="start", value=_part("first_step_ms", 0.5), ratio="times"),
    Row(label="start: first step, ms p95", workload="start", value=_part("first_step_ms", 0.95)),
    Row(label="start: first step, ms p99", workload="start", value=_part("first_step_ms", 0.99)),
    Row(label="last step begun, ms p50", workload="start", value=_part("last_step_ms", 0.5), ratio="times"),
    Row(label="caller sees the result, ms p50", workload="start", value=_part("result_ms", 0.5), ratio="times"),
    Row(label="caller sees the result, ms p99", workload="start", value=_part("result_ms", 0.99)),
    Row(label="W2 1,000 parallel steps, s", workload="w2", form="fan", value=_pick("seconds"), ratio="times"),
    Row(label="W2 as `foreach`, s", workload="w2", form="foreach", value=_pick("seconds")),
    Row(label="W3 ms a step, 50 in a chain", workload="w3", value=_pick("ms_per_step"), ratio="times"),
    Row(label="W4 first of 100 goes on, s", workload="w4", value=_pick("first_going_on_s"), ratio="times"),
    Row(label="W4 all 100 go on, s", workload="w4", value=_pick("all_going_on_s"), ratio="times"),
    Row(
        label="W4 all 100 go on, s after imports",
        workload="w4",
        value=_pick("all_after_opening_s"),
        ratio="times",
    ),
    Row(label="W4 all 100 done, s (3 asleep)", workload="w4", value=_pick("all_done_s")),
    Row(label="W4 interrupted steps run again", workload="w4", value=_pick("interrupted_steps_again")),
    Row(label="W4 finished steps run again", workload="w4", value=_pick("finished_steps_again")),
    Row(label="memory at rest, MB", workload="mem", value=_sum("memory_at_rest_mb"), ratio="times"),
    Row(label="memory after W1, MB", workload="w1", value=_sum("memory_loaded_mb"), ratio="times"),
    Row(label="cold start, s", workload="cold", value=_pick("cold_start_s"), ratio="times"),
    Row(label="cold start on an empty disk, s", workload="cold", value=_pick("first_ever_s")),
    Row(label="syncs a flow, alone", workload="syncs", value=_pick("syncs_per_flow_alone")),
    Row(label="syncs a flow, 100 in flight", workload="syncs", value=_pick("syncs_per_flow_loaded")),
)

GOALS: tuple[tuple[str, str, float, str], ...] = (
    ("W1 flows/s, 100 in flight", "share", 0.29, "≥ 29 % of the bare loop, both with the event log"),
    ("W1 flows/s, no event log", "share", 0.29, "≥ 29 % of the bare loop, both without"),
    ("start: first step, ms p50", "value", 2.0, "≤ 2 ms"),
    ("W2 1,000 parallel steps, s", "value", 0.15, "≤ 0.15 s"),
    ("W3 ms a step, 50 in a chain", "times", 1.5, "at most 1.5 times the bare loop"),
    ("syncs a flow, 100 in flight", "value", 0.1, "≤ 0.1"),
    ("W4 all 100 go on, s", "value", 0.3, "≤ 0.3 s from the start of the process"),
    ("W4 all 100 go on, s after imports", "value", 0.3, "≤ 0.3 s from the opening of the store"),
    ("memory at rest, MB", "value", 120.0, "≤ 120 MB"),
    ("cold start, s", "value", 1.0, "< 1 s"),
)
"""(row, how it is judged, bound, in words): the goals of the founding design for the embedded engine."""


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(abs(value))))}f}"


def _by_round(lines: list[Line], row: Row, system: str, read: Callable[[Line], float | None]) -> dict[int, float]:
    found: dict[int, float] = {}
    for line in lines:
        same_form = row.form is None or line.get("form") == row.form
        if line["system"] == system and line["workload"] == row.workload and same_form:
            value = read(line)
            if value is not None:
                found[line["round"]] = value
    return found


def _cell(lines: list[Line], row: Row, system: str) -> str:
    values = list(_by_round(lines, row, system, row.value).values())
    if not values:
        return NOTHING
    shown = _number(median(values))
    if len(values) > 1 and min(values) != max(values):
        shown += f" [{_number(min(values))}, {_number(max(values))}]"
    return shown


def ratio(lines: list[Line], row: Row, system: str) -> float | None:
    """The median over the rounds of this system's figure by the loop's figure of the same round."""
    loop = _by_round(lines, row, "limit", row.value)
    own = _by_round(lines, row, system, row.value)
    both = [own[number] / loop[number] for number in own if loop.get(number)]
    return median(both) if both else None


def _ratio_cell(lines: list[Line], row: Row, system: str) -> str:
    found = ratio(lines, row, system)
    if found is None:
        return NOTHING
    return f"{_number(100 * found)} %" if row.ratio == "share" else f"{_number(found)} times"


def _table(head: list[str], rows: list[list[str]]) -> str:
    body = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in body)


def _goal_rows(lines: list[Line]) -> list[list[str]]:
    shown: list[list[str]] = []
    for label, kind, bound, words in GOALS:
        row = next(row for row in ROWS if row.label == label)
        values = list(_by_round(lines, row, "segue", row.value).values())
        found = ratio(lines, row, "segue") if kind != "value" else (median(values) if values else None)
        if found is None:
            shown.append([label, words, NOTHING, "not measured"])
            continue
        measured = {"share": f"{_number(100 * found)} %", "times": f"{_number(found)} times"}.get(kind, _number(found))
        met = found >= bound if kind == "share" else found <= bound
        shown.append([label, words, measured, "yes" if met else "**no**"])
    return shown


def _noise(lines: list[Line]) -> str:
    others = [line["others_cores"] for line in lines if "others_cores" in line]
    syncs = [line["fdatasync_ms"] for line in lines if "fdatasync_ms" in line]
    said = f"Rounds: {len({line['round'] for line in lines})}."
    if python := next((line["python"] for line in lines if "python" in line), None):
        work = [line["mixed_work_ms"] for line in lines if "mixed_work_ms" in line]
        said += f" Python {python}: {median(work):.0f} ms for the fixed work of `bench/kit/interpreter.py`."
    if others:
        said += f" Cores kept busy by others meanwhile: median {median(others):.2f}, most {max(others):.2f}."
    if syncs:
        said += f" One fdatasync after a 4 KiB append: {median(syncs):.2f} ms."
    return said


def tables(lines: list[Line]) -> str:
    """All figures as Markdown: medians with [lowest, highest], ratios to the loop of the same round, goals, noise."""
    systems = [name for name in ORDER if any(line["system"] == name for line in lines)]
    rows = [row for row in ROWS if any(line["workload"] == row.workload for line in lines)]
    parts = [_table(["", *systems], [[row.label, *(_cell(lines, row, name) for name in systems)] for row in rows])]
    others = [name for name in systems if name != "limit"]
    if "limit" in systems and others:
        cells = [[row.label, *(_ratio_cell(lines, row, name) for name in others)] for row in rows if row.ratio]
        parts.append("Beside the bare loop of the same round:\n\n" + _table(["", *others], cells))
    if "segue" in systems:
        parts.append("Goals of the design:\n\n" + _table(["", "goal", "measured", "met"], _goal_rows(lines)))
    parts.append(_noise(lines))
    failures = [f"- {line['system']} {line['workload']}: {line['failed']}" for line in lines if "failed" in line]
    if failures:
        parts.append("Failed:\n\n" + "\n".join(failures))
    return "\n\n".join(parts) + "\n"


def one_line(line: Line) -> str:
    """A measurement as it passes by."""
    head = f"round {line['round'] + 1} {line['workload']:<5} {line['system']:<8}"
    if "failed" in line:
        return f"{head} FAILED {line['failed']}"
    said: list[str] = []
    for row in ROWS:
        if row.workload == line["workload"] and row.form in (None, line.get("form")):
            value = row.value(line)
            said += [] if value is None else [f"{row.label}: {_number(value)}"]
    return f"{head} {'; '.join(said)}"


def write_into(file: Path, text: str) -> None:
    """Replace what stands between the marker lines of a Markdown file. Raises ValueError if they are not there."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no lines {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def main() -> int:
    """Print the tables of figures that were kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    text = tables([json.loads(line) for file in options.files for line in file.read_text().splitlines()])
    if options.into:
        write_into(options.into, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
