"""Connections that are lent to one request at a time, and the errors of their drivers in our words."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from server.errors import DatabaseAway, StorageFull
from server.logs import Condition

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 24
"""Connections beside SQLite's one for writing: requests beyond that wait for one."""
BUSY_TIMEOUT_S = 30
Witness = Callable[[Work[T]], Work[T]]
"""Adds something to the work of a durable transaction: what the request that does it is to leave."""
Seal = Callable[[Connection, list[Any]], object]
"""Stores, at the end of a transaction, what was noted in it. See ``notes_of``."""


def notes_of(connection: Connection) -> list[Any]:
    """Return what the transaction at hand notes for its end: whoever changes something adds to it."""
    notes: list[Any] = connection.info.setdefault("notes", [])
    return notes


class LostRace(Exception):
    """What another transaction did meanwhile is against this one: it is undone, and run again."""


QUIET_S = 5.0
"""A database takes writes again when none was refused for so long."""
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


def _translate(error: Exception) -> StorageFull | DatabaseAway | None:
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
        self._away = Condition("the database does not answer", "the database answers again")
        self._full = Condition("the disk of the database is full", "the database has room again")
        # A transaction that happens to write nothing does not show that others could.
        self._shut = Condition(
            "the database takes no writes", "the database takes writes again", monotonic, quiet_s=QUIET_S
        )
        self._has_answered = False
        """Until then whoever opens the database tells what is wrong."""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Turn the drivers' errors into ours, as ``translated_errors`` does, and learn from how the work ends."""
        try:
            yield
        except Exception as error:
            ours = _translate(error)
            if isinstance(ours, StorageFull):
                self._full.begin(ours)
            elif ours is not None and _refuses_writes(driver_error(error) or error):
                self._shut.begin(ours)
            elif ours is not None and self._has_answered and _tells_of_database(error):
                self._away.begin(ours)
            if ours is None:
                raise
            raise ours from error
        self._has_answered = True
        self._away.end()

    def note_write(self) -> None:
        """Something was stored."""
        self._full.end()
        self._shut.end()


def _tells_of_database(error: Exception) -> bool:
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
        self._health = health
        self._is_alive = is_alive
        self._free = threading.Semaphore(CONNECTIONS)
        self._idle: list[Connection] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection. One that meets an error of its driver is closed. Raises DatabaseAway."""
        if not self._free.acquire(timeout=BUSY_TIMEOUT_S):
            raise DatabaseAway("every database connection is taken; try again")
        try:
            with self._health.noted():
                connection = self._take()
                try:
                    yield connection
                except BaseException as error:
                    if driver_error(error) is None:
                        self._idle.append(connection)
                    else:
                        connection.invalidate()
                        connection.close()
                    raise
                self._idle.append(connection)
        finally:
            self._free.release()

    def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if self._is_alive(connection):
                return connection
            connection.invalidate()
            connection.close()
        return self._connect()

    def close(self) -> None:
        """Close those that nobody has now."""
        while self._idle:
            self._idle.pop().close()


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
