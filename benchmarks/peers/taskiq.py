"""Taskiq with Redis streams as its broker and Redis as its result store."""

import asyncio

from harness.contestant import BIN, DEADLINE_S, WORKERS, AsyncPeer, backend_url
from harness.work import answer
from taskiq import AsyncTaskiqTask
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

RESULT_TTL_S = 600
SENT_AT_ONCE = 50
POLL_S = 0.002

results: RedisAsyncResultBackend[str] = RedisAsyncResultBackend(
    redis_url=backend_url(), result_ex_time=RESULT_TTL_S
)
broker = RedisStreamBroker(url=backend_url()).with_result_backend(results)


@broker.task(task_name="answer")
async def run_answer(payload: str) -> str:
    """Do a job; the worker calls this."""
    return answer(payload)


class Taskiq(AsyncPeer):
    """Taskiq."""

    def prepare(self) -> None:
        self.wait(broker.startup())

    def commands(self) -> list[list[str]]:
        return [[str(BIN / "taskiq"), "worker", "peers.taskiq:broker", "-w", str(WORKERS), "--log-level", "ERROR"]]

    def run_all(self, payloads: list[str]) -> list[str | None]:
        return self.wait(self._run_all(payloads))

    def run_one(self, payload: str) -> str | None:
        async def run() -> str:
            return await read_result(await run_answer.kiq(payload))

        return self.wait(run())

    async def _run_all(self, payloads: list[str]) -> list[str | None]:
        tasks: list[AsyncTaskiqTask[str]] = []
        for at in range(0, len(payloads), SENT_AT_ONCE):
            batch = payloads[at : at + SENT_AT_ONCE]
            tasks += await asyncio.gather(*(run_answer.kiq(payload) for payload in batch))
        return [await read_result(task) for task in tasks]


async def read_result(task: AsyncTaskiqTask[str]) -> str:
    """Wait for a task's result. Raises TaskiqResultTimeoutError."""
    return (await task.wait_result(check_interval=POLL_S, timeout=DEADLINE_S)).return_value
