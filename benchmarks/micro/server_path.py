"""CPU time per job inside the server: submit, lease, finish. No HTTP, no agent, no flushes to disk.

``python benchmarks/micro/server_path.py [ROUNDS] [--beside PYTHON]`` prints medians. With the Python of another
checkout both are measured in turns, a round here and a round there: what else the machine does slows both
alike, and the ratios within a round are what counts.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkouts import Figures, run

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, ContractRequest, JobSpec, LambdaCreate, Outcome, WorkerRegister
from piecework.protocol.states import JobState
from piecework.server.services import open_services
from piecework.server.services.queue.waiting.pauses import wait_out
from piecework.server.settings import Settings

EXCHANGES = {50: 10, 1: 40}
"""How many jobs an exchange is about, and how many exchanges make a round."""


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


if __name__ == "__main__":
    run(ServerBench, __doc__)
