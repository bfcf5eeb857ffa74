"""Who did what, when: stored in the transaction that does it, with what may be secret left out."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from piecework.protocol.retention import FOR_EVER_MS
from piecework.server.errors import DatabaseAway, ServerError, StorageFull
from piecework.server.services.core import Clock
from piecework.server.services.stock.refusals import Refusals
from piecework.server.settings import Settings
from piecework.server.store.engine.connections import Work
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.stock import audit
from piecework.server.store.stock.audit import Act, Actor, AuditFilter, AuditRow

T = TypeVar("T")
KEPT_MAX = 1_000_000
"""Rows that are kept at most, about."""
FORGOTTEN = 1000
"""Rows that one transaction forgets."""

_current: ContextVar[Act | None] = ContextVar("act", default=None)


class Audit:
    """Keeps who did what."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database, self._clock = database, clock
        self._kept_ms = settings.keep_ms("audit")
        self.refusals = Refusals(database, clock)
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

    def close(self) -> None:
        """Store what was counted, if the database still takes it."""
        with suppress(DatabaseAway, StorageFull):
            self.refusals.store()

    def list_page(self, which: AuditFilter, *, before: int, limit: int) -> list[AuditRow]:
        """Return acts that are meant and older than a row, newest first."""
        self.refusals.store()
        with self._database.read() as connection:
            return audit.list_acts(connection, which, before=before, limit=limit)

    def forget(self) -> bool:
        """Remove some rows that are too old, or too many. Returns whether there may be more."""
        before = 0 if self._kept_ms == FOR_EVER_MS else self._clock() - self._kept_ms
        step = partial(audit.forget_acts, before=before, keep=KEPT_MAX, most=FORGOTTEN)
        return self._database.write(step, durable=False) == FORGOTTEN


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
