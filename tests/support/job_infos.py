"""Jobs as a server describes them, for tests that write its answers themselves."""

from typing import Any

from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.messages import Content, JobInfo, JobLambda
from piecework.protocol.states import JobState


def info(job: int, state: JobState = JobState.FINISHED, **fields: Any) -> JobInfo:
    return JobInfo(
        id=Id(job),
        state=state,
        input=Content(id=NO_ID),
        lambda_=JobLambda(id=Id(1), runtime="test", codex=NO_ID),
        tags=[],
        priority=0,
        attempt=1,
        max_attempts=3,
        created_at=0.0,
        **fields,
    )
