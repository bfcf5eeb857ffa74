"""The kept end of each attempt's log."""

from sqlalchemy import Connection, bindparam, insert, select, update

from server.store.records import Log
from server.store.tables import logs

_key = (logs.c.job_id == bindparam("job"), logs.c.attempt == bindparam("try"))
_one = select(logs.c.start, logs.c.content, logs.c.attempt).where(*_key)
_latest = (
    select(logs.c.start, logs.c.content, logs.c.attempt)
    .where(logs.c.job_id == bindparam("job"))
    .order_by(logs.c.attempt.desc())
    .limit(1)
)
_insert = insert(logs)
_update = update(logs).where(*_key)


def find_log(connection: Connection, job_id: int) -> Log | None:
    """Return the log of the job's latest attempt that logged anything."""
    row = connection.execute(_latest, {"job": job_id}).first()
    return Log(*row) if row else None


def put_log(connection: Connection, job_id: int, log: Log) -> None:
    """Store an attempt's log, in place of what was kept of it."""
    key = {"job": job_id, "try": log.attempt}
    values = {"start": log.start, "content": log.content}
    if connection.execute(_update, key | values).rowcount == 0:
        connection.execute(_insert, {"job_id": job_id, "attempt": log.attempt, **values})


def append_log(connection: Connection, job_id: int, part: Log, limit_bytes: int) -> None:
    """Add a part to an attempt's log and keep the newest ``limit_bytes``.

    ``part.start`` says where the part belongs: what is there already is not added twice, and a gap (a part that
    got lost on its way) drops what came before it.
    """
    row = connection.execute(_one, {"job": job_id, "try": part.attempt}).first()
    old = Log(*row) if row else Log(part.start, b"", part.attempt)
    if part.end <= old.end and row:
        return
    if part.start > old.end:
        old = Log(part.start, b"", part.attempt)
    content = old.content + part.content[max(0, old.end - part.start) :]
    dropped = max(0, len(content) - limit_bytes)
    put_log(connection, job_id, Log(old.start + dropped, content[dropped:], part.attempt))
