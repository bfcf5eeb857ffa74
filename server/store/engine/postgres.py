"""A PostgreSQL database, shared by any number of servers. Every write is a transaction of its own."""

import random
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from select import POLLIN, poll
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, event

from piecework.backoff import pause_after
from piecework.server.errors import DatabaseAway
from piecework.server.store.engine.connections import (
    DatabaseHealth,
    DatabasePool,
    LostRace,
    OpenConnection,
    Seal,
    T,
    Witness,
    Work,
    WriteCounter,
    driver_error,
    notes_of,
)
from piecework.server.store.engine.hints import NOTHING, Hear, read_hint, write_hint
from piecework.server.store.engine.statements import driver_of

RACES_MAX = 20
"""So often a transaction that lost a race is tried again. On a busy machine others win some times in a row."""
PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.1
"""A random share of that is waited, and of twice as much after each race more: else the same ones meet again."""
NOT_DURABLE = "SET LOCAL synchronous_commit TO off"
_UNWANTED = (
    "enable_seqscan",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_sort",
    "enable_incremental_sort",
    "jit",
)
"""Ways that look cheap while a table is empty, and cost more with every row: taken where there is no other."""
PLANS = [f"{name} TO off" for name in _UNWANTED]
OF_SESSION = ";".join(f"SET {plan}" for plan in PLANS)
OF_TRANSACTION = [f"SET LOCAL {plan}" for plan in PLANS]
BEGIN = {
    (is_pooled, durable): ";".join(
        ["BEGIN", *(OF_TRANSACTION if is_pooled else []), *([] if durable else [NOT_DURABLE])]
    )
    for is_pooled in (True, False)
    for durable in (True, False)
}
"""What begins a transaction: through a pooler or not, and durable or not."""
CHANNEL = "piecework"
OUTWAIT_S, OUTWAIT_STEP_S = 20.0, 0.005
"""How long transactions that are open are waited for, and how often they are looked at."""
LISTEN_S = 0.5
"""How often a listener looks whether it should stop."""


class PostgresDatabase:
    """Servers that share it tell each other of what they change, unless there is a pooler in between.

    A pooler may give each transaction another of its connections, which other programs use, too. Then nothing may
    depend on what a session keeps: no prepared statements, no settings but those of a transaction, no LISTEN.
    """

    is_shared = True

    def __init__(self, url: str, chance: Callable[[], float] = random.random) -> None:
        """Connect to a URL; ``chance`` returns numbers from 0 up to 1."""
        self._chance = chance
        self.engine = create_engine(url, poolclass=NullPool)
        event.listen(self.engine, "connect", self._meet)
        self.is_pooled = False
        self._health = DatabaseHealth()
        self.write_counter = WriteCounter()
        self.witness: Witness[Any] | None = None
        self.seal: Seal | None = None
        self._name = secrets.token_hex(8)
        self._pause = threading.Event()  # nothing sets it
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connect = partial(OpenConnection, autocommit)
        self._connections = DatabasePool(self._connect, _is_silent, self._health)

    def _meet(self, driver: Any, _record: Any) -> None:
        """Prepare a new connection for what is at its other end.

        A session at hand has every statement walk an index, whatever the statistics say: a plan is made once for
        it, perhaps while a table is empty, and one that reads the whole of that would be kept while the queue
        grows. Compiled plans (JIT) cost more than they save here. Through a pooler plans are made for each
        execution.
        """
        [session] = driver.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
        if session == driver.info.backend_pid:
            driver.execute(OF_SESSION)
        else:
            driver.prepare_threshold = None
            self.is_pooled = True
        driver.commit()

    def read(self) -> AbstractContextManager[Connection]:
        return self._connections.lend()

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        if durable and self.witness:
            work = self.witness(work)
        for lost in range(RACES_MAX + 1):
            try:
                with self._connections.lend() as connection:
                    value = self._run(connection, work, durable)
                self.write_counter.add_commit(1)
                self._health.note_write()
            except Exception as error:
                if lost == RACES_MAX or not _lost_a_race(error):
                    raise
                self._pause.wait(self._chance() * pause_after(lost + 1, PAUSE_S, LONGEST_PAUSE_S))
            else:
                return value
        raise AssertionError("the loop returns or raises")

    def _run(self, connection: Connection, work: Work[T], durable: bool) -> T:
        driver = driver_of(connection)
        driver.execute(BEGIN[_is_pooled(driver), durable])
        notes = notes_of(connection)
        notes.clear()
        try:
            value = work(connection)
            if notes and self.seal is not None:
                self.seal(connection, notes)
        except BaseException as error:
            if driver_error(error) is None:  # else the connection is closed, and that rolls back
                driver.rollback()
            raise
        driver.commit()
        return value

    def outwait(self) -> None:
        """Wait for the transactions that have written something, or locked it, and are not over.

        ``pg_snapshot_xmax`` is the next that begins; when it is ``pg_snapshot_xmin``, all before it have ended.
        """
        with self.read() as connection:
            driver, patience = driver_of(connection), threading.Event()
            [following] = driver.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
            for _ in range(round(OUTWAIT_S / OUTWAIT_STEP_S)):
                [eldest] = driver.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
                if int(eldest) >= int(following):
                    return
                patience.wait(OUTWAIT_STEP_S)
        raise DatabaseAway(f"a transaction of the database has been open for {OUTWAIT_S:.0f} s; try again")

    def announce(self, enqueued: Mapping[int, int] = NOTHING) -> None:
        text = write_hint(self._name, enqueued)
        with self.read() as connection:
            driver_of(connection).execute(f"NOTIFY {CHANNEL}, '{text}'")

    def listen(self, hear: Hear, stop: threading.Event) -> None:
        with self._health.noted(), self._connect() as connection:
            try:
                if not _is_pooled(driver_of(connection)):
                    self._hear(driver_of(connection), hear, stop)
            except BaseException:
                connection.invalidate()  # else it would be told to roll back, and the log of that
                raise
        stop.wait()  # where nothing can be heard

    def _hear(self, driver: Any, hear: Hear, stop: threading.Event) -> None:
        driver.execute(f"LISTEN {CHANNEL}")
        while not stop.is_set():
            for heard in driver.notifies(timeout=LISTEN_S, stop_after=1):
                if (hint := read_hint(heard.payload)).server != self._name:
                    hear(hint.enqueued)

    def close(self) -> None:
        self._connections.close()
        self.engine.dispose()


def _is_pooled(driver: Any) -> bool:
    return driver.prepare_threshold is None


def _is_silent(connection: Connection) -> bool:
    """Tell whether an idle connection still stands: a database that closes it says so first."""
    silent = poll()
    silent.register(driver_of(connection).fileno(), POLLIN)
    return not silent.poll(0)


def _lost_a_race(error: BaseException) -> bool:
    """Tell whether the database rolled the transaction back in favour of another one.

    That is a deadlock, a failed serialization, or a key that was free, or a row that was there, when the
    transaction looked for it; or the transaction found out by itself.
    """
    if isinstance(error, LostRace):
        return True
    cause = error.__cause__ if isinstance(error, DatabaseAway) else error
    state = getattr(driver_error(cause), "sqlstate", None) if cause else None
    return state in {"40001", "40P01", "23503", "23505"}
