"""A clock that tests move."""

from typing import Any

START_MS = 1_790_000_000_000


class HandClock:
    """Stands still until it is moved. Counts whole milliseconds, or seconds with ``per_s=1``."""

    def __init__(self, now: float = START_MS, per_s: int = 1000) -> None:
        self.now = now
        self._per_s = per_s

    def __call__(self) -> Any:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds if self._per_s == 1 else round(seconds * self._per_s)
