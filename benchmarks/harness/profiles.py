"""Profiles: what collapsed stacks say about functions, and the table of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.tables import Table, number

SHOWN = 18
"""Functions shown for each of the two orders."""
OURS = ("server/", "worker_agent/", "piecework/")


@dataclass(frozen=True)
class Share:
    """One function's part of the time of a process."""

    function: str
    own: float
    """Share of the samples in which it was running itself, 0 to 1."""
    total: float
    """Share of the samples in which it or something that it called was running."""


def read_shares(stacks: Path) -> Iterator[Share]:
    """Go through the functions of a file of collapsed stacks: ``frame;frame;frame count`` in each line.

    Samples without a Python function are left out: threads of the HTTP server that wait outside of Python.
    """
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        names = [function_name(frame) for frame in frames.split(";") if not frame.startswith("process ")]
        if not names:
            continue
        own[names[-1]] += int(count)
        total.update(dict.fromkeys(names, int(count)))
    samples = max(1, own.total())
    for name, count in total.items():
        yield Share(name, own[name] / samples, count / samples)


def function_name(frame: str) -> str:
    """Return a frame without its line number: ``name (file.py:12)`` becomes ``name (file.py)``."""
    return frame.rpartition(":")[0] + ")" if frame.endswith(")") and ":" in frame else frame


def choose(shares: list[Share]) -> list[Share]:
    """Return the functions to show: those with most time of their own, and ours with most time in all."""
    ours = [share for share in shares if any(folder in share.function for folder in OURS)]
    chosen = dict.fromkeys(shares[:SHOWN])
    chosen |= dict.fromkeys(sorted(ours, key=lambda share: -share.total)[:SHOWN])
    return sorted(chosen, key=lambda share: -share.total)


def table(part: str, profile: dict[str, Any]) -> Table:
    """Show the functions of a group of processes with their time for one job."""
    cpu_us = profile["cpu_us_per_job"]
    rows = [
        [share["function"], number(share["own"] * cpu_us), number(share["total"] * cpu_us)]
        for share in profile["shares"]
    ]
    columns = ["function", "own µs", "with what it calls µs"]
    return Table(f"{part}: {number(cpu_us)} µs of CPU time for a job", columns, rows)
