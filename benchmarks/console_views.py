"""How long the server takes for each page of the console with a million jobs, on SQLite.

Fills a database without running anything: most jobs finished, some failed for many reasons, some wait. Then asks
for each page, and prints the median and the slowest of several times: `python benchmarks/console_views.py [JOBS]`.
"""

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from hand_clock import START_MS, HandClock
from house import House

TIMES = 9
LAMBDAS = ("upper", "resize", "report", "import")
VIEWS: tuple[tuple[str, str], ...] = (
    ("overview", ""),
    ("jobs", "/jobs"),
    ("jobs, finished", "/jobs?state=finished"),
    ("jobs, failed", "/jobs?state=failed"),
    ("jobs, enqueued", "/jobs?state=enqueued"),
    ("jobs, running", "/jobs?state=running"),
    ("jobs of a lambda by name", "/jobs?lambda=upper"),
    ("jobs of a lambda and state", "/jobs?lambda={lambda_id}&state=failed"),
    ("jobs of a group", "/jobs?group=g7"),
    ("jobs with a tag, rare", "/jobs?tag=gpu"),
    ("jobs with a tag that none has", "/jobs?tag=none"),
    ("jobs of a submitter", "/jobs?submitter=ana"),
    ("jobs of a tenant that has none", "/jobs?tenant=nobody"),
    ("jobs with a text, in vain", "/jobs?text=nowhere"),
    ("failed jobs with a text, in vain", "/jobs?state=failed&text=nowhere"),
    ("a job by its key", "/jobs?key=key-500000"),
    ("jobs until a time", "/jobs?before=12h"),
    ("far down the list", "/jobs?cursor=-1.{middle}"),
    ("failures by reason", "/jobs/failures"),
    ("one job", "/jobs/{job}"),
    ("groups", "/groups"),
    ("one group", "/groups/g7"),
    ("schedules", "/schedules"),
    ("lambdas", "/lambdas"),
    ("one lambda", "/lambdas/{lambda_id}"),
    ("functions", "/functions"),
    ("workers", "/workers"),
    ("limits, tenants, holds", "/limits"),
    ("modules", "/modules"),
    ("namespaces", "/namespaces"),
    ("webhooks", "/webhooks"),
    ("tokens", "/tokens"),
    ("storage", "/storage"),
)


@dataclass
class Filled:
    """A server with many jobs."""

    house: House
    names: dict[str, str]
    """What stands in paths."""


def fill(folder: Path, count: int, now_ms: int = START_MS) -> Filled:
    """Make a database with so many jobs, a tenth of a second apart, up to now."""
    house = House(folder, settings={"console_acts": True}, clock=HandClock(now_ms))
    lambdas = [house.new_lambda(name=name) for name in LAMBDAS]
    worker = house.new_worker(name="worker-1", hostname="node", slots=4)
    groups = [house.call("POST", "/group", {"name": f"g{number}"})["group"]["id"] for number in range(50)]
    pattern = house.submit(lambdas[0], args=["--size", "1"])
    with sqlite3.connect(house.data / "piecework.db") as database:
        cursor = database.execute("SELECT * FROM jobs WHERE id = ?", (pattern,))
        columns = [each[0] for each in cursor.description]
        first = dict(zip(columns, cursor.fetchone(), strict=True))
        rows = _rows(first, count, list(map(int, lambdas)), list(map(int, groups)), int(worker), house.clock())
        marks = ",".join("?" * len(columns))
        database.executemany(
            f"INSERT INTO jobs VALUES ({marks})", (tuple(row[name] for name in columns) for row in rows)
        )
    for _ in range(4):
        house.lease(worker)
    middle = int(pattern) - (count // 2) * STEP
    return Filled(house, {"lambda_id": lambdas[1], "middle": str(middle), "job": str(middle + 3 * STEP)})


STEP = 10 << 15
"""Ids of jobs that came a tenth of a second one after the other."""


def _rows(
    first: dict[str, Any], count: int, lambdas: list[int], groups: list[int], worker: int, now: int
) -> Iterator[dict[str, Any]]:
    ended = {"started_at": 0, "attempt": 1, "worker_id": worker}
    for number in range(1, count):
        at = now - number * 100
        row = first | {"id": first["id"] - number * STEP, "created_at": at, "lambda_id": lambdas[number % 4]}
        row["submitter"] = "ana" if number % 3 else "ci"
        share = number % 1000
        if share < 20:
            error = {"kind": "trap", "message": f"unreachable at {number % 17}"}
            text = json.dumps(error, separators=(",", ":"))
            row |= ended | {"state": "Fail_Execution", "finished_at": at + 90, "started_at": at + 9, "error": text}
        elif share < 25:
            row |= {"state": "Cancelled", "finished_at": at + 50}
        elif share > 25:
            row |= ended | {"state": "Finished", "finished_at": at + 60, "started_at": at + 10}
        if number % 50 == 0:
            row["group_id"] = groups[number // 50 % 50]
        if number % 400 == 0:
            row["tags"] = '["gpu"]'
        if number == 500_000:
            row["key"] = "key-500000"
        yield row


def measure(filled: Filled) -> Iterator[tuple[str, float, float, int]]:
    """Yield each view with the median and the slowest time, milliseconds, and the size of its page, bytes."""
    for name, path in VIEWS:
        times, size = [], 0
        for _ in range(TIMES):
            began = time.perf_counter()
            answer = filled.house.client.get("/console" + path.format(**filled.names))
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, (path, answer.get_data(as_text=True)[-500:])
            size = len(answer.data)
        yield name, statistics.median(times), max(times), size


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        filled = fill(Path(folder) / "data", count)
        print(f"{count:,} jobs\n\n| view | median ms | slowest ms | kB |\n| --- | ---: | ---: | ---: |")
        for name, median, slowest, size in measure(filled):
            print(f"| {name} | {median:.1f} | {slowest:.1f} | {size / 1000:.0f} |")
        filled.house.close()


if __name__ == "__main__":
    main()
