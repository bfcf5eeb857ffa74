"""Who did what, when: stored in the transaction that does it, with what may be secret left out."""

import getpass
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import TypeVar

from piecework.protocol.retention import FOR_EVER_MS
from piecework.server.errors import DatabaseAway, ServerError, StorageFull
from piecework.server.services.core import Clock
from piecework.server.settings import Settings
from piecework.server.store.engine.connections import Work
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.stock import audit
from piecework.server.store.stock.audit import Act, Actor, AuditFilter, AuditRow, Count

T = TypeVar("T")
KEPT_MAX = 1_000_000
"""Rows that are kept at most, about."""
FORGOTTEN = 1000
"""Rows that one transaction forgets."""
COUNTED_MAX = 1000
"""Different refusals of a minute that are told apart."""

_current: ContextVar[Act | None] = ContextVar("act", default=None)


class Audit:
    """Keeps who did what."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database, self._clock = database, clock
        self._kept_ms = settings.keep_ms("audit")
        self._lock = Lock()
        self._refused = Counter[Count]()
        database.witness = _witness

    @contextmanager
    def acting(self, actor: Actor, act: str, target: str = "", detail: str = "") -> Iterator[None]:
        """Have the transactions of this thread that store something for good store also who did what.

        One row is made, in the first of them. When the act is refused in the end, the row says so.
        """
        given = Act(actor, self._clock(), act, target, detail)
        token = _current.set(given)
        try:
            yield
        except ServerError as error:
            _current.set(None)
            if given.row is not None:
                self._database.write(partial(audit.mark_failed, act=given, why=str(error)))
            raise
        finally:
            _current.reset(token)

    def note_refusal(self, actor: Actor, status: int, need: str) -> None:
        """Count a request that was refused; it is stored within some seconds."""
        count = Count(actor, f"refused ({status})", self._clock() // 60_000 * 60_000, need)
        with self._lock:
            if count not in self._refused and len(self._refused) >= COUNTED_MAX:
                count = count._replace(actor=Actor("nobody"), target="")
            self._refused[count] += 1

    def store_refusals(self) -> None:
        """Store the refusals that were counted since the last time."""
        with self._lock:
            counted, self._refused = self._refused, Counter()
        if counted:
            self._database.write(lambda connection: _add_refusals(connection, counted), durable=False)

    def close(self) -> None:
        """Store what was counted, if the database still takes it."""
        with suppress(DatabaseAway, StorageFull):
            self.store_refusals()

    def list_page(self, which: AuditFilter, *, before: int, limit: int) -> list[AuditRow]:
        """Return acts that are meant and older than a row, newest first."""
        self.store_refusals()
        with self._database.read() as connection:
            return audit.list_acts(connection, which, before=before, limit=limit)

    def forget(self) -> bool:
        """Remove some rows that are too old, or too many. Returns whether there may be more."""
        before = 0 if self._kept_ms == FOR_EVER_MS else self._clock() - self._kept_ms
        step = partial(audit.forget_acts, before=before, keep=KEPT_MAX, most=FORGOTTEN)
        return self._database.write(step, durable=False) == FORGOTTEN


def _add_refusals(connection: Connection, counted: Counter[Count]) -> None:
    # Each flush of a server makes rows of its own: two servers that add to one row would wait for each other.
    for each, count in counted.items():
        audit.store_act(connection, Act(each.actor, each.at, each.act, each.target), count)


def _witness(work: Work[T]) -> Work[T]:
    """Have a transaction store the act that it is part of."""
    act = _current.get()
    return work if act is None else partial(_work_on, work, act, act.row)


def _work_on(work: Work[T], act: Act, row: int | None, connection: Connection) -> T:
    # ``row`` is from transactions before this one: this one may run again, and then begins anew.
    audit.begin_count(connection)
    value = work(connection)
    act.row = audit.store_counted(connection, act, row)
    return value


def act_by_command(act: str, target: str, detail: str, now: int) -> Act:
    """Return what somebody does with a command on the server's machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # who runs it has no name here
        user = ""
    return Act(Actor("command", user[:100]), now, act, target, detail)


Note = Callable[[Actor, int, str], object]
"""Notes a refusal: of whom, the status, and what was needed."""
