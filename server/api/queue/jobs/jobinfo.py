"""A job as its readers get it."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, FullBackoff, JobFile, JobInfo, JobLambda, JobSource, Maybe
from piecework.protocol.retention import retain_s
from piecework.protocol.secrets import mask_secrets
from piecework.protocol.states import UNSTARTED_STATES, JobState
from piecework.server.dialects import v05
from piecework.server.services import Services
from piecework.server.services.queue.dependencies.dependants import AS_FILE
from piecework.server.services.queue.reading.jobs import JobView
from piecework.server.store.queue.dependencies.relations import Edge
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job, Lambda
from piecework.server.web.endpoint import wants_msgpack

EXPLAINED_MAX = 50
"""Jobs of a list of which it is said why they wait, or when they end: the database is asked for each."""


def job_infos(services: Services, views: Sequence[JobView], *, inline: bool, named: bool = False) -> list[JobInfo]:
    """Write the infos of jobs; with ``inline``, the outputs' bytes too where they are few.

    ``named``: with the names of their lambdas, which strict older clients do not know.
    """
    packed = wants_msgpack()
    known = {view.lambda_.id: view.lambda_ for view in views}
    lambdas = {id_: _write_lambda(each, named=named) for id_, each in known.items()}
    kind = JobInfo if packed else v05.OldJobInfo
    infos = [
        _job_info(kind, view, lambdas[view.lambda_.id], _output(services, view, inline=inline, packed=packed))
        for view in views
    ]
    if not packed:
        return v05.add_old_names(infos)
    for info, view in zip(infos, views, strict=True):
        if view.job.state is JobState.FAILED:
            add_end(info, view.job)
    return infos


def _write_lambda(found: Lambda, *, named: bool) -> JobLambda:
    name = found.name if named and found.name else UNSET
    return JobLambda(id=Id(found.id), runtime=found.runtime, codex=Id(found.codex), name=name)


def complete(services: Services, info: JobInfo, view: JobView) -> JobInfo:
    """Add all that is known of a job to its info."""
    job, details = view.job, services.jobs.find_details(view)
    info.lambda_.name = view.lambda_.name or UNSET
    info.submitter = job.submitter or UNSET
    info.on_end = job.options.on_end or UNSET
    info.tenant = services.tenants.find_of(job) or UNSET
    info.args, info.limits = details.terms.args, details.terms.limits
    info.env = mask_secrets(details.terms.env)
    info.backoff = FullBackoff(**msgspec.structs.asdict(job.options.backoff))
    info.retry_on = UNSET if job.options.retry_on is None else list(job.options.retry_on)
    info.failed, info.lost = details.failed, job.vanished
    if details.input is not None:
        info.input_name, info.input_size = details.input.name or UNSET, details.input.size
    if details.output is not None:
        info.output_size = details.output.size
    add_end(info, job)
    info.ok_codes = details.terms.ok_codes or UNSET
    _add_parents(info, details.parents)
    if job.options.has_folder:
        info.files, info.made = list(map(_job_file, details.files)), list(map(_job_file, details.made_files))
        info.outputs = list(job.options.outputs)
    info.journal = UNSET if details.journal is None else Id(details.journal)
    info.verified = UNSET if details.is_verified is None else details.is_verified
    info.receipts = view.lambda_.options.receipts or UNSET
    info.run_again_as = list(map(Id, details.made)) or UNSET
    info.retain_s = UNSET if job.retain_ms is None else retain_s(job.retain_ms)
    info.removed_at = _seconds(services.retention.find_end(job))
    explain_waits(services, [info], [job])
    foresee_ends(services, [info], [job])
    return info


def add_end(info: JobInfo, job: Job) -> None:
    """Add how a job's guest ended, which strict older clients do not know."""
    info.exit_code = UNSET if job.exit_code is None else job.exit_code
    if job.state is JobState.FAILED and job.output_id:
        info.failed_output = Id(job.output_id)


def explain_waits(services: Services, infos: Sequence[JobInfo], found: Sequence[Job]) -> None:
    """Add why jobs wait to their infos: the first that do."""
    waiting = [(info, job) for info, job in zip(infos, found, strict=True) if job.state in UNSTARTED_STATES]
    for info, job in waiting[:EXPLAINED_MAX]:
        if wait := services.jobs.find_wait(job):
            info.advice, info.waits_for = wait.text, wait.reason


def foresee_ends(services: Services, infos: Sequence[JobInfo], found: Sequence[Job]) -> None:
    """Add how long jobs that run usually take to their infos: the first that do."""
    running = [(info, job) for info, job in zip(infos, found, strict=True) if job.state is JobState.RUNNING]
    outlooks = services.pace.foresee(job for _, job in running[:EXPLAINED_MAX])
    for info, job in running:
        if outlook := outlooks.get(job.id):
            info.expected_s, info.eta = outlook.expected_s, outlook.eta_ms / 1000
            info.straggler = outlook.straggles


def job_info(services: Services, view: JobView, *, inline: bool) -> JobInfo:
    """Write one job's info as ``job_infos`` does."""
    [info] = job_infos(services, [view], inline=inline)
    return info


def _job_file(file: StoredFile) -> JobFile:
    return JobFile(
        name=file.name,
        blob=Id(file.blob_id or 0),
        size=file.size,
        checksum=file.sha256.hex(),
        job=UNSET if file.parent_id is None else Id(file.parent_id),
        file=UNSET if file.source is None else file.source,
    )


def _add_parents(info: JobInfo, edges: Sequence[Edge]) -> None:
    """Add to a job's info what it waits, or waited, for."""
    if edges:
        info.after = list(map(Id, sorted({edge.parent_id for edge in edges})))
    named = [edge for edge in edges if edge.name not in {"", AS_FILE}]
    if sources := [JobSource(name=edge.name, job=Id(edge.parent_id)) for edge in named]:
        info.inputs = sources


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
        group=UNSET if job.group_id is None else Id(job.group_id),
        schedule=UNSET if job.schedule_id is None else Id(job.schedule_id),
        recalled=_find_recalled(job),
        replays=_find_replayed(job),
        retry_of=UNSET if job.retry_of is None else Id(job.retry_of),
        concurrency_key=UNSET if job.concurrency_key is None else job.concurrency_key,
        rate_key=UNSET if job.rate_key is None else job.rate_key,
    )


def _find_recalled(job: Job) -> Maybe[Id]:
    """Return the job with whose result one was answered that nobody ran."""
    recalled = job.options.recalled if job.options_json and job.attempt == 0 else None
    return UNSET if recalled is None else Id(recalled)


def _find_replayed(job: Job) -> Maybe[Id]:
    """Return the job whose run one does again."""
    replays = job.options.replays if job.options_json else None
    return UNSET if replays is None else Id(replays)


def _output(services: Services, view: JobView, *, inline: bool, packed: bool) -> Maybe[Content]:
    if not view.job.output_id or view.job.state is not JobState.FINISHED:
        return UNSET
    id_ = Id(view.job.output_id)
    if inline and view.output is not None:
        data = services.data.read(view.output, services.settings.answer_inline_max_bytes)
        if data is not None:
            return Content.of(data, packed=packed, blob=id_)
    return Content(id=id_)


def _seconds(at_ms: int | None) -> Maybe[float]:
    return UNSET if at_ms is None else at_ms / 1000
