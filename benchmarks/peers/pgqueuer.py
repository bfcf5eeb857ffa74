"""PgQueuer on PostgreSQL. ``python -m peers.pgqueuer`` is a worker.

Its own command for that, ``pgq run``, fails with the newest typer; the worker here does what it does.
"""

import sys

import asyncpg
import pgqueuer
import uvloop
from harness.contestant import WORKERS, AsyncPeer, backend_url
from harness.work import answer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from peers.result_table import ResultTable

BATCH = 100
"""Jobs that a worker takes at once."""
WORKER_CONNECTIONS = 10


async def make_worker() -> pgqueuer.PgQueuer:
    """Return a worker."""
    pool = await asyncpg.create_pool(backend_url(), min_size=2, max_size=WORKER_CONNECTIONS)
    worker = pgqueuer.PgQueuer(AsyncpgDriver(await asyncpg.connect(backend_url())))

    @worker.entrypoint("answer")
    async def run_answer(job: Job) -> None:
        assert job.payload is not None
        await pool.execute("INSERT INTO results VALUES ($1, $2)", job.id, answer(job.payload.decode()))

    return worker


class PgQueuer(AsyncPeer):
    """PgQueuer."""

    def prepare(self) -> None:
        self.wait(self._prepare())

    async def _prepare(self) -> None:
        self._results = ResultTable()
        await self._results.create()
        self._queries = Queries(AsyncpgDriver(await asyncpg.connect(backend_url())))
        await self._queries.install()

    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "peers.pgqueuer"]] * WORKERS

    def run_all(self, payloads: list[str]) -> list[str | None]:
        return self.wait(self._run_all(payloads))

    def run_one(self, payload: str) -> str | None:
        return self.run_all([payload])[0]

    async def _run_all(self, payloads: list[str]) -> list[str | None]:
        count = len(payloads)
        ids = await self._queries.enqueue(["answer"] * count, [p.encode() for p in payloads], [0] * count)
        return await self._results.read([int(each) for each in ids])


async def run_worker() -> None:
    """Work until the process is ended."""
    await (await make_worker()).run(batch_size=BATCH)


if __name__ == "__main__":
    uvloop.run(run_worker())
