"""Connections and transactions, for SQLite and for PostgreSQL.

SQLite has one writer: requests that want to write at the same time share one transaction and one commit, so
that ``synchronous=FULL`` costs a disk flush per commit and not per request. On PostgreSQL every write is a
transaction of its own.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError, TimeoutError as PoolTimeout

from server.errors import DatabaseAway, StorageFull

__all__ = ["Connection", "Database", "open_database"]

T = TypeVar("T")
Work = Callable[[Connection], T]

READERS = 24
"""Connections for reading: requests beyond that wait for one."""
GROUP_MAX = 256
"""Requests that share a commit at most, so that the first of them does not wait for long."""
SERIALIZATION_RETRIES = 5
BUSY_TIMEOUT_S = 30
CHANNEL = "piecework"
LISTEN_S = 0.5
"""How often a listener looks whether it should stop."""
LOG_BYTES = 4_400_000
"""A little more than SQLite's write-ahead log grows to between two checkpoints (1000 pages)."""


class Database(Protocol):
    """What the rest of the server needs of a database."""

    engine: Engine
    is_shared: bool
    """Whether other servers may write to it."""
    tally: "Tally"

    def read(self) -> Any:
        """Return a context manager that gives a connection for reading. Each statement sees its own snapshot."""

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run ``work`` in a transaction and return its value once that is committed.

        What is not ``durable`` survives the end of the server, but a power cut may undo it: that is right for what
        nobody was promised, such as a lease, and saves the wait for the disk. When ``work`` raises, nothing of it
        is stored and the error goes on. ``work`` may run more than once before it is committed, so it must have
        no effect but on the connection it is given.
        Raises StorageFull or DatabaseAway when the database cannot take it.
        """

    def announce(self) -> None:
        """Tell the servers that share the database that something changed. A hint: it may get lost."""

    def listen(self, hear: Callable[[], object], stop: threading.Event) -> None:
        """Call ``hear`` when a server announced a change, until ``stop``; at once where there is no other server.

        Raises DatabaseAway when the connection breaks.
        """

    def close(self) -> None:
        """Close every connection."""


def open_database(url: str, *, synchronous: str = "FULL") -> Database:
    """Connect to ``sqlite:///path`` or ``postgresql://…``. Does not look at the schema.

    ``synchronous`` is SQLite's setting: FULL survives a power cut, OFF is for tests.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(Path(parsed.database or "").absolute(), synchronous)
    return PostgresDatabase(parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the drivers' errors about disk and connection into ours, where they enter."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseAway("every database connection is taken; try again") from error
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if "disk is full" in str(cause) or getattr(cause, "sqlstate", None) == "53100":
            raise StorageFull("the disk is full; nothing of this request was stored") from error
        # A plain DatabaseError is what SQLite says of a file that is damaged, or is something else.
        is_away = isinstance(error, OperationalError | sqlite3.OperationalError)
        is_broken = type(error) in {DatabaseError, sqlite3.DatabaseError}
        if is_away or is_broken or getattr(error, "connection_invalidated", False):
            raise DatabaseAway(f"the database does not answer: {str(cause).splitlines()[0]}") from error
        raise


class Tally:
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


class _Unit(Generic[T]):
    """One request's share of a commit."""

    __slots__ = ("done", "durable", "error", "value", "work")

    def __init__(self, work: Work[T], durable: bool = True) -> None:
        self.work = work
        self.durable = durable
        self.done = False
        self.value: T
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        try:
            self.value = self.work(connection)
        except BaseException as error:  # noqa: BLE001  # it belongs to the request that brought the work
            self.error = error

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value


class SqliteDatabase:
    """A SQLite file in WAL mode: many readers, one writing connection, shared commits."""

    is_shared = False

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self.tally = Tally()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.engine = create_engine(
            f"sqlite:///{path}",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
        )
        event.listen(self.engine, "connect", _set_pragmas(synchronous))
        self._readers = threading.Semaphore(READERS)
        self._idle: list[Connection] = []
        self._synchronous = synchronous.upper()
        self._writer: Connection | None = None
        self._writer_synchronous = self._synchronous
        self._turn = threading.Lock()
        self._waiting: deque[_Unit[Any]] = deque()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if not self._readers.acquire(timeout=BUSY_TIMEOUT_S):
            raise DatabaseAway("every database connection is taken; try again")
        try:
            with translated_errors():
                # To give one back to an engine's pool and to take it from there costs more than most reads.
                connection = self._idle.pop() if self._idle else self.engine.connect()
                keep = True
                try:
                    yield connection
                except (DBAPIError, sqlite3.Error):
                    keep = False
                    raise
                finally:
                    if keep:
                        self._idle.append(connection)
                    else:
                        connection.close()
        finally:
            self._readers.release()

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        unit = _Unit(work, durable)
        self._waiting.append(unit)
        # Whoever gets the turn commits for all who wait; the others find their work done. When more wait than
        # share a commit, the first commit may be one without the caller's own work.
        with self._turn:
            while not unit.done:
                self._commit_waiting()
        with translated_errors():
            return unit.result()

    def _commit_waiting(self) -> None:
        """Run and commit the units that wait longest, GROUP_MAX at most."""
        units = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_MAX))]
        try:
            self._run_group(units)
        except BaseException as error:  # noqa: BLE001  # the commit failed: so did everything in it
            for unit in units:
                unit.error = unit.error or error
            self._drop_writer()
        for unit in units:
            unit.done = True

    def _run_group(self, units: list[_Unit[Any]]) -> None:
        if self._writer is None:
            self._writer = self.engine.connect()
            self._writer_synchronous = self._synchronous
            if self._synchronous != "OFF":
                _stretch_log(self._writer)
        driver: Any = self._writer.connection.driver_connection
        self._set_synchronous(driver, durable=any(unit.durable for unit in units))
        driver.execute("BEGIN IMMEDIATE")
        for unit in units:
            driver.execute("SAVEPOINT unit")
            unit.run(self._writer)
            if unit.error is not None:
                driver.execute("ROLLBACK TO unit")
            driver.execute("RELEASE unit")
        driver.execute("COMMIT")
        self.tally.add_commit(len(units))

    def _set_synchronous(self, driver: Any, *, durable: bool) -> None:
        """Have the next commit wait for the disk, or not. In WAL mode NORMAL keeps the file sound all the same."""
        wanted = self._synchronous if durable or self._synchronous == "OFF" else "NORMAL"
        if wanted != self._writer_synchronous:
            driver.execute(f"PRAGMA synchronous={wanted}")
            self._writer_synchronous = wanted

    def _drop_writer(self) -> None:
        """Give the writing connection up, and with it whatever its transaction held."""
        if self._writer is not None:
            self._writer.invalidate()
            self._writer.close()
            self._writer = None

    def announce(self) -> None:
        """Nobody shares a SQLite file."""

    def listen(self, hear: Callable[[], object], stop: threading.Event) -> None:
        """Nobody shares a SQLite file."""

    def close(self) -> None:
        with self._turn:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            while self._idle:
                self._idle.pop().close()
            self.engine.dispose()


def _stretch_log(connection: Connection) -> None:
    """Let the write-ahead log have its usual size from the start.

    To sync a log that grows takes the file system's own journal, several times as long as to sync one that is
    written over. SQLite writes from the log's start again after each checkpoint.
    """
    execute = connection.exec_driver_sql
    execute("DROP TABLE IF EXISTS stretch")  # of a start that was cut off
    execute("CREATE TABLE stretch (content)")
    execute("INSERT INTO stretch VALUES (zeroblob(?))", (LOG_BYTES,))
    execute("DROP TABLE stretch")
    execute("PRAGMA wal_checkpoint(RESTART)")


def _set_pragmas(synchronous: str) -> Callable[[Any, Any], None]:
    def set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-20000")
        connection.execute("PRAGMA journal_size_limit=67108864")

    return set_pragmas


class PostgresDatabase:
    """A PostgreSQL database, shared by any number of servers."""

    is_shared = True

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, pool_size=READERS, max_overflow=0, pool_pre_ping=True)
        self.tally = Tally()
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with translated_errors(), self._reading.connect() as connection:
            yield connection

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        for attempt in range(SERIALIZATION_RETRIES + 1):
            try:
                with translated_errors(), self.engine.begin() as connection:
                    if not durable:
                        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
                    value = work(connection)
                self.tally.add_commit(1)
            except (DatabaseAway, IntegrityError) as error:
                if attempt == SERIALIZATION_RETRIES or not _lost_a_race(error):
                    raise
            else:
                return value
        raise AssertionError("the loop returns or raises")

    def announce(self) -> None:
        with self.read() as connection:
            connection.exec_driver_sql(f"NOTIFY {CHANNEL}")

    def listen(self, hear: Callable[[], object], stop: threading.Event) -> None:
        with self.read() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute(f"LISTEN {CHANNEL}")
            try:
                while not stop.is_set():
                    for _ in driver.notifies(timeout=LISTEN_S, stop_after=1):
                        hear()
            finally:
                connection.invalidate()  # a connection that listens must not serve anyone else

    def close(self) -> None:
        self.engine.dispose()


def _lost_a_race(error: Exception) -> bool:
    """Tell whether the database rolled the transaction back in favour of another one.

    That is a deadlock, a failed serialization, or a key that was free when the transaction looked for it.
    """
    cause = error if isinstance(error, IntegrityError) else error.__cause__
    return getattr(getattr(cause, "orig", None), "sqlstate", None) in {"40001", "40P01", "23505"}
