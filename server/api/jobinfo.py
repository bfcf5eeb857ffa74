"""A job as readers of every generation expect it."""

from msgspec import UNSET

from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.messages import Content, JobInfo, JobLambda, Maybe
from server.api.endpoint import wants_msgpack
from server.services import Services
from server.services.jobs import JobView


def job_info(services: Services, view: JobView, *, inline: bool) -> JobInfo:
    """Write a job's info; with ``inline``, the output's bytes too when they are few."""
    job, lambda_ = view.job, view.lambda_
    lambda_id, input_id = Id(lambda_.id), Id(job.input_id)
    return JobInfo(
        id=Id(job.id),
        state=job.state,
        input=Content(id=input_id or NO_ID),
        output=_output(services, view, inline=inline),
        lambda_=JobLambda(id=lambda_id, runtime=lambda_.runtime, codex=Id(lambda_.codex)),
        tags=list(job.tags),
        job_status=job.state,
        job_input_id=input_id,
        job_output_id=Id(job.output_id) if job.output_id else None,
        functio=lambda_id,
        runtime=lambda_.runtime,
        lambda_id=lambda_id,
        priority=job.priority,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        created_at=job.created_at / 1000,
        due_at=_seconds(job.due_at),
        started_at=_seconds(job.started_at),
        finished_at=_seconds(job.finished_at),
        expires_at=_seconds(job.expires_at),
        worker=UNSET if job.worker_id is None else Id(job.worker_id),
        error=job.error or UNSET,
        usage=job.usage or UNSET,
        key=UNSET if job.key is None else job.key,
    )


def _output(services: Services, view: JobView, *, inline: bool) -> Maybe[Content]:
    if not view.job.output_id:
        return UNSET
    id_ = Id(view.job.output_id)
    if inline and view.output is not None:
        data = services.data.read(view.output, services.settings.answer_inline_max_bytes)
        if data is not None:
            return Content.of(data, packed=wants_msgpack(), blob=id_)
    return Content(id=id_)


def _seconds(at_ms: int | None) -> Maybe[float]:
    return UNSET if at_ms is None else at_ms / 1000
