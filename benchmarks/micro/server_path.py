"""CPU time per job inside the server: submit, lease, finish. No HTTP, no agent, no flushes to disk.

``python benchmarks/micro/server_path.py [ROUNDS] [--beside CHECKOUT]`` prints medians. With another checkout, that
has a ``.venv`` of its own, both are measured in turns, a round here and a round there: what else the machine does
slows both alike, and the ratios within a round are what counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, ContractRequest, JobSpec, LambdaCreate, Outcome, WorkerRegister
from piecework.protocol.states import JobState
from server.services import open_services
from server.services.queue.pauses import wait_out
from server.settings import Settings

EXCHANGES = {50: 10, 1: 40}
"""How many jobs an exchange is about, and how many exchanges make a round."""

Figures = dict[str, float]


class ServerBench:
    """A server's services with one worker."""

    def __init__(self, folder: Path) -> None:
        self._services = open_services(Settings(data=folder, synchronous="OFF"))
        self._lambda = Id(self._services.lambdas.create(LambdaCreate(codex=Id(0), runtime="x")).id)
        self._worker = self._services.workers.register(
            WorkerRegister(runtime=["x"], incarnation="one", slots=50)
        ).id
        self._number = 0

    def measure(self) -> Figures:
        """Return the CPU time of each step for a job, µs, the median of a round's exchanges."""
        figures = {}
        for jobs, exchanges in EXCHANGES.items():
            took = [self._exchange(jobs) for _ in range(exchanges)]
            for step in took[0]:
                figures[f"{step} {jobs}"] = statistics.median(each[step] for each in took) / jobs * 1e6
        return figures

    def _exchange(self, count: int) -> Figures:
        """Do what client and agent make the server do for so many jobs that come together. Returns seconds."""
        took: Figures = {}
        self._number += 1
        inputs = [f"{self._number:08} {place:08}".encode().ljust(64) for place in range(count)]
        specs = [JobSpec(lambda_=self._lambda, input=Content(raw=each)) for each in inputs]
        with _timed(took, "submit"):
            self._services.submission.submit_many(specs, f"exchange {self._number}")
        with _timed(took, "lease"):
            got = wait_out(self._services.contracts.contract(self._worker, self._ask(max=count)))
        outcomes = [
            Outcome(job=Id(job.id), lease=str(job.lease), state=JobState.FINISHED, output=Content(raw=given))
            for job, given in zip(got.jobs, inputs, strict=True)
        ]
        with _timed(took, "finish"):
            wait_out(self._services.contracts.contract(self._worker, self._ask(max=count, outcomes=outcomes)))
        return took | {"all": sum(took.values())}

    @staticmethod
    def _ask(**given: object) -> ContractRequest:
        return ContractRequest(incarnation="one", timeout=0, inline_max_bytes=1024, **given)


@contextmanager
def _timed(took: Figures, step: str) -> Iterator[None]:
    began = time.process_time()
    yield
    took[step] = time.process_time() - began


class Checkout:
    """A process that measures the code of one checkout, a round whenever it is told."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)

    def measure(self) -> Figures:
        self._ask.write("\n")
        self._ask.flush()
        return json.loads(self._answers.readline())

    def close(self) -> None:
        self._ask.close()
        self._process.wait()


def serve() -> None:
    """Measure a round for each line that comes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = ServerBench(Path(folder))
        for _ in sys.stdin:
            print(json.dumps(bench.measure()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=20)
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    pythons = [sys.executable, *([str(options.beside / ".venv/bin/python")] if options.beside else [])]
    checkouts = [Checkout(python) for python in pythons]
    rounds = []
    for number in range(options.rounds + 1):
        turns = checkouts if number % 2 else checkouts[::-1]
        measured = {checkout: checkout.measure() for checkout in turns}
        rounds.append([measured[checkout] for checkout in checkouts])
    for checkout in checkouts:
        checkout.close()
    show(rounds[1:])  # the first one fills caches


def show(rounds: list[list[Figures]]) -> None:
    """Print the median of each figure, and of its ratio to the same figure of the other checkout."""
    for name in rounds[0][0]:
        here = [each[0][name] for each in rounds]
        line = f"{name:12} {statistics.median(here):8.1f} µs, least {min(here):8.1f}"
        if len(rounds[0]) > 1:
            there = [each[1][name] for each in rounds]
            ratio = statistics.median(ours / theirs for ours, theirs in zip(here, there, strict=True))
            line += f"   beside {statistics.median(there):8.1f} µs, least {min(there):8.1f}   {ratio:.3f}x"
            line += f"   of the least {min(here) / min(there):.3f}x"
        print(line)


if __name__ == "__main__":
    main()
