"""The one way in for new jobs, inside the caller's transaction."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from piecework.protocol.matching import FILES_TAG, INPUTS_TAG
from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.counting import note_submitted
from piecework.server.services.queue.lifecycle.trails import first_events
from piecework.server.services.queue.limits.limiter import Limiter
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.ids import IdSource
from piecework.server.store.job_keys import NO_KEYS
from piecework.server.store.options import NO_OPTIONS
from piecework.server.store.queue.figures import events, feed
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.records import Job, NewJob


def lane_tags(job: NewJob | Job) -> tuple[str, ...]:
    """Return the tags of a job, and of what its worker must know."""
    if job.options is None:
        return job.tags
    needed = [f"+{INPUTS_TAG}"] if job.options.has_files else []
    return (*job.tags, *needed, *([f"+{FILES_TAG}"] if job.options.has_folder else ()))


def take_in(connection: Connection, ids: IdSource, new: Sequence[NewJob], now: int) -> dict[int, int]:
    """Store new jobs, each in its lane. Returns the lanes of those that can be contracted now, by job id.

    Those that the limit of a key holds back wait. Raises InvalidRequest when limits contradict each other.
    """
    places: dict[tuple[str, tuple[str, ...], str], int] = {}
    lane_ids = []
    for job in new:
        tags = job.tags if job.options is None else lane_tags(job)
        content = (job.runtime, tags, job.tenant)
        if content not in places:
            places[content] = lanes.ensure_lane(connection, job.runtime, tags, ids.next, job.tenant)
        lane_ids.append(places[content])
    if any(job.keys != NO_KEYS for job in new):
        limiter = Limiter(connection, now)
        new = limiter.place_new(new, lane_ids)
        limiter.close()
    if any(job.due_at is not None or job.trace for job in new):
        new = list(map(_keep_origin, new))
    jobs.add_jobs(connection, new, lane_ids, now)
    note_submitted(connection, new, now)
    for state, alike in groupby(new, attrgetter("state")):
        some = list(alike)
        events.add_events(connection, first_events((job.id for job in some), state, now))
        feed.note_changes(connection, now, state, some)
    return {job.id: lane for job, lane in zip(new, lane_ids, strict=True) if job.state is JobState.ENQUEUED}


def _keep_origin(job: NewJob) -> NewJob:
    """Have a job know until when it is to wait, and the trace that it is part of. It is the same job without."""
    options = replace(job.options or NO_OPTIONS, due_at=job.due_at, trace=job.trace)
    return job if options == NO_OPTIONS else job._replace(options=options)
