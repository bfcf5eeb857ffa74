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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.contestant import BIN, Contestant
from harness.field import FIELD
from harness.machine import describe
from harness.tables import Table, number
from harness.usage import CpuMeter
from harness.work import NOOP, make_payloads

HERE = Path(__file__).parent
FLAMES = HERE.parent / "build" / "flame"
RATE_PER_S = 100
BATCH = 1000
SHOWN = 18
OURS = ("server/", "worker_agent/", "piecework/")
SCENARIOS = {"batch": "piecework", "single": "piecework", "v05": "piecework-v05"}


@dataclass(frozen=True)
class Share:
    """One function's part of the time of a process."""

    function: str
    own: float
    """Share of the samples in which it was running itself, 0 to 1."""
    total: float
    """Share of the samples in which it or something that it called was running."""


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
        table_of(part, found["cpu_us_per_job"], [Share(**share) for share in found["shares"]]).show()
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


def table_of(part: str, cpu_us: float, shares: list[Share]) -> Table:
    """Show functions with their time for one job."""
    columns = ["function", "own µs/job", "with callees µs/job"]
    rows = [[share.function, number(share.own * cpu_us), number(share.total * cpu_us)] for share in shares]
    return Table(f"{part}: {number(cpu_us)} µs of CPU time for a job", columns, rows)


if __name__ == "__main__":
    main()
