"""Which URLs of functions failed lately, why, and until when calls pass them by: the one place that knows.

A URL that failed gets no calls for a pause, which grows with each failure in a row. Then the prober connects to
it. One that was dead, and takes the connection, is well again. One that broke off, kept silent or answered rubbish
takes connections anyway: so one call tries it, and what becomes of that decides.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from piecework.backoff import pause_after

log = structlog.get_logger("server")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
LONGEST_PAUSE_ALIVE_S = 60.0
"""Of a URL that is not dead: to try that one costs a call."""
PROBE_S = 1.0
"""A URL that takes no connection for so long is still not well."""


class _Stage(Enum):
    """What happens to a URL next."""

    PAUSED = auto()
    """The prober connects to it once the pause is over."""
    READY = auto()
    """A call tries it."""
    TRIED = auto()
    """A call does. When nothing is heard of that within a pause, another one will."""


class _Failures(NamedTuple):
    failures: int
    """In a row."""
    until: float
    """When to look again."""
    reason: str
    is_dead: bool
    """It takes no connection."""
    stage: _Stage = _Stage.PAUSED

    @property
    def pause_s(self) -> float:
        longest_s = LONGEST_PAUSE_S if self.is_dead else LONGEST_PAUSE_ALIVE_S
        return pause_after(self.failures, FIRST_PAUSE_S, longest_s)


class Health:
    """Remembers failures of URLs. A URL is well until it failed, and again once it was reached."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ailing: dict[str, _Failures] = {}
        self.changed = threading.Event()
        """Set when there is something new to look at."""

    def is_well(self, url: str) -> bool:
        """Tell whether calls should go there."""
        return url not in self._ailing

    def is_dead(self, url: str) -> bool:
        """Tell whether it took no connection when that was tried last."""
        ailment = self._ailing.get(url)
        return ailment is not None and ailment.is_dead

    def begin_trial(self, url: str) -> bool:
        """Tell whether a call must try a URL that is not well, to learn how it does; to one caller at a time."""
        with self._lock:
            ailment = self._ailing.get(url)
            if ailment is None or ailment.stage is not _Stage.READY:
                return False
            until = self._monotonic() + ailment.pause_s
            self._ailing[url] = ailment._replace(until=until, stage=_Stage.TRIED)
        self.changed.set()
        return True

    def reasons(self, urls: Iterable[str]) -> dict[str, str]:
        """Return those of some URLs that are not well, each with what went wrong last."""
        found = {url: self._ailing.get(url) for url in urls}
        return {url: ailment.reason for url, ailment in found.items() if ailment is not None}

    def note_failure(self, url: str, reason: str, *, is_dead: bool) -> None:
        """Note that a URL took no connection, or did and failed a call.

        What fails during a pause began before it, as a rule many calls at once, and does not count again.
        """
        now = self._monotonic()
        with self._lock:
            before = self._ailing.get(url)
            failures = before.failures if before else 0
            if before and before.stage is _Stage.PAUSED and now < before.until:
                self._ailing[url] = before._replace(reason=reason, is_dead=is_dead)
            else:
                ailment = _Failures(failures + 1, now, reason, is_dead)
                self._ailing[url] = ailment._replace(until=now + ailment.pause_s)
        if before is None:
            log.warning("a URL of a function is set aside", url=url, reason=reason)
            self.changed.set()

    def note_connection(self, url: str) -> None:
        """Note that a URL takes connections: that is all that a dead one lacked."""
        with self._lock:
            ailment = self._ailing.get(url)
            if ailment is not None and not ailment.is_dead:
                self._ailing[url] = ailment._replace(stage=_Stage.READY)
                return
        self.note_success(url)

    def note_success(self, url: str) -> None:
        """Note that a URL answered."""
        if url in self._ailing:
            with self._lock:
                ailment = self._ailing.pop(url, None)
            if ailment is not None:
                log.info("a URL of a function is well again", url=url)

    def due(self) -> list[str]:
        """Return the URLs whose pause is over: somebody should connect to them."""
        now = self._monotonic()
        with self._lock:
            return [url for url, until in self._looks() if until <= now]

    def next_look_s(self) -> float | None:
        """Return in how many seconds a pause is over; None when nobody needs to connect to anything."""
        with self._lock:
            times = [until for _, until in self._looks()]
        return max(0.0, min(times) - self._monotonic()) if times else None

    def _looks(self) -> list[tuple[str, float]]:
        return [(url, each.until) for url, each in self._ailing.items() if each.stage is not _Stage.READY]

    def keep(self, urls: set[str]) -> None:
        """Forget all URLs but these: nobody routes to the others any more."""
        with self._lock:
            for url in self._ailing.keys() - urls:
                del self._ailing[url]


class Prober:
    """The thread that connects to URLs that failed, when their pause is over."""

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
        except OSError as error:
            self._health.note_failure(url, tell_dead(str(error.strerror or error).lower()), is_dead=True)
        else:
            self._health.note_connection(url)


def try_connection(url: str) -> None:
    """Connect to a URL, and hang up. Raises OSError."""
    parts = urlsplit(url)
    is_tls, host = parts.scheme == "https", parts.hostname or ""
    with socket.create_connection((host, parts.port or (443 if is_tls else 80)), PROBE_S) as opened:
        if is_tls:
            trust().wrap_socket(opened, server_hostname=host).close()


def tell_dead(reason: str) -> str:
    """Say that a URL takes no connection, and why."""
    return f"it takes no connection: {reason}"


@cache
def trust() -> ssl.SSLContext:
    """Return whose certificates URLs may show: those that the system trusts."""
    return ssl.create_default_context()
