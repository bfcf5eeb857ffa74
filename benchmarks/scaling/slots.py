"""Slots: what one agent does with 1 to 64 of them, for no-ops and for jobs that wait 100 ms."""

import time
from pathlib import Path
from typing import Any

from harness.guests import UPPERCASE, WORK
from harness.tables import Table, number
from harness.usage import memory
from harness.work import SLEEP, make_payloads

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from scaling.pollers import PATIENCE_S, run_jobs

WAIT_S = 0.1
WAITS_PER_SLOT = 10
MB = 1e6


def measure(folder: Path, counts: list[int], jobs: int) -> list[dict[str, Any]]:
    """Start an agent with each number of slots in turn."""
    rows = []
    with LocalServer(folder) as server, Client(server.url) as client:
        uppercase = client.create_lambda(UPPERCASE.read_bytes())
        wait = client.create_lambda(WORK.read_bytes(), args=["0", str(round(WAIT_S * 1000))])
        for slots in counts:
            with LocalAgent(server.url, folder, f"agent-{slots}", "--slots", str(slots)) as agent:
                run_jobs(client, uppercase, max(100, 2 * slots))
                rows.append(
                    {
                        "slots": slots,
                        "jobs_per_s": run_jobs(client, uppercase, jobs),
                        "waits_per_s": run_waits(client, wait, slots * WAITS_PER_SLOT),
                        "waits_ideal": slots / WAIT_S,
                        "agent_mb": memory([agent.pid]).proportional / MB,
                    }
                )
    return rows


def run_waits(client: Client, lambda_id: int, count: int) -> float:
    """Run jobs that only wait and return how many end in a second."""
    began = time.perf_counter()
    ids = client.submit_many(lambda_id, make_payloads(count, SLEEP, f"waits {time.time_ns()}"))
    assert all(result.ok for _, result in client.results(ids, PATIENCE_S))
    return count / (time.perf_counter() - began)


def table(rows: list[dict[str, Any]]) -> Table:
    """One row for each number of slots."""
    columns = ["slots", "no-ops/s", "100 ms waits/s", "of ideal", "agent with its guests MB"]
    return Table(
        "One agent with more slots",
        columns,
        [
            [
                str(row["slots"]),
                number(row["jobs_per_s"]),
                number(row["waits_per_s"]),
                f"{row['waits_per_s'] / row['waits_ideal']:.0%}",
                number(row["agent_mb"]),
            ]
            for row in rows
        ],
    )
