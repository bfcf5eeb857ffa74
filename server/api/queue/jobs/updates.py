"""``POST /job/{id}``: a job is steered, or somebody who works without leases reports on it."""

from flask import request
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import BlobRef, JobUpdate, Maybe, MessageReply, Outcome, blob_id, given
from piecework.protocol.states import JobState, parse_state
from piecework.server.dialects import v05
from piecework.server.errors import BadTransition, InvalidRequest, LeaseLost
from piecework.server.services import Services
from piecework.server.store.records import Job
from piecework.server.web.endpoint import endpoint

STEERED = frozenset({JobState.CANCELLED, JobState.PAUSED, JobState.ENQUEUED})
"""Who may submit may set jobs to these states; workers only those that they run."""


@endpoint("POST", "/job/<job>", scope=("submit", "worker"), body=JobUpdate, reply=MessageReply)
def update(services: Services, id_: Id, body: JobUpdate) -> MessageReply:
    """Report on a job without its lease, or, with scope submit, cancel, pause or resume it."""
    job, state, input_id = services.jobs.get(id_), _state(body), _blob_id(body.input)
    changes_input = input_id not in {None, job.input_id}
    if not job.is_unfenced and (changes_input or state in STEERED):
        services.access.check("submit", request.headers)
    if changes_input:
        assert input_id is not None
        services.steering.set_input(job, input_id)
    return MessageReply(message="updated" if state is None else f"job {id_} is {_set(services, job, state, body)}")


def _set(services: Services, job: Job, state: JobState, body: JobUpdate) -> JobState:
    """Do what setting a job to a state means, and return the state that it is in then."""
    if report := v05.read_report(job, state, body.output):
        return _take(services, job, report)
    if state is JobState.CANCELLED:
        return services.jobs.cancel(job.id).state
    if state is not JobState.RUNNING:
        return services.steering.move(job, state)
    if job.state is not state:
        raise BadTransition(f"job {job.id} is {job.state}: a contract sets a job to Running, not an update")
    return services.unfenced.hear_about_job(job).state


def _take(services: Services, job: Job, report: Outcome) -> JobState:
    """Record what a worker reports: it counts while the job runs under a lease without proof."""
    if job.state is report.state and job.output_id == _blob_id(report.output):
        return job.state  # the answer to the first report was lost, and it was repeated
    recorded = services.outcomes.finish(job.worker_id or 0, [report])
    refused = recorded.acks[0].code
    if refused and report.state is not JobState.ENQUEUED:
        raise LeaseLost(f"the result is refused: {recorded.acks[0].message}")
    return recorded.changes.jobs.get(job.id, job.state if refused else report.state)


def _state(body: JobUpdate) -> JobState | None:
    name = given(body.status)
    try:
        return None if name is None else parse_state(name)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _blob_id(ref: Maybe[BlobRef | None]) -> Id | None:
    try:
        return None if ref is UNSET else blob_id(ref)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
