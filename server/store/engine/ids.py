"""New ids: time in the upper bits, the server's number and a sequence in the lower (protocol page, section 1).

They have 53 bits, for a program that reads them as floating-point numbers, as JavaScript does, must not get
another object's. Ids of databases that are older than this rule are larger, and older: ``age`` orders both.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from piecework.protocol.ids import ID_MAX

T = TypeVar("T")

EPOCH_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
TICK_MS = 10
NEW_ID_BITS = 53
NEW_ID_MAX = (1 << NEW_ID_BITS) - 1
"""Larger ids were given before there was this limit."""
LOW_BITS = 15
SEQUENCE_BITS = 8
SERVERS_MAX = 1 << (LOW_BITS - SEQUENCE_BITS)
"""How many servers can share a database."""
TICK_MAX = NEW_ID_MAX >> LOW_BITS
"""In the year 2107. A clock that says more is wrong."""
_PER_TICK = 1 << SEQUENCE_BITS


class IdSource:
    """Gives ids that rise with time and that no other server gives.

    ``now_ms`` is the clock, milliseconds since 1970. ``floor`` is the largest id already in use: a clock that
    was set back, or a burst that ran ahead of the clock before a restart, never gives an id twice.
    """

    def __init__(self, number: int, now_ms: Callable[[], int], floor: int = 0) -> None:
        if not 0 <= number < SERVERS_MAX:
            raise ValueError(f"a server number lies between 0 and {SERVERS_MAX - 1}, {number} does not")
        self._number = number << SEQUENCE_BITS
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._tick = floor >> LOW_BITS
        self._sequence = _PER_TICK

    def take(self, count: int = 1) -> list[int]:
        """Return ``count`` new ids in rising order. More than 256 per 10 ms borrow from the future."""
        with self._lock:
            tick = (self._now_ms() - EPOCH_MS) // TICK_MS
            if self._tick < tick <= TICK_MAX:
                self._tick, self._sequence = tick, 0
            ids: list[int] = []
            while len(ids) < count:
                if self._sequence == _PER_TICK:
                    self._tick, self._sequence = self._tick + 1, 0
                first = self._tick << LOW_BITS | self._number | self._sequence
                some = min(count - len(ids), _PER_TICK - self._sequence)
                ids += range(first, first + some)
                self._sequence += some
            return ids

    def next(self) -> int:
        return self.take()[0]


def age(id_: int) -> tuple[bool, int]:
    """Return what ids sort by, oldest first."""
    return id_ <= NEW_ID_MAX, id_


def id_at(at_ms: int) -> int:
    """Return an id that is newer than all that were given before a time, milliseconds since 1970."""
    return max(0, (at_ms - EPOCH_MS) // TICK_MS) << LOW_BITS


def read_newest(read: Callable[[int, int, int], Sequence[T]], before: int, limit: int) -> list[T]:
    """Return ``limit`` rows at most that are older than ``before``, newest first; ID_MAX is newer than all.

    ``read(above, below, limit)`` returns those with ids in between, from the largest to the smallest.
    """
    if NEW_ID_MAX < before < ID_MAX:
        return [*read(NEW_ID_MAX, before, limit)]
    found = read(0, min(before, NEW_ID_MAX + 1), limit)
    return [*found, *read(NEW_ID_MAX, ID_MAX, limit - len(found))] if len(found) < limit else [*found]
