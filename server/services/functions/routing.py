"""Where calls of functions go: the routes in memory, and whose turn it is.

A call goes to a revision, and from there to one of its URLs. Nothing here sends anything.
"""

import itertools
import threading
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import structlog

from piecework.server.errors import DatabaseAway, FunctionNotFound, RevisionNotFound
from piecework.server.services.functions.health import Health
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.functions import functions
from piecework.server.store.functions.functions import Function, ReplicaUrl, Revision, Url

log = structlog.get_logger("server")

DEFAULT = "default"
"""What a call is for that names no revision."""
REFRESH_MS = 1000
"""What another server changed counts here after this time at the latest."""
HOST_SILENT_MS = 5000
"""A host that was not heard of for this long is dead: nothing is sent to its replicas, and others get them."""
_GOLDEN = (5**0.5 - 1) / 2


class Target(NamedTuple):
    """One URL that serves a revision."""

    url: str
    token: str = ""
    """What must be shown to a replica; empty for a URL that somebody registered."""


@dataclass(frozen=True, slots=True)
class RevisionRoutes:
    """How a revision is reached."""

    function: str
    name: str
    lambda_id: int | None
    """What a call runs as a job while there is no target."""
    targets: tuple[Target, ...]

    @property
    def is_served(self) -> bool:
        return bool(self.targets) or self.lambda_id is not None


@dataclass(frozen=True, slots=True)
class FunctionRoutes:
    """How the revisions of a function are reached."""

    name: str
    alias: str | None
    """The revision that ``default`` stands for."""
    split: Mapping[str, int] | None
    """Weights by revision, for calls of ``default``; takes the place of the alias."""
    revisions: Mapping[str, RevisionRoutes]

    def default_revisions(self) -> dict[str, int]:
        """Return the revisions that ``default`` stands for, each with its weight; one of that name counts last."""
        wanted = self.split or {self.alias or DEFAULT: 1}
        return {name: weight for name, weight in wanted.items() if name in self.revisions}

    def urls(self) -> dict[str, list[str]]:
        """Return the URLs of each revision, and of ``default`` those of what it stands for."""
        found = {name: [target.url for target in each.targets] for name, each in self.revisions.items()}
        if meant := self.default_revisions():
            found[DEFAULT] = [url for name in meant for url in found[name]]
        return found


Table = Mapping[str, FunctionRoutes]


class _Routes(NamedTuple):
    """What changes only where a server notes it."""

    functions: Sequence[Function]
    revisions: Sequence[Revision]
    urls: Sequence[Url]

    @classmethod
    def read(cls, connection: Connection) -> Self:
        return cls(
            functions.list_functions(connection),
            functions.list_revisions(connection),
            functions.list_urls(connection),
        )


@dataclass(frozen=True, slots=True)
class _KnownRoutes:
    """The routes as they were at a time."""

    at: int
    routes: _Routes
    replicas: Sequence[ReplicaUrl]
    """Which of them run, and on hosts that live, changes also by itself."""
    table: Table
    is_old: bool = False
    """A change was noted that is not in it."""


class Routing:
    """Knows all routes, and takes turns among them."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        health: Health,
        random: Callable[[], float],
    ) -> None:
        """Read nothing yet. ``random`` gives 0 to 1."""
        self._database = database
        self._clock = clock
        self._health = health
        self._random = random
        self._lock = threading.Lock()
        self._known: _KnownRoutes | None = None
        self._changed = False
        self._turns: defaultdict[tuple[str, str], Iterator[int]] = defaultdict(itertools.count)
        self._spreads: dict[str, _WeightedChoice] = {}

    def table(self) -> Table:
        """Return the routes of all functions by name, as they were at most REFRESH_MS ago.

        While the database does not answer, they are as they were when it did. Raises DatabaseAway before that.
        """
        known = self._known
        if known is None or self._changed:
            self._lock.acquire()
        elif self._is_fresh(known) or not self._lock.acquire(blocking=False):
            return known.table  # while somebody reads, others go on with what was known
        try:
            if self._known is None or self._changed or not self._is_fresh(self._known):
                changed, self._changed = self._changed, False
                self._known = self._renew(self._known, changed=changed)
            return self._known.table
        finally:
            self._lock.release()

    def _is_fresh(self, known: _KnownRoutes) -> bool:
        return 0 <= self._clock() - known.at < REFRESH_MS

    def _renew(self, before: "_KnownRoutes | None", *, changed: bool) -> _KnownRoutes:
        try:
            return self._read(before, changed=changed)
        except DatabaseAway:
            if before is None:
                raise
            log.warning("the routes of functions cannot be read; those known before go on")
            return replace(before, at=self._clock(), is_old=before.is_old or changed)

    def note_change(self) -> None:
        """Have the routes read anew before the next call: this server changed something, or may have."""
        self._changed = True

    def get_function(self, name: str) -> FunctionRoutes:
        """Return a function's routes. Raises FunctionNotFound."""
        found = self.table().get(name)
        if found is None:
            raise FunctionNotFound(f"there is no function {name}")
        return found

    def choose(self, function: FunctionRoutes, name: str = DEFAULT) -> RevisionRoutes:
        """Return the revision that a call is for; for ``default`` the one whose turn it is.

        One that nothing serves has no turn, if there is another. Raises RevisionNotFound.
        """
        meant = function.default_revisions() if name == DEFAULT else {}
        if name == DEFAULT and meant:
            found = [function.revisions[each] for each in meant]
            served = [each for each in found if each.is_served] or found
            weights = [meant[each.name] for each in served]
            return served[0] if len(served) == 1 else served[self._spread(function.name).pick(weights)]
        if name not in function.revisions or name == DEFAULT:
            raise RevisionNotFound(f"the function {function.name} has no revision {name}")
        return function.revisions[name]

    def order(self, revision: RevisionRoutes) -> Sequence[Target]:
        """Return the targets of a revision in the order in which a call should try them, next in turn first.

        Those that failed lately are left out, but for one that is due to be tried again: it comes first. When all
        did, all are tried; but not dead ones when a job can do instead.
        """
        health = self._health
        well = [target for target in revision.targets if health.is_well(target.url)]
        trial = None
        if len(well) < len(revision.targets):
            trial = next((target for target in revision.targets if health.begin_trial(target.url)), None)
        if not well:
            can_run = revision.lambda_id is not None
            well = [each for each in revision.targets if not (can_run and health.is_dead(each.url))]
        if len(well) > 1:
            first = next(self._turns[revision.function, revision.name]) % len(well)
            well = [*well[first:], *well[:first]]
        return well if trial is None else [trial, *(each for each in well if each is not trial)]

    def _spread(self, function: str) -> "_WeightedChoice":
        spread = self._spreads.get(function)
        return spread or self._spreads.setdefault(function, _WeightedChoice(self._random()))

    def _read(self, before: "_KnownRoutes | None", *, changed: bool) -> _KnownRoutes:
        now = self._clock()
        with self._database.read() as connection:
            replicas = functions.list_running_replicas(connection, now - HOST_SILENT_MS)
            if before is None or before.is_old or changed or self._database.is_shared:
                routes = _Routes.read(connection)
            else:
                routes = before.routes
        if before is not None and (before.routes, before.replicas) == (routes, replicas):
            return _KnownRoutes(now, before.routes, before.replicas, before.table)
        return _KnownRoutes(now, routes, replicas, _build_table(routes, replicas))


class _WeightedChoice:
    """Divides calls by weight: the shares are right after any number of calls, up to one or two."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._count = itertools.count()

    def pick(self, weights: Sequence[int]) -> int:
        """Return the index of the weight whose turn it is."""
        # Multiples of the golden ratio fill the interval from 0 to 1 as evenly as can be (three-distance theorem).
        place = (self._start + next(self._count) * _GOLDEN) % 1.0
        sums = list(itertools.accumulate(weights))
        return min(bisect(sums, place * sums[-1]), len(sums) - 1)


def _build_table(routes: _Routes, replicas: Sequence[ReplicaUrl]) -> Table:
    targets: defaultdict[tuple[str, str], list[Target]] = defaultdict(list)
    for replica in replicas:
        targets[replica.function, replica.revision].append(Target(replica.url, replica.token))
    for url in routes.urls:
        targets[url.function, url.revision].append(Target(url.url))
    revisions: defaultdict[str, dict[str, RevisionRoutes]] = defaultdict(dict)
    for each in routes.revisions:
        found = tuple(targets[each.function, each.name])
        revisions[each.function][each.name] = RevisionRoutes(each.function, each.name, each.lambda_id, found)
    return {
        each.name: FunctionRoutes(each.name, each.default_revision, each.split, revisions[each.name])
        for each in routes.functions
    }
