"""What makes two submissions the same. An order counts only where there is one: keys of maps and tags have none.

Earlier versions kept digests of what was sent, in the order in which it came. A repetition of such a submission in
that order is known, too.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from piecework.protocol.bodies import MSGPACK, encode
from piecework.protocol.messages import BlobRef, Content, JobSpec
from piecework.protocol.states import JobState
from piecework.server.services.queue.dependencies.folders import NewFile
from piecework.server.services.queue.dependencies.parents import Need
from piecework.server.services.queue.lifecycle.memo_terms import MemoTerms
from piecework.server.store.job_keys import NO_KEYS
from piecework.server.store.records import NewJob

NO_DIGESTS: Mapping[int, bytes] = MappingProxyType({})
_FIELDS = [
    (each.name, Any, msgspec.field(default=msgspec.UNSET, name=each.encode_name))
    for each in msgspec.structs.fields(JobSpec)
]
_AFTER_TAGS = 1 + [name for name, *_ in _FIELDS].index("tags")
_SENT = msgspec.defstruct("_SENT", [*_FIELDS[:_AFTER_TAGS], ("extra_tag", Any, None), *_FIELDS[_AFTER_TAGS:]])


class Identity:
    """The digest of a submission, and others under which the same may be known."""

    def __init__(self, digest: bytes, others: Callable[[], Iterable[bytes]]) -> None:
        """``others`` is asked only when the digest is not the one that is known."""
        self.digest = digest
        self._others = others

    def matches(self, known: bytes | None) -> bool:
        """Tell whether what is stored under a digest is the same submission."""
        return known == self.digest or any(known == each for each in self._others())


@dataclass(eq=False)
class Terms:
    """What a job asks for, all but its input and its key. Jobs that are alike share it."""

    job: NewJob
    """Without id, input and key."""
    when: tuple[int | None, float | None, int | None]
    """The times that it was submitted with: ``run_at``, ``delay_s`` and ``expires_at``."""
    needs: tuple[Need, ...] = ()
    """What it waits for, but for its input."""
    group: str | None = None
    """The group that it joins, as it was named."""
    files: tuple[NewFile, ...] = ()
    """What is in its own directory before it starts."""
    memo: MemoTerms | None = None
    """What decides its result, beside its input and files; None: that is not kept."""

    @cached_property
    def text(self) -> bytes:
        """What the same terms have alike, in whatever order they came."""
        job, options, retry_on = self.job, self.job.options, None
        if options is not None and options.retry_on is not None:
            retry_on = sorted(set(options.retry_on))
            options = msgspec.structs.replace(options, retry_on=())
        is_paused = job.state is JobState.PAUSED
        fields = [job.lambda_id, job.priority, sorted(job.tags), options, retry_on, self.when, is_paused]
        # What it may have since a later version is there only when it is.
        if self.needs or self.group:
            fields += [sorted(self.needs), self.group]
        if job.keys != NO_KEYS:
            fields.append(job.keys)
        return msgspec.json.encode(fields, order="deterministic")

    def sum_files(self, digests: Mapping[int, bytes] = NO_DIGESTS) -> bytes:
        """Return what tells its files; empty when it has none. ``digests``: of blobs that are named by id."""
        if not self.files:
            return b""
        return _digest(msgspec.json.encode([each.identify(digests) for each in self.files]))

    @property
    def text_as_sent(self) -> bytes:
        """What earlier versions took the digest of."""
        job = self.job
        if self.needs or self.group:
            return self.text
        return msgspec.json.encode((job.lambda_id, job.priority, job.tags, job.options, self.when))


class Input(NamedTuple):
    """The input of a job, as far as it tells a repetition."""

    sha256: bytes
    """Of its bytes; empty when there is none."""
    meaning: bytes
    """The same for JSON values that differ in the order of keys; else ``sha256``."""


def input_meaning(ref: BlobRef | None, content: bytes) -> bytes | None:
    """Return the digest of a JSON value whatever the order of its keys; None when the input is no such value."""
    if not isinstance(ref, Content) or ref.json_ is msgspec.UNSET:
        return None
    ordered = msgspec.json.encode(msgspec.json.decode(content), order="deterministic")
    return hashlib.sha256(ordered).digest()


def identify_job(terms: Terms, given: Input, digests: Mapping[int, bytes] = NO_DIGESTS) -> Identity:
    """Return what tells a repetition of a job; ``digests``: the SHA-256 of blobs that are named by id.

    Input and files count by their bytes: what was uploaded again has another id.
    """
    files = terms.sum_files(digests)

    def others() -> set[bytes]:
        return {_digest(each + files + part) for each in (terms.text, terms.text_as_sent) for part in given}

    return Identity(_digest(terms.text + files + given.meaning), others)


def identify_submission(specs: Sequence[JobSpec], jobs: Iterable[tuple[bytes, object, str | None]]) -> Identity:
    """Return what tells a repetition of many jobs: the text of its terms, its input and its key, of each."""
    return Identity(_digest(encode(list(jobs), MSGPACK)), lambda: (_digest(_write_as_sent(specs)),))


def _write_as_sent(specs: Sequence[JobSpec]) -> bytes:
    """Return the text that earlier versions took the digest of. Theirs had one field more, beside the tags."""
    names = [each.name for each in msgspec.structs.fields(JobSpec)]
    sent = ({name: getattr(spec, name) for name in names} for spec in specs)
    return encode([_SENT(**each | {"lambda_": str(each["lambda_"])}) for each in sent], MSGPACK)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
