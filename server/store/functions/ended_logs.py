"""The end of what replicas logged that are no more: whoever asks why one ended finds it here for a while."""

from sqlalchemy import Connection, bindparam, delete, insert, select

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import workers
from piecework.server.store.engine.tables.functions import ended_logs, replicas
from piecework.server.store.functions.kept_logs import KeptLog
from piecework.server.store.records import Log

KEPT = 3
"""Of a revision. Later ones push out the oldest."""
KEPT_BYTES = 16 * 1024
"""Of each."""

_of_revision = (ended_logs.c.function == bindparam("which"), ended_logs.c.revision == bindparam("version"))
_newest = select(ended_logs.c.id).where(*_of_revision).order_by(ended_logs.c.id.desc()).limit(KEPT)
_ending = Statement(
    select(replicas.c.function, replicas.c.revision, workers.c.name, replicas.c.log_start, replicas.c.log)
    .join(workers, workers.c.id == replicas.c.worker_id)
    .where(replicas.c.id == bindparam("replica")),
    "replica",
)
_insert = Statement(
    insert(ended_logs), "replica_id", "ended_at", "function", "revision", "worker_name", "start", "content"
)
_trim = Statement(
    delete(ended_logs).where(*_of_revision, ended_logs.c.id.not_in(_newest.scalar_subquery())), "which", "version"
)
_list = Statement(
    select(
        ended_logs.c.replica_id,
        ended_logs.c.worker_name,
        ended_logs.c.start,
        ended_logs.c.content,
        ended_logs.c.ended_at,
    )
    .where(*_of_revision)
    .order_by(ended_logs.c.id),
    "which", "version",
)  # fmt: skip


def keep_log(connection: Connection, replica_id: int, now: int) -> None:
    """Keep the end of the log of a replica whose process ends now, if it logged anything."""
    row = _ending.row(connection, replica_id)
    if row is None or not row[-1]:
        return
    function, revision, worker_name, start, content = row
    dropped = max(0, len(content) - KEPT_BYTES)
    _insert.run(connection, replica_id, now, function, revision, worker_name, start + dropped, content[dropped:])
    _trim.run(connection, function, revision)


def list_ended(connection: Connection, function: str, revision: str) -> list[KeptLog]:
    """Return the kept logs of a revision's ended replicas, the one that ended first before the others."""
    return [
        KeptLog(id_, worker_name, Log(start, content, 0), ended_at)
        for id_, worker_name, start, content, ended_at in _list.rows(connection, function, revision)
    ]
