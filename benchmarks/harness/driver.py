"""One run of one queue, in a process of its own: ``python -m harness.driver NAME``. Prints its figures as JSON.

The figures: jobs per second for no-ops and for jobs of 10 ms of computing, submit to last result in hand; the time
of single no-ops, one after the other; the CPU time that each process took of it. Every answer is compared.
"""

import argparse
import json
import signal
import statistics
import sys
import threading
import time
from importlib import metadata
from typing import Any

from harness.contestant import Contestant
from harness.field import FIELD
from harness.usage import CpuMeter, IdleMeter, memory
from harness.work import CPU, NOOP, count_wrong, make_payloads

SETTLE_S = 2.0
"""Workers get this long to start before the first job; its result shows that they did."""
WARM_UP_JOBS = 50
LATENCY_MAX_S = 20.0
"""A slow queue is measured with fewer single jobs."""

Figures = dict[str, Any]


def measure(contestant: Contestant, options: argparse.Namespace) -> Figures:
    """Run all measurements on a queue that has started. Raises RuntimeError when it does not work at all."""
    pause = threading.Event()
    pause.wait(SETTLE_S)
    warm_up = make_payloads(WARM_UP_JOBS, NOOP, f"{options.seed} warm-up")
    if count_wrong(warm_up, contestant.run_all(warm_up)):
        raise RuntimeError("wrong answers to the first jobs")
    processes = dict(contestant.groups())
    if options.backend_pid:
        processes["backend"] = options.backend_pid
    figures: Figures = {"rest": {name: vars(memory(pids)) for name, pids in processes.items()}}
    figures["noop"] = run_batch(contestant, NOOP, options.jobs, options.seed, processes)
    figures["latency"] = run_singly(contestant, options.singles, options.seed)
    if options.cpu_jobs:
        figures["cpu"] = run_batch(contestant, CPU, options.cpu_jobs, options.seed, processes)
    return figures


def run_batch(contestant: Contestant, kind: str, jobs: int, seed: str, processes: dict[str, list[int]]) -> Figures:
    """Submit jobs, take their answers, and say how fast that was and what it cost."""
    payloads = make_payloads(jobs, kind, seed)
    meter, idle, own_before = CpuMeter(processes), IdleMeter(), time.process_time()
    began = time.perf_counter()
    answers = contestant.run_all(payloads)
    wall_s, idle_share = time.perf_counter() - began, idle.read()
    cpu_s = {"submitter": time.process_time() - own_before, **meter.read()}
    return {
        "jobs": jobs,
        "wrong": count_wrong(payloads, answers),
        "jobs_per_s": jobs / wall_s,
        "idle": idle_share,
        "cpu_us_per_job": {name: seconds / jobs * 1e6 for name, seconds in cpu_s.items()},
    }


def run_singly(contestant: Contestant, jobs: int, seed: str) -> Figures:
    """Run jobs one after the other and say how long one takes."""
    times_s, wrong = [], 0
    until_s = time.perf_counter() + LATENCY_MAX_S
    for payload in make_payloads(jobs, NOOP, f"{seed} single"):
        began = time.perf_counter()
        answered = contestant.run_one(payload)
        ended = time.perf_counter()
        times_s.append(ended - began)
        wrong += count_wrong([payload], [answered])
        if ended > until_s:
            break
    cuts = statistics.quantiles(times_s, n=100, method="inclusive")
    return {"jobs": len(times_s), "wrong": wrong, "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=FIELD)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--cpu-jobs", type=int, default=200)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--backend-pid", type=int, action="append", default=[])
    options = parser.parse_args()
    # An end from outside must end the workers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    entry = FIELD[options.name]
    contestant = entry.load()
    try:
        contestant.start()
        figures = measure(contestant, options)
    finally:
        contestant.stop()
    figures["versions"] = {name: metadata.version(name) for name in entry.packages}
    figures["versions"] |= contestant.versions()
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
