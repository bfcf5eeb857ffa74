"""What the server needs of a database, and SQLite as one.

SQLite has one writer: requests that want to write at the same time share one transaction and one commit, so
that ``synchronous=FULL`` costs a disk flush per commit and not per request.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url

from piecework.server.store.engine.connections import (
    BUSY_TIMEOUT_S,
    DatabaseHealth,
    DatabasePool,
    OpenConnection,
    Seal,
    T,
    Witness,
    Work,
    WriteCounter,
    notes_of,
)
from piecework.server.store.engine.hints import NOTHING, Hear
from piecework.server.store.engine.postgres import PostgresDatabase

__all__ = ["Connection", "Database", "is_there", "open_database", "show_url"]

WRITER_CACHE_KIB = 20_000
"""Of the database, for the connection that writes. What another one read is void after each write of this one, so
those that read keep SQLite's usual 2 MB."""
GROUP_MAX = 256
"""Requests that share a commit at most, so that the first of them does not wait for long."""
LOG_BYTES = 4_400_000
"""A little more than SQLite's write-ahead log grows to between two checkpoints (1000 pages)."""


class Database(Protocol):
    """What the rest of the server needs of a database."""

    engine: Engine
    is_shared: bool
    """Whether other servers may write to it."""
    is_pooled: bool
    """Whether a pooler may give each transaction another session."""
    write_counter: WriteCounter
    witness: Witness[Any] | None
    """Is given the work of each durable transaction before it begins, in the thread of the request."""
    seal: Seal | None
    """Is called at the end of a transaction, or of one that many share, when something was noted in it."""

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

    def outwait(self) -> None:
        """Return once every write is over that began before, on any server. Raises DatabaseAway when one stays."""

    def announce(self, enqueued: Mapping[int, int] = NOTHING) -> None:
        """Tell the servers that share the database that something changed. A hint: it may get lost.

        ``enqueued``: jobs that can be contracted now and that nobody is to take yet, by lane id.
        """

    def listen(self, hear: Hear, stop: threading.Event) -> None:
        """Call ``hear`` with what a server announced, until ``stop``; at once where there is no other server.

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


def is_there(url: str) -> bool:
    """Tell whether opening a URL makes no new file; what a PostgreSQL server has, only a connection tells."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def show_url(url: str) -> str:
    """Return the URL of a database without what opens it."""
    parsed = make_url(url)
    secret = [name for name in parsed.query if "password" in name.lower()]
    return parsed.difference_update_query(secret).render_as_string(hide_password=True)


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
        notes = notes_of(connection)
        noted = len(notes)
        try:
            self.value = self.work(connection)
        except BaseException as error:  # noqa: BLE001  # it belongs to the request that brought the work
            self.error = error
            del notes[noted:]

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value


class SqliteDatabase:
    """A SQLite file in WAL mode: many readers, one writing connection, shared commits."""

    is_shared = False
    is_pooled = False

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._health = DatabaseHealth()
        self.write_counter = WriteCounter()
        self.witness: Witness[Any] | None = None
        self.seal: Seal | None = None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.engine = create_engine(
            f"sqlite:///{path}",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
        )
        event.listen(self.engine, "connect", _set_pragmas(path, synchronous))
        self._connect = partial(OpenConnection, self.engine)
        self._readers = DatabasePool(self._connect, lambda _: True, self._health)
        self._synchronous = synchronous.upper()
        self._writer: OpenConnection | None = None
        self._writer_synchronous = self._synchronous
        self._turn = threading.Lock()
        self._waiting: deque[_Unit[Any]] = deque()

    def read(self) -> AbstractContextManager[Connection]:
        return self._readers.lend()

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        if durable and self.witness:
            work = self.witness(work)
        unit = _Unit(work, durable)
        self._waiting.append(unit)
        # Whoever gets the turn commits for all who wait; the others find their work done. When more wait than
        # share a commit, the first commit may be one without the caller's own work.
        with self._turn:
            while not unit.done:
                self._commit_waiting()
        with self._health.noted():
            value = unit.result()
        self._health.note_write()
        return value

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
            self._writer = self._connect()
            self._writer.driver.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
            self._writer_synchronous = self._synchronous
            if self._synchronous != "OFF":
                _stretch_log(self._writer)
        driver = self._writer.driver
        self._set_synchronous(driver, durable=any(unit.durable for unit in units))
        driver.execute("BEGIN IMMEDIATE")
        notes = self._writer.notes
        notes.clear()
        if len(units) == 1:  # it needs no savepoint, which keeps a copy of each page
            units[0].run(self._writer)
            if units[0].error is not None:
                driver.execute("ROLLBACK")
                return
        else:
            for unit in units:
                driver.execute("SAVEPOINT unit")
                unit.run(self._writer)
                if unit.error is not None:
                    driver.execute("ROLLBACK TO unit")
                driver.execute("RELEASE unit")
        if notes and self.seal is not None:
            self.seal(self._writer, notes)
        driver.execute("COMMIT")
        self.write_counter.add_commit(len(units))

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

    def outwait(self) -> None:
        """One write comes after the other."""

    def announce(self, enqueued: Mapping[int, int] = NOTHING) -> None:
        """Nobody shares a SQLite file."""

    def listen(self, hear: Hear, stop: threading.Event) -> None:
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


def _set_pragmas(path: Path, synchronous: str) -> Callable[[Any, Any], None]:
    def set_pragmas(connection: Any, _record: Any) -> None:
        if not path.stat().st_size:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only a new file can begin with it
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")

    return set_pragmas
