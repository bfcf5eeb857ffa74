"""Jobs that were checked and are about to be stored: what they name, and which of them were submitted before."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from piecework.protocol.messages import JobSpec
from piecework.server.errors import BlobNotFound, KeyConflict
from piecework.server.services.queue.dependencies.parents import Need
from piecework.server.services.queue.submitting.identity import (
    Identity,
    Input,
    Terms,
    identify_job,
    identify_submission,
)
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Blob, NewJob
from piecework.server.store.stock import blobs


class Draft(NamedTuple):
    """A job that was checked, and its input's bytes when they came along."""

    job: NewJob
    content: Blob | None
    terms: Terms
    meaning: bytes | None
    """The digest of an input that is a JSON value, whatever the order of its keys; or whose output it is."""
    needs: tuple[Need, ...]
    """What it waits for."""
    label: str | None
    """What the others call it."""

    def identify(self, inputs: dict[int, bytes]) -> Identity:
        """Return what tells a repetition of the job; ``inputs`` has the SHA-256 of blobs that are named by id."""
        sha256 = self.find_input(inputs)
        return identify_job(self.terms, Input(sha256, self.meaning or sha256), inputs)

    def find_input(self, inputs: dict[int, bytes]) -> bytes:
        """Return the SHA-256 of the input, empty bytes for none."""
        return self.content.sha256 if self.content else inputs.get(self.job.input_id, b"")


def find_inputs(connection: Connection, drafts: Sequence[Draft]) -> dict[int, bytes]:
    """Return the SHA-256 of the blobs that are named by id. Raises BlobNotFound when one does not exist."""
    named = {draft.job.input_id for draft in drafts if draft.content is None} - {0}
    files = {each.blob_id: each.name for draft in drafts for each in draft.terms.files if each.is_blob}
    found = blobs.hold_blobs(connection, named | files.keys())
    if missing := named - found.keys():
        raise BlobNotFound(f"the input {min(missing)} does not exist: BLOB data object is not exist")
    if missing := files.keys() - found.keys():
        raise BlobNotFound(f"the blob {min(missing)} of the file {files[min(missing)]} does not exist")
    return {id_: sha256 for id_, (sha256, _) in found.items()}


def identify_all(specs: Sequence[JobSpec], drafts: Iterable[Draft]) -> Identity:
    """Return what tells a repetition of a whole submission. Inputs that are named by id count by that here."""
    parts = (
        (
            each.terms.text + each.terms.sum_files(),
            each.meaning or (each.content.sha256 if each.content else each.job.input_id),
            each.job.key,
        )
        for each in drafts
    )
    return identify_submission(specs, parts)


def recognize(
    connection: Connection, drafts: Sequence[Draft], inputs: dict[int, bytes]
) -> tuple[list[int], list[Draft]]:
    """Tell jobs that are new from those whose key is known. Returns all ids in order, and the new drafts."""
    taken = jobs.find_by_keys(connection, (draft.job.key for draft in drafts if draft.job.key is not None))
    ids, fresh = [], []
    for draft in drafts:
        job = draft.job
        if job.key is None:
            ids.append(job.id)
            fresh.append(draft)
            continue
        identity = draft.identify(inputs)
        if job.key not in taken:
            ids.append(job.id)
            fresh.append(draft._replace(job=job._replace(key_digest=identity.digest)))
            taken[job.key] = (job.id, identity.digest)
            continue
        id_, digest = taken[job.key]
        if not identity.matches(digest):
            raise KeyConflict(f"job {id_} has the key {job.key!r} and other content")
        ids.append(id_)
    return ids, fresh
