"""Outcomes: what workers report. Each is accepted under the job's current lease, once, or refused."""

import hashlib
import random
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from piecework.protocol.codes import Code, ErrorKind
from piecework.protocol.job_files import sum_files
from piecework.protocol.messages import JobError, Outcome, OutcomeAck, Usage, Verify, given, read_ref
from piecework.protocol.states import NEXT_STATES, JobState
from piecework.server.errors import InvalidRequest
from piecework.server.services.core import Core
from piecework.server.services.queue.dependencies.folders import (
    NewFile,
    read_journal,
    read_made,
    store_journals,
    store_made,
)
from piecework.server.services.queue.lifecycle import retries
from piecework.server.services.queue.lifecycle.counting import note_over
from piecework.server.services.queue.lifecycle.endings import Ended, Endings
from piecework.server.services.queue.lifecycle.memo_terms import REPEATABLE
from piecework.server.services.queue.limits.limiter import release_jobs
from piecework.server.services.queue.trust.agreement import Agreement, GivenResult
from piecework.server.services.queue.trust.receipts import HandedReceipt, Produced, Receipts
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.services.stock.data import Data
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events, feed
from piecework.server.store.queue.jobs import jobs, logs
from piecework.server.store.queue.leasing import lanes, leases
from piecework.server.store.records import Blob, Event, Job, KeptUsage, LeaseEnd, Log, Worker
from piecework.server.store.stock import blobs, workers

REPORTED = NEXT_STATES[JobState.RUNNING] - {JobState.WAITING}
"""The states that an outcome may report. Whether a job that failed waits, the server decides."""
MESSAGE_LENGTH = 4_000
_NOTHING = hashlib.sha256().hexdigest()
TRACE_LENGTH = 16_000


@dataclass
class Recorded:
    """What recording some outcomes did."""

    acks: list[OutcomeAck] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    ends: list[LeaseEnd] = field(default_factory=list)
    trail: list[Event] = field(default_factory=list)
    moves: list[tuple[Job, JobState, str]] = field(default_factory=list)
    """Which jobs came into which state, and why; what is in the trail of them is not told again."""

    @property
    def all_refused(self) -> bool:
        return bool(self.acks) and all(ack.code for ack in self.acks)


class Report(NamedTuple):
    """An outcome, checked, with the bytes of its output and its files in safety."""

    outcome: Outcome
    output: Blob | None
    """A new blob whose row is not stored yet."""
    output_id: int | None
    made: tuple[NewFile, ...] = ()
    """Files that the job gives back."""
    journal: NewFile | None = None
    """What its guest got from outside."""
    receipt: HandedReceipt | None = None

    @property
    def brought(self) -> tuple[NewFile, ...]:
        """What it has beside its output."""
        return self.made if self.journal is None else (*self.made, self.journal)

    def find_output(self, existing: Mapping[int, tuple[bytes, int]]) -> str:
        """Return the SHA-256 of the output, hex; of nothing when there is none."""
        if self.output is not None:
            return self.output.sha256.hex()
        return existing[self.output_id][0].hex() if self.output_id else _NOTHING

    def find_missing(self, existing: Container[int]) -> int | None:
        """Return a blob that it names and that does not exist; None when there is none."""
        if self.output is None and self.output_id and self.output_id not in existing:
            return self.output_id
        return next((each.blob_id for each in self.brought if each.is_blob and each.blob_id not in existing), None)

    def sum_up(self, existing: Mapping[int, tuple[bytes, int]]) -> Produced:
        """Return the digests of what it brings, of which ``existing`` has what is there already."""
        known = {each.blob_id: each.content.sha256 for each in self.brought if each.content is not None}
        known |= {id_: sha256 for id_, (sha256, _) in existing.items()}
        if self.output is not None:
            known[self.output.id] = self.output.sha256
        output = known.get(self.output_id or 0)
        made = sum_files((each.name, known.get(each.blob_id, b"").hex()) for each in self.made)
        journal = None if self.journal is None else known.get(self.journal.blob_id)
        return Produced(output.hex() if output is not None else None, made, journal.hex() if journal else None)

    def without_result(self, why: str) -> "Report":
        """Return the report of an attempt that the worker failed."""
        error = JobError(kind=ErrorKind.WORKER, message=why)
        was = self.outcome
        failed = Outcome(
            job=was.job,
            lease=was.lease,
            state=JobState.FAILED,
            error=error,
            log=was.log,
            log_offset=was.log_offset,
        )
        return Report(failed, None, None)


class _Rules(NamedTuple):
    """What some lambdas ask of results."""

    worker: Worker
    """Whose outcomes are recorded."""
    verify: Mapping[int, Verify]
    """Those whose jobs are final only once workers of several owners agree."""
    signed: frozenset[int]
    """Those for which no result counts without a receipt."""

    def find_lack(self, job: Job, report: Report) -> str | None:
        """Say why a result has no receipt that counts, though it must have one; None: all is well."""
        outcome = report.outcome
        kind = outcome.error.kind if isinstance(outcome.error, JobError) else None
        is_result = outcome.state is JobState.FINISHED or (outcome.state is JobState.FAILED and kind in REPEATABLE)
        if job.lambda_id not in self.signed or report.receipt or not is_result:
            return None
        if outcome.receipt is UNSET:
            return "is missing: its lambda takes no result without one"
        return "cannot be signed by this server: 'piecework doctor' says why"


class Outcomes:
    """Takes outcomes in."""

    def __init__(
        self,
        core: Core,
        data: Data,
        lambdas: Lambdas,
        endings: Endings,
        receipts: Receipts,
        notifier: Notifier,
        agreement: Agreement,
        chance: retries.Random = random.random,
    ) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._data = data
        self._lambdas = lambdas
        self._endings = endings
        self._receipts = receipts
        self._notifier = notifier
        self._agreement = agreement
        self._chance = chance

    def finish(self, worker_id: int, outcomes: Sequence[Outcome]) -> Recorded:
        """Record outcomes in one transaction, each acknowledged or refused on its own."""
        reports = self.prepare(worker_id, outcomes)
        recorded = self._database.write(lambda connection: self.record(connection, worker_id, reports))
        self._notifier.notify(recorded.changes)
        return recorded

    def prepare(self, worker_id: int, outcomes: Sequence[Outcome]) -> list[Report]:
        """Check outcomes of a worker and put the bytes of their outputs in safety, before a transaction is begun.

        Raises InvalidRequest when one makes no sense.
        """
        if not outcomes:
            return []
        now, new_ids = self._clock(), self._data.new_ids(len(outcomes))
        reports = [self._prepare_one(outcome, id_, now) for outcome, id_ in zip(outcomes, new_ids, strict=True)]
        for place, receipt in self._receipts.prepare(worker_id, outcomes).items():
            reports[place] = reports[place]._replace(receipt=receipt)
        return reports

    def _prepare_one(self, outcome: Outcome, new_id: int, now: int) -> Report:
        if outcome.state not in REPORTED:
            raise InvalidRequest(f"an outcome cannot report {outcome.state}")
        if outcome.state is JobState.FAILED and not isinstance(outcome.error, JobError):
            raise InvalidRequest(f"the failed outcome of job {outcome.job} has no `error`")
        try:
            content, output_id = read_ref(outcome.output)
        except ValueError as error:
            raise InvalidRequest(f"the output of job {outcome.job} is wrong: {error}") from error

        def keep(data: bytes) -> Blob:
            return self._data.prepare_bytes(data, self._data.new_ids(1)[0], now)

        made = read_made(outcome, keep) if outcome.made else ()
        journal = read_journal(outcome, keep) if outcome.journal else None
        if content is None:
            return Report(outcome, None, output_id, made, journal)
        blob = self._data.prepare_bytes(content, new_id, now)
        return Report(outcome, blob, blob.id, made, journal)

    def record(self, connection: Connection, worker_id: int, reports: Sequence[Report]) -> Recorded:
        """Record reports inside the caller's transaction."""
        recorded = Recorded()
        if not reports:
            return recorded
        now = self._clock()
        found = jobs.lock_jobs(connection, (report.outcome.job for report in reports))
        named = {report.output_id for report in reports if report.output is None and report.output_id}
        named.update(each.blob_id for report in reports for each in report.brought if each.is_blob)
        existing = blobs.hold_blobs(connection, named)
        handed = [int(report.outcome.job) for report in reports if report.receipt]
        check = self._receipts.open_check(connection, worker_id, handed, found) if handed else None
        rules = self._find_rules(connection, worker_id, found.values())
        accepted: list[Report] = []
        ended: set[int] = set()
        for report in reports:
            job = found.get(report.outcome.job)
            code, message = self._judge(job, worker_id, report, existing)
            ack = OutcomeAck(job=report.outcome.job, lease=report.outcome.lease, code=int(code))
            recorded.acks.append(ack)
            if code is not Code.OK:
                ack.message = message
                if job is not None:
                    recorded.trail.append(_refusal(job, worker_id, report.outcome, now, message))
            elif job is not None and job.lease == report.outcome.lease and job.id not in ended:
                fault = rules.find_lack(job, report) if rules else None
                if check and report.receipt:
                    wrong = check.find_fault(job, report.receipt, report.outcome, report.sum_up(existing))
                    fault = wrong and f"does not fit: {wrong}"
                taken = report if fault is None else self._refuse(connection, job, report, fault, ack)
                self._accept(connection, recorded, job, taken, existing, rules, now)
                accepted.append(taken)
                ended.add(job.id)  # a second outcome of the same lease in this request is a repetition
        self._store(connection, recorded, accepted, found)
        for (state, detail), moved in groupby(recorded.moves, itemgetter(1, 2)):
            feed.note_changes(connection, now, state, map(itemgetter(0), moved), detail)
        final = [_tell_end(found[end.job_id], end) for end in recorded.ends if end.finished_at is not None]
        self._endings.pass_on(connection, final, recorded.changes, now)
        open_ends = [end for end in recorded.ends if end.finished_at is None]
        again = [found[end.job_id] for end in open_ends]
        failed = (found[end.job_id] for end in open_ends if end.error and not end.returned)
        note_over(connection, "retried", failed, now)
        release_jobs(connection, again, recorded.changes, now)
        if any(found[id_].vanished for id_ in ended):  # its worker may hold another such job now
            recorded.changes.note_lanes(lanes.lanes_with_jobs(connection))
        return recorded

    def _refuse(self, connection: Connection, job: Job, report: Report, fault: str, ack: OutcomeAck) -> Report:
        """Return the report of a failed attempt in the place of one without a good receipt; the worker is told."""
        ack.code, ack.message = int(Code.RECEIPT_REFUSED), f"the receipt {fault}"
        self._receipts.refuse(connection, job, fault.removeprefix("does not fit: "), self._clock())
        return report.without_result(f"its worker's receipt {fault}")

    def _judge(
        self, job: Job | None, worker_id: int, report: Report, existing: Container[int]
    ) -> tuple[Code, str]:
        """Decide whether an outcome counts: OK also for one that was accepted before."""
        outcome = report.outcome
        if job is None:
            return Code.JOB_NOT_FOUND, f"there is no job {outcome.job}"
        if job.lease == outcome.lease and job.worker_id == worker_id:
            if (missing := report.find_missing(existing)) is not None:
                return Code.BLOB_NOT_FOUND, f"there is no blob {missing}"
            return Code.OK, ""
        if job.last_lease == outcome.lease:
            return Code.OK, ""
        if job.state is JobState.CANCELLED and outcome.state in {JobState.CANCELLED, JobState.ENQUEUED}:
            return Code.OK, ""
        return Code.LEASE_LOST, f"the lease is not the current one; job {job.id} is {job.state}"

    def _find_rules(self, connection: Connection, worker_id: int, found: Iterable[Job]) -> _Rules | None:
        """Return what the lambdas of some jobs ask of results; None when none asks for anything."""
        known = self._lambdas.get_many({job.lambda_id for job in found})
        verify = {id_: each.options.verify for id_, each in known.items() if each.options.verify}
        signed = frozenset(id_ for id_, each in known.items() if each.options.receipts)
        worker = workers.find_worker(connection, worker_id) if verify or signed else None
        return _Rules(worker, verify, signed) if worker else None

    def _accept(
        self,
        connection: Connection,
        recorded: Recorded,
        job: Job,
        report: Report,
        existing: Mapping[int, tuple[bytes, int]],
        rules: _Rules | None,
        now: int,
    ) -> None:
        end = self._end(job, report, now)
        detail = end.error.message if end.error else ""
        if not end.error and (code := given(report.outcome.exit_code)):
            detail = f"exit code {code}"
        if report.outcome.state is JobState.ENQUEUED:
            detail = f"handed back: {detail}" if detail else "handed back"
        verify = rules.verify.get(job.lambda_id) if rules else None
        if rules and verify and end.finished_at is not None and end.state is not JobState.CANCELLED:
            told = GivenResult(rules.worker, end, report.find_output(existing))
            end, job, why = self._agreement.weigh(connection, job, verify, told, now)
            detail = why or detail
        recorded.ends.append(end)
        event = Event(
            job.id, now, end.state, job.worker_id, job.attempt, job.lease, detail, job.started_at, is_change=False
        )
        recorded.moves.append((job, end.state, detail))
        recorded.trail.append(event)
        recorded.changes.note(job.id, job.lane_id, end.state)

    def _end(self, job: Job, report: Report, now: int) -> LeaseEnd:
        outcome = report.outcome
        usage = _with_exit_code(outcome)
        if outcome.state is JobState.FINISHED:
            return retries.end_finished(job, output_id=report.output_id, usage=usage, now=now)
        if outcome.state is JobState.CANCELLED:
            return retries.end_cancelled(job, now=now)
        if outcome.state is JobState.ENQUEUED:
            return retries.end_handed_back(
                job, _cut(outcome.error) if isinstance(outcome.error, JobError) else None
            )
        assert isinstance(outcome.error, JobError)
        repeats = self._lambdas.get(job.lambda_id).options.deterministic
        return retries.end_failed(
            job,
            _cut(outcome.error),
            usage=usage,
            now=now,
            output_id=report.output_id,
            repeats=repeats,
            vanished_max=self._settings.vanished_max,
            random=self._chance,
        )

    def _store(
        self, connection: Connection, recorded: Recorded, accepted: Sequence[Report], found: dict[int, Job]
    ) -> None:
        kept = {end.output_id for end in recorded.ends}  # not what an attempt wrote that is followed by another
        outputs = [report.output for report in accepted if report.output is not None]
        blobs.add_blobs(connection, [output for output in outputs if output.id in kept])
        if made := [(found[each.outcome.job], each.made) for each in accepted if each.made]:
            store_made(connection, made, {end.job_id for end in recorded.ends if end.finished_at is not None})
        if any(each.journal for each in accepted):
            final = {end.job_id for end in recorded.ends if end.finished_at is not None}
            store_journals(
                connection,
                [
                    (each.outcome.job, each.journal)
                    for each in accepted
                    if each.journal and each.outcome.job in final
                ],
            )
        if handed := {int(each.outcome.job): each.receipt for each in accepted if each.receipt}:
            self._receipts.keep(connection, recorded.ends, handed)
        leases.end_leases(connection, recorded.ends)
        for report in accepted:
            log = report.outcome.log
            if log is not UNSET and log:
                limit = self._settings.log_max_bytes
                start = report.outcome.log_offset + max(0, len(log) - limit)
                attempt = found[report.outcome.job].attempt
                logs.put_log(connection, report.outcome.job, Log(start, log[-limit:], attempt))
        events.add_events(connection, recorded.trail)


def _tell_end(job: Job, end: LeaseEnd) -> Ended:
    wall_s = end.usage.wall_s if end.usage else None
    kind = end.error.kind.value if end.error else ""
    return Ended(job, end.state, kind, None if wall_s is None else round(wall_s * 1000))


def _refusal(job: Job, worker_id: int, outcome: Outcome, now: int, message: str) -> Event:
    detail = f"{events.REFUSED}{outcome.state}; {message}"
    return Event(job.id, now, job.state, worker_id, job.attempt, outcome.lease[:40], detail, is_change=False)


def _with_exit_code(outcome: Outcome) -> Usage:
    """Return what an attempt used, as it is kept."""
    code = given(outcome.exit_code)
    return KeptUsage(**msgspec.structs.asdict(outcome.usage), exit_code=code) if code else outcome.usage


def _cut(error: JobError) -> JobError:
    """Keep an error's texts within bounds."""
    trace = error.trace if error.trace is UNSET else error.trace[:TRACE_LENGTH]
    return JobError(kind=error.kind, message=error.message[:MESSAGE_LENGTH], trace=trace)
