"""Reading and checking a flow of 500 steps: `python -m bench.flow_check [STEPS]`. Goal: under 150 ms.

A sequence in which every step has parameters, a policy, a condition and a reference to the step before it; then the
same as a canvas graph. Prints the best and the median of 15 rounds, since other programs share the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

from segue.flow import ActionSpec, Problem, StaticCatalogue, check_flow, read_flow

CATALOGUE = StaticCatalogue(
    [
        ActionSpec(
            name="iam.verify_token",
            params_schema={
                "type": "object",
                "properties": {"token": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["token"],
                "additionalProperties": False,
            },
            result_schema={"type": "object", "properties": {"user": {}}, "additionalProperties": False},
        )
    ]
)
ROUNDS = 15


def sequence(steps: int, name: str = "s") -> str:
    """The text of a flow whose steps are called `name` and a number."""
    lines = ["flow: big", "steps:"]
    for number in range(steps):
        last = f"{name}{number - 1}"
        before = f"${last}.user" if number else "x"
        condition = f"{last}.user.age > {number} and {last}.user.name != 'x'" if number else "true"
        lines += [
            f"  - {name}{number}:",
            "      call: iam.verify_token",
            f"      params: {{token: {before}, n: {number}}}",
            "      retry: {attempts: 3, backoff: exponential}",
            f"      when: {condition}",
        ]
    return "\n".join(lines)


def graph(steps: int) -> str:
    nodes = [
        {
            "id": f"n{number}", "type": "iam.verify_token", "position": {"x": number, "y": 0},
            "data": {"label": f"Step {number}", "token": f"$n{number - 1}.user" if number else "x"},
        }
        for number in range(steps)
    ]  # fmt: skip
    edges = [{"id": f"e{number}", "source": f"n{number}", "target": f"n{number + 1}"} for number in range(steps - 1)]
    return json.dumps({"nodes": nodes, "edges": edges, "version": 1}, indent=1)


def measure(work: Callable[[], object]) -> str:
    times: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1_000)
    return f"best {min(times):6.1f} ms, median {statistics.median(times):6.1f} ms"


def report(name: str, text: str, steps: int) -> None:
    result = read_flow(text)
    assert result.flow is not None
    assert not result.has_errors
    flow, document = result.flow, result.document

    def check() -> list[Problem]:
        return check_flow(flow, CATALOGUE, runnable=True, document=document)

    errors = [problem for problem in check() if problem.severity == "error"]
    assert not errors, errors[:3]
    print(f"{name}, {steps} steps, {len(text):,} characters")
    print(f"  read          {measure(lambda: read_flow(text))}")
    print(f"  check         {measure(check)}")
    print(f"  read + check  {measure(lambda: (read_flow(text), check()))}")


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    report("sequence", sequence(steps), steps)
    report("graph", graph(steps), steps)


if __name__ == "__main__":
    main()
