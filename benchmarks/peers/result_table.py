"""A table of results for the two queues on PostgreSQL that keep none: jobs write to it, submitters ask it."""

import asyncio
import time

import psycopg
from harness.contestant import DEADLINE_S, backend_url

POLL_S = 0.05
POLL_ONE_S = 0.002

CREATE = "CREATE TABLE results (id BIGINT PRIMARY KEY, result TEXT NOT NULL)"
COUNT = "SELECT count(*) FROM results WHERE id = ANY(%s)"
READ = "SELECT id, result FROM results WHERE id = ANY(%s)"


class ResultTable:
    """The submitter's side."""

    async def create(self) -> None:
        """Connect, and make the table."""
        self._connection = await psycopg.AsyncConnection.connect(backend_url(), autocommit=True)
        await self._connection.execute(CREATE)

    async def read(self, ids: list[int]) -> list[str | None]:
        """Wait for the results of jobs and return them in that order; None for one that did not come in time."""
        pause_s = POLL_ONE_S if len(ids) == 1 else POLL_S
        until_s = time.monotonic() + DEADLINE_S
        while await self._count(ids) < len(ids) and time.monotonic() < until_s:  # noqa: ASYNC110
            # The results come from other processes.
            await asyncio.sleep(pause_s)  # the results come from other processes
        cursor = await self._connection.execute(READ, [ids])
        found = dict(await cursor.fetchall())
        return [found.get(each) for each in ids]

    async def _count(self, ids: list[int]) -> int:
        row = await (await self._connection.execute(COUNT, [ids])).fetchone()
        return row[0] if row else 0
