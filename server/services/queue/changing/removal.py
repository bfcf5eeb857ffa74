"""Removing final jobs, in transactions so short that nobody waits for them."""

from collections.abc import Callable, Collection
from functools import partial

from piecework.protocol.retention import FOR_EVER_MS
from piecework.server.services.core import Core
from piecework.server.services.queue.reading.feed import Feed
from piecework.server.services.stock.data import Data
from piecework.server.store.engine.ids import id_at
from piecework.server.store.queue.jobs.removal import Removed, remove_jobs

BUSY_S = 0.02
"""A transaction takes no further jobs after so long: on SQLite, nobody else writes meanwhile."""


class Removal:
    """Removes jobs with everything that belongs to them alone."""

    def __init__(self, core: Core, data: Data, feed: Feed, monotonic: Callable[[], float] | None = None) -> None:
        self._database, self._clock = core.database, core.clock
        self._data = data
        self._uploads_ms = core.settings.keep_ms("uploads")
        self._feed = feed
        self._monotonic = monotonic or core.sleeper.now_s

    def remove(self, ids: Collection[int]) -> list[int]:
        """Remove those of the jobs that are final, and return which were. Safe to repeat.

        Their events, logs and blobs go, too: blobs that no lambda, no module and no other job names.
        """
        left, gone = set(ids), []
        while left:
            removed = self.remove_some(left)
            if not removed.ids:
                break  # the others are not final, or not there
            gone += removed.ids
            left.difference_update(removed.ids)
        return gone

    def remove_some(self, ids: Collection[int]) -> Removed:
        """Do one step of ``remove``: some of the jobs at least, if any can be removed."""
        self._feed.number()  # while their jobs are there, the feed knows what these belong to
        end = self._monotonic() + BUSY_S
        step = partial(
            remove_jobs,
            ids=ids,
            uploads_before=None if self._uploads_ms == FOR_EVER_MS else id_at(self._clock() - self._uploads_ms),
            is_time_up=lambda: self._monotonic() > end,
        )
        removed = self._database.write(step)
        self._data.drop(removed.stored)
        return removed
