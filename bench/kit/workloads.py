"""The workloads, written once against a narrow door that each system opens.

W1: flows of three steps, many in flight (throughput), or a few a second (latency). W2: one flow of 1,000 parallel
steps and a join. W3: one flow of 50 steps, one after the other. W4 is driven from outside (run.py), since it kills the
process.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Protocol

from bench.kit.events import EventLog
from bench.kit.machine import Meter, family, pss_mb

FAN_STEPS = 1000
CHAIN_STEPS = 50
INTERRUPTED_SECONDS = 3.0
"""How long the step sleeps in which W4 kills the process."""

WARM_UP_FLOWS = 20

Figure = dict[str, object]


class Door(Protocol):
    """How a system is driven. Flows are `three`, `chain`, `recover` and the forms of fan-out named by the system."""

    async def call(self, flow: str, key: str) -> None:
        """Start the flow under this key and wait until the caller sees its result. Raises if the flow fails."""
        ...

    async def start(self, flow: str, key: str) -> None:
        """Start the flow; return as soon as the system has accepted it durably."""
        ...

    def processes(self) -> dict[str, list[int]]:
        """Process ids by role, for memory; the load generator is no role of its own where it shares the process."""
        ...


def _ends(log: EventLog, prefix: str) -> dict[str, float]:
    return {mark.flow: mark.at for mark in log.read() if mark.step == "end" and mark.flow.startswith(prefix)}


async def keep_in_flight(door: Door, flow: str, prefix: str, count: int, in_flight: int) -> None:
    """Call `count` flows, `in_flight` at a time: a closed loop of that many callers."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await door.call(flow, f"{prefix}{number}")

    await asyncio.gather(*(caller() for _ in range(in_flight)))


async def throughput(door: Door, log: EventLog, count: int, in_flight: int) -> Figure:
    """W1: from the first trigger to the last flow's last step."""
    await keep_in_flight(door, "three", "warm-", WARM_UP_FLOWS, min(in_flight, WARM_UP_FLOWS))
    meter, began = Meter(), time.time()
    await keep_in_flight(door, "three", "w1-", count, in_flight)
    cpu, others = meter.read()
    ends = _ends(log, "w1-")
    if len(ends) != count:
        raise RuntimeError(f"{len(ends)} of {count} flows reached their end")
    return {
        "flows_per_s": count / (max(ends.values()) - began),
        "cpu_ms_per_flow": 1000 * cpu / count,
        "flows": count,
        "in_flight": in_flight,
        "memory_loaded_mb": memory(door),
        "others_cores": others,
    }


async def unmarked_throughput(door: Door, count: int, in_flight: int) -> Figure:
    """W1 with steps that write no event log: from the first trigger to the last caller's result.

    A `write` costs microseconds and hands the interpreter's lock to another thread. That is nothing to an engine that
    takes milliseconds a flow; of what the fast ones take it is a part worth knowing.
    """
    await keep_in_flight(door, "three", "warm-", WARM_UP_FLOWS, min(in_flight, WARM_UP_FLOWS))
    began = time.perf_counter()
    await keep_in_flight(door, "three", "w1-", count, in_flight)
    return {"unmarked_flows_per_s": count / (time.perf_counter() - began)}


async def latency(door: Door, log: EventLog, rate: float, seconds: float) -> Figure:
    """W1 at a light steady load, an open loop: times from the trigger, in ms, one of each kind per flow."""
    await keep_in_flight(door, "three", "warm-", WARM_UP_FLOWS, 1)
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}

    async def one(key: str) -> None:
        sent[key] = time.time()
        await door.call("three", key)
        seen[key] = time.time()

    meter, began, tasks = Meter(), time.monotonic(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(f"start-{number}")))
    await asyncio.gather(*tasks)
    _cpu, others = meter.read()
    marks = log.read()
    return {
        "first_step_ms": [1000 * (m.at - sent[m.flow]) for m in marks if m.step == "a" and m.flow in sent],
        "last_step_ms": [1000 * (m.at - sent[m.flow]) for m in marks if m.step == "end" and m.flow in sent],
        "result_ms": [1000 * (at - sent[key]) for key, at in seen.items()],
        "flows_per_s_offered": rate,
        "others_cores": others,
    }


async def single(door: Door, log: EventLog, flow: str, steps: int, repeat: int) -> Figure:
    """W2 and W3: seconds from the trigger of one flow to its last step; the first call only warms up."""
    await door.call(flow, f"{flow}-warm")
    meter, seconds = Meter(), list[float]()
    for number in range(repeat):
        key, began = f"{flow}-{number}", time.time()
        await door.call(flow, key)
        seconds.append(_ends(log, key)[key] - began)
    cpu, others = meter.read()
    return {
        "seconds": median(seconds),
        "ms_per_step": 1000 * median(seconds) / steps,
        "cpu_ms_per_step": 1000 * cpu / (repeat * steps),
        "repeat": repeat,
        "others_cores": others,
    }


def memory(door: Door) -> dict[str, float]:
    """Memory by role now, in MB, each role with its child processes."""
    return {
        role: round(pss_mb([pid for root in roots for pid in family(root)]), 1)
        for role, roots in door.processes().items()
    }


async def at_rest(door: Door) -> Figure:
    """Memory after a few flows and two idle seconds."""
    await keep_in_flight(door, "three", "warm-", WARM_UP_FLOWS, 1)
    await asyncio.sleep(2)
    return {"memory_at_rest_mb": memory(door)}
