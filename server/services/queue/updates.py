"""``POST /job/{id}``: how v0.5 workers report and v0.5 requesters steer."""

from collections.abc import Callable
from functools import partial

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobError, JobUpdate, Outcome, blob_id, first_set
from piecework.protocol.states import JobState, parse_state
from server.errors import BadTransition, BlobNotFound, InvalidRequest, LeaseLost
from server.services.queue.jobs import Jobs, require_job
from server.services.queue.outcomes import Outcomes
from server.services.queue.waiting import Bell, Changes
from server.settings import Settings
from server.store.engine.database import Connection, Database
from server.store.queue import events, jobs, leases
from server.store.records import Event, Job
from server.store.stock import blobs

NO_LEASE = "v0.5"
"""What stands for the token that v0.5 clients do not have, in the trace of a refused outcome."""


class Updates:
    """Takes updates of single jobs in."""

    def __init__(
        self,
        database: Database,
        jobs_: Jobs,
        outcomes: Outcomes,
        bell: Bell,
        clock: Callable[[], int],
        settings: Settings,
    ) -> None:
        self._database = database
        self._jobs = jobs_
        self._outcomes = outcomes
        self._bell = bell
        self._clock = clock
        self._settings = settings

    def update(self, id_: int, request: JobUpdate, allow_steering: Callable[[], object]) -> str:
        """Do what an update asks for and say what was done.

        ``allow_steering`` is called before a requester's update is done, and raises unless the caller may steer
        jobs; a worker only reports on the job that it runs. Raises JobNotFound, InvalidRequest, BlobNotFound,
        LeaseLost for a result that comes too late, and BadTransition for a change that the job's state does not
        allow.
        """
        job, state = self._jobs.get(id_), _read_state(request)
        if _is_steering(job, state, request):
            allow_steering()
        self._set_input(job, request)
        return "updated" if state is None else f"job {id_} is {self._change(job, state, request)}"

    def _change(self, job: Job, state: JobState, request: JobUpdate) -> JobState:
        """Return the state that the job is in then."""
        if state is JobState.CANCELLED:
            return self._jobs.cancel(job.id).state
        if state in {JobState.FINISHED, JobState.FAILED}:
            return self._report(job, state, request)
        if state is JobState.RUNNING:
            return self._confirm(job)
        if state in {JobState.PAUSED, JobState.ENQUEUED}:
            return self._steer(job, state)
        raise BadTransition(f"nobody can set a job to {state}")

    def _set_input(self, job: Job, request: JobUpdate) -> None:
        """Give a job that has not started another input. Workers repeat the input it has: that changes nothing."""
        ref = first_set(request.input)
        new = _read_id(ref)
        if new is None or new == job.input_id:
            return

        def change(connection: Connection) -> None:
            if not blobs.find_digests(connection, [new]):
                raise BlobNotFound
            if not jobs.set_input(connection, job.id, new):
                raise BadTransition(f"job {job.id} is {job.state}: its input cannot change any more")

        self._database.write(change)

    def _report(self, job: Job, state: JobState, request: JobUpdate) -> JobState:
        """Record a v0.5 worker's result: it counts while the job runs under a lease of that kind."""
        output = first_set(request.output)
        if job.state is state and job.lease is None and job.output_id == _read_id(output):
            return state  # the answer to the first report was lost, and it was repeated
        error = JobError(kind=ErrorKind.GUEST, message="the worker reported a failure")
        fenced = job.lease is None or job.is_fenced
        outcome = Outcome(
            job=Id(job.id),
            lease=NO_LEASE if fenced else job.lease or NO_LEASE,
            state=state,
            output=output,
            error=error if state is JobState.FAILED else None,
        )
        recorded = self._outcomes.finish(job.worker_id or 0, [outcome])
        ack = recorded.acks[0]
        if ack.code:
            raise LeaseLost(f"the result is refused: {ack.message}")
        return recorded.changes.jobs.get(job.id, state)

    def _confirm(self, job: Job) -> JobState:
        """A v0.5 worker says that it runs the job."""
        if job.state is not JobState.RUNNING:
            raise BadTransition(f"job {job.id} is {job.state}: a contract sets a job to Running, not an update")
        until = self._clock() + round(self._settings.legacy_lease_s * 1000)
        self._database.write(partial(leases.confirm_by_job, job_id=job.id, until=until), durable=False)
        return job.state

    def _steer(self, job: Job, state: JobState) -> JobState:
        """Pause or resume a job; a v0.5 worker hands one back by setting it to enqueued."""
        if job.state is JobState.RUNNING and not job.is_fenced and state is JobState.ENQUEUED:
            handed_back = Outcome(job=Id(job.id), lease=job.lease or NO_LEASE, state=JobState.ENQUEUED)
            recorded = self._outcomes.finish(job.worker_id or 0, [handed_back])
            return recorded.changes.jobs.get(job.id, job.state)
        if job.state is state:
            return state
        now = self._clock()
        moved = self._database.write(lambda connection: _move(connection, job.id, state, now))
        changes = Changes()
        changes.note(moved.id, moved.lane_id, moved.state)
        self._bell.ring(changes)
        return moved.state


def _is_steering(job: Job, state: JobState | None, request: JobUpdate) -> bool:
    """Tell whether an update is a requester's."""
    if job.state is JobState.RUNNING and not job.is_fenced:
        return False
    steers = state in {JobState.CANCELLED, JobState.PAUSED, JobState.ENQUEUED}
    return steers or _read_id(first_set(request.input)) not in {None, job.input_id}


def _move(connection: Connection, id_: int, wanted: JobState, now: int) -> Job:
    job = require_job(connection, id_)
    waits = job.due_at is not None and job.due_at > now
    to = JobState.WAITING if wanted is JobState.ENQUEUED and waits else wanted
    allowed = {
        JobState.PAUSED: {JobState.ENQUEUED, JobState.WAITING, JobState.PRE_ASSIGNED},
        JobState.ENQUEUED: {JobState.PAUSED, JobState.WAITING, JobState.PRE_ASSIGNED},
        JobState.WAITING: {JobState.PAUSED},
    }
    due_at = job.due_at if to is not JobState.ENQUEUED else None
    if job.state not in allowed[to] or not jobs.move_job(connection, id_, job.state, to, due_at):
        raise BadTransition(f"job {id_} is {job.state}: it cannot become {wanted}")
    events.add_events(connection, [Event(id_, now, to, attempt=job.attempt)])
    return require_job(connection, id_)


def _read_state(request: JobUpdate) -> JobState | None:
    name = request.state_name()
    try:
        return None if name is None else parse_state(name)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _read_id(ref: object) -> int | None:
    try:
        return blob_id(ref)  # type: ignore[arg-type]  # the message type checked it
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
