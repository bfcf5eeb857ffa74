"""Files that jobs got in a directory of their own, and gave back."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, insert, literal_column, select, update

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import blobs, job_files

FileKind = Literal["given", "made"]
"""``given``: it was in the directory before the job started. ``made``: the job gave it back."""


class StoredFile(NamedTuple):
    """A file that a job gets, got or gave back."""

    name: str
    blob_id: int | None
    """0: it is empty; None: it is not there yet, or not to be had."""
    sha256: bytes = b""
    """Empty when there is no such blob."""
    size: int = 0
    parent_id: int | None = None
    """The job, or group, that it is of; None: it came with its job."""
    source: str | None = None
    """The file that that one gave back; None: it is what that produced."""


class FileRow(NamedTuple):
    """A file that is to be stored."""

    job_id: int
    name: str
    blob_id: int | None
    parent_id: int | None = None
    source: str | None = None


def _select(kind: FileKind) -> Select[Any]:
    columns = (job_files.c.blob_id, blobs.c.sha256, blobs.c.size, job_files.c.parent_id, job_files.c.source)
    return (
        select(job_files.c.job_id, job_files.c.name, *columns)
        .outerjoin(blobs, blobs.c.id == job_files.c.blob_id)
        .where(job_files.c.kind == literal_column(f"'{kind}'"))
        .order_by(job_files.c.job_id, job_files.c.name)
    )


_insert = Statement(insert(job_files), "job_id", "kind", "name", "blob_id", "parent_id", "source")
_fill = Statement(
    update(job_files)
    .where(
        job_files.c.job_id == bindparam("job"),
        job_files.c.kind == literal_column("'given'"),
        job_files.c.name == bindparam("called"),
    )
    .values(blob_id=bindparam("blob")),
    "job", "called", "blob",
)  # fmt: skip
_of_kind = {kind: ByList(_select(kind), job_files.c.job_id) for kind in ("given", "made")}
_of_jobs = ByList(select(job_files.c.job_id, job_files.c.blob_id), job_files.c.job_id)
_delete = Statement(delete(job_files).where(job_files.c.job_id == bindparam("job")), "job")
_delete_made = Statement(
    delete(job_files).where(job_files.c.job_id == bindparam("job"), job_files.c.kind == literal_column("'made'")),
    "job",
)


def add_files(connection: Connection, kind: FileKind, files: Iterable[FileRow]) -> None:
    _insert.run_many(connection, [(job_id, kind, *rest) for job_id, *rest in files])


def fill_files(connection: Connection, files: Sequence[tuple[int, str, int | None]]) -> None:
    """Say what is in files that were given, now that it is known: each by its job, its name, and its blob."""
    _fill.run_many(connection, files)


def find_files(connection: Connection, kind: FileKind, job_ids: Iterable[int]) -> dict[int, list[StoredFile]]:
    """Return the files of jobs that have some, in the order of their names, by job id."""
    found = defaultdict[int, list[StoredFile]](list)
    for job_id, name, blob_id, sha256, size, *whose in _of_kind[kind].rows(connection, job_ids):
        found[job_id].append(StoredFile(name, blob_id, sha256 or b"", size or 0, *whose))
    return dict(found)


def forget_made(connection: Connection, job_ids: Collection[int]) -> None:
    """Forget what jobs gave back, which are run again."""
    _delete_made.run_many(connection, [(id_,) for id_ in job_ids])


def remove_files(connection: Connection, job_ids: Iterable[int]) -> set[tuple[int, int]]:
    """Remove the files of jobs. Returns pairs of a job and a blob that it had."""
    found = _of_jobs.rows(connection, job_ids)
    _delete.run_many(connection, [(id_,) for id_ in {id_ for id_, _ in found}])
    return {(job_id, blob_id) for job_id, blob_id in found if blob_id}
