"""A program with the client that blocks, as users write it."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import piecework
from piecework import Client, Job, JobExecutor, JobFailed, JobResult
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo
from piecework.protocol.states import JobState


def work(client: Client, files: list[Path]) -> dict[str, bytes]:
    shout = client.create_lambda(Path("shout.wasm"), name="shout", reuse=True)
    assert_type(shout, Id)
    job = client.submit(shout, "hello", priority=3, tags=["near"])
    assert_type(job, Job)
    assert_type(job.result(timeout_s=10), bytes)
    assert_type(job.status(), JobState)
    assert_type(client.job(job), JobInfo)
    assert_type(client.jobs(state="failed", limit=3), Iterator[JobInfo])
    jobs = client.submit_many("shout", files, delay_s=1.5)
    assert_type(jobs, list[Job])
    for done in piecework.as_completed(jobs):
        assert_type(done, Job)
    for output in client.map("shout", files, window=10, priority=1):
        assert_type(output, bytes)
    for result in client.map("shout", files, errors="return"):
        assert_type(result, JobResult)
    return dict(zip(map(str, files), piecework.gather(jobs), strict=True))


def run(executor: JobExecutor) -> bytes:
    try:
        return executor.submit("x").result()
    except JobFailed as error:
        return error.message.encode()
