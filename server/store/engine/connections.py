"""Connections that are lent to one request at a time, and the errors of their drivers in our words."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from piecework.server.errors import DatabaseAway, StorageFull
from piecework.server.logs import Condition

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 24
"""Connections beside SQLite's one for writing: requests beyond that wait for one."""
BUSY_TIMEOUT_S = 30
Witness = Callable[[Work[T]], Work[T]]
"""Adds something to the work of a durable transaction: what the request that does it is to leave."""
Seal = Callable[[Connection, list[Any]], object]
"""Stores, at the end of a transaction, what was noted in it. See ``notes_of``."""


class OpenConnection(Connection):
    """A connection that is used for many transactions, with what each of these looks for at hand."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.driver: Any = self.connection.driver_connection
        self.notes: list[Any] = []


def notes_of(connection: Connection) -> list[Any]:
    """Return what the transaction at hand notes for its end: whoever changes something adds to it."""
    if isinstance(connection, OpenConnection):
        return connection.notes
    notes: list[Any] = connection.info.setdefault("notes", [])
    return notes


class LostRace(Exception):
    """What another transaction did meanwhile is against this one: it is undone, and run again."""


QUIET_S = 5.0
"""A database takes writes again when none was refused for so long."""
BACK_AFTER_S = 1.0
"""A database answers again when nothing failed for so long: while it goes, some of its connections still work."""
GONE = ("08", "57P", "53300")
"""How states of SQL begin that tell of the database and not of a statement."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the drivers' errors about disk and connection into ours, where they enter."""
    try:
        yield
    except Exception as error:
        ours = _translate(error)
        if ours is None:
            raise
        raise ours from error


def _translate(error: BaseException) -> StorageFull | DatabaseAway | None:
    cause = driver_error(error)
    if cause is None:
        return None
    if "disk is full" in str(cause) or getattr(cause, "sqlstate", None) == "53100":
        return StorageFull("the disk is full; nothing of this request was stored")
    if _refuses_writes(cause):
        return DatabaseAway(f"the database takes no writes now: {str(cause).splitlines()[0]}")
    kinds = [kind.__name__ for kind in type(cause).__mro__]
    # A plain DatabaseError is what SQLite says of a file that is damaged, or is something else.
    if "OperationalError" in kinds or kinds[0] == "DatabaseError":
        return DatabaseAway(f"the database does not answer: {str(cause).splitlines()[0]}")
    return None


def _refuses_writes(cause: BaseException) -> bool:
    """Tell whether the database is read-only, as a standby is, and a primary that others took over from."""
    return getattr(cause, "sqlstate", None) == "25006" or "readonly database" in str(cause)


class DatabaseHealth:
    """Knows whether the database answers and has room, and has the log say so when that changes, once for all."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._away = Condition(
            "the database does not answer", "the database answers again", monotonic, quiet_s=BACK_AFTER_S
        )
        self._full = Condition("the disk of the database is full", "the database has room again")
        # A transaction that happens to write nothing does not show that others could.
        self._shut = Condition(
            "the database takes no writes", "the database takes writes again", monotonic, quiet_s=QUIET_S
        )
        self._has_answered = False
        """Until then whoever opens the database tells what is wrong."""

    def noted(self) -> "_Noted":
        """Turn the drivers' errors into ours, as ``translated_errors`` does, and learn from how the work ends."""
        return _Noted(self)

    def note_end(self, error: BaseException | None) -> StorageFull | DatabaseAway | None:
        """Learn from how work ended: well, or with an error. Returns what that is in our words; None: as it is."""
        if error is None:
            self._has_answered = True
            self._away.end()
            return None
        ours = _translate(error)
        if isinstance(ours, StorageFull):
            self._full.begin(ours)
        elif ours is not None and _refuses_writes(driver_error(error) or error):
            self._shut.begin(ours)
        elif ours is not None and self._has_answered and _tells_of_database(error):
            self._away.begin(ours)
        return ours

    def note_write(self) -> None:
        """Something was stored."""
        self._full.end()
        self._shut.end()


class _Noted:
    """Notes how a block ends. A class, for a generator that does the same takes several times as long."""

    __slots__ = ("_health",)

    def __init__(self, health: DatabaseHealth) -> None:
        self._health = health

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        ours = self._health.note_end(error)
        if ours is not None:
            raise ours from error


def _tells_of_database(error: BaseException) -> bool:
    """Tell whether others will meet the same error; else a statement was cancelled, say, or lost a race."""
    state = getattr(driver_error(error), "sqlstate", None)
    return state is None or state.startswith(GONE)


def driver_error(error: BaseException) -> BaseException | None:
    """Return what a driver raised, beneath what SQLAlchemy made of it; None when it is no error of a driver.

    Every driver's errors have the names that PEP 249 gives them.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    is_drivers = cause is not None and any(kind.__name__ == "DatabaseError" for kind in type(cause).__mro__)
    return cause if is_drivers else None


class DatabasePool:
    """Lends open connections, each to one at a time, and keeps those that come back for the next.

    To give one back to an engine's pool and to take it from there costs more than most reads.
    """

    def __init__(
        self, connect: Callable[[], Connection], is_alive: Callable[[Connection], bool], health: DatabaseHealth
    ) -> None:
        self._connect = connect
        self._is_alive = is_alive
        self.health = health
        self._idle: list[Connection] = []
        self._change = threading.Condition()
        self._open = self._waiting = 0
        """How many there are, and how many requests wait for one: both change under the lock."""

    def lend(self) -> "_Loan":
        """Lend a connection. One that meets an error of its driver is closed. Raises DatabaseAway."""
        return _Loan(self)

    def take(self) -> Connection:
        """Return a connection that nobody else has; a new one when all are lent. Raises DatabaseAway."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._await_one() or self._open_one()
        while not self._is_alive(connection):
            self.drop(connection)
            connection = self._await_one() or self._open_one()
        return connection

    def give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._waiting:  # whoever waits has said so before he looked
            with self._change:
                self._change.notify()

    def drop(self, connection: Connection) -> None:
        """Close a connection instead of giving it back."""
        connection.invalidate()
        connection.close()
        self._leave_place()

    def _await_one(self) -> Connection | None:
        """Return the next idle connection; None when there is room for a new one, which is the caller's then."""
        until = time.monotonic() + BUSY_TIMEOUT_S
        with self._change:
            self._waiting += 1
            try:
                while not self._idle:
                    if self._open < CONNECTIONS:
                        self._open += 1
                        return None
                    if not self._change.wait(until - time.monotonic()):
                        raise DatabaseAway("every database connection is taken; try again")
                return self._idle.pop()
            except IndexError:  # somebody who did not wait was quicker
                return self._await_one()
            finally:
                self._waiting -= 1

    def _open_one(self) -> Connection:
        try:
            return self._connect()
        except BaseException:
            self._leave_place()
            raise

    def _leave_place(self) -> None:
        with self._change:
            self._open -= 1
            self._change.notify()

    def close(self) -> None:
        """Close those that nobody has now."""
        while self._idle:
            self._idle.pop().close()
            self._leave_place()


class _Loan:
    """A connection while it is lent."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: DatabasePool) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
        try:
            self._connection = self._pool.take()
        except Exception as error:
            ours = self._pool.health.note_end(error)
            if ours is None:
                raise
            raise ours from error
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or driver_error(error) is None:
            self._pool.give_back(self._connection)
        else:
            self._pool.drop(self._connection)
        ours = self._pool.health.note_end(error)
        if ours is not None:
            raise ours from error


class WriteCounter:
    """Counts writes and the commits that they shared, since the database was opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes = 0
        self._commits = 0

    def add_commit(self, writes: int) -> None:
        """Count one commit of so many writes."""
        with self._lock:
            self._writes += writes
            self._commits += 1

    def read(self) -> tuple[int, int]:
        """Return the numbers of writes and commits."""
        with self._lock:
            return self._writes, self._commits
