"""What expressions cost: `python -m bench.expr` prints microseconds of conditions and values, best of several."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from segue.expr import MappingScope, compile_condition, compile_expression, compile_value

ROUNDS = 7
REPEATS = 20_000

SCOPE = MappingScope(
    {
        "x": {"category": "billing", "total": 120, "customer": {"name": " Ada ", "address": {"city": "London"}}},
        "items": [{"n": number, "ok": number % 2 == 0} for number in range(100)],
        "results": [{"n": number, "ok": number % 2 == 0} for number in range(10_000)],
    }
)

CONDITIONS = (
    "$x.category == 'billing'",
    "$x.total > 100",
    "$x.category == 'billing' and $x.total * 1.2 > 100",
    "$x.customer.address.city in ['London', 'Paris']",
    "$x.missing.deeper",
    "$x.customer.name.startsWith(' A')",
    "$x.customer.name.matches('^ *A')",
    "$items.exists(item, item.n == 50)",
)
VALUES: tuple[object, ...] = (
    {"a": [1, 2, {"b": "text"}]},
    "$x.customer.address.city",
    "{{ $x.total * 1.2 }}",
    "Dear {{ $x.customer.name | trim }}, {{ $x.total }} due",
    {"to": "$x.customer.name", "amount": "{{ $x.total }}", "tags": ["fixed", "{{ $x.category | upper }}"]},
    "{{ $items.filter(item, item.ok).map(item, item.n) | sum }}",
)
LARGE = "$results.filter(r, r.ok).size()"


def microseconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """The best round's time for one call: what the work takes when nothing else disturbs it."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = perf_counter()
        for _ in range(repeats):
            run()
        best = min(best, perf_counter() - begin)
    return best / repeats * 1e6


def main() -> None:
    print("µs per condition")
    for source in CONDITIONS:
        condition = compile_condition(source)
        print(f"  {microseconds(lambda condition=condition: condition.evaluate(SCOPE)):9.2f}  {source}")
    print("µs per value")
    for raw in VALUES:
        value = compile_value(raw)
        print(f"  {microseconds(lambda value=value: value.evaluate(SCOPE)):9.2f}  {raw}")
    print("µs per compilation")
    for source in CONDITIONS[:3]:
        print(f"  {microseconds(lambda source=source: compile_condition(source), 500):9.2f}  {source}")
    program = compile_expression(LARGE)
    print(f"ms over 10,000 items\n  {microseconds(lambda: program.evaluate(SCOPE), 10) / 1000:9.2f}  {LARGE}")


if __name__ == "__main__":
    main()
