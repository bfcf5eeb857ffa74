"""The keys of bulk submissions: a submission whose answer was lost can be repeated."""

import struct
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from server.store.tables import submissions

_insert = insert(submissions)
_by_key = select(submissions.c.digest, submissions.c.job_ids).where(submissions.c.key == bindparam("which"))
_forget = delete(submissions).where(submissions.c.created_at < bindparam("before"))


def add_submission(connection: Connection, key: str, digest: bytes, job_ids: Sequence[int], now: int) -> None:
    packed = struct.pack(f">{len(job_ids)}q", *job_ids)
    connection.execute(_insert, {"key": key, "digest": digest, "job_ids": packed, "created_at": now})


def find_submission(connection: Connection, key: str) -> tuple[bytes, list[int]] | None:
    """Return (digest of what was submitted, ids of its jobs in order); None when the key is new."""
    row = connection.execute(_by_key, {"which": key}).first()
    return (row.digest, list(struct.unpack(f">{len(row.job_ids) // 8}q", row.job_ids))) if row else None


def forget_submissions(connection: Connection, before: int) -> int:
    """Forget keys of submissions that are older than ``before``. Returns how many there were."""
    return connection.execute(_forget, {"before": before}).rowcount
