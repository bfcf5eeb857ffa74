"""What most services work with, as one record: the place that puts the services together makes it once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from piecework.server.settings import Settings
from piecework.server.store.engine.database import Database
from piecework.server.store.engine.ids import IdSource

Clock = Callable[[], int]
"""Milliseconds since 1970."""


def _acquire(lock: Lock, timeout_s: float) -> bool:
    return lock.acquire(timeout=timeout_s)


@dataclass(frozen=True, slots=True)
class Sleeper:
    """How requests sleep while they wait. A simulation puts its own in place."""

    now_s: Callable[[], float] = time.monotonic
    """Seconds that only ever rise."""
    acquire: Callable[[Lock, float], bool] = _acquire
    """Waits for a lock, for so many seconds at most. Returns False when they passed first."""


REAL_SLEEP = Sleeper()


@dataclass(frozen=True, slots=True)
class Core:
    """The database, and what all who write into it share."""

    database: Database
    ids: IdSource
    clock: Clock
    settings: Settings
    sleeper: Sleeper = REAL_SLEEP
