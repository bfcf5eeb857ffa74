"""CPU time of one warm call of the same function under each runtime: the tests' ``echo``, which answers its input.

Inside a guest process, from the frame that assigns a job to the report that is ready to send. The runtimes are
measured in turns, in one process. ``python benchmarks/micro/call_cost.py [ROUNDS]``
"""

import hashlib
import runpy
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from socket import socketpair

from piecework.worker_agent.guests.frames import Assign, pack
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import Desk, Turn
from piecework.worker_agent.guests.work.pulse import Pulse
from piecework.worker_agent.guests.work.workbench import Workbench
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.scripting.lua import install_lua
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.tasks import Task

ROOT = Path(__file__).parents[2]
GUESTS = ROOT / "tests" / "guests"
BUILD = ROOT / "build" / "tests"
GIVEN = b'"sixty-four bytes of JSON, for FunLess takes nothing else: ...."'
RUNS = 100
FEW = {"python3.12": 2, "javascript": 20, "micropython": 20, "lua5.4": 20}
"""How many runs make a round where each takes long."""


def write_tasks(folder: Path) -> dict[str, Assign]:
    """Return a task for each runtime, and one for each generation of Capsule."""
    texts = runpy.run_path(str(ROOT / "tests" / "support" / "guest_texts.py"))
    codes = {
        path.parent.name: path.read_bytes() for path in sorted(GUESTS.glob("*/echo.*")) if path.suffix != ".wat"
    }
    codes |= {path.parent.name: texts["build"](texts["read_guest"](f"{path.parent.name}/echo"))
              for path in sorted(GUESTS.glob("*/echo.wat"))}  # fmt: skip
    return {name: _write_task(folder, name, code) for name, code in codes.items()}


def _write_task(folder: Path, runtime: str, code: bytes) -> Assign:
    path = folder / runtime
    path.write_bytes(code)
    task = Task(runtime=runtime, codex=str(path), checksum=hashlib.sha256(code).hexdigest(), input=GIVEN)
    return Assign(1, task, str(folder / "spool"))


def measure(bench: Workbench, task: Assign, runs: int) -> float:
    """Return the CPU time of one run, seconds: the mean of a round."""
    started = time.process_time()
    for _ in range(runs):
        report = bench.perform(Turn(task, StopSignal()))
        assert report.result.output == GIVEN, report
        pack(report)
    return (time.process_time() - started) / runs


def main(rounds: int) -> None:
    """Measure every runtime, and print what its calls cost."""
    install_lua(BUILD / "interpreters", print)
    near, far = socketpair()
    pulse = Pulse(Desk(far, Marker()), lambda: None)
    library = Library(Toolchain(BUILD / "compiled"), BUILD / "interpreters")
    bench = Workbench(library, pulse, lambda _report: None)
    seen: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, near, far:
        tasks = write_tasks(Path(folder))
        for task in tasks.values():
            measure(bench, task, 1)
        for _ in range(rounds):
            for name, task in tasks.items():
                seen[name].append(measure(bench, task, FEW.get(name, RUNS)))
    show(seen)


def show(seen: dict[str, list[float]]) -> None:
    """Print the medians, and how many times that of ``wasi`` they are."""
    plain = statistics.median(seen["wasi"])
    print("| runtime | CPU µs of a call, median | least | of `wasi` |\n| --- | --: | --: | --: |")
    for name, times in sorted(seen.items(), key=lambda pair: statistics.median(pair[1])):
        median = statistics.median(times)
        print(f"| `{name}` | {median * 1e6:,.0f} | {min(times) * 1e6:,.0f} | {median / plain:.1f}x |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
