"""New ids: time in the upper bits, the server's number and a sequence in the lower (protocol page, section 1)."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

EPOCH_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
TICK_MS = 10
LOW_BITS = 22
SEQUENCE_BITS = 12
SERVERS_MAX = 1 << (LOW_BITS - SEQUENCE_BITS)
"""How many servers can share a database."""
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
        """Return ``count`` new ids in rising order. More than 4096 per 10 ms borrow from the future."""
        with self._lock:
            tick = (self._now_ms() - EPOCH_MS) // TICK_MS
            if tick > self._tick:
                self._tick, self._sequence = tick, 0
            ids = []
            for _ in range(count):
                if self._sequence == _PER_TICK:
                    self._tick, self._sequence = self._tick + 1, 0
                ids.append(self._tick << LOW_BITS | self._number | self._sequence)
                self._sequence += 1
            return ids

    def next(self) -> int:
        return self.take()[0]
