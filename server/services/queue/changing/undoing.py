"""Taking back what was done to many jobs: to exactly those that it changed, and that nobody changed since.

What was cancelled is run again, what was run again is cancelled, what was paused is resumed and the other way
round. What was deleted is gone.
"""

from collections.abc import Callable, Sequence
from functools import partial

from piecework.protocol.messages import BulkAction
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.changing import batches
from piecework.server.services.queue.changing.batches import NOT_THERE, BatchResult, Come
from piecework.server.services.queue.changing.reruns import Reruns
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.submitting.jobspecs import check_key
from piecework.server.services.queue.waiting.waiting import Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import bulk_steps, jobs
from piecework.server.store.queue.jobs.bulk_steps import BulkStep
from piecework.server.store.records import Job
from piecework.server.store.stock.audit import count_act

REQUEST_S = 2.0
"""A request begins no further step after so long; its caller goes on with the next."""
KEPT_MS = 24 * 3600 * 1000
"""So long is known what was done."""
FORGOTTEN = 100
CHANGED_SINCE = "it ended, or was changed, since"


class Undoing:
    """Takes back work on many jobs, step by step."""

    def __init__(
        self,
        core: Core,
        endings: Endings,
        reruns: Reruns,
        notifier: Notifier,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._database, self._clock = core.database, core.clock
        self._endings = endings
        self._reruns = reruns
        self._notifier = notifier
        self._monotonic = monotonic or core.sleeper.now_s

    def undo(self, key: str, who: str | None, cursor: str | None, *, dry_run: bool) -> Come:
        """Take back what was done under a key, or tell what would be, for REQUEST_S. Safe to repeat.

        Nothing is meant when nothing was changed under it, all of it was taken back, or it was long ago.
        """
        check_key(key)
        after = batches.read_numbers(cursor, 1)[0] if cursor else 0
        come, end = Come(), self._monotonic() + REQUEST_S
        while (step := self._find(key, after)) is not None:
            if come.next is not None and self._monotonic() >= end:
                return come
            come.undoes, come.matched = step.action, come.matched + len(step.jobs)
            come.done.add(self._take_back(step, who, dry_run=dry_run))
            after, come.next = step.id, str(step.id)
        come.next = None
        return come

    def _find(self, key: str, after: int) -> BulkStep | None:
        with self._database.read() as connection:
            return bulk_steps.find_step(connection, key, after)

    def _take_back(self, step: BulkStep, who: str | None, *, dry_run: bool) -> BatchResult:
        if dry_run:
            with self._database.read() as connection:
                same, done = _compare(connection, step, jobs.find_jobs(connection, step.jobs))
            done.changed = [job.id for job in same]
            return done
        done = self._database.write(partial(self._apply, step, who))
        self._notifier.notify(done.changes)
        return done

    def _apply(self, step: BulkStep, who: str | None, connection: Connection) -> BatchResult:
        locked = jobs.lock_jobs(connection, step.jobs)
        if not bulk_steps.remove_step(connection, step.id):
            return BatchResult()  # somebody else took it back just now
        same, refused = _compare(connection, step, locked)
        done = self._reverse(connection, step.action, same, who)
        done.add(refused)
        count_act(connection, len(done.changed))
        return done

    def _reverse(
        self, connection: Connection, action: BulkAction, found: Sequence[Job], who: str | None
    ) -> BatchResult:
        now = self._clock()
        match action:
            case "cancel":
                return self._reruns.retry(connection, found, None, who, {}, once=False)
            case "pause":
                return batches.resume(connection, found, now)
            case "resume":
                return batches.pause(connection, found, now)
        return batches.cancel(connection, found, self._endings, now)

    def forget(self) -> bool:
        """Forget some of what was done long ago. Returns whether there may be more."""
        before = self._clock() - KEPT_MS
        forget = partial(bulk_steps.forget_steps, before=before, most=FORGOTTEN)
        return self._database.write(forget, durable=False) == FORGOTTEN


def _compare(connection: Connection, step: BulkStep, known: dict[int, Job]) -> tuple[list[Job], BatchResult]:
    """Return the jobs that are as a step left them, and beside them why the others are left alone."""
    later = events.find_changed_since(connection, step.jobs, step.at)
    same, refused = [], BatchResult()
    for id_ in step.jobs:
        job = known.get(id_)
        if job is None:
            refused.refused[NOT_THERE].append(id_)
        elif id_ in later or not _is_as_left(job, step):
            refused.refused[CHANGED_SINCE].append(id_)
        else:
            same.append(job)
    return same, refused


def _is_as_left(job: Job, step: BulkStep) -> bool:
    """Tell whether a job is as a step left it; one that was let go may have been tried since."""
    match step.action:
        case "cancel":
            return job.state is JobState.CANCELLED and job.finished_at == step.at
        case "pause":
            return job.state is JobState.PAUSED
    return not job.state.is_final
