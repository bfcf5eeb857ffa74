"""Agreement: results of deterministic jobs that workers of several owners must give alike.

A job whose lambda says ``verify`` is not final with its first result. That is a vote of the worker's owner, and
the job goes back into the queue, to a lane that takes no worker of an owner who has voted. When enough owners
said the same, the last of them ends the job; who said otherwise is caught. With ``sample``, an owner is
believed after a streak of results that others agreed with, but for a share that is drawn only when the result
is there: so nobody knows which of its results is looked at. What was accepted because its owner was believed is
run again when that owner is caught.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from piecework.protocol.codes import ErrorKind
from piecework.protocol.matching import ENGINE_TAG, OWNER_TAG, TRUSTED_TAG, worker_tags
from piecework.protocol.messages import JobError, Usage, Verify
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue import retries
from piecework.server.services.queue.batches import BatchResult
from piecework.server.services.queue.memo_terms import REPEATABLE
from piecework.server.services.queue.reruns import Reruns
from piecework.server.services.queue.waiting import Notifier
from piecework.server.settings import Settings
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue import jobs, lanes, votes
from piecework.server.store.queue.votes import OwnerRecord, Vote
from piecework.server.store.records import Job, KeptUsage, LeaseEnd, Worker

STREAK_LEAST = 10
"""So many results in a row must others have agreed with before an owner is believed."""
HARDER = 4
"""Once it was caught, so many times as many; again after the next time, and so on."""
HARDEST = 6
"""But no more often than this."""
VOTES_MAX = 7
"""When so many owners do not agree, nobody knows what a job gives."""
RECHECKED = 200
"""Votes of an owner that was caught which are looked at in one transaction."""
CAUGHT = 10
"""Owners that are looked at in one transaction."""
LISTED = 1000
"""Owners that are told of."""
OTHER_ENGINE = f"{ENGINE_TAG}pulley"
Random = Callable[[], float]


class Weighed(NamedTuple):
    """What becomes of a job whose worker gave a result."""

    end: LeaseEnd
    job: Job
    """As it was, but for its lane."""
    detail: str = ""
    """Why it is not what the worker said; empty when it is."""


class GivenResult(NamedTuple):
    """What a worker gave."""

    worker: Worker
    end: LeaseEnd
    """What that would be, were it believed."""
    output_sha256: str
    """Of the output that is stored, hex; of nothing when there is none."""


def offer_tags(worker: Worker, asked: Sequence[str], settings: Settings) -> frozenset[str]:
    """Return all tags of a worker, with what a contract adds and takes away, and what the server gives."""
    return _join_tags(worker.tags, tuple(asked), worker.whose, worker.owner in settings.trusted)


@lru_cache(maxsize=10_000)
def _join_tags(own: tuple[str, ...], asked: tuple[str, ...], whose: str, is_trusted: bool) -> frozenset[str]:
    tags = worker_tags(own, asked) | {OWNER_TAG + whose}
    return tags | {TRUSTED_TAG} if is_trusted else tags - {TRUSTED_TAG}


def sum_result(given: GivenResult) -> str | None:
    """Return the digest of a result; None when it contradicts itself, or lacks what it is compared by."""
    end, usage = given.end, given.end.usage or Usage()
    digests = usage.digests
    kind = end.error.kind.value if end.error else ""
    if end.state is JobState.FAILED and end.error and end.error.kind not in REPEATABLE:
        parts: Sequence[object] = (end.state.value, kind)
    elif digests is None or (end.state is JobState.FINISHED and digests.output != given.output_sha256):
        return None
    else:
        code = usage.exit_code if isinstance(usage, KeptUsage) else 0
        output = digests.output if end.state is JobState.FINISHED else ""
        parts = (end.state.value, kind, code, output, digests.made, digests.memory, usage.fuel)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class Agreement:
    """Has owners of workers agree on results."""

    def __init__(self, core: Core, reruns: Reruns, notifier: Notifier, chance: Random = random.random) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._reruns = reruns
        self._notifier = notifier
        self._chance = chance
        self._looked_at: dict[OwnerRecord, int] = {}
        """How far the votes of owners who were caught were looked at."""

    def weigh(self, connection: Connection, job: Job, verify: Verify, given: GivenResult, now: int) -> Weighed:
        """Decide what becomes of a job that would be final now with what its worker gave."""
        owner, digest = given.worker.whose, sum_result(given)
        if digest is None:
            votes.note_wrong(connection, [owner], now)
            why = "its worker told other digests than those of its result, or none"
            error = JobError(kind=ErrorKind.WORKER, message=why)
            return Weighed(self._fail(job, error, now), job, why)
        earlier = [each for each in votes.find_votes(connection, [job.id]) if each.owner != owner]
        diverse = any(tag.startswith(ENGINE_TAG) for tag in given.worker.tags)
        vote = Vote(job.id, owner, given.worker.id, digest, diverse, alone=False, at=now)
        cast = [*earlier, vote]
        if owner in self._settings.trusted:
            return self._accept(connection, job, given, cast, digest, now)
        if not earlier and self._is_believed(connection, owner, verify):
            votes.put_vote(connection, vote._replace(alone=True))
            return Weighed(given.end, job)
        alike = [each for each in cast if each.digest == digest]
        is_diverse = not verify.diverse or any(each.diverse for each in alike)
        if len(alike) >= (verify.quorum or 2) and is_diverse:
            return self._accept(connection, job, given, cast, digest, now)
        votes.put_vote(connection, vote)
        if len(cast) >= VOTES_MAX:
            counts = Counter(each.digest for each in cast).most_common()
            why = f"{len(cast)} owners of workers do not agree: the largest group of them has {counts[0][1]}"
            end = given.end._replace(
                state=JobState.FAILED, output_id=None, error=JobError(kind=ErrorKind.WORKER, message=why)
            )
            return Weighed(end, job, why)
        return self._ask_more(connection, job, cast, verify)

    def _is_believed(self, connection: Connection, owner: str, verify: Verify) -> bool:
        if verify.sample is None or verify.quorum is not None:
            return False
        record = votes.find_owners(connection, [owner]).get(owner, OwnerRecord(owner))
        return (
            record.streak >= STREAK_LEAST * HARDER ** min(record.wrong, HARDEST)
            and self._chance() >= verify.sample
        )

    def _accept(
        self, connection: Connection, job: Job, given: GivenResult, cast: Sequence[Vote], digest: str, now: int
    ) -> Weighed:
        """Take a result that others agree with, or that a trusted owner's worker gave."""
        trusted = self._settings.trusted
        votes.put_vote(connection, cast[-1])
        votes.confirm_votes(connection, job.id, digest)
        right = {each.owner for each in cast if each.digest == digest} - trusted
        wrong = {each.owner for each in cast if each.digest != digest} - trusted
        votes.note_agreed(connection, right if len(cast) > 1 else ())
        votes.note_wrong(connection, wrong, now)
        return Weighed(given.end, job)

    def _ask_more(self, connection: Connection, job: Job, cast: Sequence[Vote], verify: Verify) -> Weighed:
        """Have workers of further owners run a job."""
        tags = [f"-{OWNER_TAG}{each.owner}" for each in cast]
        if self._settings.trusted and len({each.digest for each in cast}) > 1:
            tags.append(f"+{TRUSTED_TAG}")
        elif verify.diverse and not any(each.diverse for each in cast):
            tags.append(f"+{OTHER_ENGINE}")
        moved = self._move(connection, [(job, tags)])[0]
        said = Counter(each.digest for each in cast)
        what = "do not agree" if len(said) > 1 else "said the same"
        count = f"{len(cast)} owners {what}" if len(cast) > 1 else "one owner's worker gave a result"
        return Weighed(retries.end_handed_back(job), moved, f"{count}: another has to agree")

    def _move(self, connection: Connection, wanted: Sequence[tuple[Job, Sequence[str]]]) -> list[Job]:
        """Put jobs into lanes with further tags. Returns the jobs as they are then."""
        known = {lane.id: lane for lane in lanes.find_lanes(connection, {job.lane_id for job, _ in wanted})}
        moved = []
        for job, more in wanted:
            lane = known[job.lane_id]
            tags = [*(f"+{tag}" for tag in lane.necessary), *(f"-{tag}" for tag in lane.rejected), *more]
            lane_id = lanes.ensure_lane(connection, lane.runtime, tags, self._ids.next, lane.tenant)
            moved.append(job._replace(lane_id=lane_id))
        votes.move_to_lane(connection, [(job.id, job.lane_id) for job in moved])
        return moved

    def _fail(self, job: Job, error: JobError, now: int) -> LeaseEnd:
        return retries.end_failed(
            job, error, usage=Usage(), now=now, repeats=True, vanished_max=self._settings.vanished_max,
            random=self._chance,
        )  # fmt: skip

    def recheck(self) -> None:
        """Have jobs run again whose results were accepted because an owner was believed that was caught since."""
        with self._database.read() as connection:
            caught = votes.find_caught(connection, CAUGHT)
        for owner in caught:
            done, next_ = self._database.write(partial(self._doubt, owner=owner))
            self._notifier.notify(done.changes)
            if next_ is None:
                self._looked_at.pop(owner, None)
            else:
                self._looked_at[owner] = next_

    def _doubt(self, connection: Connection, owner: OwnerRecord) -> tuple[BatchResult, int | None]:
        done, after = BatchResult(), self._looked_at.get(owner, 0)
        ids, next_ = votes.find_doubtful(connection, owner.name, after, RECHECKED)
        if next_ is None:
            votes.note_looked(connection, owner)
        found = jobs.lock_jobs(connection, ids).values()
        votes.forget_votes(connection, ids)
        ended = [job for job in found if job.state in {JobState.FINISHED, JobState.FAILED}]
        moved = self._move(connection, [(job, [f"-{OWNER_TAG}{owner.name}"]) for job in ended]) if ended else []
        self._reruns.run_again(connection, moved, f"run again: {owner.name} gave a wrong result elsewhere", done)
        return done, next_

    def list_owners(self) -> list[OwnerRecord]:
        """Return how the workers of each owner did, as far as others ran the same."""
        with self._database.read() as connection:
            return votes.list_owners(connection, LISTED)

    def find_votes(self, job_ids: Iterable[int]) -> list[Vote]:
        """Return the votes on some jobs."""
        with self._database.read() as connection:
            return votes.find_votes(connection, job_ids)
