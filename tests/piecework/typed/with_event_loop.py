"""A program with the client for event loops."""

import asyncio
from collections.abc import AsyncIterator
from typing import assert_type

from piecework import AsyncClient, AsyncJob, JobResult
from piecework.protocol.messages import FeedEvent, JobInfo


async def main() -> list[bytes]:
    async with AsyncClient("http://127.0.0.1:8000", "token") as client:
        job = await client.submit("shout", "hello", key="once")
        assert_type(job, AsyncJob)
        assert_type(await job.result(), bytes)
        assert_type(await client.job(job), JobInfo)
        assert_type(client.events(follow=False), AsyncIterator[FeedEvent])
        async for done in client.as_completed([job]):
            assert_type(done, AsyncJob)
        async for output in client.map("shout", ["a", "b"]):
            assert_type(output, bytes)
        async for result in client.map("shout", ["a", "b"], errors="return"):
            assert_type(result, JobResult)
        return await client.gather([job])


asyncio.run(main())
