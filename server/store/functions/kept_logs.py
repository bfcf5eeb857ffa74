"""What is kept of what replicas logged."""

from typing import NamedTuple

from piecework.server.store.records import Log


class KeptLog(NamedTuple):
    """What one replica of a function logged, as far as it is kept."""

    replica_id: int
    worker_name: str
    log: Log
    ended_at: int | None = None
    """When its process ended; None: it is there."""
