"""Pausing a lambda, a runtime, a group or a tenant: new jobs come in, and none is leased.

From the moment that a pause is acknowledged, on every server: a claim looks at the holds in its own transaction,
and on a shared database once more in the statement that leases. Whoever pauses waits for the transactions that
began before. Jobs of a lambda or a group are then parked in steps, so that claims do not go past them each time.
"""

from collections.abc import Callable, Sequence
from functools import partial

from piecework.protocol.messages import HoldKind
from piecework.protocol.states import JobState
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.stepsize import StepSize
from piecework.server.services.queue.lifecycle.parking import park
from piecework.server.services.queue.limits.limiter import place_jobs, release_jobs
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs, walks
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.walks import Position
from piecework.server.store.queue.leasing import holds, lanes
from piecework.server.store.queue.leasing.holds import Hold
from piecework.server.store.records import Event

TARGET_LENGTH = 200
NOTE_LENGTH = 500
REQUEST_S = 2.0
"""Who resumes something waits so long for its jobs; the timekeeper releases the rest."""
CHORE_S = 0.3
"""How long the timekeeper is at it at a time."""


class Pausing:
    """Pausing things as a whole, and lets them go on."""

    def __init__(self, core: Core, notifier: Notifier, monotonic: Callable[[], float] | None = None) -> None:
        self._database, self._ids, self._clock = core.database, core.ids, core.clock
        self._notifier = notifier
        self._monotonic = monotonic or core.sleeper.now_s
        self._size = StepSize()
        self._walks: dict[int, Position] = {}
        """How far the jobs of holds have been parked."""
        self._released: dict[int, int] = {}
        """Up to which job parked ones have been released, by what was taken off."""

    def pause(self, kind: HoldKind, targets: Sequence[str], note: str, who: str | None) -> list[Hold]:
        """Pause things; those that are paused stay so as they are. None of their jobs is leased from now on.

        Raises InvalidRequest for texts that are too long.
        """
        if any(len(target) > TARGET_LENGTH for target in targets):
            raise InvalidRequest(f"the name of a {kind} has at most {TARGET_LENGTH} characters")
        if len(note) > NOTE_LENGTH:
            raise InvalidRequest(f"a note has at most {NOTE_LENGTH} characters, this one has {len(note)}")
        now = self._clock()
        new = [
            Hold(id_, kind, target, note, now, who)
            for id_, target in zip(self._ids.take(len(targets)), targets, strict=True)
        ]
        kept = self._database.write(lambda connection: [_put(connection, hold) for hold in new])
        self._database.outwait()
        return kept

    def resume(self, kind: HoldKind, targets: Sequence[str]) -> list[Hold]:
        """Let things go on. Returns those that were paused. The jobs that were parked for it go on with them."""
        now = self._clock()
        found = self._database.write(
            lambda connection: [hold for target in targets if (hold := _take_off(connection, kind, target, now))]
        )
        if found:
            self._release_until(self._monotonic() + REQUEST_S)
        return found

    def list_all(self) -> list[Hold]:
        """Return what is paused, oldest first."""
        with self._database.read() as connection:
            return [hold for hold in holds.list_holds(connection) if hold.released_at is None]

    def move_on(self) -> None:
        """Park some jobs of what is paused, and release some of what is no more."""
        with self._database.read() as connection:
            found = holds.list_holds(connection)
        end = self._monotonic() + CHORE_S
        self._walks = {hold.id: self._walks.get(hold.id, Position()) for hold in found if hold.released_at is None}
        for hold in found:
            if hold.released_at is None and hold.kind in {"lambda", "group"}:
                self._park_until(hold, end)
        if any(hold.released_at is not None for hold in found):
            self._release_until(end)

    def _park_until(self, hold: Hold, end: float) -> None:
        """Park jobs of a lambda or a group, also new ones. Those that come back to the queue are met by claims."""
        states, target = (JobState.ENQUEUED,), int(hold.target)
        which = JobFilter(states, lambda_=target) if hold.kind == "lambda" else JobFilter(states, group_id=target)
        place: Position | None = self._walks[hold.id]
        while place is not None and self._monotonic() < end:
            with self._database.read() as connection:
                ids, place = walks.find_next(connection, which, place, self._size.jobs)
            if ids:
                began = self._monotonic()
                changes = self._database.write(partial(self._park, ids))
                self._size.note(len(ids), self._monotonic() - began)
                self._notifier.notify(changes)
            if place is not None or ids:
                self._walks[hold.id] = place or Position(id=ids[-1])

    def _park(self, ids: Sequence[int], connection: Connection) -> Changes:
        changes, now = Changes(), self._clock()
        active = holds.find_holds(connection)
        found = jobs.lock_jobs(connection, ids).values()
        kept = [job for job in found if job.state is JobState.ENQUEUED and active.keep_job(job)]
        park(connection, kept, active, changes, now)
        release_jobs(connection, kept, changes, now)
        return changes

    def _release_until(self, end: float) -> None:
        """Release jobs that nothing keeps any more, some at a time, and forget the holds when all are."""
        self._database.outwait()  # what began before may park jobs still
        with self._database.read() as connection:
            off = [hold.id for hold in holds.list_holds(connection) if hold.released_at is not None]
        after = min((self._released.get(id_, 0) for id_ in off), default=0)
        while off and self._monotonic() < end:
            with self._database.read() as connection:
                parked = holds.find_parked(connection, after, self._size.jobs)
            began = self._monotonic()
            if not parked:
                changes = self._database.write(partial(_forget, off))
                off = []
            else:
                changes = self._database.write(partial(self._release, [job.id for job in parked]))
                after = parked[-1].id
                self._size.note(len(parked), self._monotonic() - began)
            self._notifier.notify(changes)
        self._released = dict.fromkeys(off, after)

    def _release(self, ids: Sequence[int], connection: Connection) -> Changes:
        changes, now = Changes(), self._clock()
        active = holds.find_holds(connection)
        found = jobs.lock_jobs(connection, ids).values()
        free = [job for job in found if job.waits == "hold" and not active.keep_job(job)]
        jobs.move_jobs(connection, [(job, JobState.ENQUEUED, None, None) for job in free])
        detail = "nothing that it belongs to is paused any more"
        trail = [Event(job.id, now, JobState.ENQUEUED, attempt=job.attempt, detail=detail) for job in free]
        events.add_events(connection, trail)
        for job in free:
            changes.note(job.id, job.lane_id, JobState.ENQUEUED)
        place_jobs(connection, free, changes, now)
        return changes


def _put(connection: Connection, new: Hold) -> Hold:
    before = holds.find_hold(connection, new.kind, new.target)
    if before and before.released_at is None:
        return before
    if before:
        holds.remove_hold(connection, before.id)
    holds.add_hold(connection, new)
    return new


def _take_off(connection: Connection, kind: HoldKind, target: str, now: int) -> Hold | None:
    hold = holds.find_hold(connection, kind, target)
    return hold if hold and holds.release_hold(connection, hold.id, now) else None


def _forget(ids: Sequence[int], connection: Connection) -> Changes:
    """Forget what was taken off, and have contracts look at what they may have again."""
    for id_ in ids:
        holds.remove_hold(connection, id_)
    changes = Changes()
    changes.note_lanes(lanes.lanes_with_jobs(connection))
    return changes
