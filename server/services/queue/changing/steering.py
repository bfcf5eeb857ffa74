"""Steering jobs that wait: pausing them, resuming them, giving them another input."""

from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState
from piecework.server.errors import BadTransition, BlobNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle.placing import Place, place
from piecework.server.services.queue.limits.limiter import place_jobs, release_jobs
from piecework.server.services.queue.reading.jobs import require_job
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import holds
from piecework.server.store.records import Event, Job
from piecework.server.store.stock import blobs

SET = frozenset({JobState.PAUSED, JobState.ENQUEUED})
"""The states that somebody can ask for. A job that is resumed before it is due waits."""


class Steering:
    """Changes jobs that nobody runs."""

    def __init__(self, core: Core, notifier: Notifier) -> None:
        self._database, self._clock = core.database, core.clock
        self._notifier = notifier

    def set_input(self, job: Job, input_id: int) -> None:
        """Give a job that has not started another input. Raises BlobNotFound, or BadTransition when it has."""

        def change(connection: Connection) -> None:
            if not blobs.hold_blobs(connection, [input_id]):
                raise BlobNotFound
            if not jobs.set_input(connection, job.id, input_id):
                raise BadTransition(f"job {job.id} is {job.state}: its input cannot change any more")

        self._database.write(change)

    def move(self, job: Job, wanted: JobState) -> JobState:
        """Pause or resume a job, and return the state that it is in then.

        Does nothing to a job that is in the wanted state. Raises BadTransition when its state does not allow it.
        """
        if wanted not in SET:
            raise BadTransition(f"nobody can set a job to {wanted}")
        if job.state is wanted and job.waits is None:
            return wanted
        moved, changes = self._database.write(lambda connection: _move(connection, job.id, wanted, self._clock()))
        self._notifier.notify(changes)
        return moved.state


def _move(connection: Connection, id_: int, wanted: JobState, now: int) -> tuple[Job, Changes]:
    job = require_job(connection, id_)
    goes = place(job, now) if wanted is JobState.ENQUEUED else Place(wanted, job.due_at)
    to = goes.state
    if job.waits == "hold" and wanted is JobState.ENQUEUED:
        raise BadTransition(f"job {id_} is paused with {holds.find_holds(connection).describe(job)}")
    # One that is parked with others may be paused by itself, too.
    may = job.state in UNSTARTED_STATES and (to in NEXT_STATES[job.state] or job.waits == "hold")
    if not may or not jobs.move_job(connection, id_, job.state, *goes):
        raise BadTransition(f"job {id_} is {job.state}: it cannot become {wanted}")
    events.add_events(connection, [Event(id_, now, to, attempt=job.attempt)])
    changes = Changes()
    changes.note(id_, job.lane_id, to)
    if to is JobState.ENQUEUED:
        place_jobs(connection, [job], changes, now)
    else:
        release_jobs(connection, [job], changes, now)
    return require_job(connection, id_), changes
