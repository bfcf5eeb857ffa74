"""Short jobs among long ones: how long the short ones take, and that no agent keeps work which others could do.

1 ms jobs and 1 s jobs on four agents with one slot each, in two ways: all submitted at once in random order, and
arriving steadily while long jobs always hold two of the four agents. Results go to ``results/tail.json``.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.guests import WORK, measure_rounds
from harness.machine import describe
from harness.tables import Table, describe_machine, number
from harness.work import CPU, CPU_S, SLEEP, make_payloads

from piecework import Client
from piecework.client import JobResult
from piecework.local import open_house
from piecework.protocol.ids import Id

RESULTS = Path(__file__).parent / "results" / "tail.json"
AGENTS = 4
SHORT_S, LONG_S = 0.001, 1.0
ARRIVALS_PER_S = 100
LONG_AT_ONCE = 2
TICK_S = 0.05
PATIENCE_S = 120.0


def main() -> None:
    """Run both, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=2000, help="1 ms jobs of the batch")
    parser.add_argument("--long", type=int, default=20, help="1 s jobs of the batch")
    parser.add_argument("--seconds", type=int, default=15, help="how long jobs arrive steadily")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piecework-tail-") as folder:
        about = describe(Path(folder))
        rounds = round(measure_rounds(about["cores"]) * SHORT_S / CPU_S)
        with open_house(Path(folder), "--slots", "1", agents=AGENTS) as house, Client(house.server.url) as client:
            mixed = client.create_lambda(WORK.read_bytes(), args=[str(rounds), str(round(LONG_S * 1000))])
            client.wait(client.submit_many(mixed, make_payloads(100, CPU, "warm-up")))
            batch = run_batch(client, mixed, options.short, options.long)
            steady = run_steadily(client, mixed, options.seconds)
    results = {"about": about, "batch": batch, "steady": steady}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(describe_machine(about))
    tail_table(results).show()


def run_batch(client: Client, mixed: Id, short: int, long: int) -> dict[str, Any]:
    """Submit all jobs at once, in random order."""
    payloads = make_payloads(short, CPU, "batch") + make_payloads(long, SLEEP, "batch")
    random.Random(short).shuffle(payloads)
    began = time.monotonic()
    ids = client.submit_many(mixed, payloads)
    results = dict(client.results(ids, PATIENCE_S))
    took_s = time.monotonic() - began
    ideal_s = (short * SHORT_S + long * LONG_S) / AGENTS
    return figures(payloads, [results[job] for job in ids]) | {"took_s": took_s, "ideal_s": ideal_s}


def run_steadily(client: Client, mixed: Id, seconds: int) -> dict[str, Any]:
    """Submit short jobs at a steady rate, and LONG_AT_ONCE long ones whenever the last ones must have ended."""
    per_tick = round(ARRIVALS_PER_S * TICK_S)
    shorts = iter(make_payloads(per_tick * round(seconds / TICK_S), CPU, "steady"))
    longs = iter(make_payloads(LONG_AT_ONCE * seconds, SLEEP, "steady"))
    payloads: list[str] = []
    ids: list[Id] = []
    began, pause = time.monotonic(), threading.Event()
    for tick in range(round(seconds / TICK_S)):
        pause.wait(max(0.0, began + tick * TICK_S - time.monotonic()))
        long = LONG_AT_ONCE if tick % round(LONG_S / TICK_S) == 0 else 0
        arriving = [next(longs) for _ in range(long)] + [next(shorts) for _ in range(per_tick)]
        ids += client.submit_many(mixed, arriving)
        payloads += arriving
    results = dict(client.results(ids, PATIENCE_S))
    return figures(payloads, [results[job] for job in ids])


def figures(payloads: Sequence[str], results: Sequence[JobResult]) -> dict[str, Any]:
    """Return how long short jobs took, and how long agents held them without running them, ms."""
    answered = zip(payloads, results, strict=True)
    wrong = sum(result.read() != payload.upper().encode() for payload, result in answered)
    shorts = [result for payload, result in zip(payloads, results, strict=True) if payload[0] == CPU]
    return {
        "short": len(shorts),
        "long": len(results) - len(shorts),
        "wrong": wrong,
        "completed_ms": spread([result.info.finished_at - result.info.created_at for result in shorts]),
        "held_ms": spread([held_s(result) for result in shorts]),
        "jobs_of_agents": sorted(Counter(int(result.info.worker) for result in results).values()),
    }


def held_s(result: JobResult) -> float:
    """Return how long a job was leased without running: it waited in its agent, or on its way there and back."""
    info = result.info
    return float(info.finished_at - info.started_at - (info.usage.wall_s or 0.0))


def spread(times_s: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum in milliseconds."""
    cuts = statistics.quantiles(times_s, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000, "max": max(times_s) * 1000}


def tail_table(results: dict[str, Any]) -> Table:
    """Both ways side by side."""
    columns = ["", "all at once", "arriving steadily"]
    both = [results["batch"], results["steady"]]
    rows = [
        ["1 ms jobs, 1 s jobs", *(f"{each['short']:,}, {each['long']}" for each in both)],
        ["wrong answers", *(str(each["wrong"]) for each in both)],
        *(
            [f"{title}, {cut} ms", *(number(each[name][cut]) for each in both)]
            for title, name in (
                ("1 ms job, submit to result", "completed_ms"),
                ("held without running", "held_ms"),
            )
            for cut in ("p50", "p99", "max")
        ),
        ["jobs of each agent", *(", ".join(map(str, each["jobs_of_agents"])) for each in both)],
        ["all done after s (ideal)", f"{number(both[0]['took_s'])} ({number(both[0]['ideal_s'])})", ""],
    ]
    return Table("Short jobs among long ones, 4 agents with 1 slot", columns, rows)


if __name__ == "__main__":
    main()
