"""Which URLs of functions failed lately: calls pass them by for a while."""

import threading
from collections.abc import Callable
from typing import NamedTuple

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


class _Ailment(NamedTuple):
    failures: int
    """In a row."""
    until: float
    """When to look again."""


class Health:
    """Remembers failures of URLs. A URL is well until it failed, and again once it was reached."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ailing: dict[str, _Ailment] = {}
        self.changed = threading.Event()
        """Set when a URL failed that was well."""

    def is_well(self, url: str) -> bool:
        """Tell whether calls should go there."""
        return url not in self._ailing

    def note_failure(self, url: str) -> None:
        """Note that a URL could not be reached, or broke off. The pause grows with each failure in a row."""
        with self._lock:
            before = self._ailing.get(url)
            failures = before.failures + 1 if before else 1
            pause_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S)
            self._ailing[url] = _Ailment(failures, self._monotonic() + pause_s)
        if before is None:
            self.changed.set()

    def note_success(self, url: str) -> None:
        """Note that a URL was reached."""
        if url in self._ailing:
            with self._lock:
                self._ailing.pop(url, None)

    def due(self) -> list[str]:
        """Return the URLs whose pause is over: they should be looked at."""
        now = self._monotonic()
        with self._lock:
            return [url for url, ailment in self._ailing.items() if ailment.until <= now]

    def next_look_s(self) -> float | None:
        """Return in how many seconds a pause is over; None while every URL is well."""
        with self._lock:
            times = [ailment.until for ailment in self._ailing.values()]
        return max(0.0, min(times) - self._monotonic()) if times else None

    def keep(self, urls: set[str]) -> None:
        """Forget all URLs but these: nobody routes to the others any more."""
        with self._lock:
            for url in self._ailing.keys() - urls:
                del self._ailing[url]
