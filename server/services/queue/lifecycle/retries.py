"""What becomes of a job when a lease of it ends. Pure decisions; the source is docs/queue.md."""

from collections.abc import Callable

from piecework.backoff import pause_after
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Backoff, JobError, Usage
from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.memo_terms import REPEATABLE
from piecework.server.store.records import Job, LeaseEnd

Random = Callable[[], float]
"""Gives numbers from 0 up to 1."""

HOPELESS = frozenset({ErrorKind.LOAD})
"""Kinds of error that another attempt would meet again."""


def end_finished(job: Job, *, output_id: int | None, usage: Usage, now: int) -> LeaseEnd:
    """The lease's outcome is a result: the job is done."""
    return _end(job, JobState.FINISHED, output_id=output_id, usage=usage, finished_at=now)


def end_cancelled(job: Job, *, now: int) -> LeaseEnd:
    """The worker stopped the job because somebody asked for it."""
    return _end(job, JobState.CANCELLED, finished_at=now)


def end_handed_back(job: Job, error: JobError | None = None) -> LeaseEnd:
    """The worker gives the job back without having run it: the attempt does not count.

    ``error``: why it could not run it. The job goes to a worker that asks anew, not to one that waits already.
    """
    end = _end(job, JobState.ENQUEUED)._replace(attempt=max(0, job.attempt - 1))
    return end if error is None else end._replace(error=error, returned=True)


def end_failed(
    job: Job,
    error: JobError,
    *,
    usage: Usage,
    now: int,
    repeats: bool,
    vanished_max: int,
    random: Random,
    output_id: int | None = None,
) -> LeaseEnd:
    """The attempt failed: try again after a while, or give up, and keep what it wrote.

    ``repeats``: the lambda is deterministic, so that what its guest did would come again. ``vanished_max``:
    attempts that the worker, not the guest, is to blame for cost none of the job's own, but have that budget.
    """
    gone = job.vanished + (error.kind is ErrorKind.WORKER)
    end = _end(job, JobState.FAILED)._replace(vanished=gone, error=error, usage=usage)
    if gone > vanished_max or not _is_worth_another(job, error, gone, repeats=repeats):
        return end._replace(finished_at=now, output_id=output_id)
    wait_s = _backoff_s(job.options.backoff, max(1, job.attempt - gone), random)
    if wait_s <= 0:
        return end._replace(state=JobState.ENQUEUED)
    return end._replace(state=JobState.WAITING, due_at=now + round(wait_s * 1000))


def end_vanished(job: Job, *, vanished_max: int, now: int) -> LeaseEnd:
    """The lease ran out. Vanished workers have a budget of their own, beside the job's attempts."""
    # No outcome was accepted under this lease: one that still comes is too late, not a repetition.
    end = _end(job, JobState.ENQUEUED)._replace(last_lease=job.last_lease)
    if job.lease_kind in {"unseen", "first"}:
        # A contract whose answer nobody read: the job was never seen, let alone started.
        return end._replace(attempt=max(0, job.attempt - 1), returned=True)
    end = end._replace(vanished=job.vanished + 1)
    if end.vanished <= vanished_max:
        return end
    why = f"{end.vanished} workers vanished while they ran it, the limit is {vanished_max}"
    error = JobError(kind=ErrorKind.WORKER, message=why)
    return end._replace(state=JobState.FAILED, error=error, finished_at=now)


def _end(
    job: Job,
    state: JobState,
    *,
    output_id: int | None = None,
    usage: Usage | None = None,
    finished_at: int | None = None,
) -> LeaseEnd:
    lease = job.lease
    assert lease is not None
    return LeaseEnd(
        job.id, lease, state, job.attempt, job.vanished, lease, output_id, None, usage, None, finished_at
    )


def _is_worth_another(job: Job, error: JobError, gone: int, *, repeats: bool) -> bool:
    if error.kind in HOPELESS or (repeats and error.kind in REPEATABLE):
        return False
    if job.is_unfenced and job.options.max_attempts is None:
        return False  # its worker knows no attempts: what it reports is final unless the job asked for more
    if job.options.retry_on is not None and error.kind not in job.options.retry_on:
        return False
    return job.attempt - gone < job.max_attempts


def _backoff_s(backoff: Backoff, failures: int, random: Random) -> float:
    if backoff.kind == "none":
        return 0.0
    if backoff.kind == "fixed":
        return min(backoff.base_s, backoff.cap_s)
    return pause_after(failures, backoff.base_s, backoff.cap_s) * (0.5 + random() / 2)
