"""Keeping jobs of what is paused out of the queue, inside the caller's transaction."""

from collections.abc import Sequence

from piecework.protocol.states import JobState
from piecework.server.services.queue.waiting.waiting import WOKEN_MAX, Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.leasing import holds
from piecework.server.store.queue.leasing.holds import NO_HOLDS, Holds
from piecework.server.store.queue.leasing.lanes import Group
from piecework.server.store.records import Event, Job, Lane

PARKED_MAX = 50
"""Jobs that one claim parks, at most about."""


class HoldGate:
    """Lets no job of what is paused through, in one claim's transaction; parks those of lambdas and groups."""

    def __init__(self, connection: Connection, changes: Changes, now: int) -> None:
        """``changes`` takes down what becomes of jobs that are parked."""
        self._connection, self._changes, self._now = connection, changes, now
        self._parked = 0
        self.holds: Holds = NO_HOLDS

    @property
    def is_tired(self) -> bool:
        """Enough was done in one transaction."""
        return self._parked >= PARKED_MAX

    def look(self, groups: list[Group]) -> list[Group]:
        """Learn with these groups what is paused now, if that is not known: it costs nothing while nothing is."""
        if groups and groups[0].mark != self.holds.mark:
            self.holds = holds.find_holds(self._connection)
        return groups

    def admits(self, lane: Lane) -> bool:
        return not self.holds.keep_lane(lane)

    def part(self, drawn: list[Job]) -> tuple[list[Job], list[Job]]:
        """Return those of enqueued jobs that may start, and the others, which it parks."""
        if not self.holds.lambdas and not self.holds.groups:
            return drawn, []
        kept = [job for job in drawn if self.holds.keep_job(job)]
        park(self._connection, kept, self.holds, self._changes, self._now)
        self._parked += len(kept)
        if self.is_tired:  # others may be behind them: whoever waits looks again
            self._changes.enqueued.update({job.lane_id: WOKEN_MAX for job in kept})
        return [job for job in drawn if not self.holds.keep_job(job)], kept


def park(connection: Connection, found: Sequence[Job], active: Holds, changes: Changes, now: int) -> None:
    """Park enqueued jobs whose lambda or group is paused. This transaction has locked them."""
    if not found:
        return
    holds.park_jobs(connection, found)
    trail = []
    for job in found:
        detail = f"{active.describe(job)} is paused"
        trail.append(Event(job.id, now, JobState.PAUSED, attempt=job.attempt, detail=detail))
        changes.jobs[job.id] = JobState.PAUSED
    events.add_events(connection, trail)
