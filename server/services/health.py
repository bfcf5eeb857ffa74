"""Which URLs of functions failed lately: calls pass them by for a while."""

import socket
import threading
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

log = structlog.get_logger("server")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
PROBE_S = 1.0
"""A URL that takes no connection for so long is still not well."""


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


class Prober:
    """The thread that looks after URLs that failed: one that takes a connection again is well."""

    def __init__(self, health: Health, connect: Callable[[str], None] | None = None) -> None:
        self._health = health
        self._connect = connect or try_connection
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to repeat, and before it was started."""
        self._stopping = True
        self._health.changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping:
            self._health.changed.wait(self._health.next_look_s())
            self._health.changed.clear()
            for url in self._health.due():
                self.probe(url)

    def probe(self, url: str) -> None:
        """Look whether a URL takes a connection, and remember it."""
        try:
            self._connect(url)
        except OSError:
            self._health.note_failure(url)
        else:
            self._health.note_success(url)
            log.info("a URL of a function takes connections again", url=url)


def try_connection(url: str) -> None:
    """Connect to a URL, and hang up. Raises OSError."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), PROBE_S).close()
