"""The keys of bulk submissions: a submission whose answer was lost can be repeated."""

import struct
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import submissions

_insert = Statement(insert(submissions), "key", "digest", "job_ids", "created_at")
_by_key = Statement(
    select(submissions.c.digest, submissions.c.job_ids).where(submissions.c.key == bindparam("which")), "which"
)
_old = Statement(
    select(submissions.c.key)
    .where(submissions.c.created_at < bindparam("before"))
    .order_by(submissions.c.created_at)
    .limit(bindparam("limit")),
    "before", "limit",
)  # fmt: skip
_forget = Statement(delete(submissions).where(submissions.c.key == bindparam("which")), "which")


def add_submission(connection: Connection, key: str, digest: bytes, job_ids: Sequence[int], now: int) -> None:
    packed = struct.pack(f">{len(job_ids)}q", *job_ids)
    _insert.run(connection, key, digest, packed, now)


def find_submission(connection: Connection, key: str) -> tuple[bytes, list[int]] | None:
    """Return (digest of what was submitted, ids of its jobs in order); None when the key is new."""
    row = _by_key.row(connection, key)
    if row is None:
        return None
    digest, packed = row
    return digest, list(struct.unpack(f">{len(packed) // 8}q", packed))


def forget_submissions(connection: Connection, before: int, limit: int) -> int:
    """Forget some keys of submissions that are older than ``before``. Returns how many."""
    rows = _old.rows(connection, before, limit)
    _forget.run_many(connection, rows)
    return len(rows)
