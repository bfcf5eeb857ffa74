"""Receipts of jobs: checked against what the server knows, signed by it too, and kept."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import NamedTuple

import msgspec
import structlog

from piecework.protocol.messages import Envelope, Outcome, given
from piecework.protocol.states import JobState
from piecework.receipts.claims import EMPTY_SHA256, make_result
from piecework.receipts.envelope import encode_pae, read_receipt, write_envelope
from piecework.receipts.errors import ReceiptError
from piecework.receipts.keys import is_signature, key_id
from piecework.receipts.payload import ReceiptPayload, RunResult
from piecework.server.errors import JobNotFound, ReceiptNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.trust.subjects import KnownRun, find_profile, find_runs, find_subject_fault
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.services.stock.signing import Signing
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.trust import receipts
from piecework.server.store.queue.trust.receipts import StoredReceipt
from piecework.server.store.records import Job, LeaseEnd
from piecework.server.store.stock import workers
from piecework.server.store.stock.audit import Act, Actor, store_act

log = structlog.get_logger("server")

REPEATABLE = (JobState.FINISHED, JobState.FAILED)
"""States of outcomes that have receipts."""


class HandedReceipt(NamedTuple):
    """A receipt that came with an outcome, as far as it can be checked without knowing its job."""

    envelope: Envelope
    public_key: bytes
    """That its signature was checked with."""
    payload: ReceiptPayload | None
    fault: str = ""
    """What is wrong with it; empty: nothing so far."""


class Produced(NamedTuple):
    """The digests of what came with an outcome, in hex."""

    output: str | None
    """None: there is none."""
    made: str
    """Of the list of files."""
    journal: str | None
    """None: there is none."""


class Receipts:
    """The receipts of this server's jobs."""

    def __init__(self, core: Core, lambdas: Lambdas, signing: Signing) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = lambdas
        self._signing = signing
        self._lock = Lock()
        self._counts = {"accepted": 0, "refused": 0}

    def prepare(self, worker_id: int, outcomes: Sequence[Outcome]) -> dict[int, HandedReceipt]:
        """Return the receipts among some outcomes by their places, with their signatures checked.

        They are passed over when the worker has no key, or this server cannot sign: jobs have none then.
        """
        places = [n for n, each in enumerate(outcomes) if given(each.receipt) and each.state in REPEATABLE]
        if not places:
            return {}
        with self._database.read() as connection:
            worker = workers.find_worker(connection, worker_id)
        if worker is None or worker.public_key is None or not self._signing.make_ready():
            return {}
        key = worker.public_key
        return {n: _read(envelope, key) for n in places if (envelope := given(outcomes[n].receipt))}

    def open_check(
        self, connection: Connection, worker_id: int, ids: Iterable[int], found: Mapping[int, Job]
    ) -> "ReceiptCheck":
        """Return what the receipts of some jobs are checked with, inside the caller's transaction."""
        chosen = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
        known = self._lambdas.get_many({job.lambda_id for job in chosen})
        worker = workers.find_worker(connection, worker_id)
        return ReceiptCheck(find_runs(connection, chosen, known), worker.public_key if worker else None)

    def refuse(self, connection: Connection, job: Job, fault: str, now: int) -> None:
        """Note that a receipt does not fit its job."""
        who = Actor("worker", str(job.worker_id))
        store_act(connection, Act(who, now, "refused receipt", str(job.id), fault))
        log.warning("a receipt does not fit, its attempt counts as failed", job=job.id, reason=fault)
        self._count("refused", 1)

    def keep(self, connection: Connection, ends: Sequence[LeaseEnd], good: Mapping[int, HandedReceipt]) -> None:
        """Sign and store the receipts of jobs that are final now."""
        new = [
            StoredReceipt(
                end.job_id, end.attempt, write_envelope(self._signing.countersign(good[end.job_id].envelope))
            )
            for end in ends
            if end.finished_at is not None and end.job_id in good
        ]
        receipts.put_receipts(connection, new)
        self._count("accepted", len(new))

    def get(self, job_id: int) -> Envelope:
        """Return the receipt of a job. Raises JobNotFound, or ReceiptNotFound that says why there is none."""
        return self._find(job_id)[1]

    def require(self, job_id: int) -> Job:
        """Return a job that has a receipt. Raises as ``get`` does."""
        return self._find(job_id)[0]

    def _find(self, job_id: int) -> tuple[Job, Envelope]:
        with self._database.read() as connection:
            job = jobs.find_job(connection, job_id)
            found = find_receipt(connection, job) if job else None
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        if found is None:
            raise ReceiptNotFound(f"job {job_id} has no receipt: {self._explain(job)}")
        return job, found

    def count(self) -> dict[str, int]:
        """Return how many receipts this server took, and refused, since it started."""
        with self._lock:
            return dict(self._counts)

    def _explain(self, job: Job) -> str:
        if not job.state.is_final:
            return f"it is {job.state}"
        if job.attempt == 0 and job.options.recalled is not None:
            return f"it was answered with the result of job {job.options.recalled}: see the receipt of that one"
        if job.state is JobState.CANCELLED:
            return "it was cancelled"
        if find_profile(self._lambdas.get(job.lambda_id).options) is None:
            return "its lambda is neither deterministic nor recorded, and only what can be repeated has one"
        return "its last attempt did not run to an end that can be repeated, or its worker signs none"

    def _count(self, what: str, more: int) -> None:
        with self._lock:
            self._counts[what] += more


def find_receipt(connection: Connection, job: Job) -> Envelope | None:
    """Return the receipt of a job's end; None when it has none."""
    kept = receipts.find_receipt(connection, job.id) if job.state in REPEATABLE else None
    if kept is None or kept.attempt != job.attempt:
        return None
    return msgspec.json.decode(kept.envelope, type=Envelope)


def _read(envelope: Envelope, key: bytes) -> HandedReceipt:
    handed = partial(HandedReceipt, envelope, key)
    [first, *more] = envelope.signatures
    if more:
        return handed(None, f"it has {1 + len(more)} signatures, and a worker makes one")
    if first.keyid != key_id(key):
        return handed(None, f"it is signed with the key {first.keyid}, and its worker has {key_id(key)}")
    if not is_signature(key, encode_pae(envelope.payload_type, envelope.payload), first.sig):
        return handed(None, "its signature is wrong: the worker's key did not sign these bytes")
    try:
        return handed(read_receipt(envelope))
    except ReceiptError as error:
        return handed(None, str(error))


class ReceiptCheck:
    """Checks the receipts of the jobs that it was made for."""

    def __init__(self, runs: Mapping[int, KnownRun], key: bytes | None) -> None:
        self._runs = runs
        self._key = key

    def find_fault(self, job: Job, handed: HandedReceipt, outcome: Outcome, produced: Produced) -> str | None:
        """Return what is wrong with the receipt of a job that has just ended; None: nothing."""
        run = self._runs[job.id]
        payload = handed.payload
        if payload is None:
            return handed.fault
        if handed.public_key != self._key:
            return "its worker has another key since it came"
        told = {
            "job": (payload.job, str(job.id)),
            "attempt": (payload.attempt, job.attempt),
            "lambda": (payload.lambda_, str(job.lambda_id)),
            "worker": (payload.worker, str(job.worker_id)),
        }
        return (
            _find_difference("", told)
            or find_subject_fault(payload.claim.subject, run, outcome.usage)
            or _find_difference("claim.subject.", {"journal": (payload.claim.subject.journal, produced.journal)})
            or _find_result_fault(payload.claim.result, outcome, produced)
        )


def _find_result_fault(claimed: RunResult, outcome: Outcome, produced: Produced) -> str | None:
    expected = make_result(outcome)
    if expected is None:
        return "its outcome says nothing of the run: `usage` has no `digests`"
    names = RunResult.__struct_fields__
    told: dict[str, tuple[object, object]] = {
        name: (getattr(claimed, name), getattr(expected, name)) for name in names
    }
    if claimed.output is not None:
        told["output"] = (claimed.output, produced.output or EMPTY_SHA256)
    if claimed.made is not None:
        told["made"] = (claimed.made, produced.made)
    return _find_difference("claim.result.", told)


def _find_difference(where: str, told: Mapping[str, tuple[object, object]]) -> str | None:
    for name, (claimed, known) in told.items():
        if claimed != known:
            return f"{where}{name} is {_show(claimed)}, and the server has {_show(known)}"
    return None


def _show(value: object) -> str:
    return "nothing" if value is None else str(value)[:100]
