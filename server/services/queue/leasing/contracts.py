"""Contracts: the exchange in which a worker hands in outcomes and is given jobs; and heartbeats."""

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import UNSET

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
from piecework.server.errors import CapacityReached, InvalidRequest, Stopping, WorkerNotFound, WorkerRetired
from piecework.server.services.core import Core
from piecework.server.services.queue.dependencies.contents import find_inputs
from piecework.server.services.queue.leasing.claims import NOTHING, Claimant, Claimed, Claims, admits
from piecework.server.services.queue.leasing.costs import JobCosts
from piecework.server.services.queue.leasing.offers import offer_tags
from piecework.server.services.queue.leasing.outcomes import Outcomes, Recorded, Report
from piecework.server.services.queue.leasing.overdue import move_overdue
from piecework.server.services.queue.leasing.pace import UsualTimes
from piecework.server.services.queue.leasing.replays import NO_REPLAYS, ReplayOrder, find_orders, show_originals
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.waiting.pauses import Work
from piecework.server.services.queue.waiting.waiting import Admits, Changes, Notifier
from piecework.server.services.stock.workers import hear_of, note_clock, note_trouble, require_worker
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import files, jobs, logs
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.queue.leasing import lanes, leases
from piecework.server.store.records import Blob, Job, LeaseGrant, LeaseKind, Log, Worker
from piecework.server.store.stock import blobs

MARGIN_S = 1.0
"""A contract is answered this long before its timeout, or a quarter of it when that is shorter."""
UNSEEN_S = 2.5
"""How long the lease of a contract that slept holds before its worker shows that it has it, at most.

The caller may have died while it waited, and nobody would read the answer. The outcome shows it, or a heartbeat:
agents send the first after a third of this.
"""
NOTHING_FOUND: Mapping[int, Any] = MappingProxyType({})
OFFERS_MAX = 10_000
"""Workers whose runtimes and tags are kept in memory."""


class Contracted(NamedTuple):
    """The answer to a contract."""

    jobs: Sequence[Job] = ()
    lease_s: float = 0.0
    inputs: Mapping[int, Blob] = NOTHING_FOUND
    """By blob id; inputs that do not exist are left out."""
    files: Mapping[int, Sequence[StoredFile]] = NOTHING_FOUND
    """What jobs get from others, by job id."""
    given: Mapping[int, Sequence[StoredFile]] = NOTHING_FOUND
    """What jobs get in directories of their own, by job id."""
    replays: Mapping[int, ReplayOrder] = NO_REPLAYS
    """What replays are of, by job id."""
    shown: Sequence[Job] = ()
    """Of each job, whose run it is to do: its own, or that of the job that it replays."""
    acks: Sequence[OutcomeAck] = ()
    drain: bool = False


class _ContractStep(NamedTuple):
    """What one transaction of a contract did."""

    contracted: Contracted
    changes: Changes
    restarted: bool
    """The worker's process was started anew since it was last heard of."""
    is_over: bool = False
    """The request slept, and there is nothing in it for its caller any more, or only if he asks again."""
    is_unfinished: bool = False
    """There may be jobs for it in another transaction."""


class _Ask(NamedTuple):
    """One contract that was asked for."""

    worker_id: int
    request: ContractRequest
    room: int
    """Jobs that it may be given."""
    began_at: int
    """When it came."""
    slept: bool = False
    """It has waited: its caller may have gone meanwhile."""

    def has_ended(self, known: Worker) -> bool:
        """Tell whether nobody can be waiting for the answer any more.

        A newer process of the worker was heard of, or a lease of this one ran out while the request slept.
        """
        is_older = self.request.incarnation not in {UNSET, known.incarnation}
        has_lapsed = known.lapsed_at is not None and known.lapsed_at >= self.began_at
        return self.slept and (is_older or has_lapsed)


class Contracts:
    """Gives jobs to workers."""

    def __init__(
        self, core: Core, endings: Endings, outcomes: Outcomes, notifier: Notifier, pace: UsualTimes
    ) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._now_s = core.sleeper.now_s
        self._endings = endings
        self._outcomes = outcomes
        self._notifier = notifier
        self.costs = JobCosts(pace)
        """What jobs cost; learnt while that is what tenants share."""
        self._claims = Claims(self.costs.find if core.settings.tenants_share == "fuel" else None)
        self._offers: dict[int, Worker] = {}
        """Workers by their ids, for what they offer."""

    def contract(self, worker_id: int, request: ContractRequest) -> Work[Contracted]:
        """Record the request's outcomes, then lease jobs to the worker, waiting for one if it asks for that.

        The outcomes are recorded before it waits, and acknowledged after. With room for none it ends the worker's
        other waits, so that an agent that stops need not sit out its poll. Raises WorkerNotFound, WorkerRetired,
        InvalidRequest, CapacityReached or Stopping; then nothing was recorded or leased.
        """
        room = 1 if request.max is UNSET else request.max
        if room > self._settings.contract_max:
            raise InvalidRequest(f"max is {room}; one contract leases at most {self._settings.contract_max} jobs")
        if request.timeout is not None and not request.timeout >= 0:
            raise InvalidRequest(f"timeout is {request.timeout}, but cannot be negative")
        reports = self._outcomes.prepare(worker_id, request.outcomes)
        patience_s = self._patience_s(request.timeout)
        ask = _Ask(worker_id, request, room, self._clock())
        if room and patience_s > 0:
            try:
                return (yield from self._wait_for_job(ask, reports, self._now_s() + patience_s))
            except (CapacityReached, Stopping):
                if not reports:
                    raise
        step = self._take_step(ask, reports)
        if not room:
            self._notifier.waiters.dismiss(worker_id)
        return step.contracted

    def _patience_s(self, timeout_s: float | None) -> float:
        wanted = timeout_s or 0.0
        return min(wanted - min(MARGIN_S, wanted / 4), self._settings.poll_max_s - MARGIN_S)

    def _wait_for_job(self, ask: _Ask, reports: Sequence[Report], deadline: float) -> Work[Contracted]:
        fits = self._find_fits(ask.worker_id, ask.request)
        sleeping = ask._replace(slept=True)
        acks: Sequence[OutcomeAck] = ()
        while True:
            with self._notifier.waiters.park(ask.worker_id, fits) as waiter:
                step = self._take_step(ask, reports)
                contracted, reports, ask = step.contracted, (), sleeping
                acks = acks or contracted.acks
                is_over = step.is_over or (contracted.drain and ask.request.knows_leases)
                if not contracted.jobs and not is_over:
                    answer_for = partial(self._answer_for, ask=sleeping)
                    left_s = deadline - self._now_s()
                    woken = yield from self._notifier.waiters.wait(waiter, answer_for, left_s)
                    if woken and not waiter.dismissed and waiter.answer is None:
                        continue
            if is_over and not contracted.jobs:
                self._wake_next(fits)
            return (waiter.answer or contracted)._replace(acks=acks)

    def _wake_next(self, fits: Admits) -> None:
        """Wake the next in the place of a contract that was woken for a job and leaves without it."""
        with self._database.read() as connection:
            waiting = [lane for lane in lanes.lanes_with_jobs(connection) if fits(lane)]
        for lane in waiting:
            self._notifier.waiters.wake(lane, 1)

    def _find_fits(self, worker_id: int, request: ContractRequest) -> Admits:
        """Return what tells which lanes a request is for. A process of a worker offers the same all the time."""
        worker = self._offers.get(worker_id)
        if worker is None or request.incarnation not in {UNSET, worker.incarnation}:
            with self._database.read() as connection:
                worker = require_worker(connection, worker_id)
            if len(self._offers) > OFFERS_MAX:
                self._offers = {}
            self._offers[worker_id] = worker
        return partial(
            admits, runtimes=worker.runtimes, tags=offer_tags(worker, request.tags or (), self._settings.trusted)
        )

    def _answer_for(self, connection: Connection, ask: _Ask) -> tuple[Contracted | None, Changes]:
        """Take the turn of a contract that sleeps, inside a transaction that has a job for it."""
        try:
            step = self._step(connection, ask, (), look=False, is_first=False)
        except (WorkerNotFound, WorkerRetired):
            return None, Changes()
        return (step.contracted if step.contracted.jobs else None), step.changes

    def _take_step(self, ask: _Ask, reports: Sequence[Report]) -> _ContractStep:
        # A lease that a power cut undoes costs one more execution. An outcome, or the end of a job whose workers
        # vanished, must not be undone.
        durable = bool(reports) or self._is_overdue()
        step = self._database.write(
            lambda connection: self._step(connection, ask, reports, look=durable, is_first=not durable),
            durable=durable,
        )
        self._notifier.notify(step.changes)
        if step.restarted and not durable and not step.contracted.jobs:
            # The leases of the worker's process before this one have just ended: their jobs are overdue now.
            return self._take_step(ask, reports)
        if step.is_unfinished and not step.contracted.jobs:
            again = self._take_step(ask, ())
            return again._replace(contracted=again.contracted._replace(acks=step.contracted.acks))
        return step

    def _step(
        self, connection: Connection, ask: _Ask, reports: Sequence[Report], *, look: bool, is_first: bool
    ) -> _ContractStep:
        """Do one transaction's part. ``is_first``: nothing else of it concerns limits before."""
        now = self._clock()
        known = require_worker(connection, ask.worker_id)
        if ask.has_ended(known):
            return _ContractStep(Contracted(), Changes(), restarted=False, is_over=True)
        worker = known
        if not ask.slept:
            worker = hear_of(connection, known, ask.request.incarnation, now)
            note_trouble(connection, worker, ask.request)
            note_clock(connection, worker, ask.request, ask.began_at)
        recorded = self._outcomes.record(connection, worker.id, reports) if reports else Recorded()
        changes = recorded.changes
        if look:
            changes.add(move_overdue(connection, self._settings, self._endings, now, wakes=not reports))
        contracted = Contracted(acks=recorded.acks, drain=worker.draining)
        claimed = NOTHING
        if ask.room and worker.takes_jobs:
            contracted, claimed = self._claim(connection, worker, ask, now, is_first=is_first)
            contracted = contracted._replace(acks=recorded.acks)
            changes.add(claimed.changes)
        changes.jobs |= dict.fromkeys((job.id for job in contracted.jobs), JobState.RUNNING)
        restarted, has_left = worker.incarnation != known.incarnation, worker.stopped_at is not None
        is_over = has_left or (claimed.left_returned and not contracted.jobs)
        return _ContractStep(contracted, changes, restarted, is_over, claimed.is_unfinished)

    def _claim(
        self, connection: Connection, worker: Worker, ask: _Ask, now: int, *, is_first: bool
    ) -> tuple[Contracted, Claimed]:
        """Lease jobs."""
        kind, lease_s = _choose_lease(ask, self._settings.lease_s)
        until = now + round(lease_s * 1000)
        grant = LeaseGrant(secrets.token_hex(8), kind, until, worker.id, worker.incarnation)
        tags = offer_tags(worker, ask.request.tags or (), self._settings.trusted)
        claimant = Claimant(worker.runtimes, tags, ask.room, worker.slots, ask.slept, is_first)
        claimed = self._claims.claim(connection, claimant, grant, now)
        if not ask.request.knows_leases:
            return Contracted(claimed.jobs, lease_s), claimed
        replays = find_orders(connection, claimed.jobs)
        shown = show_originals(claimed.jobs, replays) if replays else claimed.jobs
        inputs = blobs.find_blobs(connection, (job.input_id for job in shown))
        with_folder = [job.id for job in shown if job.options_json and job.options.has_folder]
        given = files.find_files(connection, "given", with_folder) if with_folder else {}
        given = {id_: [each for each in own if each.blob_id is not None] for id_, own in given.items()}
        inputs_of = find_inputs(connection, shown)
        return Contracted(claimed.jobs, lease_s, inputs, inputs_of, given, replays, shown), claimed

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
        self._notifier.notify(Changes(jobs=logged))
        return reply

    def _beat(self, connection: Connection, worker_id: int, request: HeartbeatRequest) -> HeartbeatReply:
        now = self._clock()
        worker = hear_of(connection, require_worker(connection, worker_id), request.incarnation, now)
        until = now + round(self._settings.lease_s * 1000)
        kept: list[LeaseRef] = []
        dropped: list[LeaseRef] = []
        for ref in request.leases:
            renewed = worker.stopped_at is None and leases.renew_lease(connection, ref.job, ref.lease, until)
            (kept if renewed else dropped).append(ref)
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


def _choose_lease(ask: _Ask, lease_s: float) -> tuple[LeaseKind, float]:
    """Return the kind of lease that a contract leaves, and how many seconds it holds at first."""
    if not ask.request.knows_leases:
        kind: LeaseKind = "first"
    else:
        kind = "unseen" if ask.slept else "fenced"
    return kind, min(UNSEEN_S, lease_s) if ask.slept else lease_s
