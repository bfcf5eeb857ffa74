"""Choosing jobs for a worker, inside the caller's transaction."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from piecework.protocol.matching import TagSet, offers_runtime
from server.store.engine.database import Connection
from server.store.engine.ids import age
from server.store.queue import lanes, leases
from server.store.records import Job, Lane, LeaseGrant
from server.store.stock import holding

LOOK_AHEAD = 16
"""Candidates beyond those needed, among which suggested tags choose."""


@lru_cache(maxsize=10_000)
def admits(lane: Lane, runtimes: tuple[str, ...], tags: frozenset[str]) -> bool:
    """Tell whether a worker with these runtimes and tags may run the jobs of a lane."""
    fits = TagSet(frozenset(), lane.necessary, lane.rejected).admits(tags)
    return fits and offers_runtime(runtimes, lane.runtime)


class Claimed(NamedTuple):
    """What a worker was given."""

    jobs: list[Job]
    left_returned: bool
    """There were jobs that only a caller who is there for certain may have."""


def claim_jobs(
    connection: Connection,
    runtimes: tuple[str, ...],
    tags: frozenset[str],
    room: int,
    slots: int,
    grant: LeaseGrant,
    now: int,
    *,
    slept: bool,
) -> Claimed:
    """Lease up to ``room`` jobs: by priority, then by how many suggested tags fit, then oldest first.

    A request that ``slept`` gets none that came back from another such request. Of jobs that lost a worker, one
    that runs ``slots`` at once holds few.
    """
    candidates: list[Job] = []
    for lane in lanes.lanes_with_jobs(connection):
        if admits(lane, runtimes, tags):
            candidates += leases.find_candidates(connection, lane.id, now, room + LOOK_AHEAD)
    allowed = [job for job in candidates if not job.is_returned] if slept else candidates
    best = _best(allowed, tags)
    if any(job.vanished for job in best):
        best = list(_spare(best, slots, holding.count_suspects(connection, grant.worker_id)))
    chosen = best[:room]
    leases.grant_leases(connection, [job.id for job in chosen], grant, now)
    return Claimed([grant.write_on(job, now) for job in chosen], len(allowed) < len(candidates))


def _spare(candidates: Iterable[Job], slots: int, held: int) -> Iterator[Job]:
    """Leave out jobs that lost workers, beyond what one worker may hold of them at once.

    Which of the jobs that a vanished worker held took it down is not known. So each is held by a worker that could
    run it at once, and one that lost two workers or more only where no other of them is: what takes every worker
    down then does so without the others.
    """
    for job in candidates:
        if job.vanished:
            if held >= (slots if job.vanished == 1 else 1):
                continue
            held += 1
        yield job


def _best(candidates: Iterable[Job], tags: frozenset[str]) -> list[Job]:
    return sorted(candidates, key=lambda job: (-job.priority, -_fit(job, tags), age(job.id)))


def _fit(job: Job, tags: frozenset[str]) -> int:
    return sum(tag in tags for tag in job.tags) if job.tags_json else 0
