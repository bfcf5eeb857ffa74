"""The receipts of jobs: one of each, that of its last attempt."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables.receipts import receipts


class StoredReceipt(NamedTuple):
    """A receipt as it is kept."""

    job_id: int
    attempt: int
    """The attempt that it is of."""
    envelope: bytes
    """JSON."""


_insert = Statement(insert(receipts), "job_id", "attempt", "envelope")
_one = Statement(select(receipts).where(receipts.c.job_id == bindparam("job")), "job")
_known = ByList(select(receipts.c.job_id), receipts.c.job_id)
_delete = Statement(delete(receipts).where(receipts.c.job_id == bindparam("job")), "job")


def put_receipts(connection: Connection, new: Sequence[StoredReceipt]) -> None:
    """Store the receipts of jobs, in place of what they had."""
    if new:
        remove_receipts(connection, [each.job_id for each in new])
        _insert.run_many(connection, new)


def find_receipt(connection: Connection, job_id: int) -> StoredReceipt | None:
    row = _one.row(connection, job_id)
    return StoredReceipt(*row) if row else None


def remove_receipts(connection: Connection, job_ids: Iterable[int]) -> None:
    """Remove the receipts of those of some jobs that have one."""
    _delete.run_many(connection, _known.rows(connection, job_ids))
