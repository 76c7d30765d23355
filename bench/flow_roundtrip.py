"""The canvas round trip of a flow of 500 steps: `python -m bench.flow_roundtrip [STEPS]`.

Text → model → graph → text (nothing changed), then one edit of one parameter, then the check of the result: what an
editor does between a key stroke and the answer. Goal: under 150 ms together. `--profile` prints where the time goes.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable

from bench.flow_check import CATALOGUE, sequence
from segue.flow import check_flow, read_flow
from segue.flow.edit import SetField, SetPosition, apply_edits, graph_of, update_text

ROUNDS = 15


def measure(work: Callable[[], object]) -> str:
    times: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1_000)
    return f"best {min(times):6.1f} ms, median {statistics.median(times):6.1f} ms"


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    steps = numbers[0] if numbers else 500
    text = sequence(steps)
    edit = SetField(f"s{steps // 2}", ("params", "n"), 7)
    read = read_flow(text)
    graph = graph_of(read)

    def whole() -> None:
        first = read_flow(text)
        assert update_text(first, graph_of(first)).patches == ()
        result = apply_edits(first, [edit])
        assert result.read.flow is not None
        check_flow(result.read.flow, CATALOGUE, runnable=True, document=result.read.document)

    assert len(apply_edits(read, [edit]).patches) == 1
    print(f"{steps} steps, {len(text):,} characters")
    print(f"  read                        {measure(lambda: read_flow(text))}")
    print(f"  graph                       {measure(lambda: graph_of(read))}")
    print(f"  unchanged graph to text     {measure(lambda: update_text(read, graph))}")
    print(f"  one edit                    {measure(lambda: apply_edits(read, [edit]))}")
    print(f"  moving a box                {measure(lambda: apply_edits(read, [SetPosition('s3', 1, 2)]))}")
    print(f"  round trip + edit + check   {measure(whole)}")
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(whole)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    main()
