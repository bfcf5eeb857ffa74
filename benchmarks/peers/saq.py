"""SAQ on Redis."""

import asyncio
import time
from typing import Any

import saq
from harness.contestant import BIN, DEADLINE_S, WORKERS, AsyncPeer, backend_url
from harness.work import answer

RESULT_TTL_S = 600
READ_AT_ONCE = 500
POLL_S = 0.010
POLL_ONE_S = 0.002
CONCURRENCY = 10
"""Its default."""

queue = saq.Queue.from_url(backend_url())


async def run_answer(_context: Any, *, payload: str) -> str:
    """Do a job; the worker calls this."""
    return answer(payload)


settings = {"queue": queue, "functions": [("answer", run_answer)], "concurrency": CONCURRENCY}


class Saq(AsyncPeer):
    """SAQ."""

    def prepare(self) -> None:
        self.wait(queue.connect())

    def commands(self) -> list[list[str]]:
        return [[str(BIN / "saq"), "peers.saq.settings", "--workers", str(WORKERS), "--quiet"]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        return self.wait(self._run_all(payloads))

    def run_one(self, payload: str) -> str | None:
        return self.wait(self._run_one(payload))

    async def _run_all(self, payloads: list[str]) -> list[str | None]:
        keys = [job.key for job in await asyncio.gather(*(self._enqueue(payload) for payload in payloads))]
        results: dict[str, str] = {}
        left, until_s = keys, time.monotonic() + DEADLINE_S
        while left and time.monotonic() < until_s:
            for job in await queue.jobs(left[:READ_AT_ONCE]):
                if job is not None and job.status == "complete":
                    results[job.key] = job.result
            before, left = len(left), [key for key in left if key not in results]
            if len(left) == before:
                await asyncio.sleep(POLL_S)
        return [results.get(key) for key in keys]

    async def _run_one(self, payload: str) -> str | None:
        # Waiting for its notification can miss it on Redis, so ask.
        key, until_s = (await self._enqueue(payload)).key, time.monotonic() + DEADLINE_S
        while time.monotonic() < until_s:
            job = await queue.job(key)
            if job is not None and job.status == "complete":
                given: str = job.result
                return given
            await asyncio.sleep(POLL_ONE_S)
        return None

    async def _enqueue(self, payload: str) -> saq.Job:
        job = await queue.enqueue("answer", payload=payload, ttl=RESULT_TTL_S, timeout=60)
        assert job is not None
        return job
