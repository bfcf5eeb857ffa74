"""The routes of this node's replicas at the reverse proxy: made to be what they should be, again and again."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import structlog

from piecework.worker_agent.capsule_node.reverse_proxy import (
    DEFAULT,
    ProxyRoute,
    ReverseProxy,
    Routes,
)
from piecework.worker_agent.errors import AgentError

log = structlog.get_logger()

LOOK_S = 3.0
"""A proxy that forgot its routes gets them again after this."""
AWAY_S = 1.0
"""Between two tries while the proxy is away."""


class Announcement(NamedTuple):
    """What the proxy should list of this node."""

    routes: set[ProxyRoute]
    places: set[tuple[str, str]]
    """(function, revision) that are deployed here, whether or not they have a URL now."""


class Announcer:
    """Compares what a proxy lists with what it should list. Its methods may be called from any thread."""

    def __init__(
        self,
        proxy: ReverseProxy,
        find_wanted: Callable[[], Announcement],
        announced: set[ProxyRoute],
        created: set[tuple[str, str]],
        keep: Callable[[], None],
    ) -> None:
        """``announced`` and ``created`` are what was registered, also in earlier lives; ``keep`` stores both."""
        self._proxy = proxy
        self._find_wanted = find_wanted
        self._announced = announced
        self._created = created
        self._keep = keep
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._away = False

    def note_change(self) -> None:
        """Have the routes looked at soon."""
        self._wake.set()

    def step(self, stop: threading.Event) -> None:
        """Look at the routes, then wait until it is time to do so again."""
        self._wake.clear()
        try:
            self.announce()
        except AgentError as error:
            if not self._away:
                log.warning("routes are not registered", reason=str(error))
            self._away = True
        else:
            if self._away:
                log.info("routes are registered again", proxy=self._proxy.url)
            self._away = False
        if self._away:
            stop.wait(AWAY_S)
        else:
            self._wake.wait(LOOK_S)

    def announce(self) -> None:
        """Have the proxy list what it should of this node. Raises ReverseProxyError or AgentError."""
        with self._lock:
            wanted, places = self._find_wanted()
            stale, empty = self._announced - wanted, self._created - places
            if not wanted and not stale and not empty:
                return
            known = self._proxy.list_routes()
            listed = {ProxyRoute(*place, url) for place, urls in _places(known) for url in urls}
            self._add(sorted(wanted - listed), known)
            for route in sorted(stale & listed):
                self._proxy.remove(route)
                known[route.function][route.revision].remove(route.url)
            self._tidy(sorted(empty), known)
            if stale or empty or self._announced != wanted:
                self._announced &= wanted
                self._announced |= wanted
                self._keep()

    def _add(self, routes: list[ProxyRoute], known: Routes) -> None:
        if not set(routes) <= self._announced:
            # Before it happens: whoever comes after a crash must know what to remove.
            self._announced.update(routes)
            self._keep()
        for route in routes:
            if self._proxy.add(route, known):
                self._created.add(route[:2])
                self._keep()
            known.setdefault(route.function, {}).setdefault(route.revision, []).append(route.url)

    def _tidy(self, places: list[tuple[str, str]], known: Routes) -> None:
        """Remove revisions, and functions, that are there because of this agent and have no URL any more."""
        for function, revision in places:
            self._created.discard((function, revision))
            revisions = known.get(function, {})
            if revisions.pop(revision, []):
                continue  # another worker serves it
            others = {name for name, urls in revisions.items() if name != DEFAULT or urls}
            if others:
                self._proxy.remove_revision(function, revision)
            else:
                self._proxy.remove_function(function)


def _places(routes: Routes) -> list[tuple[tuple[str, str], list[str]]]:
    return [((function, name), urls) for function, revisions in routes.items() for name, urls in revisions.items()]
