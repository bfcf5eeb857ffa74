"""Work on many jobs, in steps: each is one short transaction, and nothing is held between two of them.

What was meant is settled when the first request comes: jobs that come, or end, after that are left alone. So a
request may be repeated, and nothing is done twice to a job that comes back meanwhile.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from piecework.protocol.messages import BulkAction
from piecework.protocol.states import FINAL_STATES, UNSTARTED_STATES, JobState
from piecework.server.errors import InvalidRequest, KeyConflict
from piecework.server.services.core import Core
from piecework.server.services.queue.changing import batches
from piecework.server.services.queue.changing.batches import NOT_THERE, BatchResult, Come, Dry, read_numbers
from piecework.server.services.queue.changing.removal import Removal
from piecework.server.services.queue.changing.reruns import RERUN, Edit, Reruns
from piecework.server.services.queue.changing.stepsize import StepSize
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.reading.jobs import check_count
from piecework.server.services.queue.submitting.jobspecs import check_key
from piecework.server.services.queue.waiting.waiting import Notifier
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import bulk_steps, jobs, submissions, walks
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.walks import LOOKED_AT_MAX, Position
from piecework.server.store.records import Job, Lambda
from piecework.server.store.stock.audit import count_act

REQUEST_S = 2.0
"""A request begins no further step after so long; its caller goes on with the next."""
MEANT: dict[BulkAction, frozenset[JobState]] = {
    "cancel": frozenset(JobState) - FINAL_STATES,
    "pause": UNSTARTED_STATES - {JobState.PAUSED},
    "resume": frozenset({JobState.PAUSED}),
    "retry": RERUN,
    "delete": FINAL_STATES,
}
"""The states of jobs that each can be done to."""


@dataclass(frozen=True)
class BulkOrder:
    """What is to be done, by whom."""

    action: BulkAction
    edit: Edit | None = None
    """With ``retry``: make new jobs."""
    who: str | None = None
    """The name of a token."""
    key: str | None = None
    """What is kept of it is kept under this, for a day."""


class Bulk:
    """Does something to all jobs that are meant."""

    def __init__(
        self,
        core: Core,
        lambdas: Lambdas,
        endings: Endings,
        reruns: Reruns,
        removal: Removal,
        notifier: Notifier,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = lambdas
        self._endings = endings
        self._reruns = reruns
        self._removal = removal
        self._notifier = notifier
        self._monotonic = monotonic or core.sleeper.now_s
        self._size = StepSize()

    def work_on(self, order: BulkOrder, which: JobFilter, cursor: str | None, *, dry_run: bool) -> Come:
        """Do it to jobs that fit, or count them, for REQUEST_S.

        Raises InvalidRequest when nothing is said of the jobs, or when it can be done to none in these states.
        """
        if order.key is not None:
            check_key(order.key)
        as_of, start = _read_cursor(cursor) if cursor else (self._clock(), Position())
        which = _narrow(order, which, as_of)
        place: Position | None = start
        come, end = Come(begin=_write_cursor(as_of, Position())), self._monotonic() + REQUEST_S
        while place is not None and (come.next is None or self._monotonic() < end):
            limit = LOOKED_AT_MAX if dry_run else self._size.jobs
            with self._database.read() as connection:
                ids, place = walks.find_next(connection, which, place, limit)
            come.matched += len(ids)
            if ids and not dry_run:
                come.done.add(self._step(order, ids, which))
            come.next = None if place is None else _write_cursor(as_of, place)
        return come

    def work_on_ids(self, order: BulkOrder, ids: Sequence[int], *, dry_run: bool) -> Come:
        """Do it to these jobs, or tell what would be done. A repetition under the same key does nothing further.

        Raises InvalidRequest when there are too many, and KeyConflict for a key that another request had.
        """
        check_count(ids)
        known = None if order.key is None else _Known(check_key(order.key), _digest(order, ids))
        try:
            done = self._step(order, list(dict.fromkeys(ids)), None, known, dry_run=dry_run)
        except Dry as dry:
            done = dry.done
        return Come(len(ids) - len(done.refused.get(NOT_THERE, ())), done)

    def _step(
        self,
        order: BulkOrder,
        ids: Sequence[int],
        which: JobFilter | None,
        known: "_Known | None" = None,
        *,
        dry_run: bool = False,
    ) -> BatchResult:
        """Do it to some jobs; ``which``: if they still fit in what may have changed meanwhile."""
        if order.action == "delete" and not dry_run:
            return self._delete(ids, named=which is None)
        lambdas = self._find_lambdas(ids) if order.edit else {}
        step = partial(self._apply, order, ids, which, known, lambdas, dry_run)
        done, took_s = self._database.write(step)
        self._size.note(len(ids), took_s)
        self._notifier.notify(done.changes)
        return done

    def _delete(self, ids: Sequence[int], *, named: bool) -> BatchResult:
        gone = self._removal.remove(ids)
        left = set(ids).difference(gone)
        with self._database.read() as connection:
            found = jobs.find_jobs(connection, left)
        done = replace(batches.find_removable(list(found.values())), changed=gone)
        if named and (missing := sorted(left - found.keys())):
            done.refused[NOT_THERE] = missing
        return done

    def _find_lambdas(self, ids: Sequence[int]) -> dict[int, Lambda]:
        with self._database.read() as connection:
            found = jobs.find_jobs(connection, ids)
        return self._lambdas.get_many({job.lambda_id for job in found.values()})

    def _apply(
        self,
        order: BulkOrder,
        ids: Sequence[int],
        which: JobFilter | None,
        known: "_Known | None",
        lambdas: dict[int, Lambda],
        dry_run: bool,
        connection: Connection,
    ) -> tuple[BatchResult, float]:
        began = self._monotonic()
        if known and (earlier := known.find(connection)):
            return earlier, 0.0
        now, locked = self._clock(), jobs.lock_jobs(connection, ids)
        found = [locked[id_] for id_ in ids if id_ in locked and (not which or locked[id_].state in which.states)]
        done = self._do(connection, order, found, lambdas, now, once=which is not None)
        if which is None and (missing := [id_ for id_ in ids if id_ not in locked]):
            done.refused[NOT_THERE] = missing
        if dry_run:
            raise Dry(done)
        count_act(connection, len(done.changed))
        if known:
            known.store(connection, done, now)
        if order.key is not None and (touched := list(done.made.values()) or _list_touched(done)):
            bulk_steps.add_step(connection, order.key, order.action, now, touched)
        return done, self._monotonic() - began

    def _do(
        self,
        connection: Connection,
        order: BulkOrder,
        found: list[Job],
        lambdas: dict[int, Lambda],
        now: int,
        *,
        once: bool,
    ) -> BatchResult:
        match order.action:
            case "cancel":
                return batches.cancel(connection, found, self._endings, now)
            case "pause":
                return batches.pause(connection, found, now)
            case "resume":
                return batches.resume(connection, found, now)
            case "delete":
                return batches.find_removable(found)
        return self._reruns.retry(connection, found, order.edit, order.who, lambdas, once=once)


@dataclass(frozen=True)
class _Known:
    """What tells a repeated request about jobs that it names."""

    key: str
    digest: bytes

    def find(self, connection: Connection) -> BatchResult | None:
        """Return what the first request did. Raises KeyConflict."""
        earlier = submissions.find_submission(connection, self.key)
        if earlier is None:
            return None
        digest, ids = earlier
        if digest != self.digest:
            raise KeyConflict(f"an earlier request has the key {self.key!r} and other content")
        pairs = dict(zip(ids[::2], ids[1::2], strict=True))
        return BatchResult(changed=list(pairs), made={job: made for job, made in pairs.items() if made})

    def store(self, connection: Connection, done: BatchResult, now: int) -> None:
        pairs = [id_ for job in done.changed for id_ in (job, done.made.get(job, 0))]
        submissions.add_submission(connection, self.key, self.digest, pairs, now)


def _list_touched(done: BatchResult) -> list[int]:
    return [id_ for id_ in done.changed if id_ not in done.same]


def _digest(order: BulkOrder, ids: Sequence[int]) -> bytes:
    return hashlib.sha256(repr((order.action, order.edit, sorted(ids))).encode()).digest()


def _narrow(order: BulkOrder, which: JobFilter, as_of: int) -> JobFilter:
    """Leave out jobs that it cannot be done to, and those that came or ended later."""
    if which == JobFilter():
        raise InvalidRequest("say which jobs are meant: by ids, or by something that they have in common")
    meant = MEANT[order.action]
    if order.action == "retry":
        which = replace(which, run_again=False, states=which.states or (JobState.FAILED,))
    states = tuple(sorted(meant.intersection(which.states))) if which.states else tuple(sorted(meant))
    if not states:
        raise InvalidRequest(
            f"{order.action} is for jobs that are {', '.join(sorted(meant))}, not for {', '.join(which.states)}"
        )
    return replace(which, states=states, until=as_of if which.until is None else min(which.until, as_of))


def _write_cursor(as_of: int, place: Position) -> str:
    return ".".join(map(str, (as_of, *place)))


def _read_cursor(cursor: str) -> tuple[int, Position]:
    """Return when the first request came, and where to go on. Raises InvalidRequest."""
    as_of, at, id_, stage = read_numbers(cursor, 4)
    return as_of, Position(at, id_, max(stage, 0))
