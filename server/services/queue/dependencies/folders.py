"""Files that jobs get in a directory of their own, and give back: reading them from requests, and storing them."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from piecework.protocol.job_files import FILES_MAX, PATH_RULE, find_clash, is_path
from piecework.protocol.messages import BlobRef, Content, JobSpec, Outcome, given, read_ref
from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.dependencies.dependants import AS_FILE
from piecework.server.services.queue.dependencies.filling import fill_files
from piecework.server.services.queue.dependencies.parents import Need, find_parent, read_job_ref
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.dependencies import dependencies
from piecework.server.store.queue.jobs import files, journals
from piecework.server.store.queue.jobs.files import FileKind, FileRow
from piecework.server.store.records import Blob, Job, NewJob
from piecework.server.store.stock import blobs

SUBMITTED_MAX = 100_000
"""Files in one submission."""
SHOWN_CHARS = 200


class NewFile(NamedTuple):
    """A file of a new job."""

    name: str
    blob_id: int
    """0: it is of a job that must end before."""
    content: Blob | None = None
    """The blob, when its row is not stored yet."""
    ref: str = ""
    """The job that it is of, as ``Need.ref`` has it; empty: of none."""
    source: str | None = None
    """The file that that one gives back; None: it is what that produces."""

    @property
    def is_blob(self) -> bool:
        """It is a blob that is there already."""
        return self.content is None and not self.ref

    def identify(self, digests: Mapping[int, bytes]) -> tuple[str, ...]:
        """Return what tells the file from others; of a blob without a digest its id."""
        if self.ref:
            return self.name, self.ref, self.source or ""
        sha256 = self.content.sha256 if self.content else digests.get(self.blob_id, b"")
        return self.name, sha256.hex() or str(self.blob_id)


def read_files(spec: JobSpec, keep: Callable[[bytes], Blob]) -> tuple[NewFile, ...]:
    """Return the files of a job, in the order of their names; ``keep`` makes a blob. Raises InvalidRequest."""
    listed = given(spec.files) or {}
    if len(listed) > FILES_MAX:
        raise InvalidRequest(f"`files` has {len(listed)} files; at most {FILES_MAX} are taken")
    for name in listed:
        if not is_path(name):
            raise InvalidRequest(f"`files` has the file {name[:SHOWN_CHARS]!r}: {PATH_RULE}")
    if clash := find_clash(listed):
        raise InvalidRequest(f"`files` has {clash[:SHOWN_CHARS]!r} as a file, and as a folder of others")
    return tuple([_read_file(f"the file {name!r}", name, listed[name], keep) for name in sorted(listed)])


def read_made(outcome: Outcome, keep: Callable[[bytes], Blob]) -> tuple[NewFile, ...]:
    """Return the files that a job gives back; ``keep`` makes a blob. Raises InvalidRequest."""
    listed = given(outcome.made) or []
    whose = f"of job {outcome.job}"
    if len(listed) > FILES_MAX:
        raise InvalidRequest(f"{len(listed)} files {whose}; at most {FILES_MAX} are taken")
    if len({each.name for each in listed}) < len(listed):
        raise InvalidRequest(f"two files {whose} have one name")
    for each in listed:
        if not is_path(each.name):
            raise InvalidRequest(f"the file {each.name[:SHOWN_CHARS]!r} {whose} is wrong: {PATH_RULE}")
    read = [_read_file(f"the file {each.name!r} {whose}", each.name, each.content, keep) for each in listed]
    if any(each.ref for each in read):
        raise InvalidRequest(f"the files {whose} are bytes or blobs")
    return tuple(read)


def read_journal(outcome: Outcome, keep: Callable[[bytes], Blob]) -> NewFile:
    """Return the journal of a job; ``keep`` makes a blob. Raises InvalidRequest."""
    assert not isinstance(outcome.journal, UnsetType)
    read = _read_file(f"the journal of job {outcome.job}", "journal", outcome.journal, keep)
    if read.ref:
        raise InvalidRequest(f"the journal of job {outcome.job} is wrong: it is bytes or a blob")
    return read


def _read_file(what: str, name: str, ref: BlobRef, keep: Callable[[bytes], Blob]) -> NewFile:
    if isinstance(ref, Content) and not (ref.job is UNSET and ref.file is UNSET):
        return _read_source(what, name, ref)
    try:
        content, blob_id = read_ref(ref)
    except ValueError as error:
        raise InvalidRequest(f"{what} is wrong: {error}") from error
    if content is None:
        if blob_id is None:
            raise InvalidRequest(f"{what} is wrong: it has neither bytes nor a blob")
        return NewFile(name, blob_id)
    blob = keep(content)
    return NewFile(name, blob.id, blob)


def _read_source(what: str, name: str, ref: Content) -> NewFile:
    """Return a file that is of another job."""
    if ref.is_inline or ref.id is not UNSET or ref.job is UNSET:
        raise InvalidRequest(f"{what} is wrong: `job`, and with it perhaps `file`, stands alone")
    source = given(ref.file)
    if source is not None and not is_path(source):
        raise InvalidRequest(f"{what} is wrong: it is of the file {source[:SHOWN_CHARS]!r}; {PATH_RULE}")
    return NewFile(name, 0, ref=read_job_ref(ref.job, "files"), source=source)


def add_needs(needs: tuple[Need, ...], listed: Sequence[NewFile]) -> tuple[Need, ...]:
    """Return what a job waits for, with what it waits for because of its files."""
    own = dict.fromkeys(Need(each.ref, AS_FILE if each.source is None else "") for each in listed if each.ref)
    return (*needs, *(need for need in own if need not in needs))


def check_total(total: int) -> None:
    """Raise InvalidRequest when the jobs of one submission have too many files together."""
    if total > SUBMITTED_MAX:
        raise InvalidRequest(f"the jobs have {total} files together; one submission takes {SUBMITTED_MAX}")


def store_files(
    connection: Connection,
    new: Sequence[tuple[NewJob, Sequence[NewFile]]],
    ids: Sequence[int],
    labels: Mapping[str, int],
) -> None:
    """Store the files of new jobs; jobs that are alike share their blobs.

    ``ids`` and ``labels`` are those of all jobs of the submission. Raises InvalidRequest for a file that a job
    which has finished did not give back.
    """
    listed = ((job.id, own) for job, own in new)
    rows = _store(connection, "given", listed, lambda ref: find_parent(ref, ids, labels))
    pairs = {(each.job_id, each.parent_id) for each in rows if each.parent_id is not None}
    outside = {parent for _, parent in pairs} - {job.id for job, _ in new}
    ends = dependencies.lock_ends(connection, outside) if outside else {}
    lacking = fill_files(connection, [(child, ends[parent]) for child, parent in pairs if parent in ends])
    for job, _ in new:
        if job.id in lacking and job.options is not None and job.options.on_failure == "cancel":
            raise InvalidRequest(lacking[job.id])


def store_made(
    connection: Connection, made: Sequence[tuple[Job, Sequence[NewFile]]], final: Container[int]
) -> None:
    """Store the files that jobs give back: those that are final now, and that were asked for any."""
    kept = ((job.id, listed) for job, listed in made if job.id in final and job.options.has_folder)
    _store(connection, "made", kept)


def store_journals(connection: Connection, brought: Sequence[tuple[int, NewFile]]) -> None:
    """Store the journals of jobs that are final now."""
    blobs.add_blobs(connection, [each.content for _, each in brought if each.content is not None])
    journals.add_journals(connection, [(job_id, each.blob_id) for job_id, each in brought])


def _store(
    connection: Connection,
    kind: FileKind,
    new: Iterable[tuple[int, Sequence[NewFile]]],
    find: Callable[[str], int] = int,
) -> list[FileRow]:
    """Store files, and their blobs that are new; ``find`` returns the job that a reference means."""
    fresh: dict[int, Blob] = {}
    rows: list[FileRow] = []
    for job_id, listed in new:
        for each in listed:
            if each.content is not None:
                fresh[each.blob_id] = each.content
            row = FileRow(job_id, each.name, each.blob_id)
            rows.append(FileRow(job_id, each.name, None, find(each.ref), each.source) if each.ref else row)
    if rows:
        blobs.add_blobs(connection, list(fresh.values()))
        files.add_files(connection, kind, rows)
    return rows
