"""What makes schedules tick: the timekeeper's turns, on any number of servers that share a database.

A tick is handled by the one transaction that adds its row, which stores its job as well. So it has one job, or
none, whichever servers look at it, and whatever becomes of one of them meanwhile.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from piecework.server.errors import BlobsAway, DatabaseAway, InvalidRequest, ServerError, Stopping, StorageFull
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle.cancelling import cancel_jobs
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.lifecycle.retries import Random
from piecework.server.services.queue.schedules.catchup import Due, find_due
from piecework.server.services.queue.schedules.recurring import draft_job
from piecework.server.services.queue.schedules.timings import timing_of
from piecework.server.services.queue.submitting.drafts import Draft
from piecework.server.services.queue.submitting.submission import Submission
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.schedules import schedules, ticks
from piecework.server.store.queue.schedules.schedule_records import Schedule, Tick
from piecework.server.store.queue.schedules.schedules import Moved

STEP = 20
"""Schedules whose ticks one transaction handles: on SQLite, nobody else writes meanwhile."""
REVIEWED = 100
"""Schedules that one turn looks through."""
REPLACED = 100
"""Jobs that one tick replaces."""
BACK_MS = 1000
"""A clock that goes back by more was set."""
UNREADABLE_MS = 60_000
"""A schedule whose times this server cannot tell is looked at again after so long."""
KEPT_MS = 30 * 86_400_000
"""How long ticks are known."""
SWEPT = 500
"""Ticks that one transaction sweeps."""


class _Plan(NamedTuple):
    """What a schedule that is due has to do, and the jobs for it."""

    schedule: Schedule
    due: Due
    drafts: Sequence[Draft] = ()
    """One for each tick."""
    error: str | None = None
    """Why there are none."""


class Ticking:
    """Submits the jobs of schedules when their time has come."""

    def __init__(
        self,
        core: Core,
        submission: Submission,
        endings: Endings,
        notifier: Notifier,
        chance: Random = random.random,
    ) -> None:
        self._database, self._clock = core.database, core.clock
        self._submission = submission
        self._endings = endings
        self._notifier = notifier
        self._chance = chance
        self._latest = 0
        self._after = 0
        """All schedules have their turn, in the order of their ids, whatever others have to make up for."""
        self._limit = STEP
        """After a failure that nobody foresaw each is handled alone for a round, and keeps no other waiting."""
        self._unreviewed: int | None = 0

    def move_on(self, now: int) -> int | None:
        """Do a step of what is due. Returns when something is due next, or now when there may be more; or None."""
        if now < self._latest - BACK_MS:
            self._unreviewed = 0
        self._latest = now
        self._review(now)
        with self._database.read() as connection:
            due = schedules.list_due(connection, now, after=self._after, limit=self._limit)
            next_at = schedules.find_next_tick(connection)
        is_last, self._limit = len(due) < self._limit, 1
        self._after = 0 if is_last else due[-1].id
        if due:
            self._handle([self._plan(each, now) for each in due], now)
        if is_last or len(due) == STEP:
            self._limit = STEP
        return now if due or self._unreviewed is not None else next_at

    def sweep(self) -> bool:
        """Delete some of the oldest ticks. Returns True when there may be more to delete."""
        step = partial(ticks.sweep_ticks, before=self._clock() - KEPT_MS, limit=SWEPT)
        return self._database.write(step, durable=False) == SWEPT

    def _review(self, now: int) -> None:
        """Look through some schedules whose next tick may be another by now.

        The clock may have been wrong when it was found out, or the rules of its time zone.
        """
        if self._unreviewed is None:
            return
        with self._database.read() as connection:
            found = schedules.list_after(connection, self._unreviewed, REVIEWED)
        self._unreviewed = found[-1].id if len(found) == REVIEWED else None
        wrong = [each for each in found if each.next_at is not None and each.next_at > now]
        moved = [(each, next_at) for each in wrong if (next_at := _find_next(each, now)) != each.next_at]
        if moved:
            self._database.write(partial(_move_next, moved))

    def _plan(self, schedule: Schedule, now: int) -> _Plan:
        assert schedule.next_at is not None, "it is due"
        due = Due((schedule.next_at,), None, now + UNREADABLE_MS)
        try:
            due = find_due(schedule, timing_of(schedule), now)
            drafts = [self._draft(schedule, tick, now) for tick in due.ticks]
        except ServerError as error:
            if isinstance(error, _OURS):
                raise
            return _Plan(schedule, due, error=str(error))
        return _Plan(schedule, due, drafts)

    def _draft(self, schedule: Schedule, tick: int, now: int) -> Draft:
        jitter_ms = round(self._chance() * schedule.jitter_ms)
        return draft_job(self._submission, schedule, tick, now, jitter_ms)

    def _handle(self, plans: Sequence[_Plan], now: int) -> None:
        """Store what schedules have to do; one that cannot is told so, and does not keep the others from it."""
        try:
            changes = self._database.write(partial(self._store, plans, now))
        except ServerError as error:
            if isinstance(error, _OURS):
                raise
            if len(plans) == 1:
                plans = [plans[0]._replace(drafts=(), error=str(error))]
                self._database.write(partial(self._store, plans, now))
                return
            for plan in plans:
                self._handle([plan], now)
        else:
            self._notifier.notify(changes)

    def _store(self, plans: Sequence[_Plan], now: int, connection: Connection) -> Changes:
        changes = Changes()
        moved: list[Moved] = []
        drafts: list[Draft] = []
        locked = schedules.lock_schedules(connection, (plan.schedule.id for plan in plans))
        for plan in plans:
            found, was = locked.get(plan.schedule.id), plan.schedule
            if found is None or (found.next_at, found.version) != (was.next_at, was.version):
                continue  # another server was quicker, or somebody has changed it
            taken = self._take(connection, plan, changes, now)
            last = (taken[-1][0], taken[-1][1].job.id) if taken else (found.last_at, found.last_job_id)
            moved.append(Moved(was.id, plan.due.next_at, *last, plan.error))
            drafts += [draft for _, draft in taken]
        changes.add(self._submission.store(connection, drafts, now).changes)
        schedules.move_schedules(connection, moved)
        return changes

    def _take(self, connection: Connection, plan: _Plan, changes: Changes, now: int) -> list[tuple[int, Draft]]:
        """Note the ticks of a schedule. Returns those that get a job, with the job."""
        id_, due, overlap = plan.schedule.id, plan.due, plan.schedule.overlap
        if due.missed:
            ticks.add_tick(connection, _note_missed(id_, *due.missed, now))
        if plan.error is not None:
            for at in due.ticks:
                ticks.add_tick(connection, Tick(id_, at, "time", now, "failed", None, plan.error))
            return []
        others = schedules.list_open_jobs(connection, id_, REPLACED) if overlap != "allow" and due.ticks else []
        if others and overlap == "skip":
            detail = f"job {others[0]} of an earlier tick has not ended"
            ticks.add_tick(connection, Tick(id_, due.ticks[0], "time", now, "skipped", None, detail))
            return []
        taken = [
            (at, draft)
            for at, draft in zip(due.ticks, plan.drafts, strict=True)
            if ticks.add_tick(connection, Tick(id_, at, "time", now, "submitted", draft.job.id))
        ]
        if taken and others:
            detail = f"replaced by job {taken[0][1].job.id} of its schedule"
            changes.add(cancel_jobs(connection, self._endings, others, now, detail))
        return taken


_OURS = (BlobsAway, DatabaseAway, StorageFull, Stopping)
"""What is no fault of a schedule: its ticks are late then."""


def _find_next(schedule: Schedule, now: int) -> int | None:
    """Return when a schedule ticks next by all that is known now."""
    try:
        return timing_of(schedule).next_after(now)
    except InvalidRequest:
        return schedule.next_at  # its next tick tells why


def _move_next(moved: Sequence[tuple[Schedule, int | None]], connection: Connection) -> None:
    """Set the next ticks of schedules, but for those that moved on meanwhile."""
    locked = schedules.lock_schedules(connection, (each.id for each, _ in moved))
    schedules.move_schedules(
        connection,
        [
            Moved(was.id, next_at, was.last_at, was.last_job_id, was.error)
            for was, next_at in moved
            if locked.get(was.id) == was
        ],
    )


def _note_missed(id_: int, first: int, last: int, now: int) -> Tick:
    until = datetime.fromtimestamp(last / 1000, UTC).isoformat(timespec="seconds")
    detail = "no server was there for it" + ("" if first == last else f", nor for the others until {until}")
    return Tick(id_, first, "missed", now, "missed", None, detail)
