"""Agreement: results of deterministic jobs that workers of several owners must give alike.

A job whose lambda says ``verify`` is not final with its first result. That is a vote of the worker's owner, and
the job goes back into the queue, to a lane that takes no worker of an owner who has voted. When enough owners
said the same, the last of them ends the job; who said otherwise is caught. With ``sample``, an owner is
believed after a streak of results that others agreed with, but for a share that is drawn only when the result
is there: so nobody knows which of its results is looked at. With what is kept as a memo others are answered: for
that, no owner is believed. See ``doubts`` for what becomes of accepted results when an owner is caught.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from piecework.protocol.codes import ErrorKind
from piecework.protocol.matching import ENGINE_TAG, OWNER_TAG, TRUSTED_TAG
from piecework.protocol.messages import JobError, Usage, Verify
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.lifecycle import retries
from piecework.server.services.queue.lifecycle.memo_terms import REPEATABLE, needed_votes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.queue.trust import votes
from piecework.server.store.queue.trust.votes import OwnerRecord, Vote
from piecework.server.store.records import Job, KeptUsage, LeaseEnd, Worker

STREAK_LEAST = 10
"""So many results in a row must others have agreed with before an owner is believed."""
HARDER = 4
"""Once it was caught, so many times as many; again after the next time, and so on."""
HARDEST = 6
"""But no more often than this."""
VOTES_MAX = 7
"""When so many owners do not agree, nobody knows what a job gives."""
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


def is_kept(job: Job) -> bool:
    """Tell whether other jobs are answered with the result of one, or compared with it."""
    return job.options.memo is not None or job.options.checks is not None


class Agreement:
    """Has owners of workers agree on results."""

    def __init__(self, core: Core, chance: Random = random.random) -> None:
        self._database, self._ids, self._settings = core.database, core.ids, core.settings
        self._chance = chance

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
        if not (earlier or is_kept(job)) and self._is_believed(connection, owner, verify):
            votes.put_vote(connection, vote._replace(alone=True))
            return Weighed(given.end, job)
        alike = [each for each in cast if each.digest == digest]
        is_diverse = not verify.diverse or any(each.diverse for each in alike)
        if len(alike) >= needed_votes(verify) and is_diverse:
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
        moved = self._move(connection, job, tags)
        said = Counter(each.digest for each in cast)
        what = "do not agree" if len(said) > 1 else "said the same"
        count = f"{len(cast)} owners {what}" if len(cast) > 1 else "one owner's worker gave a result"
        return Weighed(retries.end_handed_back(job), moved, f"{count}: another has to agree")

    def _move(self, connection: Connection, job: Job, more: Sequence[str]) -> Job:
        """Put a job into a lane with further tags. Returns it as it is then."""
        [lane] = lanes.find_lanes(connection, {job.lane_id})
        tags = [*(f"+{tag}" for tag in lane.necessary), *(f"-{tag}" for tag in lane.rejected), *more]
        lane_id = lanes.ensure_lane(connection, lane.runtime, tags, self._ids.next, lane.tenant)
        votes.move_to_lane(connection, [(job.id, lane_id)])
        return job._replace(lane_id=lane_id)

    def _fail(self, job: Job, error: JobError, now: int) -> LeaseEnd:
        return retries.end_failed(
            job, error, usage=Usage(), now=now, repeats=True, vanished_max=self._settings.vanished_max,
            random=self._chance,
        )  # fmt: skip

    def list_owners(self) -> list[OwnerRecord]:
        """Return how the workers of each owner did, as far as others ran the same."""
        with self._database.read() as connection:
            return votes.list_owners(connection, LISTED)

    def find_votes(self, job_ids: Iterable[int]) -> list[Vote]:
        """Return the votes on some jobs."""
        with self._database.read() as connection:
            return votes.find_votes(connection, job_ids)
