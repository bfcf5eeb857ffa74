"""Contracts: the exchange in which a worker hands in outcomes and is given jobs; and heartbeats."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from msgspec import UNSET

from piecework.protocol.matching import worker_tags
from piecework.protocol.messages import (
    ContractRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LeaseRef,
    LogPart,
    OutcomeAck,
    RenewedLease,
)
from piecework.protocol.states import JobState
from server.errors import Busy, InvalidRequest, Stopping, WorkerNotFound, WorkerRetired
from server.services.claims import admits, claim_jobs
from server.services.outcomes import Outcomes, Recorded, Report
from server.services.overdue import move_overdue
from server.services.waiting import Admits, Bell, Changes
from server.services.workers import hear_of, require_worker
from server.settings import Settings
from server.store import blobs, jobs, leases, logs
from server.store.database import Connection, Database
from server.store.records import Blob, Job, LeaseGrant, Log, Worker

MARGIN_S = 1.0
"""A contract is answered this long before its timeout, or a quarter of it when that is shorter."""
UNSEEN_SHARE = 0.5
"""How long the lease of a contract that slept is until the first heartbeat, as a share of other leases.

The agent may have died while it waited, and nobody would read the answer.
"""
OFFERS_MAX = 10_000
"""Workers whose runtimes and tags are kept in memory."""


@dataclass(frozen=True)
class Contracted:
    """The answer to a contract."""

    jobs: Sequence[Job] = ()
    """As they were before the lease."""
    lease: str = ""
    lease_s: float = 0.0
    inputs: dict[int, Blob] = field(default_factory=dict)
    """By blob id; inputs that do not exist are left out."""
    acks: Sequence[OutcomeAck] = ()
    drain: bool = False


@dataclass(frozen=True)
class _Turn:
    """What one transaction of a contract did."""

    contracted: Contracted
    changes: Changes
    worker: Worker
    restarted: bool
    """The worker's process was started anew since it was last heard of."""
    superseded: bool = False
    """The request slept, and meanwhile a newer process of the worker was heard of: nobody waits for its answer."""


class Contracts:
    """Gives jobs to workers."""

    def __init__(
        self, database: Database, outcomes: Outcomes, bell: Bell, clock: Callable[[], int], settings: Settings
    ) -> None:
        self._database = database
        self._outcomes = outcomes
        self._bell = bell
        self._clock = clock
        self._settings = settings
        self._offers: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        """The runtimes and tags of workers, by their ids."""

    def contract(self, worker_id: int, request: ContractRequest) -> Contracted:
        """Record the request's outcomes, then lease jobs to the worker, waiting for one if it asks for that.

        The outcomes are recorded before it waits, and acknowledged after. With room for none it ends the worker's
        other waits, so that an agent that stops need not sit out its poll. Raises WorkerNotFound, WorkerRetired,
        InvalidRequest, Busy or Stopping; then nothing was recorded or leased.
        """
        room = 1 if request.max is UNSET else request.max
        if room > self._settings.contract_max:
            raise InvalidRequest(f"max is {room}; one contract leases at most {self._settings.contract_max} jobs")
        if request.timeout is not None and not request.timeout >= 0:
            raise InvalidRequest(f"timeout is {request.timeout}, but cannot be negative")
        reports = self._outcomes.prepare(request.outcomes)
        patience_s = self._patience_s(request.timeout)
        if room and patience_s > 0:
            try:
                return self._wait_for_job(worker_id, request, room, reports, time.monotonic() + patience_s)
            except (Busy, Stopping):
                if not reports:
                    raise
        turn = self._take_turn(worker_id, request, room, reports)
        if not room:
            self._bell.waiters.dismiss(worker_id)
        return turn.contracted

    def _patience_s(self, timeout_s: float | None) -> float:
        wanted = timeout_s or 0.0
        return min(wanted - min(MARGIN_S, wanted / 4), self._settings.poll_max_s - MARGIN_S)

    def _wait_for_job(
        self, worker_id: int, request: ContractRequest, room: int, reports: Sequence[Report], deadline: float
    ) -> Contracted:
        fits = self._find_fits(worker_id, request)
        answer_for = partial(self._answer_for, worker_id=worker_id, request=request, room=room)
        acks: Sequence[OutcomeAck] = ()
        slept = False
        while True:
            with self._bell.waiters.park(worker_id, fits) as waiter:
                turn = self._take_turn(worker_id, request, room, reports, slept=slept)
                contracted, reports, slept = turn.contracted, (), True
                acks = acks or contracted.acks
                is_over = turn.superseded or (contracted.drain and request.is_extended)
                if not contracted.jobs and not is_over:
                    woken = self._bell.waiters.sleep(waiter, answer_for, deadline - time.monotonic())
                    if woken and not waiter.dismissed and waiter.answer is None:
                        continue
                return replace(waiter.answer or contracted, acks=acks)

    def _find_fits(self, worker_id: int, request: ContractRequest) -> Admits:
        """Return what tells which lanes a request is for. What a worker offers never changes."""
        if worker_id not in self._offers:
            with self._database.read() as connection:
                worker = require_worker(connection, worker_id)
            if len(self._offers) > OFFERS_MAX:
                self._offers = {}
            self._offers[worker_id] = worker.runtimes, worker.tags
        runtimes, tags = self._offers[worker_id]
        return partial(admits, runtimes=runtimes, tags=worker_tags(tags, request.all_tags()))

    def _answer_for(
        self, connection: Connection, worker_id: int, request: ContractRequest, room: int
    ) -> tuple[Contracted | None, Sequence[Job]]:
        """Take the turn of a contract that sleeps, inside a transaction that has a job for it."""
        try:
            turn = self._turn(connection, worker_id, request, room, (), look=False, slept=True)
        except (WorkerNotFound, WorkerRetired):
            return None, ()
        return (turn.contracted if turn.contracted.jobs else None), turn.contracted.jobs

    def _take_turn(
        self,
        worker_id: int,
        request: ContractRequest,
        room: int,
        reports: Sequence[Report],
        *,
        slept: bool = False,
    ) -> _Turn:
        # A lease that a power cut undoes costs one more execution. An outcome, or the end of a job whose workers
        # vanished, must not be undone.
        durable = bool(reports) or self._is_overdue()
        turn = self._database.write(
            lambda connection: self._turn(
                connection, worker_id, request, room, reports, look=durable, slept=slept
            ),
            durable=durable,
        )
        self._bell.ring(turn.changes)
        if turn.restarted and not durable and not turn.contracted.jobs:
            # The leases of the worker's process before this one have just ended: their jobs are overdue now.
            return self._take_turn(worker_id, request, room, reports)
        return turn

    def _turn(
        self,
        connection: Connection,
        worker_id: int,
        request: ContractRequest,
        room: int,
        reports: Sequence[Report],
        *,
        look: bool,
        slept: bool,
    ) -> _Turn:
        now = self._clock()
        known = require_worker(connection, worker_id)
        if slept and request.incarnation not in {UNSET, known.incarnation}:
            return _Turn(Contracted(), Changes(), known, restarted=False, superseded=True)
        worker = hear_of(connection, known, request.incarnation, now)
        recorded = self._outcomes.record(connection, worker_id, reports) if reports else Recorded()
        changes = recorded.changes
        if look:
            changes.add(move_overdue(connection, self._settings, now))
        contracted = Contracted(acks=recorded.acks, drain=worker.draining)
        if room and not worker.draining:
            claimed = self._claim(connection, worker, request, room, now, slept=slept)
            contracted = replace(claimed, acks=recorded.acks)
        changes.jobs |= dict.fromkeys((job.id for job in contracted.jobs), JobState.RUNNING)
        return _Turn(contracted, changes, worker, restarted=worker.incarnation != known.incarnation)

    def _claim(
        self,
        connection: Connection,
        worker: Worker,
        request: ContractRequest,
        room: int,
        now: int,
        *,
        slept: bool,
    ) -> Contracted:
        # A v0.5 client sends no token back. Its lease is short until it asks about the job, because the
        # answer may go to a socket that nobody reads any more.
        kind = "fenced" if request.is_extended else "first"
        lease_s = self._settings.lease_s * (UNSEEN_SHARE if slept and request.is_extended else 1)
        until = now + round(lease_s * 1000)
        grant = LeaseGrant(secrets.token_hex(8), kind, until, worker.id, worker.incarnation)
        tags = worker_tags(worker.tags, request.all_tags())
        chosen = claim_jobs(connection, worker.runtimes, tags, room, grant, now)
        inputs = blobs.find_blobs(connection, (job.input_id for job in chosen)) if request.is_extended else {}
        return Contracted(chosen, grant.lease, lease_s, inputs)

    def _is_overdue(self) -> bool:
        """Tell whether the time of a job has come."""
        with self._database.read() as connection:
            next_time = leases.find_next_time(connection)
        return next_time is not None and next_time <= self._clock()

    def heartbeat(self, worker_id: int, request: HeartbeatRequest) -> HeartbeatReply:
        """Renew a worker's leases and keep what its running jobs logged.

        Raises WorkerNotFound or WorkerRetired. Safe to repeat.
        """
        reply = self._database.write(lambda connection: self._beat(connection, worker_id, request), durable=False)
        logged = dict.fromkeys((int(part.job) for part in request.logs), JobState.RUNNING)
        self._bell.ring(Changes(jobs=logged))
        return reply

    def _beat(self, connection: Connection, worker_id: int, request: HeartbeatRequest) -> HeartbeatReply:
        now = self._clock()
        worker = hear_of(connection, require_worker(connection, worker_id), request.incarnation, now)
        until = now + round(self._settings.lease_s * 1000)
        kept: list[LeaseRef] = []
        dropped: list[LeaseRef] = []
        for ref in request.leases:
            (kept if leases.renew_lease(connection, ref.job, ref.lease, until) else dropped).append(ref)
        states = jobs.find_states(connection, (ref.job for ref in dropped)) if dropped else {}
        cancelled = [ref.job for ref in dropped if states.get(ref.job) is JobState.CANCELLED]
        self._keep_logs(connection, request.logs, kept)
        return HeartbeatReply(
            leases=[RenewedLease(job=r.job, lease=r.lease, lease_s=self._settings.lease_s) for r in kept],
            lost=[ref.job for ref in dropped if ref.job not in cancelled],
            cancel=cancelled,
            drain=worker.draining,
        )

    def _keep_logs(self, connection: Connection, parts: Sequence[LogPart], kept: Sequence[LeaseRef]) -> None:
        current = {(ref.job, ref.lease) for ref in kept}
        wanted = [part for part in parts if (part.job, part.lease) in current]
        found = jobs.find_jobs(connection, (part.job for part in wanted)) if wanted else {}
        for part in wanted:
            log = Log(part.offset, part.log, found[part.job].attempt)
            logs.append_log(connection, part.job, log, self._settings.log_max_bytes)
