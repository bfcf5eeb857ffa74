"""Limits by key, for people: what they are, how much of each is used, what waits; operators' own."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import structlog

from piecework.server.errors import InvalidRequest, LimitNotFound
from piecework.server.services.core import Core
from piecework.server.services.queue.limits.limiter import Limiter
from piecework.server.services.queue.limits.windows import Window
from piecework.server.services.queue.waiting.waiting import Changes, Notifier
from piecework.server.services.stock.keys import check_key, check_limit
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.leasing import keyed, limits
from piecework.server.store.queue.leasing.limits import KINDS, Kind, Limit, LimitName

log = structlog.get_logger("server")

COUNTED_MAX = 10_000
"""Jobs that wait under a limit are counted up to here."""
STEP = 100
"""Limits that one transaction of the check looks at."""
KEPT_MS = 24 * 3_600_000
"""A limit that no operator set is forgotten when no job had its key for so long."""


class LimitView(NamedTuple):
    """A limit, how much of it is used, and what waits for it."""

    limit: Limit
    used: int
    """Jobs that run, or that started within the last period."""
    waiting: int
    """Jobs that wait for room; COUNTED_MAX for more."""


class Rule(NamedTuple):
    """What an operator says of a key."""

    concurrency: int | None = None
    rate: int | None = None
    rate_period_ms: int | None = None

    def of(self, kind: Kind) -> tuple[int | None, int | None]:
        return (self.concurrency, None) if kind == "concurrency" else (self.rate, self.rate_period_ms)


class KeyLimits:
    """The limits by key of this server."""

    def __init__(self, core: Core, notifier: Notifier) -> None:
        self._database, self._clock = core.database, core.clock
        self._notifier = notifier
        self._places: dict[Kind, str] = dict.fromkeys(KINDS, "")
        """Up to which keys the regular check has come."""

    def list_page(self, after: LimitName, limit: int) -> list[LimitView]:
        """Return limits that come after one, by kind and key."""
        found: list[Limit] = []
        with self._database.read() as connection:
            for kind in KINDS[KINDS.index(after.kind) :]:
                key = after.key if kind == after.kind else ""
                found += limits.list_limits(connection, kind, key, limit - len(found))
            return [self._view(connection, each) for each in found]

    def show(self, key: str) -> list[LimitView]:
        """Return the limits of a key, one of each kind at most. Raises LimitNotFound when there is none."""
        with self._database.read() as connection:
            found = [limits.find_limit(connection, LimitName(kind, key)) for kind in KINDS]
            views = [self._view(connection, limit) for limit in found if limit is not None]
        if not views:
            raise LimitNotFound(f"no limit has the key {key!r}")
        return views

    def _view(self, connection: Connection, limit: Limit) -> LimitView:
        used = limit.running
        if limit.kind == "rate":
            used = Window(limit.starts, limit.period_ms, self._clock()).count
        return LimitView(limit, used, keyed.count_parked(connection, limit.kind, limit.key, COUNTED_MAX))

    def rule(self, key: str, rule: Rule) -> list[LimitView]:
        """Set what counts for a key, whatever jobs say. Returns the key's limits. Raises InvalidRequest.

        Jobs that may start now are enqueued. When more run than may, they run on, and no other starts before.
        """
        check_key("a key", key)
        check_limit("concurrency", rule.concurrency, 0)
        check_limit("rate", rule.rate, 0)
        kinds = [kind for kind in KINDS if rule.of(kind)[0] is not None]
        if not kinds:
            raise InvalidRequest("say concurrency, rate, or both")
        self._apply(key, {kind: rule.of(kind) for kind in kinds}, create=True)
        return self.show(key)

    def clear(self, key: str) -> None:
        """Take back what an operator set: what jobs said counts again. Raises LimitNotFound when there is none."""
        self.show(key)
        self._apply(key, dict.fromkeys(KINDS, (None, None)), create=False)

    def _apply(self, key: str, ruled: dict[Kind, tuple[int | None, int | None]], *, create: bool) -> None:
        changes = self._database.write(partial(_rule, key=key, ruled=ruled, create=create, now=self._clock()))
        self._notifier.notify(changes)

    def check_all(self) -> tuple[int, int]:
        """Count the running jobs of every key anew. Returns how many limits there are, and how many were wrong."""
        checked = wrong = 0
        for kind in KINDS:
            after = ""
            while True:
                names, repaired = self._check_step(kind, after)
                checked, wrong = checked + len(names), wrong + repaired
                if len(names) < STEP:
                    break
                after = names[-1].key
        return checked, wrong

    def check_some(self) -> None:
        """Do the next step of a check that goes round all the time."""
        for kind in KINDS:
            names, _ = self._check_step(kind, self._places[kind])
            self._places[kind] = names[-1].key if len(names) == STEP else ""

    def _check_step(self, kind: Kind, after: str) -> tuple[Sequence[LimitName], int]:
        """Check limits whose keys come after one. Returns them, and how many were wrong."""
        with self._database.read() as connection:
            names = [limit.name for limit in limits.list_limits(connection, kind, after, STEP)]
        if not names:
            return names, 0
        wrong, changes = self._database.write(partial(_check, names=names, now=self._clock()))
        for name in wrong:
            log.warning("the count of running jobs was wrong and is right now", key=name.key)
        self._notifier.notify(changes)
        return names, len(wrong)


def _rule(
    connection: Connection,
    *,
    key: str,
    ruled: dict[Kind, tuple[int | None, int | None]],
    create: bool,
    now: int,
) -> Changes:
    names = [LimitName(kind, key) for kind in ruled]
    found = limits.lock_limits(connection, names)
    for name in names:
        limit = found.get(name)
        if limit is None:
            if not create:
                continue
            limit = Limit(*name, used_at=now)
            limits.add_limits(connection, [limit])
        limit.ruled, limit.ruled_period_ms = ruled[name.kind]
        limits.rule_limit(connection, limit)
    limiter = Limiter(connection, now)
    limiter.lock(names)
    for name in names:
        limiter.admit(name)
    limiter.close()
    return limiter.changes


def _check(connection: Connection, *, names: Sequence[LimitName], now: int) -> tuple[list[LimitName], Changes]:
    """Count running jobs anew, enqueue what may start, forget limits that nobody uses."""
    limiter = Limiter(connection, now)
    limiter.lock(names)
    wrong = []
    for name in names:
        limit = limiter.get(name)
        if limit is None:
            continue
        is_old = limit.ruled is None and now - limit.used_at > KEPT_MS
        if is_old and not keyed.has_live_jobs(connection, *name):
            limits.forget_limit(connection, name)
            continue
        if limiter.recount(name):
            wrong.append(name)
        if limit.running or limit.wake_at is not None or keyed.count_parked(connection, *name, 1):
            limiter.admit(name)
    limiter.close()
    return wrong, limiter.changes
