"""Counting what happens to jobs, inside the transaction that does it: one note for each lambda, and no row."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Literal

from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.endings import Ended
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures.tallies import COUNTED, Tally, note_tally, sort_times
from piecework.server.store.queue.leasing.lanes import tenant_of
from piecework.server.store.records import Job, NewJob
from piecework.server.store.stock.audit import Actor

_LAMBDA = attrgetter("lambda_id")
_ORIGIN = attrgetter("lambda_id", "submitter", "schedule_id")
_END = attrgetter("job.lambda_id", "state", "job.lane_id")


def note_submitted(connection: Connection, new: Iterable[NewJob], now: int) -> None:
    """Count new jobs, and who submitted them."""
    for (lambda_id, who, schedule_id), alike in groupby(new, _ORIGIN):
        submitter = Actor("token", who) if who else Actor("loopback" if schedule_id is None else "schedule")
        tally = Tally(lambda_id, now // 60_000, {"submitted": sum(1 for _ in alike)}, submitter=submitter)
        note_tally(connection, tally)


def note_over(connection: Connection, what: Literal["lost", "retried"], over: Iterable[Job], now: int) -> None:
    """Count leases that ran out, or attempts that failed and are followed by another."""
    for lambda_id, alike in groupby(over, _LAMBDA):
        note_tally(connection, Tally(lambda_id, now // 60_000, {what: sum(1 for _ in alike)}))


def note_started(connection: Connection, chosen: Sequence[Job], now: int) -> None:
    """Count jobs that are leased now, as they were before, and how long those waited that are tried first.

    The time runs from when a job was submitted, or due; it is not known of jobs that waited for others.
    """
    for lambda_id, alike in groupby(chosen, _LAMBDA):
        some = list(alike)
        waited = [
            now - (max(job.created_at, job.options.due_at or 0) if job.options_json else job.created_at)
            for job in some
            if job.started_at is None and job.pending is None
        ]
        note_tally(connection, Tally(lambda_id, now // 60_000, {"started": len(some)}, sort_times(waited)))


def note_ended(connection: Connection, ended: Sequence[Ended], _changes: Changes, now: int) -> Sequence[Ended]:
    """Count jobs that ended, and how long those ran that a worker had."""
    for (lambda_id, state, lane_id), alike in groupby(ended, _END):
        some = list(alike)
        counts = {COUNTED[state]: len(some)}
        tally = Tally(lambda_id, now // 60_000, counts)
        if (tenant := tenant_of(lane_id)) is not None:
            tally.tenants = {tenant: counts.copy()}
        if state is not JobState.CANCELLED:
            ran = [
                now - job.started_at if ran_ms is None else ran_ms
                for job, _, _, ran_ms in some
                if job.lease is not None and job.started_at is not None
            ]
            tally.runs = sort_times(ran)
        if state is JobState.FAILED:
            tally.kinds = Counter(each.kind for each in some)
        note_tally(connection, tally)
    return ()
