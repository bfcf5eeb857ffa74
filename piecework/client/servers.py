"""The servers that a client may ask: of several that share a database it asks one, until that is away."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from piecework.backoff import pause_after
from piecework.client.retries import LOGGER
from piecework.http.connections import KeptConnections, Poolable
from piecework.http.routes import ServerRoute

AWAY_STATUSES = frozenset({502, 503, 504})
"""Answers of a server that cannot do it, or of a proxy that does not reach it: another one may."""
FIRST_RETURN_S, LONGEST_RETURN_S = 60.0, 3600.0
"""The first server is asked again so long after it was away; twice as long each time that it still is."""

P = TypeVar("P", bound=KeptConnections[Any])


class KnownServer(Generic[P]):
    """One server, and the connections to it."""

    def __init__(self, url: str, route: ServerRoute, headers: str, pool: P) -> None:
        """``headers``: lines that each request has, of which a server's own are added."""
        self.url = url
        self.target = route.target
        self._own = route
        self.set_headers(headers)
        self.through = f", through {route.proxy}" if route.proxy else ""
        self.pool = pool

    def set_headers(self, headers: str) -> None:
        """Have each request from now on have these lines."""
        self.headers = f"Host: {self._own.authority}\r\n{headers}{self._own.proxy_header}"


class KnownServers(Generic[P]):
    """Which server is asked. Threads and all copies of a client share it.

    The first is asked as long as it answers. When the one that is asked fails, the next is from then on; and the
    first again after a while.
    """

    def __init__(self, known: Sequence[KnownServer[P]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._known = known
        self._monotonic = monotonic
        self._used = 0
        self._absences = 0
        """How often in a row the first failed."""
        self._return_at = 0.0
        self.on_leave: Callable[[object, str], None] = _log
        """Is told why the next one is asked from now on, and its URL."""

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self._known]

    @property
    def first(self) -> KnownServer[P]:
        return self._known[0]

    @property
    def used(self) -> KnownServer[P]:
        """The one that is asked now."""
        return self._known[self._used]

    def set_headers(self, headers: str) -> None:
        """Have each request to any of them from now on have these lines."""
        for each in self._known:
            each.set_headers(headers)

    def in_turn(self) -> Iterator[tuple[KnownServer[P], bool]]:
        """Go through all servers once, from the one that is asked on; each with whether it is the last."""
        if self._used and self._monotonic() >= self._return_at:
            self._return_at = self._monotonic() + FIRST_RETURN_S
            self._used = 0
        start, count = self._used, len(self._known)
        for step in range(count):
            yield self._known[(start + step) % count], step == count - 1

    def leave(self, server: KnownServer[P], reason: object) -> None:
        """Ask the next one from now on: this one failed."""
        if len(self._known) == 1 or server is not self.used:
            return
        if server is self.first:
            self._absences += 1
            self._return_at = self._monotonic() + pause_after(self._absences, FIRST_RETURN_S, LONGEST_RETURN_S)
        self._used = (self._used + 1) % len(self._known)
        self.on_leave(reason, self.used.url)

    def vindicate(self, server: KnownServer[P], answered: Poolable) -> None:
        """Take note that a server answered: the network is not what others were silent for."""
        if len(self._known) == 1:
            return
        if server is self.first:
            self._absences = 0
        for other in self._known:
            if other is not server:
                other.pool.give_up(answered.heard_at)

    def close(self) -> None:
        """Close all idle connections."""
        for each in self._known:
            each.pool.close()


def _log(reason: object, url: str) -> None:
    LOGGER.info("%s; going on with %s", reason, url)
