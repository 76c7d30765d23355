"""Processor time and memory of a process family, and how busy others kept the machine meanwhile (Linux /proc)."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; see proc(5). The name before may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def family(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(_stat_fields(int(entry.name))[1])
        except (OSError, IndexError):
            continue  # ended while we looked
        children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Processor seconds (user and system) of these processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(int(field) for field in _stat_fields(pid)[11:15])
        except (OSError, IndexError):
            continue
    return ticks / TICKS_PER_SECOND


def pss_mb(pids: list[int]) -> float:
    """Proportional set size in megabytes (10^6 bytes): pages shared between processes are counted once in total."""
    kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib * 1024 / 1e6


def _machine_busy_seconds() -> float:
    """Processor seconds that all cores together were not idle (first line of /proc/stat)."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(x) for x in stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


class Meter:
    """Counts, from its making on, what our own process family used and what the rest of the machine did."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._own = cpu_seconds(family(self._pid))
        self._busy = _machine_busy_seconds()
        self._began = time.monotonic()

    def read(self) -> tuple[float, float]:
        """(processor seconds of our family so far, cores that others kept busy on average)."""
        own = cpu_seconds(family(self._pid)) - self._own
        elapsed = max(time.monotonic() - self._began, 0.01)
        others = (_machine_busy_seconds() - self._busy - own) / elapsed
        return own, round(max(0.0, others), 2)
