"""The kept end of each attempt's log."""

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import logs
from piecework.server.store.records import Log, extend_log

ATTEMPTS_KEPT = 10
"""The logs of so many of a job's attempts are kept, the newest."""

_key = (logs.c.job_id == bindparam("job"), logs.c.attempt == bindparam("try"))
_one = Statement(select(logs.c.start, logs.c.content, logs.c.attempt).where(*_key), "job", "try")
_latest = Statement(
    select(logs.c.start, logs.c.content, logs.c.attempt)
    .where(logs.c.job_id == bindparam("job"))
    .order_by(logs.c.attempt.desc())
    .limit(1),
    "job",
)
_all = Statement(
    select(logs.c.start, logs.c.content, logs.c.attempt)
    .where(logs.c.job_id == bindparam("job"))
    .order_by(logs.c.attempt),
    "job",
)
_drop = Statement(
    delete(logs).where(logs.c.job_id == bindparam("job"), logs.c.attempt <= bindparam("last")), "job", "last"
)
_insert = Statement(insert(logs), "job_id", "attempt", "start", "content")
_update = Statement(
    update(logs).where(*_key).values(start=bindparam("from"), content=bindparam("bytes")),
    "job", "try", "from", "bytes",
)  # fmt: skip


def find_log(connection: Connection, job_id: int, attempt: int | None = None) -> Log | None:
    """Return the log of an attempt; of the latest that logged anything when none is named."""
    row = _latest.row(connection, job_id) if attempt is None else _one.row(connection, job_id, attempt)
    return Log(*row) if row else None


def list_logs(connection: Connection, job_id: int) -> list[Log]:
    """Return the logs that are kept of a job's attempts, oldest first."""
    return [Log(*row) for row in _all.rows(connection, job_id)]


def put_log(connection: Connection, job_id: int, log: Log) -> None:
    """Store an attempt's log, in place of what was kept of it. Of many attempts the newest are kept."""
    values = (job_id, log.attempt, log.start, log.content)
    if _update.run(connection, *values) == 0:
        _insert.run(connection, *values)
        if log.attempt > ATTEMPTS_KEPT:
            _drop.run(connection, job_id, log.attempt - ATTEMPTS_KEPT)


def append_log(connection: Connection, job_id: int, part: Log, limit_bytes: int) -> None:
    """Add a part to an attempt's log and keep the newest ``limit_bytes``, as ``extend_log`` does."""
    row = _one.row(connection, job_id, part.attempt)
    old = Log(*row) if row else None
    new = extend_log(old, part, limit_bytes)
    if new != old:
        put_log(connection, job_id, new)
