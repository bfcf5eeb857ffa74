"""Connections and transactions, for SQLite and for PostgreSQL.

SQLite has one writer: requests that want to write at the same time share one transaction and one commit, so
that ``synchronous=FULL`` costs a disk flush per commit and not per request. On PostgreSQL every write is a
transaction of its own.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from select import POLLIN, poll
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError

from server.errors import DatabaseAway, StorageFull
from server.store.statements import driver_of

__all__ = ["Connection", "Database", "open_database"]

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 24
"""Connections beside SQLite's one for writing: requests beyond that wait for one."""
GROUP_MAX = 256
"""Requests that share a commit at most, so that the first of them does not wait for long."""
SERIALIZATION_RETRIES = 5
BUSY_TIMEOUT_S = 30
BEGIN = "BEGIN"
BEGIN_NOT_DURABLE = "BEGIN; SET LOCAL synchronous_commit TO OFF"
PLANS = ";".join(
    f"SET {name} TO off"
    for name in ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
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
    except Exception as error:
        cause = _driver_error(error)
        if cause is None:
            raise
        if "disk is full" in str(cause) or getattr(cause, "sqlstate", None) == "53100":
            raise StorageFull("the disk is full; nothing of this request was stored") from error
        kinds = [kind.__name__ for kind in type(cause).__mro__]
        # A plain DatabaseError is what SQLite says of a file that is damaged, or is something else.
        if "OperationalError" in kinds or kinds[0] == "DatabaseError":
            raise DatabaseAway(f"the database does not answer: {str(cause).splitlines()[0]}") from error
        raise


def _driver_error(error: BaseException) -> BaseException | None:
    """Return what a driver raised, beneath what SQLAlchemy made of it; None when it is no error of a driver.

    Every driver's errors have the names that PEP 249 gives them.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    is_drivers = cause is not None and any(kind.__name__ == "DatabaseError" for kind in type(cause).__mro__)
    return cause if is_drivers else None


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


class _Lender:
    """Lends open connections, each to one at a time, and keeps those that come back for the next.

    To give one back to an engine's pool and to take it from there costs more than most reads.
    """

    def __init__(self, connect: Callable[[], Connection], is_alive: Callable[[Connection], bool]) -> None:
        self._connect = connect
        self._is_alive = is_alive
        self._free = threading.Semaphore(CONNECTIONS)
        self._idle: list[Connection] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection. One that meets an error of its driver is closed. Raises DatabaseAway."""
        if not self._free.acquire(timeout=BUSY_TIMEOUT_S):
            raise DatabaseAway("every database connection is taken; try again")
        try:
            with translated_errors():
                connection = self._take()
                try:
                    yield connection
                except BaseException as error:
                    if _driver_error(error) is None:
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
        self._readers = _Lender(self.engine.connect, is_alive=lambda _: True)
        self._synchronous = synchronous.upper()
        self._writer: Connection | None = None
        self._writer_synchronous = self._synchronous
        self._turn = threading.Lock()
        self._waiting: deque[_Unit[Any]] = deque()

    def read(self) -> AbstractContextManager[Connection]:
        return self._readers.lend()

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
            self._readers.close()
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
        self.engine = create_engine(url, poolclass=NullPool)
        event.listen(self.engine, "connect", _set_plans)
        self.tally = Tally()
        self._name = secrets.token_hex(8)
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connect = autocommit.connect
        self._connections = _Lender(self._connect, is_alive=_is_silent)

    def read(self) -> AbstractContextManager[Connection]:
        return self._connections.lend()

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        for attempt in range(SERIALIZATION_RETRIES + 1):
            try:
                with self._connections.lend() as connection:
                    value = self._run(connection, work, durable)
                self.tally.add_commit(1)
            except Exception as error:
                if attempt == SERIALIZATION_RETRIES or not _lost_a_race(error):
                    raise
            else:
                return value
        raise AssertionError("the loop returns or raises")

    def _run(self, connection: Connection, work: Work[T], durable: bool) -> T:
        driver = driver_of(connection)
        driver.execute(BEGIN if durable else BEGIN_NOT_DURABLE)
        try:
            value = work(connection)
        except BaseException as error:
            if _driver_error(error) is None:  # else the connection is closed, and that rolls back
                driver.rollback()
            raise
        driver.commit()
        return value

    def announce(self) -> None:
        with self.read() as connection:
            driver_of(connection).execute(f"NOTIFY {CHANNEL}, '{self._name}'")

    def listen(self, hear: Callable[[], object], stop: threading.Event) -> None:
        with translated_errors(), self._connect() as connection:
            driver = driver_of(connection)
            driver.execute(f"LISTEN {CHANNEL}")
            while not stop.is_set():
                for heard in driver.notifies(timeout=LISTEN_S, stop_after=1):
                    if heard.payload != self._name:
                        hear()

    def close(self) -> None:
        self._connections.close()
        self.engine.dispose()


def _set_plans(driver: Any, _record: Any) -> None:
    """Have every statement walk an index, whatever the statistics say.

    A plan is made once for a connection, perhaps while a table is empty; one that reads the whole of it would be
    kept while the queue grows. Compiled plans (JIT) cost more than they save here.
    """
    driver.execute(PLANS)
    driver.commit()


def _is_silent(connection: Connection) -> bool:
    """Tell whether an idle connection still stands: a database that closes it says so first."""
    silent = poll()
    silent.register(driver_of(connection).fileno(), POLLIN)
    return not silent.poll(0)


def _lost_a_race(error: BaseException) -> bool:
    """Tell whether the database rolled the transaction back in favour of another one.

    That is a deadlock, a failed serialization, or a key that was free when the transaction looked for it.
    """
    cause = error.__cause__ if isinstance(error, DatabaseAway) else error
    state = getattr(_driver_error(cause), "sqlstate", None) if cause else None
    return state in {"40001", "40P01", "23505"}
