"""Where the time goes: py-spy's flame graphs (SVG) and a table of functions, for server and agents under load.

``python benchmarks/flame.py batch`` profiles bulk work, ``single`` one job at a time, ``v05`` the old clients.
Flame graphs go to ``build/flame``, the table to the terminal and to ``results/flame-SCENARIO.json``.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from harness.contestant import BIN, Contestant
from harness.field import FIELD
from harness.machine import describe
from harness.profiles import choose, read_shares, table
from harness.usage import CpuMeter
from harness.work import NOOP, make_payloads

HERE = Path(__file__).parent
FLAMES = HERE.parent / "build" / "flame"
RATE_PER_S = 100
BATCH = 1000
SCENARIOS = {"batch": "piecework", "single": "piecework", "v05": "piecework-v05"}


class Load(threading.Thread):
    """Keeps a contestant busy until it is told to stop."""

    def __init__(self, work: Callable[[list[str]], None], batch: int) -> None:
        super().__init__(name="load")
        self._work = work
        self._batch = batch
        self._stop_asked = threading.Event()
        self.jobs = 0

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self._work(make_payloads(self._batch, NOOP, f"flame {self.jobs}"))
            self.jobs += self._batch

    def stop(self) -> None:
        """Let the batch that runs end, and wait for that."""
        self._stop_asked.set()
        self.join()


def main() -> None:
    """Run the scenario without and with the profiler, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--seconds", type=int, default=8, help="of each of the measurements")
    options = parser.parse_args()
    FLAMES.mkdir(parents=True, exist_ok=True)
    with open_contestant(SCENARIOS[options.scenario]) as contestant:
        single = options.scenario == "single"
        results = profile(contestant, options.scenario, options.seconds, 1 if single else BATCH)
    about = describe(FLAMES)
    for part, found in results.items():
        table(part, found).show()
    path = HERE / "results" / f"flame-{options.scenario}.json"
    path.write_text(json.dumps({"about": about, "parts": results}, indent=1) + "\n")
    print(f"Flame graphs: {FLAMES}/{options.scenario}-*.svg")


@contextmanager
def open_contestant(name: str) -> Iterator[Contestant]:
    """Run one of our own set-ups in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="piecework-flame-") as folder:
        os.environ |= {"BENCH_FOLDER": folder, "BENCH_BACKEND": folder, "PYTHONPATH": str(HERE)}
        contestant = FIELD[name].load()
        try:
            contestant.start()
            contestant.run_all(make_payloads(BATCH, NOOP, "warm-up"))
            yield contestant
        finally:
            contestant.stop()


def profile(contestant: Contestant, scenario: str, seconds: int, batch: int) -> dict[str, dict[str, object]]:
    """Return CPU time per job, and the functions that it goes to, for each group of processes."""

    def work(payloads: list[str]) -> None:
        if batch == 1:
            contestant.run_one(payloads[0])
        else:
            contestant.run_all(payloads)

    groups = contestant.groups()
    cpu_us = measure_cpu(work, CpuMeter(groups), seconds, batch)
    results: dict[str, dict[str, object]] = {}
    for part, pids in groups.items():
        load = Load(work, batch)
        load.start()
        stacks = FLAMES / f"{scenario}-{part}.txt"
        record(pids[0], "raw", stacks, seconds)
        record(pids[0], "flamegraph", stacks.with_suffix(".svg"), seconds)
        load.stop()
        shares = sorted(read_shares(stacks), key=lambda share: -share.own)
        results[part] = {"cpu_us_per_job": cpu_us[part], "shares": [asdict(share) for share in choose(shares)]}
    return results


def measure_cpu(work: Callable[[list[str]], None], meter: CpuMeter, seconds: int, batch: int) -> dict[str, float]:
    """Return the CPU time of a job without a profiler, µs, for each group."""
    load = Load(work, batch)
    load.start()
    threading.Event().wait(seconds)
    load.stop()
    return {part: used_s / load.jobs * 1e6 for part, used_s in meter.read().items()}


def record(pid: int, form: str, output: Path, seconds: int) -> None:
    """Sample a process and its children. Raises CalledProcessError when py-spy may not."""
    options = ["--pid", str(pid), "--subprocesses", "--nonblocking", "--rate", str(RATE_PER_S)]
    options += ["--duration", str(seconds), "--format", form, "--output", str(output)]
    subprocess.run([str(BIN / "py-spy"), "record", *options], check=True, capture_output=True)


if __name__ == "__main__":
    main()
