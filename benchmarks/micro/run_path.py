"""CPU time per job inside a guest process, from the frame that assigns it to the report that is ready to send.

No server, no agent, no link: only what running a sandboxed guest costs. The linkages are measured in turns, in one
process. The medians are printed, and the least, which tell most when the machine does other things meanwhile.
``python benchmarks/micro/run_path.py [ROUNDS]``
"""

import hashlib
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from piecework.worker_agent.guests.frames import Assign, pack
from piecework.worker_agent.guests.marker import Marker
from piecework.worker_agent.guests.work.desk import Desk, Turn
from piecework.worker_agent.guests.work.pulse import Pulse
from piecework.worker_agent.guests.work.workbench import Workbench
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.compiling.library import Library
from piecework.worker_agent.runtimes.compiling.toolchain import Toolchain
from piecework.worker_agent.runtimes.linkage.direct import DirectLinkage
from piecework.worker_agent.runtimes.linkage.public import PublicLinkage
from piecework.worker_agent.runtimes.stopping import StopSignal
from piecework.worker_agent.tasks import Task

SAMPLES = Path(__file__).parents[2] / "samples"
LINKAGES = {"public": PublicLinkage, "direct": DirectLinkage}
MIB = 1024 * 1024


class Case(NamedTuple):
    """One kind of job, and how many make a round."""

    name: str
    sample: str
    given: bytes
    runs: int
    output_bytes: int = 16 * MIB


CASES = (
    Case("64 B echo", "echo", b"x" * 64, 300),
    Case("1 MB echo", "echo", b"x" * MIB, 10),
    Case("128 KB printed line by line", "print_forever", b"", 1, MIB // 8),
)


class Bench:
    """A workbench without an agent."""

    def __init__(self, folder: Path, linkage: str) -> None:
        self._folder = folder
        self._near, far = socket.socketpair()
        pulse = Pulse(Desk(far, Marker()), lambda: None)
        self._workbench = Workbench(Library(Toolchain(folder, LINKAGES[linkage])), pulse, lambda _report: None)

    def measure(self, case: Case) -> float:
        """Return the CPU time of one run, seconds: the mean of a round."""
        task = self._write_task(case)
        self._run(task)
        started = time.process_time()
        for _ in range(case.runs):
            self._run(task)
        return (time.process_time() - started) / case.runs

    def _run(self, task: Assign) -> None:
        report = self._workbench.perform(Turn(task, StopSignal()))
        error = report.result.error
        assert error is None or error.kind == "output", error
        pack(report)

    def _write_task(self, case: Case) -> Assign:
        code = SAMPLES / f"{case.sample}.wasm"
        task = Task(
            runtime="wasi",
            codex=str(code),
            checksum=hashlib.sha256(code.read_bytes()).hexdigest(),
            input=case.given,
            bounds=Bounds(output_bytes=case.output_bytes),
        )
        return Assign(1, task, str(self._folder / "spool"))


def main(rounds: int) -> None:
    """Measure every case under every linkage."""
    seen: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        benches = {name: Bench(Path(folder), name) for name in LINKAGES}
        for _ in range(rounds):
            for case in CASES:
                for name, bench in benches.items():
                    seen[case.name, name].append(bench.measure(case))
    print(f"{'CPU µs per job: median (least)':30}" + "".join(f"{name:>20}" for name in LINKAGES))
    for case in CASES:
        times = [seen[case.name, name] for name in LINKAGES]
        cells = [f"{statistics.median(each) * 1e6:.0f} ({min(each) * 1e6:.0f})" for each in times]
        print(f"{case.name:30}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
