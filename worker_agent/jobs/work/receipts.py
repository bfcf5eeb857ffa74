"""Receipts of runs that can be repeated: written down when a job comes, completed and signed when it ends."""

from collections.abc import Callable, Sequence

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedFile, LeasedJob, LeasedLambda, Maybe, Outcome, given
from piecework.protocol.messages.receipts import Envelope
from piecework.receipts.claims import NamedDigest, add_journal, make_result, make_subject
from piecework.receipts.envelope import seal
from piecework.receipts.keys import PrivateKey
from piecework.receipts.payload import EngineFacts, ReceiptPayload, RunClaim, write_payload
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import LeasedTask, RunDraft, write_bounds


def name_files(files: Sequence[LeasedFile]) -> list[NamedDigest]:
    """Return files as a receipt names them."""
    return [NamedDigest(each.name, each.checksum) for each in files]


def find_profile(lambda_: LeasedLambda) -> str | None:
    """Return how runs of a lambda are made repeatable; None: they are not, and have no receipts."""
    if lambda_.record is True:
        return "record"
    return "deterministic" if lambda_.deterministic else None


def draft_receipt(job: LeasedJob, lambda_: LeasedLambda, seed: bytes | None) -> RunDraft | None:
    """Return what is known of a run before it begins; None of one that has no receipt."""
    profile = find_profile(lambda_)
    if profile is None or seed is None:
        return None
    folder = given(job.folder)
    subject = make_subject(
        runtime=lambda_.runtime,
        mode=lambda_.mode,
        profile=profile,
        module=lambda_.codex_checksum,
        input_=job.input_checksum,
        args=job.args,
        env=job.env,
        inputs=name_files(given(job.files) or ()),
        folder=None if folder is None else name_files(folder.files),
        outputs=() if folder is None else folder.outputs,
        ok_codes=given(job.ok_codes) or (),
        limits=write_bounds(Bounds.of(job.limits)),
        seed=seed,
    )
    return RunDraft(job.attempt, lambda_.id, subject)


class ReceiptMaker:
    """Signs what this agent ran. The key never leaves the agent's own process."""

    def __init__(
        self, key: PrivateKey | None, find_worker: Callable[[], Id], find_engine: Callable[[str], EngineFacts]
    ) -> None:
        """``key`` None: nothing is signed.

        ``find_worker`` tells who this agent is, ``find_engine`` what runs the code of a runtime.
        """
        self._key = key
        self._find_worker = find_worker
        self._find_engine = find_engine

    def sign(self, task: LeasedTask, outcome: Outcome) -> Maybe[Envelope]:
        """Return the receipt of a run whose outcome is complete; UNSET when it can have none."""
        if self._key is None or task.draft is None:
            return UNSET
        result, digests = make_result(outcome), outcome.usage.digests
        if result is None or digests is None or (digests.journal is not None and outcome.journal is UNSET):
            return UNSET  # the server has not all of it
        attempt, lambda_, subject = task.draft
        payload = ReceiptPayload(
            version=1,
            job=str(int(task.job)),
            attempt=attempt,
            lambda_=str(int(lambda_)),
            worker=str(int(self._find_worker())),
            claim=RunClaim(subject=add_journal(subject, outcome), result=result),
            engine=self._find_engine(subject.runtime),
        )
        return seal(write_payload(payload), self._key)
