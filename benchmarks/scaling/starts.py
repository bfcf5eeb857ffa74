"""Starts: how long until a server answers, until an agent has run its first job; and memory at rest."""

import statistics
import threading
import time
from pathlib import Path
from typing import Any

from harness.guests import UPPERCASE
from harness.tables import Table, number
from harness.usage import Memory, memory

from piecework import Client
from piecework.local import LocalAgent, LocalServer

REST_S = 2.0
PATIENCE_S = 60.0
MB = 1e6


def measure(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Start a server and an agent several times on fresh folders. Returns a row for each figure."""
    starts = [start_once(folder / f"start-{number}") for number in range(repeats)]
    return [
        {"figure": name, "median": statistics.median(values), "low": min(values), "high": max(values)}
        for name in starts[0]
        for values in [[start[name] for start in starts]]
    ]


def start_once(folder: Path) -> dict[str, float]:
    """Start, run one job, look at the memory."""
    began = time.perf_counter()
    with LocalServer(folder) as server, Client(server.url) as client:
        ready = time.perf_counter()
        # The job is there before the agent is: its result says when the agent works.
        job = client.submit(client.create_lambda(UPPERCASE.read_bytes()), b"first")
        agent_began = time.perf_counter()
        with LocalAgent(server.url, folder, "agent", "--slots", "1") as agent:
            assert client.result(job, PATIENCE_S) == b"FIRST"
            worked = time.perf_counter()
            threading.Event().wait(REST_S)
            at_rest = {"server": memory([server.pid]), "agent": memory([agent.pid])}
    return {
        "server: ready after s": ready - began,
        "agent: first result after s": worked - agent_began,
        **{f"{name}: MB at rest": use.proportional / MB for name, use in at_rest.items()},
        **{f"{name}: MB at rest, shared pages counted in each": resident(use) for name, use in at_rest.items()},
    }


def resident(use: Memory) -> float:
    """Return the sum of the processes' resident memory, MB."""
    return use.resident / MB


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each figure."""
    return Table(
        "Starts and rest: a server, and an agent with one slot and its guest process",
        ["figure", "median", "(range)"],
        [[row["figure"], number(row["median"]), f"{number(row['low'])} - {number(row['high'])}"] for row in rows],
    )
