"""Jobs: ``/job``."""

from dataclasses import replace
from typing import Literal

import msgspec
from flask import request
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    AttemptLog,
    JobCreated,
    JobInfo,
    JobList,
    JobLog,
    JobLogs,
    JobSubmit,
    MessageReply,
    TraceEvent,
    TraceReply,
)
from piecework.protocol.states import JobState, parse_state
from piecework.server.api.queue.jobs.jobinfo import complete, explain_waits, foresee_ends, job_info, job_infos
from piecework.server.api.queue.jobs.selection import SelectionQuery, read_query
from piecework.server.errors import InvalidParameter
from piecework.server.services import Services
from piecework.server.services.queue.submitting.quotas import Allowed
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.web.endpoint import Query, endpoint
from piecework.server.web.paging import next_cursor

OutputForm = Literal["id", "inline"]
"""``inline`` adds the output's bytes when they are few."""


class JobQuery(Query):
    """How to read one job."""

    output: OutputForm = "id"
    """``inline`` adds the output's bytes, when they are few."""
    except_: str | None = msgspec.field(default=None, name="except")
    """Hold the answer until the job is in this state, or can no longer reach it."""
    timeout: float = 0.0
    """For that many seconds at most."""
    view: str = ""
    """``full`` adds what the job runs with, how its attempts fared, why it does not start, when it may end, how
    long it stays."""


class JobListQuery(SelectionQuery):
    """Which jobs to read: some by id, or a page of those that fit."""

    output: OutputForm = "id"
    """``inline`` adds the outputs' bytes, where they are few."""
    ids: str | None = None
    """Job ids with commas between them; the parameters of a page are ignored then."""
    until: Literal["any", "all"] | None = None
    """With ``ids``: hold the answer until any, or all, of them are final."""
    timeout: float = 0.0
    """For that many seconds at most."""
    total: bool = False
    """Count all that fit, too."""
    view: str = ""
    """``full`` adds why jobs wait and when they may end: of a page's first fifty that wait, and that run."""


class LogQuery(Query):
    """Which part of a log."""

    offset: int = 0
    """Start at this byte."""
    attempt: int | None = None
    """Whose log the offset belongs to; the log of a later attempt is read from its start."""
    only: bool = False
    """Read the log of ``attempt``, also when there is a later one; without waiting for more of it."""
    timeout: float = 0.0
    """Hold the answer until there is more, or the job is final, for that many seconds at most."""


class SubmitQuery(Query):
    """Whether to wait for the end of the job."""

    wait: float | None = None
    """Hold the answer until the one job that is submitted is final, for that many seconds at most."""
    output: OutputForm = "id"
    """How the output is shown when ``wait`` is given."""


@endpoint(
    "POST", "/job", scope="submit", query=SubmitQuery, body=JobSubmit, reply=JobCreated, caller=True, allowed=True
)
def submit(
    services: Services, query: SubmitQuery, body: JobSubmit, caller: str | None, allowed: Allowed | None = None
) -> Work[JobCreated]:
    """Submit one job, or many in `jobs`: all are stored, or none is. With `wait` the answer has the job's end."""
    parent, attributes = request.headers.get("traceparent"), {"piecework.submitter": caller or ""}
    with services.traces.within("submit", parent, attributes):
        if body.jobs is not UNSET:
            key = body.key if isinstance(body.key, str) else None
            return JobCreated(ids=list(map(Id, services.submission.submit_many(body.jobs, key, caller, allowed))))
        [id_] = services.submission.submit([body], submitter=caller, allowed=allowed)
    created = JobCreated(id=Id(id_))
    if query.wait is not None:
        yield from services.jobs.wait_for_ends([id_], read_seconds(query.wait), need_all=True)
        [row] = services.jobs.get_many([id_], with_output=query.output == "inline")
        created.job = job_info(services, row, inline=query.output == "inline")
        services.retention.note_read([row.job])
    return created


@endpoint("GET", "/job", scope="view", query=JobListQuery, reply=JobList, allowed=True)
def list_all(services: Services, query: JobListQuery, allowed: Allowed | None = None) -> JobList | Work[JobList]:
    """Read some jobs by id, or list those that fit, newest first."""
    only = allowed.name if allowed and allowed.quota.lambdas else None
    if query.ids is not None:
        return _read_many(services, query, only)
    which = read_query(services, query)
    if only is not None:
        which = replace(which, submitter=only)
    page, more = query.read(lambda **at: services.jobs.list_page(which, **at), services.settings.page_max)
    rows = services.jobs.show(page, with_output=query.output == "inline")
    infos = job_infos(services, rows, inline=query.output == "inline", named=True)
    if query.view == "full":
        explain_waits(services, infos, page)
        foresee_ends(services, infos, page)
    listed = JobList(jobs=infos, next=next_cursor([job.id for job in page], more))
    if query.total:
        listed.total = services.jobs.count(which)
    return listed


def _read_many(services: Services, query: JobListQuery, only: str | None) -> Work[JobList]:
    try:
        ids = [Id.parse(text) for text in (query.ids or "").split(",") if text]
    except ValueError as error:
        raise InvalidParameter(f"ids is wrong: {error}") from error
    if only is not None:
        services.jobs.check_submitter(ids, only)
    if query.until is not None:
        yield from services.jobs.wait_for_ends(ids, read_seconds(query.timeout), need_all=query.until == "all")
    rows = services.jobs.get_many(ids, with_output=query.output == "inline")
    services.retention.note_read(row.job for row in rows)
    return JobList(jobs=job_infos(services, rows, inline=query.output == "inline", named=True))


@endpoint("GET", "/job/<job>", scope=("view", "worker"), query=JobQuery, reply=JobInfo)
def show(services: Services, id_: Id, query: JobQuery) -> Work[JobInfo]:
    """Read one job; with `except=STATE&timeout=S` once it is in that state."""
    if (wanted := _state(query.except_)) is not None:
        job = yield from services.jobs.wait_for(id_, wanted, read_seconds(query.timeout))
    else:
        job = services.jobs.get(id_)
        if query.view != "full":
            job = services.unfenced.hear_about_job(job)
    [row] = services.jobs.show([job], with_output=query.output == "inline")
    services.retention.note_read([job])
    info = job_info(services, row, inline=query.output == "inline")
    return complete(services, info, row) if query.view == "full" else info


@endpoint("DELETE", "/job/<job>", scope="submit", reply=MessageReply)
def cancel(services: Services, id_: Id) -> MessageReply:
    """Cancel a job, also a running one. Does nothing to a job that is final."""
    return MessageReply(message=f"job {id_} is {services.jobs.cancel(id_).state}")


@endpoint("GET", "/job/<job>/trace", scope="view", reply=TraceReply)
def trace(services: Services, id_: Id) -> TraceReply:
    """Tell what happened to a job, oldest first."""
    return TraceReply(
        events=[
            TraceEvent(
                at=event.at / 1000,
                state=event.state,
                worker=UNSET if event.worker_id is None else Id(event.worker_id),
                attempt=event.attempt,
                lease=UNSET if event.lease is None else event.lease,
                detail=event.detail,
            )
            for event in services.jobs.trace(id_)
        ]
    )


@endpoint("GET", "/job/<job>/log", scope="view", query=LogQuery, reply=JobLog)
def log(services: Services, id_: Id, query: LogQuery) -> Work[JobLog]:
    """Read what the job's latest attempt logged, from a byte on."""
    if query.offset < 0:
        raise InvalidParameter(f"offset is {query.offset}, but cannot be negative")
    if query.only:
        if query.attempt is None:
            raise InvalidParameter("only=true needs attempt=N: whose log is wanted?")
        job, kept = services.jobs.log_of(id_, query.attempt)
        offset = min(max(query.offset, kept.start), kept.end)
    else:
        timeout_s = read_seconds(query.timeout)
        job, kept, offset = yield from services.jobs.log(id_, query.offset, query.attempt, timeout_s)
    text = kept.content[offset - kept.start :].decode(errors="replace")
    return JobLog(text=text, offset=offset, next=kept.end, attempt=kept.attempt, state=job.state)


@endpoint("GET", "/job/<job>/logs", scope="view", reply=JobLogs)
def logs(services: Services, id_: Id) -> JobLogs:
    """Read what each attempt of a job logged, as far as it is kept."""
    job, kept = services.jobs.logs(id_)
    told = [
        AttemptLog(attempt=each.attempt, text=each.content.decode(errors="replace"), offset=each.start)
        for each in kept
    ]
    return JobLogs(logs=told, attempts=job.attempt, state=job.state)


def read_seconds(timeout: float) -> float:
    """Return how long a request is to wait. Raises InvalidParameter for what is no such time."""
    if not timeout >= 0:  # NaN is not either
        raise InvalidParameter(f"timeout is {timeout}, but cannot be negative")
    return timeout


def _state(name: str | None) -> JobState | None:
    try:
        return None if name is None else parse_state(name)
    except ValueError as error:
        raise InvalidParameter(str(error)) from error
