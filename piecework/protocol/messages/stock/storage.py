"""What takes the server's disk."""

import msgspec
from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Reply, Shown


class Amount(Shown, msgspec.Struct, kw_only=True):
    """How much there is of something."""

    count: int
    """How many."""
    bytes: int
    """How large they are together, without what the database needs for each."""
    more: bool = False
    """There are more than were counted."""


class JobCounts(Shown, msgspec.Struct, kw_only=True):
    """How many jobs are in which state; counted to 1,000,000 in each."""

    waiting: int
    """Those that are paused, too."""
    enqueued: int
    """Ready for a worker."""
    running: int
    """Leased."""
    finished: int
    """With a result."""
    failed: int
    """For good."""
    cancelled: int
    """By someone, or because their time was over."""


class StorageReply(Reply, kw_only=True):
    """The answer of ``GET /sys/storage``. Nothing is read whole: of what is large, the newest part is counted."""

    database_bytes: int
    """The database: SQLite's file, or what PostgreSQL says."""
    free_bytes: int
    """Of that, free in a SQLite file: it is used again, or given back when it is much."""
    log_bytes: int
    """SQLite's write-ahead log beside the file."""
    gives_back: bool
    """Whether free parts are given back to the disk; a SQLite file of before needs `piecework server compact`."""
    jobs: JobCounts
    """Jobs by state."""
    events: int
    """Steps of their traces, about."""
    logs: Amount
    """Logs of attempts."""
    blobs: Amount
    """Blobs in the database."""
    stored: Amount
    """Large blobs."""
    stored_in: Maybe[str] = UNSET
    """Where those are: a directory, or a place in S3."""
    due: int
    """Jobs whose time is over, which the sweep removes now; counted to 10,000."""
    due_bytes: int
    """What their rows take in the database, about."""
