"""Outcomes on their way to the server. Each is handed out once, until its request is known to have failed."""

from collections import deque
from collections.abc import Iterable, Iterator

from piecework.protocol.messages import BlobRef, Content, LeasedJob, LeaseRef, Outcome, OutcomeAck, given
from piecework.worker_agent.tasks import LeasedTask

BATCH_MAX = 400
"""Outcomes in one request: as many as it may bring jobs."""
BATCH_BYTES = 4 * 1024 * 1024
"""Outcomes of about this size fill one request, however few they are."""
FRAME_BYTES = 256
"""What an outcome takes beside its output and its log, about."""


class Outbox:
    """A queue of outcomes, one for each lease. Not locked: the lease table that owns it is."""

    def __init__(self) -> None:
        self._waiting: deque[Outcome] = deque()
        self._sent: dict[LeaseRef, Outcome] = {}

    def put(self, outcome: Outcome) -> None:
        """Add the end of a lease."""
        self._waiting.append(outcome)

    def take(self) -> list[Outcome]:
        """Hand out the oldest outcomes for one request; each ends with ``settle`` or ``put_back``."""
        batch: list[Outcome] = []
        size_bytes = 0
        while self._waiting and len(batch) < BATCH_MAX and size_bytes < BATCH_BYTES:
            outcome = self._waiting.popleft()
            size_bytes += measure_outcome(outcome)
            batch.append(outcome)
            self._sent[ref_of(outcome)] = outcome
        return batch

    def put_back(self, batch: Iterable[Outcome]) -> None:
        """Let outcomes wait again, in front, because it is not known that they arrived."""
        back = [outcome for outcome in batch if self._sent.pop(ref_of(outcome), None)]
        self._waiting.extendleft(reversed(back))

    def settle(self, refs: Iterable[LeaseRef]) -> None:
        """Drop outcomes that the server has answered for."""
        for ref in refs:
            self._sent.pop(ref, None)

    @property
    def waiting(self) -> int:
        """How many outcomes ``take`` could hand out."""
        return len(self._waiting)

    def __len__(self) -> int:
        """Return how many outcomes are not answered for."""
        return len(self._waiting) + len(self._sent)

    def refs(self) -> Iterator[LeaseRef]:
        """Go through the leases of all outcomes that are not answered for."""
        yield from map(ref_of, self._waiting)
        yield from self._sent


def measure_outcome(outcome: Outcome) -> int:
    """Return about how many bytes an outcome takes in a request."""
    size = FRAME_BYTES
    if isinstance(outcome.log, bytes):
        size += len(outcome.log)
    if receipt := given(outcome.receipt):
        size += len(receipt.payload) + FRAME_BYTES
    for made in outcome.made or ():
        size += _measure_content(made.content)
    return size + _measure_content(outcome.output) + _measure_content(outcome.journal or None)


def _measure_content(content: BlobRef | None) -> int:
    return len(content.raw) if isinstance(content, Content) and isinstance(content.raw, bytes) else 0


def ref_of(whose: Outcome | OutcomeAck | LeasedJob | LeasedTask) -> LeaseRef:
    """Return the lease that something belongs to. The jobs of one contract may share their token."""
    return LeaseRef(job=whose.job, lease=whose.lease)
