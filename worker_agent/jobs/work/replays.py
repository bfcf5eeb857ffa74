"""Replays that the server asks for: from a leased job to a task, and from its result to what came of it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from piecework.client import NotFound
from piecework.protocol.bodies import encode
from piecework.protocol.codes import ErrorKind
from piecework.protocol.engines import ENGINES, Engine
from piecework.protocol.messages import JobError, LeasedFile, LeasedJob, LeasedLambda, given
from piecework.receipts.claims import EMPTY_SHA256
from piecework.receipts.envelope import read_receipt
from piecework.receipts.errors import ReceiptError
from piecework.receipts.parts import write_list
from piecework.receipts.payload import RunSubject
from piecework.receipts.replays import Replay
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.work.comparing import compare
from piecework.worker_agent.jobs.work.fetching import BlobFetcher
from piecework.worker_agent.jobs.work.receipts import draft_receipt
from piecework.worker_agent.runtimes.base import OURS
from piecework.worker_agent.runtimes.linkage.installed import find_version
from piecework.worker_agent.tasks import File, LeasedTask, ReplayDraft, Result, Task

COMPARED_BYTES = 64 * 1024 * 1024
"""No larger output is read into the memory of an agent."""
GONE = "the job whose run was to be done again is gone, or has no receipt any more"


def draft_replay(job: LeasedJob, lambda_: LeasedLambda, engine: Engine) -> ReplayDraft:
    """Return what a replay is to come to. ``engine``: what runs it when the server does not say.

    Raises ReceiptError when the run cannot be repeated: what the server gives is not what its receipt names.
    """
    asked = given(job.replay)
    envelope = given(asked.receipt) if asked else None
    if asked is None or envelope is None:
        raise ReceiptError(GONE)
    payload = read_receipt(envelope)
    subject = payload.claim.subject
    draft = draft_receipt(job, lambda_, bytes.fromhex(subject.seed))
    if draft is None:
        raise ReceiptError("its lambda's runs cannot be repeated")
    _compare_subjects(structs.replace(subject, journal=None, journal_cut=False), draft.subject)
    journal = given(asked.journal)
    if subject.profile == "record" and subject.journal is None:
        raise ReceiptError("the run was recorded, and its journal was not kept")
    if subject.journal is not None and (journal is None or journal.checksum != subject.journal):
        raise ReceiptError("the journal is gone")
    chosen = given(asked.engine) or engine
    known = next((each for each in ENGINES if each == chosen), None)
    if known is None:
        raise ReceiptError(f"this worker has no engine {chosen[:100]!r}; it has {', '.join(ENGINES)}")
    return ReplayDraft(payload, known, journal, given(asked.output), tuple(given(asked.made) or ()))


def _compare_subjects(then: RunSubject, now: RunSubject) -> None:
    for name in RunSubject.__struct_fields__:
        if getattr(then, name) != getattr(now, name):
            raise ReceiptError(f"its {name} is another than that of its receipt")


def write_replay(job: LeasedJob, task: Task, draft: ReplayDraft, journal: Path | None) -> LeasedTask:
    """Make of a job's task one that reaches nothing, and takes what came from outside from the journal."""
    sealed = structs.replace(
        task,
        seed=bytes.fromhex(draft.payload.claim.subject.seed),
        journal=None if journal is None else File(str(journal)),
        engine=draft.engine,
        grants=None,
    )
    return LeasedTask(job.job, job.lease, sealed, replay=draft)


class FetchedRun:
    """The run that a replay is compared with. Its parts are fetched only when something differs."""

    def __init__(self, draft: ReplayDraft, fetch: Callable[[LeasedFile], Path]) -> None:
        self.claim = draft.payload.claim
        self._output = draft.output
        self._made = write_list((each.name, each.checksum or EMPTY_SHA256) for each in draft.made)
        self._fetch = fetch

    def read(self, digest: str, most_bytes: int, /) -> bytes:
        """Return the bytes of a part. Raises ReceiptError when it is not there, or too large for an agent."""
        if digest == EMPTY_SHA256:
            return b""
        if digest == hashlib.sha256(self._made).hexdigest():
            return self._made
        if self._output is None or self._output.checksum != digest:
            raise ReceiptError(f"the server has nothing with the digest {digest}")
        if self._output.size > min(most_bytes, COMPARED_BYTES):
            raise ReceiptError(f"it had {self._output.size} bytes; at most {COMPARED_BYTES} are compared here")
        try:
            return self._fetch(self._output).read_bytes()
        except (NotFound, AgentError) as error:
            raise ReceiptError(f"what it wrote then is gone: {error}") from error


def report_replay(task: LeasedTask, draft: ReplayDraft, result: Result, fetcher: BlobFetcher) -> bytes | JobError:
    """Return what came of a replay, as JSON; an error when nothing did. Raises NotWantedError, OSError."""

    def fetch(file: LeasedFile) -> Path:
        return fetcher.get([ref_of(task)], file.blob, file.checksum, size_bytes=file.size, lasting=False)

    error = result.error
    if error is not None and error.kind in OURS and result.difference is None:
        return JobError(kind=ErrorKind.INPUT, message=f"the run cannot be repeated here: {error.message}")
    try:
        found = compare(FetchedRun(draft, fetch), task.task, result)
    except ReceiptError as failure:
        return JobError(kind=ErrorKind.INPUT, message=f"the replay cannot be compared: {failure}")
    told = Replay(
        **structs.asdict(found),
        engine=draft.engine,
        wasmtime=find_version(),
        wall_s=result.usage.wall_s or 0.0,
    )
    return encode(told)
