"""Files that jobs get in a directory of their own, and give back: reading them from requests, and storing them."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET

from piecework.protocol.job_files import FILES_MAX, PATH_RULE, find_clash, is_path
from piecework.protocol.messages import BlobRef, Content, JobSpec, Outcome, given, read_ref
from server.errors import InvalidRequest
from server.store.engine.database import Connection
from server.store.queue import files
from server.store.queue.files import FileKind
from server.store.records import Blob, Job
from server.store.stock import blobs

SUBMITTED_MAX = 100_000
"""Files in one submission."""
SHOWN_CHARS = 200


class NewFile(NamedTuple):
    """A file of a new job."""

    name: str
    blob_id: int
    content: Blob | None = None
    """The blob, when its row is not stored yet."""

    def identify(self, digests: Mapping[int, bytes]) -> tuple[str, str]:
        """Return what tells the file from others; of a blob without a digest its id."""
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
    return tuple([_read_file(f"the file {each.name!r} {whose}", each.name, each.content, keep) for each in listed])


def _read_file(what: str, name: str, ref: BlobRef, keep: Callable[[bytes], Blob]) -> NewFile:
    if isinstance(ref, Content) and ref.job is not UNSET:
        raise InvalidRequest(f"{what} is wrong: `inputs` names jobs whose outputs are files")
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


def check_total(given_files: Iterable[Sequence[NewFile]]) -> None:
    """Raise InvalidRequest when the jobs of one submission have too many files together."""
    total = sum(map(len, given_files))
    if total > SUBMITTED_MAX:
        raise InvalidRequest(f"the jobs have {total} files together; one submission takes {SUBMITTED_MAX}")


def store_files(connection: Connection, new: Iterable[tuple[int, Sequence[NewFile]]]) -> None:
    """Store the files of new jobs, each with the job's id; jobs that are alike share their blobs."""
    _store(connection, "given", new)


def store_made(
    connection: Connection, made: Sequence[tuple[Job, Sequence[NewFile]]], final: Container[int]
) -> None:
    """Store the files that jobs give back: those that are final now, and that were asked for any."""
    _store(
        connection,
        "made",
        ((job.id, listed) for job, listed in made if job.id in final and job.options.has_folder),
    )


def _store(connection: Connection, kind: FileKind, new: Iterable[tuple[int, Sequence[NewFile]]]) -> None:
    fresh: dict[int, Blob] = {}
    rows: list[tuple[int, str, int]] = []
    for job_id, listed in new:
        fresh |= {each.blob_id: each.content for each in listed if each.content is not None}
        rows += [(job_id, each.name, each.blob_id) for each in listed]
    if rows:
        blobs.add_blobs(connection, list(fresh.values()))
        files.add_files(connection, kind, rows)
