"""A job as its readers get it."""

from collections.abc import Sequence

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, JobLambda, Maybe
from server.dialects import v05
from server.services import Services
from server.services.queue.jobs import JobView
from server.web.endpoint import wants_msgpack


def job_infos(services: Services, views: Sequence[JobView], *, inline: bool) -> list[JobInfo]:
    """Write the infos of jobs; with ``inline``, the outputs' bytes too where they are few."""
    packed = wants_msgpack()
    lambdas = {
        view.lambda_.id: JobLambda(
            id=Id(view.lambda_.id), runtime=view.lambda_.runtime, codex=Id(view.lambda_.codex)
        )
        for view in views
    }
    kind = JobInfo if packed else v05.OldJobInfo
    infos = [
        _job_info(kind, view, lambdas[view.lambda_.id], _output(services, view, inline=inline, packed=packed))
        for view in views
    ]
    return infos if packed else v05.add_old_names(infos)


def job_info(services: Services, view: JobView, *, inline: bool) -> JobInfo:
    """Write one job's info as ``job_infos`` does."""
    [info] = job_infos(services, [view], inline=inline)
    return info


def _job_info(kind: type[JobInfo], view: JobView, lambda_: JobLambda, output: Maybe[Content]) -> JobInfo:
    job = view.job
    state = job.state
    return kind(
        id=Id(job.id),
        state=state,
        input=Content(id=Id(job.input_id)),
        output=output,
        lambda_=lambda_,
        tags=list(job.tags),
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


def _output(services: Services, view: JobView, *, inline: bool, packed: bool) -> Maybe[Content]:
    if not view.job.output_id:
        return UNSET
    id_ = Id(view.job.output_id)
    if inline and view.output is not None:
        data = services.data.read(view.output, services.settings.answer_inline_max_bytes)
        if data is not None:
            return Content.of(data, packed=packed, blob=id_)
    return Content(id=id_)


def _seconds(at_ms: int | None) -> Maybe[float]:
    return UNSET if at_ms is None else at_ms / 1000
