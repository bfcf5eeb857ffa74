"""Replays on a worker: the run of a job that has a receipt is done again there, and compared.

It is a job of its own, for that worker alone, and of a lambda that stands for all replays: so the job whose run it
does again stays as it is, and what is counted, kept, agreed on or told of its lambda does not hear of it. What it
needs is read when a worker leases it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from piecework.protocol.ids import ID_MAX
from piecework.protocol.matching import REPLAY_TAG, WORKER_TAG, TagSet, offers_runtime
from piecework.protocol.messages import Envelope, Limits, ReplayStart, WorkerState, given
from piecework.protocol.secrets import mask_secrets
from piecework.protocol.states import JobState
from piecework.receipts.payload import RunLimits
from piecework.server.errors import KeyConflict, WorkerUnfit
from piecework.server.services.core import Core
from piecework.server.services.queue.leasing.offers import expect_tags
from piecework.server.services.queue.lifecycle.details import merge_terms
from piecework.server.services.queue.submitting.intake import take_in
from piecework.server.services.queue.submitting.jobspecs import check_key
from piecework.server.services.queue.trust.receipts import Receipts, find_receipt
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.workers import find_state, resolve_worker
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.ids import IdSource
from piecework.server.store.options import JobOptions, LambdaOptions
from piecework.server.store.queue.jobs import files, jobs, journals
from piecework.server.store.queue.jobs.files import StoredFile
from piecework.server.store.records import Job, Lambda, NewJob, Worker
from piecework.server.store.stock import blobs, lambdas

NAME = "(replays)"
"""Of the lambda that stands for all replays. No other can be called so."""
FIRST = 100
"""The priority of replays: somebody waits."""
SPARE_MS = 10_000
"""Whoever waits for a replay gives it up first, and says why."""
UNFIT = {
    WorkerState.RETIRED: "was retired",
    WorkerState.STOPPED: "has stopped",
    WorkerState.GONE: "was not heard of for over a minute",
    WorkerState.DRAINING: "drains, and takes no more jobs",
}
NO_REPLAYS: Mapping[int, "ReplayOrder"] = MappingProxyType({})


class ReplayOrder(NamedTuple):
    """What a replay is of, as it stands when a worker leases it."""

    original: Job
    """The job whose run it does again."""
    envelope: Envelope
    """Its receipt."""
    journal: StoredFile | None
    output: StoredFile | None
    made: Sequence[StoredFile]
    """Files that it gave back."""


class Replays:
    """Has runs done again on workers."""

    def __init__(self, core: Core, lambda_service: Lambdas, receipts: Receipts, notifier: Notifier) -> None:
        self._database, self._ids, self._clock, self._settings = core.database, core.ids, core.clock, core.settings
        self._lambdas = lambda_service
        self._receipts = receipts
        self._notifier = notifier

    def tells_secrets(self, job_id: int, who: str | None) -> bool:
        """Tell whether a worker of choice would get variables of a job of somebody else that viewers do not get.

        Raises JobNotFound, ReceiptNotFound.
        """
        original = self._receipts.require(job_id)
        env = merge_terms(original, self._lambdas.get(original.lambda_id), self._settings.default_limits).env
        return original.submitter != who and mask_secrets(env) != env

    def start(self, job_id: int, asked: ReplayStart, submitter: str | None) -> tuple[int, Worker]:
        """Have a job's run done again. Returns the job that does it, and its worker. Safe to repeat with a key.

        Raises JobNotFound, ReceiptNotFound, WorkerNotFound, WorkerUnfit, KeyConflict, or InvalidRequest when
        several workers have the name.
        """
        original, now = self._receipts.require(job_id), self._clock()
        with self._database.read() as connection:
            worker = resolve_worker(connection, asked.worker, now)
        lambda_ = self._lambdas.get(original.lambda_id)
        if reason := self._find_unfit(worker, original, lambda_, now):
            raise WorkerUnfit(f"worker {worker.name} ({worker.id}) {reason}")
        key = given(asked.key)
        digest = hashlib.sha256(f"replay {job_id} {worker.id} {given(asked.engine)} {asked.timeout_s}".encode())
        new = NewJob(
            id=self._ids.next(),
            input_id=original.input_id,
            key=None if key is None else check_key(key),
            key_digest=None if key is None else digest.digest(),
            lambda_id=0,
            runtime=lambda_.runtime,
            state=JobState.ENQUEUED,
            priority=FIRST,
            max_attempts=1,
            due_at=None,
            expires_at=now + round(asked.timeout_s * 1000) + SPARE_MS,
            tags=(f"+{WORKER_TAG}{worker.id}", f"+{REPLAY_TAG}"),
            options=JobOptions(
                limits=Limits(timeout_s=asked.timeout_s),
                max_attempts=1,
                replays=original.id,
                engine=given(asked.engine),
            ),
            submitter=submitter,
            tenant=submitter or "",
        )
        id_, changes = self._database.write(partial(_store, new=new, ids=self._ids, now=now))
        self._notifier.notify(changes)
        return id_, worker

    def _find_unfit(self, worker: Worker, original: Job, lambda_: Lambda, now: int) -> str | None:
        """Say why a worker cannot do a job's run again; None when it can, at once or later."""
        state, tags = find_state(worker, now), expect_tags(worker, self._settings.trusted)
        if state in UNFIT:
            return UNFIT[state]
        if worker.trouble is not None:
            return f"takes no jobs now: {worker.trouble}"
        if REPLAY_TAG not in tags:
            return "does no replays: it is another program than piecework's agent"
        if not offers_runtime(worker.runtimes, lambda_.runtime):
            return f"does not offer the runtime {lambda_.runtime}; it offers {', '.join(worker.runtimes)}"
        wanted = TagSet.parse(original.tags)
        if not wanted.admits(tags):
            told = [
                *(f"+{tag}" for tag in sorted(wanted.necessary)),
                *(f"-{tag}" for tag in sorted(wanted.rejected)),
            ]
            return f"may not run job {original.id}, which has the tags {' '.join(told)}"
        return None


def _store(connection: Connection, new: NewJob, ids: IdSource, now: int) -> tuple[int, Changes]:
    if new.key is not None and (known := jobs.find_by_keys(connection, [new.key])):
        id_, digest = known[new.key]
        if digest != new.key_digest:
            raise KeyConflict(f"job {id_} has the key {new.key!r} and other content")
        return id_, Changes()
    changes = Changes()
    ready = take_in(connection, ids, [new._replace(lambda_id=_ensure_lambda(connection, ids, now))], now)
    changes.enqueued.update(ready.values())
    return new.id, changes


def _ensure_lambda(connection: Connection, ids: IdSource, now: int) -> int:
    """Return the lambda that stands for all replays: as one that was deleted, so that nobody names it.

    Two servers may each make one. It stays: it counts as deleted at the end of time.
    """
    if known := lambdas.find_ids_by_name(connection, NAME):
        return min(known)
    made = Lambda(ids.next(), 0, "replay", NAME, LambdaOptions(), now, deleted_at=ID_MAX)
    lambdas.add_lambda(connection, made)
    return made.id


def find_orders(connection: Connection, leased: Sequence[Job]) -> Mapping[int, ReplayOrder]:
    """Return what replays among some jobs need, by their ids; one whose original is gone is left out."""
    replays = {job.id: job.options.replays for job in leased if job.options_json and job.options.replays}
    if not replays:
        return NO_REPLAYS
    originals = jobs.find_jobs(connection, replays.values())
    found = {}
    for id_, original_id in replays.items():
        original = originals.get(original_id)
        envelope = find_receipt(connection, original) if original else None
        if original is not None and envelope is not None:
            found[id_] = _describe(connection, original, envelope)
    return found


def show_originals(leased: Sequence[Job], replays: Mapping[int, ReplayOrder]) -> list[Job]:
    """Return of each job whose run it is to do."""
    return [replays[job.id].original if job.id in replays else job for job in leased]


def _describe(connection: Connection, original: Job, envelope: Envelope) -> ReplayOrder:
    journal = journals.find_journal(connection, original.id)
    made = files.find_files(connection, "made", [original.id]).get(original.id, [])
    known = blobs.find_digests(connection, {journal or 0, original.output_id or 0} - {0})
    journal_file, output = (
        StoredFile("", blob_id, *known[blob_id]) if blob_id in known else None
        for blob_id in (journal or 0, original.output_id or 0)
    )
    return ReplayOrder(original, envelope, journal_file, output, made)


def read_limits(limits: RunLimits, timeout_s: float | None) -> Limits:
    """Return the limits of a run as its receipt has them, and how long a replay may take."""
    told = msgspec.structs.asdict(limits)
    return Limits(timeout_s=timeout_s, **{name: None if n is None else int(n) for name, n in told.items()})
