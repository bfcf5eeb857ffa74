"""What a job runs with, and how it fared so far: all that is known of it beside its row."""

from typing import NamedTuple

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Limits
from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Connection
from piecework.server.store.options import JobOptions
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.dependencies.relations import Edge
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import files, journals, reruns
from piecework.server.store.queue.jobs.files import FileKind, StoredFile
from piecework.server.store.queue.trust import votes
from piecework.server.store.records import Job, Lambda
from piecework.server.store.stock import blobs
from piecework.server.store.stock.blobs import BlobFacts


class RunTerms(NamedTuple):
    """What a job runs with."""

    args: list[str]
    env: dict[str, str]
    limits: Limits
    ok_codes: list[int]
    """Beside 0."""


def merge_terms(job: Job, lambda_: Lambda, defaults: Limits) -> RunTerms:
    """Return what a job runs with: its own options over its lambda's over the server's."""
    return merge_options(job.options, lambda_, defaults)


def merge_options(mine: JobOptions, lambda_: Lambda, defaults: Limits) -> RunTerms:
    """Do what ``merge_terms`` does for a job of which the options are known."""
    theirs = lambda_.options
    return RunTerms(
        list(theirs.args if mine.args is None else mine.args),
        {**theirs.env, **mine.env},
        mine.limits.over(theirs.limits).over(defaults),
        list(theirs.ok_codes if mine.ok_codes is None else mine.ok_codes),
    )


class Details(NamedTuple):
    """What is told of a job beside its row."""

    terms: RunTerms
    input: BlobFacts | None
    """None: it has none, or that is gone."""
    output: BlobFacts | None
    failed: int
    """Attempts that failed. Those whose workers are to blame are counted in ``vanished`` of the job."""
    parents: list[Edge]
    """What it waits, or waited, for."""
    files: list[StoredFile]
    """What was in its own directory before it started."""
    made_files: list[StoredFile]
    """What it gave back."""
    made: list[int]
    """The jobs that run it again with changes, oldest first."""
    journal: int | None
    """The blob with what its guest got from outside; None: nothing was recorded."""
    is_verified: bool | None
    """Whether others agreed with its result; None: there is none, or one worker's word is enough."""


def find_details(connection: Connection, job: Job, lambda_: Lambda, defaults: Limits) -> Details:
    """Return what is told of a job beside its row."""
    found = blobs.find_facts(connection, [job.input_id, job.output_id or 0])
    return Details(
        merge_terms(job, lambda_, defaults),
        found.get(job.input_id),
        found.get(job.output_id or 0),
        max(0, job.attempt - job.vanished - _is_last_spared(connection, job)),
        dependencies.find_of_children(connection, [job.id]),
        _find_files(connection, job, "given"),
        _find_files(connection, job, "made"),
        reruns.find_made_of(connection, [job.id]).get(job.id, []),
        journals.find_journal(connection, job.id) if lambda_.options.record else None,
        _is_verified(connection, job) if lambda_.options.verify else None,
    )


def _is_verified(connection: Connection, job: Job) -> bool | None:
    """Tell whether others agreed with the result of a job; None while, or when, there is none."""
    if job.state not in {JobState.FINISHED, JobState.FAILED}:
        return None
    if job.error and job.error.kind is ErrorKind.WORKER:
        return None  # no guest brought that about
    if job.attempt == 0 and job.options.recalled is not None:
        return True  # only with what others agreed on are such jobs answered
    cast = votes.find_votes(connection, [job.id])
    return bool(cast) and not any(each.alone for each in cast)


def _find_files(connection: Connection, job: Job, kind: FileKind) -> list[StoredFile]:
    return files.find_files(connection, kind, [job.id]).get(job.id, []) if job.options.has_folder else []


def _is_last_spared(connection: Connection, job: Job) -> bool:
    """Tell whether the last attempt neither failed nor was lost: it goes on, ended well, or was cancelled."""
    if job.state is JobState.CANCELLED and job.attempt:
        last = events.list_events(connection, job.id)[-1:]
        return bool(last) and last[0].state is JobState.CANCELLED and last[0].since is not None
    return job.state in {JobState.RUNNING, JobState.FINISHED}
