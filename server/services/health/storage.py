"""What takes the server's disk, and what the sweep is about to remove."""

from pathlib import Path

from piecework.protocol.messages import Amount, JobCounts, StorageReply
from piecework.protocol.states import JobState
from piecework.server.blobs import BlobStore
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.retention import Retention
from piecework.server.store.engine.database import Connection
from piecework.server.store.engine.pages import read_pages
from piecework.server.store.stock import usage
from piecework.server.store.stock.usage import ROWS_MAX


def describe_storage(core: Core, store: BlobStore, retention: Retention) -> StorageReply:
    """Look at what is stored, without reading all of it."""
    with core.database.read() as connection:
        size, free, gives_back = measure(connection, is_shared=core.database.is_shared)
        (jobs, waiting), due = usage.count_jobs(connection), retention.count_due(connection)
        total = sum(jobs.values()) + waiting
        return StorageReply(
            database_bytes=size,
            free_bytes=free,
            log_bytes=0 if core.database.is_shared else _find_size(Path(f"{core.settings.database_file}-wal")),
            gives_back=gives_back,
            jobs=JobCounts(
                waiting=waiting,
                enqueued=jobs[JobState.ENQUEUED],
                running=jobs[JobState.RUNNING],
                finished=jobs[JobState.FINISHED],
                failed=jobs[JobState.FAILED],
                cancelled=jobs[JobState.CANCELLED],
            ),
            events=usage.count_events(connection),
            logs=_amount(*usage.measure_logs(connection)),
            blobs=_amount(*usage.measure_blobs(connection)),
            stored=_amount(*usage.measure_stored(connection)),
            stored_in=str(store),
            due=due,
            due_bytes=due * (size - free) // total if total else 0,
        )


def measure(connection: Connection, *, is_shared: bool) -> tuple[int, int, bool]:
    """Return the size of the database, how much of it is free, and whether that is given back."""
    if is_shared:
        return usage.measure_database(connection), 0, True
    use = read_pages(connection)
    return use.pages * use.page_bytes, use.free * use.page_bytes, use.gives_back


def _amount(count: int, size: int) -> Amount:
    return Amount(count=min(count, ROWS_MAX), bytes=size, more=count > ROWS_MAX)


def _find_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
