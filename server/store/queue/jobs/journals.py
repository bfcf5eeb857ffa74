"""The journals of jobs whose lambdas are recorded."""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import job_journals

_insert = Statement(insert(job_journals), "job_id", "blob_id")
_of_jobs = ByList(select(job_journals.c.job_id, job_journals.c.blob_id), job_journals.c.job_id)
_delete = Statement(delete(job_journals).where(job_journals.c.job_id == bindparam("job")), "job")


def add_journals(connection: Connection, pairs: Iterable[tuple[int, int]]) -> None:
    """Note which blob is the journal of which job, in the place of an older one."""
    new = dict(pairs)
    _delete.run_many(connection, [(id_,) for id_ in new])
    _insert.run_many(connection, list(new.items()))


def find_journal(connection: Connection, job_id: int) -> int | None:
    """Return the blob with a job's journal; None when there is none."""
    return next((blob_id for _, blob_id in _of_jobs.rows(connection, [job_id])), None)


def forget_journals(connection: Connection, job_ids: Collection[int]) -> None:
    """Forget the journals of jobs that are run again."""
    _delete.run_many(connection, [(id_,) for id_ in job_ids])


def remove_journals(connection: Connection, job_ids: Iterable[int]) -> set[tuple[int, int]]:
    """Remove the journals of jobs. Returns pairs of a job and the blob that it had."""
    found = set(_of_jobs.rows(connection, job_ids))
    _delete.run_many(connection, [(id_,) for id_, _ in found])
    return {(job_id, blob_id) for job_id, blob_id in found}
