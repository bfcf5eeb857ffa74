"""Steering jobs that wait: pausing them, resuming them, giving them another input."""

from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState
from server.errors import BadTransition, BlobNotFound
from server.services.core import Core
from server.services.queue.jobs import require_job
from server.services.queue.waiting import Changes, Notifier
from server.store.engine.database import Connection
from server.store.queue import events, jobs
from server.store.records import Event, Job
from server.store.stock import blobs

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
            if not blobs.find_digests(connection, [input_id]):
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
        if job.state is wanted:
            return wanted
        moved = self._database.write(lambda connection: _move(connection, job.id, wanted, self._clock()))
        changes = Changes()
        changes.note(moved.id, moved.lane_id, moved.state)
        self._notifier.notify(changes)
        return moved.state


def _move(connection: Connection, id_: int, wanted: JobState, now: int) -> Job:
    job = require_job(connection, id_)
    waits = job.due_at is not None and job.due_at > now
    to = JobState.WAITING if wanted is JobState.ENQUEUED and waits else wanted
    due_at = job.due_at if to is not JobState.ENQUEUED else None
    may = job.state in UNSTARTED_STATES and to in NEXT_STATES[job.state]
    if not may or not jobs.move_job(connection, id_, job.state, to, due_at):
        raise BadTransition(f"job {id_} is {job.state}: it cannot become {wanted}")
    events.add_events(connection, [Event(id_, now, to, attempt=job.attempt)])
    return require_job(connection, id_)
