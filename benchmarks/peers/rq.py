"""RQ on Redis, with workers that run jobs in their own process: a fork for each job costs it most of its speed."""

import redis
from harness.contestant import BIN, DEADLINE_S, WORKERS, Peer, backend_url
from harness.work import answer
from rq import Queue
from rq.job import Job

RESULT_TTL_S = 600
"""Results are kept longer than any run takes."""


class Rq(Peer):
    """RQ."""

    def prepare(self) -> None:
        self._queue = Queue("bench", connection=redis.Redis.from_url(backend_url()))

    def commands(self) -> list[list[str]]:
        options = ["--quiet", "--url", backend_url(), "--worker-class", "rq.worker.SimpleWorker"]
        return [[str(BIN / "rq"), "worker", *options, "bench"]] * WORKERS

    def run_all(self, payloads: list[str]) -> list[str | None]:
        jobs = [Queue.prepare_data(answer, (payload,), result_ttl=RESULT_TTL_S) for payload in payloads]
        return [read_result(job) for job in self._queue.enqueue_many(jobs)]

    def run_one(self, payload: str) -> str | None:
        return read_result(self._queue.enqueue(answer, payload, result_ttl=RESULT_TTL_S))


def read_result(job: Job) -> str | None:
    """Wait for a job's result; None when there is none in time."""
    result = job.latest_result(timeout=int(DEADLINE_S))
    return None if result is None else result.return_value
